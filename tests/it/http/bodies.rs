//! Bodies that are no JSON or no command: what is wrong is told by its name.

use reqwest::Method;
use serde_json::json;

use super::{Wire, send, user};

#[tokio::test]
async fn what_is_no_json_is_invalid_json() {
    let wire = Wire::sqlite(&[]).await;
    let bodies: [&[u8]; 10] = [
        b"{",
        b"nothing",
        b"{\"username\": \"a\"",
        b"{} {}",
        b"{'username': 'a'}",
        b"{\"username\": \"a\",}",
        b"\xef\xbb\xbf{}",
        b"{\"username\": \"\xff\"}",
        b"{\"unknown\": \"\xff\"}",
        b" ",
    ];
    for body in bodies {
        let request = wire
            .request(Method::POST, "/v1/aggregates/User/u1/commands/create")
            .header("content-type", "application/json")
            .body(body);

        let answer = send(request).await;

        answer.problem(400, "invalid-json");
    }
    assert_eq!(wire.head().await, 0);
}

/// Type, command, what the detail must name, and the body.
const MALFORMED: &str = r#"
User create username {}
User create password {"username":"a"}
User create object [{"username":"a","password":"p","domain":"d","nick_name":"n"}]
User create object "text"
User create object null
User create object 7
User update status {"status":"enabled"}
User update status {"status":{"ENABLED":null}}
User update status {"status":null}
User update status {"status":1}
User update nick_name {"nick_name":null}
User update username {"username":"b"}
User update email {"email":["a@b"]}
User update email {"email":"none"}
User change-password password {}
User change-password password {"password":""}
User change-password password {"password":12345678}
User assign-roles role_ids {}
User assign-roles role_ids {"role_ids":"r"}
User assign-roles role_ids[1] {"role_ids":["r","a/b"]}
User delete really {"really":true}
Role create name {"code":"c"}
Role create pid {"code":"c","name":"n","pid":"a b"}
Role create description {"code":"c","name":"n","description":7}
Role update code {"code":"d"}
Role assign-permissions permissions {"permissions":{}}
Role assign-permissions permissions[0] {"permissions":["a"]}
Role assign-permissions permissions[0] {"permissions":[["a","b"]]}
Role assign-permissions permissions[1] {"permissions":[{"resource":"a","action":"b"},{"resource":"a"}]}
Role assign-permissions permissions[0].action {"permissions":[{"resource":"a","action":1}]}
Role assign-permissions on {"permissions":[{"resource":"a","action":"b","on":1}]}
"#;

#[tokio::test]
async fn an_invalid_command_names_the_field() {
    let wire = Wire::sqlite(&[]).await;
    for line in MALFORMED.lines().filter(|line| !line.is_empty()) {
        let parts: Vec<&str> = line.splitn(4, ' ').collect();
        let [aggregate_type, command, named, body] = parts[..] else {
            panic!("{line}");
        };
        let body = serde_json::from_str(body).unwrap();
        let aggregate = format!("{aggregate_type}/x");

        let answer = wire.command(&aggregate, command, &body).await;

        answer.problem_about(400, "invalid-command", named);
    }
    assert_eq!(wire.head().await, 0);
}

#[tokio::test]
async fn a_text_that_breaks_its_rule_is_an_invalid_command() {
    let wire = Wire::sqlite(&[]).await;
    let cases = [
        ("username", json!("")),
        ("username", json!(" a")),
        ("username", json!("a\0b")),
        ("username", json!("x".repeat(65))),
        ("username", json!(null)),
        ("user_name", json!("a")),
        ("password", json!("x".repeat(1025))),
        ("nick_name", json!("  ")),
        ("domain", json!("a\n")),
        ("email", json!("nobody")),
        ("email", json!(format!("a@{}", "b".repeat(253)))),
        ("phone_number", json!("none")),
        ("avatar", json!([])),
    ];
    for (member, value) in cases {
        let mut body = user("a");
        body[member] = value;

        let answer = wire.command("User/x", "create", &body).await;

        answer.problem_about(400, "invalid-command", member);
    }
    let ids: Vec<String> = (0..1001).map(|number| number.to_string()).collect();
    let many = json!({ "role_ids": ids });
    let answer = wire.command("User/x", "assign-roles", &many).await;
    answer.problem_about(400, "invalid-command", "1000");
    assert_eq!(wire.head().await, 0);
}
