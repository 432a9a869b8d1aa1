//! Signing a user in: the reference domain's part of `POST /v1/login`.
//!
//! A name that nobody has costs what a wrong password costs, for a password is compared with a hash
//! either way, and both hear the same. Where nothing can be compared (a text that is no password, a
//! stored hash that cannot be used) a refusal is made sooner: what keeps its time from telling why
//! is `auth.login_failure_time`, which `POST /v1/login` lets pass before each.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    HashError, Password, PasswordHasher, Permission, RecordLogin, Role, Salt, Status, User,
    UserProfile, Username,
};
use crate::{
    auth::{Credentials, Rights, SignIn, SignInError, SignedIn, created_by},
    domain::{Aggregate as _, AggregateId, AggregateType, Claim, Secret},
    runtime::{Aggregates, CommandError, CommandOptions, Runtime, StateError},
    store::{EventStore, ReadError},
};

/// The resource whose actions are rights that belong to no aggregate type; no type has such a name.
const SERVER: &str = "@dormouse";
/// The action on a type that lets read it.
const READ: &str = "read";
/// All actions.
const ANY: &str = "*";
/// How many roles are read at once.
const ROLES_AT_ONCE: usize = 16;

/// Signs users in by their passwords.
pub struct PasswordSignIn {
    store: Arc<dyn EventStore>,
    users: Aggregates<User>,
    roles: Aggregates<Role>,
    hasher: PasswordHasher,
    /// A hash that no password has, for those who are not there.
    nobody: Secret<String>,
}

impl std::fmt::Debug for PasswordSignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordSignIn").finish_non_exhaustive()
    }
}

/// Why nobody can be signed in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignInStartError {
    /// The runtime has no users and roles.
    #[error("the runtime does not know `User` and `Role`")]
    NotRegistered,
    /// No hash could be made.
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// A user who may sign in, as far as the password tells.
struct Candidate {
    id: AggregateId,
    profile: UserProfile,
    password_hash: Secret<String>,
}

impl PasswordSignIn {
    /// Signs in the users of a runtime, on whose store their names are claimed.
    ///
    /// # Errors
    /// [`SignInStartError`].
    pub async fn new(
        store: Arc<dyn EventStore>,
        runtime: &Runtime,
        hasher: PasswordHasher,
    ) -> Result<Self, SignInStartError> {
        let (users, roles) = runtime
            .aggregates::<User>()
            .zip(runtime.aggregates::<Role>())
            .ok_or(SignInStartError::NotRegistered)?;
        let random: [u128; 2] = rand::random();
        let nobody = Password::parse(format!("{random:x?}"));
        let nobody = nobody.map_err(|_| SignInStartError::NotRegistered)?;
        Ok(Self {
            store,
            users,
            roles,
            nobody: hasher.hash(nobody, Salt::random()).await?,
            hasher,
        })
    }

    /// Who has this name and may sign in; nothing where nobody does.
    async fn candidate(&self, username: &str) -> Result<Option<Candidate>, SignInError> {
        // What can be nobody's name is not asked for.
        let Ok(username) = Username::parse(username) else {
            return Ok(None);
        };
        let users = AggregateType::parse(User::TYPE).map_err(|_| SignInError::Failed)?;
        let claim = Claim::new("username", username.as_str());
        let holder = self.store.claim_holder(&users, &claim).await;
        let Some(id) = holder.map_err(|error| unread(&error))? else {
            return Ok(None);
        };
        let found = self.users.state(&id).await;
        let found = found.map_err(|error| unreadable(&error))?;
        Ok(match found.map(|found| found.state) {
            Some(User::Active {
                profile,
                password_hash,
            }) if profile.status == Status::Enabled => Some(Candidate {
                id,
                profile,
                password_hash,
            }),
            Some(User::Active { .. } | User::Deleted { .. } | User::Absent) | None => None,
        })
    }

    async fn has_password(
        &self,
        candidate: Option<&Candidate>,
        password: &str,
    ) -> Result<bool, SignInError> {
        let Ok(password) = Password::parse(password) else {
            return Ok(false);
        };
        let hash = candidate.map_or(&self.nobody, |candidate| &candidate.password_hash);
        match self.hasher.verify(password, hash).await {
            Ok(right) => Ok(right && candidate.is_some()),
            Err(HashError::Busy) => Err(SignInError::Busy),
            Err(error) => {
                let user = candidate.map(|candidate| tracing::field::display(&candidate.id));
                tracing::error!(%error, user, "a password could not be compared");
                Ok(false)
            }
        }
    }

    /// What the roles of a user permit.
    async fn rights(&self, profile: &UserProfile) -> Result<Rights, SignInError> {
        let ids = profile.role_ids.clone();
        let roles = stream::iter(ids).map(|id| async move { self.permissions(&id).await });
        let permissions: Vec<Vec<Permission>> = roles.buffered(ROLES_AT_ONCE).try_collect().await?;
        Ok(Rights::among(
            permissions.iter().flatten().flat_map(rights_of),
        ))
    }

    /// What a role permits: nothing where it is not there, deleted, or not enabled.
    async fn permissions(&self, id: &str) -> Result<Vec<Permission>, SignInError> {
        let Ok(id) = AggregateId::parse(id) else {
            return Ok(Vec::new());
        };
        let found = self.roles.state(&id).await;
        let found = found.map_err(|error| unreadable(&error))?;
        Ok(match found.map(|found| found.state) {
            Some(Role::Active { details }) if details.status == Status::Enabled => {
                details.permissions
            }
            Some(Role::Active { .. } | Role::Deleted { .. } | Role::Absent) | None => Vec::new(),
        })
    }

    /// Puts a login on record. The user decides once more, on its newest state.
    async fn record(&self, id: &AggregateId) -> Result<(), SignInError> {
        let options = CommandOptions {
            created_by: Some(created_by(id.as_str())),
            ..CommandOptions::default()
        };
        match self.users.execute(id, RecordLogin {}, options).await {
            Ok(_) => Ok(()),
            Err(CommandError::Rejected { .. }) => Err(SignInError::Refused),
            Err(CommandError::Overloaded { .. }) => Err(SignInError::Busy),
            Err(
                CommandError::StoreUnavailable
                | CommandError::ShuttingDown
                | CommandError::TimedOutUnhandled
                | CommandError::OutcomeUnknown
                | CommandError::WriteConflict,
            ) => Err(SignInError::Unavailable),
            Err(error) => {
                tracing::error!(%error, user = %id, "a login could not be put on record");
                Err(SignInError::Failed)
            }
        }
    }
}

#[async_trait]
impl SignIn for PasswordSignIn {
    async fn sign_in(&self, credentials: &Credentials) -> Result<SignedIn, SignInError> {
        let candidate = self.candidate(credentials.username()).await?;
        let right = self
            .has_password(candidate.as_ref(), credentials.password())
            .await?;
        let Some(candidate) = candidate.filter(|_| right) else {
            return Err(SignInError::Refused);
        };
        let rights = self.rights(&candidate.profile).await?;
        self.record(&candidate.id).await?;
        Ok(SignedIn {
            subject: candidate.id.as_str().to_owned(),
            rights,
        })
    }
}

/// A permission as rights (decision 42); what is no right grants nothing.
fn rights_of(permission: &Permission) -> Vec<String> {
    let (resource, action) = (&permission.resource, &permission.action);
    match (resource.as_str(), action.as_str()) {
        (SERVER, "audit" | "stream" | "admin") => vec![action.clone()],
        (SERVER, _) => Vec::new(),
        (_, READ) => vec![format!("read:{resource}")],
        (_, ANY) => vec![format!("read:{resource}"), format!("command:{resource}:*")],
        _ => vec![format!("command:{resource}:{action}")],
    }
}

fn unread(error: &ReadError) -> SignInError {
    tracing::warn!(%error, "a user could not be looked up");
    if error.is_retryable() {
        SignInError::Unavailable
    } else {
        SignInError::Failed
    }
}

fn unreadable(error: &StateError) -> SignInError {
    tracing::warn!(%error, "a user or a role could not be read");
    match error {
        StateError::Overloaded { .. } => SignInError::Busy,
        StateError::StoreUnavailable | StateError::ShuttingDown | StateError::TimedOut => {
            SignInError::Unavailable
        }
        StateError::UnknownType(_) | StateError::Unrecoverable(_) | StateError::Internal(_) => {
            SignInError::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(resource: &str, action: &str) -> String {
        let permission = Permission {
            resource: resource.to_owned(),
            action: action.to_owned(),
        };
        Rights::among(rights_of(&permission)).to_string()
    }

    #[test]
    fn a_permission_is_the_right_to_a_command_or_to_read_a_type() {
        assert_eq!(rights("User", "create"), "command:User:create");
        assert_eq!(rights("User", "read"), "read:User");
        assert_eq!(rights("User", "*"), "command:User:* read:User");
        assert_eq!(rights("*", "*"), "command:*:* read:*");
        assert_eq!(rights("@dormouse", "audit"), "audit");
        assert_eq!(rights("@dormouse", "admin"), "admin");
    }

    #[test]
    fn no_permission_is_more_than_it_says() {
        for (resource, action) in [
            ("@dormouse", "*"),
            ("@dormouse", "read"),
            ("audit", ""),
            ("", "*"),
            ("User:x", "create"),
            ("User", "a:b"),
            ("Us*", "create"),
            ("menu entry", "show"),
        ] {
            assert_eq!(rights(resource, action), "", "{resource} {action}");
        }
    }
}
