//! Settle: what became of the commits that were handed over, and the answers that follow.

use std::panic::{AssertUnwindSafe, catch_unwind};

use actix::{Context, Handler};
use tracing::error;

use super::{
    CommandError,
    actor::{AggregateActor, Reload},
    ask::Settled,
    journal::{Failure, Fate},
    meters::Conflict,
    pending::{Decided, Decision, Fates, Pending},
};
use crate::{
    domain::{Aggregate, Position, SnapshotShape as _},
    store::{Loss, SnapshotRetention, StoredSnapshot},
};

/// What the fates so far say of the newest state, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Course {
    /// All that was decided is stored.
    Intact,
    /// Something was not stored, and the settled state is the store's.
    Undone,
    /// Another writer has stored something.
    Behind,
    /// What the store has is not known.
    InDoubt,
}

impl<A: Aggregate> Handler<Fates> for AggregateActor<A> {
    type Result = ();

    fn handle(&mut self, fates: Fates, ctx: &mut Context<Self>) {
        self.note_append();
        let handed_over = std::mem::take(&mut self.in_flight);
        let waiting = self.queue.split_off(handed_over);
        let mut fates = fates.0.into_iter();
        let mut course = Course::Intact;
        let (mut undecided, mut stored) = (Vec::new(), Vec::new());
        for mut pending in std::mem::take(&mut self.queue) {
            match std::mem::replace(&mut pending.decided, Decided::Not) {
                Decided::Commit(decision) => {
                    // No fate can only be a bug of the journal: then nothing is known.
                    let fate = fates.next().unwrap_or(Fate::Failed(Failure::Unknown));
                    if course == Course::Intact
                        && let Fate::Committed { first_position } = fate
                    {
                        let settled =
                            self.settle_stored(pending, *decision, first_position, &mut course);
                        stored.extend(settled);
                    } else {
                        undecided.extend(self.settle(pending, fate, &mut course, ctx));
                    }
                }
                Decided::Answer(outcome) if course == Course::Intact => {
                    pending.decided = Decided::Answer(outcome);
                    self.finish(pending, ctx);
                }
                // It was decided on a state that did not come to be.
                Decided::Answer(_) | Decided::Not => undecided.push(pending),
            }
        }
        let is_intact = course == Course::Intact;
        if is_intact {
            self.queue = waiting;
            self.snapshot_if_due();
        } else {
            self.queue.extend(undecided);
            self.queue.extend(waiting);
        }
        // Whoever has heard an answer and looks, or ends the runtime, finds what it led to.
        self.publish();
        for (pending, settled) in stored {
            pending.answer_stored(settled);
        }
        if is_intact {
            self.go_on_after_return(handed_over, ctx);
            return;
        }
        self.undecide_from(0);
        match course {
            Course::Intact | Course::Undone => {}
            Course::Behind => self.reload = self.reload.max(Reload::Tail),
            Course::InDoubt => self.reload = Reload::Whole,
        }
        if self.reload == Reload::No {
            self.decide_anew(ctx);
        } else {
            self.go_on(ctx);
        }
    }
}

impl<A: Aggregate> AggregateActor<A> {
    /// Forgets what was decided from `index` of the queue on.
    pub(super) fn undecide_from(&mut self, index: usize) {
        for pending in self.queue.iter_mut().skip(index) {
            pending.decided = Decided::Not;
        }
    }

    /// Answers one commit that was not stored, or should not have been, by its fate; or gives it back to
    /// be decided again.
    fn settle(
        &mut self,
        mut pending: Pending<A>,
        fate: Fate,
        course: &mut Course,
        ctx: &mut Context<Self>,
    ) -> Option<Pending<A>> {
        let intact = *course == Course::Intact;
        let conflict = if matches!(fate, Fate::Lost(Loss::Row)) {
            Conflict::Row
        } else {
            Conflict::Version
        };
        match fate {
            Fate::Committed { .. } => {
                error!(stream = %self.stream, "a commit was stored though one before it was not");
                *course = Course::InDoubt;
                pending.fail(CommandError::OutcomeUnknown);
            }
            Fate::Failed(Failure::Unknown) => {
                *course = Course::InDoubt;
                pending.fail(CommandError::OutcomeUnknown);
            }
            Fate::Undone => {
                *course = (*course).max(Course::Undone);
                return Some(pending);
            }
            Fate::Failed(Failure::Unavailable) => {
                *course = (*course).max(Course::Undone);
                pending.fail(CommandError::StoreUnavailable);
            }
            // What came before it was not stored, so this could not be: it is no loss of its own.
            Fate::Lost(_) | Fate::Failed(Failure::Unstorable | Failure::Contended) if !intact => {
                return Some(pending);
            }
            Fate::Failed(Failure::Unstorable) => {
                *course = Course::Undone;
                pending.fail(CommandError::Invalid(
                    "the store cannot hold the data of this command's events".to_owned(),
                ));
            }
            Fate::Lost(Loss::Claim { claim, holder })
                if self.kind.rows().is_some() && !pending.holder_met =>
            {
                // Its row may have been written by somebody else, and say so no longer.
                *course = Course::Behind;
                pending.holder_met = true;
                self.holders.push((holder, claim));
                return Some(pending);
            }
            Fate::Lost(Loss::Claim { claim, .. } | Loss::Refused { claim }) => {
                self.kind.meter.conflicted(Conflict::Claim);
                *course = Course::Undone;
                pending.fail(CommandError::ClaimTaken(claim));
            }
            Fate::Lost(Loss::Key(receipt)) => {
                self.kind.meter.conflicted(Conflict::Key);
                *course = Course::Behind;
                self.replay(pending, *receipt, ctx);
            }
            // Whoever is in the way ends soon, or the caller hears of it: a retry may help.
            Fate::Lost(Loss::Version { .. } | Loss::Row | Loss::Contested)
            | Fate::Failed(Failure::Contended) => {
                self.kind.meter.conflicted(conflict);
                *course = Course::Behind;
                pending.conflicts += 1;
                if pending.conflicts > self.kind.node.settings.conflict_retries {
                    pending.fail(CommandError::WriteConflict);
                } else {
                    return Some(pending);
                }
            }
        }
        None
    }

    /// Folds a commit that was stored into the settled state, and gives what is to be answered.
    fn settle_stored(
        &mut self,
        pending: Pending<A>,
        decision: Decision<A>,
        first_position: Position,
        course: &mut Course,
    ) -> Option<(Pending<A>, Settled)> {
        if let Some(folded) = &mut self.settled {
            let settled = pending.settle(folded, decision, first_position);
            return Some((pending, settled?));
        }
        error!(stream = %self.stream, "a commit was stored while no state was settled");
        *course = Course::InDoubt;
        pending.fail(CommandError::OutcomeUnknown);
        None
    }

    /// Leaves a snapshot to be written each time the version passes a multiple of the setting.
    fn snapshot_if_due(&mut self) {
        let every = u64::from(self.kind.settings.snapshot_every);
        let Some(settled) = &mut self.settled else {
            return;
        };
        let due = every > 0
            && !self.kind.rows_alone()
            && settled.version.get() / every > settled.snapshot_version.get() / every;
        if !due {
            return;
        }
        settled.snapshot_version = settled.version;
        match catch_unwind(AssertUnwindSafe(|| settled.state.to_snapshot())) {
            Ok(Ok(data)) => {
                let node = &self.kind.node;
                let snapshot = StoredSnapshot {
                    id: node.ids.next(),
                    stream: self.stream.clone(),
                    version: settled.version,
                    position: settled.position,
                    occurred_at: settled.occurred_at,
                    fingerprint: self.kind.fingerprint.clone(),
                    data,
                    created_at: node.clock.now(),
                };
                let keep = SnapshotRetention {
                    newest: self.kind.settings.snapshots_kept,
                    history_every: self.kind.settings.snapshot_history_every,
                };
                node.snapshots.save(snapshot, keep);
            }
            Ok(Err(error)) => {
                self.kind.node.meter.snapshots_broken.increment();
                error!(stream = %self.stream, %error, "a state cannot be serialized");
            }
            Err(_) => {
                self.kind.node.meter.snapshots_broken.increment();
                error!(stream = %self.stream, "serializing a state panicked");
            }
        }
    }
}
