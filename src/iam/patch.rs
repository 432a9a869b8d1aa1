//! What an update does to one field.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IntoDeserializer as _};

/// What an update does to a field that may be empty: in JSON, absent leaves it as it is and
/// `null` clears it.
///
/// A field of this type needs `#[serde(default, skip_serializing_if = "Patch::is_unchanged")]`,
/// so that absent reads as, and is written from, [`Patch::Unchanged`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Leaves it as it is.
    #[default]
    Unchanged,
    /// Empties it.
    Clear,
    /// Gives it a value.
    Set(T),
}

impl<T> Patch<T> {
    /// Whether it leaves the field as it is.
    pub const fn is_unchanged(&self) -> bool {
        matches!(self, Self::Unchanged)
    }
}

impl<T: AsRef<str>> Patch<T> {
    /// What is left of it where the field has this value: nothing where it would not differ.
    #[must_use]
    pub fn against(&self, current: Option<&str>) -> Patch<String> {
        match self {
            Self::Clear if current.is_some() => Patch::Clear,
            Self::Set(wanted) if current != Some(wanted.as_ref()) => {
                Patch::Set(wanted.as_ref().to_owned())
            }
            Self::Unchanged | Self::Clear | Self::Set(_) => Patch::Unchanged,
        }
    }
}

impl<T: Clone> Patch<T> {
    /// Does it.
    pub fn apply_to(&self, field: &mut Option<T>) {
        match self {
            Self::Unchanged => {}
            Self::Clear => *field = None,
            Self::Set(value) => *field = Some(value.clone()),
        }
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unchanged | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => serializer.serialize_some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::deserialize(deserializer)? {
            None => Self::Clear,
            Some(value) => Self::Set(value),
        })
    }
}

/// Reads a field that may be absent but not `null`.
pub(super) fn not_null<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    match Option::deserialize(deserializer)? {
        None => Err(serde::de::Error::custom(
            "it cannot be cleared; leave it out to keep it",
        )),
        value @ Some(_) => Ok(value),
    }
}

/// The same for one of some names, which must be text: serde would also take `{"NAME": null}`.
pub(super) fn named<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let name: Option<String> = not_null(deserializer)?;
    name.map(|name| T::deserialize(name.into_deserializer()))
        .transpose()
}

/// What is left of a wanted value where the field has this one already.
pub(super) fn changed<T>(wanted: Option<&T>, current: &T) -> Option<T::Owned>
where
    T: PartialEq + ToOwned + ?Sized,
{
    let wanted = wanted?;
    (wanted != current).then(|| wanted.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        #[serde(default, skip_serializing_if = "Patch::is_unchanged")]
        field: Patch<String>,
    }

    #[test]
    fn absent_null_and_a_value_are_told_apart_and_written_as_they_were_read() {
        let cases = [
            ("{}", Patch::Unchanged),
            (r#"{"field":null}"#, Patch::Clear),
            (r#"{"field":"a"}"#, Patch::Set("a".to_owned())),
        ];
        for (json, field) in cases {
            let sample: Sample = serde_json::from_str(json).unwrap();

            assert_eq!(serde_json::to_string(&sample).unwrap(), json);
            assert_eq!(sample, Sample { field });
        }
    }

    #[test]
    fn what_would_not_differ_is_no_change() {
        let set = Patch::Set("a");

        assert_eq!(set.against(Some("a")), Patch::Unchanged);
        assert_eq!(set.against(Some("b")), Patch::Set("a".to_owned()));
        assert_eq!(set.against(None), Patch::Set("a".to_owned()));
        assert_eq!(Patch::<&str>::Clear.against(None), Patch::Unchanged);
        assert_eq!(Patch::<&str>::Clear.against(Some("a")), Patch::Clear);
        assert_eq!(Patch::<&str>::Unchanged.against(None), Patch::Unchanged);
    }
}
