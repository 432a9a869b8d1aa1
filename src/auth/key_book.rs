//! The API keys that are valid, in memory: a request asks no database whether its key is one.
//!
//! All are read again every `auth.keys_reload`, so that is how soon a key that was revoked is
//! refused. A key that is not known makes it look at once, but not within a second of the look before,
//! however long that took: so a new key works at once, and a flood of wrong ones costs a query a
//! second and waits for one of them at most.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use subtle::ConstantTimeEq as _;
use tokio::{sync::Mutex, time::Instant};
use ulid::Ulid;

use super::{ApiKey, Principal, Refusal, Rights};
use crate::{
    domain::error_chain,
    store::{ApiKeyTable, ApiKeyUse, ReadError, StoredApiKey},
};

/// The shortest time between two looks for a key that is not known.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// How exactly it is known when a key was last used.
const USE_STEP_US: i64 = 1_000_000;
/// How often it is noted when keys were last used.
pub(super) const NOTE_EVERY: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct KeyBook {
    table: Arc<dyn ApiKeyTable>,
    most: u32,
    max_age: Duration,
    page: RwLock<Arc<Page>>,
    /// When it was last looked for a key that is not known; whoever looks holds it.
    looked_at: Mutex<Option<Instant>>,
    /// Whether it was told that there are too many.
    told_too_many: AtomicBool,
}

/// The keys as they were read.
#[derive(Debug)]
struct Page {
    read_at: Instant,
    keys: HashMap<Ulid, Arc<Held>>,
}

#[derive(Debug)]
struct Held {
    stored: StoredApiKey,
    principal: Principal,
    /// In microseconds since 1970; 0 where it was not used here.
    used_at: AtomicI64,
    /// Up to where that has been noted.
    noted_at: AtomicI64,
}

impl KeyBook {
    pub(super) async fn open(
        table: Arc<dyn ApiKeyTable>,
        most: u32,
        max_age: Duration,
    ) -> Result<Self, ReadError> {
        let book = Self {
            table,
            most,
            max_age,
            page: RwLock::new(Arc::new(Page {
                read_at: Instant::now(),
                keys: HashMap::new(),
            })),
            looked_at: Mutex::new(None),
            told_too_many: AtomicBool::new(false),
        };
        book.read().await?;
        Ok(book)
    }

    /// Whose key it is.
    pub(super) async fn verify(
        &self,
        key: &ApiKey,
        now: DateTime<Utc>,
    ) -> Result<Principal, Refusal> {
        let mut page = self.page();
        if !page.keys.contains_key(&key.id) {
            self.look_for(key.id).await;
            page = self.page();
        }
        if page.read_at.elapsed() > self.max_age {
            return Err(Refusal::Unavailable);
        }
        let held = page.keys.get(&key.id).ok_or(Refusal::UnknownKey)?;
        // Neither how much of it is right may be told by time, nor whether it has expired.
        if !bool::from(held.stored.secret_hash.ct_eq(&key.hash())) {
            return Err(Refusal::UnknownKey);
        }
        if held.stored.expires_at.is_some_and(|time| time <= now) {
            return Err(Refusal::ExpiredKey);
        }
        held.note_use(now);
        Ok(held.principal.clone())
    }

    /// Whether a key is what it was when it was verified, and if so, that it is used.
    pub(super) fn is_used(&self, id: Ulid, verified: &Principal, now: DateTime<Utc>) -> bool {
        let page = self.page.read().unwrap_or_else(PoisonError::into_inner);
        let held = page.keys.get(&id);
        let held = held.filter(|held| held.principal.is_same(verified));
        let held = held.filter(|held| held.stored.expires_at.is_none_or(|time| now < time));
        match held {
            Some(held) if page.read_at.elapsed() <= self.max_age => {
                held.note_use(now);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether a key that was valid still is.
    pub(super) fn knows(&self, id: Ulid) -> bool {
        let page = self.page();
        page.read_at.elapsed() <= self.max_age && page.keys.contains_key(&id)
    }

    fn page(&self) -> Arc<Page> {
        Arc::clone(&self.page.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn look_for(&self, id: Ulid) {
        let mut looked_at = self.looked_at.lock().await;
        let lately = looked_at.is_some_and(|time| time.elapsed() < LOOK_PAUSE);
        // Whoever looked before may have found it.
        if lately || self.page().keys.contains_key(&id) {
            return;
        }
        // Before the look, in case its caller goes away; and after it, whatever came of it: those who
        // waited for a slow one would else each begin their own, one after the other.
        *looked_at = Some(Instant::now());
        if let Err(error) = self.read().await {
            let error = error_chain(&error);
            tracing::warn!(error, "the API keys could not be read");
        }
        *looked_at = Some(Instant::now());
    }

    /// Reads all keys anew.
    pub(super) async fn read(&self) -> Result<(), ReadError> {
        let read_at = Instant::now();
        let stored = self.table.active(self.most.saturating_add(1)).await?;
        let too_many = stored.len() > self.most as usize;
        let told = self.told_too_many.swap(too_many, Ordering::Relaxed);
        if too_many && !told {
            tracing::error!(
                most = self.most,
                "there are more API keys than `auth.max_keys`; the newest do not work"
            );
        }
        let before = self.page();
        let stored = stored.into_iter().take(self.most as usize);
        let keys = stored.map(|stored| match before.keys.get(&stored.id) {
            Some(held) if held.same(&stored) => (stored.id, Arc::clone(held)),
            _ => (stored.id, Arc::new(Held::new(stored))),
        });
        let page = Arc::new(Page {
            read_at,
            keys: keys.collect(),
        });
        *self.page.write().unwrap_or_else(PoisonError::into_inner) = page;
        Ok(())
    }

    /// Notes when keys were last used, where that has changed.
    pub(super) async fn note_uses(&self) -> Result<(), ReadError> {
        let page = self.page();
        let used = page.keys.values().filter_map(|held| {
            let used_at = held.used_at.load(Ordering::Relaxed);
            let new = used_at > held.noted_at.load(Ordering::Relaxed);
            new.then_some((held, used_at))
        });
        let used: Vec<(&Arc<Held>, i64)> = used.collect();
        let noted = used.iter().filter_map(|(held, used_at)| {
            Some(ApiKeyUse {
                id: held.stored.id,
                at: DateTime::from_timestamp_micros(*used_at)?,
            })
        });
        let noted: Vec<ApiKeyUse> = noted.collect();
        if noted.is_empty() {
            return Ok(());
        }
        self.table.note_uses(&noted).await?;
        for (held, used_at) in used {
            held.noted_at.store(used_at, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Held {
    /// To the second, so that threads do not write one number with every request.
    fn note_use(&self, now: DateTime<Utc>) {
        let now = now.timestamp_micros();
        if self.used_at.load(Ordering::Relaxed) <= now - USE_STEP_US {
            self.used_at.fetch_max(now, Ordering::Relaxed);
        }
    }

    fn new(stored: StoredApiKey) -> Self {
        // What another version of this program granted and this one does not know grants nothing.
        let rights = Rights::among(stored.rights.split_whitespace());
        let principal = Principal::of_key(stored.id, &stored.name, rights, stored.expires_at);
        Self {
            stored,
            principal,
            used_at: AtomicI64::new(0),
            noted_at: AtomicI64::new(0),
        }
    }

    /// Whether it is the key that is stored. When it was used makes it no other: that is noted by us.
    fn same(&self, stored: &StoredApiKey) -> bool {
        let StoredApiKey {
            id,
            name,
            secret_hash,
            rights,
            created_at,
            expires_at,
            revoked_at,
            last_used_at: _,
        } = &self.stored;
        let own = (id, name, secret_hash, rights);
        own == (
            &stored.id,
            &stored.name,
            &stored.secret_hash,
            &stored.rights,
        ) && (created_at, expires_at, revoked_at)
            == (&stored.created_at, &stored.expires_at, &stored.revoked_at)
    }
}
