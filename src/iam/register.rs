//! The reference domain as part of a runtime: its commands by the names that clients use.

use super::{
    AssignPermissions, AssignRoles, ChangePassword, CreateRole, CreateUser, DeleteRole, DeleteUser,
    HashError, PasswordHasher, RegisterUser, ReplacePassword, Role, Salt, UpdateRole, UpdateUser,
    User, prepare_create, prepare_password,
};
use crate::runtime::{AggregateBuilder, CommandError, PrepareContext, RuntimeBuilder};

/// Adds `User` and `Role` to a runtime; passwords are hashed by `hasher`.
#[must_use]
pub fn register(builder: RuntimeBuilder, hasher: &PasswordHasher) -> RuntimeBuilder {
    builder
        .aggregate::<User>(|user| users(user, hasher))
        .aggregate::<Role>(roles)
}

fn users(user: AggregateBuilder<User>, hasher: &PasswordHasher) -> AggregateBuilder<User> {
    let creating = hasher.clone();
    let changing = hasher.clone();
    user.prepared_command::<CreateUser, RegisterUser, _, _>("create", move |command, ctx| {
        let hasher = creating.clone();
        async move {
            let prepared = prepare_create(&hasher, command, salt(&ctx)).await;
            prepared.map_err(|error| unhashed(&error))
        }
    })
    .prepared_command::<ChangePassword, ReplacePassword, _, _>(
        "change-password",
        move |command, ctx| {
            let hasher = changing.clone();
            async move {
                let prepared = prepare_password(&hasher, command, salt(&ctx)).await;
                prepared.map_err(|error| unhashed(&error))
            }
        },
    )
    .command::<UpdateUser>("update")
    .command::<AssignRoles>("assign-roles")
    .command::<DeleteUser>("delete")
}

fn roles(role: AggregateBuilder<Role>) -> AggregateBuilder<Role> {
    role.command::<CreateRole>("create")
        .command::<UpdateRole>("update")
        .command::<AssignPermissions>("assign-permissions")
        .command::<DeleteRole>("delete")
}

/// Under a key the same password must hash the same again, for the receipt knows the hash only.
fn salt(ctx: &PrepareContext) -> Salt {
    match &ctx.key {
        Some(key) => Salt::derived(&ctx.stream, key),
        None => Salt::random(),
    }
}

fn unhashed(error: &HashError) -> CommandError {
    match error {
        HashError::Busy => CommandError::Overloaded {
            what: "the hashing of passwords",
        },
        HashError::Failed(_) | HashError::BrokenOff(_) => CommandError::Internal(error.to_string()),
    }
}
