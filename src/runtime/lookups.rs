//! Look-ups that are made together: what is asked for while others are being looked up is looked up
//! in one call, as the journal writes together. A storm of activations costs a few statements, not
//! one each.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use crate::store::ReadError;

/// Requests looked up in one call.
const MAX_REQUESTS: usize = 64;
/// Calls under way at once: one large answer does not hold up the others.
const MAX_CALLS: usize = 2;

/// Looks up many, and gives what it found in the order in which it was asked for.
type LookUp<Q, F> = dyn Fn(Vec<Q>) -> BoxFuture<'static, Result<Vec<F>, ReadError>> + Send + Sync;

struct Asked<Q, F> {
    request: Q,
    found: oneshot::Sender<Result<F, Arc<ReadError>>>,
}

/// Where to ask. Its queue is bounded by the unanswered commands and reads, each of which wakes one
/// aggregate at most, and by the few aggregates that a walk over rows meets at once.
#[derive(Debug)]
pub(super) struct Lookups<Q, F>(UnboundedSender<Asked<Q, F>>);

impl<Q, F> Clone for Lookups<Q, F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Look-ups, and the task that makes them until nobody can ask any more.
pub(super) fn lookups<Q, F>(
    look_up: impl Fn(Vec<Q>) -> BoxFuture<'static, Result<Vec<F>, ReadError>> + Send + Sync + 'static,
) -> (Lookups<Q, F>, impl Future<Output = ()> + Send)
where
    Q: Clone + Send + 'static,
    F: Send + 'static,
{
    let (asked, waiting) = unbounded_channel();
    (Lookups(asked), run(Arc::new(look_up), waiting))
}

impl<Q, F> Lookups<Q, F> {
    /// What is found for one request, read after it was made.
    ///
    /// # Errors
    /// It cannot be read, whatever the others are that were looked up with it.
    pub(super) async fn ask(&self, request: Q) -> Result<F, Arc<ReadError>> {
        let (found, answer) = oneshot::channel();
        let ended = || Arc::new(ReadError::Unavailable("the runtime has ended".into()));
        if self.0.send(Asked { request, found }).is_err() {
            return Err(ended());
        }
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

async fn run<Q, F>(look_up: Arc<LookUp<Q, F>>, mut waiting: UnboundedReceiver<Asked<Q, F>>)
where
    Q: Clone + Send + 'static,
    F: Send + 'static,
{
    let free = Arc::new(Semaphore::new(MAX_CALLS));
    while let Some(first) = waiting.recv().await {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&free).acquire_owned().await else {
            return;
        };
        let mut batch = vec![first];
        while batch.len() < MAX_REQUESTS
            && let Ok(next) = waiting.try_recv()
        {
            batch.push(next);
        }
        let look_up = Arc::clone(&look_up);
        actix_rt::spawn(async move {
            answer(&*look_up, batch).await;
            drop(place);
        });
    }
}

async fn answer<Q: Clone, F>(look_up: &LookUp<Q, F>, batch: Vec<Asked<Q, F>>) {
    let (requests, callers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|asked| (asked.request, asked.found))
        .unzip();
    // A caller who has gone does not care.
    match look_up(requests.clone()).await {
        Ok(found) => {
            for (caller, found) in callers.into_iter().zip(found) {
                let _ = caller.send(Ok(found));
            }
        }
        // One that cannot be read is no reason to read none of the others.
        Err(error) if !error.is_retryable() && requests.len() > 1 => {
            for (request, caller) in requests.into_iter().zip(callers) {
                let found = look_up(vec![request]).await;
                let only = found.map(|mut found| found.swap_remove(0));
                let _ = caller.send(only.map_err(Arc::new));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for caller in callers {
                let _ = caller.send(Err(Arc::clone(&error)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::join_all;
    use tokio::sync::watch;

    use super::*;

    /// Look-ups of numbers, each call with its requests written down and answered once `open`.
    fn doubled(
        open: &watch::Receiver<bool>,
        fails: impl Fn(&[u8]) -> Option<ReadError> + Send + Sync + 'static,
    ) -> (Lookups<u8, u16>, Arc<Mutex<Vec<usize>>>) {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (noted, open) = (Arc::clone(&calls), open.clone());
        let (doubled, looking_up) = lookups(move |numbers: Vec<u8>| {
            noted.lock().expect("no panic").push(numbers.len());
            let failure = fails(&numbers);
            let mut open = open.clone();
            Box::pin(async move {
                open.wait_for(|open| *open).await.expect("a sender");
                let doubled = numbers.into_iter().map(|it| u16::from(it) * 2).collect();
                failure.map_or(Ok(doubled), Err)
            })
        });
        actix_rt::spawn(looking_up);
        (doubled, calls)
    }

    fn values(found: Vec<Result<u16, Arc<ReadError>>>) -> Vec<Option<u16>> {
        found.into_iter().map(Result::ok).collect()
    }

    #[test]
    fn what_is_asked_for_meanwhile_is_looked_up_together_up_to_a_limit() {
        actix_rt::System::new().block_on(async {
            let (opened, open) = watch::channel(false);
            let (doubled, calls) = doubled(&open, |_| None);
            let ask = |number| {
                let doubled = doubled.clone();
                actix_rt::spawn(async move { doubled.ask(number).await })
            };
            let mut asked = Vec::new();
            for number in 0..2 {
                asked.push(ask(number));
                while calls.lock().expect("no panic").len() <= usize::from(number) {
                    tokio::task::yield_now().await;
                }
            }

            asked.extend((2..100).map(ask));
            tokio::task::yield_now().await;
            opened.send(true).expect("a receiver");
            let found = join_all(asked).await;

            let found = found.into_iter().map(|it| it.expect("no panic")).collect();
            let all: Vec<_> = (0..100).map(|number| Some(number * 2)).collect();
            assert_eq!(values(found), all);
            assert_eq!(*calls.lock().expect("no panic"), [1, 1, 64, 34]);
        });
    }

    #[test]
    fn one_that_cannot_be_read_fails_alone_and_a_store_that_is_away_fails_all() {
        actix_rt::System::new().block_on(async {
            let (_opened, open) = watch::channel(true);
            let corrupt = |numbers: &[u8]| {
                numbers.contains(&1).then(|| ReadError::Corrupt {
                    what: "one".to_owned(),
                })
            };
            let away = |_: &[u8]| Some(ReadError::Unavailable("away".into()));

            let (some, calls) = doubled(&open, corrupt);
            let some = join_all((0..3).map(|number| some.ask(number))).await;
            let (none, one_call) = doubled(&open, away);
            let none = join_all((0..3).map(|number| none.ask(number))).await;

            assert_eq!(values(some), [Some(0), None, Some(4)]);
            assert_eq!(*calls.lock().expect("no panic"), [3, 1, 1, 1]);
            assert_eq!(values(none), [None; 3]);
            assert_eq!(*one_call.lock().expect("no panic"), [3]);
        });
    }
}
