//! A small file system of its own, which can be filled and emptied while it is used.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Room for a run; it takes memory only as it is used.
const SIZE: &str = "6g";

/// Waits until the harness is gone, however it ended, and takes the file system away.
const SCRIPT: &str = r#"trap '' INT TERM HUP; cd /; read -r _; umount -l "$1"; rmdir "$1""#;

/// A mounted file system; it is gone after the drop.
#[derive(Debug)]
pub(crate) struct Tmpfs {
    path: PathBuf,
    after: Child,
}

impl Tmpfs {
    /// Mounts one, or says why that cannot be.
    pub(crate) fn mount() -> Result<Self, String> {
        let directory = tempfile::Builder::new()
            .prefix("dormouse-disk-")
            .tempdir_in("/tmp")
            .map_err(|error| error.to_string())?;
        run(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                &format!("size={SIZE},mode=755"),
                "tmpfs",
            ],
            directory.path(),
        )?;
        let path = directory.keep();
        let after = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        Ok(Self { path, after })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves no room beyond what is used now.
    pub(crate) fn fill(&self) {
        let used = Command::new("df")
            .args(["--output=used", "--block-size=1K"])
            .arg(&self.path)
            .output()
            .expect("df runs");
        let used = String::from_utf8_lossy(&used.stdout);
        let used: u64 = used
            .lines()
            .nth(1)
            .and_then(|line| line.trim().parse().ok())
            .expect("df tells what is used");
        // What is written between the two may make the size too small: then a little more.
        for more in [16, 256, 4096, 65_536] {
            let options = format!("remount,size={}k", used + more);
            if run("mount", &["-o", &options], &self.path).is_ok() {
                return;
            }
        }
        panic!("the file system cannot be filled");
    }

    /// Gives room again.
    pub(crate) fn empty(&self) {
        let options = format!("remount,size={SIZE}");
        run("mount", &["-o", &options], &self.path).expect("what was mounted is mounted again");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.after.stdin.take() {
            stdin.write_all(b"\n").ok();
        }
        self.after.wait().ok();
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> Result<(), String> {
    let output = Command::new(program).args(arguments).arg(path).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
