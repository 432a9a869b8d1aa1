//! The command line of dormouse: what can be asked for, and what the exit codes mean.

mod adopt;
mod config;
mod history;
mod keys;
mod logging;
mod migrate;
#[cfg(feature = "otlp")]
mod otlp;
mod replay;
mod run;
mod serve;
mod throttle;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use dormouse::{
    cli::{AdoptionCommand, HistoryCommand, KeysCommand},
    settings::Settings,
};
use replay::ReplayArguments;

/// The exit code for bad usage or settings; clap uses the same.
const USAGE: u8 = 2;

const EXIT_CODES: &str = "\
Exit codes:
  0  everything went well
  1  it failed while it ran; the log on stderr says why
  2  bad usage or settings; nothing was started";

const COMPLETIONS: &str = "\
Examples:
  dormouse completions bash > /etc/bash_completion.d/dormouse
  dormouse completions zsh > ~/.zfunc/_dormouse
  dormouse completions fish > ~/.config/fish/completions/dormouse.fish";

const EXAMPLES: &str = "\
Examples:
  dormouse serve
  dormouse serve --config /etc/dormouse/config.toml
  DORMOUSE__AUTH__MODE=token dormouse serve --bind 0.0.0.0:80
  dormouse config
  dormouse keys create --name billing --rights 'read:User' --expires 90d
  dormouse events tail --type User
  dormouse aggregate diff User u1
  dormouse replay --type User
  dormouse adopt User --dry-run
  dormouse verify --json
  dormouse repair User 7 --from row --reason 'mended by hand'
  dormouse export --include-secrets > log.jsonl
  DORMOUSE__STORE__URL=postgres://app@db/app dormouse migrate

Settings come from config.toml in the working directory (or --config), then from the environment:
DORMOUSE__SECTION__KEY, so DORMOUSE__STORE__POOL=20 sets `pool` in [store]. No file is needed.

Exit codes:
  0  everything went well
  1  it failed while it ran; the log on stderr says why
  2  bad usage or settings; nothing was started";

/// An actor-based runtime for event-sourced aggregates.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP until SIGTERM or SIGINT, then answer what was taken and end.
    #[command(after_help = EXIT_CODES)]
    Serve {
        /// Listen here instead of at `http.bind`; port 0 takes a free one.
        #[arg(long, value_name = "ADDR")]
        bind: Option<SocketAddr>,
    },
    /// Bring the schema of the store up to date, then end.
    ///
    /// It may be run at any time and more than once: what is done already is passed over.
    #[command(after_help = EXIT_CODES)]
    Migrate {
        /// Also add the SQL functions for programs that are not dormouse, or bring them up to date
        /// (PostgreSQL; docs/foreign-writers.md).
        #[arg(long)]
        with_functions: bool,
        /// Let this role of PostgreSQL's serve the log and no more, as docs/security.md says.
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
    },
    /// Fold the aggregates of a type again from their events, and write their snapshots anew.
    ///
    /// Each snapshot is compared with what the events up to its version lead to; one that differs
    /// is told and replaced, and those that are missing are written. Nothing is appended to the log.
    /// On PostgreSQL it may run beside servers, whose live aggregates keep the state they woke
    /// with until they sleep. On SQLite the server must be stopped: the file has one writer.
    #[command(after_help = replay::EXIT_CODES)]
    Replay(ReplayArguments),
    #[command(flatten)]
    History(HistoryCommand),
    #[command(flatten)]
    Adoption(AdoptionCommand),
    /// Print the settings in force, and where each was written; secrets are hidden.
    #[command(after_help = EXIT_CODES)]
    Config {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// API keys of programs that call the server.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Print what makes a shell complete these commands and their options.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// For which shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct Source {
    /// Read the settings from this file instead of ./config.toml.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl Source {
    fn load(&self) -> Result<Settings, ExitCode> {
        let settings = Settings::load(self.config.as_deref(), env()).map_err(refuse)?;
        logging::init(&settings.log, &settings.otlp).map_err(refuse)?;
        Ok(settings)
    }
}

/// A value that is not Unicode becomes one that its key refuses.
fn env() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        Some((
            name.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    })
}

fn main() -> ExitCode {
    let code = run(CommandLine::parse()).unwrap_or_else(|code| code);
    #[cfg(feature = "otlp")]
    otlp::flush();
    code
}

fn run(line: CommandLine) -> Result<ExitCode, ExitCode> {
    match line.command {
        Command::Serve { bind } => {
            let mut settings = line.source.load()?;
            settings.http.bind = bind.unwrap_or(settings.http.bind);
            Ok(serve::run(&settings))
        }
        Command::Migrate {
            with_functions,
            role,
        } => Ok(migrate::run(
            &line.source.load()?,
            role.as_deref(),
            with_functions,
        )),
        Command::Replay(arguments) => Ok(replay::run(&arguments, line.source.load()?)),
        Command::History(command) => Ok(history::run(command, &line.source.load()?)),
        Command::Adoption(command) => Ok(adopt::run(command, &line.source.load()?)),
        Command::Config { json } => {
            config::run(line.source.config.as_deref(), env(), json).map_err(refuse)
        }
        Command::Keys(command) => Ok(keys::run(command, &line.source.load()?)),
        Command::Completions { shell } => {
            let mut command = CommandLine::command();
            clap_complete::generate(shell, &mut command, "dormouse", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn refuse(reason: impl std::fmt::Display) -> ExitCode {
    eprintln!("{reason}");
    ExitCode::from(USAGE)
}
