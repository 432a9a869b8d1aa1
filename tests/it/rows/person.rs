//! A small aggregate that is a row of `persons`, with its tags in `person_tags` and a memo that the row
//! does not say.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use chrono::{DateTime, Utc};
use dormouse::{
    domain::{
        Aggregate, Claim, Column, ColumnKind, CommandContext, CreatedBy, Decision, Event,
        EventType, Handle, LinkTable, Rejection, Row, RowOrigin, RowValue, Stamp, StateRow,
        StateTable, UnmappableRow,
    },
    runtime::AggregateBuilder,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Person {
    #[default]
    Nobody,
    Present(Known),
    Gone,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) email: Option<String>,
    pub(super) visits: i64,
    pub(super) tags: BTreeSet<String>,
    pub(super) memo: Option<String>,
}

impl Person {
    pub(super) fn known(&self) -> &Known {
        match self {
            Self::Present(known) => known,
            Self::Nobody | Self::Gone => panic!("not there: {self:?}"),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum PersonEvent {
    #[serde(rename = "PersonRegisteredEvent")]
    Registered { name: String },
    #[serde(rename = "PersonRenamedEvent")]
    Renamed { name: String },
    #[serde(rename = "PersonVisitedEvent")]
    Visited {},
    #[serde(rename = "PersonTaggedEvent")]
    Tagged { tag: String },
    #[serde(rename = "PersonMemoSetEvent")]
    MemoSet { memo: String },
    #[serde(rename = "PersonLeftEvent")]
    Left {},
    #[serde(rename = "PersonAdoptedEvent")]
    Adopted { known: Known },
    #[serde(rename = "PersonReconciledEvent")]
    Reconciled { state: Person, reason: String },
}

impl Event for PersonEvent {
    const TYPES: &'static [EventType] = &[
        EventType::new("PersonRegisteredEvent", 1),
        EventType::new("PersonRenamedEvent", 1),
        EventType::new("PersonVisitedEvent", 1),
        EventType::new("PersonTaggedEvent", 1),
        EventType::new("PersonMemoSetEvent", 1),
        EventType::new("PersonLeftEvent", 1),
        EventType::new("PersonAdoptedEvent", 1),
        EventType::new("PersonReconciledEvent", 1),
    ];
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PersonError {
    #[error("there is no such person")]
    NotThere,
    #[error("this person is there already")]
    ThereAlready,
    #[error("no more visits")]
    TooManyVisits,
}

impl Rejection for PersonError {
    fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::NotThere => "not-there",
            Self::ThereAlready => "there-already",
            Self::TooManyVisits => "too-many-visits",
        }
        .into()
    }
}

impl Aggregate for Person {
    const TYPE: &'static str = "Person";
    type Event = PersonEvent;
    type Error = PersonError;

    fn apply(&mut self, event: &PersonEvent) {
        let memo = match self {
            Self::Present(known) => known.memo.clone(),
            Self::Nobody | Self::Gone => None,
        };
        match event {
            PersonEvent::Registered { name } => {
                *self = Self::Present(Known {
                    name: name.clone(),
                    ..Known::default()
                });
            }
            PersonEvent::Adopted { known } => *self = Self::Present(known.clone()),
            PersonEvent::Reconciled { state, .. } => {
                *self = state.clone();
                if let Self::Present(known) = self
                    && known.memo.is_none()
                {
                    known.memo = memo;
                }
            }
            PersonEvent::Left {} => *self = Self::Gone,
            PersonEvent::Renamed { .. }
            | PersonEvent::Visited {}
            | PersonEvent::Tagged { .. }
            | PersonEvent::MemoSet { .. } => {
                if let Self::Present(known) = self {
                    change(known, event);
                }
            }
        }
    }

    fn claims(&self) -> Vec<Claim> {
        match self {
            Self::Present(known) => vec![Claim::new("name", known.name.clone())],
            Self::Nobody | Self::Gone => Vec::new(),
        }
    }
}

fn change(known: &mut Known, event: &PersonEvent) {
    match event {
        PersonEvent::Renamed { name } => known.name.clone_from(name),
        PersonEvent::Visited {} => known.visits += 1,
        PersonEvent::Tagged { tag } => {
            known.tags.insert(tag.clone());
        }
        PersonEvent::MemoSet { memo } => known.memo = Some(memo.clone()),
        PersonEvent::Registered { .. }
        | PersonEvent::Left {}
        | PersonEvent::Adopted { .. }
        | PersonEvent::Reconciled { .. } => {}
    }
}

impl StateRow for Person {
    fn table() -> StateTable {
        StateTable {
            name: "persons".into(),
            key: "id",
            columns: vec![
                Column::text("name"),
                Column::text("email"),
                Column::new("visits", ColumnKind::Int),
            ],
            stamps: vec![
                Column::text("made_by"),
                Column::new("made_at", ColumnKind::Time),
            ],
            links: vec![LinkTable {
                name: "person_tags",
                owner: "person_id",
                member: "tag",
            }],
        }
    }

    fn to_row(&self) -> Option<Row> {
        let Self::Present(known) = self else {
            return None;
        };
        Some(Row {
            values: BTreeMap::from([
                ("name", RowValue::Text(known.name.clone())),
                ("email", RowValue::text(known.email.as_deref())),
                ("visits", RowValue::Int(known.visits)),
            ]),
            links: BTreeMap::from([("person_tags", known.tags.clone())]),
        })
    }

    fn from_row(row: &Row) -> Result<Self, UnmappableRow> {
        let RowValue::Text(name) = &row.values["name"] else {
            return Err(unmappable("name", "is no text"));
        };
        let email = if let RowValue::Text(email) = &row.values["email"] {
            Some(email.clone())
        } else {
            None
        };
        let RowValue::Int(visits @ 0..) = row.values["visits"] else {
            return Err(unmappable("visits", "is less than nothing"));
        };
        Ok(Self::Present(Known {
            name: name.clone(),
            email,
            visits,
            tags: row.links["person_tags"].clone(),
            memo: None,
        }))
    }

    fn keeping(mut self, known: &Self) -> Self {
        if let (Self::Present(this), Self::Present(known)) = (&mut self, known) {
            this.memo.clone_from(&known.memo);
        }
        self
    }

    fn stamps_on_insert(stamp: &Stamp<'_>) -> Vec<(&'static str, RowValue)> {
        let made_by = stamp.created_by.map_or("nobody", CreatedBy::as_str);
        vec![
            ("made_by", RowValue::Text(made_by.to_owned())),
            ("made_at", RowValue::Time(stamp.now)),
        ]
    }

    fn stamps_on_update(_: &Stamp<'_>) -> Vec<(&'static str, RowValue)> {
        Vec::new()
    }

    fn origin(stamps: &[(&'static str, RowValue)]) -> RowOrigin {
        let mut origin = RowOrigin::default();
        for (name, value) in stamps {
            if let ("made_by", RowValue::Text(text)) = (*name, value) {
                assert_ne!(text, NOBODYS, "a mistake in the mapping");
                origin.created_by = CreatedBy::parse(text).ok();
            }
            if let ("made_at", RowValue::Time(time)) = (*name, value) {
                origin.created_at = Some(*time);
            }
        }
        origin
    }

    fn adopted(&self) -> PersonEvent {
        PersonEvent::Adopted {
            known: self.known().clone(),
        }
    }

    fn reconciled(&self, reason: &str) -> PersonEvent {
        PersonEvent::Reconciled {
            state: self.clone(),
            reason: reason.to_owned(),
        }
    }
}

fn unmappable(column: &'static str, problem: &'static str) -> UnmappableRow {
    UnmappableRow {
        column,
        problem: problem.into(),
    }
}

/// Who makes rows that the mapping panics on.
pub(super) const NOBODYS: &str = "of nobody";

/// When the rows of other programs were made.
pub(super) fn long_ago() -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000_000, 0).unwrap()
}

macro_rules! commands {
    ($($command:ident { $($field:ident: $type:ty),* } => $name:literal, $decide:expr;)*) => {
        $(
            #[derive(Debug, Clone, Serialize, Deserialize)]
            pub(super) struct $command { $(pub(super) $field: $type),* }

            impl Handle<$command> for Person {
                type Reply = i64;

                fn handle(
                    &self,
                    command: &$command,
                    _: &CommandContext<'_>,
                ) -> Result<Decision<Self, i64>, PersonError> {
                    let decide: fn(&Self, &$command) -> Result<Option<PersonEvent>, PersonError> =
                        $decide;
                    let event = decide(self, command)?;
                    let visits = match self {
                        Self::Present(known) => known.visits,
                        Self::Nobody | Self::Gone => 0,
                    };
                    let reply = visits + i64::from(matches!(event, Some(PersonEvent::Visited {})));
                    Ok(Decision::persist(event).reply(reply))
                }
            }
        )*

        pub(super) fn commands(builder: AggregateBuilder<Person>) -> AggregateBuilder<Person> {
            builder.state_row()$(.command::<$command>($name))*
        }

        /// The same without the mapping to a row.
        pub(super) fn unmapped(builder: AggregateBuilder<Person>) -> AggregateBuilder<Person> {
            builder$(.command::<$command>($name))*
        }
    };
}

fn there(person: &Person) -> Result<&Known, PersonError> {
    match person {
        Person::Present(known) => Ok(known),
        Person::Nobody | Person::Gone => Err(PersonError::NotThere),
    }
}

commands! {
    Register { name: String } => "register", |person, command| match person {
        Person::Nobody => Ok(Some(PersonEvent::Registered { name: command.name.clone() })),
        Person::Present(_) | Person::Gone => Err(PersonError::ThereAlready),
    };
    Rename { name: String } => "rename", |person, command| {
        let known = there(person)?;
        let name = command.name.clone();
        Ok((known.name != name).then_some(PersonEvent::Renamed { name }))
    };
    Visit { most: i64 } => "visit", |person, command| {
        let known = there(person)?;
        if known.visits >= command.most {
            return Err(PersonError::TooManyVisits);
        }
        Ok(Some(PersonEvent::Visited {}))
    };
    Tag { tag: String } => "tag", |person, command| {
        there(person)?;
        Ok(Some(PersonEvent::Tagged { tag: command.tag.clone() }))
    };
    SetMemo { memo: String } => "set-memo", |person, command| {
        there(person)?;
        Ok(Some(PersonEvent::MemoSet { memo: command.memo.clone() }))
    };
    Leave {} => "leave", |person, _| {
        there(person)?;
        Ok(Some(PersonEvent::Left {}))
    };
}

pub(super) fn register(name: &str) -> Register {
    Register {
        name: name.to_owned(),
    }
}

pub(super) fn rename(name: &str) -> Rename {
    Rename {
        name: name.to_owned(),
    }
}

pub(super) fn memo(memo: &str) -> SetMemo {
    SetMemo {
        memo: memo.to_owned(),
    }
}
