//! A caller that is known: who it is, and what it may do.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use ulid::Ulid;

use super::{Right, Rights};
use crate::domain::CreatedBy;

/// How the subject of an API key begins; no other subject is written so.
const KEY_PREFIX: &str = "key:";
/// How a subject is written that does not fit; no other subject begins so.
const DIGEST_PREFIX: char = '#';

/// A caller that is known. Clones are cheap and the same.
#[derive(Clone)]
pub struct Principal(Arc<Known>);

#[derive(Debug)]
struct Known {
    subject: Arc<str>,
    created_by: CreatedBy,
    rights: Rights,
    expires_at: Option<DateTime<Utc>>,
    source: Source,
}

/// By what a caller is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A token, verified with the keys of this generation.
    Token(u64),
    /// The API key with this id.
    Key(Ulid),
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Principal").field(&self.0.subject).finish()
    }
}

impl Principal {
    /// The bearer of a token that was verified with the keys of a generation.
    pub(super) fn of_token(
        subject: &str,
        rights: Rights,
        expires_at: DateTime<Utc>,
        generation: u64,
    ) -> Self {
        Self(Arc::new(Known {
            subject: subject.into(),
            created_by: created_by(subject),
            rights,
            expires_at: Some(expires_at),
            source: Source::Token(generation),
        }))
    }

    /// The bearer of an API key.
    pub(super) fn of_key(
        id: Ulid,
        name: &str,
        rights: Rights,
        expires_at: Option<DateTime<Utc>>,
    ) -> Self {
        let subject = format!("{KEY_PREFIX}{name}");
        let plain = CreatedBy::parse(&subject);
        Self(Arc::new(Known {
            created_by: plain.unwrap_or_else(|_| digest(&subject)),
            subject: subject.into(),
            rights,
            expires_at,
            source: Source::Key(id),
        }))
    }

    /// Who it is, as its token says.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Who it is, for whoever keeps it: nothing is copied.
    pub(crate) fn shared_subject(&self) -> Arc<str> {
        Arc::clone(&self.0.subject)
    }

    /// What is stored with the events of its commands.
    #[must_use]
    pub fn created_by(&self) -> &CreatedBy {
        &self.0.created_by
    }

    /// What it may do.
    #[must_use]
    pub fn rights(&self) -> &Rights {
        &self.0.rights
    }

    /// Whether it may do this.
    #[must_use]
    pub fn may(&self, right: &Right<'_>) -> bool {
        self.0.rights.cover(right)
    }

    /// Until when it is known; nothing where that is for ever.
    #[must_use]
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.0.expires_at
    }

    /// Whether both are clones of one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// By what it is known.
    pub(super) fn source(&self) -> Source {
        self.0.source
    }
}

/// What is stored as `created_by` for the subject of a token.
///
/// The subject as it stands, where it fits and does not look like something else. Where not, `#`
/// and the first 125 bits of its SHA-256: whoever knows the subject finds its events, and no
/// two subjects are ever the same, as cutting them off would make them.
#[must_use]
pub fn created_by(subject: &str) -> CreatedBy {
    let looks_different = subject.starts_with(KEY_PREFIX) || subject.starts_with(DIGEST_PREFIX);
    match CreatedBy::parse(subject) {
        Ok(plain) if !looks_different => plain,
        _ => digest(subject),
    }
}

#[expect(
    clippy::expect_used,
    reason = "26 characters of Crockford's alphabet and # always fit"
)]
fn digest(subject: &str) -> CreatedBy {
    let hash = Sha256::digest(subject);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    let text = Ulid::from_bytes(bytes).to_string();
    // The first character holds only three bits.
    CreatedBy::parse(&format!("{DIGEST_PREFIX}{}", &text[1..])).expect("it is 26 characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_that_fits_is_stored_as_it_stands() {
        for subject in ["ada", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "ä b"] {
            assert_eq!(created_by(subject).as_str(), subject);
        }
    }

    #[test]
    fn no_two_subjects_are_stored_as_the_same() {
        let long = "0b5a4c0e-5d8e-4f8f-9a57-4a0c7e3f0d11";
        let longer = "0b5a4c0e-5d8e-4f8f-9a57-4a0c7e3f0d12";
        let digest = created_by(long);

        assert_eq!(digest.as_str().chars().count(), 26);
        // Written down: a change would part a person from what it did before.
        assert_eq!(digest.as_str(), "#DSBFMD0AHT62PQM0QP6VETA86");
        assert_ne!(digest, created_by(longer));
        assert_ne!(created_by(digest.as_str()), digest);
        let key = Principal::of_key(Ulid::nil(), "billing", Rights::default(), None);
        assert_eq!(key.created_by().as_str(), "key:billing");
        assert_ne!(created_by("key:billing"), *key.created_by());
    }
}
