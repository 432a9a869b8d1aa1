//! A start before its database is there, and a server that is not ready.

use std::time::{Duration, Instant};

use crate::{
    http::Wire,
    support::{
        Backend, application, backends,
        balancer::free_address,
        proxy::Proxy,
        server::{Server, binary},
    },
};

#[tokio::test]
async fn a_start_waits_for_its_database() {
    let backend = Backend::postgres().await;
    let url = backend.store_url();
    // The owner has migrated it; the server comes as the role that may not.
    application::url(&url).await;
    let address = free_address();
    let (_, server) = url.split_once('@').unwrap();
    let (server, _) = server.split_once('/').unwrap();
    let late_url = url.replacen(server, &address.to_string(), 1);
    let settings = [("DORMOUSE__STORE__URL", late_url.as_str())];
    let late = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Proxy::at(address, &url).await
    };

    let (server, _proxy) = tokio::join!(Server::start(&settings), late);

    let log = server.log();
    assert!(log.contains("the store cannot be opened yet"), "{log}");
}

#[test]
fn a_start_that_waits_in_vain_ends_and_says_why() {
    let directory = crate::support::scratch();
    let begun = Instant::now();

    let output = binary()
        .args(["serve", "--bind", "127.0.0.1:0"])
        .env(
            "DORMOUSE__STORE__URL",
            format!("postgres://app:secret@{}/app", free_address()),
        )
        .env("DORMOUSE__STORE__START_TIMEOUT", "1s")
        .current_dir(directory.path())
        .output()
        .unwrap();

    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the database cannot be reached"), "{told}");
    assert!(!told.contains("secret"), "{told}");
    assert!(
        begun.elapsed() > Duration::from_millis(500),
        "it did not wait"
    );
}

#[tokio::test]
async fn a_server_whose_schema_is_anothers_is_not_ready_and_says_why() {
    for backend in backends().await {
        let wire = Wire::start(&backend).await;
        let mut database = wire.database().await;
        let ready = async || wire.get("/readyz").await;
        ready().await.is(200);

        let later = "insert into _sqlx_migrations (version, description, success, checksum, \
                     execution_time) select 9999, 'later', success, checksum, 0 from \
                     _sqlx_migrations where version = 1";
        database.run(later).await;
        let newer = ready().await;
        let unmigrated = "delete from _sqlx_migrations where version in (9999, \
                          (select max(version) from _sqlx_migrations where version < 9999))";
        database.run(unmigrated).await;
        let older = ready().await;

        newer.problem_about(503, "store-unavailable", "migration 9999");
        older.problem_about(503, "store-unavailable", "run `dormouse migrate`");
        // The process lives: nobody must end it for that.
        wire.get("/livez").await.is(200);
    }
}
