//! Judging the certificate of another server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use packetboat_mail::secure::{Association, Dane, Matching, Selector, Usage, Verify};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Who is trusted to say whose a certificate is.
#[derive(Debug, Clone)]
pub struct Authorities {
    provider: Arc<CryptoProvider>,
    /// Judges by them; the reason why not, if this system has none.
    pkix: Result<Arc<dyn ServerCertVerifier>, String>,
}

/// A file of authorities that is of no use.
#[derive(Debug, thiserror::Error)]
#[error("outbound_tls.authorities: {}: {problem}", file.display())]
pub struct AuthoritiesError {
    file: PathBuf,
    problem: String,
}

impl Authorities {
    /// Those that this system trusts. Where it trusts none, whatever needs one fails and says so.
    pub fn of_system() -> Authorities {
        let provider = Arc::new(provider::default_provider());
        let pkix = Verifier::new(Arc::clone(&provider));
        let pkix =
            pkix.map(|it| Arc::new(it) as Arc<dyn ServerCertVerifier>).map_err(|error| error.to_string());
        Authorities { provider, pkix }
    }

    /// Those in a PEM file.
    ///
    /// # Errors
    /// When it cannot be read, or none is in it.
    pub fn of_file(file: &Path) -> Result<Authorities, AuthoritiesError> {
        let wrong = |problem: String| AuthoritiesError { file: file.to_owned(), problem };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
        let provider = Arc::new(provider::default_provider());
        let built =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let pkix = built.map_err(|error| wrong(error.to_string()))?;
        Ok(Authorities { provider, pkix: Ok(pkix) })
    }

    /// Judges by them, for whichever name is asked for.
    ///
    /// # Errors
    /// Why there are none.
    pub fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, String> {
        self.pkix.clone()
    }

    /// Judges as demanded, whichever name is asked for.
    pub fn judge(&self, verify: Verify) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Judge { authorities: self.clone(), verify })
    }

    /// A client's configuration by which only servers that these authorities vouch for are believed.
    pub(crate) fn client(&self) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        Ok(builder.dangerous().with_custom_certificate_verifier(self.verifier()?).with_no_client_auth())
    }
}

/// Judges one server's certificate.
#[derive(Debug)]
struct Judge {
    authorities: Authorities,
    verify: Verify,
}

/// What a server showed.
struct Shown<'c> {
    certificate: &'c CertificateDer<'c>,
    others: &'c [CertificateDer<'c>],
    ocsp: &'c [u8],
    now: UnixTime,
}

/// What no error of rustls says.
#[derive(Debug, thiserror::Error)]
enum Mismatch {
    #[error("no authority at all is trusted here ({0})")]
    NoAuthorities(String),
    #[error("none of the TLSA records that can be used describes its certificate (DANE)")]
    Dane,
    #[error("its TLSA records name an authority (DANE), and {0}")]
    Chain(String),
}

impl From<Mismatch> for Error {
    fn from(mismatch: Mismatch) -> Error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(mismatch))))
    }
}

/// What is wrong with a certificate, or with the handshake, in words for a person.
pub fn explain(error: &Error) -> String {
    let Error::InvalidCertificate(error) = error else { return error.to_string() };
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an authority that is not trusted here".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name".to_owned()
        }
        CertificateError::Other(OtherError(other)) => other.to_string(),
        other => format!("its certificate cannot be believed: {other}"),
    }
}

impl Judge {
    fn pkix(&self, shown: &Shown<'_>, names: &[String]) -> Result<(), Error> {
        let pkix = self.authorities.pkix.as_ref().map_err(|why| Mismatch::NoAuthorities(why.clone()))?;
        let mut wrong = Error::InvalidCertificate(CertificateError::NotValidForName);
        for name in names {
            let Ok(name) = ServerName::try_from(name.as_str()) else { continue };
            let verified =
                pkix.verify_server_cert(shown.certificate, shown.others, &name, shown.ocsp, shown.now);
            match verified {
                Ok(_) => return Ok(()),
                Err(error) => wrong = error,
            }
        }
        Err(wrong)
    }

    fn dane(&self, shown: &Shown<'_>, dane: &Dane) -> Result<(), Error> {
        let of = |usage| dane.associations.iter().filter(move |it| it.usage == usage);
        // RFC 7672, section 3.1.1: neither the name nor the time nor who has signed it matters.
        if of(Usage::Server).any(|it| describes(it, shown.certificate)) {
            return Ok(());
        }
        let mut anchors = RootCertStore::empty();
        for association in of(Usage::Authority) {
            // "The TA certificate MUST be included in the server certificate message" (section 3.1.2), except that the
            // record itself may hold it.
            for other in shown.others.iter().filter(|other| describes(association, other)) {
                let _ = anchors.add(other.clone().into_owned());
            }
            if (association.selector, association.matching) == (Selector::Certificate, Matching::Full) {
                let _ = anchors.add(CertificateDer::from(association.data.clone()));
            }
        }
        if anchors.is_empty() {
            return Err(Mismatch::Dane.into());
        }
        let certificate = ParsedCertificate::try_from(shown.certificate)?;
        let algorithms = self.authorities.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &anchors,
            shown.others,
            shown.now,
            algorithms,
        )
        .map_err(|error| Mismatch::Chain(explain(&error)))?;
        match named(&certificate, shown.certificate, &dane.names) {
            true => Ok(()),
            false => Err(Error::InvalidCertificate(CertificateError::NotValidForName)),
        }
    }
}

/// Whether a certificate has one of the names. Its common name counts only if it has no DNS name (RFC 7672, section
/// 3.2.3).
fn named(certificate: &ParsedCertificate<'_>, der: &CertificateDer<'_>, names: &[String]) -> bool {
    let has = |name: &String| {
        ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(certificate, &name).is_ok())
    };
    names.iter().any(has)
        || common_name(der).is_some_and(|common| names.iter().any(|name| covers(&common, name)))
}

/// The common name of a certificate without DNS names.
fn common_name(der: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let alternatives = certificate.subject_alternative_name().ok()?;
    let is_dns = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_));
    if alternatives.is_some_and(|it| it.value.general_names.iter().any(is_dns)) {
        return None;
    }
    let common = certificate.subject().iter_common_name().next()?;
    common.as_str().ok().map(str::to_owned)
}

/// Whether a name in a certificate is this name, or a wildcard for its first label.
fn covers(presented: &str, name: &str) -> bool {
    match presented.strip_prefix("*.") {
        Some(rest) => name.split_once('.').is_some_and(|(_, name)| name.eq_ignore_ascii_case(rest)),
        None => presented.eq_ignore_ascii_case(name),
    }
}

/// Whether a record describes a certificate (RFC 6698, section 2.1).
fn describes(association: &Association, certificate: &CertificateDer<'_>) -> bool {
    let key;
    let part: &[u8] = match association.selector {
        Selector::Certificate => certificate,
        Selector::Key => match ParsedCertificate::try_from(certificate) {
            Ok(parsed) => {
                key = parsed.subject_public_key_info();
                &key
            }
            Err(_) => return false,
        },
    };
    match association.matching {
        Matching::Full => part == association.data,
        Matching::Sha256 => digest::digest(&digest::SHA256, part).as_ref() == association.data,
        Matching::Sha512 => digest::digest(&digest::SHA512, part).as_ref() == association.data,
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Shown { certificate: end_entity, others: intermediates, ocsp: ocsp_response, now };
        match &self.verify {
            Verify::Any { .. } => {}
            Verify::Pkix { names } => self.pkix(&shown, names)?,
            Verify::Dane(dane) => self.dane(&shown, dane)?,
            Verify::Sts { host, dane } => {
                self.pkix(&shown, std::slice::from_ref(host))?;
                if let Some(dane) = dane {
                    self.dane(&shown, dane)?;
                }
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.authorities.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.authorities.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.provider.signature_verification_algorithms.supported_schemes()
    }
}
