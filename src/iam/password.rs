//! A password and its salt, before they become a hash.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use sha2::{Digest as _, Sha256};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type},
};
use zeroize::Zeroizing;

use crate::domain::{IdempotencyKey, InvalidName, StreamId};

/// A password as it was sent: 1 to 1024 bytes of UTF-8.
///
/// The domain sets no smaller length, because how good a password must be is a policy of the
/// service in front. It cannot be serialized, `Debug` hides it, no error repeats it, and its
/// memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// A checked password.
    ///
    /// # Errors
    /// [`InvalidName`] unless it is 1 to 1024 bytes.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = Zeroizing::new(text.into());
        if (1..=1024).contains(&text.len()) {
            return Ok(Self(text));
        }
        Err(InvalidName {
            what: "a password",
            rule: "1 to 1024 bytes",
        })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl PartialSchema for Password {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
            .min_length(Some(1))
            .max_length(Some(1024))
            .description(Some("1 to 1024 bytes of UTF-8."));
        text.into()
    }
}

impl ToSchema for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `any` and not `string`: of a number where text should be, serde's own error tells the
        // value, and a password of digits is sent as a number by mistake.
        deserializer.deserialize_any(PasswordVisitor)
    }
}

struct PasswordVisitor;

fn not_text<T, E: de::Error>() -> Result<T, E> {
    Err(E::custom("a password must be text"))
}

impl<'de> de::Visitor<'de> for PasswordVisitor {
    type Value = Password;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a password")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Password, E> {
        Password::parse(text).map_err(E::custom)
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Password, E> {
        Password::parse(text).map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Password, E> {
        not_text()
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Password, E> {
        not_text()
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Password, E> {
        not_text()
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Password, E> {
        not_text()
    }

    fn visit_unit<E: de::Error>(self) -> Result<Password, E> {
        not_text()
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<Password, A::Error> {
        not_text()
    }

    fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<Password, A::Error> {
        not_text()
    }
}

/// What makes the hashes of equal passwords differ: 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 16]);

impl Salt {
    /// A salt of the operating system's randomness.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The salt of a command that may be sent again under its idempotency key.
    ///
    /// A receipt keeps a hash of the command as it was handled, and a retry must match it. That
    /// hash must not be made of the password itself: it is a fast one, and whoever reads the
    /// database could try passwords against it. So it is made of the prepared command, with the
    /// slow hash in it, and a retry must come to the same slow hash: it needs the same salt. A
    /// salt has to be unique, not secret, and stream and key are.
    #[must_use]
    pub fn derived(stream: &StreamId, key: &IdempotencyKey) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"dormouse/password-salt/v1");
        let parts = [
            stream.aggregate_type.as_str(),
            stream.aggregate_id.as_str(),
            key.as_str(),
        ];
        for part in parts {
            // The length first, so that no two lists of parts are the same bytes.
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut salt = [0; 16];
        salt.copy_from_slice(&hasher.finalize()[..16]);
        Self(salt)
    }

    pub(super) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AggregateId, AggregateType};

    fn derived(aggregate_type: &str, id: &str, key: &str) -> Salt {
        let stream = StreamId {
            aggregate_type: AggregateType::parse(aggregate_type.to_owned()).unwrap(),
            aggregate_id: AggregateId::parse(id).unwrap(),
        };
        Salt::derived(&stream, &IdempotencyKey::parse(key).unwrap())
    }

    #[test]
    fn a_password_is_1_to_1024_bytes() {
        assert!(Password::parse("").is_err());
        assert!(Password::parse("\0").is_ok());
        assert!(Password::parse("ü".repeat(512)).is_ok());
        assert!(Password::parse("ü".repeat(513)).is_err());
    }

    #[test]
    fn no_error_repeats_a_password() {
        let long = format!("\"{}\"", "7361".repeat(300));
        for json in [
            "7361",
            "-7361",
            "7361.5",
            "[7361]",
            "{\"7361\":7361}",
            "null",
            "true",
            &long,
        ] {
            let error = serde_json::from_str::<Password>(json).unwrap_err();

            let text = error.to_string();
            assert!(text.contains("a password must be"), "{text}");
            assert!(!text.contains("7361"), "{text}");
        }
    }

    #[test]
    fn debug_hides_a_password() {
        let password: Password = serde_json::from_str("\"7361\"").unwrap();

        assert_eq!(format!("{password:?}"), "Password(hidden)");
    }

    #[test]
    fn a_derived_salt_depends_on_stream_and_key_alone() {
        let salt = derived("User", "a", "k");

        assert_eq!(salt, derived("User", "a", "k"));
        // Written down: a change would turn every retry over a new release into a misuse.
        assert_eq!(
            format!("{:02x?}", salt.0),
            "[85, 15, e7, 5b, b7, 41, fe, 6d, 14, 5b, 47, ab, 96, da, 7a, 27]"
        );
        for other in [
            derived("User", "a", "kk"),
            derived("User", "ak", "k"),
            derived("Usera", "a", "k"),
            derived("Use", "ra", "k"),
        ] {
            assert_ne!(salt, other);
        }
    }

    #[test]
    fn random_salts_differ() {
        assert_ne!(Salt::random(), Salt::random());
    }
}
