//! `adopt`, `verify` and `repair`: rows that were there before get their history, and are held
//! against it.

mod adopt;
mod repair;
mod told;
mod verify;

use std::sync::Arc;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use self::{adopt::ADOPT_EXIT_CODES, repair::REPAIR_EXIT_CODES, verify::VERIFY_EXIT_CODES};
pub use self::{adopt::AdoptArguments, repair::RepairArguments, verify::VerifyArguments};
use super::{CliError, output::line};
use crate::{
    adoption::{Adoption, AdoptionBuilder},
    settings::{Settings, StoreKind},
    store,
};

const BAR: &str = "{bar:40} {human_pos}/{human_len} {msg}, {per_sec}, {eta} left";

/// What can be done to the rows of a system that was there before.
#[derive(Debug, Subcommand)]
pub enum AdoptionCommand {
    /// Give each row of a type that has no events its first one.
    ///
    /// The event has the row's state, creator and time. It may be broken off at any point and run
    /// again: each row is adopted once. On PostgreSQL it may run beside servers. On SQLite the
    /// server must be stopped, for the file has one writer, unless both have store.writers set to
    /// "shared".
    #[command(after_help = ADOPT_EXIT_CODES)]
    Adopt(AdoptArguments),
    /// Compare rows with their events; nothing is written.
    ///
    /// Told are rows that are missing, rows without events, and the first column that differs with
    /// the event that should have set it. It may run beside servers, on SQLite too.
    #[command(after_help = VERIFY_EXIT_CODES)]
    Verify(VerifyArguments),
    /// Make one row and its events agree; what differs is shown first.
    ///
    /// From the events the row is written anew; from the row an event with the reason tells the
    /// log. History is never changed. On PostgreSQL it may run beside servers; on SQLite the
    /// server must be stopped, except with --dry-run, or where both have store.writers set to
    /// "shared".
    #[command(after_help = REPAIR_EXIT_CODES)]
    Repair(RepairArguments),
}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All is as it should be.
    Well,
    /// Something was told that is not.
    WithFindings,
}

impl AdoptionCommand {
    /// Runs the command on the store of these settings, with the types that `register` adds.
    ///
    /// # Errors
    /// [`CliError`], fit to be shown to whoever typed the command.
    pub async fn run(
        self,
        settings: &Settings,
        register: impl FnOnce(AdoptionBuilder) -> AdoptionBuilder,
    ) -> Result<Ended, CliError> {
        if settings.store.url.kind() == StoreKind::Memory {
            return Err(CliError::NothingToRead);
        }
        let mut own = settings.store.clone();
        // Whoever adopts does not mean to migrate.
        own.migrate = false;
        let store = if self.only_reads() {
            store::open_to_read(&own).await?
        } else {
            store::open(&own).await?
        };
        let builder = Adoption::builder(Arc::clone(&store)).settings(settings.clone());
        let adoption = register(builder).build()?;
        let done = match self {
            Self::Adopt(arguments) => arguments.run(&adoption).await,
            Self::Verify(arguments) => arguments.run(&adoption, settings).await,
            Self::Repair(arguments) => arguments.run(&adoption).await,
        };
        store.close().await;
        done
    }

    const fn only_reads(&self) -> bool {
        match self {
            Self::Adopt(arguments) => arguments.dry_run,
            Self::Verify(_) => true,
            Self::Repair(arguments) => arguments.dry_run,
        }
    }
}

/// Draws on stderr, and only where that is a terminal.
fn bar(len: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(len).with_message(what);
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

const fn ended(well: bool) -> Ended {
    if well {
        Ended::Well
    } else {
        Ended::WithFindings
    }
}

/// A line on stdout while work goes on. Whoever reads it may have seen enough.
fn say(text: &str) {
    let _ = line(text);
}
