//! What a user can be told: as it is sent, and, where a password is in it, as it is handled.
//!
//! A command that is handled serializes to one canonical text, of which the fingerprint of a
//! keyed command is made: absent fields stay absent and sets have one order.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::Secret,
    iam::{
        Avatar, Domain, Email, NickName, Password, Patch, PhoneNumber, RoleId, Status, Username,
        patch::{named, not_null},
        text::small_set,
    },
};

/// `create`, as it is sent; [`prepare_create`](crate::iam::prepare_create) makes a
/// [`RegisterUser`] of it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// The name to sign in with.
    pub username: Username,
    /// The password to sign in with.
    pub password: Password,
    /// The organisation the user belongs to.
    pub domain: Domain,
    /// What the user is called.
    pub nick_name: NickName,
    /// The email address.
    #[serde(default)]
    pub email: Option<Email>,
    /// The phone number.
    #[serde(default)]
    pub phone_number: Option<PhoneNumber>,
    /// Where the picture is.
    #[serde(default)]
    pub avatar: Option<Avatar>,
}

/// `create`, as it is handled.
#[derive(Debug, Clone, Serialize)]
pub struct RegisterUser {
    /// The name to sign in with.
    pub username: Username,
    /// The hash of the password, a PHC string.
    pub password_hash: Secret<String>,
    /// The organisation the user belongs to.
    pub domain: Domain,
    /// What the user is called.
    pub nick_name: NickName,
    /// The email address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// The phone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_number: Option<PhoneNumber>,
    /// Where the picture is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Avatar>,
}

/// `update`: what is absent stays, what is `null` is cleared; nick name and status cannot be.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    /// What the user is called.
    #[serde(
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = NickName)]
    pub nick_name: Option<NickName>,
    /// The email address.
    #[serde(default, skip_serializing_if = "Patch::is_unchanged")]
    #[schema(value_type = Option<Email>)]
    pub email: Patch<Email>,
    /// The phone number.
    #[serde(default, skip_serializing_if = "Patch::is_unchanged")]
    #[schema(value_type = Option<PhoneNumber>)]
    pub phone_number: Patch<PhoneNumber>,
    /// Where the picture is.
    #[serde(default, skip_serializing_if = "Patch::is_unchanged")]
    #[schema(value_type = Option<Avatar>)]
    pub avatar: Patch<Avatar>,
    /// Whether the user may sign in.
    #[serde(
        default,
        deserialize_with = "named",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Status)]
    pub status: Option<Status>,
}

/// `change-password`, as it is sent; [`prepare_password`](crate::iam::prepare_password) makes a
/// [`ReplacePassword`] of it.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The new password.
    pub password: Password,
}

/// `change-password`, as it is handled.
#[derive(Debug, Clone, Serialize)]
pub struct ReplacePassword {
    /// The hash of the new password, a PHC string.
    pub password_hash: Secret<String>,
}

/// `assign-roles`: these roles take the place of all the user had.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignRoles {
    /// The roles, 1000 at most; as a set, so that neither order nor repeats count.
    #[serde(deserialize_with = "small_set")]
    #[schema(value_type = Vec<RoleId>, max_items = 1000)]
    pub role_ids: BTreeSet<RoleId>,
}

/// `delete`: for good; the username, email address and phone number are free again.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteUser {}

/// Puts on record that a user has signed in. It has no name by which clients could send it: only
/// what has checked the password does.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct RecordLogin {}
