//! Many writers, each with a handle of its own, and those who read meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::task::JoinSet;

use super::{Fixture, append_among_others, claim, commit, first_position, stream, whole_log};
use crate::{
    domain::{EventId, Position},
    store::{Commit, EventStore, Loss, Verdict},
};

const WRITERS: usize = 8;
const BATCHES: u64 = 12;

/// Lets two handles append at once and says which of them won: exactly one must.
async fn race(handles: &[Arc<dyn EventStore>; 2], commits: [Commit; 2]) -> (usize, Verdict) {
    let [one, other] = commits;
    let (one, other) = tokio::join!(
        append_among_others(&*handles[0], vec![one]),
        append_among_others(&*handles[1], vec![other]),
    );
    match (first_position(&one[0]), first_position(&other[0])) {
        (Some(_), None) => (0, other[0].clone()),
        (None, Some(_)) => (1, one[0].clone()),
        both => panic!("not exactly one won: {both:?}"),
    }
}

/// A hundred races for the next version of one stream.
pub async fn of_two_writers_at_one_version_one_wins(fixture: &impl Fixture) {
    let handles = [fixture.open().await, fixture.open().await];
    let one = stream("one");
    for round in 0..100 {
        let commits = [commit(&one, round, 1), commit(&one, round, 1)];
        let ids = [commits[0].events[0].id, commits[1].events[0].id];

        let (winner, loss) = race(&handles, commits).await;

        super::assert_lost_version(&loss, round + 1);
        let last = handles[0].read_log(Position::new(round), 10).await;
        let last: Vec<EventId> = last.expect("a page").iter().map(|event| event.id).collect();
        assert_eq!(last, [ids[winner]]);
    }
    assert_eq!(whole_log(&*handles[1]).await.len(), 100);
}

/// Thirty races for one unique value.
pub async fn of_two_writers_with_one_claim_one_wins(fixture: &impl Fixture) {
    let handles = [fixture.open().await, fixture.open().await];
    for round in 0..30 {
        let taking = |id: &str| Commit {
            takes: vec![claim(&format!("c{round}"))],
            ..commit(&stream(&format!("{id}{round}")), 0, 1)
        };

        let (winner, loss) = race(&handles, [taking("a"), taking("b")]).await;

        let Verdict::Lost(Loss::Claim { holder, .. }) = loss else {
            panic!("not a lost claim: {loss:?}");
        };
        assert_eq!(holder.as_str(), format!("{}{round}", ["a", "b"][winner]));
    }
    assert_eq!(whole_log(&*handles[0]).await.len(), 30);
}

/// Appends batches in which some commits surely lose and some may; gives what was committed.
async fn write(store: Arc<dyn EventStore>, writer: usize) -> Vec<(u64, Vec<EventId>)> {
    let own = stream(&format!("own-{writer}"));
    let shared = stream("shared");
    let mut committed = Vec::new();
    for round in 0..BATCHES {
        let expected = store.current_version(&shared).await.expect("a version");
        let contested = Commit {
            takes: vec![claim(&format!("c{round}"))],
            ..commit(&stream(&format!("c{writer}-{round}")), 0, 2)
        };
        let batch = vec![
            commit(&own, 2 * round, 2),
            commit(&shared, expected.get(), 1),
            contested,
            // Nobody ever is at that version.
            commit(&own, 1_000_000, 1),
        ];
        let verdicts = append_among_others(&*store, batch.clone()).await;
        assert!(first_position(&verdicts[0]).is_some(), "{:?}", verdicts[0]);
        assert!(first_position(&verdicts[3]).is_none());
        for (commit, verdict) in batch.iter().zip(&verdicts) {
            let ids = commit.events.iter().map(|event| event.id).collect();
            committed.extend(first_position(verdict).map(|position| (position, ids)));
        }
    }
    committed
}

async fn writers(fixture: &impl Fixture) -> JoinSet<Vec<(u64, Vec<EventId>)>> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(fixture.open().await, writer));
    }
    writers
}

/// Losers give their positions back, and what is answered is where the log has it.
pub async fn eight_writers_with_losers_leave_no_gap(fixture: &impl Fixture) {
    let committed: Vec<_> = writers(fixture).await.join_all().await.concat();

    let store = fixture.open().await;
    let log = whole_log(&*store).await;
    let count: usize = committed.iter().map(|(_, ids)| ids.len()).sum();
    assert_eq!(log.len(), count);
    for (position, ids) in committed {
        let from = usize::try_from(position).expect("a small position") - 1;
        let stored = log[from..].iter().take(ids.len()).map(|event| event.id);
        assert_eq!(stored.collect::<Vec<_>>(), ids);
    }
    for round in 0..BATCHES {
        let contested = (0..WRITERS).map(|writer| stream(&format!("c{writer}-{round}")));
        let winners = contested.filter(|one| log.iter().any(|event| event.stream == *one));
        assert_eq!(winners.count(), 1, "one holder of a claim");
    }
}

/// Reads pages until all writers are done and the log is at its end.
async fn follow(store: Arc<dyn EventStore>, done: Arc<AtomicUsize>) -> Vec<EventId> {
    let mut seen = Vec::new();
    loop {
        let finished = done.load(Ordering::SeqCst) == WRITERS;
        let after = Position::new(seen.len() as u64);
        let page = store.read_log(after, 7).await.expect("a page");
        if finished && page.is_empty() {
            return seen;
        }
        for event in page {
            assert_eq!(event.position.get(), seen.len() as u64 + 1, "a skip");
            seen.push(event.id);
        }
        tokio::task::yield_now().await;
    }
}

/// Who has seen a position has seen all before it, whoever wrote them and when.
pub async fn a_reader_that_follows_the_log_misses_nothing(fixture: &impl Fixture) {
    let done = Arc::new(AtomicUsize::new(0));
    let reader = tokio::spawn(follow(fixture.open().await, Arc::clone(&done)));

    let mut writers = writers(fixture).await;
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer's end");
        done.fetch_add(1, Ordering::SeqCst);
    }

    let seen = reader.await.expect("the reader's end");
    let log = whole_log(&*fixture.open().await).await;
    assert_eq!(log.iter().map(|event| event.id).collect::<Vec<_>>(), seen);
}
