//! strace on processes that run: faults in their system calls, and a record of them.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::sleep;

const LIMIT: Duration = Duration::from_secs(20);

/// strace at work; it lets go of its processes with the drop.
#[derive(Debug)]
pub(crate) struct Strace {
    process: Child,
}

/// Whether strace runs here, and may attach to what it has not started, which some containers let it
/// not: else why not.
pub(crate) fn available() -> Result<(), String> {
    let mut traced = Command::new("sleep")
        .arg("0.3")
        .spawn()
        .map_err(|error| format!("sleep: {error}"))?;
    let tried = Command::new("strace")
        .args(["-f", "-e", "trace=none", "-p", &traced.id().to_string()])
        .stdin(Stdio::null())
        .output();
    traced.wait().ok();
    let tried = tried.map_err(|error| format!("strace: {error}; on Debian: apt install strace"))?;
    if tried.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned())
}

impl Strace {
    /// Traces these processes and all their threads, and those that they start; waits until
    /// strace holds them.
    pub(crate) async fn attach(pids: &[u32], arguments: &[&str], output: &Path) -> Self {
        let errors = output.with_extension("errors");
        let mut command = Command::new("strace");
        command.arg("-f").args(arguments).arg("-o").arg(output);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).expect("a file beside the output"))
            .spawn()
            .expect("strace was there a moment ago");
        let mut strace = Self { process };
        let began = Instant::now();
        // It says of each process that it is attached.
        loop {
            let said = fs::read_to_string(&errors).unwrap_or_default();
            let is_held = |pid: &u32| {
                let held = format!("Process {pid} attached");
                // A backend may have ended since it was listed.
                if said.contains(&format!("PTRACE_SEIZE, {pid}): No such process")) {
                    return true;
                }
                said.lines().any(|line| {
                    let after = line.split_once(&held).map(|(_, after)| after);
                    after.is_some_and(|after| after.is_empty() || after.starts_with(' '))
                })
            };
            if pids.iter().all(is_held) || strace.has_ended() {
                return strace;
            }
            assert!(began.elapsed() < LIMIT, "strace does not attach: {said}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets go of its processes, which go on.
    pub(crate) async fn detach(mut self) {
        self.interrupt();
        let began = Instant::now();
        while !self.has_ended() {
            assert!(began.elapsed() < LIMIT, "strace does not let go");
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn interrupt(&self) {
        let pid = Pid::from_raw(self.process.id().cast_signed());
        kill(pid, Signal::SIGINT).ok();
    }

    fn has_ended(&mut self) -> bool {
        self.process
            .try_wait()
            .expect("strace is a child")
            .is_some()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.interrupt();
            self.process.wait().ok();
        }
    }
}

/// How often a text occurs in a file.
pub(crate) fn count(path: &Path, text: &str) -> usize {
    let mut all = String::new();
    let read = File::open(path).and_then(|mut file| file.read_to_string(&mut all));
    read.map_or(0, |_| all.matches(text).count())
}

/// The processes that another has started.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let numbers = list.unwrap_or_default();
    let parsed = numbers.split_whitespace().map(str::parse);
    parsed.filter_map(Result::ok).collect()
}
