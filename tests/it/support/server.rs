//! The real binary, serving on a free port from a directory of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::guardian::Guardian;

const READY_LIMIT: Duration = Duration::from_secs(30);
const END_LIMIT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);

/// A running `dormouse serve`; it is killed, and its directory removed, with this value.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    guardian: Guardian,
    directory: PathBuf,
    address: SocketAddr,
}

impl Server {
    /// Starts the server and waits until it is ready.
    ///
    /// `settings` are variables, such as `("DORMOUSE__STORE__URL", "…")`.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), settings).await
    }

    /// The same, at the address at which another was.
    pub(crate) async fn start_at(address: SocketAddr, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("dormouse-server-")
            .tempdir();
        let directory = directory.expect("a temporary directory").keep();
        let mut guardian = Guardian::of(&directory, "KILL");
        let log = File::create(directory.join("log")).expect("the directory is there");
        let process = binary()
            .args(["serve", "--bind", &address.to_string()])
            .envs(settings.iter().copied())
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("cargo has built the binary");
        guardian.watch(process.id());
        let mut server = Self {
            process,
            guardian,
            directory,
            address,
        };
        server.address = server.wait_until_it_listens().await;
        server.wait_until_ready().await;
        server
    }

    /// Whether it speaks HTTPS.
    fn is_encrypted(&self) -> bool {
        self.log().contains("listening on https://")
    }

    /// The address that paths are appended to, without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the server wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Ends the server without a warning, as a crash would.
    pub(crate) fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    /// Asks the server to end (SIGTERM) and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Stops the server where it is, as a machine that stalls would.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a stopped server go on.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// The server takes a free port itself, so that no two tests ever take the same, and logs it.
    async fn wait_until_it_listens(&mut self) -> SocketAddr {
        let started = Instant::now();
        loop {
            let log = self.log();
            let listening = log.lines().find_map(|line| {
                let (_, rest) = line.split_once("listening on http")?;
                let (_, rest) = rest.split_once("://")?;
                let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
                rest[..end.unwrap_or(rest.len())].parse().ok()
            });
            // The last line may still be half written.
            if let Some(address) = listening
                && log.ends_with('\n')
            {
                return address;
            }
            self.pause(started).await;
        }
    }

    async fn wait_until_ready(&mut self) {
        if self.is_encrypted() {
            // Whom to believe is the test's to say; that it listens is all that is known here.
            return;
        }
        let client = reqwest::Client::new();
        let (started, url) = (Instant::now(), format!("{}/readyz", self.url()));
        loop {
            let answer = client.get(&url).timeout(READY_LIMIT).send().await;
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            self.pause(started).await;
        }
    }

    /// Waits a little for a start that has not ended yet.
    async fn pause(&mut self, started: Instant) {
        if let Some(status) = self.process.try_wait().expect("the server is a child") {
            panic!("the server ended ({status}):\n{}", self.log());
        }
        assert!(
            started.elapsed() < READY_LIMIT,
            "the server is not ready:\n{}",
            self.log()
        );
        tokio::time::sleep(PAUSE).await;
    }

    fn signal(&self, signal: Signal) {
        let pid = self
            .process
            .id()
            .try_into()
            .expect("a process number is positive");
        kill(Pid::from_raw(pid), signal).expect("the server has not been waited for");
    }

    fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("the server is a child") {
                self.guardian.forget();
                return status;
            }
            assert!(
                started.elapsed() < END_LIMIT,
                "the server does not end:\n{}",
                self.log()
            );
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; either way it must not be left as a zombie.
        self.process.kill().ok();
        self.process.wait().ok();
        self.guardian.forget();
    }
}

/// The binary, with none of the settings that the tests themselves were started with.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dormouse"));
    let ours = |name: &str| name.starts_with("DORMOUSE__") || name == "RUST_LOG";
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
    command
}
