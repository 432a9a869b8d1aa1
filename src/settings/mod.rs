//! What an operator may choose: `config.toml`, then `DORMOUSE__SECTION__KEY` from the environment.
//!
//! The binary loads [`Settings`] once, before anything starts, and hands each module its section.
//! Invariants: a loaded value is inside its range; a wrong one is reported with its key and where
//! it was written; a secret never reaches an error or a `Debug` output. This module knows no other
//! module of the crate: not what the store or the runtime do with a value.

mod aggregates;
mod auth;
mod drift;
mod error;
mod http;
mod lists;
mod load;
mod names;
mod otlp;
mod projections;
mod rate;
mod secret_text;
mod sections;
mod shown;
mod store;
mod store_url;
mod streams;
mod tls;
mod value;
mod written;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

pub use aggregates::{AggregateSettings, Mode, Reconcile};
pub(crate) use auth::SHORTEST_LOGIN_KEY;
pub use auth::{AuthMode, AuthSettings, RsaAlgorithm};
pub use drift::DriftSettings;
pub use error::{Origin, Problem, SettingsError};
pub use http::{ForwardedHeader, HttpSettings};
pub use otlp::OtlpSettings;
pub use projections::{Kept, ProjectionSettings};
pub use rate::RateSettings;
pub use secret_text::SecretText;
pub use sections::{IamSettings, JournalSettings, LogFormat, LogSettings, RuntimeSettings};
pub use shown::ShownSetting;
pub use store::{StoreSettings, Writers};
pub use store_url::{StoreKind, StoreUrl, UnknownScheme};
pub use streams::StreamSettings;
pub use tls::{TlsSettings, TlsVersion};

/// The file that is read from the working directory when none is named.
pub const DEFAULT_FILE: &str = "config.toml";

/// How the name of a setting begins in the environment.
pub const ENV_PREFIX: &str = "DORMOUSE__";

/// Everything that can be chosen, a section each.
///
/// ```
/// use dormouse::settings::Settings;
///
/// let env = [("DORMOUSE__STORE__POOL".to_owned(), "20".to_owned())];
/// let settings = Settings::load(None, env.into_iter())?;
/// assert_eq!(settings.store.pool, 20);
/// # Ok::<(), dormouse::settings::SettingsError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The HTTP server.
    pub http: HttpSettings,
    /// HTTPS.
    pub tls: TlsSettings,
    /// How often one caller may ask.
    pub rate: RateSettings,
    /// Who is let in.
    pub auth: AuthSettings,
    /// Where events are kept.
    pub store: StoreSettings,
    /// How commits are gathered into batches.
    pub journal: JournalSettings,
    /// Live aggregates and their limits.
    pub runtime: RuntimeSettings,
    /// Subscriptions to the log, and streams of events.
    pub streams: StreamSettings,
    /// How read models are kept up to date.
    pub projections: ProjectionSettings,
    /// The look for rows that do not agree with their events.
    pub drift: DriftSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where spans are sent.
    pub otlp: OtlpSettings,
    /// Users, roles and the hashing of passwords.
    pub iam: IamSettings,
    /// What differs for one aggregate type, by the name of the type.
    pub aggregates: BTreeMap<String, AggregateSettings>,
}

impl Settings {
    /// Reads the settings: defaults, then the file, then the environment.
    ///
    /// Without `file`, [`DEFAULT_FILE`] in the working directory is read if it is there.
    /// Variables that do not begin with [`ENV_PREFIX`] are passed over.
    ///
    /// # Errors
    /// [`SettingsError`] lists every problem found; nothing should start with any of them.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        load::load(file, env)
    }

    /// The settings of one aggregate type: its own entry, or the defaults.
    #[must_use]
    pub fn aggregate(&self, type_name: &str) -> AggregateSettings {
        self.aggregates.get(type_name).cloned().unwrap_or_default()
    }

    /// The aggregate types that have an entry, so that a name nobody registered can be refused.
    pub fn aggregate_names(&self) -> impl Iterator<Item = &str> {
        self.aggregates.keys().map(String::as_str)
    }
}

/// The number of cores this process may use, at least one.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests;
