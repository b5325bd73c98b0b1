//! The client's side of TLS: whom to trust, and the handshake.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packetboat_wire::{ChannelBinding, TlsFacts};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;
use thiserror::Error;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::net::Socket;

/// Length of the `tls-exporter` channel binding (RFC 9266 section 4.2).
const EXPORTER_LEN: usize = 32;

/// Which certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// Those that this system's authorities have signed.
    #[default]
    System,
    /// Those that the authorities in this PEM file have signed, and no others.
    Ca(PathBuf),
    /// Any. The connection is encrypted, but nobody knows to whom.
    Anyone,
}

/// Why TLS cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file of authorities cannot be read, or there is none in it.
    #[error("cannot read certificates from {}: {cause}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// This system has no authorities.
    #[error("this system has no certificate authorities to trust: {0}")]
    NoSystemRoots(String),
    /// The certificate is not believed.
    #[error("the certificate of {name} is not trusted: {cause}")]
    Certificate {
        /// The server.
        name: String,
        /// Why.
        cause: String,
    },
    /// The handshake did not come to its end.
    #[error("the TLS handshake with {name} failed: {cause}")]
    Handshake {
        /// The server.
        name: String,
        /// Why.
        cause: io::Error,
    },
}

/// The configuration for that trust.
pub fn config(trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::System => Arc::new(
            Verifier::new(provider.clone()).map_err(|error| TlsError::NoSystemRoots(error.to_string()))?,
        ),
        Trust::Ca(path) => {
            let roots = read_roots(path).map_err(|cause| TlsError::Ca { path: path.clone(), cause })?;
            let built = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build();
            built.map_err(|error| TlsError::Ca { path: path.clone(), cause: error.to_string() })?
        }
        Trust::Anyone => Arc::new(BelievesAnyone(provider.clone())),
    };
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| TlsError::NoSystemRoots(error.to_string()))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(Arc::new(builder.with_no_client_auth()))
}

fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(roots) }
}

/// Does the handshake with the server called `host`.
pub(crate) async fn handshake(
    socket: Socket,
    config: Arc<ClientConfig>,
    host: &str,
) -> Result<(TlsStream<Socket>, TlsFacts), TlsError> {
    let failed = |cause| TlsError::Handshake { name: host.to_owned(), cause };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let stream = TlsConnector::from(config).connect(name, socket).await.map_err(|cause| {
        match cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(why)) => {
                TlsError::Certificate { name: host.to_owned(), cause: explain(why) }
            }
            _ => failed(cause),
        }
    })?;
    let facts = facts(&stream, host);
    Ok((stream, facts))
}

/// What is wrong with a certificate, in words for a person.
fn explain(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "it is signed by an authority that is not known here".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is the clock of this machine right?".to_owned()
        }
        CertificateError::NotValidForName => "it is for another name".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let plain = |name: &String| {
                name.replace("DnsName(\"", "").replace("IpAddress(", "").replace(['"', ')'], "")
            };
            format!("it is for another name ({})", presented.iter().map(plain).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn facts(stream: &TlsStream<Socket>, host: &str) -> TlsFacts {
    let (_, tls) = stream.get_ref();
    let mut bindings = Vec::new();
    // Before TLS 1.3 the exporter binds only where an extension was agreed on (RFC 9266 section 3).
    if tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
        && let Ok(data) = tls.export_keying_material([0; EXPORTER_LEN], b"EXPORTER-Channel-Binding", None)
    {
        bindings.push(ChannelBinding::TlsExporter(data.to_vec()));
    }
    let certificate = tls.peer_certificates().and_then(|chain| chain.first());
    bindings.extend(certificate.and_then(|certificate| ChannelBinding::end_point(certificate)));
    TlsFacts {
        version: tls.protocol_version().and_then(|version| version.as_str()).map_or("TLS", shown_version),
        cipher: tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown"),
        server_name: Some(host.to_owned()),
        bindings,
    }
}

fn shown_version(name: &'static str) -> &'static str {
    match name {
        "TLSv1_3" => "TLSv1.3",
        "TLSv1_2" => "TLSv1.2",
        other => other,
    }
}

/// Believes any certificate, as the person asked for; signatures are still checked, so that the peer at least has the
/// key.
#[derive(Debug)]
struct BelievesAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for BelievesAnyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
