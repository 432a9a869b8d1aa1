//! As whom servers reach PostgreSQL: as a role that may add to the log and change nothing in it.
//!
//! The tests themselves stay the owner, who may look at and change everything.

use std::{collections::HashSet, sync::LazyLock};

use dormouse::{settings::StoreSettings, store};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::sync::Mutex;

/// How the owner's URLs begin, and what stands there for the application role.
const OWNER: &str = "postgres://postgres@";
const APPLICATION: &str = "postgres://dormouse_app@";

/// Another test may make it at the same moment.
const MAKE_ROLE: &str = "do $$ begin create role dormouse_app login; \
    exception when duplicate_object or unique_violation then null; end $$";

/// The databases that are ready for the role.
static READY: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// The URL by which a server reaches the store of this one; a database is migrated by its owner.
pub(crate) async fn url(store_url: &str) -> String {
    let Some(place) = store_url.strip_prefix(OWNER) else {
        return store_url.to_owned();
    };
    let mut ready = READY.lock().await;
    if !ready.contains(place) && prepared(store_url).await {
        ready.insert(place.to_owned());
    }
    drop(ready);
    format!("{APPLICATION}{place}")
}

/// False where the database cannot be reached, which may be what a test is about.
async fn prepared(store_url: &str) -> bool {
    let Ok(mut owner) = PgConnection::connect(store_url).await else {
        return false;
    };
    owner
        .execute(MAKE_ROLE)
        .await
        .expect("the owner may make a role");
    let settings = StoreSettings {
        url: store_url.parse().expect("a URL of ours"),
        ..StoreSettings::default()
    };
    store::migrate(&settings)
        .await
        .expect("the owner may migrate");
    let granted = store::grant(&settings, "dormouse_app").await;
    granted.expect("the owner may grant");
    true
}
