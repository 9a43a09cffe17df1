//! TLS of a port: a certificate and its key from two files, read again when they change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::{error, info};

use crate::private_file;

/// Time between two checks of the files.
const RELOAD_EVERY: Duration = Duration::from_secs(1);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--{option} {path}: {what}")]
pub struct TlsError {
    option: &'static str,
    path: PathBuf,
    what: String,
}

/// The version of a file, which changes with it: its inode, and when the inode changed.
type Version = (u64, i64, i64);

/// The certificate in force.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    loaded: ArcSwap<Loaded>,
}

/// The files as they were read last.
#[derive(Debug)]
struct Loaded {
    /// The last versions that were read, even if they had an error.
    versions: Option<[Version; 2]>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads the files, both PEM: the certificate, followed by its chain, and its key.
    ///
    /// # Errors
    /// One cannot be read, or they do not belong together.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let loaded = Loaded { versions: versions(certificate, key), config: read(certificate, key)? };
        let loaded = ArcSwap::from_pointee(loaded);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), loaded })
    }

    /// The acceptor of new connections.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.loaded.load().config).into()
    }

    /// Runs permanently and reads the files again when one changes. A pair with an error changes nothing, and is reported.
    pub async fn reload(&self) {
        loop {
            tokio::time::sleep(RELOAD_EVERY).await;
            let versions = versions(&self.certificate, &self.key);
            let before = self.loaded.load_full();
            if versions == before.versions {
                continue;
            }
            let read = read(&self.certificate, &self.key);
            let config = read.as_ref().unwrap_or(&before.config);
            self.loaded.store(Arc::new(Loaded { versions, config: Arc::clone(config) }));
            // After the change: who reads the line in the log finds the certificate as the line says.
            match read {
                Ok(_) => info!(path = %self.certificate.display(), "certificate reloaded"),
                Err(error) => error!(%error, "the certificate stays as it was"),
            }
        }
    }
}

fn versions(certificate: &Path, key: &Path) -> Option<[Version; 2]> {
    let version = |path| std::fs::metadata(path).map(|meta| (meta.ino(), meta.ctime(), meta.ctime_nsec())).ok();
    Some([version(certificate)?, version(key)?])
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let wrong = |(option, path): (_, &Path), what: String| TlsError { option, path: path.to_owned(), what };
    let (own, secret) = (("tls-cert", certificate), ("tls-key", key));
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|e| wrong(own, format!("no certificate in PEM can be read there: {e}")))?;
    if chain.is_empty() {
        return Err(wrong(own, "holds no certificate; give PEM, the certificate first".to_owned()));
    }
    // A group may read it, as tools that renew certificates set it up; others may not.
    let meta = std::fs::metadata(key).map_err(|e| wrong(secret, format!("cannot be read: {e}")))?;
    private_file::check_owner(&meta).map_err(|what| wrong(secret, what))?;
    let mode = meta.mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(wrong(secret, format!("others may read the key (mode {mode:04o}): chmod 600 it")));
    }
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| wrong(secret, format!("no key in PEM can be read there: {e}")))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config.map_err(|e| wrong(secret, format!("is no key for the certificate: {e}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
