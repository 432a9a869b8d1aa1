//! The state of a user, and its shape as JSON: what a client reads, plus the hidden hash.

use serde::{Deserialize, Serialize};

use super::{UserAdopted, UserCreated, UserError, UserReconciled, UserUpdated};
use crate::{domain::Secret, iam::Status};

/// A user.
///
/// As JSON it is one flat object: the profile's fields, `deleted`, and, hidden from readers, `password_hash`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "FlatUser", try_from = "FlatUser")]
pub enum User {
    /// It was never created.
    #[default]
    Absent,
    /// It is there.
    Active {
        /// What is known of it.
        profile: UserProfile,
        /// The hash of its password, a PHC string.
        password_hash: Secret<String>,
    },
    /// It was deleted; its password is forgotten.
    Deleted {
        /// What was known of it.
        profile: UserProfile,
    },
}

/// What is known of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserProfile {
    /// The name to sign in with.
    pub username: String,
    /// The organisation the user belongs to.
    pub domain: String,
    /// What the user is called.
    pub nick_name: String,
    /// The email address.
    pub email: Option<String>,
    /// The phone number.
    pub phone_number: Option<String>,
    /// Where the picture is.
    pub avatar: Option<String>,
    /// Whether the user may sign in.
    pub status: Status,
    /// The ids of the user's roles.
    pub role_ids: Vec<String>,
}

impl User {
    /// What is known of the user, deleted or not; nothing where it was never created.
    #[must_use]
    pub const fn profile(&self) -> Option<&UserProfile> {
        match self {
            Self::Absent => None,
            Self::Active { profile, .. } | Self::Deleted { profile } => Some(profile),
        }
    }

    /// The profile of a user that takes commands.
    pub(super) const fn active(&self) -> Result<&UserProfile, UserError> {
        match self {
            Self::Absent => Err(UserError::NotFound),
            Self::Active { profile, .. } => Ok(profile),
            Self::Deleted { .. } => Err(UserError::Deleted),
        }
    }

    pub(super) fn created(event: &UserCreated) -> Self {
        Self::Active {
            profile: UserProfile {
                username: event.username.clone(),
                domain: event.domain.clone(),
                nick_name: event.nick_name.clone(),
                email: event.email.clone(),
                phone_number: event.phone_number.clone(),
                avatar: event.avatar.clone(),
                status: event.status,
                role_ids: Vec::new(),
            },
            password_hash: event.password_hash.clone(),
        }
    }

    pub(super) fn from_adopted(event: &UserAdopted) -> Self {
        Self::Active {
            profile: UserProfile {
                username: event.username.clone(),
                domain: event.domain.clone(),
                nick_name: event.nick_name.clone(),
                email: event.email.clone(),
                phone_number: event.phone_number.clone(),
                avatar: event.avatar.clone(),
                status: event.status,
                role_ids: event.role_ids.clone(),
            },
            password_hash: event.password_hash.clone(),
        }
    }

    /// A row that came back after it was deleted makes the user come back.
    pub(super) fn reconcile(&mut self, event: &UserReconciled) {
        match &event.state {
            Some(state) => *self = Self::from_adopted(state),
            None => self.delete(),
        }
    }

    pub(super) fn update(&mut self, event: &UserUpdated) {
        let Self::Active { profile, .. } = self else {
            return;
        };
        if let Some(nick_name) = &event.nick_name {
            profile.nick_name.clone_from(nick_name);
        }
        event.email.apply_to(&mut profile.email);
        event.phone_number.apply_to(&mut profile.phone_number);
        event.avatar.apply_to(&mut profile.avatar);
        profile.status = event.status.unwrap_or(profile.status);
    }

    pub(super) fn delete(&mut self) {
        match std::mem::take(self) {
            Self::Absent => {}
            Self::Active { profile, .. } | Self::Deleted { profile } => {
                *self = Self::Deleted { profile };
            }
        }
    }
}

/// A user as JSON. Every field but the hash is always there, so that the fingerprint of
/// snapshots, made of an absent user, changes with the fields.
#[derive(Default, Serialize, Deserialize)]
struct FlatUser {
    username: Option<String>,
    domain: Option<String>,
    nick_name: Option<String>,
    email: Option<String>,
    phone_number: Option<String>,
    avatar: Option<String>,
    status: Option<Status>,
    role_ids: Vec<String>,
    deleted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password_hash: Option<Secret<String>>,
}

impl From<User> for FlatUser {
    fn from(user: User) -> Self {
        let deleted = matches!(user, User::Deleted { .. });
        let (profile, password_hash) = match user {
            User::Absent => return Self::default(),
            User::Active {
                profile,
                password_hash,
            } => (profile, Some(password_hash)),
            User::Deleted { profile } => (profile, None),
        };
        Self {
            username: Some(profile.username),
            domain: Some(profile.domain),
            nick_name: Some(profile.nick_name),
            email: profile.email,
            phone_number: profile.phone_number,
            avatar: profile.avatar,
            status: Some(profile.status),
            role_ids: profile.role_ids,
            deleted,
            password_hash,
        }
    }
}

impl TryFrom<FlatUser> for User {
    type Error = &'static str;

    fn try_from(flat: FlatUser) -> Result<Self, Self::Error> {
        let (username, domain, nick_name, status) =
            match (flat.username, flat.domain, flat.nick_name, flat.status) {
                (None, None, None, None) if !flat.deleted => return Ok(Self::Absent),
                (Some(username), Some(domain), Some(nick_name), Some(status)) => {
                    (username, domain, nick_name, status)
                }
                _ => return Err("a user lacks a field"),
            };
        let profile = UserProfile {
            username,
            domain,
            nick_name,
            email: flat.email,
            phone_number: flat.phone_number,
            avatar: flat.avatar,
            status,
            role_ids: flat.role_ids,
        };
        match (flat.deleted, flat.password_hash) {
            (false, Some(password_hash)) => Ok(Self::Active {
                profile,
                password_hash,
            }),
            (true, None) => Ok(Self::Deleted { profile }),
            (false, None) => Err("a user lacks its password hash"),
            (true, Some(_)) => Err("a deleted user has a password hash"),
        }
    }
}
