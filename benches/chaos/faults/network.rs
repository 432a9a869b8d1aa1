//! Faults of the network between a node and its database.

use std::time::{Duration, Instant};

use rand::{RngExt as _, rngs::StdRng};
use tokio::time::sleep;

use super::{Fault, Over};
use crate::{
    proxy::{Cut, Mode},
    world::World,
};

/// How long a cut waits for an append to meet it.
const CUT_LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn make(fault: Fault, world: &World, random: &mut StdRng) -> Option<Over> {
    let number = random.random_range(0..world.proxies.len());
    let proxy = &world.proxies[number];
    let node = Some(number);
    if let Some(cut) = cut(fault, random) {
        let before = proxy.cuts();
        let began = Instant::now();
        proxy.cut_next(cut);
        while proxy.cuts() == before {
            if began.elapsed() > CUT_LIMIT {
                proxy.forget_cuts();
                return (proxy.cuts() > before).then(|| Over {
                    since: world.history.now(),
                    node,
                });
            }
            sleep(Duration::from_millis(1)).await;
        }
        let since = world.history.now();
        return Some(Over { since, node });
    }
    if fault == Fault::Reset {
        let since = world.history.now();
        proxy.reset_all();
        return Some(Over { since, node });
    }
    let mode = match fault {
        Fault::Latency => Mode::Latency(Duration::from_millis(random.random_range(20..200))),
        Fault::SwallowRequests => Mode::SwallowRequests,
        Fault::SwallowAnswers => Mode::SwallowAnswers,
        Fault::HalfOpen => Mode::HalfOpen,
        _ => Mode::Refuse,
    };
    proxy.set(mode).await;
    if mode == Mode::Refuse {
        // Else those that are open would go on as if nothing were.
        proxy.reset_all();
    }
    sleep(Duration::from_millis(random.random_range(300..4000))).await;
    let since = world.history.now();
    proxy.set(Mode::Pass).await;
    Some(Over { since, node })
}

fn cut(fault: Fault, random: &mut StdRng) -> Option<Cut> {
    match fault {
        Fault::CutAnswer => Some(Cut::Answer),
        Fault::CutRequest => Some(Cut::Request),
        Fault::CutBlind => Some(Cut::Blind),
        Fault::CutLate => Some(Cut::Late(Duration::from_millis(
            random.random_range(1..400),
        ))),
        _ => None,
    }
}
