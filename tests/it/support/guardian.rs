//! A process that cleans up after the tests, however they end.
//!
//! It reads its stdin from the test process. When that ends, by a return, a panic or `kill -9`,
//! the pipe closes: the guardian stops the process it was told of and removes the directory. It is
//! in a process group of its own, so that Ctrl-C does not take it along.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// `$1` is the directory, `$2` the signal; each line names the process to stop, or is empty.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
cd /
# Where nobody waits for orphans, an ended process stays as a zombie.
runs() {
    kill -0 "$1" 2>/dev/null || return 1
    case "$(ps -o stat= -p "$1" 2>/dev/null)" in Z*) return 1 ;; esac
}
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill "-$2" "$pid" 2>/dev/null
    tries=0
    while runs "$pid" && [ "$tries" -lt 50 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
fi
# A process that the tests started last, such as a copy, may still be writing.
tries=0
while [ "$tries" -lt 50 ]; do
    rm -rf "$1" 2>/dev/null && exit
    tries=$((tries + 1))
    sleep 0.1
done
"#;

/// Watches one directory, and one process at a time.
#[derive(Debug)]
pub(crate) struct Guardian {
    process: Child,
    orders: Option<ChildStdin>,
}

impl Guardian {
    /// Starts to watch `directory`, and will stop a process with `signal`, such as `QUIT`.
    pub(crate) fn of(directory: &Path, signal: &str) -> Self {
        let mut process = Command::new("sh")
            .args(["-c", SCRIPT, "guardian"])
            .arg(directory)
            .arg(signal)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell, sh");
        let orders = process.stdin.take();
        Self { process, orders }
    }

    /// Watches this process from now on.
    pub(crate) fn watch(&mut self, process: u32) {
        self.order(&process.to_string());
    }

    /// Watches none: it has been waited for, and its number may soon be another's.
    pub(crate) fn forget(&mut self) {
        self.order("");
    }

    fn order(&mut self, line: &str) {
        let orders = self.orders.as_mut().expect("open until the drop");
        writeln!(orders, "{line}").expect("the guardian reads until its stdin closes");
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.orders.take());
        // The directory is gone when this returns; how the shell ended tells nothing more.
        self.process.wait().ok();
    }
}
