//! Whatever a command's body and headers are: an answer of the catalogue, and never a 5xx.
#![no_main]

mod app;

use actix_web::test::TestRequest;
use libfuzzer_sys::fuzz_target;

thread_local!(static APP: app::Kept<app::Asked> = app::Kept::new(app::Asked::new()));

const COMMANDS: [&str; 9] = [
    "User/u1/commands/create",
    "User/u1/commands/update",
    "User/u1/commands/change-password",
    "User/u1/commands/assign-roles",
    "User/u1/commands/delete",
    "Role/r1/commands/create",
    "Role/r1/commands/update",
    "Role/r1/commands/assign-permissions",
    "Role/commands/create",
];
const HEADERS: [&str; 6] = [
    "Idempotency-Key",
    "If-Match",
    "X-Correlation-Id",
    "X-Created-By",
    "X-Timeout-Ms",
    "Content-Type",
];

fuzz_target!(|input: (u8, u8, &[u8], &[u8])| {
    let (command, header, value, body) = input;
    let path = COMMANDS[usize::from(command) % COMMANDS.len()];
    let mut request = TestRequest::post().uri(&format!("/v1/aggregates/{path}"));
    let name = HEADERS[usize::from(header) % HEADERS.len()];
    if name != "Content-Type" {
        request = request.insert_header(("Content-Type", "application/json"));
    }
    if let Ok(value) = actix_web::http::header::HeaderValue::from_bytes(value) {
        request = request.insert_header((name, value));
    }
    let (status, text) = APP.with(|app| app.ask(request.set_payload(body.to_vec())));
    // A deadline of a millisecond may pass.
    assert!(status < 500 || status == 504, "{path}: {status} {text}");
    assert!(!text.contains("$secret"), "{text}");
});
