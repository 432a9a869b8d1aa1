//! Values that are stored but never shown.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, value::RawValue};

/// The one key of a stored secret: a reader can drop secrets without knowing the event's type.
const MARK: &str = "$secret";

/// A value that is stored in events and snapshots and kept from every reader of them.
///
/// It is stored as `{"$secret": value}`; [`redact`] drops such members wherever they stand,
/// so that an event type this program does not know keeps its secrets too. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the code that must have it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marked<T> {
    #[serde(rename = "$secret")]
    value: T,
}

impl<T: Serialize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Marked { value: &self.0 }.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Marked::deserialize(deserializer).map(|marked| Self(marked.value))
    }
}

/// Drops every secret from a JSON value: the member, the array's element, or all of it (then `null`).
pub fn redact(value: &mut Value) {
    if is_secret(value) {
        *value = Value::Null;
        return;
    }
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !is_secret(member));
            members.values_mut().for_each(redact);
        }
        Value::Array(elements) => {
            elements.retain(|element| !is_secret(element));
            elements.iter_mut().for_each(redact);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The same for serialized JSON, which is only parsed where it may hold a secret.
#[must_use]
pub fn redact_raw(data: Box<RawValue>) -> Box<RawValue> {
    match redacted(&data) {
        Cow::Owned(redacted) => redacted,
        Cow::Borrowed(_) => data,
    }
}

/// Serialized JSON without its secrets: the same where it holds none.
#[must_use]
pub fn redacted(data: &RawValue) -> Cow<'_, RawValue> {
    let text = data.get();
    // A foreign writer may have escaped a character of the mark, all of which are ASCII.
    if !text.contains(MARK) && !text.contains("\\u00") {
        return Cow::Borrowed(data);
    }
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        return Cow::Borrowed(RawValue::NULL);
    };
    redact(&mut value);
    let kept = serde_json::value::to_raw_value(&value);
    Cow::Owned(kept.unwrap_or_else(|_| RawValue::NULL.to_owned()))
}

fn is_secret(value: &Value) -> bool {
    matches!(value, Value::Object(members) if members.contains_key(MARK))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_survives_storage_and_is_never_shown() {
        let secret = Secret::new("hash".to_owned());

        let stored = serde_json::to_value(&secret).unwrap();
        let back: Secret<String> = serde_json::from_value(stored.clone()).unwrap();

        assert_eq!(stored, json!({"$secret": "hash"}));
        assert_eq!(back, secret);
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
    }

    #[test]
    fn redaction_drops_secrets_wherever_they_stand() {
        let mut value = json!({
            "name": "a", "password": {"$secret": 1},
            "nested": {"list": [{"$secret": 2}, {"token": {"$secret": [3]}, "kept": true}]}
        });

        redact(&mut value);

        assert_eq!(
            value,
            json!({"name": "a", "nested": {"list": [{"kept": true}]}})
        );
    }

    #[test]
    fn an_escaped_mark_is_redacted_too() {
        for mark in [r"\u0024secret", r"$\u0073ecret", r"$secre\u0074"] {
            let raw = RawValue::from_string(format!(r#"{{"p":{{"{mark}":"x"}},"q":1}}"#)).unwrap();

            assert_eq!(redact_raw(raw).get(), r#"{"q":1}"#, "{mark}");
        }
    }
}
