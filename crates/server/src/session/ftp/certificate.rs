//! Clients that are known by a certificate.

use std::path::Path;
use std::sync::Arc;

use packetboat_account::Identity;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Ftp;
use crate::settings::ClientName;

/// Who vouches for clients: the authorities in this file. A client need not show a certificate; one that is not theirs
/// ends the handshake.
pub fn authorities(file: &Path) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let shown = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| shown(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| shown(&error))?;
        roots.add(certificate).map_err(|error| shown(&error))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    verifier.allow_unauthenticated().build().map(|verifier| verifier as _).map_err(|error| shown(&error))
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
