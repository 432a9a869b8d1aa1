//! The texts in commands: a type for each, checked where it is read.
//!
//! The rules are loose where a strict one would turn real people away (an email address, a
//! telephone number); they keep out what no reader of it could show or compare. Lengths are in
//! characters, as Unicode counts them.

use std::{collections::BTreeSet, fmt, marker::PhantomData, ops::RangeInclusive};

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use crate::domain::{AggregateId, InvalidName};

/// How many elements a list in a command may have.
const MAX_ELEMENTS: usize = 1000;

// What the checks below accept, as patterns for the documents: near enough to write requests by,
// and never stricter than the check, which has the last word.
/// No control character, no blank at either end.
const LABEL: &str = r"^[^\u0000-\u0020\u007f-\u00a0]([^\u0000-\u001f\u007f-\u009f]*[^\u0000-\u0020\u007f-\u00a0])?$";
/// No control character, and not only blanks.
const SHOWN: &str =
    r"^[^\u0000-\u001f\u007f-\u009f]*[^\u0000-\u0020\u007f-\u00a0][^\u0000-\u001f\u007f-\u009f]*$";
const EMAIL: &str = r"^[^\u0000-\u0020\u007f-\u00a0]+@[^\u0000-\u0020\u007f-\u00a0@]+$";
const PHONE: &str = r"^[0-9 +\-.()/#*]*[0-9][0-9 +\-.()/#*]*$";
const ID: &str = "^[A-Za-z0-9._:-]+$";
/// No control character but line breaks and tabs.
const LINES: &str = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$";

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $schema:expr, $check:expr) => {
        $(#[$doc])*
        #[doc = concat!("\n\nIt is ", $rule, ".")]
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// A checked text.
            ///
            /// # Errors
            #[doc = concat!("[`InvalidName`] unless it is ", $rule, ".")]
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidName> {
                Self::try_from(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    return Ok(Self(text));
                }
                Err(InvalidName { what: $what, rule: $rule })
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let (lengths, pattern): (RangeInclusive<usize>, &str) = $schema;
                let text = ObjectBuilder::new()
                    .schema_type(Type::String)
                    .min_length(Some(*lengths.start()))
                    .max_length(Some(*lengths.end()))
                    .pattern(Some(pattern))
                    .description(Some(concat!("It is ", $rule, ".")));
                text.into()
            }
        }

        impl ToSchema for $name {}

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }
    };
}

checked_text!(
    /// The name a user signs in with, unique as it stands: case counts.
    Username,
    "a username",
    "1 to 64 characters, no control character, no blank at either end",
    (1..=64, LABEL),
    |text| is_label(text, 64)
);
checked_text!(
    /// The organisation a user belongs to.
    Domain,
    "a domain",
    "1 to 64 characters, no control character, no blank at either end",
    (1..=64, LABEL),
    |text| is_label(text, 64)
);
checked_text!(
    /// What a user is called.
    NickName,
    "a nick name",
    "1 to 64 characters, no control character, not only blanks",
    (1..=64, SHOWN),
    |text| has_length(text, 1, 64) && !has_control(text) && !text.trim().is_empty()
);
checked_text!(
    /// An email address, unique among users whatever its case.
    Email,
    "an email address",
    "3 to 254 characters with an @ inside, no blank, no control character",
    (3..=254, EMAIL),
    is_email
);
checked_text!(
    /// A telephone number, unique as it stands: two spellings of a number are two numbers.
    PhoneNumber,
    "a phone number",
    "1 to 32 digits, blanks and + - . ( ) / # *, one digit at least",
    (1..=32, PHONE),
    is_phone_number
);
checked_text!(
    /// Where a user's picture is.
    Avatar,
    "an avatar",
    "1 to 2048 characters, no control character, no blank at either end",
    (1..=2048, LABEL),
    |text| is_label(text, 2048)
);
checked_text!(
    /// The id of a role, as a user carries it.
    RoleId,
    "a role id",
    "1 to 64 characters of A-Z a-z 0-9 . _ : -",
    (1..=64, ID),
    |text| AggregateId::parse(text).is_ok()
);
checked_text!(
    /// The name programs know a role by, unique as it stands: case counts.
    RoleCode,
    "a role's code",
    "1 to 64 characters, no control character, no blank at either end",
    (1..=64, LABEL),
    |text| is_label(text, 64)
);
checked_text!(
    /// What a role is called.
    RoleName,
    "a role's name",
    "1 to 64 characters, no control character, not only blanks",
    (1..=64, SHOWN),
    |text| has_length(text, 1, 64) && !has_control(text) && !text.trim().is_empty()
);
checked_text!(
    /// What a role is for, in some lines of text.
    Description,
    "a description",
    "up to 1024 characters, no control character but line breaks and tabs",
    (0..=1024, LINES),
    |text| has_length(text, 0, 1024) && !text.chars().any(|c| c.is_control() && !"\r\n\t".contains(c))
);
checked_text!(
    /// The id of the role above a role; `0` where there is none.
    ParentRole,
    "a parent role's id",
    "1 to 64 characters of A-Z a-z 0-9 . _ : -",
    (1..=64, ID),
    |text| AggregateId::parse(text).is_ok()
);
checked_text!(
    /// A resource or an action, as a permission names it.
    PermissionPart,
    "a permission's resource or action",
    "1 to 128 characters, no control character, no blank at either end",
    (1..=128, LABEL),
    |text| is_label(text, 128)
);

fn has_length(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.chars().count())
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn is_label(text: &str, max: usize) -> bool {
    has_length(text, 1, max) && !has_control(text) && text.trim() == text
}

fn is_email(text: &str) -> bool {
    // 254 is the longest address that fits an SMTP path (RFC 3696, erratum 1690).
    let parts = text.rsplit_once('@');
    has_length(text, 3, 254)
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
        && parts.is_some_and(|(local, host)| !local.is_empty() && !host.is_empty())
}

fn is_phone_number(text: &str) -> bool {
    has_length(text, 1, 32)
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b" +-.()/#*".contains(&byte))
}

/// Reads a list as a set: repeats count once and the order is one, so that two spellings of a
/// set are the same command.
pub(super) fn small_set<'de, D, T>(deserializer: D) -> Result<BTreeSet<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Ord,
{
    let set = BTreeSet::deserialize(deserializer)?;
    if set.len() > MAX_ELEMENTS {
        return Err(de::Error::custom("it must have 1000 elements at most"));
    }
    Ok(set)
}

/// The same of structs, each of which must be an object: serde would also take `["a", "b"]`.
pub(super) fn small_set_of_objects<'de, D, T>(deserializer: D) -> Result<BTreeSet<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Ord,
{
    let set: BTreeSet<Object<T>> = small_set(deserializer)?;
    Ok(set.into_iter().map(|Object(element)| element).collect())
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: de::MapAccess<'de>>(self, map: M) -> Result<Object<T>, M::Error> {
        T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_is_shown_and_compared_without_doubt() {
        for good in ["a", "Zoë", "a b", &"ü".repeat(64)] {
            assert!(Username::parse(good).is_ok(), "{good}");
        }
        for bad in ["", " a", "a ", "a\u{a0}", "a\0b", "a\nb", &"x".repeat(65)] {
            assert!(Username::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_email_address_has_an_at_inside() {
        for good in ["a@b", "a.b+c@d.example", "\"a@b\"@c", "ü@ü.example"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        let long = format!("a@{}", "x".repeat(253));
        for bad in ["", "@", "a@", "@b", "ab", "a b@c", "a@b\n", &long] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_phone_number_has_a_digit() {
        for good in ["1", "+49 (30) 1234-56", "*100#"] {
            assert!(PhoneNumber::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "+", "12a", "1\t2", "١", &"1".repeat(33)] {
            assert!(PhoneNumber::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_description_may_have_lines_and_may_be_empty() {
        assert!(Description::parse("").is_ok());
        assert!(Description::parse("a\r\n\tb").is_ok());
        assert!(Description::parse("a\0b").is_err());
        assert!(Description::parse("x".repeat(1025)).is_err());
    }

    #[test]
    fn an_error_says_what_is_wrong_and_what_the_rule_is() {
        let error = serde_json::from_str::<RoleId>("\"a/b\"").unwrap_err();

        assert_eq!(
            error.to_string(),
            "a role id must be 1 to 64 characters of A-Z a-z 0-9 . _ : -"
        );
    }
}
