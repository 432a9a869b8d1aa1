//! How many streams may be open: of all callers together, and of each.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::{
    client::Caller,
    problem::{Code, Problem},
};

/// The places for streams. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    all: Arc<Semaphore>,
    most: usize,
    most_of_caller: usize,
    /// How many each caller has taken; those with none are not in it.
    of_callers: Arc<DashMap<Caller, usize>>,
}

/// A stream's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _of_all: OwnedSemaphorePermit,
    _of_caller: Option<OwnSlot>,
}

impl Slots {
    pub(super) fn new(most: usize, most_of_caller: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(most)),
            most,
            most_of_caller,
            of_callers: Arc::default(),
        }
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.most - self.all.available_permits()
    }

    /// From now on there are none.
    pub(super) fn close(&self) {
        self.all.close();
    }

    /// A place, if all together and the caller have one left.
    pub(super) fn take(&self, caller: Option<Caller>) -> Result<Slot, Problem> {
        let of_caller = caller.map(|caller| self.take_of(caller)).transpose()?;
        let of_all = Arc::clone(&self.all).try_acquire_owned();
        let of_all = of_all.map_err(|_| {
            let detail = if self.all.is_closed() {
                "the node is shutting down".to_owned()
            } else {
                format!("{} streams are open, no more are served", self.most)
            };
            Problem::new(Code::Overloaded, detail)
        })?;
        Ok(Slot {
            _of_all: of_all,
            _of_caller: of_caller,
        })
    }

    fn take_of(&self, caller: Caller) -> Result<OwnSlot, Problem> {
        let most = self.most_of_caller;
        let mut taken = self.of_callers.entry(caller.clone()).or_insert(0);
        let is_refused = *taken >= most;
        if !is_refused {
            *taken += 1;
        }
        drop(taken);
        if is_refused {
            // Where none may have any, nobody is remembered.
            self.of_callers.remove_if(&caller, |_, taken| *taken == 0);
            let detail = format!("this caller has {most} streams open and gets no more");
            return Err(Problem::new(Code::RateLimited, detail));
        }
        Ok(OwnSlot {
            of_callers: Arc::clone(&self.of_callers),
            caller,
        })
    }
}

#[derive(Debug)]
struct OwnSlot {
    of_callers: Arc<DashMap<Caller, usize>>,
    caller: Caller,
}

impl Drop for OwnSlot {
    fn drop(&mut self) {
        let Self { of_callers, caller } = self;
        if let Some(mut taken) = of_callers.get_mut(caller) {
            *taken = taken.saturating_sub(1);
        }
        of_callers.remove_if(caller, |_, taken| *taken == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::client::ClientAddress;

    fn caller(last: u8) -> Caller {
        Caller::from(&ClientAddress::new([192, 0, 2, last].into()))
    }

    #[test]
    fn a_caller_takes_no_more_than_its_own_and_nobody_more_than_there_are() {
        let slots = Slots::new(3, 2);

        let first = slots.take(Some(caller(1))).unwrap();
        let _second = slots.take(Some(caller(1))).unwrap();
        let third = slots.take(Some(caller(1))).unwrap_err();
        let _other = slots.take(Some(caller(2))).unwrap();
        let full = slots.take(Some(caller(2))).unwrap_err();

        assert_eq!(third.code(), Code::RateLimited);
        assert_eq!(full.code(), Code::Overloaded);
        assert_eq!(slots.taken(), 3);
        drop(first);
        slots.take(Some(caller(1))).unwrap();
    }

    #[test]
    fn nobody_is_remembered_for_what_is_given_back_or_never_had() {
        let slots = Slots::new(3, 1);
        drop(slots.take(Some(caller(1))).unwrap());
        let none = Slots::new(3, 0);

        none.take(Some(caller(1))).unwrap_err();

        assert!(slots.of_callers.is_empty() && none.of_callers.is_empty());
    }
}
