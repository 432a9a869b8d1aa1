//! Events as lines of JSON that leave one log and enter another: our own form, and `CloudEvents` 1.0.
//!
//! A `CloudEvent`'s integers have 32 bits, so version and position are texts there (`CloudEvents` 1.0,
//! section "Type System"); its extension attributes have names of lower-case letters only.

mod read;
mod write;

pub(super) use read::stream_of;
pub use read::{BadLine, Incoming, read};
pub use write::{Secrets, cloud_event, own};

/// The version of `CloudEvents` that is written and read.
const SPEC: &str = "1.0";

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json, value::RawValue};
    use ulid::Ulid;

    use super::*;
    use crate::{
        domain::{
            AggregateId, AggregateType, CausationId, CorrelationId, CreatedBy, EventId, Position,
            StreamId, Version,
        },
        store::RecordedEvent,
    };

    fn event(data: &str) -> RecordedEvent {
        RecordedEvent {
            id: EventId(Ulid::from_parts(1, 1)),
            stream: StreamId {
                aggregate_type: AggregateType::parse("User").unwrap(),
                aggregate_id: AggregateId::parse("u1").unwrap(),
            },
            event_type: "UserCreatedEvent".into(),
            schema_version: 2,
            data: RawValue::from_string(data.to_owned()).unwrap(),
            version: Version::new(3),
            position: Position::new(5_000_000_000),
            occurred_at: DateTime::from_timestamp_micros(1_714_885_505_123_456).unwrap(),
            created_by: CreatedBy::parse("ada").ok(),
            correlation_id: CorrelationId(Ulid::from_parts(1, 2)),
            causation_id: Some(CausationId(Ulid::from_parts(1, 3))),
        }
    }

    #[test]
    fn an_event_comes_in_as_it_went_out_in_either_form() {
        let event = event(r#"{"a":[1,"specversion"],"p":{"$secret":"x"}}"#);
        for write in [own, cloud_event] {
            let line = write(&event, Secrets::Included).unwrap();
            let back = read(&line).unwrap();

            let commit = back.commit;
            assert_eq!(commit.stream, event.stream, "{line}");
            assert_eq!(commit.version_after(), event.version);
            assert_eq!(commit.events[0].id, event.id);
            assert_eq!(commit.events[0].event_type, event.event_type);
            assert_eq!(commit.events[0].schema_version, 2);
            assert_eq!(commit.events[0].data.get(), event.data.get());
            assert_eq!(commit.occurred_at, event.occurred_at);
            assert_eq!(commit.created_by, event.created_by);
            assert_eq!(commit.correlation_id, event.correlation_id);
            assert_eq!(commit.causation_id, event.causation_id);
            assert!(!back.redacted);
            assert_eq!(stream_of(&line), Some(event.stream.clone()), "{line}");
        }
    }

    #[test]
    fn secrets_are_left_out_and_the_event_says_so() {
        let secret = event(r#"{"a":1,"p":{"$secret":"hunter2"}}"#);
        let escaped = event(r#"{"a":"\u0001"}"#);
        for write in [own, cloud_event] {
            let line = write(&secret, Secrets::LeftOut).unwrap();
            assert!(
                !line.contains("hunter2") && !line.contains("$secret"),
                "{line}"
            );
            assert!(read(&line).unwrap().redacted);

            let line = write(&escaped, Secrets::LeftOut).unwrap();
            assert!(!read(&line).unwrap().redacted, "{line}");
        }
    }

    #[test]
    fn the_integers_of_a_cloud_event_fit_its_type_system() {
        let line = cloud_event(&event("{}"), Secrets::LeftOut).unwrap();

        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["position"], json!("5000000000"));
        assert_eq!(line["specversion"], json!("1.0"));
        assert_eq!(line["source"], json!("urn:dormouse:User"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_field() {
        let good: Value =
            serde_json::from_str(&own(&event("{}"), Secrets::LeftOut).unwrap()).unwrap();
        let wrong = [
            ("id", json!("42")),
            ("id", json!(42)),
            ("aggregate_type", json!("a b")),
            ("aggregate_id", json!("")),
            ("event_type", json!("a\nb")),
            ("version", json!(0)),
            ("version", json!("1")),
            ("schema_version", json!(0)),
            ("occurred_at", json!("yesterday")),
            ("created_by", json!("")),
            ("correlation_id", json!(null)),
            ("causation_id", json!("x")),
        ];
        for (field, value) in wrong {
            let mut line = good.clone();
            line[field] = value;
            let error = read(&line.to_string()).err().unwrap();
            assert_eq!(error.field, field, "{error}");
        }
        let mut unknown = good;
        unknown["colour"] = json!("red");
        assert!(
            read(&unknown.to_string())
                .err()
                .unwrap()
                .to_string()
                .contains("colour")
        );
        for broken in ["", "[]", "{", "{}", "null", "{\"\":1}", "{\"\"x"] {
            let error = read(broken).err().unwrap();
            assert_eq!(error.field, "the line", "{broken}");
        }
    }
}
