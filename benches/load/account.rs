//! The aggregate under load: an account that is opened and renamed.

use std::borrow::Cow;

use dormouse::domain::{
    Aggregate, Claim, CommandContext, Decision, Event, EventType, Handle, Rejection,
};
use serde::{Deserialize, Serialize};

/// An account; absent until it is opened.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) enum Account {
    #[default]
    Absent,
    Open {
        name: String,
        unique: bool,
    },
}

/// Opens an account; where `unique`, no other may have its name, now or later.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OpenAccount {
    pub(crate) name: String,
    pub(crate) unique: bool,
}

/// Gives an open account another name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RenameAccount {
    pub(crate) name: String,
}

/// What happened to an account.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    #[serde(rename = "AccountOpenedEvent")]
    Opened { name: String, unique: bool },
    #[serde(rename = "AccountRenamedEvent")]
    Renamed { name: String },
}

impl Event for AccountEvent {
    const TYPES: &'static [EventType] = &[
        EventType::new("AccountOpenedEvent", 1),
        EventType::new("AccountRenamedEvent", 1),
    ];
}

/// Why a command is refused; under load none is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the account is open already")]
    OpenAlready,
    #[error("the account is not open")]
    NotOpen,
}

impl Rejection for Refused {
    fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::OpenAlready => "open-already".into(),
            Self::NotOpen => "not-open".into(),
        }
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "LoadAccount";
    type Event = AccountEvent;
    type Error = Refused;

    fn apply(&mut self, event: &AccountEvent) {
        match (event, &mut *self) {
            (AccountEvent::Opened { name, unique }, _) => {
                *self = Self::Open {
                    name: name.clone(),
                    unique: *unique,
                };
            }
            (AccountEvent::Renamed { name: new }, Self::Open { name, .. }) => name.clone_from(new),
            // No decision leads here.
            (AccountEvent::Renamed { .. }, Self::Absent) => {}
        }
    }

    fn claims(&self) -> Vec<Claim> {
        match self {
            Self::Open { name, unique: true } => vec![Claim::new("name", name)],
            Self::Open { .. } | Self::Absent => Vec::new(),
        }
    }
}

impl Handle<OpenAccount> for Account {
    type Reply = ();

    fn handle(
        &self,
        command: &OpenAccount,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self>, Refused> {
        if matches!(self, Self::Open { .. }) {
            return Err(Refused::OpenAlready);
        }
        Ok(Decision::persist([AccountEvent::Opened {
            name: command.name.clone(),
            unique: command.unique,
        }]))
    }
}

impl Handle<RenameAccount> for Account {
    type Reply = ();

    fn handle(
        &self,
        command: &RenameAccount,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self>, Refused> {
        if matches!(self, Self::Absent) {
            return Err(Refused::NotOpen);
        }
        Ok(Decision::persist([AccountEvent::Renamed {
            name: command.name.clone(),
        }]))
    }
}
