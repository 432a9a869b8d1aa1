//! dormouse: an actor-based runtime for event-sourced aggregates.

pub mod domain;
pub mod settings;
pub mod store;
