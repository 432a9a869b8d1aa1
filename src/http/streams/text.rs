//! Events as the text of server-sent events.

use crate::store::{EventView, RecordedEvent};

/// A line that clients pass over.
pub(super) fn comment() -> Vec<u8> {
    b": idle\n\n".to_vec()
}

/// Writes an event: its position, its type, and itself on one line.
pub(super) fn write(event: &RecordedEvent, text: &mut Vec<u8>) {
    text.extend_from_slice(format!("id: {}\nevent: ", event.position).as_bytes());
    one_line(text, |text| {
        text.extend_from_slice(event.event_type.as_bytes());
    });
    text.extend_from_slice(b"\ndata: ");
    one_line(text, |text| {
        // Writing to memory does not fail, and an event's view has only texts and numbers.
        if let Err(error) = serde_json::to_writer(text, &EventView::from(event)) {
            tracing::error!(%error, position = %event.position, "an event cannot be written");
        }
    });
    text.extend_from_slice(b"\n\n");
}

/// Line ends would end the field: in JSON they are only space between tokens, and in the name of a
/// type that another program stored they are nothing to rely on.
fn one_line(text: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = text.len();
    write(text);
    for byte in &mut text[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json, value::RawValue};
    use ulid::Ulid;

    use super::*;
    use crate::domain::{
        AggregateId, AggregateType, CorrelationId, EventId, Position, StreamId, Version,
    };

    #[test]
    fn an_event_is_three_lines_whatever_is_in_it() {
        let event = RecordedEvent {
            id: EventId(Ulid::from_parts(1, 1)),
            stream: StreamId {
                aggregate_type: AggregateType::parse("User").unwrap(),
                aggregate_id: AggregateId::parse("u1").unwrap(),
            },
            event_type: "Odd\r\nid: 9\nEvent".into(),
            schema_version: 1,
            data: RawValue::from_string("{\r\n \"a\": \"b\\nc\",\n\"s\":{\"$secret\":1}}".into())
                .unwrap(),
            version: Version::new(1),
            position: Position::new(7),
            occurred_at: DateTime::UNIX_EPOCH,
            created_by: None,
            correlation_id: CorrelationId(Ulid::from_parts(1, 2)),
            causation_id: None,
        };
        let mut text = Vec::new();

        write(&event, &mut text);

        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.split(['\n', '\r']).collect();
        assert_eq!(lines[..2], ["id: 7", "event: Odd  id: 9 Event"]);
        let data: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["event_data"], json!({"a": "b\nc"}));
        assert_eq!(lines[3..], ["", ""]);
    }
}
