//! What happens in one simulation: all of it drawn from a seed, in parts that can be left out.

use std::{fmt, time::Duration};

use dormouse::{
    domain::Version,
    runtime::Expected,
    settings::{AggregateSettings, JournalSettings, RuntimeSettings, Settings, Writers},
    testing::{CallKind, Trouble},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::followers::{self, Follower, Shelf};

/// Everything that a seed decides, but for the latencies and the scheduling, which follow from it
/// while the plan is run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    /// Whether there are several nodes and foreign writers.
    pub(crate) shared: bool,
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

const TALLIES: [&str; 4] = ["a", "b", "c", "d"];
const NAMES: [&str; 2] = ["x", "y"];

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let shared = random.random_bool(0.6);
        let nodes = if shared {
            random.random_range(1..=3)
        } else {
            1
        };
        let tallies = random.random_range(1..=TALLIES.len());
        // Names are fought for in some plans and rare in others.
        let renames = *pick(&mut random, &[0.05, 0.2, 0.7]);
        let clients = (0..random.random_range(2..=6)).map(|client| {
            let steps = random.random_range(2..=14);
            let steps = (0..steps).map(|number| {
                let token = format!("t-{client}-{number}");
                let world = (tallies, shared, renames);
                step(&mut random, token, world)
            });
            steps.collect()
        });
        let mut plan = Self {
            seed,
            nodes,
            shared,
            clients: clients.collect(),
            settings: settings(&mut random, shared),
            latency_ms: *pick(&mut random, &[0, 1, 5, 30]),
            stutter: *pick(&mut random, &[0, 10, 50]),
            disturbances: disturbances(&mut random, nodes),
            troubles: troubles(&mut random),
            followers: followers::draw_followers(&mut random, nodes),
            shelf: followers::draw_shelf(&mut random, nodes),
        };
        if plan.shelf.is_some() {
            plan.troubles.extend(followers::draw_troubles(&mut random));
        }
        plan
    }

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

pub(crate) fn pick<'a, T>(random: &mut StdRng, among: &'a [T]) -> &'a T {
    &among[random.random_range(0..among.len())]
}

/// A time from a millisecond to [`LONGEST`], short ones as often as long ones.
pub(crate) fn duration(random: &mut StdRng) -> Duration {
    let scale = random.random_range(0..=LONGEST.as_millis().ilog2());
    Duration::from_millis(random.random_range(1..=1 << scale))
}

fn settings(random: &mut StdRng, shared: bool) -> Settings {
    let mut settings = Settings {
        runtime: RuntimeSettings {
            max_live: *pick(random, &[1, 2, 100]),
            max_in_flight: *pick(random, &[2, 4, 100]),
            shutdown_timeout: Duration::from_secs(5),
            conflict_retries: *pick(random, &[0, 1, 32]),
            recovery_page: *pick(random, &[1, 2, 256]),
            ..RuntimeSettings::default()
        },
        journal: JournalSettings {
            max_events: *pick(random, &[1, 3, 1000]),
            resolve_timeout: Duration::from_millis(*pick(random, &[0, 100, 2000, 60_000])),
            ..JournalSettings::default()
        },
        ..Settings::default()
    };
    settings.store.writers = Some(if shared {
        Writers::Shared
    } else {
        Writers::Exclusive
    });
    let tally = AggregateSettings {
        snapshot_every: *pick(random, &[0, 1, 2, 5]),
        idle_timeout: Duration::from_millis(*pick(random, &[60, 600, 60_000])),
        mailbox: *pick(random, &[1, 2, 100]),
        ..AggregateSettings::default()
    };
    settings.aggregates.insert("Tally".to_owned(), tally);
    settings
}

fn step(
    random: &mut StdRng,
    token: String,
    (tallies, shared, renames): (usize, bool, f64),
) -> Step {
    let action = match random.random_range(0..100) {
        0..25 => Action::Read,
        25..33 if shared => Action::Foreign(random.random_range(1..=2)),
        33..40 => Action::Again,
        _ => Action::Command(order(random, renames)),
    };
    let pause = if random.random_bool(0.5) {
        Duration::ZERO
    } else {
        Duration::from_millis(random.random_range(0..300))
    };
    Step {
        pause,
        tally: TALLIES[random.random_range(0..tallies)],
        token,
        action,
    }
}

fn order(random: &mut StdRng, renames: f64) -> Order {
    let what = if random.random_bool(renames) {
        What::Rename(random.random_bool(0.7).then(|| *pick(random, &NAMES)))
    } else {
        What::Mark {
            events: *pick(random, &[0, 1, 1, 1, 2, 3]),
            limit: random.random_bool(0.2).then(|| random.random_range(0..8)),
        }
    };
    Order {
        what,
        tries: random.random_bool(0.6).then(|| random.random_range(1..=4)),
        twice: random.random_bool(0.15),
        expected: *pick(
            random,
            &[
                Wanted::Any,
                Wanted::Any,
                Wanted::Any,
                Wanted::Any,
                Wanted::Known,
                Wanted::Absent,
            ],
        ),
        timeout: duration(random),
    }
}

fn disturbances(random: &mut StdRng, nodes: usize) -> Vec<Disturbance> {
    let drawn = (0..random.random_range(0..=4)).map(|_| Disturbance {
        at: Duration::from_millis(random.random_range(0..1500)),
        node: random.random_range(0..nodes),
        what: match random.random_range(0..10) {
            0..6 => Blow::Kill {
                lose: random.random_bool(0.5),
                down: duration(random).min(Duration::from_secs(2)),
            },
            6..8 => Blow::Shutdown {
                down: duration(random).min(Duration::from_secs(2)),
            },
            _ => Blow::Jump {
                milliseconds: random.random_range(-3_600_000..3_600_000),
            },
        },
    });
    drawn.collect()
}

fn troubles(random: &mut StdRng) -> Vec<(CallKind, u64, Trouble)> {
    let most = *pick(random, &[0, 4, 16]);
    let drawn = (0..random.random_range(0..=most)).map(|_| {
        let (kind, number) = if random.random_bool(0.7) {
            (CallKind::Append, random.random_range(1..=30))
        } else {
            (CallKind::Other, random.random_range(1..=60))
        };
        let longest = duration(random);
        (kind, number, trouble(random, longest))
    });
    drawn.collect()
}

pub(crate) fn trouble(random: &mut StdRng, time: Duration) -> Trouble {
    match random.random_range(0..9) {
        0 => Trouble::Fail,
        1 => Trouble::LoseCall,
        2 | 3 => Trouble::LoseAnswer,
        4 => Trouble::EffectLater(time),
        5 => Trouble::Slow(time),
        6 => Trouble::AnswerLate(time),
        7 => Trouble::Twice(time),
        _ => Trouble::Conflict,
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
        writeln!(
            f,
            "{} nodes, {writers}; latency up to {} ms, stutter {} %",
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
