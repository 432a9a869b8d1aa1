//! From the commands with passwords that are sent to those with hashes that are handled.
//!
//! A caller that may send a command twice under one idempotency key passes
//! [`Salt::derived`], so that both are prepared to the same bytes; see there.

use super::{
    ChangePassword, CreateUser, HashError, PasswordHasher, RegisterUser, ReplacePassword, Salt,
};

/// Hashes the password of a user that is to be created.
///
/// # Errors
/// [`HashError`] of [`PasswordHasher::hash`].
pub async fn prepare_create(
    hasher: &PasswordHasher,
    command: CreateUser,
    salt: Salt,
) -> Result<RegisterUser, HashError> {
    let password_hash = hasher.hash(command.password, salt).await?;
    Ok(RegisterUser {
        username: command.username,
        password_hash,
        domain: command.domain,
        nick_name: command.nick_name,
        email: command.email,
        phone_number: command.phone_number,
        avatar: command.avatar,
    })
}

/// Hashes a password that is to replace another.
///
/// # Errors
/// [`HashError`] of [`PasswordHasher::hash`].
pub async fn prepare_password(
    hasher: &PasswordHasher,
    command: ChangePassword,
    salt: Salt,
) -> Result<ReplacePassword, HashError> {
    let password_hash = hasher.hash(command.password, salt).await?;
    Ok(ReplacePassword { password_hash })
}
