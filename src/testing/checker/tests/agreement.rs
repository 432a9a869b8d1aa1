//! The checker and stateright's search for a linearization say the same of small random windows.
//!
//! stateright tries every order; the checker is given one, the log's. A last read of the whole
//! log tells stateright what the checker was given, and makes the two questions the same.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};

use super::*;

const WINDOWS: u64 = 20_000;
const CALLERS: usize = 3;

/// One aggregate, as a sequential object.
#[derive(Debug, Clone, Default)]
struct Log(Tokens);

#[derive(Debug, Clone)]
enum Op {
    Write(String),
    Read,
}

#[derive(Debug, Clone, PartialEq)]
enum Ret {
    Version(u64),
    Tokens(Tokens),
}

impl SequentialSpec for Log {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, op: &Op) -> Ret {
        match op {
            Op::Write(token) => {
                self.0.push(token.clone());
                Ret::Version(self.0.len() as u64)
            }
            Op::Read => Ret::Tokens(self.0.clone()),
        }
    }
}

/// What one caller does: a write of a token, or a read, and whether it hears of it.
struct Planned {
    token: Option<String>,
    heard: bool,
}

/// A window: the same history for both.
struct Window {
    ours: History<Tokens>,
    theirs: LinearizabilityTester<usize, Log>,
    log: StoredLog,
}

/// A random window that is often linearizable and often not: writes stand in the log in the order
/// of their sending but for a few swaps, and reads see a random prefix near the end.
fn window(random: &mut StdRng) -> Window {
    let mut planned: Vec<Vec<Planned>> = Vec::new();
    let mut steps = Vec::new();
    for caller in 0..CALLERS {
        let count = random.random_range(1..=3);
        let calls = (0..count).map(|number| Planned {
            token: random
                .random_bool(0.6)
                .then(|| format!("t-{caller}-{number}")),
            // A caller that hears nothing sends nothing more.
            heard: number + 1 < count || random.random_bool(0.8),
        });
        planned.push(calls.collect());
        steps.extend(std::iter::repeat_n(caller, count * 2));
    }
    steps.shuffle(random);
    let tokens = order(&planned, &steps, random);
    let mut window = Window {
        ours: History::new(),
        theirs: LinearizabilityTester::new(Log::default()),
        log: stored(log(&tokens
            .iter()
            .map(|t| ("a", t.as_str()))
            .collect::<Vec<_>>())),
    };
    play(&mut window, &planned, &steps, &tokens, random);
    let last = CALLERS;
    window.theirs.on_invoke(last, Op::Read).unwrap();
    window.theirs.on_return(last, Ret::Tokens(tokens)).unwrap();
    window
}

/// The log: the writes in the order of their sending, some neighbours swapped, and of those that
/// nobody heard of only some.
fn order(planned: &[Vec<Planned>], steps: &[usize], random: &mut StdRng) -> Tokens {
    let mut gone = [0; CALLERS];
    let mut tokens = Vec::new();
    for caller in steps {
        let step = &mut gone[*caller];
        let call = &planned[*caller][*step / 2];
        if *step % 2 == 0
            && let Some(token) = &call.token
            && (call.heard || random.random_bool(0.5))
        {
            tokens.push(token.clone());
        }
        *step += 1;
    }
    for _ in 0..random.random_range(0..3) {
        if tokens.len() > 1 {
            let at = random.random_range(1..tokens.len());
            tokens.swap(at - 1, at);
        }
    }
    tokens
}

fn play(
    window: &mut Window,
    planned: &[Vec<Planned>],
    steps: &[usize],
    tokens: &Tokens,
    random: &mut StdRng,
) {
    let mut gone = [0; CALLERS];
    let mut open = [None; CALLERS];
    let mut newest = 0;
    for caller in steps.iter().copied() {
        let step = gone[caller];
        gone[caller] += 1;
        let call = &planned[caller][step / 2];
        if step % 2 == 0 {
            let (op, ours) = match &call.token {
                Some(token) => {
                    let ours = window.ours.sent(stream("a"), unkeyed(token));
                    (Op::Write(token.clone()), ours)
                }
                None => (Op::Read, window.ours.read_sent(stream("a"))),
            };
            window.theirs.on_invoke(caller, op).unwrap();
            open[caller] = Some(ours);
            continue;
        }
        let (Some(ours), true) = (open[caller].take(), call.heard) else {
            continue;
        };
        if let Some(token) = &call.token {
            let index = tokens.iter().position(|one| one == token).unwrap();
            newest = newest.max(index + 1);
            let version = index as u64 + 1;
            window.ours.answered(ours, told(version));
            window
                .theirs
                .on_return(caller, Ret::Version(version))
                .unwrap();
        } else {
            let length = (newest + random.random_range(0..3)).saturating_sub(1);
            let length = length.min(tokens.len());
            let shown = tokens[..length].to_vec();
            let seen = Seen {
                version: Version::new(length as u64),
                state: Some(shown.clone()),
            };
            window.ours.read_answered(ours, seen);
            window.theirs.on_return(caller, Ret::Tokens(shown)).unwrap();
        }
    }
}

#[test]
fn stateright_agrees_on_small_random_windows() {
    let mut sound = 0;
    for seed in 0..WINDOWS {
        let mut random = StdRng::seed_from_u64(seed);
        let window = window(&mut random);

        let ours = check_log(&window.ours, &window.log);
        let theirs = window.theirs.is_consistent();

        assert_eq!(ours.is_empty(), theirs, "seed {seed}: {ours:?}");
        sound += u64::from(theirs);
    }
    // Neither verdict is rare, or the agreement would say little.
    assert!((WINDOWS / 10..WINDOWS * 9 / 10).contains(&sound), "{sound}");
}
