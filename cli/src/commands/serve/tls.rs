//! TLS of a listener, and the renewal of its certificate without a restart.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::{TlsSettings, TlsVersion};
use crate::error::Advise;

/// How often the files are looked at.
const RENEWAL: Duration = Duration::from_mins(1);

/// The TLS of one listener.
pub(super) struct Tls {
    settings: TlsSettings,
    current: RwLock<Current>,
}

/// The certificate in use, and when its files were written.
#[derive(Clone)]
struct Current {
    acceptor: TlsAcceptor,
    written: Vec<Option<SystemTime>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificate, its key, and the authority of client certificates if there is one.
    pub(super) fn load(settings: TlsSettings) -> anyhow::Result<Arc<Self>> {
        let current = Current::load(&settings)?;
        Ok(Arc::new(Self { settings, current: RwLock::new(current) }))
    }

    /// What the next connection is accepted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(PoisonError::into_inner).acceptor.clone()
    }

    /// Takes new files when they change, until `stop`. Files that cannot be used change nothing.
    pub(super) async fn renew(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(RENEWAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.renew_once(),
            }
        }
    }

    fn renew_once(&self) {
        let written = self.current.read().unwrap_or_else(PoisonError::into_inner).written.clone();
        if written == self.settings.written() {
            return;
        }
        let file = self.settings.cert_file.display().to_string();
        match Current::load(&self.settings) {
            Ok(current) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
                tracing::info!(name: "server.certificate.renew", file, "server.certificate.renew");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(name: "server.certificate.fail", file, error, "server.certificate.fail: the old one stays in use");
            }
        }
    }
}

impl Current {
    fn load(settings: &TlsSettings) -> anyhow::Result<Self> {
        // Read first: a file that changes while it is read is looked at once more.
        let written = settings.written();
        let acceptor = TlsAcceptor::from(Arc::new(settings.server_config()?));
        Ok(Self { acceptor, written })
    }
}

impl TlsSettings {
    fn server_config(&self) -> anyhow::Result<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(self.min_version.and_later())
            .context("this build has no such TLS version")?;
        let builder = match &self.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(
                    Arc::new(authorities(file)?),
                    Arc::new(aws_lc_rs::default_provider()),
                );
                let verifier = verifier.build();
                builder.with_client_cert_verifier(
                    verifier.with_context(|| format!("cannot use `{}`", file.display()))?,
                )
            }
        };
        let key = PrivateKeyDer::from_pem_file(&self.key_file)
            .with_context(|| format!("cannot read the private key `{}`", self.key_file.display()))
            .hint("give a PEM file with the key of the certificate, not encrypted")?;
        let mut config =
            builder.with_single_cert(certificates(&self.cert_file)?, key).with_context(|| {
                let (certificate, key) = (self.cert_file.display(), self.key_file.display());
                format!("the certificate `{certificate}` and the key `{key}` do not fit")
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn written(&self) -> Vec<Option<SystemTime>> {
        let files = [Some(&self.cert_file), Some(&self.key_file), self.client_ca_file.as_ref()];
        let written =
            |file: &PathBuf| std::fs::metadata(file).and_then(|file| file.modified()).ok();
        files.into_iter().flatten().map(written).collect()
    }
}

impl TlsVersion {
    fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        const MODERN: [&SupportedProtocolVersion; 1] = [&version::TLS13];
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => &MODERN,
        }
    }
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read
        .with_context(|| format!("cannot read the certificates of `{}`", file.display()))
        .hint("give a PEM file with the certificate first and the ones that signed it after")?;
    if certificates.is_empty() {
        return Err(anyhow!("there is no certificate in `{}`", file.display()));
    }
    Ok(certificates)
}

fn authorities(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        store
            .add(certificate)
            .with_context(|| format!("cannot trust a certificate of `{}`", file.display()))?;
    }
    Ok(store)
}
