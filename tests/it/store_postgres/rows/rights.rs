//! What a role may do with tables that are not dormouse's: what is missing is told before the first
//! command, with the statement that grants it.

use std::sync::Arc;

use dormouse::{
    domain::{LinkTable, StateTable},
    settings::StoreSettings,
    store::{self, EventStore as _, RowAccess, StateRows, TableError, postgres::PostgresStore},
};

use super::{super::Database, Neighbour, table};
use crate::support::{
    scratch,
    server::{Server, binary},
};

/// A database of an owner's, a role that serves it, and what a store of that role's sees.
struct Served {
    owner: Arc<Neighbour>,
    /// As SQL has its name.
    role: String,
    url: String,
    rows: Arc<dyn StateRows>,
    /// Kept as long as its rows are read.
    _store: PostgresStore,
}

impl Served {
    async fn with(tables: &str) -> Self {
        let role = format!("app_{}", ulid::Ulid::from_bytes(rand::random())).to_lowercase();
        Self::by(role.clone(), role, tables).await
    }

    /// By a role of this name, which is written so.
    async fn by(name: String, role: String, tables: &str) -> Self {
        let database = Database::fresh().await;
        let owner = Neighbour::at(&database.url).await;
        owner.run(tables).await;
        owner.run(&format!("create role {role} login")).await;
        let settings = StoreSettings {
            url: database.url.parse().unwrap(),
            ..StoreSettings::default()
        };
        store::migrate(&settings).await.unwrap();
        store::grant(&settings, &name).await.unwrap();
        let url = database.url.replace("postgres@", &format!("{name}@"));
        let served = Database { url: url.clone() };
        let store = served.store().await;
        let rows = store.state_rows().unwrap();
        Self {
            owner,
            role,
            url,
            rows,
            _store: store,
        }
    }

    /// Changes what the role may, and says what it still may not: the message, and the remedy.
    async fn after(
        &self,
        change: &str,
        table: &StateTable,
        access: RowAccess,
    ) -> Option<(String, String)> {
        self.owner.run(&change.replace("$role", &self.role)).await;
        match self.rows.check(table, access).await {
            Ok(()) => None,
            Err(error) => {
                let message = error.to_string();
                let TableError::Forbidden { grant, .. } = error else {
                    panic!("{error:?}");
                };
                assert!(message.contains(&grant), "{message}");
                Some((message, grant.replace(&self.role, "$role")))
            }
        }
    }
}

const TABLES: &str = "create table t (id text primary key, a text, b text, theirs text); \
    create table l (t text, m text, primary key (t, m)); create schema hidden; \
    create table hidden.t (id text primary key, a text)";

fn linked() -> StateTable {
    let mut linked = StateTable::clone(&table("t", &["a", "b"]));
    linked.links = vec![LinkTable {
        name: "l",
        owner: "t",
        member: "m",
    }];
    linked
}

#[tokio::test]
async fn each_right_that_is_missing_is_told_and_its_statement_grants_it() {
    let served = Served::with(TABLES).await;
    let table = linked();
    let all = "grant select, insert, update, delete on t, l to $role";
    let remedy = |found: Option<(String, String)>| found.map(|(_, grant)| grant);
    for (revoked, expected) in [
        (
            "revoke select on t from $role",
            "grant select on t to $role",
        ),
        (
            "revoke insert on t from $role",
            "grant insert on t to $role",
        ),
        (
            "revoke update on t from $role",
            "grant update on t to $role",
        ),
        (
            "revoke delete on t from $role",
            "grant delete on t to $role",
        ),
        (
            "revoke select on l from $role",
            "grant select on l to $role",
        ),
        (
            "revoke insert on l from $role",
            "grant insert on l to $role",
        ),
        (
            "revoke update on l from $role",
            "grant update on l to $role",
        ),
        (
            "revoke delete on l from $role",
            "grant delete on l to $role",
        ),
        (
            "revoke insert, delete on t from $role; revoke all on l from $role",
            "grant insert, delete on t to $role; grant select, insert, update, delete on l to $role",
        ),
    ] {
        assert_eq!(served.after(all, &table, RowAccess::Write).await, None);

        let found = served.after(revoked, &table, RowAccess::Write).await;
        let (message, grant) = found.expect(revoked);

        assert_eq!(grant, expected);
        let (right, table_name) = expected[6..].split_once(" on ").unwrap();
        let told = format!("on the state table `{}` ({right})", &table_name[..1]);
        assert!(message.contains(&told), "{message}");
        let granted = served.after(&grant, &table, RowAccess::Write).await;
        assert_eq!(remedy(granted), None, "{revoked}");
    }
}

#[tokio::test]
async fn rights_on_the_columns_that_are_mapped_are_enough_where_columns_have_rights() {
    let served = Served::with(TABLES).await;
    let table = table("t", &["a", "b"]);
    let start = "grant select, delete, insert (id, a, b), update (a) on t to $role";

    let found = served.after(start, &table, RowAccess::Write).await;
    let (_, grant) = found.expect("`b` cannot be updated");

    assert_eq!(grant, "grant update on t to $role");
    let rest = "grant update (b) on t to $role";
    assert_eq!(served.after(rest, &table, RowAccess::Write).await, None);
    // A row that no right allows to be inserted: the key is one of its columns.
    let less = "revoke insert (id) on t from $role";
    let found = served.after(less, &table, RowAccess::Write).await;
    assert_eq!(found.unwrap().1, "grant insert on t to $role");
}

#[tokio::test]
async fn to_look_needs_no_more_than_to_read() {
    let served = Served::with(TABLES).await;
    let table = linked();

    let found = served.after("select 1", &table, RowAccess::Read).await;
    let read = "grant select on t to $role; grant select on l to $role";

    assert_eq!(found.unwrap().1, read);
    assert_eq!(served.after(read, &table, RowAccess::Read).await, None);
    assert!(served.after(read, &table, RowAccess::Write).await.is_some());
}

#[tokio::test]
async fn a_schema_that_may_not_be_used_is_told_too() {
    let served = Served::with(TABLES).await;
    let table = table("hidden.t", &["a"]);

    let found = served.after("select 1", &table, RowAccess::Write).await;
    let (message, grant) = found.unwrap();

    assert_eq!(grant, "grant usage on schema hidden to $role");
    assert!(message.contains("schema `hidden`"), "{message}");
    let found = served.after(&grant, &table, RowAccess::Write).await;
    let (_, grant) = found.unwrap();
    assert_eq!(
        grant,
        "grant select, insert, update, delete on hidden.t to $role"
    );
    assert_eq!(served.after(&grant, &table, RowAccess::Write).await, None);
}

const RESERVED: &str = r#"create table "user" (id text primary key, a text); create schema "group";
    create table "group"."user" (id text primary key, a text);
    create table "Mixed" (id text primary key, a text)"#;

#[tokio::test]
async fn what_is_told_to_grant_is_quoted_where_sql_needs_it() {
    let name = format!("App.{}", ulid::Ulid::from_bytes(rand::random()));
    let served = Served::by(name.clone(), format!("\"{name}\""), RESERVED).await;
    let rights = "grant select, insert, update, delete on";
    for (table_name, written) in [
        ("user", r#""user""#),
        ("group.user", r#""group"."user""#),
        ("Mixed", r#""Mixed""#),
    ] {
        let table = table(table_name, &["a"]);
        let mut expected = vec![format!("{rights} {written} to $role")];
        if table_name.contains('.') {
            expected.insert(0, r#"grant usage on schema "group" to $role"#.to_owned());
        }

        let mut run = "select 1".to_owned();
        for expected in expected {
            let found = served.after(&run, &table, RowAccess::Write).await;
            let (message, grant) = found.expect(table_name);
            assert_eq!(grant, expected);
            assert!(message.contains(&name), "{message}");
            run = grant;
        }

        assert_eq!(served.after(&run, &table, RowAccess::Write).await, None);
    }
}

const ADMIN: &str = include_str!("../../../../examples/data/admin_api.sql");

#[tokio::test]
async fn a_server_does_not_start_before_it_may_what_it_must_and_says_what_to_grant() {
    let served = Served::with(ADMIN).await;
    let directory = scratch();
    let output = binary()
        .args(["serve", "--bind", "127.0.0.1:0"])
        .env("DORMOUSE__STORE__URL", &served.url)
        .env("DORMOUSE__AGGREGATES__User__MODE", "dual-write")
        .current_dir(directory.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let (_, grant) = told.split_once("its owner can run: ").expect(&told);
    let grant = grant.lines().next().unwrap();
    for table in ["sys_user", "sys_user_role"] {
        let part = format!("grant select, insert, update, delete on {table} to");
        assert!(grant.contains(&part), "{told}");
    }

    served.owner.run(grant).await;

    let started = Server::start(&[
        ("DORMOUSE__STORE__URL", served.url.as_str()),
        ("DORMOUSE__AGGREGATES__User__MODE", "dual-write"),
        ("DORMOUSE__HTTP__WORKERS", "2"),
    ])
    .await;
    let user = format!("{}/v1/aggregates/User/1", started.url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .post(format!("{user}/commands/update"))
        .header("content-type", "application/json")
        .body(r#"{"nick_name":"Bean"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}
