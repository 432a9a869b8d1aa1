//! The server as a role that may add to the log and change nothing in it.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::{LIGHT, Wire, until, user};
use crate::support::{Backend, command::run};

/// A database of an owner's, and the URL by which an application role reaches it.
async fn database() -> (String, String, String) {
    let url = Backend::postgres().await.store_url();
    let role = format!("app \"{}\"", ulid::Ulid::from_bytes(rand::random()));
    let mut owner = PgConnection::connect(&url).await.unwrap();
    let create = format!("create role \"{}\" login", role.replace('"', "\"\""));
    owner.execute(AssertSqlSafe(create)).await.unwrap();
    run(&url, &["migrate", "--role", &role]).prints(0);
    let escaped = role.replace(' ', "%20").replace('"', "%22");
    let served = url.replace("postgres@", &format!("{escaped}@"));
    (url, served, role)
}

#[tokio::test]
async fn the_application_role_serves_and_cannot_change_what_happened() {
    let (url, served, _) = database().await;
    let mut settings = LIGHT.to_vec();
    settings.push(("DORMOUSE__AGGREGATES__User__SNAPSHOT_EVERY", "2"));
    // Nothing is missing, so that whether it looks does not matter.
    for migrate in ["true", "false"] {
        settings.push(("DORMOUSE__STORE__MIGRATE", migrate));
        let wire = Wire::start_with(&served, &settings).await;
        let id = format!("User/{migrate}");
        wire.command(&id, "create", &user(migrate)).await.is(201);
        for name in ["A", "B", "C"] {
            let body = serde_json::json!({ "nick_name": name });
            wire.command(&id, "update", &body).await.is(200);
        }
        let found = format!("/v1/read/users?name_prefix={migrate}");
        until("the directory has the user", async || {
            let found = wire.get(&found).await;
            found.body["users"]
                .as_array()
                .is_some_and(|users| users.len() == 1)
        })
        .await;
        wire.command(&id, "delete", &serde_json::json!({}))
            .await
            .is(200);
    }
    let mut app = PgConnection::connect(&served).await.unwrap();
    for statement in [
        "update domain_events set event_data = '{}'",
        "update domain_events set created_by = 'somebody else'",
        "update domain_events set occurred_at = now()",
        "delete from domain_events",
        "truncate domain_events",
        "update command_receipts set event_count = 0",
        "update aggregate_claims set aggregate_id = 'x'",
        "alter table domain_events add column x int",
        "drop table domain_events",
        "insert into api_keys (id, name, secret_hash, rights, created_at) values ('a', 'a', '', '*', now())",
        "update api_keys set rights = '*'",
        "delete from api_keys",
        "delete from _sqlx_migrations",
    ] {
        let refused = app.execute(statement).await.unwrap_err().to_string();
        let denied = refused.contains("permission denied") || refused.contains("must be owner");
        assert!(denied, "{statement}: {refused}");
    }
    let mut owner = PgConnection::connect(&url).await.unwrap();
    let events = "select count(*) from domain_events";
    let events: i64 = sqlx::query_scalar(events)
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(events, 10);
}

#[tokio::test]
async fn every_table_of_the_schema_is_granted_as_far_as_a_server_needs_it() {
    let (url, _, role) = database().await;
    let mut owner = PgConnection::connect(&url).await.unwrap();
    let unreadable = "select relname::text from pg_class where relkind = 'r' \
        and relnamespace = 'public'::regnamespace and not has_table_privilege($1, oid, 'select')";

    let unreadable: Vec<String> = sqlx::query_scalar(unreadable)
        .bind(role)
        .fetch_all(&mut owner)
        .await
        .unwrap();

    // A new table belongs into the list in src/store/postgres/roles.rs.
    assert_eq!(unreadable, Vec::<String>::new());
}

#[tokio::test]
async fn a_role_that_is_not_there_or_a_store_without_roles_is_told() {
    let url = Backend::postgres().await.store_url();
    let sqlite = Backend::sqlite();
    for (url, part) in [
        (url, "no role nobody"),
        (sqlite.store_url(), "only PostgreSQL"),
    ] {
        let migrated = run(&url, &["migrate", "--role", "nobody"]);

        assert_eq!(migrated.code, Some(1));
        assert!(migrated.errors.contains(part), "{}", migrated.errors);
    }
}
