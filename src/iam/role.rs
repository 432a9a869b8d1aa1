//! The role: a named set of permissions.

mod commands;
mod events;
mod row;
mod state;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeSet};

use super::patch::changed;
use crate::domain::{Aggregate, Claim, CommandContext, Decision, Handle, Rejection};

pub use commands::{AssignPermissions, CreateRole, DeleteRole, Grant, UpdateRole};
pub use events::{
    Permission, RoleAdopted, RoleCreated, RoleEvent, RolePermissionsAssigned, RoleReconciled,
    RoleUpdated,
};
pub use state::{Role, RoleDetails};

/// Why a role refuses a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// It is to be created and is there.
    #[error("this role exists already")]
    AlreadyExists,
    /// It was never created.
    #[error("there is no such role")]
    NotFound,
    /// It was deleted, for good.
    #[error("this role is deleted")]
    Deleted,
}

impl Rejection for RoleError {
    fn reason(&self) -> Cow<'static, str> {
        let slug = match self {
            Self::AlreadyExists => "role-already-exists",
            Self::NotFound => "role-not-found",
            Self::Deleted => "role-deleted",
        };
        slug.into()
    }
}

impl Aggregate for Role {
    const TYPE: &'static str = "Role";
    type Event = RoleEvent;
    type Error = RoleError;

    fn apply(&mut self, event: &RoleEvent) {
        match event {
            RoleEvent::Created(created) => *self = Self::created(created),
            RoleEvent::Updated(updated) => self.update(updated),
            RoleEvent::PermissionsAssigned(assigned) => {
                if let Self::Active { details } = self {
                    details.permissions.clone_from(&assigned.permissions);
                }
            }
            RoleEvent::Deleted => self.delete(),
            RoleEvent::Adopted(adopted) => *self = Self::from_adopted(adopted),
            RoleEvent::Reconciled(reconciled) => self.reconcile(reconciled),
        }
    }

    /// The code as it stands, of a role that is not deleted.
    fn claims(&self) -> Vec<Claim> {
        match self {
            Self::Active { details } => vec![Claim::new("code", details.code.clone())],
            Self::Absent | Self::Deleted { .. } => Vec::new(),
        }
    }
}

impl Handle<CreateRole> for Role {
    type Reply = ();

    fn handle(
        &self,
        command: &CreateRole,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self>, RoleError> {
        match self {
            Self::Absent => Ok(Decision::persist([RoleEvent::Created(command.into())])),
            Self::Active { .. } => Err(RoleError::AlreadyExists),
            Self::Deleted { .. } => Err(RoleError::Deleted),
        }
    }
}

impl Handle<UpdateRole> for Role {
    type Reply = ();

    fn handle(
        &self,
        command: &UpdateRole,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self>, RoleError> {
        let details = self.active()?;
        let name = command.name.as_ref().map(AsRef::as_ref);
        let updated = RoleUpdated {
            name: changed(name, details.name.as_str()),
            description: command.description.against(details.description.as_deref()),
            status: changed(command.status.as_ref(), &details.status),
        };
        if updated == RoleUpdated::default() {
            return Ok(Decision::nothing());
        }
        Ok(Decision::persist([RoleEvent::Updated(updated)]))
    }
}

impl Handle<AssignPermissions> for Role {
    type Reply = ();

    fn handle(
        &self,
        command: &AssignPermissions,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self>, RoleError> {
        let details = self.active()?;
        let wanted: BTreeSet<Permission> = command.permissions.iter().map(Into::into).collect();
        if wanted
            .iter()
            .eq(details.permissions.iter().collect::<BTreeSet<_>>())
        {
            return Ok(Decision::nothing());
        }
        let assigned = RolePermissionsAssigned {
            permissions: wanted.into_iter().collect(),
        };
        Ok(Decision::persist([RoleEvent::PermissionsAssigned(
            assigned,
        )]))
    }
}

impl Handle<DeleteRole> for Role {
    type Reply = ();

    fn handle(&self, _: &DeleteRole, _: &CommandContext<'_>) -> Result<Decision<Self>, RoleError> {
        self.active()?;
        Ok(Decision::persist([RoleEvent::Deleted]))
    }
}
