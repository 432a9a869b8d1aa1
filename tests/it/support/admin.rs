//! The tables of an existing admin system, in one database with dormouse's own.

use super::{Backend, application, command::run, database::Database};

const POSTGRES: &str = include_str!("../../../examples/data/admin_api.sql");
const SQLITE: &str = include_str!("../../../examples/data/admin_api.sqlite.sql");

const GRANTS: &str = "grant select, insert, update, delete on sys_user, sys_role, sys_user_role \
    to dormouse_app";

/// Makes them with their first rows, and lets servers at them.
pub(crate) async fn load(backend: &Backend) -> Database {
    let url = backend.store_url();
    // dormouse makes the file of SQLite.
    run(&url, &["migrate"]).prints(0);
    let mut database = Database::open(&url).await;
    match backend {
        Backend::Sqlite(_) => database.run(SQLITE).await,
        Backend::Postgres(_) => {
            database.run(POSTGRES).await;
            // The role that serves: what is dormouse's it is granted there, what is theirs here.
            application::url(&url).await;
            database.run(GRANTS).await;
        }
    }
    database
}

/// The same without a row.
pub(crate) async fn load_empty(backend: &Backend) -> Database {
    let mut database = load(backend).await;
    let nothing = "delete from sys_user; delete from sys_role; delete from sys_user_role";
    database.run(nothing).await;
    database
}
