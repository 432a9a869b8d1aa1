//! A store for simulations: what it does to each call is drawn from a seed.
//!
//! Every call goes to a server, takes effect there, and is answered; each way takes a time drawn
//! from the seed. What a node sent goes on at the server though the node is gone. On top of that
//! a [`Trouble`] may be scripted for any call by its number, so that a simulation that has found
//! something can leave the troubles out one by one and see which it needs.

mod calls;
mod models;
mod rows;

use std::{
    collections::BTreeMap,
    future::Future,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};

use super::faulty_store::Injected;
use crate::store::EventStore;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It fails as unavailable, without an effect.
    Fail,
    /// It has no effect, and its caller hears that nobody knows.
    LoseCall,
    /// It has its effect, and its caller hears that nobody knows.
    LoseAnswer,
    /// Its caller hears at once that nobody knows; the effect comes this much later.
    EffectLater(Duration),
    /// It takes this much longer to get to the server.
    Slow(Duration),
    /// Its answer takes this much longer.
    AnswerLate(Duration),
    /// It gets to the server twice, so far apart, and its caller hears the second answer: as where
    /// a driver sends again on its own.
    Twice(Duration),
    /// An append loses to other writers without an effect; anything else fails.
    Conflict,
}

/// Calls that are counted together, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKind {
    /// Appends.
    Append,
    /// The begin and the end of transactions of read models.
    Model,
    /// Everything else.
    Other,
}

/// A store whose calls take a drawn time and meet scripted troubles. Clones share both.
#[derive(Debug, Clone)]
pub struct SimulatedStore {
    inner: Arc<dyn EventStore>,
    server: Arc<Server>,
    session: u64,
}

struct Server {
    state: Mutex<State>,
    under_way: watch::Sender<usize>,
    note: Box<dyn Fn(String) + Send + Sync>,
}

struct State {
    random: StdRng,
    latency_ms: RangeInclusive<u64>,
    script: BTreeMap<(CallKind, u64), Trouble>,
    calls: BTreeMap<CallKind, u64>,
    /// The sessions that ended, and whether what they had sent is lost.
    severed: BTreeMap<u64, bool>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// One call's fate.
struct Draw {
    there: Duration,
    back: Duration,
    trouble: Option<Trouble>,
}

impl SimulatedStore {
    /// A store over `inner` where each way of a call takes `latency_ms`. `note` is told of every
    /// call in words that are the same for the same seed.
    #[must_use]
    pub fn new(
        inner: Arc<dyn EventStore>,
        seed: u64,
        latency_ms: RangeInclusive<u64>,
        note: impl Fn(String) + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            random: StdRng::seed_from_u64(seed),
            latency_ms,
            script: BTreeMap::new(),
            calls: BTreeMap::new(),
            severed: BTreeMap::new(),
        };
        Self {
            inner,
            server: Arc::new(Server {
                state: Mutex::new(state),
                under_way: watch::Sender::new(0),
                note: Box::new(note),
            }),
            session: 0,
        }
    }

    /// Scripts a trouble for the `number`th call of a kind, over all sessions.
    pub fn script(&self, kind: CallKind, number: u64, trouble: Trouble) {
        self.state().script.insert((kind, number), trouble);
    }

    /// Forgets every trouble that has not come yet.
    pub fn calm(&self) {
        self.state().script.clear();
    }

    /// The same store as another client sees it.
    #[must_use]
    pub fn session(&self, session: u64) -> Self {
        Self {
            session,
            ..self.clone()
        }
    }

    /// Ends a session. What it has sent and has had no effect yet is lost, or goes on.
    pub fn sever(&self, session: u64, lose: bool) {
        self.state().severed.insert(session, lose);
    }

    /// Waits until nothing that was sent can have an effect any more.
    pub async fn until_quiet(&self) {
        let mut under_way = self.server.under_way.subscribe();
        // The sender is in `self`, so the channel cannot close.
        let _ = under_way.wait_for(|count| *count == 0).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.server.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, number: u64, what: &str) {
        let session = self.session;
        (self.server.note)(format!("store {session} #{number}: {what}"));
    }

    fn draw(&self, kind: CallKind) -> (u64, Draw) {
        let mut state = self.state();
        let count = state.calls.entry(kind).or_default();
        *count += 1;
        let number = *count;
        let latency = state.latency_ms.clone();
        let mut way = || Duration::from_millis(state.random.random_range(latency.clone()));
        let draw = Draw {
            there: way(),
            back: way(),
            trouble: state.script.get(&(kind, number)).copied(),
        };
        (number, draw)
    }

    /// Whether its session has ended.
    fn is_dead(&self) -> bool {
        self.state().severed.contains_key(&self.session)
    }

    /// Waits for ever where the session has ended, and not at all else.
    async fn until_dead(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    fn is_lost(&self) -> bool {
        self.state().severed.get(&self.session) == Some(&true)
    }

    /// Carries a call to the server and its answer back.
    async fn call<T, E>(
        &self,
        kind: CallKind,
        what: String,
        ask: impl Fn(Arc<dyn EventStore>) -> BoxFuture<'static, Result<T, E>> + Send + Sync + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Injected + Send + 'static,
    {
        let (number, draw) = self.draw(kind);
        let trouble = draw.trouble;
        self.note(number, &format!("{what} {trouble:?}"));
        let refused = match trouble {
            Some(Trouble::Fail) => Some(E::unavailable()),
            Some(Trouble::Conflict) => Some(E::contended()),
            Some(Trouble::LoseCall) => Some(E::lost()),
            _ => None,
        };
        if let Some(error) = refused {
            sleep(draw.there + draw.back).await;
            return Err(error);
        }
        let (sender, answer) = oneshot::channel();
        self.under_way_by(1);
        tokio::spawn(self.clone().serve(number, draw, ask, sender));
        match trouble {
            Some(Trouble::EffectLater(_)) => Err(E::lost()),
            Some(Trouble::LoseAnswer) => {
                // The server has answered by then, or has lost the call with its session.
                let _ = answer.await;
                Err(E::lost())
            }
            _ => answer.await.unwrap_or_else(|_| Err(E::lost())),
        }
    }

    /// What the server does of a call, whether its caller still listens or not.
    async fn serve<T, E>(
        self,
        number: u64,
        draw: Draw,
        ask: impl Fn(Arc<dyn EventStore>) -> BoxFuture<'static, Result<T, E>> + Send + Sync + 'static,
        answer: oneshot::Sender<Result<T, E>>,
    ) where
        T: Send + 'static,
        E: Send + 'static,
    {
        sleep(draw.there).await;
        if let Some(Trouble::Slow(more) | Trouble::EffectLater(more)) = draw.trouble {
            sleep(more).await;
        }
        let mut effect = self.effect(number, &ask).await;
        if let Some(Trouble::Twice(later)) = draw.trouble {
            sleep(later).await;
            effect = self.effect(number, &ask).await;
        }
        self.under_way_by(-1);
        sleep(draw.back).await;
        if let Some(Trouble::AnswerLate(more)) = draw.trouble {
            sleep(more).await;
        }
        if let Some(effect) = effect {
            // Its caller may have gone.
            let _ = answer.send(effect);
        }
    }

    async fn effect<T>(
        &self,
        number: u64,
        ask: &(impl Fn(Arc<dyn EventStore>) -> BoxFuture<'static, T> + Send + Sync),
    ) -> Option<T> {
        if self.is_lost() {
            self.note(number, "lost with its session");
            return None;
        }
        self.note(number, "takes effect");
        Some(ask(Arc::clone(&self.inner)).await)
    }

    fn under_way_by(&self, change: isize) {
        self.server
            .under_way
            .send_modify(|count| *count = count.saturating_add_signed(change));
    }
}

/// A future of a call's effect, as the adapters' are.
type Effect<T, E> = BoxFuture<'static, Result<T, E>>;

/// Says what a call does at the server.
fn effect<T, E, F>(ask: impl FnOnce() -> F) -> Effect<T, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    Box::pin(ask())
}
