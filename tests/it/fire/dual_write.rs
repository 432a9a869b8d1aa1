//! The real server in `dual-write`, killed and started again while callers go on: each acknowledged
//! command is one event, and every row equals the fold of its events.

use dormouse::testing::checker::Row;
use serde_json::{Value, json};

use super::{load::Load, scale};
use crate::support::{
    Backend, admin, checker::stream, command::run, database::Database, server::Server,
};

const KILLS: usize = 10;
/// Commands that are acknowledged between two kills.
const BETWEEN: usize = 40;

/// The rows of all roles, as one text each, with the versions of the log that they stand for.
const ROWS: &str = "select r.id || '|' || (select max(e.version) from domain_events e \
    where e.aggregate_type = 'Role' and e.aggregate_id = r.id and e.row_marks is not null) \
    || '|' || r.code || '|' || r.name || '|' || coalesce(r.description, '') from sys_role r";

async fn rows(database: &mut Database) -> Vec<Row<Value>> {
    let texts = database.texts(ROWS).await;
    let row = |text: &String| {
        let parts: Vec<&str> = text.split('|').collect();
        let [id, version, code, name, description] = parts[..] else {
            panic!("{text}");
        };
        Row {
            stream: stream("Role", id),
            version: dormouse::domain::Version::new(version.parse().expect("a version")),
            state: json!({"code": code, "name": name, "description": description}),
        }
    };
    texts.iter().map(row).collect()
}

async fn killed_under_load(backend: Backend) {
    let mut database = admin::load_empty(&backend).await;
    let url = backend.store_url();
    let settings = [
        ("DORMOUSE__STORE__URL", url.as_str()),
        ("DORMOUSE__AGGREGATES__Role__MODE", "dual-write"),
    ];
    let mut server = Server::start(&settings).await;
    let mut load = Load::start(vec![server.url()]);

    for _ in 0..KILLS * scale() {
        load.progress(BETWEEN).await;
        server.kill9();
        server = Server::start(&settings).await;
        load.redirect(vec![server.url()]);
    }
    load.progress(BETWEEN).await;

    // SQLite's file belongs to the server until it ends.
    let last = load.stop().await;
    assert_eq!(server.terminate().code(), Some(0));
    let rows = rows(&mut database).await;
    assert!(rows.len() > 4, "{} roles", rows.len());
    last.check_with_rows(&url, &rows).await;
    run(&url, &["verify", "Role"]).prints(0);
}

#[tokio::test]
async fn in_dual_write_kill_9_leaves_no_row_beside_its_events_on_sqlite() {
    killed_under_load(Backend::sqlite()).await;
}

#[tokio::test]
async fn in_dual_write_kill_9_leaves_no_row_beside_its_events_on_postgres() {
    killed_under_load(Backend::postgres().await).await;
}
