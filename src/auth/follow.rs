//! Looking for other keys: in the files of tokens' keys, and in the table of API keys.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::{Inner, key_book::NOTE_EVERY, key_set::KeySet};
use crate::{domain::error_chain, settings::AuthSettings};

/// Looks at the files every now and then, as long as there is someone to know.
pub(super) async fn follow_files(inner: Weak<Inner>) {
    let mut told = None;
    while let Some(pause) = pause(&inner, |settings| settings.reload) {
        tokio::time::sleep(pause).await;
        let Some(inner) = inner.upgrade() else { return };
        let looked = tokio::task::spawn_blocking(move || {
            inner.reload(&mut told);
            told
        });
        let Ok(again) = looked.await else { return };
        told = again;
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

impl Inner {
    /// Takes the keys in the files where they are others now; `told` is what was wrong the last time.
    fn reload(&self, told: &mut Option<String>) {
        match KeySet::read(&self.settings) {
            Ok(keys) => {
                *told = None;
                if keys.is_same(&self.keys()) {
                    return;
                }
                tracing::info!(keys = keys.verifying.len(), "the keys of tokens are others");
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                self.cache.clear();
            }
            Err(error) => {
                let error = error_chain(&error);
                if told.as_ref() != Some(&error) {
                    tracing::error!(error, "the keys of tokens are not read again; the old stay");
                }
                *told = Some(error);
            }
        }
    }
}
