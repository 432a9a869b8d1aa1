//! What can have happened to a role. The texts are plain: a fact is not validated again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CreateRole, Grant};
use crate::{
    domain::{Event, EventType},
    iam::{Patch, Status},
};

/// What happened to a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoleEvent {
    /// It was created.
    #[serde(rename = "RoleCreatedEvent")]
    Created(RoleCreated),
    /// Its details were changed.
    #[serde(rename = "RoleUpdatedEvent")]
    Updated(RoleUpdated),
    /// It gives other permissions.
    #[serde(rename = "RolePermissionsAssignedEvent")]
    PermissionsAssigned(RolePermissionsAssigned),
    /// It was deleted.
    #[serde(rename = "RoleDeletedEvent")]
    Deleted,
    /// It was there before its history: its first event, made of its row.
    #[serde(rename = "RoleAdoptedEvent")]
    Adopted(RoleAdopted),
    /// Another program has written its row; here the log is told.
    #[serde(rename = "RoleReconciledEvent")]
    Reconciled(RoleReconciled),
}

impl Event for RoleEvent {
    const TYPES: &'static [EventType] = &[
        EventType::new("RoleCreatedEvent", 1),
        EventType::new("RoleUpdatedEvent", 1),
        EventType::new("RolePermissionsAssignedEvent", 1),
        EventType::new("RoleDeletedEvent", 1),
        EventType::new("RoleAdoptedEvent", 1),
        EventType::new("RoleReconciledEvent", 1),
    ];
}

/// A role was created: enabled and without permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleCreated {
    /// The name programs know the role by.
    pub code: String,
    /// What the role is called.
    pub name: String,
    /// What the role is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The role above it; `0` where there is none.
    pub pid: String,
    /// Whether the role may be used.
    #[serde(default)]
    pub status: Status,
}

impl From<&CreateRole> for RoleCreated {
    fn from(command: &CreateRole) -> Self {
        let pid = command.pid.clone().map(Into::into);
        Self {
            code: command.code.clone().into(),
            name: command.name.clone().into(),
            description: command.description.clone().map(Into::into),
            pid: pid.unwrap_or_else(|| "0".to_owned()),
            status: Status::Enabled,
        }
    }
}

/// A role's details were changed: what is absent stayed, what is `null` was cleared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleUpdated {
    /// What the role is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    pub name: Option<String>,
    /// What the role is for.
    #[serde(default, skip_serializing_if = "Patch::is_unchanged")]
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
    /// Whether the role may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Status)]
    pub status: Option<Status>,
}

/// A role gives these permissions and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolePermissionsAssigned {
    /// The permissions, each once, sorted.
    pub permissions: Vec<Permission>,
}

/// What a role permits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Permission {
    /// On what.
    pub resource: String,
    /// To do what.
    pub action: String,
}

impl From<&Grant> for Permission {
    fn from(grant: &Grant) -> Self {
        Self {
            resource: grant.resource.clone().into(),
            action: grant.action.clone().into(),
        }
    }
}

/// A role that was there before its history, as its row told it: without permissions, for which
/// the table has no column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleAdopted {
    /// The name programs know the role by.
    pub code: String,
    /// What the role is called.
    pub name: String,
    /// What the role is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The role above it; `0` where there is none.
    pub pid: String,
    /// Whether the role may be used.
    pub status: Status,
}

/// A role's row was written by another program, or by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleReconciled {
    /// Why the row is believed.
    pub reason: String,
    /// The role as the row tells it, its permissions stay; nothing where the row is gone, and the
    /// role with it.
    pub state: Option<RoleAdopted>,
}
