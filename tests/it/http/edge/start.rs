//! A start before its database is there.

use std::time::{Duration, Instant};

use crate::support::{
    Backend, application,
    balancer::free_address,
    proxy::Proxy,
    server::{Server, binary},
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
