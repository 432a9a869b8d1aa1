//! The log of the real binary: lines that a program can read, and whose request each is about.

use serde_json::Value;

use super::{Wire, user};
use crate::support::{Backend, command::run, server::Server};

const CORRELATION: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[tokio::test]
async fn as_json_each_line_is_an_object_and_a_commands_lines_tell_whose_they_are() {
    let settings = [
        ("DORMOUSE__LOG__FORMAT", "json"),
        ("DORMOUSE__LOG__FILTER", "info,dormouse=debug"),
    ];
    let mut wire = Wire::sqlite(&settings).await;
    let headers = [("X-Correlation-Id", CORRELATION)];
    wire.command_with("User/u1", "create", &user("ada"), &headers)
        .await
        .is(201);
    wire.command_with("User/u1", "create", &user("ada"), &headers)
        .await
        .problem(422, "command-rejected");
    wire.server.terminate();

    let log = wire.server.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();

    for message in ["answered", "not carried out"] {
        let line = lines
            .iter()
            .find(|line| line["fields"]["message"] == message);
        let line = line.unwrap_or_else(|| panic!("no line says `{message}`:\n{log}"));
        let span = &line["span"];
        let told = ["name", "aggregate_type", "aggregate_id", "command"].map(|name| &span[name]);
        assert_eq!(told, ["command", "User", "u1", "create"], "{line}");
        assert_eq!(span["correlation_id"], CORRELATION, "{line}");
        assert!(
            line["timestamp"]
                .as_str()
                .is_some_and(|at| at.ends_with('Z'))
        );
        assert_eq!(line["level"], "DEBUG");
    }
}

#[tokio::test]
async fn as_text_the_log_is_no_json_and_has_no_colours_in_a_file() {
    let wire = Wire::sqlite(&[("DORMOUSE__LOG__FILTER", "dormouse=debug")]).await;
    wire.create_user("u1").await;

    let log = wire.server.log();

    let line = log.lines().find(|line| line.contains("answered"));
    let line = line.unwrap_or_else(|| panic!("no command in the log:\n{log}"));
    for part in [
        "DEBUG",
        "aggregate_type=",
        "aggregate_id=u1",
        "correlation_id=",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!log.contains('\u{1b}'), "{log}");
}

#[tokio::test]
async fn a_start_on_a_database_that_is_migrated_tells_nothing_of_its_schema() {
    let url = Backend::postgres().await.store_url();
    run(&url, &["migrate"]).prints(0);
    let mut server = Server::start(&[("DORMOUSE__STORE__URL", url.as_str())]).await;
    assert!(server.terminate().success());

    let log = server.log();

    assert!(log.contains("listening on"), "{log}");
    assert!(!log.contains("_sqlx_migrations"), "{log}");
}
