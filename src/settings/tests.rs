//! The settings as an operator meets them: what loads, and what each mistake is answered with.

use std::path::Path;
use std::time::Duration;

use super::load::Draft;
use super::names::{AGGREGATES, keys_of, names};
use super::*;

fn load(file: &str, env: &[(&str, &str)]) -> Result<Settings, String> {
    let mut draft = Draft::default();
    draft.add_file(Path::new("config.toml"), file);
    for (name, value) in env {
        draft.add_env(name, value);
    }
    draft.finish().map_err(|error| error.to_string())
}

fn refused(file: &str) -> String {
    load(file, &[]).unwrap_err()
}

fn refused_env(name: &str, value: &str) -> String {
    load("", &[(name, value)]).unwrap_err()
}

#[test]
fn nothing_written_gives_the_defaults() {
    assert_eq!(load("", &[]).unwrap(), Settings::default());
    assert_eq!(Settings::default().http.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(Settings::default().store.writers(), Writers::Exclusive);
}

#[test]
fn the_file_in_the_repository_holds_every_default() {
    let shipped = include_str!("../../config.toml");
    let key = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    let keys: Vec<&str> = shipped.lines().filter(key).map(|line| &line[1..]).collect();

    let mut settings = load(&keys.join("\n"), &[]).unwrap();

    assert_eq!(
        settings.aggregates.remove("User"),
        Some(AggregateSettings::default())
    );
    let mut expected = Settings::default();
    expected.store.writers = Some(expected.store.writers());
    assert_eq!(settings, expected);
    assert_eq!(load(shipped, &[]).unwrap(), Settings::default());
    let mut section = "";
    let mut written = Vec::new();
    for line in keys {
        match line.strip_prefix('[') {
            Some(name) => section = name.split(['.', ']']).next().unwrap(),
            None => written.push((section, line.split(" = ").next().unwrap())),
        }
    }
    for section in names() {
        for key in keys_of(section).unwrap() {
            let found = written.iter().filter(|one| **one == (section, *key));
            assert_eq!(found.count(), 1, "{section}.{key}");
        }
    }
}

#[test]
fn the_file_changes_what_it_names() {
    let file = "[http]\nbind = \"0.0.0.0:80\"\n[store]\nurl = \"postgres://h/d\"\nconnect_timeout = \"2m\"";

    let settings = load(file, &[]).unwrap();

    assert_eq!(settings.http.bind.port(), 80);
    assert_eq!(settings.store.url.kind(), StoreKind::Postgres);
    assert_eq!(settings.store.writers(), Writers::Shared);
    assert_eq!(settings.store.connect_timeout, Duration::from_mins(2));
    assert_eq!(settings.store.pool, 10);
}

#[test]
fn the_environment_wins_over_the_file() {
    let env = [
        ("DORMOUSE__STORE__POOL", "7"),
        ("DORMOUSE__store__URL", "postgres://u:p@h/d"),
        ("DORMOUSE__STORE__MIGRATE", "false"),
        ("DORMOUSE__STORE__CONNECT_TIMEOUT", "500ms"),
        ("DORMOUSE__LOG__FORMAT", "json"),
        ("DORMOUSE__LOG__FILTER", "\"warn\""),
        ("HOME", "/home"),
    ];

    let settings = load("[store]\npool = 3", &env).unwrap();

    assert_eq!(settings.store.pool, 7);
    assert_eq!(settings.store.url.expose(), "postgres://u:p@h/d");
    assert!(!settings.store.migrate);
    assert_eq!(settings.store.connect_timeout, Duration::from_millis(500));
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.log.filter, "warn");
}

#[test]
fn text_that_looks_like_a_number_is_text_where_text_is_wanted() {
    let settings = load("", &[("DORMOUSE__LOG__FILTER", "3")]).unwrap();

    assert_eq!(settings.log.filter, "3");
}

#[test]
fn an_aggregate_type_has_its_own_entry_or_the_defaults() {
    let env = [("DORMOUSE__AGGREGATES__User__SNAPSHOT_EVERY", "5")];

    let settings = load("[aggregates.User]\nmailbox = 9\n[aggregates.Role]", &env).unwrap();

    assert_eq!(settings.aggregate("User").snapshot_every, 5);
    assert_eq!(settings.aggregate("User").mailbox, 9);
    assert_eq!(settings.aggregate("Order"), AggregateSettings::default());
    assert_eq!(
        settings.aggregate_names().collect::<Vec<_>>(),
        ["Role", "User"]
    );
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
    assert_eq!(
        refused("\n[http]\nbnd = 1"),
        "config.toml:3: unknown key `http.bnd` (did you mean `http.bind`?)"
    );
    assert_eq!(
        refused("[http]\npool = 1"),
        "config.toml:2: unknown key `http.pool` (did you mean `store.pool`?)"
    );
    assert_eq!(
        refused("bind = 1"),
        "config.toml:1: unknown key `bind` (did you mean `http.bind`?)"
    );
    assert_eq!(
        refused("[aggregates.User]\nmailbx = 1"),
        "config.toml:2: unknown key `aggregates.User.mailbx` (did you mean `aggregates.User.mailbox`?)"
    );
    assert_eq!(
        refused("[http]\nzebra = 1"),
        "config.toml:2: unknown key `http.zebra`"
    );
    assert_eq!(
        refused_env("DORMOUSE__HTTP__BND", "x"),
        "`DORMOUSE__HTTP__BND`: unknown key `http.bnd` (did you mean `http.bind`?)"
    );
    assert_eq!(
        refused_env("DORMOUSE__HTPP__BIND", "x"),
        "`DORMOUSE__HTPP__BIND`: unknown key `htpp.bind` (did you mean `http.bind`?)"
    );
    assert_eq!(
        refused_env("DORMOUSE__ZEBRA", "x"),
        "`DORMOUSE__ZEBRA`: unknown key `zebra`"
    );
}

#[test]
fn an_unknown_section_is_named_with_its_line() {
    assert_eq!(
        refused("\n\n[htpp]\nbind = 1"),
        "config.toml:3: unknown section `htpp` (did you mean `http`?)"
    );
    assert_eq!(refused("[zebra]"), "config.toml:1: unknown section `zebra`");
}

#[test]
fn a_syntax_error_has_its_line() {
    let message = refused("[http]\nbind = \"127.0.0.1:80\"\nworkers = = 2");

    assert!(message.starts_with("config.toml:3: "), "{message}");
}

#[test]
fn a_value_out_of_range_is_answered_with_the_range() {
    let cases = [
        (
            "[store]\npool = 0",
            "config.toml:2: `store.pool` must be 1 to 200, not 0",
        ),
        (
            "[store]\npool = -1",
            "config.toml:2: `store.pool` must be 1 to 200, not -1",
        ),
        (
            "[runtime]\nmax_live = 0",
            "config.toml:2: `runtime.max_live` must be at least 1, not 0",
        ),
        (
            "[http]\nbody_limit = 1023",
            "config.toml:2: `http.body_limit` must be 1024 to 67108864, not 1023",
        ),
        (
            "[runtime]\nshutdown_timeout = \"0s\"",
            "config.toml:2: `runtime.shutdown_timeout` must be more than 0s and at most a day, not 0s",
        ),
        (
            "[runtime]\nshutdown_timeout = \"25h\"",
            "config.toml:2: `runtime.shutdown_timeout` must be more than 0s and at most a day, not 1day 1h",
        ),
        (
            "[iam]\nargon2_memory_kib = 8\nargon2_parallelism = 2",
            "config.toml:2: `iam.argon2_memory_kib` must be at least 8 for each lane of \
             `iam.argon2_parallelism`, so 16",
        ),
    ];

    for (file, message) in cases {
        assert_eq!(refused(file), message);
    }
    assert_eq!(
        refused_env("DORMOUSE__STORE__POOL", "0"),
        "`DORMOUSE__STORE__POOL`: `store.pool` must be 1 to 200, not 0"
    );
}

#[test]
fn keys_that_grow_too_old_between_two_looks_are_refused() {
    let message = "`auth.keys_max_age` must be more than `auth.keys_reload`";
    for (max_age, reload) in [("5s", "5s"), ("1s", "5s")] {
        let file = format!("[auth]\nkeys_max_age = \"{max_age}\"\nkeys_reload = \"{reload}\"");
        assert_eq!(refused(&file), format!("config.toml:2: {message}"));
    }
    // Whoever has written the other of the two alone is told of both as well.
    let told = refused("[auth]\nkeys_reload = \"1m\"");
    assert!(told.ends_with(message), "{told}");
    assert!(load("[auth]\nkeys_max_age = \"6s\"", &[]).is_ok());
}

#[test]
fn a_value_of_the_wrong_type_is_answered_with_the_right_one() {
    let cases = [
        (
            "[store]\npool = \"10\"",
            "`store.pool` must be a whole number, 1 to 200, not text",
        ),
        (
            "[store]\nmigrate = 1",
            "`store.migrate` must be true or false, not a number",
        ),
        (
            "[http]\nbind = \"here\"",
            "`http.bind` must be an IP address and a port, like \"127.0.0.1:8080\"",
        ),
        (
            "[log]\nformat = \"xml\"",
            "`log.format` must be \"text\" or \"json\"",
        ),
        (
            "[log]\nfilter = \"a=b=c\"",
            "`log.filter` must be a log filter, like \"info\" or \"info,dormouse=debug\"",
        ),
        (
            "[store]\nconnect_timeout = 5",
            "`store.connect_timeout` must be a time with its unit, like \"30s\" or \"500ms\", not a number",
        ),
        (
            "[store]\nconnect_timeout = \"5\"",
            "`store.connect_timeout` must be a time with its unit, like \"30s\" or \"500ms\"",
        ),
    ];

    for (file, message) in cases {
        assert_eq!(refused(file), format!("config.toml:2: {message}"));
    }
    assert_eq!(
        refused("http = 3"),
        "config.toml:1: `http` must be a table, which begins with [http]"
    );
    assert_eq!(
        refused_env("DORMOUSE__STORE__POOL", "ten"),
        "`DORMOUSE__STORE__POOL`: `store.pool` must be a whole number, 1 to 200, not text"
    );
}

#[test]
fn each_type_has_a_mode_and_a_table_of_its_own() {
    let settings = load(
        "[aggregates.User]\nmode = \"dual-write\"\nstate_table = \"admin.sys_user\"\n\
         [aggregates.Role]\nmode = \"state-only\"",
        &[("DORMOUSE__AGGREGATES__Role__STATE_TABLE", "sys_role")],
    );

    let settings = settings.unwrap();
    let user = settings.aggregate("User");
    assert_eq!(
        (user.mode, &*user.state_table),
        (Mode::DualWrite, "admin.sys_user")
    );
    let role = settings.aggregate("Role");
    assert_eq!(
        (role.mode, &*role.state_table),
        (Mode::StateOnly, "sys_role")
    );
    assert_eq!(settings.aggregate("Other").mode, Mode::EventSourced);
}

#[test]
fn a_mode_and_a_table_that_cannot_be_are_refused() {
    assert_eq!(
        refused("[aggregates.User]\nmode = \"dual\""),
        "config.toml:2: `aggregates.User.mode` must be \"event-sourced\", \"dual-write\" or \
         \"state-only\""
    );
    for table in ["a.b.c", ".a", "a.", &"x".repeat(64)] {
        assert_eq!(
            refused(&format!("[aggregates.User]\nstate_table = \"{table}\"")),
            "config.toml:2: `aggregates.User.state_table` must be the name of a table, like \
             \"sys_user\" or \"admin.sys_user\""
        );
    }
}

#[test]
fn exclusive_writing_on_postgres_is_refused() {
    assert_eq!(
        refused("[store]\nurl = \"postgres://h/d\"\nwriters = \"exclusive\""),
        "config.toml:3: `store.writers` must be \"shared\" on PostgreSQL: \
         \"exclusive\" is not supported there yet"
    );
}

#[test]
fn every_mistake_is_reported_at_once_in_the_order_of_the_file() {
    let file = "[store]\npool = 0\n[http]\nbnd = 1\nworkers = 5000\n[htpp]";

    let message = load(file, &[("DORMOUSE__LOG__FORMAT", "xml")]).unwrap_err();

    let origins: Vec<&str> = message
        .lines()
        .filter_map(|line| line.split(": ").next())
        .collect();
    assert_eq!(
        origins,
        [
            "config.toml:2",
            "config.toml:4",
            "config.toml:5",
            "config.toml:6",
            "`DORMOUSE__LOG__FORMAT`"
        ]
    );
}

#[test]
fn a_named_file_that_is_not_there_is_refused() {
    let error = Settings::load(Some(Path::new("no/such.toml")), std::iter::empty()).unwrap_err();

    assert!(
        error
            .to_string()
            .starts_with("no/such.toml: cannot be read: "),
        "{error}"
    );
}

#[test]
fn a_password_is_in_no_error_and_in_no_debug_output() {
    let url = "postgers://user:secret@host/db";
    for message in [
        refused(&format!("[store]\nurl = \"{url}\"")),
        refused(&format!("[store]\nurl = [\"{url}\"]")),
        refused(&format!("[store]\nurl = \"{url}")),
        refused(&format!("[store]\nurl = {url}")),
        refused(&format!("[store]\npool = \"{url}\"\nwriters = \"{url}\"")),
        refused(&format!("store = \"{url}\"")),
        refused_env("DORMOUSE__STORE__URL", url),
        refused_env("DORMOUSE__STORE__POOL", url),
        refused_env("DORMOUSE__HTTP__BIND", url),
        refused_env("DORMOUSE__LOG__FILTER", &format!("a=b=c {url}")),
        refused_env("DORMOUSE__AGGREGATES__User__MODE", url),
    ] {
        assert!(!message.contains("secret"), "{message}");
    }
    let settings = load("", &[("DORMOUSE__STORE__URL", "postgres://u:secret@h/d")]).unwrap();
    assert!(!format!("{settings:?}").contains("secret"));
}

fn shown(env: &[(&str, &str)]) -> Vec<ShownSetting> {
    let env = env.iter();
    let env = env.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    // A file that is there and empty.
    Settings::shown(Some(Path::new("/dev/null")), env).unwrap()
}

#[test]
fn every_setting_is_shown_with_its_default() {
    let all = shown(&[]);

    for section in names().filter(|section| *section != AGGREGATES) {
        for key in keys_of(section).unwrap() {
            let key = format!("{section}.{key}");
            let found: Vec<_> = all.iter().filter(|shown| shown.key == key).collect();
            assert_eq!(found.len(), 1, "{key}");
            assert_eq!(found[0].origin, None);
        }
    }
    // What is shown is what is in force.
    let defaults: Vec<_> = all
        .iter()
        .map(|shown| format!("{}={}", shown.key, shown.value))
        .collect();
    assert!(
        defaults.contains(&"http.bind=\"127.0.0.1:8080\"".to_owned()),
        "{defaults:?}"
    );
}

#[test]
fn a_setting_is_shown_with_where_it_was_written_and_without_its_secret() {
    let all = shown(&[
        (
            "DORMOUSE__STORE__URL",
            "postgres://u:secret-1@h/d?password=secret-2",
        ),
        (
            "DORMOUSE__AUTH__LOGIN_KEY",
            "secret-3-0123456789abcdef0123456789",
        ),
        ("DORMOUSE__AGGREGATES__User__MAILBOX", "7"),
    ]);

    let of = |key: &str| all.iter().find(|shown| shown.key == key).unwrap();
    assert_eq!(
        of("store.url").value,
        "\"postgres://u:***@h/d?password=***\""
    );
    let name = "DORMOUSE__STORE__URL".to_owned();
    assert_eq!(of("store.url").origin, Some(Origin::Env { name }));
    assert_eq!(of("auth.login_key").value, "\"***\"");
    assert_eq!(of("store.writers").value, "\"shared\"");
    assert_eq!(of("aggregates.User.mailbox").value, "7");
    assert!(!format!("{all:?}").contains("secret-"));
    // A key that looks like a number is a secret all the same.
    let digits = "7".repeat(18);
    let refused = Settings::shown(
        None,
        [("DORMOUSE__AUTH__LOGIN_KEY".to_owned(), digits.clone())].into_iter(),
    );
    assert!(!format!("{:?} {}", refused, refused.as_ref().unwrap_err()).contains(&digits));
}
