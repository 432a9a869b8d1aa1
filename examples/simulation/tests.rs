//! The simulation itself: it finds nothing, it can find, and a seed is a seed.

use crate::{
    lies::Lie,
    plan::Plan,
    shrink,
    world::{Outcome, run},
};

/// So many seeds run with the other tests, unless `DORMOUSE_SIMULATION_SEEDS` says otherwise.
const SEEDS: u64 = 100;
/// A lie that so many seeds do not find is not found.
const PATIENCE: u64 = 400;
/// The rarest thing is met by one seed in five hundred; whoever has met all looks at no more.
const SEEDS_THAT_MEET_ALL: u64 = 3000;

fn seeds() -> u64 {
    let seeds = std::env::var("DORMOUSE_SIMULATION_SEEDS").ok();
    seeds.map_or(SEEDS, |seeds| seeds.parse().expect("a whole number"))
}

#[test]
fn no_seed_loses_invents_reorders_or_hides_an_event() {
    let mut acknowledged = 0;
    for seed in 0..seeds() {
        let outcome = run(&Plan::draw(seed), None);
        assert!(
            outcome.findings.is_empty(),
            "{}",
            shrink::report(seed, None)
        );
        acknowledged += outcome.acknowledged as u64;
    }
    // Where nothing is acknowledged nothing can be lost.
    assert!(acknowledged > 5 * seeds(), "{acknowledged}");
}

#[test]
fn one_seed_gives_one_history() {
    for seed in 0..seeds().div_ceil(10) {
        let [one, other] = [0, 1].map(|_| run(&Plan::draw(seed), None));
        assert_eq!(first_difference(&one, &other), None, "seed {seed}");
    }
}

#[test]
fn the_seeds_meet_everything_that_is_to_be_met() {
    let told = [
        "replayed: true",
        "OutcomeUnknown",
        "the connection broke",
        "WriteConflict",
        "Overloaded",
        "ShuttingDown",
        "StoreUnavailable",
        "TimedOutUnhandled",
        "Rejected",
        "VersionMismatch",
        "ClaimTaken",
        "clock of node",
        "is asked to end",
        "is killed",
        "lost with its session",
        "snapshots [",
        "EffectLater",
        "Twice",
        "AnswerLate",
        "Slow",
        "Conflict",
        "LoseAnswer",
        "LoseCall",
        "follower 0 sees",
        "commit None",
        "commit Some(LoseAnswer)",
        "a rebuild is asked for: true",
        "number Some(LoseAnswer)",
        "from outside to",
        "is rolled back",
        "Lost(Contested)",
        "rows [",
    ];
    let mut missing: Vec<&str> = told.to_vec();
    for seed in 0..SEEDS_THAT_MEET_ALL {
        if missing.is_empty() {
            break;
        }
        let trace = run(&Plan::draw(seed), None).trace.join("\n");
        missing.retain(|words| !trace.contains(words));
    }
    assert_eq!(missing, [""; 0]);
}

/// The first line in which two runs differ.
fn first_difference(one: &Outcome, other: &Outcome) -> Option<String> {
    let lines = one.trace.iter().zip(&other.trace);
    let differs = lines.into_iter().find(|(one, other)| one != other);
    let differs = differs.map(|(one, other)| format!("{one}\n{other}"));
    let (one, other) = (one.trace.len(), other.trace.len());
    differs.or_else(|| (one != other).then(|| format!("{one} lines, {other} lines")))
}

/// The first seed that finds a promise broken over a store that lies.
fn seed_that_finds(name: &str, lie: Lie) -> u64 {
    let seed = (0..PATIENCE).find(|seed| {
        let outcome = run(&Plan::draw(*seed), Some(lie));
        outcome.findings.iter().any(|finding| finding.name == name)
    });
    seed.unwrap_or_else(|| panic!("{PATIENCE} seeds do not find {name} of {lie:?}"))
}

#[test]
fn every_lie_of_a_store_is_found() {
    let lies = [
        (Lie::AcknowledgesWithoutStoring, "Lost"),
        (Lie::StoresAndDenies, "RefusedButStored"),
        (Lie::StoresAgain, "Doubled"),
        (Lie::SkipsTheVersionCheck, "Misplaced"),
        (Lie::ForgetsReceipts, "ReceiptDiffers"),
        (Lie::ForgetsClaims, "ClaimHeldTwice"),
        (Lie::Reorders, "Misplaced"),
        (Lie::Tears, "Torn"),
        (Lie::MixesVerdicts, "Misplaced"),
        (Lie::ShowsOldVersions, "Stale"),
        (Lie::RecoversTooLittle, "Stale"),
        (Lie::MisdatesSnapshots, "WrongState"),
        (Lie::HidesEvents, "Skipped"),
        (Lie::ForgetsRows, "RowBehind"),
        (Lie::OverwritesRows, "RowWriteLost"),
        (Lie::NeverNumbers, "NotNumbered"),
        (Lie::NumbersTwice, "Doubled"),
    ];
    for (lie, name) in lies {
        let seed = seed_that_finds(name, lie);
        println!("{lie:?} is {name} at seed {seed}");
    }
}

#[test]
fn a_plan_that_finds_something_is_made_shorter_and_finds_it_still() {
    let (lie, name) = (Lie::StoresAndDenies, "RefusedButStored");
    let plan = Plan::draw(seed_that_finds(name, lie));

    let (shorter, outcome) = shrink::shrink(plan.clone(), name, Some(lie));

    assert!(shorter.parts() < plan.parts());
    assert!(
        outcome
            .findings
            .iter()
            .any(|one| one.name == "RefusedButStored")
    );
}
