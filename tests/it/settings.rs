//! The command line and its settings, through the real binary.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::scratch;
use crate::support::server::binary;

/// The binary in an empty directory, with this `config.toml` in it unless that is empty.
fn in_directory(config: &str) -> (TempDir, Command) {
    let directory = scratch();
    if !config.is_empty() {
        fs::write(directory.path().join("config.toml"), config).unwrap();
    }
    let mut command = binary();
    command.current_dir(directory.path());
    (directory, command)
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_unknown_key_stops_the_start_with_its_file_and_line() {
    let (_directory, mut command) = in_directory("[http]\n# words\nbnd = \"127.0.0.1:1\"\n");

    let output = command.arg("serve").output().unwrap();

    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        errors(&output),
        "config.toml:3: unknown key `http.bnd` (did you mean `http.bind`?)\n"
    );
}

#[test]
fn every_mistake_is_on_a_line_of_its_own() {
    let (_directory, mut command) =
        in_directory("[store]\npool = 0\n[journal]\nmax_events = \"many\"\n");

    let output = command.arg("migrate").output().unwrap();

    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        errors(&output),
        "config.toml:2: `store.pool` must be 1 to 200, not 0\n\
         config.toml:4: `journal.max_events` must be a whole number, 1 to 10000, not text\n"
    );
}

#[test]
fn a_bad_value_in_the_environment_stops_the_start_with_the_name_of_the_variable() {
    let (_directory, mut command) = in_directory("");
    command.env("DORMOUSE__STORE__POOL", "0");

    let output = command.arg("serve").output().unwrap();

    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        errors(&output),
        "`DORMOUSE__STORE__POOL`: `store.pool` must be 1 to 200, not 0\n"
    );
}

#[test]
fn a_password_in_a_refused_url_is_not_printed() {
    let (_directory, mut command) = in_directory("");
    command.env("DORMOUSE__STORE__URL", "mysql://app:secret@db/app");

    let output = command.arg("serve").output().unwrap();

    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("store.url"), "{}", errors(&output));
    assert!(!errors(&output).contains("secret"));
}

#[test]
fn a_named_file_that_is_missing_stops_the_start() {
    let (_directory, mut command) = in_directory("");

    let output = command
        .args(["serve", "--config", "other.toml"])
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).starts_with("other.toml: cannot be read: "),
        "{}",
        errors(&output)
    );
}

#[test]
fn a_wrong_flag_is_bad_usage() {
    for arguments in [
        &["serve", "--port", "1"][..],
        &["sevre"],
        &["serve", "--bind", "here"],
        &[],
    ] {
        let (_directory, mut command) = in_directory("");

        let output = command.args(arguments).output().unwrap();

        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
}

/// Each command, with the least that it takes.
const COMMANDS: &[&[&str]] = &[
    &["config"],
    &["config", "--json"],
    &["serve", "--bind", "127.0.0.1:0"],
    &["migrate"],
    &["migrate", "--role", "app"],
    &["migrate", "--with-functions"],
    &["keys", "list"],
    &[
        "keys",
        "create",
        "--name",
        "a",
        "--rights",
        "*",
        "--expires",
        "1d",
    ],
    &["keys", "revoke", "a"],
    &["events", "query"],
    &["events", "tail"],
    &["aggregate", "show", "User", "u1"],
    &["aggregate", "diff", "User", "u1"],
    &["projections", "list"],
    &["projections", "rebuild", "user_directory"],
    &["projections", "resume", "user_directory"],
    &["replay", "--type", "User"],
    &["export"],
    &["export", "--include-secrets"],
    &["import", "config.toml"],
    &["adopt", "User"],
    &["verify"],
    &["verify", "User"],
    &["repair", "User", "u1", "--from", "row", "--reason", "it"],
    &["completions", "bash"],
    &["help"],
    &["--help"],
    &["serve", "--help"],
    &["keys", "create", "--help"],
];

#[test]
fn no_command_is_left_out_here() {
    let (_directory, mut command) = in_directory("");

    let output = command.arg("--help").output().unwrap();

    let help = String::from_utf8(output.stdout).unwrap();
    let told = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = told.map_while(|line| line.split_whitespace().next());
    let known = COMMANDS.iter().map(|command| command[0]);
    assert_eq!(
        names.collect::<BTreeSet<_>>(),
        known.filter(|name| !name.starts_with('-')).collect()
    );
}

#[test]
fn the_help_names_options_and_exit_codes() {
    for (arguments, words) in [
        (
            &["--help"][..],
            &["serve", "--version", "Examples:", "Exit codes:"][..],
        ),
        (&["serve", "--help"], &["--config", "--bind", "Exit codes:"]),
        (
            &["migrate", "--help"],
            &["--config", "--role", "Exit codes:"],
        ),
    ] {
        let (_directory, mut command) = in_directory("");

        let output = command.args(arguments).output().unwrap();

        assert_eq!(output.status.code(), Some(0));
        let help = String::from_utf8(output.stdout).unwrap();
        for word in words {
            assert!(
                help.contains(word),
                "{arguments:?} does not say {word}:\n{help}"
            );
        }
    }
}

#[test]
fn the_version_is_the_one_of_the_crate() {
    let (_directory, mut command) = in_directory("");

    let output = command.arg("--version").output().unwrap();

    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        concat!("dormouse ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn no_command_tells_a_planted_secret() {
    // Nobody listens there: each command that needs the database ends with an error about it.
    let places = [
        "postgres://app:planted-7361@127.0.0.1:1/app",
        "postgres://127.0.0.1:1/app?user=app&password=planted-7361",
        "postgres://app:planted-7361@127.0.0.1:port/app",
        "sqlite:///nowhere/at/all.db?password=planted-7361",
    ];
    // Each command waits for its database: at once, not one after another.
    std::thread::scope(|scope| {
        for place in places {
            scope.spawn(move || tells_no_secret(place));
        }
    });
}

fn tells_no_secret(place: &str) {
    for arguments in COMMANDS {
        let file = "[auth]\nlogin_key = \"planted-7361-in-a-file-of-some-length\"\n";
        let (_directory, mut command) = in_directory(file);
        command.env("DORMOUSE__STORE__URL", place);
        command.env("DORMOUSE__STORE__CONNECT_TIMEOUT", "300ms");
        command.env("DORMOUSE__AUTH__MODE", "token");
        command.env("RUST_LOG", "trace");

        let output = command.args(*arguments).output().unwrap();

        let told = format!(
            "{}{}",
            errors(&output),
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(!told.is_empty(), "{arguments:?}");
        assert!(!told.contains("7361"), "{arguments:?}: {told}");
    }
}

#[test]
fn the_settings_in_force_are_printed_with_where_they_were_written() {
    let (_directory, mut command) = in_directory("[store]\npool = 3\n");
    command.env("DORMOUSE__LOG__FILTER", "warn");

    let output = command.arg("config").output().unwrap();

    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str| told.lines().find(|line| line.starts_with(key)).unwrap();
    assert!(line("store.pool = 3 ").ends_with("# config.toml:2"));
    assert!(line("log.filter = \"warn\"").ends_with("# `DORMOUSE__LOG__FILTER`"));
    assert!(line("http.bind = \"127.0.0.1:8080\"").ends_with("# default"));
}
