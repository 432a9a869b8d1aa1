//! `projections list`, `projections rebuild` and `projections resume`.

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{CliError, output};
use crate::{
    domain::{Clock as _, Position, SystemClock},
    projection::{self, ProjectionState, ProjectionStatus, Projections},
    store::EventStore,
};

/// The pause between two looks at how far a rebuild is.
const LOOK: Duration = Duration::from_millis(200);
/// After so many looks without anybody at work, that is told.
const LOOKS_ALONE: u32 = 50;

const REBUILD_EXAMPLES: &str = "\
Examples:
  dormouse projections rebuild user_directory --wait

The new generation is built beside the one in use by a process that runs the projection, such as
`dormouse serve`, and takes its place once it is complete. Nobody has to stop or wait.";

/// Commands on projections.
#[derive(Debug, Subcommand)]
pub enum ProjectionsCommand {
    /// Print what each projection is doing, and how far it is.
    List(List),
    /// Have a read model built anew beside the one in use, which it then replaces.
    #[command(after_help = REBUILD_EXAMPLES)]
    Rebuild(Rebuild),
    /// Let a projection that stopped at an event try it again.
    Resume(Resume),
}

/// The options of `projections list`.
#[derive(Debug, Args)]
pub struct List {
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// The options of `projections rebuild`.
#[derive(Debug, Args)]
pub struct Rebuild {
    /// The projection's name, as `projections list` prints it.
    #[arg(value_name = "NAME")]
    name: String,
    /// Wait until it is in use, and show how far it is.
    #[arg(long)]
    wait: bool,
}

/// The options of `projections resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// The projection's name, as `projections list` prints it.
    #[arg(value_name = "NAME")]
    name: String,
}

impl ProjectionsCommand {
    /// Whether it only reads.
    pub(super) const fn only_reads(&self) -> bool {
        matches!(self, Self::List(_))
    }

    pub(super) async fn run(
        self,
        store: &Arc<dyn EventStore>,
        known: &[(&'static str, u32)],
    ) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run(&**store).await,
            Self::Rebuild(rebuild) => rebuild.run(&**store, known).await,
            Self::Resume(resume) => resume.run(store).await,
        }
    }
}

/// A generation of a projection, as it is printed.
#[derive(Serialize)]
struct ShownProjection<'a> {
    name: &'a str,
    generation: i64,
    version: u32,
    state: &'static str,
    serving: bool,
    position: Position,
    head: Position,
    lag: u64,
    lag_seconds: f64,
    holder: Option<&'a str>,
    parked: u64,
    /// The event that it stands still before.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_at: Option<StoppedAt<'a>>,
}

#[derive(Serialize)]
struct StoppedAt<'a> {
    position: Position,
    event_id: &'a str,
    error: &'a str,
}

impl<'a> From<&'a ProjectionStatus> for ShownProjection<'a> {
    fn from(status: &'a ProjectionStatus) -> Self {
        let (state, stopped_at) = match &status.state {
            ProjectionState::Building => ("building", None),
            ProjectionState::Running => ("running", None),
            ProjectionState::Replaced => ("replaced", None),
            ProjectionState::Stopped(stopped) => (
                "stopped",
                Some(StoppedAt {
                    position: stopped.position,
                    event_id: &stopped.event_id,
                    error: &stopped.error,
                }),
            ),
        };
        Self {
            name: &status.name,
            generation: status.generation,
            version: status.version,
            state,
            serving: status.serving,
            position: status.position,
            head: status.head,
            lag: status.lag(),
            lag_seconds: status.lag_seconds,
            holder: status.holder.as_deref(),
            parked: status.parked,
            stopped_at,
        }
    }
}

impl List {
    async fn run(self, store: &dyn EventStore) -> Result<(), CliError> {
        let all = projection::status(store, SystemClock.now()).await?;
        let mut table = output::table(
            [
                "projection",
                "generation",
                "state",
                "serving",
                "position",
                "head",
                "lag",
                "seconds",
                "parked",
                "holder",
            ],
            &["state"],
        );
        for status in &all {
            let shown = ShownProjection::from(status);
            if self.json {
                output::json(&shown)?;
                continue;
            }
            let state = shown.stopped_at.as_ref().map_or_else(
                || shown.state.to_owned(),
                |at| {
                    format!(
                        "stopped before {} at {}: {}",
                        at.event_id, at.position, at.error
                    )
                },
            );
            table.add_row(vec![
                output::text(shown.name),
                output::number(shown.generation),
                output::text(&state),
                output::text(if shown.serving { "yes" } else { "no" }),
                output::number(shown.position),
                output::number(shown.head),
                output::number(shown.lag),
                output::number(format!("{:.1}", shown.lag_seconds)),
                output::number(shown.parked),
                output::text(shown.holder.unwrap_or("nobody")),
            ]);
        }
        if all.is_empty() {
            eprintln!("no projection has been started on this log");
        } else if !self.json {
            output::line(table)?;
        }
        Ok(())
    }
}

impl Rebuild {
    async fn run(
        self,
        store: &dyn EventStore,
        known: &[(&'static str, u32)],
    ) -> Result<(), CliError> {
        let rebuild = projection::rebuild(store, &self.name, known).await?;
        let begun = if rebuild.already_begun {
            "was begun already"
        } else {
            "is begun"
        };
        eprintln!("generation {} of {} {begun}", rebuild.generation, self.name);
        if self.wait {
            self.wait_for(store, rebuild.generation).await?;
        }
        Ok(())
    }

    async fn wait_for(&self, store: &dyn EventStore, generation: i64) -> Result<(), CliError> {
        let progress = progress();
        let mut looks_alone = 0;
        loop {
            let all = projection::status(store, SystemClock.now()).await?;
            let ours = all
                .iter()
                .find(|one| one.name == self.name && one.generation == generation);
            let Some(ours) = ours else {
                return Err(CliError::RebuildGone(self.name.clone()));
            };
            progress.set_length(ours.head.get());
            progress.set_position(ours.position.get());
            if ours.serving {
                progress.finish_and_clear();
                eprintln!("generation {generation} of {} is in use", self.name);
                return Ok(());
            }
            if let ProjectionState::Stopped(stopped) = &ours.state {
                return Err(CliError::RebuildStopped {
                    name: self.name.clone(),
                    position: stopped.position,
                    error: stopped.error.clone(),
                });
            }
            looks_alone = if ours.holder.is_some() {
                0
            } else {
                looks_alone + 1
            };
            if looks_alone == LOOKS_ALONE {
                progress.suspend(|| {
                    eprintln!(
                        "nobody works on it yet: it is built once a process runs {}",
                        self.name
                    );
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Resume {
    async fn run(self, store: &Arc<dyn EventStore>) -> Result<(), CliError> {
        let all = projection::status(&**store, SystemClock.now()).await?;
        let stopped = all
            .iter()
            .any(|one| one.name == self.name && matches!(one.state, ProjectionState::Stopped(_)));
        if !stopped {
            return Err(CliError::NotStopped(self.name));
        }
        let projections = Projections::builder(Arc::clone(store)).start()?;
        let resumed = projections.resume(&self.name).await;
        projections.shutdown().await;
        resumed?;
        eprintln!("{} tries its event again", self.name);
        Ok(())
    }
}

/// A bar on stderr; nothing where stderr is no terminal.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let style = "{bar:40} {human_pos} of {human_len} positions, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}
