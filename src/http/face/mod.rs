//! The service's own face: what it says of itself to operators and programs.

pub(super) mod docs;
mod document;
mod followers;
pub(super) mod log_operations;
pub(super) mod metrics;
pub(super) mod openapi;
pub(super) mod operation;
pub(super) mod operations;
pub(super) mod runtime;
mod shapes;
pub(super) mod types;

pub(super) use document::ModelDescription;
