//! A gate: a test holds calls at it, sees that they are there, and lets them through.

use std::sync::Arc;

use tokio::sync::watch;

/// A gate that is closed until it is opened, and open from then on. Clones are the same gate.
///
/// It takes the place of sleeps: [`Self::reached`] waits until a call stands at the gate, so
/// that a test knows where the other side is.
#[derive(Debug, Clone)]
pub struct Gate {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    opened: watch::Sender<bool>,
    /// How many calls have come to the gate, those that passed included.
    arrivals: watch::Sender<u64>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Arc::new(State {
                opened: watch::Sender::new(false),
                arrivals: watch::Sender::new(0),
            }),
        }
    }

    /// Lets every call through that stands here or comes later.
    pub fn open(&self) {
        self.state.opened.send_replace(true);
    }

    /// Waits until `count` calls have come to the gate.
    pub async fn reached(&self, count: u64) {
        let mut arrivals = self.state.arrivals.subscribe();
        // The sender is in `self`, so the channel cannot close.
        let _ = arrivals.wait_for(|arrived| *arrived >= count).await;
    }

    /// Comes to the gate and waits until it is open.
    pub async fn pass(&self) {
        self.state.arrivals.send_modify(|arrived| *arrived += 1);
        let mut opened = self.state.opened.subscribe();
        let _ = opened.wait_for(|opened| *opened).await;
    }
}
