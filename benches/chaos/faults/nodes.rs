//! Faults of the servers themselves.

use std::time::Duration;

use nix::sys::signal::Signal;
use rand::{RngExt as _, rngs::StdRng};
use tokio::time::sleep;

use super::{Fault, Over};
use crate::world::World;

const HOUR_SECONDS: i64 = 3600;

pub(super) async fn make(fault: Fault, world: &World, random: &mut StdRng) -> Over {
    let number = random.random_range(0..world.nodes.len());
    let node = &world.nodes[number];
    let mut since = world.history.now();
    match fault {
        Fault::KillNode => {
            node.kill().await;
            node.start().await;
        }
        Fault::TerminateNode => {
            let status = node.terminate().await;
            let code = status.and_then(|status| status.code());
            assert_eq!(
                code,
                Some(0),
                "a node that is asked to end:\n{}",
                node.log()
            );
            node.start().await;
        }
        Fault::PauseNode => {
            node.signal(Signal::SIGSTOP);
            sleep(Duration::from_millis(random.random_range(1000..6000))).await;
            since = world.history.now();
            node.signal(Signal::SIGCONT);
        }
        _ => {
            let shift = if random.random() {
                HOUR_SECONDS
            } else {
                -HOUR_SECONDS
            };
            node.shift_clock(shift);
            // The library looks into the file once a second.
            sleep(Duration::from_millis(random.random_range(1200..2500))).await;
            since = world.history.now();
            node.shift_clock(0);
        }
    }
    Over {
        since,
        node: Some(number),
    }
}
