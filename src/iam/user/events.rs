//! What can have happened to a user. The texts are plain: a fact is not validated again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::RegisterUser;
use crate::{
    domain::{Event, EventType, Secret},
    iam::{Patch, Status},
};

/// What happened to a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserEvent {
    /// It was created.
    #[serde(rename = "UserCreatedEvent")]
    Created(UserCreated),
    /// Its profile was changed.
    #[serde(rename = "UserUpdatedEvent")]
    Updated(UserUpdated),
    /// It has another password.
    #[serde(rename = "UserPasswordChangedEvent")]
    PasswordChanged(UserPasswordChanged),
    /// It has other roles.
    #[serde(rename = "UserRolesAssignedEvent")]
    RolesAssigned(UserRolesAssigned),
    /// It signed in.
    #[serde(rename = "UserLoggedInEvent")]
    LoggedIn,
    /// It was deleted.
    #[serde(rename = "UserDeletedEvent")]
    Deleted,
    /// It was there before its history: its first event, made of its row.
    #[serde(rename = "UserAdoptedEvent")]
    Adopted(UserAdopted),
    /// Another program has written its row; here the log is told.
    #[serde(rename = "UserReconciledEvent")]
    Reconciled(UserReconciled),
}

impl Event for UserEvent {
    const TYPES: &'static [EventType] = &[
        EventType::new("UserCreatedEvent", 1),
        EventType::new("UserUpdatedEvent", 1),
        EventType::new("UserPasswordChangedEvent", 1),
        EventType::new("UserRolesAssignedEvent", 1),
        EventType::new("UserLoggedInEvent", 1),
        EventType::new("UserDeletedEvent", 1),
        EventType::new("UserAdoptedEvent", 1),
        EventType::new("UserReconciledEvent", 1),
    ];
}

/// A user was created: enabled and without roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserCreated {
    /// The name to sign in with.
    pub username: String,
    /// The hash of the password, a PHC string.
    #[schema(ignore)]
    pub password_hash: Secret<String>,
    /// The organisation the user belongs to.
    pub domain: String,
    /// What the user is called.
    pub nick_name: String,
    /// The email address.
    #[serde(default)]
    pub email: Option<String>,
    /// The phone number.
    #[serde(default)]
    pub phone_number: Option<String>,
    /// Where the picture is.
    #[serde(default)]
    pub avatar: Option<String>,
    /// Whether the user may sign in.
    #[serde(default)]
    pub status: Status,
}

impl From<&RegisterUser> for UserCreated {
    fn from(command: &RegisterUser) -> Self {
        Self {
            username: command.username.clone().into(),
            password_hash: command.password_hash.clone(),
            domain: command.domain.clone().into(),
            nick_name: command.nick_name.clone().into(),
            email: command.email.clone().map(Into::into),
            phone_number: command.phone_number.clone().map(Into::into),
            avatar: command.avatar.clone().map(Into::into),
            status: Status::Enabled,
        }
    }
}

/// A user's profile was changed: what is absent stayed, what is `null` was cleared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserUpdated {
    /// What the user is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    pub nick_name: Option<String>,
    /// The email address.
    #[serde(default, skip_serializing_if = "Patch::is_unchanged")]
    #[schema(value_type = Option<String>)]
    pub email: Patch<String>,
    /// The phone number.
    #[serde(default, skip_serializing_if = "Patch::is_unchanged")]
    #[schema(value_type = Option<String>)]
    pub phone_number: Patch<String>,
    /// Where the picture is.
    #[serde(default, skip_serializing_if = "Patch::is_unchanged")]
    #[schema(value_type = Option<String>)]
    pub avatar: Patch<String>,
    /// Whether the user may sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Status)]
    pub status: Option<Status>,
}

/// A user has another password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserPasswordChanged {
    /// The hash of the password, a PHC string.
    #[schema(ignore)]
    pub password_hash: Secret<String>,
}

/// A user has these roles and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserRolesAssigned {
    /// The roles, each once, sorted.
    pub role_ids: Vec<String>,
}

/// A user that was there before its history, as its row told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserAdopted {
    /// The name to sign in with.
    pub username: String,
    /// The hash of the password: a PHC string or one of bcrypt.
    #[schema(ignore)]
    pub password_hash: Secret<String>,
    /// The organisation the user belongs to.
    pub domain: String,
    /// What the user is called.
    pub nick_name: String,
    /// The email address.
    #[serde(default)]
    pub email: Option<String>,
    /// The phone number.
    #[serde(default)]
    pub phone_number: Option<String>,
    /// Where the picture is.
    #[serde(default)]
    pub avatar: Option<String>,
    /// Whether the user may sign in.
    pub status: Status,
    /// The roles, each once, sorted.
    #[serde(default)]
    pub role_ids: Vec<String>,
}

/// A user's row was written by another program, or by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserReconciled {
    /// Why the row is believed.
    pub reason: String,
    /// The user as the row tells it; nothing where the row is gone, and the user with it.
    pub state: Option<UserAdopted>,
}
