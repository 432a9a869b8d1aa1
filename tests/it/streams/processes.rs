//! Two processes on one database: what one writes, the readers of the other see.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::support::{Backend, server::Server, sse::Sse};

/// So long that only a hint can be the reason for what is seen before.
const NO_POLLING: &str = "10m";

async fn server(url: &str, more: &[(&str, &str)]) -> Server {
    let mut settings = vec![
        ("DORMOUSE__STORE__URL", url),
        ("DORMOUSE__STORE__WRITERS", "shared"),
        ("DORMOUSE__STORE__POOL", "2"),
    ];
    settings.extend(more);
    Server::start(&settings).await
}

async fn create_role(server: &Server, id: &str) {
    let url = format!("{}/v1/aggregates/Role/{id}/commands/create", server.url());
    let body = json!({"code": id, "name": "a role"});
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 201);
}

async fn follow(server: &Server) -> Sse {
    Sse::open(&format!("{}/v1/events/stream", server.url()), None).await
}

/// How many servers listen, as the database sees it.
async fn listeners(connection: &mut PgConnection) -> i64 {
    let listening = "select count(*) from pg_stat_activity \
        where datname = current_database() and query ilike 'listen%'";
    sqlx::query_scalar(listening)
        .fetch_one(connection)
        .await
        .unwrap()
}

async fn until_listeners(connection: &mut PgConnection, count: i64) {
    let started = Instant::now();
    while listeners(connection).await != count {
        assert!(started.elapsed() < Duration::from_secs(20), "no listener");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_is_told_of_what_another_wrote() {
    let backend = Backend::postgres().await;
    let url = backend.store_url();
    let no_polling = [("DORMOUSE__STREAMS__POLL_MAX", NO_POLLING)];
    let reading = server(&url, &no_polling).await;
    let writing = server(&url, &[]).await;
    let mut database = PgConnection::connect(&url).await.unwrap();
    let mut stream = follow(&reading).await;
    until_listeners(&mut database, 1).await;

    create_role(&writing, "first").await;
    assert_eq!(stream.positions(1).await, [1]);
    // Looks that find nothing are 10, 20, 40 … ms apart: by now one was 5.1 s after the event, and
    // the next is 10.2 s after it.
    tokio::time::sleep(Duration::from_secs(6)).await;
    create_role(&writing, "second").await;
    let written = Instant::now();
    let second = stream.positions(1).await;
    let took = written.elapsed();

    assert_eq!(second, [2]);
    assert!(took < Duration::from_millis(3500), "{took:?}");
}

#[tokio::test]
async fn a_server_whose_ear_is_cut_off_looks_by_itself_and_listens_again() {
    let backend = Backend::postgres().await;
    let url = backend.store_url();
    let reading = server(&url, &[]).await;
    let writing = server(&url, &[("DORMOUSE__STORE__NOTIFY", "false")]).await;
    let mut database = PgConnection::connect(&url).await.unwrap();
    let mut stream = follow(&reading).await;
    until_listeners(&mut database, 1).await;
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
        where datname = current_database() and query ilike 'listen%'";

    for number in 0..5 {
        sqlx::query(cut).fetch_all(&mut database).await.unwrap();
        create_role(&writing, &format!("r{number}")).await;
        assert_eq!(stream.positions(1).await, [number + 1]);
    }

    until_listeners(&mut database, 1).await;
    drop(stream);
}

#[tokio::test]
async fn without_notifications_nobody_listens_and_all_is_seen() {
    for backend in [Backend::postgres().await, Backend::sqlite()] {
        let url = backend.store_url();
        let off = [("DORMOUSE__STORE__NOTIFY", "false")];
        let (reading, writing) = (server(&url, &off).await, server(&url, &off).await);
        let mut stream = follow(&reading).await;

        for number in 0..5 {
            create_role(&writing, &format!("r{number}")).await;
            assert_eq!(stream.positions(1).await, [number + 1]);
        }

        if let Backend::Postgres(url) = &backend {
            let mut database = PgConnection::connect(url).await.unwrap();
            assert_eq!(listeners(&mut database).await, 0);
        }
    }
}
