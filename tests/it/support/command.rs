//! The real binary's commands, run to their end, or killed in the middle of their work.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use super::{scratch, server::binary};

/// How long a command may take to come to the point where it is killed.
const LIMIT: Duration = Duration::from_mins(2);
const PAUSE: Duration = Duration::from_millis(1);

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) printed: String,
    pub(crate) errors: String,
}

impl Ended {
    /// What it printed, where it ended with a code.
    #[track_caller]
    pub(crate) fn prints(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}\n{}", self.printed, self.errors);
        &self.printed
    }
}

/// Runs a command on a store to its end.
pub(crate) fn run(store_url: &str, arguments: &[&str]) -> Ended {
    run_with(store_url, arguments, &[])
}

/// The same with further settings.
pub(crate) fn run_with(store_url: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let directory = scratch();
    let output = binary()
        .args(arguments)
        .current_dir(directory.path())
        .env("DORMOUSE__STORE__URL", store_url)
        .envs(environment.iter().copied())
        .output()
        .expect("cargo has built the binary");
    Ended {
        code: output.status.code(),
        printed: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a command on a store and ends it without a warning once it has come so far; false where it
/// came to its own end before.
pub(crate) async fn kill_once(
    store_url: &str,
    arguments: &[&str],
    mut has_come_so_far: impl AsyncFnMut() -> bool,
) -> bool {
    let directory = scratch();
    let mut process = tokio::process::Command::from(binary())
        .args(arguments)
        .current_dir(directory.path())
        .env("DORMOUSE__STORE__URL", store_url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("cargo has built the binary");
    let started = Instant::now();
    while !has_come_so_far().await {
        let ended = process.try_wait().expect("it is a child");
        if ended.is_some() {
            return false;
        }
        assert!(started.elapsed() < LIMIT, "{arguments:?} does not go on");
        tokio::time::sleep(PAUSE).await;
    }
    let ended = process.try_wait().expect("it is a child");
    if ended.is_some() {
        return false;
    }
    process.start_kill().expect("it has not been waited for");
    let status = process.wait().await.expect("it is a child");
    status.signal() == Some(Signal::SIGKILL as i32)
}
