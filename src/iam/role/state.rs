//! The state of a role, and its shape as JSON: what a client reads.

use serde::{Deserialize, Serialize};

use super::{Permission, RoleAdopted, RoleCreated, RoleError, RoleReconciled, RoleUpdated};
use crate::iam::Status;

/// A role.
///
/// As JSON it is one flat object: the details' fields and `deleted`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "FlatRole", try_from = "FlatRole")]
pub enum Role {
    /// It was never created.
    #[default]
    Absent,
    /// It is there.
    Active {
        /// What is known of it.
        details: RoleDetails,
    },
    /// It was deleted.
    Deleted {
        /// What was known of it.
        details: RoleDetails,
    },
}

/// What is known of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleDetails {
    /// The name programs know the role by.
    pub code: String,
    /// What the role is called.
    pub name: String,
    /// What the role is for.
    pub description: Option<String>,
    /// The role above it; `0` where there is none.
    pub pid: String,
    /// Whether the role may be used.
    pub status: Status,
    /// What the role permits.
    pub permissions: Vec<Permission>,
}

impl Role {
    /// What is known of the role, deleted or not; nothing where it was never created.
    #[must_use]
    pub const fn details(&self) -> Option<&RoleDetails> {
        match self {
            Self::Absent => None,
            Self::Active { details } | Self::Deleted { details } => Some(details),
        }
    }

    /// The details of a role that takes commands.
    pub(super) const fn active(&self) -> Result<&RoleDetails, RoleError> {
        match self {
            Self::Absent => Err(RoleError::NotFound),
            Self::Active { details } => Ok(details),
            Self::Deleted { .. } => Err(RoleError::Deleted),
        }
    }

    pub(super) fn created(event: &RoleCreated) -> Self {
        Self::Active {
            details: RoleDetails {
                code: event.code.clone(),
                name: event.name.clone(),
                description: event.description.clone(),
                pid: event.pid.clone(),
                status: event.status,
                permissions: Vec::new(),
            },
        }
    }

    pub(super) fn from_adopted(event: &RoleAdopted) -> Self {
        Self::Active {
            details: RoleDetails {
                code: event.code.clone(),
                name: event.name.clone(),
                description: event.description.clone(),
                pid: event.pid.clone(),
                status: event.status,
                permissions: Vec::new(),
            },
        }
    }

    /// This role with the permissions that another state of it gives. A role that was deleted
    /// gives none: what comes back by a row is not to have rights that nobody sees.
    pub(super) fn with_permissions_of(mut self, known: &Self) -> Self {
        if let (Self::Active { details }, Self::Active { details: known }) = (&mut self, known) {
            details.permissions.clone_from(&known.permissions);
        }
        self
    }

    pub(super) fn reconcile(&mut self, event: &RoleReconciled) {
        match &event.state {
            Some(state) => *self = Self::from_adopted(state).with_permissions_of(self),
            None => self.delete(),
        }
    }

    pub(super) fn update(&mut self, event: &RoleUpdated) {
        let Self::Active { details } = self else {
            return;
        };
        if let Some(name) = &event.name {
            details.name.clone_from(name);
        }
        event.description.apply_to(&mut details.description);
        details.status = event.status.unwrap_or(details.status);
    }

    pub(super) fn delete(&mut self) {
        match std::mem::take(self) {
            Self::Absent => {}
            Self::Active { details } | Self::Deleted { details } => {
                *self = Self::Deleted { details };
            }
        }
    }
}

/// A role as JSON. Every field is always there, so that the fingerprint of snapshots, made of
/// an absent role, changes with the fields.
#[derive(Default, Serialize, Deserialize)]
struct FlatRole {
    code: Option<String>,
    name: Option<String>,
    description: Option<String>,
    pid: Option<String>,
    status: Option<Status>,
    permissions: Vec<Permission>,
    deleted: bool,
}

impl From<Role> for FlatRole {
    fn from(role: Role) -> Self {
        let deleted = matches!(role, Role::Deleted { .. });
        match role {
            Role::Absent => Self::default(),
            Role::Active { details } | Role::Deleted { details } => Self {
                code: Some(details.code),
                name: Some(details.name),
                description: details.description,
                pid: Some(details.pid),
                status: Some(details.status),
                permissions: details.permissions,
                deleted,
            },
        }
    }
}

impl TryFrom<FlatRole> for Role {
    type Error = &'static str;

    fn try_from(flat: FlatRole) -> Result<Self, Self::Error> {
        let (code, name, pid, status) = match (flat.code, flat.name, flat.pid, flat.status) {
            (None, None, None, None) if !flat.deleted => return Ok(Self::Absent),
            (Some(code), Some(name), Some(pid), Some(status)) => (code, name, pid, status),
            _ => return Err("a role lacks a field"),
        };
        let details = RoleDetails {
            code,
            name,
            description: flat.description,
            pid,
            status,
            permissions: flat.permissions,
        };
        Ok(if flat.deleted {
            Self::Deleted { details }
        } else {
            Self::Active { details }
        })
    }
}
