//! Whether a user or a role may be used.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a user or a role may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It may; so is every new one.
    #[default]
    Enabled,
    /// It may not, for now.
    Disabled,
    /// It may not, as a sanction.
    Banned,
}

impl Status {
    /// Its name, as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
            Self::Banned => "BANNED",
        }
    }

    /// The status with a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Enabled, Self::Disabled, Self::Banned];
        all.into_iter().find(|status| status.as_str() == name)
    }
}
