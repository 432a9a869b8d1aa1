//! Whatever stands in a path, a query or a cursor: an answer of the catalogue, and never a 5xx.
#![no_main]

mod app;

use actix_web::test::TestRequest;
use libfuzzer_sys::fuzz_target;

thread_local!(static APP: app::Kept<app::Asked> = app::Kept::new(app::Asked::new()));

const PATHS: [&str; 6] = [
    "/v1/events",
    "/v1/aggregates/User",
    "/v1/aggregates/User/u1",
    "/v1/aggregates/User/u1/events",
    "/v1/runtime",
    "/v1/events/",
];

fuzz_target!(|input: (u8, &str)| {
    let (path, text) = input;
    // What is no URI never comes so far.
    let usable = |sign: char| sign.is_ascii_graphic() && !"#<>\"`{}\\^|".contains(sign);
    let text: String = text.chars().filter(|sign| usable(*sign)).collect();
    let path = PATHS[usize::from(path) % PATHS.len()];
    let sign = if path.ends_with('/') { "" } else { "?" };
    let uri = format!("{path}{sign}{text}");
    if uri.parse::<actix_web::http::Uri>().is_err() {
        return;
    }
    let (status, body) = APP.with(|app| app.ask(TestRequest::get().uri(&uri)));
    assert!(status < 500, "{uri}: {status} {body}");
});
