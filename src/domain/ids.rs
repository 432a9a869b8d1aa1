//! Names, identifiers and numbers: one newtype each, checked where they are made.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc, sync::Mutex, sync::PoisonError};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::Clock;

/// Text that is no valid name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidName {
    /// What was to be named.
    pub what: &'static str,
    /// What it must look like.
    pub rule: &'static str,
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
}

/// The type of an aggregate, such as `User`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AggregateType(Cow<'static, str>);

impl AggregateType {
    /// A checked type name.
    ///
    /// # Errors
    /// [`InvalidName`] unless it is 1 to 64 characters of `A-Z a-z 0-9 . _ : -`.
    pub fn parse(name: impl Into<Cow<'static, str>>) -> Result<Self, InvalidName> {
        let name = name.into();
        if is_name(&name) {
            return Ok(Self(name));
        }
        Err(InvalidName {
            what: "an aggregate type",
            rule: "1 to 64 characters of A-Z a-z 0-9 . _ : -",
        })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AggregateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("A checked value: ", $rule, ".")]
            ///
            /// # Errors
            #[doc = concat!("[`InvalidName`] unless it is ", $rule, ".")]
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok(Self(text.into()));
                }
                Err(InvalidName { what: $what, rule: $rule })
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// The id of an aggregate, unique in its type.
    AggregateId,
    "an aggregate id",
    "1 to 64 characters of A-Z a-z 0-9 . _ : -",
    is_name
);
checked_text!(
    /// Who sent a command, as stored with its events.
    CreatedBy,
    "created_by",
    "1 to 26 characters, none of them a control character",
    |text| (1..=26).contains(&text.chars().count()) && !text.chars().any(char::is_control)
);
checked_text!(
    /// A caller's own name for one command, under which a retry has no second effect.
    IdempotencyKey,
    "an idempotency key",
    "1 to 128 visible ASCII characters",
    |text| (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
);

impl IdempotencyKey {
    /// How the keys begin that a runtime gives to commits whose caller gave none; no caller's does.
    pub const RESERVED: &'static str = "dormouse:";

    /// A key of the runtime's own. Such keys are in the order of their ids, and so of time.
    #[must_use]
    pub fn reserved(id: Ulid) -> Self {
        Self(format!("{}{id}", Self::RESERVED).into())
    }

    /// Whether it is one that only a runtime gives.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(Self::RESERVED)
    }
}

/// One aggregate: its type and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// The aggregate's type.
    pub aggregate_type: AggregateType,
    /// The aggregate's id.
    pub aggregate_id: AggregateId,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.aggregate_type, self.aggregate_id)
    }
}

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Ulid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                // Crockford's alphabet decodes lower case too; the first digit must fit 128 bits.
                let canonical = text.len() == 26 && text.as_bytes()[0] <= b'7';
                match Ulid::from_string(text) {
                    Ok(ulid) if canonical => Ok(Self(ulid)),
                    _ => Err(InvalidName { what: stringify!($name), rule: "a ULID of 26 characters" }),
                }
            }
        }
    };
}

ulid_id!(
    /// The identity of one stored event.
    EventId
);
ulid_id!(
    /// What the events of one piece of work, over all aggregates, have in common.
    CorrelationId
);
ulid_id!(
    /// The event or command that caused a command.
    CausationId
);

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// The number as a newtype.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one `count` further on.
            #[must_use]
            pub const fn plus(self, count: u64) -> Self {
                Self(self.0 + count)
            }

            /// The next one.
            #[must_use]
            pub const fn next(self) -> Self {
                self.plus(1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// The number of an event in its aggregate, from 1; of an aggregate, that of its last event.
    Version
);
counter!(
    /// The number of an event in the whole log, from 1, without a gap, in the order of commits.
    Position
);

/// The one source of generated ids: ULIDs of the clock's time and seeded randomness.
#[derive(Debug)]
pub struct IdGenerator {
    clock: Arc<dyn Clock>,
    random: Mutex<StdRng>,
}

impl IdGenerator {
    /// A generator seeded by the operating system.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::seeded(clock, rand::random())
    }

    /// A generator whose ids are the same in every run with the same clock and seed.
    #[must_use]
    pub fn seeded(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self {
            clock,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
        }
    }

    /// The next id.
    #[must_use]
    pub fn next(&self) -> Ulid {
        let milliseconds = u64::try_from(self.clock.now().timestamp_millis()).unwrap_or(0);
        let random: u128 = self
            .random
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .random();
        Ulid::from_parts(milliseconds, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aggregate_id_is_1_to_64_characters_of_its_alphabet() {
        for good in ["a", "A-z_0.9:x", &"x".repeat(64)] {
            assert!(AggregateId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "ü", "a/b", "a\0", &"x".repeat(65)] {
            assert!(AggregateId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn created_by_counts_characters_and_a_key_is_visible_ascii() {
        assert!(CreatedBy::parse(&"ü".repeat(26)).is_ok());
        assert!(CreatedBy::parse(&"ü".repeat(27)).is_err());
        assert!(CreatedBy::parse("a\nb").is_err());
        assert!(IdempotencyKey::parse("a b").is_err());
        assert!(IdempotencyKey::parse(&"k".repeat(128)).is_ok());
        assert!(IdempotencyKey::parse(&"k".repeat(129)).is_err());
    }

    #[test]
    fn a_ulid_that_overflows_128_bits_is_refused() {
        assert!("01ARZ3NDEKTSV4RRFFQ69G5FAV".parse::<EventId>().is_ok());
        assert!("81ARZ3NDEKTSV4RRFFQ69G5FAV".parse::<EventId>().is_err());
        assert!("01ARZ3NDEKTSV4RRFFQ69G5FA".parse::<EventId>().is_err());
        assert!("01ARZ3NDEKTSV4RRFFQ69G5FAU".parse::<EventId>().is_err());
    }
}
