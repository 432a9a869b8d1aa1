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
