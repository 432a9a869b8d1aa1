//! dormouse: an actor-based runtime for event-sourced aggregates.

pub mod domain;
pub mod http;
pub mod iam;
pub mod runtime;
pub mod settings;
pub mod store;
pub mod testing;
