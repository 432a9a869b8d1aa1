//! Tokens that were verified already: a signature is checked once, not with each request.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use sha2::{Digest as _, Sha256};

use super::Principal;

/// What a token is known by here.
pub(super) type Digest = [u8; 32];

/// Verified tokens by their hash, a bounded number.
///
/// There are two halves: what is new goes into one, and when it is full it becomes the other, whose
/// tokens are forgotten. So no request ever pays for making room, and a flood of tokens
/// makes the server verify again, not grow.
#[derive(Debug)]
pub(super) struct TokenCache {
    half: usize,
    halves: RwLock<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    newer: HashMap<Digest, Principal>,
    older: HashMap<Digest, Principal>,
    /// Of which keys the tokens are.
    generation: u64,
}

impl TokenCache {
    pub(super) fn new(most: usize) -> Self {
        Self {
            half: most / 2,
            halves: RwLock::default(),
        }
    }

    pub(super) fn digest(token: &str) -> Digest {
        Sha256::digest(token).into()
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Principal> {
        let halves = self.halves.read().unwrap_or_else(PoisonError::into_inner);
        let found = halves.newer.get(digest);
        found.or_else(|| halves.older.get(digest)).cloned()
    }

    /// Keeps a token that was verified with the keys of a generation, unless it is of others.
    pub(super) fn keep(&self, digest: Digest, principal: Principal, generation: u64) {
        if self.half == 0 {
            return;
        }
        let mut halves = self.halves.write().unwrap_or_else(PoisonError::into_inner);
        if halves.generation != generation {
            return;
        }
        if halves.newer.len() >= self.half {
            halves.older = std::mem::take(&mut halves.newer);
        }
        halves.newer.insert(digest, principal);
    }

    /// Forgets all: the keys are others.
    pub(super) fn begin(&self, generation: u64) {
        let mut halves = self.halves.write().unwrap_or_else(PoisonError::into_inner);
        *halves = Halves {
            generation,
            ..Halves::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::auth::Rights;

    fn principal() -> Principal {
        Principal::of_token("ada", Rights::default(), DateTime::UNIX_EPOCH, 0)
    }

    #[test]
    fn it_never_holds_more_than_it_may_and_keeps_the_newest() {
        let cache = TokenCache::new(10);

        for token in 0..100 {
            let digest = TokenCache::digest(&token.to_string());
            cache.keep(digest, principal(), 0);
        }

        let held = |token: i32| {
            cache
                .find(&TokenCache::digest(&token.to_string()))
                .is_some()
        };
        assert_eq!((0..100).filter(|token| held(*token)).count(), 10);
        assert!((90..100).all(held));
    }

    #[test]
    fn other_keys_make_it_forget_and_take_nothing_that_is_late() {
        let cache = TokenCache::new(10);
        let digest = TokenCache::digest("a");
        cache.keep(digest, principal(), 0);
        assert!(cache.find(&digest).is_some());

        cache.begin(1);
        assert!(cache.find(&digest).is_none());
        cache.keep(digest, principal(), 0);

        assert!(cache.find(&digest).is_none());
    }
}
