//! What the tests stand on: throwaway databases and servers that never outlive the test process.

pub(crate) mod admin;
pub(crate) mod application;
pub(crate) mod balancer;
pub(crate) mod checker;
pub(crate) mod command;
pub(crate) mod counter;
pub(crate) mod database;
pub(crate) mod exposition;
pub(crate) mod guardian;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod sse;

use std::path::PathBuf;
use std::sync::OnceLock;

use guardian::Guardian;
use tempfile::TempDir;

/// A fresh and empty place for events.
#[derive(Debug)]
pub(crate) enum Backend {
    /// A file in a directory of its own, which goes with this value.
    Sqlite(TempDir),
    /// The URL of a database in the shared cluster.
    Postgres(String),
}

impl Backend {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(scratch())
    }

    pub(crate) async fn postgres() -> Self {
        Self::Postgres(postgres::shared().create_database().await)
    }

    /// What `store.url` must be.
    pub(crate) fn store_url(&self) -> String {
        match self {
            Self::Sqlite(directory) => {
                format!(
                    "sqlite://{}",
                    directory.path().join("dormouse.db").display()
                )
            }
            Self::Postgres(url) => url.clone(),
        }
    }
}

/// One fresh place of each kind that survives its process.
pub(crate) async fn backends() -> [Backend; 2] {
    [Backend::sqlite(), Backend::postgres().await]
}

/// What a test draws from: `DORMOUSE_TEST_SEED`, or another each time, told where the test fails.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("DORMOUSE_TEST_SEED").ok();
    let seed = given.map_or_else(rand::random, |seed| seed.parse().expect("a number"));
    eprintln!("DORMOUSE_TEST_SEED={seed}");
    seed
}

/// An empty directory, which goes with the value, or with this process if it is killed.
pub(crate) fn scratch() -> TempDir {
    static ALL: OnceLock<(PathBuf, Guardian)> = OnceLock::new();
    let (all, _) = ALL.get_or_init(|| {
        let directory = TempDir::with_prefix("dormouse-it-")
            .expect("a temporary directory")
            .keep();
        let guardian = Guardian::of(&directory, "TERM");
        (directory, guardian)
    });
    TempDir::new_in(all).expect("a directory in the temporary one")
}
