//! Who may know whom: reads the sources and fails on an import that goes the other way.

use crate::source_files::rust_files;

/// Each module of the crate and the modules it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("settings", &[]),
    // Counts and their text; it knows nothing of what is counted.
    ("metrics", &[]),
    ("store", &["domain", "settings"]),
    ("auth", &["store", "domain", "settings", "metrics"]),
    ("testing", &["domain", "store"]),
    ("runtime", &["store", "domain", "settings", "metrics"]),
    ("projection", &["store", "domain", "settings", "metrics"]),
    // It works on rows and events alone, beside whatever serves them.
    ("adoption", &["store", "domain", "settings", "metrics"]),
    ("iam", &["domain", "settings"]),
    (
        "http",
        &[
            "runtime",
            "projection",
            "adoption",
            "store",
            "domain",
            "settings",
            "metrics",
            "auth",
        ],
    ),
    (
        "cli",
        &[
            "runtime",
            "projection",
            "adoption",
            "store",
            "domain",
            "settings",
            "auth",
        ],
    ),
];

/// Single files that may name one module more, each with its reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Tells the runtime which commands the reference domain has; the domain itself does not know.
    ("src/iam/register.rs", "runtime"),
    // Signs users in: it asks them through the runtime, and what a right is, auth says.
    ("src/iam/login.rs", "runtime"),
    ("src/iam/login.rs", "store"),
    ("src/iam/login.rs", "auth"),
    ("src/iam/register.rs", "adoption"),
    // The directory of users is a read model: it owns tables, and what it gets are stored events.
    ("src/iam/directory/mod.rs", "projection"),
    ("src/iam/directory/mod.rs", "store"),
    ("src/iam/directory/entry.rs", "store"),
    ("src/iam/directory/search.rs", "projection"),
    ("src/iam/directory/search.rs", "store"),
    ("src/iam/directory/tables.rs", "projection"),
    ("src/iam/directory/tables.rs", "store"),
    // Tests of aggregates are given/when/then; nothing that is shipped knows it.
    ("src/iam/user/tests.rs", "testing"),
    ("src/iam/role/tests.rs", "testing"),
    // What an aggregate must keep shows when the real runtime runs it.
    ("src/testing/aggregate_contract.rs", "runtime"),
    ("src/testing/aggregate_contract/disturbance.rs", "runtime"),
    ("src/testing/aggregate_contract/node.rs", "runtime"),
    ("src/testing/aggregate_contract/node.rs", "settings"),
    // The reference domain keeps it, too.
    ("src/iam/register/tests.rs", "testing"),
    // Its tests need a clock that they can move.
    ("src/auth/tests.rs", "testing"),
    // Its tests need a store that fails where they want it to.
    ("src/projection/subscription/tests.rs", "testing"),
    ("src/runtime/model_tests/node.rs", "testing"),
];

/// The files of the library's root and of the binary, which may name everything.
const ROOTS: &[&str] = &[
    "lib", "main", "serve", "migrate", "history", "replay", "adopt", "logging", "otlp", "run",
    "throttle", "keys", "config",
];

/// Crates that stay behind a module: the crate, and the beginnings of the paths that may name it.
const CONFINED: &[(&str, &[&str])] = &[
    ("actix", &["src/runtime/", "src/runtime.rs"]),
    ("actix_rt", &["src/runtime/", "src/runtime.rs"]),
    ("actix_web", &["src/http/", "src/http.rs", "src/serve.rs"]),
    ("actix_http", &["src/http/"]),
    ("actix_service", &["src/http/"]),
    ("tokio_rustls", &["src/http/"]),
    // A read model owns tables in the log's database, so what it is handed is a connection.
    (
        "sqlx",
        &[
            "src/store/sqlite",
            "src/store/postgres",
            "src/store/models/",
            "src/iam/directory/",
        ],
    ),
];

#[test]
fn every_source_keeps_to_the_layering() {
    let found: Vec<String> = rust_files(&["src"])
        .iter()
        .flat_map(|(path, source)| violations(path, source))
        .collect();

    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_planted_import_against_the_layering_is_found() {
    let planted = [
        ("src/domain/event.rs", "use crate::store::Store;"),
        (
            "src/domain/event.rs",
            "use crate::{\n    domain::Id,\n    store::Store,\n};",
        ),
        ("src/domain.rs", "use crate :: runtime;"),
        ("src/store/mod.rs", "fn f() { crate::runtime::start(); }"),
        ("src/store/memory.rs", "use super::super::http::Answer;"),
        (
            "src/store/sqlite/mod.rs",
            "use super::super::super::{domain::Id, iam::User};",
        ),
        ("src/settings/mod.rs", "pub(in crate::store) fn f() {}"),
        ("src/iam/user.rs", "use crate::runtime::Runtime;"),
        (
            "src/projection/mod.rs",
            "/* a */ use crate::runtime::Handle; // b",
        ),
        ("src/store/mod.rs", "use sqlx::PgPool;"),
        ("src/store/mod.rs", "use ::sqlx::PgPool;"),
        ("src/http/mod.rs", "use actix::Addr;"),
        ("src/main.rs", "#[actix_web::main] async fn main() {}"),
        ("src/store/mod.rs", "use {actix as a, std::fmt};"),
        ("src/runtime/actor.rs", "use actix_web::web;"),
        (
            "src/store/mod.rs",
            "const A: &str = \"/*\"; use crate::runtime::Handle;",
        ),
        (
            "src/store/mod.rs",
            "const A: char = '\"'; use crate::runtime::Handle;",
        ),
        ("src/misc.rs", ""),
    ];

    for (path, source) in planted {
        assert_eq!(violations(path, source).len(), 1, "{path}: {source}");
    }
}

#[test]
fn what_the_layering_allows_is_not_reported() {
    let allowed = [
        (
            "src/http/mod.rs",
            "use crate::{runtime::{self, Handle}, store};\nuse actix_web::web;",
        ),
        (
            "src/store/mod.rs",
            "//! [`crate::runtime`]\n// use crate::runtime;\nuse crate::store::Error;",
        ),
        (
            "src/store/mod.rs",
            "/* use crate::http; /* nested */ use sqlx::Row; */",
        ),
        (
            "src/store/mod.rs",
            "const A: &str = \"crate::runtime::x \\\" sqlx::query\";",
        ),
        (
            "src/store/mod.rs",
            "const A: &str = r#\"use \"crate::runtime::x\"#;",
        ),
        (
            "src/store/sqlite/mod.rs",
            "use super::Store; use sqlx::Row;",
        ),
        ("src/iam/register.rs", "use crate::runtime::Runtime;"),
        ("src/serve.rs", "use dormouse::http; use actix_web::App;"),
        (
            "src/runtime/actor.rs",
            "fn f<'a>(a: &'a u8) -> actix::Addr<A> { 'x' }",
        ),
        ("src/runtime/actor.rs", "use crate::store::http;"),
        (
            "src/runtime/actor.rs",
            "mod actix_web_like {} fn sqlx_like() { self::sqlx_like() }",
        ),
    ];

    for (path, source) in allowed {
        assert_eq!(violations(path, source), [""; 0], "{path}: {source}");
    }
}

/// What this source names and must not, a sentence each.
fn violations(path: &str, source: &str) -> Vec<String> {
    let modules = module_path(path);
    let module = modules[0].as_str();
    let tokens = tokens(source);
    let mut found = confined(path, &tokens);
    if ROOTS.contains(&module) {
        return found;
    }
    let Some((_, may_name)) = MAY_NAME.iter().find(|(name, _)| *name == module) else {
        found.push(format!(
            "{path}: the module `{module}` has no place in the layering yet"
        ));
        return found;
    };
    for named in named_modules(&tokens, modules.len()) {
        let known = MAY_NAME.iter().any(|(name, _)| *name == named);
        let excepted = EXCEPTIONS.contains(&(path, named));
        if known && named != module && !may_name.contains(&named) && !excepted {
            found.push(format!("{path}: `{module}` must not name `{named}`"));
        }
    }
    found.dedup();
    found
}

/// The modules a file is in, from the root of the crate: `src/store/mod.rs` is `["store"]`.
fn module_path(path: &str) -> Vec<String> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let inside = inside.trim_end_matches("/mod");
    inside.split('/').map(str::to_owned).collect()
}

fn confined(path: &str, tokens: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, places) in CONFINED {
        if places.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        // `name::…`, `use name…` and `{name…}`, but not `other::name`.
        let named = tokens.iter().enumerate().any(|(at, token)| {
            let before = at.checked_sub(1).map_or("", |at| tokens[at]);
            let inside_a_path =
                before == "::" && at >= 2 && is_name(tokens[at - 2]) && tokens[at - 2] != "use";
            let in_use = tokens.get(at + 1) == Some(&"::") || ["use", "crate"].contains(&before);
            let renamed = tokens.get(at + 1) == Some(&"as");
            token == name && !inside_a_path && (in_use || renamed)
        });
        if named {
            found.push(format!(
                "{path}: only {} may name the crate `{name}`",
                places.join(" and ")
            ));
        }
    }
    found
}

/// The first names after `crate::`, or after as many `super::` as lead to the root.
fn named_modules<'a>(tokens: &[&'a str], depth: usize) -> Vec<&'a str> {
    let mut named = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        at += 1;
        if tokens.get(at) != Some(&"::") || (start > 0 && tokens[start - 1] == "::") {
            continue;
        }
        at += 1;
        match tokens[start] {
            "crate" => {}
            "super" => {
                let mut steps = 1;
                while tokens.get(at) == Some(&"super") && tokens.get(at + 1) == Some(&"::") {
                    steps += 1;
                    at += 2;
                }
                if steps < depth {
                    continue;
                }
            }
            _ => continue,
        }
        named.extend(first_names(&tokens[at..]));
    }
    named
}

/// The name here, or the first name of each branch of the group that begins here.
fn first_names<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    if tokens.first() != Some(&"{") {
        return tokens.first().copied().into_iter().collect();
    }
    let mut names = Vec::new();
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" => depth += 1,
            "}" => depth -= 1,
            name if depth == 1 && is_name(name) && ["{", ","].contains(&tokens[at - 1]) => {
                names.push(name);
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Names, `::` and single signs; comments, texts and characters are left out.
fn tokens(source: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            'r' | 'b' | 'c' if let Some(length) = raw_text(rest) => length,
            '"' => text(rest),
            '\'' => character(rest),
            _ if first.is_whitespace() => first.len_utf8(),
            _ => {
                let token = token(rest);
                tokens.push(&rest[..token]);
                token
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn token(rest: &str) -> usize {
    let inside = |sign: char| sign.is_alphanumeric() || sign == '_';
    let name = rest.find(|sign| !inside(sign)).unwrap_or(rest.len());
    match name {
        0 if rest.starts_with("::") => 2,
        0 => rest.chars().next().map_or(1, char::len_utf8),
        _ => name,
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let (step, change) = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth = depth.saturating_add_signed(change);
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` and the like, if one begins here.
fn raw_text(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        rest.strip_prefix(prefix)
            .is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let marks = rest[prefix.len()..].find('"')?;
    let begin = prefix.len() + marks + 1;
    let end = format!("\"{}", "#".repeat(marks));
    let length = rest[begin..]
        .find(&end)
        .map_or(rest.len(), |found| begin + found + end.len());
    Some(length)
}

fn text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, sign) in rest.char_indices().skip(1) {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character such as `'"'`, or only the mark of a lifetime.
fn character(rest: &str) -> usize {
    let mut signs = rest.char_indices().skip(1);
    match signs.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |found| found + 4),
        Some(_) => match signs.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}
