//! Events and their stored names.

use serde::{Serialize, de::DeserializeOwned};

/// The events of one aggregate: a serde enum, a variant for each event type.
///
/// The variant's serde name is the stored `event_type`, its content the stored
/// `event_data`. A variant holds named fields, one struct, or nothing.
pub trait Event: Serialize + DeserializeOwned + Send + Sync + Unpin + 'static {
    /// Every event type of the enum, with the schema version written today.
    const TYPES: &'static [EventType];
}

/// An event type and the schema version its data has today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventType {
    /// The stored name, such as `UserCreatedEvent`.
    pub name: &'static str,
    /// The schema version of the data written today, from 1.
    pub schema_version: u32,
}

impl EventType {
    /// An event type at a schema version.
    #[must_use]
    pub const fn new(name: &'static str, schema_version: u32) -> Self {
        Self {
            name,
            schema_version,
        }
    }
}
