//! One `dormouse serve`: started, watched, hurt and started again.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::sleep;

use crate::support::guardian::Guardian;

const START_LIMIT: Duration = Duration::from_mins(2);
const END_LIMIT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(5);

/// How nodes are started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The program and its arguments; an address is added.
    pub(crate) program: Vec<String>,
    pub(crate) settings: Vec<(String, String)>,
    /// A library that tells the time a file says, where one is installed.
    pub(crate) clock: Option<PathBuf>,
}

impl Setup {
    /// A binary of the server; without it, the one that cargo built beside this bench.
    pub(crate) fn serve(binary: Option<&Path>, settings: Vec<(String, String)>) -> Self {
        let binary = binary.unwrap_or_else(|| Path::new(env!("CARGO_BIN_EXE_dormouse")));
        let binary = binary.display().to_string();
        Self {
            program: vec![binary, "serve".to_owned()],
            settings,
            clock: None,
        }
    }
}

/// A server process, and the next one in its place after it ended.
#[derive(Debug)]
pub(crate) struct Node {
    setup: Setup,
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    process: Option<Child>,
    address: Option<SocketAddr>,
    guardian: Guardian,
    starts: usize,
}

impl Node {
    pub(crate) fn new(setup: Setup) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("dormouse-node-")
            .tempdir()
            .expect("a temporary directory")
            .keep();
        let guardian = Guardian::of(&directory, "KILL");
        fs::write(directory.join("clock"), "+0\n").expect("the directory is there");
        let state = Mutex::new(State {
            process: None,
            address: None,
            guardian,
            starts: 0,
        });
        Self {
            setup,
            directory,
            state,
        }
    }

    /// Starts it, and tries again for as long as it ends instead, as a supervisor does: without
    /// its database a server does not start.
    pub(crate) async fn start(&self) {
        let began = Instant::now();
        loop {
            match self.try_start().await {
                Ok(()) => return,
                Err(log) if began.elapsed() > START_LIMIT => {
                    panic!("a server does not start:\n{log}")
                }
                Err(_) => sleep(20 * PAUSE).await,
            }
        }
    }

    async fn try_start(&self) -> Result<(), String> {
        let log = self.spawn();
        let read = || fs::read_to_string(&log).unwrap_or_default();
        let began = Instant::now();
        let address = loop {
            if let Some(address) = listening(&read()) {
                break address;
            }
            if self.ended().is_some() || began.elapsed() > START_LIMIT {
                self.kill().await;
                return Err(read());
            }
            sleep(PAUSE).await;
        };
        self.state().address = Some(address);
        Ok(())
    }

    fn spawn(&self) -> PathBuf {
        let mut state = self.state();
        state.starts += 1;
        let log = self.directory.join(format!("log-{}", state.starts));
        let file = File::create(&log).expect("the directory is there");
        let mut command = Command::new(&self.setup.program[0]);
        for (name, _) in std::env::vars_os() {
            let ours = |name: &str| name.starts_with("DORMOUSE__") || name == "RUST_LOG";
            if name.to_str().is_some_and(ours) {
                command.env_remove(name);
            }
        }
        if let Some(library) = &self.setup.clock {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.directory.join("clock"))
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let process = command
            .args(&self.setup.program[1..])
            .args(["--bind", "127.0.0.1:0"])
            .envs(self.setup.settings.iter().cloned())
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .process_group(0)
            .spawn()
            .expect("cargo has built the binary");
        state.guardian.watch(process.id());
        state.process = Some(process);
        log
    }

    /// Where it listens, while it runs.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.state().address
    }

    /// Its process number, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.state().process.as_ref().map(Child::id)
    }

    /// What the last of its processes wrote.
    pub(crate) fn log(&self) -> String {
        let log = self.directory.join(format!("log-{}", self.state().starts));
        fs::read_to_string(log).unwrap_or_default()
    }

    /// The server's binary.
    pub(crate) fn binary(&self) -> &str {
        &self.setup.program[0]
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let mut state = self.state();
        let process = state.process.as_mut()?;
        process.try_wait().expect("the server is a child")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // It may have ended by itself; whoever waits for it finds out how.
            kill(Pid::from_raw(pid.cast_signed()), signal).ok();
        }
    }

    /// Sets its clock off by so many seconds.
    pub(crate) fn shift_clock(&self, seconds: i64) {
        let new = self.directory.join("clock.new");
        fs::write(&new, format!("{seconds:+}\n")).expect("the directory is there");
        fs::rename(new, self.directory.join("clock")).expect("the directory is there");
    }

    /// Ends it without a warning, as a crash does.
    pub(crate) async fn kill(&self) {
        self.signal(Signal::SIGKILL);
        self.wait().await;
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn terminate(&self) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        self.wait().await
    }

    async fn wait(&self) -> Option<ExitStatus> {
        let began = Instant::now();
        self.pid()?;
        self.state().address = None;
        loop {
            if let Some(status) = self.ended() {
                let mut state = self.state();
                state.process = None;
                state.guardian.forget();
                return Some(status);
            }
            let log = self.log();
            assert!(began.elapsed() < END_LIMIT, "it does not end:\n{log}");
            sleep(PAUSE).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut state = self.state();
        if let Some(mut process) = state.process.take() {
            process.kill().ok();
            process.wait().ok();
            state.guardian.forget();
        }
    }
}

/// The address in a server's log, once its line is written whole and the server is ready.
fn listening(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("listening on http://")?;
    let (line, _) = rest.split_once('\n')?;
    let end = line.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
    line[..end.unwrap_or(line.len())].parse().ok()
}
