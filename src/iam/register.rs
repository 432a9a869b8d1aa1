//! The reference domain as part of a runtime: its commands by the names that clients use.

use super::{
    AssignPermissions, AssignRoles, ChangePassword, CreateRole, CreateUser, DeleteRole, DeleteUser,
    HashError, PasswordHasher, RegisterUser, ReplacePassword, Role, RoleAdopted, RoleCreated,
    RolePermissionsAssigned, RoleReconciled, RoleUpdated, Salt, UpdateRole, UpdateUser, User,
    UserAdopted, UserCreated, UserPasswordChanged, UserReconciled, UserRolesAssigned, UserUpdated,
    prepare_create, prepare_password,
};
use crate::{
    adoption::AdoptionBuilder,
    runtime::{AggregateBuilder, CommandError, PrepareContext, RuntimeBuilder},
};

/// Adds `User` and `Role` to a runtime; passwords are hashed by `hasher`.
#[must_use]
pub fn register(builder: RuntimeBuilder, hasher: &PasswordHasher) -> RuntimeBuilder {
    builder
        .aggregate::<User>(|user| users(user, hasher))
        .aggregate::<Role>(roles)
}

/// Adds `User` and `Role` to what can be adopted, verified and repaired.
#[must_use]
pub fn adoption(builder: AdoptionBuilder) -> AdoptionBuilder {
    builder.aggregate::<User>().aggregate::<Role>()
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
    .command_schema::<CreateUser>("create")
    .command_schema::<ChangePassword>("change-password")
    .command_schema::<UpdateUser>("update")
    .command_schema::<AssignRoles>("assign-roles")
    .command_schema::<DeleteUser>("delete")
    .event_schema::<UserCreated>("UserCreatedEvent")
    .event_schema::<UserUpdated>("UserUpdatedEvent")
    .event_schema::<UserPasswordChanged>("UserPasswordChangedEvent")
    .event_schema::<UserRolesAssigned>("UserRolesAssignedEvent")
    .event_schema::<Nothing>("UserDeletedEvent")
    .event_schema::<UserAdopted>("UserAdoptedEvent")
    .event_schema::<UserReconciled>("UserReconciledEvent")
    .state_row()
}

fn roles(role: AggregateBuilder<Role>) -> AggregateBuilder<Role> {
    role.command::<CreateRole>("create")
        .command::<UpdateRole>("update")
        .command::<AssignPermissions>("assign-permissions")
        .command::<DeleteRole>("delete")
        .command_schema::<CreateRole>("create")
        .command_schema::<UpdateRole>("update")
        .command_schema::<AssignPermissions>("assign-permissions")
        .command_schema::<DeleteRole>("delete")
        .event_schema::<RoleCreated>("RoleCreatedEvent")
        .event_schema::<RoleUpdated>("RoleUpdatedEvent")
        .event_schema::<RolePermissionsAssigned>("RolePermissionsAssignedEvent")
        .event_schema::<Nothing>("RoleDeletedEvent")
        .event_schema::<RoleAdopted>("RoleAdoptedEvent")
        .event_schema::<RoleReconciled>("RoleReconciledEvent")
        .state_row()
}

/// What an event without fields looks like.
#[derive(utoipa::ToSchema)]
struct Nothing {}

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

#[cfg(test)]
mod tests;
