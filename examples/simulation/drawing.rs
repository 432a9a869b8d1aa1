//! A plan drawn from its seed.

use std::time::Duration;

use dormouse::{
    settings::{
        AggregateSettings, JournalSettings, Mode, Reconcile, RuntimeSettings, Settings, Writers,
    },
    testing::{CallKind, Trouble},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    followers,
    outsiders::draw_outside,
    plan::{Action, Blow, Disturbance, LONGEST, Order, Plan, Step, Wanted, What},
};

pub(crate) const TALLIES: [&str; 4] = ["a", "b", "c", "d"];
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
        let dual_write = random.random_bool(0.3);
        let ways = Ways {
            tallies: random.random_range(1..=TALLIES.len()),
            shared,
            // Rows are there for them.
            outsiders: shared && random.random_bool(if dual_write { 0.8 } else { 0.25 }),
            dual_write,
            // Names are fought for in some plans and rare in others.
            renames: *pick(&mut random, &[0.05, 0.2, 0.7]),
        };
        let clients = (0..random.random_range(2..=6)).map(|client| {
            let steps = random.random_range(2..=14);
            let steps = (0..steps).map(|number| {
                let token = format!("t-{client}-{number}");
                step(&mut random, token, &ways)
            });
            steps.collect()
        });
        let mut plan = Self {
            seed,
            nodes,
            shared,
            outsiders: ways.outsiders,
            dual_write: ways.dual_write,
            clients: clients.collect(),
            settings: settings(&mut random, &ways),
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
}

pub(crate) fn pick<'a, T>(random: &mut StdRng, among: &'a [T]) -> &'a T {
    &among[random.random_range(0..among.len())]
}

/// A time from a millisecond to [`LONGEST`], short ones as often as long ones.
pub(crate) fn duration(random: &mut StdRng) -> Duration {
    let scale = random.random_range(0..=LONGEST.as_millis().ilog2());
    Duration::from_millis(random.random_range(1..=1 << scale))
}

fn settings(random: &mut StdRng, ways: &Ways) -> Settings {
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
            foreign_poll: Duration::from_millis(*pick(random, &[200, 1000, 5000])),
            resolve_timeout: Duration::from_millis(*pick(random, &[0, 100, 2000, 60_000])),
            ..JournalSettings::default()
        },
        ..Settings::default()
    };
    settings.store.writers = Some(if ways.shared {
        Writers::Shared
    } else {
        Writers::Exclusive
    });
    let tally = AggregateSettings {
        snapshot_every: *pick(random, &[0, 1, 2, 5]),
        idle_timeout: Duration::from_millis(*pick(random, &[60, 600, 60_000])),
        mailbox: *pick(random, &[1, 2, 100]),
        mode: if ways.dual_write {
            Mode::DualWrite
        } else {
            Mode::EventSourced
        },
        reconcile: *pick(
            random,
            &[
                Reconcile::Off,
                Reconcile::AtStart,
                Reconcile::Every(Duration::from_secs(2)),
            ],
        ),
        ..AggregateSettings::default()
    };
    settings.aggregates.insert("Tally".to_owned(), tally);
    settings
}

/// What the steps of a plan have in common.
struct Ways {
    /// So many tallies are used.
    tallies: usize,
    shared: bool,
    outsiders: bool,
    dual_write: bool,
    /// How many of the commands take or give up a name.
    renames: f64,
}

fn step(random: &mut StdRng, token: String, ways: &Ways) -> Step {
    let action = match random.random_range(0..100) {
        0..25 => Action::Read,
        25..33 if ways.shared => Action::Foreign(random.random_range(1..=2)),
        33..40 => Action::Again,
        40..60 if ways.outsiders => Action::Outside(draw_outside(random, ways.dual_write)),
        _ => Action::Command(order(random, ways.renames)),
    };
    let pause = if random.random_bool(0.5) {
        Duration::ZERO
    } else {
        Duration::from_millis(random.random_range(0..300))
    };
    Step {
        pause,
        tally: TALLIES[random.random_range(0..ways.tallies)],
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
