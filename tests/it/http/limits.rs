//! Bodies that are too large or of another type.

use reqwest::Method;
use serde_json::json;

use super::{Wire, raw, send, user};

const CREATE: &str = "/v1/aggregates/User/u1/commands/create";
const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn an_announced_body_over_the_limit_is_refused_unread() {
    let wire = Wire::sqlite(&[]).await;
    let head = format!(
        "POST {CREATE} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        MIB + 1
    );

    let answer = raw::exchange(wire.server.address(), head.as_bytes()).await;

    answer
        .unwrap()
        .problem_about(413, "payload-too-large", "1048576");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_is_sent() {
    let wire = Wire::sqlite(&[]).await;
    let blanks = vec![b' '; MIB + 1];
    let whole = wire
        .request(Method::POST, CREATE)
        .header("content-type", "application/json")
        .body(blanks.clone());
    let mut chunked = format!(
        "POST {CREATE} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for chunk in blanks.chunks(64 * 1024) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");

    let whole = send(whole).await;
    let chunked = raw::exchange(wire.server.address(), &chunked)
        .await
        .unwrap();

    whole.problem(413, "payload-too-large");
    chunked.problem(413, "payload-too-large");
    assert_eq!(wire.head().await, 0);
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_read() {
    let limit = [("DORMOUSE__HTTP__BODY_LIMIT", "2048")];
    let wire = Wire::sqlite(&limit).await;
    let mut body = user("a").to_string();
    body.push_str(&" ".repeat(2048 - body.len()));
    let request = |body: String| {
        let request = wire.request(Method::POST, CREATE);
        request
            .header("content-type", "application/json")
            .body(body)
    };

    let over = send(request(format!("{body} "))).await;
    let exact = send(request(body)).await;

    over.problem_about(413, "payload-too-large", "2048");
    exact.is(201);
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json_in_utf_8_and_as_it_is() {
    let wire = Wire::sqlite(&[]).await;
    let refused: [&[(&str, &str)]; 9] = [
        &[],
        &[("content-type", "")],
        &[("content-type", "text/json")],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/json; charset=iso-8859-1")],
        &[
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
        ],
        &[
            ("content-type", "application/json"),
            ("content-encoding", "br"),
        ],
        &[("content-type", "applicationjson")],
    ];
    let taken: [&[(&str, &str)]; 4] = [
        &[("content-type", "application/json; charset=UTF-8")],
        &[("content-type", "Application/JSON;charset=\"utf-8\"")],
        &[("content-type", "application/vnd.example+json")],
        &[
            ("content-type", "application/json"),
            ("content-encoding", "identity"),
        ],
    ];
    let post = async |id: &str, headers: &[(&str, &str)]| {
        let path = format!("/v1/aggregates/User/{id}/commands/create");
        let mut request = wire.request(Method::POST, &path).body(user(id).to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        send(request).await
    };

    for headers in refused {
        post("u", headers)
            .await
            .problem(415, "unsupported-media-type");
    }
    for (number, headers) in taken.into_iter().enumerate() {
        post(&format!("u{number}"), headers).await.is(201);
    }
}

#[tokio::test]
async fn no_body_is_an_empty_command_and_needs_no_type() {
    let wire = Wire::sqlite(&[]).await;
    wire.create_user("u1").await;

    let nothing = send(wire.request(Method::POST, "/v1/aggregates/User/u1/commands/update")).await;
    let deleted = send(wire.request(Method::POST, "/v1/aggregates/User/u1/commands/delete")).await;
    let missing = send(wire.request(Method::POST, "/v1/aggregates/User/u2/commands/create")).await;

    assert_eq!(nothing.is(200).body["events"], json!([]));
    assert_eq!(deleted.is(200).event_types(), ["UserDeletedEvent"]);
    missing.problem_about(400, "invalid-command", "username");
}
