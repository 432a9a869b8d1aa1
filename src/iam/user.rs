//! The user: who may sign in, and with which roles.

mod commands;
mod events;
mod row;
mod state;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeSet};

use super::{Status, patch::changed};
use crate::domain::{Aggregate, Claim, CommandContext, Decision, Handle, Rejection};

pub use commands::{
    AssignRoles, ChangePassword, CreateUser, DeleteUser, RecordLogin, RegisterUser,
    ReplacePassword, UpdateUser,
};
pub use events::{
    UserAdopted, UserCreated, UserEvent, UserPasswordChanged, UserReconciled, UserRolesAssigned,
    UserUpdated,
};
pub use state::{User, UserProfile};

/// Why a user refuses a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// It is to be created and is there.
    #[error("this user exists already")]
    AlreadyExists,
    /// It was never created.
    #[error("there is no such user")]
    NotFound,
    /// It was deleted, for good.
    #[error("this user is deleted")]
    Deleted,
    /// It may not sign in.
    #[error("this user is not enabled")]
    NotEnabled,
}

impl Rejection for UserError {
    fn reason(&self) -> Cow<'static, str> {
        let slug = match self {
            Self::AlreadyExists => "user-already-exists",
            Self::NotFound => "user-not-found",
            Self::Deleted => "user-deleted",
            Self::NotEnabled => "user-not-enabled",
        };
        slug.into()
    }
}

impl Aggregate for User {
    const TYPE: &'static str = "User";
    type Event = UserEvent;
    type Error = UserError;

    fn apply(&mut self, event: &UserEvent) {
        match event {
            UserEvent::Created(created) => *self = Self::created(created),
            UserEvent::Updated(updated) => self.update(updated),
            UserEvent::PasswordChanged(changed) => {
                if let Self::Active { password_hash, .. } = self {
                    *password_hash = changed.password_hash.clone();
                }
            }
            UserEvent::RolesAssigned(assigned) => {
                if let Self::Active { profile, .. } = self {
                    profile.role_ids.clone_from(&assigned.role_ids);
                }
            }
            // Who signed in and when is history, and no state.
            UserEvent::LoggedIn => {}
            UserEvent::Deleted => self.delete(),
            UserEvent::Adopted(adopted) => *self = Self::from_adopted(adopted),
            UserEvent::Reconciled(reconciled) => self.reconcile(reconciled),
        }
    }

    /// The username as it stands, the email address in lower case (`A@x` and `a@x` reach one
    /// person), and the phone number as it stands; of a user that is not deleted.
    fn claims(&self) -> Vec<Claim> {
        let Self::Active { profile, .. } = self else {
            return Vec::new();
        };
        let email = profile.email.as_ref().map(|email| email.to_lowercase());
        let claims = [
            ("username", Some(profile.username.clone())),
            ("email", email),
            ("phone_number", profile.phone_number.clone()),
        ];
        claims
            .into_iter()
            .filter_map(|(name, value)| Some(Claim::new(name, value?)))
            .collect()
    }
}

impl Handle<RegisterUser> for User {
    type Reply = ();

    fn handle(
        &self,
        command: &RegisterUser,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self>, UserError> {
        match self {
            Self::Absent => Ok(Decision::persist([UserEvent::Created(command.into())])),
            Self::Active { .. } => Err(UserError::AlreadyExists),
            Self::Deleted { .. } => Err(UserError::Deleted),
        }
    }
}

impl Handle<UpdateUser> for User {
    type Reply = ();

    fn handle(
        &self,
        command: &UpdateUser,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self>, UserError> {
        let profile = self.active()?;
        let nick_name = command.nick_name.as_ref().map(AsRef::as_ref);
        let updated = UserUpdated {
            nick_name: changed(nick_name, profile.nick_name.as_str()),
            email: command.email.against(profile.email.as_deref()),
            phone_number: command
                .phone_number
                .against(profile.phone_number.as_deref()),
            avatar: command.avatar.against(profile.avatar.as_deref()),
            status: changed(command.status.as_ref(), &profile.status),
        };
        if updated == UserUpdated::default() {
            return Ok(Decision::nothing());
        }
        Ok(Decision::persist([UserEvent::Updated(updated)]))
    }
}

impl Handle<ReplacePassword> for User {
    type Reply = ();

    /// Always stores an event: whether two hashes are of one password cannot be told here.
    fn handle(
        &self,
        command: &ReplacePassword,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self>, UserError> {
        self.active()?;
        let changed = UserPasswordChanged {
            password_hash: command.password_hash.clone(),
        };
        Ok(Decision::persist([UserEvent::PasswordChanged(changed)]))
    }
}

impl Handle<AssignRoles> for User {
    type Reply = ();

    fn handle(
        &self,
        command: &AssignRoles,
        _: &CommandContext<'_>,
    ) -> Result<Decision<Self>, UserError> {
        let profile = self.active()?;
        let wanted: BTreeSet<&str> = command.role_ids.iter().map(AsRef::as_ref).collect();
        let current: BTreeSet<&str> = profile.role_ids.iter().map(String::as_str).collect();
        if wanted == current {
            return Ok(Decision::nothing());
        }
        let assigned = UserRolesAssigned {
            role_ids: wanted.into_iter().map(str::to_owned).collect(),
        };
        Ok(Decision::persist([UserEvent::RolesAssigned(assigned)]))
    }
}

impl Handle<RecordLogin> for User {
    type Reply = ();

    fn handle(&self, _: &RecordLogin, _: &CommandContext<'_>) -> Result<Decision<Self>, UserError> {
        match self.active()?.status {
            Status::Enabled => Ok(Decision::persist([UserEvent::LoggedIn])),
            Status::Disabled | Status::Banned => Err(UserError::NotEnabled),
        }
    }
}

impl Handle<DeleteUser> for User {
    type Reply = ();

    fn handle(&self, _: &DeleteUser, _: &CommandContext<'_>) -> Result<Decision<Self>, UserError> {
        self.active()?;
        Ok(Decision::persist([UserEvent::Deleted]))
    }
}
