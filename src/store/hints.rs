//! Hints that the log has grown: what wakes readers at its end, and never more than that.
//!
//! A hint may be late, be lost, come twice or come for nothing. Whoever must not miss an event
//! polls, and is only woken earlier by a hint. No append ever waits for one.

use tokio::sync::watch;

use super::{Commit, Verdict};
use crate::domain::Position;

/// Where a store tells of appends. Clones are the same place.
#[derive(Debug, Clone)]
pub struct Hints {
    last: watch::Sender<Position>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            last: watch::Sender::new(Position::ZERO),
        }
    }
}

impl Hints {
    /// Tells that there is an event at this position.
    pub fn tell(&self, position: Position) {
        self.last.send_if_modified(|last| {
            let newer = position > *last;
            *last = position.max(*last);
            newer
        });
    }

    /// Tells that there may be events nobody has told of.
    pub fn look_again(&self) {
        self.last.send_modify(|_| {});
    }

    /// Tells of what was stored of a batch.
    pub fn tell_of(&self, batch: &[Commit], verdicts: &[Verdict]) {
        if let Some(last) = last_stored(batch, verdicts) {
            self.tell(last);
        }
    }

    /// Hears of appends from now on: the value is the last position that was told of.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Position> {
        self.last.subscribe()
    }

    /// Waits until nobody listens.
    pub async fn until_unheard(&self) {
        self.last.closed().await;
    }

    /// Whether anyone listens.
    #[must_use]
    pub fn are_heard(&self) -> bool {
        self.last.receiver_count() > 0
    }
}

/// The position of the last event that was stored of a batch.
pub(super) fn last_stored(batch: &[Commit], verdicts: &[Verdict]) -> Option<Position> {
    let stored = batch
        .iter()
        .zip(verdicts)
        .filter_map(|(commit, verdict)| match verdict {
            Verdict::Committed { first_position } => {
                let more = (commit.events.len() as u64).checked_sub(1)?;
                Some(Position::new(first_position.get() + more))
            }
            Verdict::Lost(_) => None,
        });
    stored.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hint_never_goes_back_and_an_old_one_wakes_nobody() {
        let hints = Hints::default();
        let mut watch = hints.watch();

        hints.tell(Position::new(3));
        watch.changed().await.unwrap();
        let first = *watch.borrow_and_update();
        hints.tell(Position::new(2));
        let woken_by_an_old_one = watch.has_changed().unwrap();
        hints.look_again();
        let woken_to_look = watch.has_changed().unwrap();

        assert_eq!(first, Position::new(3));
        assert_eq!(*watch.borrow(), Position::new(3));
        assert_eq!((woken_by_an_old_one, woken_to_look), (false, true));
    }
}
