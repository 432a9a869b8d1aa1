//! What a role can be told. Each command serializes to one canonical text, of which the
//! fingerprint of a keyed command is made: absent fields stay absent and sets have one order.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::iam::{
    Description, ParentRole, Patch, PermissionPart, RoleCode, RoleName, Status,
    patch::{named, not_null},
    text::small_set_of_objects,
};

/// `create`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRole {
    /// The name programs know the role by.
    pub code: RoleCode,
    /// What the role is called.
    pub name: RoleName,
    /// What the role is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,
    /// The role above it; none of them means `0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<ParentRole>,
}

/// `update`: what is absent stays, what is `null` is cleared; name and status cannot be.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateRole {
    /// What the role is called.
    #[serde(
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = RoleName)]
    pub name: Option<RoleName>,
    /// What the role is for.
    #[serde(default, skip_serializing_if = "Patch::is_unchanged")]
    #[schema(value_type = Option<Description>)]
    pub description: Patch<Description>,
    /// Whether the role may be used.
    #[serde(
        default,
        deserialize_with = "named",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Status)]
    pub status: Option<Status>,
}

/// `assign-permissions`: these permissions take the place of all the role had.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignPermissions {
    /// The permissions, 1000 at most; as a set, so that neither order nor repeats count.
    #[serde(deserialize_with = "small_set_of_objects")]
    #[schema(value_type = Vec<Grant>, max_items = 1000)]
    pub permissions: BTreeSet<Grant>,
}

/// A permission that is to be given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// On what.
    pub resource: PermissionPart,
    /// To do what.
    pub action: PermissionPart,
}

/// `delete`: for good; the code is free again.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteRole {}
