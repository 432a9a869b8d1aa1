//! Snapshots: a state at a version, trusted only while its shape fits.

use std::fmt::Write as _;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Aggregate, Event};

/// What a serialized state must fit: 16 hexadecimal characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// A fingerprint as it was stored.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text that is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How an aggregate's state is written to snapshots and read back.
///
/// The fingerprint covers the type, its state version, its event types with their schema
/// versions, and the JSON of the initial state, so that a new field makes old snapshots unfit.
/// A snapshot that does not fit is ignored, never an error: the events are the truth.
pub trait SnapshotShape: Aggregate {
    /// The fingerprint of snapshots written by this program.
    #[must_use]
    fn fingerprint() -> Fingerprint {
        let mut hasher = Sha256::new();
        hasher.update(Self::TYPE);
        hasher.update(Self::STATE_VERSION.to_le_bytes());
        for event_type in Self::Event::TYPES {
            hasher.update(event_type.name);
            hasher.update(event_type.schema_version.to_le_bytes());
        }
        hasher.update(serde_json::to_vec(&Self::default()).unwrap_or_default());
        let mut text = String::with_capacity(16);
        for byte in &hasher.finalize()[..8] {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Fingerprint(text)
    }

    /// The serialized state.
    ///
    /// # Errors
    /// What the state's own `Serialize` says.
    fn to_snapshot(&self) -> Result<Box<RawValue>, serde_json::Error> {
        serde_json::value::to_raw_value(self)
    }

    /// The state in a snapshot, or nothing where it does not fit this program.
    #[must_use]
    fn from_snapshot(data: &RawValue, fingerprint: &Fingerprint) -> Option<Self> {
        if *fingerprint != Self::fingerprint() {
            return None;
        }
        serde_json::from_str(data.get()).ok()
    }
}

impl<A: Aggregate> SnapshotShape for A {}
