//! What happens in one simulation: all of it drawn from a seed, in parts that can be left out.

use std::{fmt, time::Duration};

use dormouse::{
    domain::Version,
    runtime::Expected,
    settings::Settings,
    testing::{CallKind, Trouble},
};

use crate::{
    followers::{Follower, Shelf},
    outsiders::Outside,
};

/// Everything that a seed decides, but for the latencies and the scheduling, which follow from it
/// while the plan is run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// Whether there are several nodes and foreign writers.
    pub(crate) shared: bool,
    /// Whether other programs insert events without a position.
    pub(crate) outsiders: bool,
    /// Whether tallies have rows beside their events.
    pub(crate) dual_write: bool,
    pub(crate) settings: Settings,
    pub(crate) latency_ms: u64,
    /// How often a task that could run lets others go first, in a hundred.
    pub(crate) stutter: u32,
    /// What each client does, one thing after the other.
    pub(crate) clients: Vec<Vec<Step>>,
    pub(crate) disturbances: Vec<Disturbance>,
    pub(crate) troubles: Vec<(CallKind, u64, Trouble)>,
    pub(crate) followers: Vec<Follower>,
    pub(crate) shelf: Option<Shelf>,
}

/// One thing that a client does.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) pause: Duration,
    pub(crate) tally: &'static str,
    pub(crate) token: String,
    pub(crate) action: Action,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Command(Order),
    Read,
    /// Appends to the store as another program does, so many events.
    Foreign(u32),
    /// Writes as another program does that knows nothing of positions.
    Outside(Outside),
    /// Sends the last command under a key once more.
    Again,
}

/// A command and how it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) what: What,
    /// Under a key it is sent so many times at most until it succeeds; without one, once.
    pub(crate) tries: Option<u32>,
    /// Whether each try goes to two nodes at once.
    pub(crate) twice: bool,
    pub(crate) expected: Wanted,
    pub(crate) timeout: Duration,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Mark { events: u32, limit: Option<u64> },
    Rename(Option<&'static str>),
}

/// The version a client asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    Any,
    Absent,
    /// The newest it has seen.
    Known,
}

impl Wanted {
    pub(crate) const fn expected(self, known: Version) -> Expected {
        match self {
            Self::Any => Expected::Any,
            Self::Absent => Expected::Absent,
            Self::Known => Expected::At(known),
        }
    }
}

/// Something that happens to a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disturbance {
    pub(crate) at: Duration,
    pub(crate) node: usize,
    pub(crate) what: Blow,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Blow {
    /// It is killed, and started again after a while; what it had sent is lost or goes on.
    Kill { lose: bool, down: Duration },
    /// It is asked to end, and started again.
    Shutdown { down: Duration },
    /// Its clock jumps.
    Jump { milliseconds: i64 },
}

/// No trouble lasts longer, and no client waits longer.
pub(crate) const LONGEST: Duration = Duration::from_millis(1 << 14);

impl Plan {
    /// How many parts can be left out.
    pub(crate) fn parts(&self) -> usize {
        let steps: usize = self.clients.iter().map(Vec::len).sum();
        steps
            + self.disturbances.len()
            + self.troubles.len()
            + self.followers.len()
            + usize::from(self.shelf.is_some())
    }

    /// The same plan with those parts only that are kept.
    pub(crate) fn keep(&self, keep: &[bool]) -> Self {
        let mut plan = self.clone();
        let mut kept = keep.iter().copied();
        let mut next = || kept.next().unwrap_or(true);
        for client in &mut plan.clients {
            client.retain(|_| next());
        }
        plan.disturbances.retain(|_| next());
        plan.troubles.retain(|_| next());
        plan.followers.retain(|_| next());
        plan.shelf = plan.shelf.filter(|_| next());
        plan
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings {
            runtime,
            journal,
            aggregates,
            ..
        } = &self.settings;
        let writers = if self.shared { "shared" } else { "exclusive" };
        let outsiders = if self.outsiders { "with" } else { "without" };
        writeln!(
            f,
            "{} nodes, {writers}, {outsiders} other programs; latency up to {} ms, stutter {} %",
            self.nodes, self.latency_ms, self.stutter
        )?;
        writeln!(f, "{runtime:?}\n{journal:?}\n{aggregates:?}")?;
        for (client, steps) in self.clients.iter().enumerate() {
            for step in steps {
                writeln!(
                    f,
                    "client {client}: {} {} {:?} after {:?}",
                    step.tally, step.token, step.action, step.pause
                )?;
            }
        }
        for disturbance in &self.disturbances {
            writeln!(f, "{disturbance:?}")?;
        }
        for (kind, number, trouble) in &self.troubles {
            writeln!(f, "{kind:?} #{number}: {trouble:?}")?;
        }
        for follower in &self.followers {
            writeln!(f, "{follower:?}")?;
        }
        if let Some(shelf) = &self.shelf {
            writeln!(f, "{shelf}")?;
        }
        Ok(())
    }
}
