//! The requests: each is wrong in one way, and none may be carried out.

use super::{CREATE, raw, user};

/// A request as bytes, and what it is.
pub(super) type Case = (String, Vec<u8>);

pub(super) fn all() -> Vec<Case> {
    [values(), bodies(), commands(), paths(), headers(), random()].concat()
}

fn case(what: impl Into<String>, path: &[u8], header: &[u8], body: &[u8]) -> Case {
    (what.into(), raw::post(path, header, body))
}

/// The body of a `create` with one member's JSON in the place of a good one.
fn with(member: &str, json: &str) -> String {
    let mut good = user("x");
    good[member] = "@".into();
    good.to_string().replace("\"@\"", json)
}

/// JSON, or nearly, where a text should be.
const VALUES: &[&str] = &[
    r#""\ud800""#,
    r#""\udc00\ud800""#,
    r#""\u0000""#,
    r#""a\u0000b""#,
    r#""\u001f""#,
    r#""\uFFFF"#,
    r#""\x41""#,
    "\"\u{7f}\"",
    "\"\u{85}\"",
    "1e400",
    "-1e400",
    "1e-400",
    "123456789012345678901234567890",
    "-0",
    "0x10",
    "NaN",
    "Infinity",
    "true",
    "null",
    "{}",
    "[]",
    "[[]]",
    r#"{"$secret":"a"}"#,
    r#"{"":""}"#,
    "\"",
    "''",
    "undefined",
];

/// Each value as a member that is known and as one that is not.
fn values() -> Vec<Case> {
    let mut values: Vec<String> = VALUES.iter().map(|json| (*json).to_owned()).collect();
    for depth in [100, 127, 128, 129, 10_000, 200_000] {
        values.push(["[".repeat(depth), "]".repeat(depth)].concat());
    }
    for depth in [127, 129, 50_000] {
        values.push(["{\"a\":".repeat(depth), "1".to_owned(), "}".repeat(depth)].concat());
    }
    values.push(format!("\"{}\"", "x".repeat(900_000)));
    values.push("9".repeat(900_000));
    let mut cases = Vec::new();
    for json in values {
        for member in ["username", "unknown"] {
            let short: String = json.chars().take(20).collect();
            let body = with(member, &json);
            cases.push(case(
                format!("{member} {short}"),
                CREATE,
                b"",
                body.as_bytes(),
            ));
        }
    }
    cases
}

/// Bodies that are wrong as a whole.
fn bodies() -> Vec<Case> {
    let good = user("x").to_string();
    let begun = |member: &str| {
        good.replacen('{', &format!("{{{member}:1,"), 1)
            .into_bytes()
    };
    let latin_1 = |byte| if byte == b'@' { 0xfc } else { byte };
    let bodies: [(&str, Vec<u8>); 12] = [
        ("a repeated member", begun("\"username\"")),
        ("an empty member", begun("\"\"")),
        ("a member with NUL", begun("\"\\u0000\"")),
        ("a surrogate as a member", begun("\"\\ud800\"")),
        ("two bodies", good.repeat(2).into_bytes()),
        (
            "a byte order mark",
            [b"\xef\xbb\xbf", good.as_bytes()].concat(),
        ),
        (
            "UTF-16",
            good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("NUL at the end", [good.as_bytes(), b"\0"].concat()),
        (
            "latin 1",
            good.replace("Nick", "@").bytes().map(latin_1).collect(),
        ),
        ("nothing but NUL", vec![0; 1000]),
        ("open brackets", b"[".repeat(1_000_000)),
        ("open objects", b"{\"a\":".repeat(200_000)),
    ];
    let cases = bodies.map(|(what, body)| case(what, CREATE, b"", &body));
    cases.into()
}

/// Commands for a user that is there.
fn commands() -> Vec<Case> {
    let commands = [
        ("update", r#"{"nick_name":"a\u0000"}"#),
        ("update", r#"{"status":{"ENABLED":null}}"#),
        ("update", r#"{"email":[null]}"#),
        ("assign-roles", r#"{"role_ids":["\ud800"]}"#),
        ("assign-roles", r#"{"role_ids":{"0":"a"}}"#),
        ("change-password", r#"{"password":"\ud800"}"#),
        ("change-password", r#"{"password":1e999}"#),
        ("delete", "[]"),
        ("delete", r#"{"":null}"#),
    ];
    let cases = commands.map(|(command, body)| {
        let path = format!("/v1/aggregates/User/known/commands/{command}");
        case(
            format!("{command} {body}"),
            path.as_bytes(),
            b"",
            body.as_bytes(),
        )
    });
    cases.into()
}

fn paths() -> Vec<Case> {
    let good = user("x").to_string();
    let long = "x".repeat(7000);
    let segments: [&[u8]; 22] = [
        b"%",
        b"%2",
        b"%zz",
        b"%00",
        b"%ff",
        b"%c3%28",
        b"%2F",
        b"%2f..%2f",
        b"a%2Fb",
        b"%25",
        b"%u0041",
        b"a;b",
        b"a\\b",
        b"a b",
        b"\xff",
        b"\xc3\xbc",
        b"a|b",
        b"<script>",
        b"'--",
        b"{id}",
        b"@",
        long.as_bytes(),
    ];
    let mut cases = Vec::new();
    for segment in segments {
        let shown = String::from_utf8_lossy(&segment[..segment.len().min(20)]).into_owned();
        let places: [(&str, [&[u8]; 3]); 2] = [
            (
                "as an id",
                [b"/v1/aggregates/User/", segment, b"/commands/create"],
            ),
            (
                "as a type",
                [b"/v1/aggregates/", segment, b"/x/commands/create"],
            ),
        ];
        for (place, parts) in places {
            cases.push(case(
                format!("{shown} {place}"),
                &parts.concat(),
                b"",
                good.as_bytes(),
            ));
        }
        let query = [CREATE, b"?", segment, b"=1"].concat();
        cases.push(case(
            format!("{shown} in the query"),
            &query,
            b"",
            good.as_bytes(),
        ));
        let get = [
            b"GET /v1/aggregates/User/known/events?limit=",
            segment,
            b" HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        ]
        .concat();
        cases.push((format!("{shown} as a limit"), get));
    }
    cases
}

fn headers() -> Vec<Case> {
    let good = user("x").to_string();
    let names = [
        "Idempotency-Key",
        "If-Match",
        "If-None-Match",
        "X-Correlation-Id",
        "X-Causation-Id",
        "X-Timeout-Ms",
        "Content-Encoding",
        "Content-Length",
    ];
    let values: [&[u8]; 5] = [
        b"\xff\xfe",
        b"\x01",
        b"a\tb",
        "ü".repeat(13).leak().as_bytes(),
        b"99999999999999999999999",
    ];
    let mut cases = Vec::new();
    for name in names {
        for value in values {
            let line = [name.as_bytes(), b": ", value, b"\r\n"].concat();
            let what = format!("{name}: {}", String::from_utf8_lossy(value));
            // A key may be a number, however large.
            if (name, value[0]) != ("Idempotency-Key", b'9') {
                cases.push(case(what, CREATE, &line, good.as_bytes()));
            }
        }
    }
    cases
}

/// Random bytes as bodies and as whole requests; the same in every run.
fn random() -> Vec<Case> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = move || {
        // Marsaglia's xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..30)
        .map(|number| {
            let bytes: Vec<u8> = (0..10 + number * 20).map(|_| next()).collect();
            match number % 3 {
                0 => (
                    format!("random {number}"),
                    [&bytes[..], b"\r\n\r\n"].concat(),
                ),
                1 => case(format!("random body {number}"), CREATE, b"", &bytes),
                _ => case(
                    format!("random text {number}"),
                    CREATE,
                    b"",
                    format!("{{{bytes:?}").as_bytes(),
                ),
            }
        })
        .collect()
}
