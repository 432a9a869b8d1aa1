//! Looking for other keys: in the files of tokens' keys, and in the table of API keys.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Inner,
    key_book::NOTE_EVERY,
    key_set::{KeyError, KeySet, Texts},
};
use crate::{domain::error_chain, settings::AuthSettings};

/// What was seen in the files.
struct Seen {
    /// What the keys in force were read from.
    used: Texts,
    /// What came after it and cannot be used.
    unusable: Option<Texts>,
    /// What was told to be wrong the last time.
    told: Option<String>,
}

/// Looks at the files every now and then, as long as there is someone to know. They are compared
/// as they are read: only what has changed is parsed, so what is odd about it is told once.
pub(super) async fn follow_files(inner: Weak<Inner>, used: Texts) {
    let mut seen = Seen::new(used);
    while let Some(pause) = pause(&inner, |settings| settings.reload) {
        tokio::time::sleep(pause).await;
        let Some(inner) = inner.upgrade() else { return };
        let looked = tokio::task::spawn_blocking(move || {
            inner.look(&mut seen);
            seen
        });
        let Ok(again) = looked.await else { return };
        seen = again;
    }
}

impl Seen {
    const fn new(used: Texts) -> Self {
        Self {
            used,
            unusable: None,
            told: None,
        }
    }

    fn tell(&mut self, error: &KeyError) {
        let error = error_chain(error);
        if self.told.as_ref() != Some(&error) {
            tracing::error!(error, "the keys of tokens are not read again; the old stay");
        }
        self.told = Some(error);
    }
}

impl Inner {
    /// Takes the keys in the files where they are others now.
    fn look(&self, seen: &mut Seen) {
        let found = match Texts::read(&self.settings) {
            Ok(found) => found,
            Err(error) => return seen.tell(&error),
        };
        if found == seen.used {
            seen.unusable = None;
            seen.told = None;
            return;
        }
        if seen.unusable.as_ref() == Some(&found) {
            return;
        }
        match found.keys(&self.settings) {
            Ok(keys) => {
                self.take(keys);
                *seen = Seen::new(found);
            }
            Err(error) => {
                seen.tell(&error);
                seen.unusable = Some(found);
            }
        }
    }

    fn take(&self, keys: KeySet) {
        tracing::info!(keys = keys.verifying.len(), "the keys of tokens are others");
        let generation = self.keys().generation + 1;
        let keys = Arc::new(KeySet { generation, ..keys });
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        self.cache.begin(generation);
    }
}

pub(super) async fn follow_book(inner: Weak<Inner>) {
    let mut noted_at = Instant::now();
    while let Some(pause) = pause(&inner, |settings| settings.keys_reload) {
        tokio::time::sleep(pause).await;
        let Some(inner) = inner.upgrade() else { return };
        let Some(book) = &inner.book else { return };
        if let Err(error) = book.read().await {
            let error = error_chain(&error);
            tracing::warn!(error, "the API keys could not be read");
        }
        if noted_at.elapsed() < NOTE_EVERY.min(inner.settings.keys_max_age) {
            continue;
        }
        noted_at = Instant::now();
        if let Err(error) = book.note_uses().await {
            let error = error_chain(&error);
            tracing::warn!(error, "when API keys were last used could not be noted");
        }
    }
}

fn pause(inner: &Weak<Inner>, of: impl FnOnce(&AuthSettings) -> Duration) -> Option<Duration> {
    inner.upgrade().map(|inner| of(&inner.settings))
}
