//! Events to and from what is stored, without a macro: a serde enum *is* the table.
//!
//! Writing strips the enum's outer tag: the variant's serde name becomes the event type, its
//! content the event data. Reading puts them together again, through the upcasters.

mod decode;
mod encode;

use std::cell::Cell;

use serde_json::value::RawValue;

use self::{decode::Stored, encode::Content};
use super::{Event, EventType, Upcaster, UpcasterError, Upcasters};

/// An event that cannot be written: a mistake in the event enum.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The variant's name is not in [`Event::TYPES`].
    #[error("the event type `{0}` is not declared in `Event::TYPES`")]
    Undeclared(&'static str),
    /// The event's own `Serialize` failed, or it is no enum of structs.
    #[error("an event cannot be serialized")]
    Json(#[source] serde_json::Error),
}

/// A stored event that this program cannot read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The program has no such event.
    #[error("the event type `{0}` is unknown to this program")]
    UnknownType(String),
    /// The program is older than the event.
    #[error("`{event_type}` has schema version {found}, newer than this program's {known}")]
    NewerSchema {
        /// The stored event type.
        event_type: String,
        /// The stored schema version.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// The data does not fit the event's fields.
    #[error("the data does not fit the event type")]
    Json(#[source] serde_json::Error),
    /// The data does not fit, said by serde without a place.
    #[error("the data does not fit the event type: {0}")]
    Misfit(String),
}

/// Writes and reads the events of one enum.
#[derive(Debug, Clone)]
pub struct EventCodec<E> {
    upcasters: Upcasters,
    events: std::marker::PhantomData<fn() -> E>,
}

impl<E: Event> EventCodec<E> {
    /// A codec whose upcasters lead every older schema version to today's.
    ///
    /// # Errors
    /// [`UpcasterError`] where the chain has a gap, a repeat or a loose end.
    pub fn new(upcasters: impl IntoIterator<Item = Upcaster>) -> Result<Self, UpcasterError> {
        Ok(Self {
            upcasters: Upcasters::chain(E::TYPES, upcasters)?,
            events: std::marker::PhantomData,
        })
    }

    /// The event's type and its data.
    ///
    /// # Errors
    /// [`EncodeError`]: the enum is not what [`Event`] asks for.
    pub fn encode(&self, event: &E) -> Result<(EventType, Box<RawValue>), EncodeError> {
        let variant = Cell::new("");
        let content = serde_json::value::to_raw_value(&Content {
            event,
            variant: &variant,
        })
        .map_err(EncodeError::Json)?;
        let name = variant.get();
        match E::TYPES.iter().find(|known| known.name == name) {
            Some(event_type) => Ok((*event_type, content)),
            None => Err(EncodeError::Undeclared(name)),
        }
    }

    /// The event in stored data, brought to today's schema first.
    ///
    /// # Errors
    /// [`DecodeError`]: the event is unknown, newer than the program, or does not fit.
    pub fn decode(
        &self,
        event_type: &str,
        schema_version: u32,
        data: &RawValue,
    ) -> Result<E, DecodeError> {
        let known = E::TYPES.iter().find(|known| known.name == event_type);
        match known {
            Some(known) if known.schema_version == schema_version => {
                return from_content(event_type, data.get());
            }
            Some(known) if known.schema_version < schema_version => {
                return Err(DecodeError::NewerSchema {
                    event_type: event_type.to_owned(),
                    found: schema_version,
                    known: known.schema_version,
                });
            }
            Some(_) | None => {}
        }
        let data = serde_json::from_str(data.get()).map_err(DecodeError::Json)?;
        match self.upcasters.upcast(event_type, schema_version, data) {
            Some((event_type, data)) => from_content(event_type, &data.to_string()),
            None => Err(DecodeError::UnknownType(event_type.to_owned())),
        }
    }
}

fn from_content<E: Event>(event_type: &str, content: &str) -> Result<E, DecodeError> {
    E::deserialize(Stored {
        event_type,
        content,
    })
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Moved {
        to: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        #[serde(rename = "OpenedEvent")]
        Opened {
            by: String,
            #[serde(default)]
            note: Option<String>,
        },
        MovedEvent(Moved),
        ClosedEvent,
        Forgotten,
    }

    impl Event for Sample {
        const TYPES: &'static [EventType] = &[
            EventType::new("OpenedEvent", 2),
            EventType::new("MovedEvent", 1),
            EventType::new("ClosedEvent", 1),
        ];
    }

    fn codec() -> EventCodec<Sample> {
        EventCodec::new([Upcaster::new("OpenedEvent", 1, |mut data| {
            data["by"] = data["who"].take();
            data
        })])
        .unwrap()
    }

    fn raw(value: &serde_json::Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    #[test]
    fn every_kind_of_variant_is_read_back_as_written() {
        let events = [
            Sample::Opened {
                by: "a\0é".to_owned(),
                note: None,
            },
            Sample::MovedEvent(Moved { to: "b".to_owned() }),
            Sample::ClosedEvent,
        ];
        for event in events {
            let (event_type, data) = codec().encode(&event).unwrap();
            let back = codec()
                .decode(event_type.name, event_type.schema_version, &data)
                .unwrap();
            assert_eq!(back, event);
        }
    }

    #[test]
    fn the_tag_becomes_the_type_and_a_unit_variant_an_empty_object() {
        let (event_type, data) = codec().encode(&Sample::ClosedEvent).unwrap();

        assert_eq!((event_type.name, data.get()), ("ClosedEvent", "{}"));
    }

    #[test]
    fn an_old_schema_is_upcast_and_a_newer_one_refused() {
        let old = raw(&json!({"who": "a"}));

        let event = codec().decode("OpenedEvent", 1, &old).unwrap();
        let newer = codec().decode("OpenedEvent", 3, &old).unwrap_err();

        assert_eq!(
            event,
            Sample::Opened {
                by: "a".to_owned(),
                note: None
            }
        );
        assert!(matches!(
            newer,
            DecodeError::NewerSchema {
                found: 3,
                known: 2,
                ..
            }
        ));
    }

    #[test]
    fn unknown_and_undeclared_types_and_misfits_are_told_apart() {
        let unknown = codec()
            .decode("GoneEvent", 1, &raw(&json!({})))
            .unwrap_err();
        let misfit = codec()
            .decode("MovedEvent", 1, &raw(&json!({})))
            .unwrap_err();
        let undeclared = codec().encode(&Sample::Forgotten).unwrap_err();

        assert!(matches!(unknown, DecodeError::UnknownType(name) if name == "GoneEvent"));
        assert!(matches!(misfit, DecodeError::Json(_)));
        assert!(matches!(undeclared, EncodeError::Undeclared("Forgotten")));
    }
}
