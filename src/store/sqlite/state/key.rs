//! The key of a row as a text, so that a walk goes on behind it. SQLite's columns hold what they are
//! given, and what is no text becomes one that is no aggregate's id.

/// A key as it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// None. Such rows come first and are alike: this is the number of one among them, from 1.
    Null(u64),
    Text(String),
    /// Text that is not in UTF-8.
    OddText(Vec<u8>),
    Blob(Vec<u8>),
}

impl Key {
    const NULL: &str = "(null)";
    const TEXT: &str = "text x'";
    const BLOB: &str = "blob x'";

    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Null(1) => Self::NULL.to_owned(),
            Self::Null(place) => format!("{} {place}", Self::NULL),
            // A text that reads as something else is written as what is no text.
            Self::Text(text) if Self::parse(text) != Self::Text(text.clone()) => {
                format!("{}{}'", Self::TEXT, hex::encode_upper(text))
            }
            Self::Text(text) => text.clone(),
            Self::OddText(bytes) => format!("{}{}'", Self::TEXT, hex::encode_upper(bytes)),
            Self::Blob(bytes) => format!("{}{}'", Self::BLOB, hex::encode_upper(bytes)),
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        let bytes = |prefix: &str| {
            let digits = text.strip_prefix(prefix)?.strip_suffix('\'')?;
            hex::decode(digits).ok()
        };
        if let Some(place) = place_among_nulls(text) {
            return Self::Null(place);
        }
        if let Some(bytes) = bytes(Self::TEXT) {
            return Self::OddText(bytes);
        }
        bytes(Self::BLOB).map_or_else(|| Self::Text(text.to_owned()), Self::Blob)
    }
}

fn place_among_nulls(text: &str) -> Option<u64> {
    let place = text.strip_prefix(Key::NULL)?;
    if place.is_empty() {
        return Some(1);
    }
    place.strip_prefix(' ')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_goes_on_behind_every_key() {
        for key in [
            Key::Null(1),
            Key::Null(12),
            Key::Text(String::new()),
            Key::Text("a".to_owned()),
            Key::Text("text".to_owned()),
            Key::OddText(vec![0xff]),
            Key::Blob(Vec::new()),
            Key::Blob(vec![0x0a, 0xff]),
        ] {
            assert_eq!(Key::parse(&key.to_text()), key);
        }
    }

    #[test]
    fn a_text_that_looks_like_no_text_is_told_from_it() {
        for text in [
            "(null)",
            "(null) 2",
            "text x'41'",
            "text x''",
            "blob x'0aff'",
        ] {
            let told = Key::Text(text.to_owned()).to_text();

            // SQLite compares these bytes as text.
            let bytes = text.as_bytes().to_vec();
            assert_eq!(Key::parse(&told), Key::OddText(bytes), "{told}");
        }
        for text in ["(null)2", "(null) x", "text x'4'", "blob x'41", "blob"] {
            let key = Key::Text(text.to_owned());

            assert_eq!(key.to_text(), text);
            assert_eq!(Key::parse(text), key);
        }
    }
}
