//! `dormouse migrate`: brings the schema of the store up to date, and lets a role serve it.

use std::process::ExitCode;

use dormouse::{domain::error_chain, settings::Settings, store};
use tracing::{error, info};

use crate::run::to_its_end;

/// Runs the command to its end.
pub(crate) fn run(settings: &Settings, role: Option<&str>, with_functions: bool) -> ExitCode {
    let migrated = async {
        store::migrate(&settings.store).await?;
        if with_functions {
            store::add_functions(&settings.store).await?;
        }
        if let Some(role) = role {
            store::grant(&settings.store, role).await?;
        }
        Ok::<_, store::OpenError>(())
    };
    match to_its_end(migrated) {
        Ok(Ok(())) => {
            info!(store = %settings.store.url, role, "the schema is up to date");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            error!(store = %settings.store.url, "{}", error_chain(&error));
            ExitCode::FAILURE
        }
        Err(code) => code,
    }
}
