//! dormouse: an actor-based runtime for event-sourced aggregates.

pub mod settings;
