//! Where the events are: a file, a cluster of our own, or a database of somebody's.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use clap::ValueEnum as _;
use dormouse::{
    settings::{StoreSettings, Writers},
    store::{self, EventStore},
};
use tempfile::TempDir;

use crate::{
    support::postgres::{Cluster, Options},
    tmpfs::Tmpfs,
};

/// What `--store` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A throwaway file or cluster.
    Throwaway(Kind),
    /// A database that is there already: it is neither stopped nor filled.
    Url(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(kind) = Kind::from_str(text, false) {
            return Ok(Self::Throwaway(kind));
        }
        let schemes = ["sqlite://", "postgres://", "postgresql://"];
        if schemes.iter().any(|scheme| text.starts_with(scheme)) {
            return Ok(Self::Url(text.to_owned()));
        }
        Err("must be sqlite, postgres, sqlite://FILE or postgres://…".to_owned())
    }
}

/// A place for events.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// The file system of its own, or why there is none.
    pub(crate) disk: Result<Tmpfs, String>,
    _directory: Option<TempDir>,
}

impl Place {
    pub(crate) async fn open(wanted: &Wanted, small_disk: bool) -> Self {
        let kind = match wanted {
            Wanted::Throwaway(kind) => *kind,
            Wanted::Url(url) if url.starts_with("sqlite:") => Kind::Sqlite,
            Wanted::Url(_) => Kind::Postgres,
        };
        if let Wanted::Url(url) = wanted {
            return Self {
                kind,
                url: url.clone(),
                cluster: None,
                disk: Err("the database is not ours to fill".to_owned()),
                _directory: None,
            };
        }
        let disk = if small_disk {
            Tmpfs::mount()
        } else {
            Err("not asked for".to_owned())
        };
        match kind {
            Kind::Sqlite => Self::sqlite(disk),
            Kind::Postgres => Self::postgres(disk, true).await,
        }
    }

    fn sqlite(disk: Result<Tmpfs, String>) -> Self {
        let directory = disk
            .is_err()
            .then(|| tempfile::tempdir().expect("a directory"));
        let path: PathBuf = match (&disk, &directory) {
            (Ok(disk), _) => disk.path().to_owned(),
            (Err(_), directory) => directory
                .as_ref()
                .map(TempDir::path)
                .expect("made above")
                .to_owned(),
        };
        Self {
            kind: Kind::Sqlite,
            url: format!("sqlite://{}", path.join("dormouse.db").display()),
            cluster: None,
            disk,
            _directory: directory,
        }
    }

    pub(crate) async fn postgres(disk: Result<Tmpfs, String>, fsync: bool) -> Self {
        let parent = disk.as_ref().ok().map(|disk| disk.path().to_owned());
        let starting = tokio::task::spawn_blocking(move || {
            let options = Options { fsync };
            match parent {
                Some(parent) => Cluster::start_under(&parent, options),
                None => Cluster::start(options),
            }
        });
        let cluster = Arc::new(starting.await.expect("a cluster starts"));
        Self {
            kind: Kind::Postgres,
            url: cluster.create_database().await,
            cluster: Some(cluster),
            disk,
            _directory: None,
        }
    }

    /// Where PostgreSQL listens, if the URL says so by number.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let (_, after) = self.url.split_once('@')?;
        after.split('/').next()?.parse().ok()
    }

    /// The URL by way of a proxy.
    pub(crate) fn url_through(&self, proxy: SocketAddr) -> String {
        let address = self.address().expect("only such a place has a proxy");
        self.url.replace(&address.to_string(), &proxy.to_string())
    }

    /// Opens the store itself, past every server and proxy.
    pub(crate) async fn store(&self) -> Arc<dyn EventStore> {
        let settings = StoreSettings {
            url: self.url.parse().expect("a store's URL"),
            pool: 2,
            writers: Some(match self.kind {
                Kind::Sqlite => Writers::Exclusive,
                Kind::Postgres => Writers::Shared,
            }),
            ..StoreSettings::default()
        };
        store::open(&settings).await.expect("the store opens")
    }

    /// Does something to the cluster that takes its time.
    pub(crate) async fn with_cluster<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cluster) -> T + Send + 'static,
    ) -> T {
        let cluster = Arc::clone(self.cluster.as_ref().expect("the cluster is ours"));
        let working = tokio::task::spawn_blocking(move || work(&cluster));
        working.await.expect("it is done to the cluster")
    }
}
