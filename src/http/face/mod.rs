//! The service's own face: what it says of itself to operators and programs.

pub(super) mod metrics;
pub(super) mod runtime;
