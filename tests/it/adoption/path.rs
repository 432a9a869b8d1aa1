//! The whole path on the tables of an existing system: from the rows alone to events alone, and back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tokio::sync::RwLock;

use crate::support::{Backend, admin, backends, command::run, server::Server};

/// How often the server is killed under load.
const KILLS: u32 = 5;
/// Users that are changed under load, each by one client.
const CLIENTS: u32 = 6;

/// An existing system, with or without a server beside it.
struct System {
    backend: Backend,
    client: Client,
    server: Option<Server>,
}

impl System {
    async fn load(backend: Backend) -> Self {
        admin::load(&backend).await;
        Self {
            backend,
            client: Client::builder().no_proxy().build().unwrap(),
            server: None,
        }
    }

    /// Serves in a mode, in the place of the server before.
    async fn serve(&mut self, mode: &str) {
        self.stop();
        self.server = Some(serve(&self.backend.store_url(), mode).await);
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            assert!(server.terminate().success(), "{}", server.log());
        }
    }

    /// What another program does to the tables.
    async fn sql(&self, statements: &str) {
        run_sql(&self.backend.store_url(), statements)
            .await
            .unwrap();
    }

    /// What a command prints, beside whatever serves, that ends with a code.
    #[track_caller]
    fn prints(&self, code: i32, arguments: &[&str]) -> String {
        let ended = run(&self.backend.store_url(), arguments);
        ended.prints(code).to_owned()
    }

    /// The same of a command that writes: on SQLite the server must be stopped for it.
    async fn writes(&mut self, mode: &str, arguments: &[&str]) -> String {
        if matches!(self.backend, Backend::Postgres(_)) {
            return self.prints(0, arguments);
        }
        self.stop();
        let printed = self.prints(0, arguments);
        self.serve(mode).await;
        printed
    }

    fn url(&self, path: &str) -> String {
        let server = self.server.as_ref().unwrap();
        format!("{}/v1/aggregates/{path}", server.url())
    }

    async fn command(&self, user: &str, command: &str, body: &Value) -> Value {
        let url = self.url(&format!("User/{user}/commands/{command}"));
        let answer = self.client.post(url).json(body).send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{status} {body}");
        body
    }

    async fn user(&self, user: &str) -> Value {
        let url = self.url(&format!("User/{user}"));
        let answer = self.client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{user}");
        answer.json().await.unwrap()
    }

    async fn ids(&self) -> Vec<String> {
        let query = "select id from sys_user order by id";
        let url = self.backend.store_url();
        if url.starts_with("sqlite:") {
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            sqlx::query_scalar(query)
                .fetch_all(&mut connection)
                .await
                .unwrap()
        } else {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            sqlx::query_scalar(query)
                .fetch_all(&mut connection)
                .await
                .unwrap()
        }
    }

    /// Waits until every row agrees with its events, though nobody asks for them.
    async fn until_all_agree(&self) {
        let limit = Instant::now() + Duration::from_mins(1);
        loop {
            let verified = run(&self.backend.store_url(), &["verify"]);
            if verified.code == Some(0) {
                return;
            }
            assert!(Instant::now() < limit, "{verified:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks for every user, so that each row that another program changed is met.
    async fn meet_all(&self) {
        for id in self.ids().await {
            self.user(&id).await;
        }
    }
}

async fn serve(store_url: &str, mode: &str) -> Server {
    Server::start(&[
        ("DORMOUSE__STORE__URL", store_url),
        ("DORMOUSE__AGGREGATES__User__MODE", mode),
        ("DORMOUSE__AGGREGATES__Role__MODE", mode),
        ("DORMOUSE__IAM__ARGON2_MEMORY_KIB", "8"),
        ("DORMOUSE__IAM__ARGON2_ITERATIONS", "1"),
        ("DORMOUSE__HTTP__WORKERS", "2"),
        ("DORMOUSE__STORE__POOL", "3"),
    ])
    .await
}

async fn run_sql(url: &str, statements: &str) -> Result<(), sqlx::Error> {
    let query = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
    if url.starts_with("sqlite:") {
        let mut connection = SqliteConnection::connect(url).await?;
        query.execute(&mut connection).await?;
    } else {
        let mut connection = PgConnection::connect(url).await?;
        query.execute(&mut connection).await?;
    }
    Ok(())
}

fn user(name: &str) -> Value {
    json!({"username": name, "password": "x", "domain": "built-in", "nick_name": name})
}

/// What the clients and the foreign writer share.
struct Load {
    client: Client,
    /// The server's URL, another after each kill.
    at: RwLock<String>,
    over: AtomicBool,
}

impl Load {
    /// Renames a user of its own again and again, each name under its key until it is answered;
    /// gives the last number that was.
    async fn rename(self: Arc<Self>, user: String) -> u64 {
        let mut number = 0;
        while !self.over.load(Ordering::Relaxed) {
            number += 1;
            let body = json!({"nick_name": number.to_string()});
            let limit = Instant::now() + Duration::from_mins(2);
            loop {
                assert!(Instant::now() < limit, "{user} is not answered any more");
                let at = self.at.read().await.clone();
                let url = format!("{at}/v1/aggregates/User/{user}/commands/update");
                let request = self.client.post(url).json(&body);
                let request = request.header("Idempotency-Key", format!("{user}-{number}"));
                match request.send().await.map(|answer| answer.status()) {
                    Ok(StatusCode::OK) => break,
                    Ok(status) if status.is_client_error() && status != 409 => {
                        panic!("{user}: {status}")
                    }
                    Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        }
        number
    }

    /// Writes rows as another program does; where the database is busy, later.
    async fn write_foreign(self: Arc<Self>, url: String) -> u64 {
        let mut written = 0;
        while !self.over.load(Ordering::Relaxed) {
            let user = written % u64::from(CLIENTS);
            let statement =
                format!("update sys_user set avatar = 'a{written}' where id = 'l{user}'");
            if run_sql(&url, &statement).await.is_ok() {
                written += 1;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        written
    }
}

/// Dual write under load, with the server killed and another program writing the same rows.
async fn load_and_kill(system: &mut System) {
    for number in 0..CLIENTS {
        let id = format!("l{number}");
        system.command(&id, "create", &user(&id)).await;
    }
    let mut server = system.server.take().unwrap();
    let load = Arc::new(Load {
        client: Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap(),
        at: RwLock::new(server.url()),
        over: AtomicBool::new(false),
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(Arc::clone(&load).rename(format!("l{number}"))))
        .collect();
    let url = system.backend.store_url();
    let foreign = tokio::spawn(Arc::clone(&load).write_foreign(url.clone()));
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.kill9();
        server = serve(&url, "dual-write").await;
        *load.at.write().await = server.url();
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    load.over.store(true, Ordering::Relaxed);
    system.server = Some(server);
    assert!(
        foreign.await.unwrap() > 10,
        "the other program wrote nothing"
    );
    for (number, client) in clients.into_iter().enumerate() {
        let last = client.await.unwrap();
        let state = system.user(&format!("l{number}")).await;
        assert_eq!(state["state"]["nick_name"], last.to_string(), "{state}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_goes_the_whole_path_and_back() {
    for backend in backends().await {
        let mut system = System::load(backend).await;

        // As before, and over HTTP.
        system.serve("state-only").await;
        assert_eq!(system.user("1").await["state"]["username"], "Soybean");
        let changed = system
            .command("1", "update", &json!({"nick_name": "Bean"}))
            .await;
        assert_eq!(changed["events"], json!([]));
        system.command("new", "create", &user("new")).await;
        system
            .command("2", "assign-roles", &json!({"role_ids": ["2", "3"]}))
            .await;
        assert_eq!(system.ids().await, ["1", "2", "3", "new"]);

        // A first event for each row.
        let adopted = system.writes("state-only", &["adopt", "User"]).await;
        assert!(
            adopted.starts_with("4 rows of sys_user are adopted"),
            "{adopted}"
        );
        let adopted = system.writes("state-only", &["adopt", "Role"]).await;
        assert!(
            adopted.starts_with("3 rows of sys_role are adopted"),
            "{adopted}"
        );
        system.prints(0, &["verify"]);

        // Both, under load.
        system.serve("dual-write").await;
        load_and_kill(&mut system).await;
        system.meet_all().await;
        system.prints(0, &["verify"]);

        // A row is broken by hand, found and repaired.
        system
            .sql("update sys_user set email = 'x@y' where id = '3'")
            .await;
        let found = system.prints(3, &["verify", "User", "--json"]);
        let finding: Value = serde_json::from_str(found.lines().next().unwrap()).unwrap();
        assert_eq!(finding["key"], "3");
        assert_eq!(finding["first"]["column"], "email");
        assert_eq!(finding["first"]["event"]["event_type"], "UserAdoptedEvent");
        let repair = [
            "repair", "User", "3", "--from", "events", "--reason", "a test",
        ];
        system.writes("dual-write", &repair).await;
        system.prints(0, &["verify"]);

        // Events alone; the row stays behind.
        system.serve("event-sourced").await;
        let changed = system
            .command("3", "update", &json!({"nick_name": "Cut"}))
            .await;
        assert_eq!(changed["events"][0]["event_type"], "UserUpdatedEvent");
        system.prints(3, &["verify", "User"]);

        // The way back, with changes, and on again.
        system.serve("state-only").await;
        assert_eq!(system.user("3").await["state"]["nick_name"], "Cut");
        system
            .command("3", "update", &json!({"nick_name": "Back"}))
            .await;
        system
            .sql("update sys_user set nick_name = 'Hand' where id = '1'")
            .await;
        system.serve("dual-write").await;
        assert_eq!(system.user("3").await["state"]["nick_name"], "Back");
        system.until_all_agree().await;
        assert_eq!(system.user("1").await["state"]["nick_name"], "Hand");
        system.stop();
    }
}
