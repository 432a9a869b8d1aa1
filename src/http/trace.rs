//! A trace: the events of a correlation as a tree, each under the event that caused it.
//!
//! What caused an event may be a command, or an event of another correlation: such an event is a
//! root. Whoever sends commands names the causes, so they may name one another in a circle; the
//! first event of a circle is a root then. No event is ever left out.

use std::collections::HashMap;

use crate::{
    domain::{CorrelationId, EventId},
    store::{EventView, RecordedEvent},
};

/// The trace of events, which are in the order of the log.
///
/// Written step by step with a stack of its own: a chain of causes is as deep as it is long.
pub(super) fn to_json(
    correlation: &CorrelationId,
    events: &[RecordedEvent],
    truncated: bool,
) -> Result<String, serde_json::Error> {
    let tree = Tree::of(events);
    let mut text =
        format!("{{\"correlation_id\":\"{correlation}\",\"truncated\":{truncated},\"roots\":[");
    let mut steps = Vec::new();
    push_all(&mut steps, &tree.roots);
    while let Some(step) = steps.pop() {
        match step {
            Step::Text(part) => text.push_str(part),
            Step::Event(index) => {
                text.push_str("{\"event\":");
                text.push_str(&serde_json::to_string(&EventView::from(&events[index]))?);
                text.push_str(",\"effects\":[");
                steps.push(Step::Text("]}"));
                push_all(&mut steps, &tree.effects[index]);
            }
        }
    }
    text.push_str("]}");
    Ok(text)
}

enum Step {
    Text(&'static str),
    Event(usize),
}

/// The last step is taken first.
fn push_all(steps: &mut Vec<Step>, events: &[usize]) {
    for (place, event) in events.iter().enumerate().rev() {
        steps.push(Step::Event(*event));
        if place > 0 {
            steps.push(Step::Text(","));
        }
    }
}

/// Which events have no cause among these, and which each has caused, by their indexes.
#[derive(Debug, PartialEq)]
struct Tree {
    roots: Vec<usize>,
    effects: Vec<Vec<usize>>,
}

impl Tree {
    fn of(events: &[RecordedEvent]) -> Self {
        let causes = causes(events);
        let mut tree = Self {
            roots: Vec::new(),
            effects: vec![Vec::new(); events.len()],
        };
        for (index, cause) in causes.iter().enumerate() {
            match cause {
                None => tree.roots.push(index),
                Some(cause) => tree.effects[*cause].push(index),
            }
        }
        tree
    }
}

/// The cause of each event, without circles.
fn causes(events: &[RecordedEvent]) -> Vec<Option<usize>> {
    let indexes: HashMap<EventId, usize> = (0..)
        .zip(events)
        .map(|(index, event)| (event.id, index))
        .collect();
    let cause = |event: &RecordedEvent| {
        let id = EventId(event.causation_id?.0);
        indexes.get(&id).copied()
    };
    let mut causes: Vec<Option<usize>> = events.iter().map(cause).collect();
    // Each walk notes where it came by; one that meets itself has found a circle.
    let mut walks = vec![0; events.len()];
    for start in 0..events.len() {
        let walk = start + 1;
        let mut at = Some(start);
        while let Some(index) = at {
            if walks[index] == walk {
                break_circle(&mut causes, index);
                break;
            }
            if walks[index] > 0 {
                break;
            }
            walks[index] = walk;
            at = causes[index];
        }
    }
    causes
}

/// Makes the first event of a circle a root.
fn break_circle(causes: &mut [Option<usize>], member: usize) {
    let mut first = member;
    let mut at = causes[member];
    while let Some(index) = at.filter(|index| *index != member) {
        first = first.min(index);
        at = causes[index];
    }
    causes[first] = None;
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Value, json, value::RawValue};
    use ulid::Ulid;

    use super::*;
    use crate::domain::{AggregateId, AggregateType, CausationId, Position, StreamId, Version};

    fn id(number: u64) -> Ulid {
        Ulid::from_parts(1, number.into())
    }

    /// Events 1, 2, … with the ids of their causes; zero for none.
    fn events(causes: &[u64]) -> Vec<RecordedEvent> {
        (1..)
            .zip(causes)
            .map(|(number, cause)| RecordedEvent {
                id: EventId(id(number)),
                stream: StreamId {
                    aggregate_type: AggregateType::parse("Thing").unwrap(),
                    aggregate_id: AggregateId::parse("a").unwrap(),
                },
                event_type: "ThingHappened".into(),
                schema_version: 1,
                data: RawValue::from_string(r#"{"secret":{"$secret":"x"}}"#.into()).unwrap(),
                version: Version::new(number),
                position: Position::new(number),
                occurred_at: DateTime::from_timestamp(0, 0).unwrap(),
                created_by: None,
                correlation_id: CorrelationId(id(0)),
                causation_id: (*cause > 0).then(|| CausationId(id(*cause))),
            })
            .collect()
    }

    /// The tree in short: each event's position, and its effects in brackets behind it.
    fn shape(causes: &[u64]) -> String {
        fn of(nodes: &Value) -> String {
            let nodes = nodes.as_array().unwrap().iter();
            let nodes = nodes.map(|node| {
                let effects = of(&node["effects"]);
                let brackets = if effects.is_empty() {
                    effects
                } else {
                    format!("[{effects}]")
                };
                format!("{}{brackets}", node["event"]["position"])
            });
            nodes.collect::<Vec<_>>().join(" ")
        }
        let text = to_json(&CorrelationId(id(0)), &events(causes), false).unwrap();
        of(&serde_json::from_str::<Value>(&text).unwrap()["roots"])
    }

    #[test]
    fn each_event_is_under_the_one_that_caused_it() {
        assert_eq!(shape(&[]), "");
        assert_eq!(shape(&[0]), "1");
        assert_eq!(shape(&[0, 1, 1, 2, 0, 5]), "1[2[4] 3] 5[6]");
        // A cause that comes later in the log is one all the same.
        assert_eq!(shape(&[3, 1, 0]), "3[1[2]]");
    }

    #[test]
    fn a_cause_that_is_no_event_of_the_correlation_makes_a_root() {
        assert_eq!(shape(&[900, 900, 1]), "1[3] 2");
    }

    #[test]
    fn events_that_cause_one_another_are_all_shown() {
        assert_eq!(shape(&[1]), "1");
        assert_eq!(shape(&[0, 2]), "1 2");
        assert_eq!(shape(&[2, 1]), "1[2]");
        assert_eq!(shape(&[3, 1, 2]), "1[2[3]]");
        // The first one hangs on a circle of the others; two circles; and one beside a root.
        assert_eq!(shape(&[2, 3, 2]), "2[1 3]");
        assert_eq!(shape(&[2, 1, 4, 3]), "1[2] 3[4]");
        assert_eq!(shape(&[0, 3, 2, 3, 1]), "1[5] 2[3[4]]");
    }

    #[test]
    fn a_chain_of_ten_thousand_causes_is_written() {
        let chain: Vec<u64> = (0..10_000).collect();

        let text = to_json(&CorrelationId(id(0)), &events(&chain), true).unwrap();

        assert_eq!(text.matches("\"effects\":[").count(), 10_000);
        assert!(text.ends_with(&"]}".repeat(10_001)));
    }

    #[test]
    fn a_trace_says_whose_it_is_and_shows_no_secret() {
        let text = to_json(&CorrelationId(id(0)), &events(&[0]), true).unwrap();

        let trace: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(trace["correlation_id"], json!(id(0).to_string()));
        assert_eq!(trace["truncated"], json!(true));
        assert_eq!(trace["roots"][0]["effects"], json!([]));
        assert_eq!(trace["roots"][0]["event"]["event_data"], json!({}));
    }
}
