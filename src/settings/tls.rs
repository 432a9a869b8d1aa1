//! `[tls]`: the certificate and key with which the server is who it says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::value::{duration, path, word};

/// `[tls]`: HTTPS, once both files are named.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// A PEM file with the certificate and those that vouch for it; none is plain HTTP.
    #[serde(deserialize_with = "path")]
    pub certificate: Option<PathBuf>,
    /// A PEM file with the certificate's key.
    #[serde(deserialize_with = "path")]
    pub key: Option<PathBuf>,
    /// The oldest version that is spoken; default TLS 1.2.
    pub min_version: TlsVersion,
    /// How often to look whether the files have changed: up to a day, default 10s.
    #[serde(deserialize_with = "duration")]
    pub reload: Duration,
}

impl TlsSettings {
    /// The certificate's file and the key's, where HTTPS is spoken.
    #[must_use]
    pub fn files(&self) -> Option<(&Path, &Path)> {
        Some((self.certificate.as_deref()?, self.key.as_deref()?))
    }

    /// What the single values cannot say: the key at fault and what it must be.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => Err(("key", "must be named beside `tls.certificate`".to_owned())),
            (None, Some(_)) => Err(("certificate", "must be named beside `tls.key`".to_owned())),
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            min_version: TlsVersion::Tls12,
            reload: Duration::from_secs(10),
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl<'de> Deserialize<'de> for TlsVersion {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        word(from, &[("1.2", Self::Tls12), ("1.3", Self::Tls13)])
    }
}
