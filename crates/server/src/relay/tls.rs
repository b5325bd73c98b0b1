//! The client's side of TLS towards other servers: what is demanded becomes a configuration, and what was seen is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use packetboat_mail::queue::Verified;
use packetboat_smtp::client::TlsPolicy;
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{self, CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;

use super::demand::TlsDemand;
use crate::drive::TlsRole;

/// Makes configurations for connections to other servers. What is costly is made once.
#[derive(Debug)]
pub(super) struct TlsMaker {
    provider: Arc<CryptoProvider>,
    /// Judges by the authorities of this system. Made when it is first needed, and made anew as long as it fails.
    system: Mutex<Option<Arc<dyn ServerCertVerifier>>>,
}

/// TLS for one connection.
#[derive(Debug)]
pub(super) struct TlsPlan {
    pub(super) role: TlsRole,
    pub(super) policy: TlsPolicy,
    /// What will be true of the certificate when the handshake is over.
    pub(super) seen: Seen,
}

/// What a handshake has shown of the certificate.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    by: Verified,
    believed: Arc<AtomicBool>,
}

impl Seen {
    fn nothing() -> Seen {
        Seen { by: Verified::No, believed: Arc::default() }
    }

    pub(super) fn verified(&self) -> Verified {
        if self.believed.load(Ordering::Relaxed) { self.by } else { Verified::No }
    }
}

impl TlsPlan {
    /// No TLS at all.
    pub(super) fn clear() -> TlsPlan {
        TlsPlan { role: TlsRole::None, policy: TlsPolicy::Never, seen: Seen::nothing() }
    }
}

impl TlsMaker {
    pub(super) fn new() -> TlsMaker {
        TlsMaker { provider: Arc::new(crypto::aws_lc_rs::default_provider()), system: Mutex::default() }
    }

    /// What judges certificates by the authorities of this system.
    pub(super) fn system_verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let mut system = self.system.lock();
        if let Some(verifier) = &*system {
            return Ok(Arc::clone(verifier));
        }
        let made = Verifier::new(Arc::clone(&self.provider)).map_err(|error| error.to_string())?;
        let made: Arc<dyn ServerCertVerifier> = Arc::new(made);
        *system = Some(Arc::clone(&made));
        Ok(made)
    }

    /// What judges certificates by the authorities in a PEM file.
    pub(super) fn file_verifier(&self, file: &Path) -> Result<Arc<dyn ServerCertVerifier>, NoAuthorities> {
        let wrong = |problem: String| NoAuthorities { file: file.to_owned(), problem };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
        for certificate in certificates {
            let added = certificate.map_err(|error| wrong(error.to_string())).map(|it| roots.add(it))?;
            added.map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
        let provider = Arc::clone(&self.provider);
        let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        built.map(|it| it as Arc<dyn ServerCertVerifier>).map_err(|error| wrong(error.to_string()))
    }

    /// TLS as demanded, towards the host called so. Where any certificate will do, `usual` tells whether it is a good one.
    pub(super) fn plan(
        &self,
        demand: &TlsDemand,
        host: &str,
        usual: Option<Arc<dyn ServerCertVerifier>>,
    ) -> Result<TlsPlan, String> {
        let required = match demand {
            TlsDemand::Never => return Ok(TlsPlan::clear()),
            TlsDemand::Opportunistic => None,
            TlsDemand::Required(required) => Some(required),
        };
        let asked = required.and_then(|required| required.server_name.as_deref()).unwrap_or(host);
        let Ok(name) = ServerName::try_from(asked.to_owned()) else {
            // No certificate can be for such a name, and none can be asked for by it.
            return match required {
                Some(_) => Err(format!("{asked} is no name that a certificate can have")),
                None => Ok(TlsPlan::clear()),
            };
        };
        let strict = required.and_then(|required| required.verifier.clone());
        let by = match (&strict, required) {
            (Some(_), Some(required)) => required.by,
            // Nobody depends on it; it is good to know.
            _ => Verified::Pkix,
        };
        let seen = Seen { by, believed: Arc::default() };
        let watching = Watching {
            strict: strict.is_some(),
            judge: strict.or(usual).or_else(|| self.system_verifier().ok()),
            provider: Arc::clone(&self.provider),
            believed: Arc::clone(&seen.believed),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let verified = builder.dangerous().with_custom_certificate_verifier(Arc::new(watching));
        let mut config = verified.with_no_client_auth();
        // A resumed session is not verified, so that nothing could be told of its certificate.
        config.resumption = Resumption::disabled();
        let policy = if required.is_some() { TlsPolicy::Required } else { TlsPolicy::Opportunistic };
        Ok(TlsPlan { role: TlsRole::Client(Arc::new(config), name), policy, seen })
    }
}

/// A file of authorities that is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub(super) struct NoAuthorities {
    file: PathBuf,
    problem: String,
}

/// Lets another verifier judge and notes its verdict, which only counts where that is demanded. Signatures are checked
/// in any case, so that the peer at least has the key.
#[derive(Debug)]
struct Watching {
    judge: Option<Arc<dyn ServerCertVerifier>>,
    strict: bool,
    provider: Arc<CryptoProvider>,
    believed: Arc<AtomicBool>,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(judge) = &self.judge {
            match judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
                Ok(_) => self.believed.store(true, Ordering::Relaxed),
                Err(error) if self.strict => return Err(error),
                Err(_) => {}
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
