//! The integration tests: one binary, against real servers and real databases.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "the helpers of the tests stop at the first surprise, as the tests do"
)]

mod adoption;
mod fire;
mod foreign;
mod http;
mod import;
mod layering;
mod legacy_node;
mod postgres;
mod projections;
mod rows;
mod runtime;
mod settings;
mod source_files;
mod store_postgres;
mod streams;
mod support;
