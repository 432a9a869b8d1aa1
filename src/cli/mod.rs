//! The commands that read a log from a shell (`events`, `aggregate`, `projections`), that move it
//! (`export`, `import`), and that bring rows and log together (`adopt`, `verify`, `repair`).
//!
//! The `dormouse` binary has them for the reference domain; a service with aggregates of its own
//! gives its own binary the same by adding [`HistoryCommand`] and [`AdoptionCommand`] to its
//! command line and running them with what it registers. Nothing but `import`, `adopt` and `repair`
//! writes to the log, so all else may be used beside a running server, on SQLite too.
//!
//! Invariants: data goes to stdout, words to stderr; with `--json` each line is one JSON object;
//! secrets are never shown, but by an export that is asked for them.

mod adoption;
mod aggregate;
mod changes;
mod error;
mod events;
mod export;
mod filter;
mod import;
mod keys;
mod output;
pub mod portable;
mod projections;

use std::{io::ErrorKind, sync::Arc};

use clap::Subcommand;

pub use adoption::{
    AdoptArguments, AdoptionCommand, Ended as AdoptionEnded, RepairArguments, VerifyArguments,
};
pub use error::CliError;
pub use keys::KeysCommand;

use crate::{
    runtime::{Runtime, RuntimeBuilder},
    settings::{Settings, StoreKind},
    store::{self, EventStore},
};

/// What can be read of a log from a shell.
///
/// ```
/// use clap::Parser;
/// use dormouse::cli::HistoryCommand;
///
/// #[derive(Parser)]
/// struct CommandLine {
///     #[command(subcommand)]
///     command: HistoryCommand,
/// }
///
/// let line = CommandLine::try_parse_from(["permits", "events", "query", "--order", "desc"]);
/// assert!(line.is_ok());
/// ```
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Find events by who, what, when, and follow the log.
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// The state of one aggregate, now or as it was, and what changed it.
    #[command(subcommand)]
    Aggregate(aggregate::AggregateCommand),
    /// How far the read models are, and building one anew.
    #[command(subcommand)]
    Projections(projections::ProjectionsCommand),
    /// Write events as lines of JSON, to keep them or to bring them into another log.
    Export(export::Export),
    /// Bring events of another log into this one, as they were.
    Import(import::Import),
}

impl HistoryCommand {
    /// Runs the command on the store of these settings, with the aggregates that `register` adds
    /// and the names and versions of the projections there are.
    ///
    /// # Errors
    /// [`CliError`], fit to be shown to whoever typed the command.
    pub async fn run(
        self,
        settings: &Settings,
        register: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
        projections: &[(&'static str, u32)],
    ) -> Result<(), CliError> {
        if settings.store.url.kind() == StoreKind::Memory {
            return Err(CliError::NothingToRead);
        }
        let store = match &self {
            Self::Projections(command) if !command.only_reads() => {
                store::open_beside(&settings.store).await?
            }
            Self::Import(_) => store::open_beside(&settings.store).await?,
            Self::Events(_) | Self::Aggregate(_) | Self::Projections(_) | Self::Export(_) => {
                store::open_to_read(&settings.store).await?
            }
        };
        let done = match self {
            Self::Events(command) => command.run(&store, settings).await,
            Self::Aggregate(command) => {
                let runtime = start(&store, settings, register).await?;
                let done = command.run(&runtime).await;
                runtime.shutdown().await;
                done
            }
            Self::Projections(command) => command.run(&store, projections).await,
            Self::Export(command) => command.run(&*store).await,
            Self::Import(command) => {
                let runtime = start(&store, settings, register).await?;
                let done = command.run(&store, &runtime).await;
                runtime.shutdown().await;
                done
            }
        };
        store.close().await;
        unless_reader_left(done)
    }
}

/// How a command ended: a reader who has seen enough, such as `head`, is no failure. A full disk is.
///
/// # Errors
/// All others.
pub fn unless_reader_left(done: Result<(), CliError>) -> Result<(), CliError> {
    match done {
        Err(CliError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

async fn start(
    store: &Arc<dyn EventStore>,
    settings: &Settings,
    register: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
) -> Result<Runtime, CliError> {
    let builder = Runtime::builder(Arc::clone(store)).settings(settings.clone());
    Ok(register(builder).start().await?)
}
