//! Unique values.

use std::borrow::Cow;

/// A value that only one aggregate of a type may hold at a time, such as a username.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claim {
    /// What is unique, such as `username`.
    pub name: Cow<'static, str>,
    /// The value held, exactly as compared: fold its case first where case does not count.
    pub value: String,
}

/// A claim that no store could hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value of `{name}` is {problem}")]
pub struct InvalidClaim {
    /// Which claim.
    pub name: Cow<'static, str>,
    problem: &'static str,
}

impl Claim {
    /// The longest value in bytes; PostgreSQL's B-tree pages hold keys of about 2,700 bytes
    /// (`BTMaxItemSize`), and the key has two more columns.
    pub const MAX_VALUE_BYTES: usize = 1024;

    /// A claim on `value` under `name`.
    pub fn new(name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }

    /// Checks what every store can hold.
    ///
    /// # Errors
    /// [`InvalidClaim`] where the value is over [`Self::MAX_VALUE_BYTES`] or has a NUL character.
    pub fn check(&self) -> Result<(), InvalidClaim> {
        let problem = if self.value.len() > Self::MAX_VALUE_BYTES {
            "longer than 1024 bytes, too long for a unique value"
        } else if self.value.contains('\0') {
            "not allowed to hold a NUL character, because it is a unique value"
        } else {
            return Ok(());
        };
        Err(InvalidClaim {
            name: self.name.clone(),
            problem,
        })
    }
}
