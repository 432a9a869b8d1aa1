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
        match self.status {
            Status::Enabled => "ENABLED",
            Status::Disabled => "DISABLED",
            Status::Banned => "BANNED",
        }
    }
}

/// The users that a batch touches; nothing for one that is not in the directory.
pub(super) type Entries = HashMap<String, Option<Entry>>;

/// A user's creation as it is shown: the hash of the password has been left out.
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
        "UserCreatedEvent" => {
            let created: Created = data(event)?;
            *entry = Some(Entry {
                id: id.to_owned(),
                username: created.username,
                domain: created.domain,
                nick_name: created.nick_name,
                email: created.email,
                phone_number: created.phone_number,
                avatar: created.avatar,
                status: created.status,
                role_ids: Vec::new(),
                version: 0,
                created_at: at.clone(),
                updated_at: String::new(),
            });
        }
        "UserUpdatedEvent" => update(there(entry, event)?, data(event)?),
        "UserRolesAssignedEvent" => {
            let assigned: UserRolesAssigned = data(event)?;
            there(entry, event)?.role_ids = assigned.role_ids;
        }
        "UserDeletedEvent" => *entry = None,
        // A new password changes nothing that is shown but the version.
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
