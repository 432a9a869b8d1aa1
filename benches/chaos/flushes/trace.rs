//! Reads what strace wrote: did a completed flush lie between each command and its answer?
//!
//! One strace holds all processes, and its lines are in the order in which it let them go on. So
//! what a thread did because another's call had returned stands after that call.

use std::collections::{BTreeSet, HashMap};

/// What must be traced, with the paths of files and the ends of connections (`-yy`).
pub(super) const CALLS: &str = "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,\
                                pwrite64,fsync,fdatasync";

/// What was found.
#[derive(Debug, Default, Clone, serde::Serialize)]
pub(crate) struct Found {
    /// Answers of success to commands.
    pub(crate) answers: usize,
    /// Flushes of the log that were completed.
    pub(crate) flushes: usize,
    /// Flushes of the log that failed.
    pub(crate) failed: usize,
    /// Answers that no flush came before.
    pub(crate) too_early: usize,
}

/// A connection of a client to the server.
#[derive(Debug, Default)]
struct Client {
    /// The line at which the last part of a command arrived.
    arrived: Option<usize>,
}

/// What is known at a line.
#[derive(Debug, Default)]
struct Reader {
    found: Found,
    /// Calls that are under way, by thread: the line at which they began, and their beginning.
    begun: HashMap<u32, (usize, String)>,
    clients: HashMap<String, Client>,
    /// The line at which the last completed flush of the log began.
    flushed: Option<usize>,
    /// Places of the log that were written since it was flushed.
    written: BTreeSet<u64>,
    /// The first place that a failed flush may have lost: the operating system forgets what it
    /// could not write, so a flush that succeeds later says nothing of it until it is written again.
    lost: Option<u64>,
}

/// Judges a trace. `log` tells the path of the file or folder that must be flushed.
pub(super) fn judge(trace: &str, log: impl Fn(&str) -> bool) -> Found {
    let mut reader = Reader::default();
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let Ok(thread) = thread.parse() else { continue };
        reader.line(number, thread, call.trim_start(), &log);
    }
    reader.found
}

impl Reader {
    fn line(&mut self, number: usize, thread: u32, call: &str, log: &impl Fn(&str) -> bool) {
        if let Some(rest) = call.strip_prefix("<... ") {
            let Some((began, first)) = self.begun.remove(&thread) else {
                return;
            };
            let rest = rest.split_once("resumed>").map_or("", |(_, rest)| rest);
            self.ended(began, number, &format!("{first}{rest}"), log);
        } else if let Some((first, _)) = call.split_once("<unfinished ...>") {
            self.begins(first);
            let first = first.trim_end().to_owned();
            self.begun.insert(thread, (number, first));
        } else {
            self.begins(call);
            self.ended(number, number, call, log);
        }
    }

    /// A call begins: an answer leaves.
    fn begins(&mut self, call: &str) {
        let sends = ["write(", "writev(", "sendto(", "sendmsg("];
        if !sends.iter().any(|send| call.starts_with(send)) || !call.contains("\"HTTP/1.1 ") {
            return;
        }
        let Some(client) = place(call).and_then(|place| self.clients.get_mut(place)) else {
            return;
        };
        let Some(arrived) = client.arrived.take() else {
            return;
        };
        if !call.contains("\"HTTP/1.1 2") {
            return;
        }
        self.found.answers += 1;
        if self.flushed.is_none_or(|flushed| flushed < arrived) {
            self.found.too_early += 1;
        }
    }

    /// A call has returned.
    fn ended(&mut self, began: usize, number: usize, call: &str, log: &impl Fn(&str) -> bool) {
        let Some((name, _)) = call.split_once('(') else {
            return;
        };
        let Some(place) = place(call) else { return };
        let result = call.rsplit_once(" = ").map_or("", |(_, result)| result);
        let succeeded = !result.starts_with('-') && !result.starts_with('?');
        match name {
            "fsync" | "fdatasync" if log(place) => self.flush(began, succeeded),
            "pwrite64" if log(place) => {
                if let Some(offset) = offset(call) {
                    self.written.insert(offset);
                }
            }
            "read" | "readv" | "recvfrom" | "recvmsg"
                if succeeded && !result.starts_with('0') && place.starts_with("TCP:") =>
            {
                let client = self.clients.entry(place.to_owned()).or_default();
                // Whatever follows on a connection before the answer is of the same command.
                if call.contains("\"POST ") || client.arrived.is_some() {
                    client.arrived = Some(number);
                }
            }
            _ => {}
        }
    }

    fn flush(&mut self, began: usize, succeeded: bool) {
        if !succeeded {
            self.found.failed += 1;
            let first = self.written.first().copied();
            self.lost = self.lost.into_iter().chain(first).min();
            self.written.clear();
            return;
        }
        self.found.flushes += 1;
        if self.lost.is_some_and(|lost| !self.written.contains(&lost)) {
            return;
        }
        self.lost = None;
        self.written.clear();
        self.flushed = Some(began);
    }
}

/// What the first descriptor of a call is: a path, or both ends of a connection.
fn place(call: &str) -> Option<&str> {
    let (_, after) = call.split_once('(')?;
    let number = after.find(|c: char| !c.is_ascii_digit())?;
    let after = after[number..].strip_prefix('<')?;
    // A connection has an arrow in it.
    let end = after.find(">)").or_else(|| after.find(">,"))?;
    Some(&after[..end])
}

/// The last argument of `pwrite64`.
fn offset(call: &str) -> Option<u64> {
    let (arguments, _) = call.rsplit_once(") = ").or_else(|| call.rsplit_once(')'))?;
    arguments.rsplit_once(", ")?.1.trim().parse().ok()
}
