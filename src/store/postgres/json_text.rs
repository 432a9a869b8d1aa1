//! JSON text as `jsonb` can hold it: `jsonb` refuses U+0000, which JSON and Rust's strings allow.
//!
//! A private-use character marks what stands for another: mark and `0` for U+0000, mark and `1`
//! for the mark itself. Text without either, nearly all there is, is passed through as it is.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// The mark, in the basic plane so that its JSON escape is a single one.
const MARK: char = '\u{E0D0}';
const MARK_ESCAPED: &str = "e0d0";
const NUL_ESCAPED: &str = "0000";

/// The text to store for a JSON value.
pub(super) fn to_stored(json: &RawValue) -> Cow<'_, str> {
    let text = json.get();
    // serde_json escapes only control characters, so few texts have a `\u` and pass this.
    if !text.contains("\\u") && !text.contains(MARK) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(escape(text))
}

/// The JSON value of stored text.
pub(super) fn from_stored(text: String) -> Result<Box<RawValue>, serde_json::Error> {
    if !text.contains(MARK) {
        return RawValue::from_string(text);
    }
    RawValue::from_string(unescape(&text))
}

fn escape(text: &str) -> String {
    let mut stored = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(['\\', MARK]) {
        stored.push_str(&rest[..at]);
        rest = &rest[at..];
        let hex = rest.strip_prefix("\\u").and_then(|rest| rest.get(..4));
        let (length, replacement) = match hex {
            Some(NUL_ESCAPED) => (6, Some('0')),
            Some(hex) if hex.eq_ignore_ascii_case(MARK_ESCAPED) => (6, Some('1')),
            Some(_) => (6, None),
            None if rest.starts_with(MARK) => (MARK.len_utf8(), Some('1')),
            // A backslash and what it escapes, which may be a backslash before a plain `u0000`.
            None => (2.min(rest.len()), None),
        };
        match replacement {
            Some(digit) => stored.extend([MARK, digit]),
            None => stored.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    stored + rest
}

fn unescape(stored: &str) -> String {
    let mut text = String::with_capacity(stored.len() + 16);
    let mut rest = stored;
    while let Some(at) = rest.find(MARK) {
        text.push_str(&rest[..at]);
        rest = &rest[at + MARK.len_utf8()..];
        if let Some(after) = rest.strip_prefix('0') {
            text.push_str("\\u0000");
            rest = after;
        } else {
            // A mark that stands for nothing was stored by someone else, and is left as it is.
            text.push(MARK);
            rest = rest.strip_prefix('1').unwrap_or(rest);
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn plain_text_is_not_copied() {
        let json = raw(r#"{"a":"b\n\\ ü"}"#);

        assert!(matches!(to_stored(&json), Cow::Borrowed(_)));
    }

    #[test]
    fn an_escaped_backslash_before_u0000_is_no_nul() {
        let json = raw(r#"["\\u0000","\\\u0000","\uE0D0","\ue0d00"]"#);

        let stored = to_stored(&json).into_owned();

        assert_eq!(
            parsed(&stored)[0],
            json!("\\u0000"),
            "a backslash and text are left as they are"
        );
        assert_eq!(parsed(&stored)[1], json!("\\\u{E0D0}0"));
        let back = from_stored(stored).unwrap();
        assert_eq!(parsed(back.get()), parsed(json.get()));
    }

    #[test]
    fn a_foreign_mark_is_read_as_it_is() {
        let back = from_stored("\"\u{E0D0}x\u{E0D0}\"".to_owned()).unwrap();

        assert_eq!(parsed(back.get()), json!("\u{E0D0}x\u{E0D0}"));
    }

    /// Text of the characters that matter here, mixed.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("\0"),
            Just("\u{E0D0}"),
            Just("\\"),
            Just("u0000"),
            Just("0"),
            Just("1"),
            Just("\""),
            Just("\u{1}"),
            Just("é𝄞"),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_stored_holds_no_nul_and_reads_back(key in text(), value in text()) {
            let mut object = serde_json::Map::new();
            object.insert(key, json!([value]));
            let object = Value::Object(object);
            let json = raw(&object.to_string());

            let stored = to_stored(&json).into_owned();

            let held = parsed(&stored);
            let (key, value) = held.as_object().unwrap().iter().next().unwrap();
            prop_assert!(!key.contains('\0') && !value[0].as_str().unwrap().contains('\0'));
            // jsonb writes its text anew, with no escapes but those that JSON needs.
            let normal = held.to_string();
            let back = from_stored(normal).unwrap();
            prop_assert_eq!(parsed(back.get()), object);
        }
    }
}
