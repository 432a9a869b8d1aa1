//! One user in the directory, and what each event does to it.

use std::collections::HashMap;

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    domain::Event as _,
    iam::{Status, UserEvent, UserRolesAssigned, UserUpdated},
    store::{RecordedEvent, models::ModelError},
};

/// A user as the directory shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) username: String,
    pub(super) domain: String,
    pub(super) nick_name: String,
    pub(super) email: Option<String>,
    pub(super) phone_number: Option<String>,
    pub(super) avatar: Option<String>,
    pub(super) status: Status,
    pub(super) role_ids: Vec<String>,
    /// The version of the user's last event in here.
    pub(super) version: u64,
    created_at: String,
    updated_at: String,
}

impl Entry {
    /// What it is sorted and searched by: whoever looks for `ann` means `Ann` too.
    pub(super) fn key(&self) -> String {
        self.username.to_lowercase()
    }

    pub(super) const fn status(&self) -> &'static str {
        self.status.as_str()
    }

    /// A user as an event tells it whole, at that event's time.
    fn new(id: &str, created: Created, created_at: String) -> Self {
        Self {
            id: id.to_owned(),
            username: created.username,
            domain: created.domain,
            nick_name: created.nick_name,
            email: created.email,
            phone_number: created.phone_number,
            avatar: created.avatar,
            status: created.status,
            role_ids: created.role_ids,
            version: 0,
            created_at,
            updated_at: String::new(),
        }
    }
}

/// The users that a batch touches; nothing for one that is not in the directory.
pub(super) type Entries = HashMap<String, Option<Entry>>;

/// A user's creation or adoption as it is shown: the hash of the password has been left out.
#[derive(Deserialize)]
struct Created {
    username: String,
    domain: String,
    nick_name: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    phone_number: Option<String>,
    #[serde(default)]
    avatar: Option<String>,
    #[serde(default)]
    status: Status,
    #[serde(default)]
    role_ids: Vec<String>,
}

/// What another program did to a user, as it is shown.
#[derive(Deserialize)]
struct Reconciled {
    state: Option<Created>,
}

/// Applies one event.
pub(super) fn apply(entries: &mut Entries, event: &RecordedEvent) -> Result<(), ModelError> {
    check_schema(event)?;
    let id = event.stream.aggregate_id.as_str();
    let entry = entries.entry(id.to_owned()).or_default();
    let at = event
        .occurred_at
        .to_rfc3339_opts(SecondsFormat::Micros, true);
    match event.event_type.as_str() {
        "UserCreatedEvent" | "UserAdoptedEvent" => {
            *entry = Some(Entry::new(id, data(event)?, at.clone()));
        }
        "UserReconciledEvent" => {
            let reconciled: Reconciled = data(event)?;
            let created_at = entry
                .take()
                .map_or_else(|| at.clone(), |entry| entry.created_at);
            *entry = reconciled
                .state
                .map(|state| Entry::new(id, state, created_at));
        }
        "UserUpdatedEvent" => update(there(entry, event)?, data(event)?),
        "UserRolesAssignedEvent" => {
            let assigned: UserRolesAssigned = data(event)?;
            there(entry, event)?.role_ids = assigned.role_ids;
        }
        "UserDeletedEvent" => *entry = None,
        // A new password or a login changes nothing that is shown but the version.
        _ => {
            there(entry, event)?;
        }
    }
    if let Some(entry) = entry {
        entry.version = event.version.get();
        entry.updated_at = at;
    }
    Ok(())
}

fn update(entry: &mut Entry, updated: UserUpdated) {
    if let Some(nick_name) = updated.nick_name {
        entry.nick_name = nick_name;
    }
    updated.email.apply_to(&mut entry.email);
    updated.phone_number.apply_to(&mut entry.phone_number);
    updated.avatar.apply_to(&mut entry.avatar);
    entry.status = updated.status.unwrap_or(entry.status);
}

/// Whether this program knows the event as it is written.
fn check_schema(event: &RecordedEvent) -> Result<(), ModelError> {
    let known = UserEvent::TYPES
        .iter()
        .find(|known| known.name == event.event_type);
    match known {
        None => Err(refused(
            event,
            "is of a type that this program does not know",
        )),
        Some(known) if event.schema_version > known.schema_version => {
            Err(refused(event, "has a newer schema than this program knows"))
        }
        Some(_) => Ok(()),
    }
}

fn there<'a>(
    entry: &'a mut Option<Entry>,
    event: &RecordedEvent,
) -> Result<&'a mut Entry, ModelError> {
    entry
        .as_mut()
        .ok_or_else(|| refused(event, "is of a user that is not there"))
}

/// The event's data. serde's words may quote it, so only where it breaks is told.
fn data<T: DeserializeOwned>(event: &RecordedEvent) -> Result<T, ModelError> {
    serde_json::from_str(event.data.get())
        .map_err(|_| refused(event, "has data that does not fit its type"))
}

fn refused(event: &RecordedEvent, what: &str) -> ModelError {
    ModelError::refused(format!(
        "event {} ({}) at position {} {what}",
        event.id, event.event_type, event.position
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::to_raw_value};

    use super::*;
    use crate::domain::{
        AggregateId, AggregateType, CorrelationId, EventId, Position, StreamId, Version,
    };

    fn event(version: u64, event_type: &str, data: &serde_json::Value) -> RecordedEvent {
        let seconds = i64::try_from(version).unwrap();
        RecordedEvent {
            id: EventId(ulid::Ulid::from_parts(version, 1)),
            stream: StreamId {
                aggregate_type: AggregateType::parse("User").unwrap(),
                aggregate_id: AggregateId::parse("1").unwrap(),
            },
            event_type: event_type.to_owned(),
            schema_version: 1,
            data: to_raw_value(data).unwrap(),
            version: Version::new(version),
            position: Position::new(version),
            occurred_at: chrono::DateTime::from_timestamp(seconds, 0).unwrap(),
            created_by: None,
            correlation_id: CorrelationId(ulid::Ulid::nil()),
            causation_id: None,
        }
    }

    fn state(nick_name: &str) -> serde_json::Value {
        json!({
            "username": "Soybean", "domain": "built-in", "nick_name": nick_name,
            "status": "BANNED", "role_ids": ["1"]
        })
    }

    #[test]
    fn an_adopted_user_is_shown_with_its_roles_and_a_reconciled_one_keeps_when_it_was_made() {
        let mut entries = Entries::new();
        let reconciled = json!({"reason": "r", "state": state("New")});

        apply(&mut entries, &event(1, "UserAdoptedEvent", &state("Old"))).unwrap();
        let adopted = entries["1"].clone().unwrap();
        apply(&mut entries, &event(2, "UserReconciledEvent", &reconciled)).unwrap();

        let entry = entries["1"].clone().unwrap();
        assert_eq!((adopted.status(), &*adopted.role_ids[0]), ("BANNED", "1"));
        assert_eq!((entry.nick_name.as_str(), entry.version), ("New", 2));
        assert_eq!(entry.created_at, "1970-01-01T00:00:01.000000Z");
        assert_eq!(entry.updated_at, "1970-01-01T00:00:02.000000Z");
    }

    #[test]
    fn a_user_whose_row_is_gone_is_not_in_the_directory_and_may_come_back() {
        let mut entries = Entries::new();
        let gone = json!({"reason": "r", "state": null});
        let back = json!({"reason": "r", "state": state("Back")});

        apply(&mut entries, &event(1, "UserAdoptedEvent", &state("Old"))).unwrap();
        apply(&mut entries, &event(2, "UserReconciledEvent", &gone)).unwrap();
        let while_gone = entries["1"].clone();
        apply(&mut entries, &event(3, "UserReconciledEvent", &back)).unwrap();

        assert_eq!(while_gone, None);
        assert_eq!(entries["1"].as_ref().unwrap().nick_name, "Back");
    }
}
