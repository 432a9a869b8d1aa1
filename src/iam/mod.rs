//! The reference domain: users, roles, and how a password becomes a hash.
//!
//! It shows how a user of this crate writes a domain: plain types, one [`Handle`] impl for each
//! command, and what needs I/O ([`prepare_create`], [`prepare_password`]) done before the
//! command is sent. It knows `domain` and nothing else of the crate.
//!
//! Invariants: what a caller sends is checked when it is read, so an aggregate only meets
//! well-formed commands; events and states hold plain text, so that what was stored under an
//! older rule stays readable; no password and no hash of one is ever shown.
//!
//! [`Handle`]: crate::domain::Handle

mod directory;
mod login;
mod password;
mod passwords;
mod patch;
mod prepare;
mod register;
mod role;
mod row;
mod status;
mod text;
mod user;

pub use directory::{UserDirectory, UserSearch};
pub use login::{PasswordSignIn, SignInStartError};
pub use password::{Password, Salt};
pub use passwords::{HashError, InvalidPasswordSettings, PasswordHasher, PasswordSettings};
pub use patch::Patch;
pub use prepare::{prepare_create, prepare_password};
pub use register::{adoption, register};
pub use role::{
    AssignPermissions, CreateRole, DeleteRole, Grant, Permission, Role, RoleAdopted, RoleCreated,
    RoleDetails, RoleError, RoleEvent, RolePermissionsAssigned, RoleReconciled, RoleUpdated,
    UpdateRole,
};
pub use status::Status;
pub use text::{
    Avatar, Description, Domain, Email, NickName, ParentRole, PermissionPart, PhoneNumber,
    RoleCode, RoleId, RoleName, Username,
};
pub use user::{
    AssignRoles, ChangePassword, CreateUser, DeleteUser, RecordLogin, RegisterUser,
    ReplacePassword, UpdateUser, User, UserAdopted, UserCreated, UserError, UserEvent,
    UserPasswordChanged, UserProfile, UserReconciled, UserRolesAssigned, UserUpdated,
};
