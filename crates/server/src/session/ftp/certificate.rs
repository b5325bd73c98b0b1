//! Clients that are known by a certificate.

use std::path::Path;
use std::sync::Arc;

use packetboat_account::Identity;
use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Ftp;
use crate::settings::{self, ClientName};

/// Who vouches for clients, and where the account's name stands in their certificates.
pub(super) type Vouching = (Arc<dyn ClientCertVerifier>, ClientName);

/// What is known of clients' certificates; `None`: nobody is asked for one.
#[derive(Debug)]
pub struct Clients(Mutex<Option<Vouching>>);

impl Clients {
    /// As the settings have it. What cannot be read is told, and nobody logs in by a certificate.
    pub fn new(ftp: &settings::Ftp) -> Clients {
        Clients(Mutex::new(vouching(ftp).unwrap_or_else(|error| {
            tracing::error!(error, "nobody logs in by a certificate");
            None
        })))
    }

    /// Reads the files again. What cannot be read changes nothing.
    pub fn reload(&self, ftp: &settings::Ftp) {
        match vouching(ftp) {
            Ok(vouching) => *self.0.lock() = vouching,
            Err(error) => tracing::error!(error, "clients' certificates are checked as before"),
        }
    }

    pub(super) fn get(&self) -> Option<Vouching> {
        self.0.lock().clone()
    }
}

/// Whether the files with authorities and revoked certificates can be read.
pub fn check_authorities(ftp: &settings::Ftp) -> Result<(), String> {
    vouching(ftp).map(drop)
}

/// A client need not show a certificate; one that is not of the authorities, or is revoked, ends the handshake.
fn vouching(ftp: &settings::Ftp) -> Result<Option<Vouching>, String> {
    let Some(file) = &ftp.client_authorities else { return Ok(None) };
    let shown =
        |error: &dyn std::fmt::Display| format!("ftp.client_authorities: {}: {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| shown(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| shown(&error))?;
        roots.add(certificate).map_err(|error| shown(&error))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = match &ftp.client_revocations {
        Some(file) => verifier.with_crls(revocations(file)?),
        None => verifier,
    };
    let verifier = verifier.allow_unauthenticated().build().map_err(|error| shown(&error))?;
    Ok(Some((verifier, ftp.client_name)))
}

fn revocations(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let shown =
        |error: &dyn std::fmt::Display| format!("ftp.client_revocations: {}: {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| shown(&error))?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    match lists {
        // A file without one would let everybody in.
        Ok(lists) if lists.is_empty() => Err(shown(&"there is no list in it")),
        lists => lists.map_err(|error| shown(&error)),
    }
}

/// The login name in a certificate.
pub(super) fn name(certificate: &CertificateDer<'_>, place: ClientName) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    match place {
        ClientName::Email => {
            let names = certificate.subject_alternative_name().ok()??;
            names.value.general_names.iter().find_map(|name| match name {
                GeneralName::RFC822Name(address) => Some((*address).to_owned()),
                _ => None,
            })
        }
        ClientName::CommonName => {
            let name = certificate.subject().iter_common_name().next()?;
            name.as_str().ok().map(str::to_owned)
        }
    }
}

impl Ftp {
    /// Who the client is by its certificate, if that names the user who was named.
    pub(super) fn certified(&mut self, user: &str) -> Option<Identity> {
        let name = self.certificate.clone()?;
        let directory = self.counter.authenticator.directory();
        let account = |name: &str| directory.find_login(name).ok().flatten().map(|account| account.id);
        if account(user)? != account(&name)? {
            return None;
        }
        self.visitor.login(&self.counter, &self.metrics, &self.peer).certified(&name).ok()
    }
}
