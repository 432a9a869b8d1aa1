//! TLS: the certificate and key from their files, taken anew when they change.
//!
//! One crypto backend, aws-lc-rs, which the database's driver brings. A reload that fails keeps
//! what was there and says so; a start that fails is no start.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
        version::{TLS12, TLS13},
    },
};
use zeroize::Zeroizing;

use super::limits::EdgeMeters;
use crate::settings::{TlsSettings, TlsVersion};

/// Why a certificate cannot be served with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no PEM of the kind that is wanted.
    #[error("{} holds no {wanted} in PEM", .path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("the certificate and the key do not go together")]
    Unusable(#[source] rustls::Error),
    /// The versions cannot be spoken.
    #[error("TLS cannot be set up")]
    Unsupported(#[source] rustls::Error),
}

/// What a server proves itself with. Clones are the same.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    served: Arc<Served>,
    certificate: PathBuf,
    key: PathBuf,
    reload: Duration,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files; none where the settings name none.
    ///
    /// # Errors
    /// [`TlsError`], which names the file and never what is in it.
    pub fn load(settings: &TlsSettings) -> Result<Option<Self>, TlsError> {
        let Some((certificate, key)) = settings.files() else {
            return Ok(None);
        };
        let files = Files::read(certificate, key)?;
        let served = Arc::new(Served {
            key: RwLock::new(Arc::new(files.certified()?)),
        });
        let versions: &[_] = match settings.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(TlsError::Unsupported)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&served) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self {
            config: Arc::new(config),
            served,
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            reload: settings.reload,
        }))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Looks for new files for as long as it is awaited.
    ///
    /// They are compared as they are read, not by their times: what a mounted secret is replaced
    /// with may be older.
    pub async fn keep_fresh(self, meters: Arc<EdgeMeters>) {
        let mut seen = self.files().await.ok();
        let mut failing = false;
        loop {
            tokio::time::sleep(self.reload).await;
            let found = match self.files().await {
                Ok(found) if seen.as_ref() == Some(&found) => continue,
                Ok(found) => found,
                Err(error) => {
                    Self::kept(&error, &mut failing, &meters);
                    continue;
                }
            };
            match found.certified() {
                Ok(certified) => {
                    self.served.replace(certified);
                    failing = false;
                    meters.tls_reloaded();
                    tracing::info!("the TLS certificate was read anew");
                }
                Err(error) => Self::kept(&error, &mut failing, &meters),
            }
            seen = Some(found);
        }
    }

    /// The two files are replaced one after the other: a moment between is no news twice.
    fn kept(error: &TlsError, failing: &mut bool, meters: &EdgeMeters) {
        meters.tls_reload_failed();
        if !*failing {
            let reason = crate::domain::error_chain(error);
            tracing::warn!(
                reason,
                "the TLS files changed and cannot be used; the old are kept"
            );
        }
        *failing = true;
    }

    async fn files(&self) -> Result<Files, TlsError> {
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        let read = tokio::task::spawn_blocking(move || Files::read(&certificate, &key));
        read.await.unwrap_or_else(|_| {
            Err(TlsError::Unreadable {
                path: self.certificate.clone(),
                source: io::ErrorKind::Interrupted.into(),
            })
        })
    }
}

/// What every new connection is greeted with.
#[derive(Debug)]
struct Served {
    key: RwLock<Arc<CertifiedKey>>,
}

impl Served {
    fn replace(&self, key: CertifiedKey) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&key))
    }
}

/// The two files as they were read.
#[derive(PartialEq)]
struct Files {
    certificate: PemFile,
    key: PemFile,
}

/// A file and what is in it; it may be a key, so it has no `Debug`.
#[derive(PartialEq)]
struct PemFile {
    path: PathBuf,
    pem: Zeroizing<Vec<u8>>,
}

impl Files {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| match fs::read(path) {
            Ok(pem) => Ok(PemFile {
                path: path.to_owned(),
                pem: Zeroizing::new(pem),
            }),
            Err(source) => Err(TlsError::Unreadable {
                path: path.to_owned(),
                source,
            }),
        };
        Ok(Self {
            certificate: read(certificate)?,
            key: read(key)?,
        })
    }

    /// The certificate with its key, once they are found to belong together.
    fn certified(&self) -> Result<CertifiedKey, TlsError> {
        let not_pem = |file: &PemFile, wanted| TlsError::NotPem {
            path: file.path.clone(),
            wanted,
        };
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&self.certificate.pem).collect();
        let chain = chain.map_err(|_| not_pem(&self.certificate, "certificate"))?;
        if chain.is_empty() {
            return Err(not_pem(&self.certificate, "certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key.pem)
            .map_err(|_| not_pem(&self.key, "private key"))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(TlsError::Unusable)
    }
}
