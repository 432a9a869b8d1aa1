//! The log read from a shell, beside a running server.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::{Value, json};

use super::Wire;
use crate::support::{Backend, backends, scratch, server::binary};

/// The binary on the server's store, in a directory without settings.
fn run(wire: &Wire, arguments: &[&str]) -> Output {
    let directory = scratch();
    binary()
        .args(arguments)
        .current_dir(directory.path())
        .env("DORMOUSE__STORE__URL", &wire.store_url)
        .output()
        .unwrap()
}

#[track_caller]
fn printed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn lines_of_json(output: &Output) -> Vec<Value> {
    let lines = printed(output);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[track_caller]
fn refused(output: &Output, code: i32, part: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(part), "{errors} does not name {part}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

/// A server with a user that was changed twice, and a role.
async fn with_history(backend: &Backend) -> Wire {
    let wire = Wire::start(backend).await;
    wire.create_user("u1").await;
    wire.command("Role/r1", "create", &super::role("R"))
        .await
        .is(201);
    let by_ada = [("X-Created-By", "ada")];
    wire.command_with(
        "User/u1",
        "update",
        &json!({"nick_name": "Countess"}),
        &by_ada,
    )
    .await
    .is(200);
    wire.command_with(
        "User/u1",
        "change-password",
        &json!({"password": "another one"}),
        &by_ada,
    )
    .await
    .is(200);
    wire
}

#[tokio::test]
async fn a_query_prints_what_the_filters_mean() {
    for backend in backends().await {
        let wire = with_history(&backend).await;

        let all = lines_of_json(&run(&wire, &["events", "query", "--json"]));
        let by_ada = [
            "events",
            "query",
            "--created-by",
            "ada",
            "--order",
            "desc",
            "--json",
        ];
        let by_ada = lines_of_json(&run(&wire, &by_ada));
        let limited = run(
            &wire,
            &["events", "query", "--limit", "1", "--after", "1", "--json"],
        );
        let table = printed(&run(&wire, &["events", "query", "--type", "Role"]));

        let positions = |events: &[Value]| -> Vec<u64> {
            events
                .iter()
                .map(|event| event["position"].as_u64().unwrap())
                .collect()
        };
        assert_eq!(positions(&all), [1, 2, 3, 4]);
        assert_eq!(all[0], wire.events("User/u1").await[0]);
        assert_eq!(positions(&by_ada), [4, 3]);
        assert_eq!(positions(&lines_of_json(&limited)), [2]);
        assert!(String::from_utf8_lossy(&limited.stderr).contains("--after 2"));
        assert!(
            table.contains("RoleCreatedEvent") && !table.contains("User"),
            "{table}"
        );
    }
}

#[tokio::test]
async fn a_state_is_shown_as_it_is_and_as_it_was() {
    for backend in backends().await {
        let wire = with_history(&backend).await;

        let now = lines_of_json(&run(&wire, &["aggregate", "show", "User", "u1", "--json"]));
        let first = [
            "aggregate",
            "show",
            "User",
            "u1",
            "--version",
            "1",
            "--json",
        ];
        let first = lines_of_json(&run(&wire, &first));
        let before = ["aggregate", "show", "User", "u1", "--at", "2001-01-01"];
        let text = printed(&run(&wire, &["aggregate", "show", "User", "u1"]));

        assert_eq!(now, [wire.get("/v1/aggregates/User/u1").await.body]);
        assert_eq!(first[0]["version"], 1);
        assert_eq!(first[0]["state"]["nick_name"], "Nick");
        assert!(text.contains("\"nick_name\": \"Countess\""), "{text}");
        refused(
            &run(&wire, &before),
            3,
            "User/u1 has no events by 2001-01-01T00:00:00.000000Z",
        );
        refused(
            &run(&wire, &["aggregate", "show", "User", "u2"]),
            3,
            "User/u2 has no events",
        );
        refused(
            &run(&wire, &["aggregate", "show", "Usr", "u2"]),
            1,
            "there are: Role, User",
        );
    }
}

#[tokio::test]
async fn a_difference_is_told_field_by_field_with_who_made_it() {
    for backend in backends().await {
        let wire = with_history(&backend).await;

        let from = ["aggregate", "diff", "User", "u1", "--from", "1", "--json"];
        let changed = lines_of_json(&run(&wire, &from));
        let all = lines_of_json(&run(&wire, &["aggregate", "diff", "User", "u1", "--json"]));
        let only = [
            "aggregate",
            "diff",
            "User",
            "u1",
            "--from",
            "1",
            "--to",
            "1",
        ];
        let table = printed(&run(
            &wire,
            &["aggregate", "diff", "User", "u1", "--to", "2"],
        ));

        assert_eq!(changed.len(), 2, "{changed:?}");
        assert_eq!(changed[0]["version"], 2);
        assert_eq!(changed[0]["created_by"], "ada");
        assert_eq!(changed[0]["field"], "nick_name");
        assert_eq!(changed[0]["before"], "Nick");
        assert_eq!(changed[0]["after"], "Countess");
        // The password is a secret; that it was changed is none.
        assert_eq!(changed[1]["event_type"], "UserPasswordChangedEvent");
        assert_eq!(changed[1]["field"], Value::Null);
        assert!(all.len() > 4 && all[0]["version"] == 1, "{all:?}");
        assert!(run(&wire, &only).stdout.is_empty());
        assert!(
            table.contains("Countess") && table.contains("ada"),
            "{table}"
        );
        refused(
            &run(&wire, &["aggregate", "diff", "User", "u2"]),
            3,
            "User/u2 has no events",
        );
        let beyond = ["aggregate", "diff", "User", "u1", "--from", "9"];
        refused(&run(&wire, &beyond), 3, "at version 9");
        let backwards = [
            "aggregate",
            "diff",
            "User",
            "u1",
            "--from",
            "3",
            "--to",
            "2",
        ];
        refused(&run(&wire, &backwards), 1, "--to 2 lies before --from 3");
    }
}

/// A running `events tail`, which ends with this value.
struct Tail {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Tail {
    fn start(wire: &Wire, arguments: &[&str]) -> Self {
        let mut process = binary()
            .args(["events", "tail", "--json"])
            .args(arguments)
            .env("DORMOUSE__STORE__URL", &wire.store_url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    fn position(&mut self) -> u64 {
        let line = self.lines.next().unwrap().unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        event["position"].as_u64().unwrap()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_prints_what_is_stored_and_then_what_comes() {
    for backend in backends().await {
        let wire = with_history(&backend).await;

        let mut tail = Tail::start(&wire, &["--after", "0", "--type", "User"]);
        let stored = [tail.position(), tail.position(), tail.position()];
        wire.create_user("u2").await;
        wire.command("Role/r2", "create", &super::role("S"))
            .await
            .is(201);
        wire.create_user("u3").await;
        let live = [tail.position(), tail.position()];

        assert_eq!(stored, [1, 3, 4]);
        assert_eq!(live, [5, 7]);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told() {
    let wire = Wire::sqlite(&[]).await;
    let time = ["events", "query", "--from", "yesterday"];
    let nowhere = scratch();
    let missing = format!("sqlite://{}", nowhere.path().join("none.db").display());
    let on = |url: &str| {
        let mut command = binary();
        command
            .args(["events", "query"])
            .env("DORMOUSE__STORE__URL", url);
        command.output().unwrap()
    };

    refused(&run(&wire, &time), 2, "2011-11-01T08:30:00Z");
    refused(
        &run(&wire, &["events", "query", "--limit", "0"]),
        2,
        "--limit",
    );
    refused(
        &run(&wire, &["aggregate", "show", "User", "a b"]),
        2,
        "1 to 64 characters",
    );
    refused(&on("memory://"), 1, "memory://");
    refused(&on(&missing), 1, "none.db");
    assert!(!nowhere.path().join("none.db").exists());
}

#[tokio::test]
async fn a_read_model_is_listed_and_built_anew_while_the_server_runs() {
    for backend in backends().await {
        let wire = with_history(&backend).await;
        let serving = |output: &Output| -> Vec<u64> {
            let all = lines_of_json(output);
            let serving = all.iter().filter(|one| one["serving"] == true);
            serving
                .map(|one| one["generation"].as_u64().unwrap())
                .collect()
        };

        let list = ["projections", "list", "--json"];
        super::until("the directory is served", async || {
            serving(&run(&wire, &list)) == [1]
        })
        .await;
        let rebuild = ["projections", "rebuild", "user_directory", "--wait"];
        let done = run(&wire, &rebuild);
        let table = printed(&run(&wire, &["projections", "list"]));

        assert!(done.status.success(), "{done:?}");
        assert_eq!(serving(&run(&wire, &list)), [2]);
        assert!(
            table.contains("user_directory") && table.contains("running"),
            "{table}"
        );
        refused(
            &run(&wire, &["projections", "rebuild", "other"]),
            1,
            "known are: user_directory",
        );
        let resume = ["projections", "resume", "user_directory"];
        refused(&run(&wire, &resume), 1, "stands still before no event");
        let found = wire.get("/v1/read/users?name_prefix=u").await;
        assert_eq!(found.is(200).body["users"].as_array().unwrap().len(), 1);
    }
}

/// Runs the binary with its stdout at a reader who is gone, or on a disk that is full.
fn printing_to(stdout: impl Into<Stdio>, store_url: &str, arguments: &[&str]) -> Output {
    let directory = scratch();
    let mut command = binary();
    command
        .args(arguments)
        .current_dir(directory.path())
        .env("DORMOUSE__STORE__URL", store_url)
        .stdout(stdout);
    command.output().unwrap()
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_is_no_failure_and_a_full_disk_is() {
    let wire = Wire::sqlite(&[]).await;
    let (gone, full) = (
        || std::io::pipe().unwrap().1,
        || std::fs::File::create("/dev/full").unwrap(),
    );
    for arguments in [
        &["config"][..],
        &["config", "--json"],
        &["keys", "list"],
        &["keys", "subject", "ada"],
        &["projections", "list"],
    ] {
        // An empty list of keys prints nothing.
        if arguments == ["keys", "list"] {
            let make = [
                "keys",
                "create",
                "--name",
                "a",
                "--rights",
                "audit",
                "--expires",
                "1d",
            ];
            printed(&run(&wire, &make));
        }
        let left = printing_to(gone(), &wire.store_url, arguments);
        assert!(left.status.success(), "{arguments:?}: {left:?}");
        let cut = printing_to(full(), &wire.store_url, arguments);
        assert_eq!(cut.status.code(), Some(1), "{arguments:?}: {cut:?}");
        let told = String::from_utf8_lossy(&cut.stderr);
        assert!(told.contains("No space left"), "{arguments:?}: {told}");
    }
    // A key that nobody has seen is lost.
    let make = [
        "keys",
        "create",
        "--name",
        "b",
        "--rights",
        "audit",
        "--expires",
        "1d",
    ];
    let lost = printing_to(gone(), &wire.store_url, &make);
    assert_eq!(lost.status.code(), Some(1), "{lost:?}");
}

#[test]
fn shells_are_told_how_to_complete() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = binary().args(["completions", shell]).output().unwrap();
        let script = printed(&output);
        assert!(
            script.contains("aggregate") && script.contains("query"),
            "{shell}"
        );
    }
}

/// What bash would offer after these words.
fn offered(words: &str) -> Vec<String> {
    let script = printed(&binary().args(["completions", "bash"]).output().unwrap());
    let words_and_nothing = format!("{words} ''");
    let ask = format!(
        "{script}\nCOMP_WORDS=({words_and_nothing}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         _dormouse dormouse '' \"${{COMP_WORDS[-2]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash").args(["-c", &ask]).output().unwrap();
    printed(&output).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_their_options() {
    for (words, expected) in [
        (
            "dormouse",
            &["serve", "migrate", "replay", "events", "aggregate"][..],
        ),
        ("dormouse events", &["query", "tail"]),
        ("dormouse aggregate", &["show", "diff"]),
        ("dormouse projections", &["list", "rebuild", "resume"]),
        (
            "dormouse aggregate show",
            &["--version", "--at", "--json", "--config"],
        ),
        ("dormouse events query --order", &["asc", "desc"]),
    ] {
        let offered = offered(words);
        for word in expected {
            let found = offered.iter().any(|offered| offered == word);
            assert!(found, "{words}: {word} is not in {offered:?}");
        }
    }
}
