//! TLS: certificates from files, chosen by the name the client asks for, reloaded when the files change.

mod binding;
mod facts;
mod fresh;
mod generate;
pub(crate) mod handshake;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use packetboat_wire::ChannelBinding;
use parking_lot::{Mutex, RwLock};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, SupportedProtocolVersion};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

pub(crate) use binding::{Binding, Bindings, Channel, TlsSessionId};
pub use generate::{Generated, generate};

/// A certificate or key file larger than this is not one.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// The oldest TLS version a client may use. Both are sound as rustls implements them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinimumTls {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// One certificate chain and its key, each in a PEM file; both may be the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No certificate was named.
    #[error("no certificate is configured")]
    None,
    /// The file cannot be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file can be read, but not used.
    #[error("{}: {problem}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

/// The certificates a server may present.
///
/// Shared by all listeners. [`reload`](Certificates::reload) replaces all of them at once or none: a mistake in a new
/// file leaves the server with what it had.
pub struct Certificates {
    files: RwLock<Vec<CertificateFiles>>,
    settings: ConfigParts,
    current: RwLock<Arc<Identities>>,
    /// The state of the files at the last attempt to load them, good or bad.
    seen: Mutex<Vec<Stamp>>,
}

/// What all server configurations share; tickets among them, so that a resumption survives a reload.
struct ConfigParts {
    provider: Arc<CryptoProvider>,
    versions: &'static [&'static SupportedProtocolVersion],
    tickets: Arc<dyn ProducesTickets>,
    bindings: Arc<Bindings>,
}

/// Whether a TLS 1.3 client is sent a ticket to resume with, right behind the handshake.
#[derive(Debug, Clone)]
pub(crate) enum Tickets {
    Sent,
    /// After STARTTLS the client speaks first. One that reads in one thread and writes in another is then in the middle
    /// of reading the ticket as it writes its command, which OpenSSL does not bear: imaplib2, and with it OfflineIMAP,
    /// hangs or crashes. Where TLS comes first the greeting keeps the two apart.
    Withheld,
    /// As the binding to other connections says. Programs that speak FTP are used to tickets behind AUTH TLS.
    Bound(Arc<Binding>),
}

/// Everything needed to be one server: what rustls calls a config, and what SCRAM-PLUS binds to.
pub(crate) struct Identity {
    config: Arc<ServerConfig>,
    without_tickets: Arc<ServerConfig>,
    pub(crate) end_point: Option<ChannelBinding>,
    key: Arc<CertifiedKey>,
    not_after: i64,
    names: Vec<String>,
}

struct Identities {
    /// For clients that ask for no name, or for one that no certificate has.
    first: Arc<Identity>,
    all: Vec<Arc<Identity>>,
    by_name: HashMap<String, Vec<Arc<Identity>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
}

impl Certificates {
    /// Reads `files`; the first is presented to clients that ask for no name or for one that no certificate has.
    pub fn load(files: Vec<CertificateFiles>, minimum: MinimumTls) -> Result<Certificates, CertificateError> {
        static BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
        static NEWEST: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        let tickets = || {
            aws_lc_rs::Ticketer::new().map_err(|error| CertificateError::Unusable {
                path: PathBuf::from("session tickets"),
                problem: error.to_string(),
            })
        };
        let settings = ConfigParts {
            provider: Arc::new(aws_lc_rs::default_provider()),
            versions: if minimum == MinimumTls::Tls13 { NEWEST } else { BOTH },
            tickets: tickets()?,
            bindings: Arc::new(Bindings::new(tickets()?)),
        };
        let seen = stamps(&files);
        let current = Identities::load(&files, &settings)?;
        Ok(Certificates {
            files: RwLock::new(files),
            settings,
            current: RwLock::new(Arc::new(current)),
            seen: Mutex::new(seen),
        })
    }

    /// From now on, these files, when they are read the next time.
    pub fn use_files(&self, files: Vec<CertificateFiles>) {
        *self.files.write() = files;
    }

    /// Reads the files again. On an error the old certificates stay in use.
    pub fn reload(&self) -> Result<(), CertificateError> {
        let files = self.files.read().clone();
        *self.seen.lock() = stamps(&files);
        let fresh = Identities::load(&files, &self.settings)?;
        *self.current.write() = Arc::new(fresh);
        Ok(())
    }

    /// Reads the files again if one of them is not what it was at the last attempt. `None`: nothing to do.
    pub fn reload_if_changed(&self) -> Option<Result<(), CertificateError>> {
        let now = stamps(&self.files.read());
        let changed = *self.seen.lock() != now;
        changed.then(|| self.reload())
    }

    /// When the first of the certificates expires, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.current.read().all.iter().map(|identity| identity.not_after).min().unwrap_or(0)
    }

    /// The names the certificates are good for.
    pub fn names(&self) -> Vec<String> {
        self.current.read().all.iter().flat_map(|identity| identity.names.clone()).collect()
    }

    /// What binds TLS connections to each other.
    pub(crate) fn bindings(&self) -> Arc<Bindings> {
        Arc::clone(&self.settings.bindings)
    }

    /// How a client is served to whom this certificate is presented.
    pub(crate) fn config(
        &self,
        identity: &Identity,
        tickets: &Tickets,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        match tickets {
            Tickets::Sent => Ok(Arc::clone(&identity.config)),
            Tickets::Withheld => Ok(Arc::clone(&identity.without_tickets)),
            Tickets::Bound(binding) => {
                let provider = match binding.channel() {
                    Channel::Control => fresh::provider(),
                    Channel::Data => Arc::clone(&self.settings.provider),
                };
                let mut config = server_config(&identity.key, &self.settings, provider, binding.verifier())?;
                config.session_storage = Arc::clone(binding) as _;
                config.ticketer = Arc::clone(binding) as _;
                config.send_tls13_tickets = binding.tickets();
                config.alpn_protocols = binding.protocols();
                Ok(Arc::new(config))
            }
        }
    }

    pub(crate) fn choose(&self, hello: &ClientHello<'_>) -> Arc<Identity> {
        let current = Arc::clone(&self.current.read());
        let named = hello.server_name().and_then(|name| current.named(&name.to_ascii_lowercase()));
        let candidates = named.unwrap_or(&current.all);
        let schemes = hello.signature_schemes();
        let fits = |identity: &&Arc<Identity>| identity.key.key.choose_scheme(schemes).is_some();
        Arc::clone(candidates.iter().find(fits).unwrap_or(&current.first))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &*self.files.read()).finish_non_exhaustive()
    }
}

impl Identities {
    fn load(files: &[CertificateFiles], settings: &ConfigParts) -> Result<Identities, CertificateError> {
        let mut all = Vec::with_capacity(files.len());
        let mut by_name: HashMap<String, Vec<Arc<Identity>>> = HashMap::new();
        for pair in files {
            let identity = Arc::new(Identity::load(pair, settings)?);
            for name in &identity.names {
                by_name.entry(name.clone()).or_default().push(Arc::clone(&identity));
            }
            all.push(identity);
        }
        let first = all.first().cloned().ok_or(CertificateError::None)?;
        Ok(Identities { first, all, by_name })
    }

    /// The certificates for a name: its own, or a wildcard that covers its first label (RFC 6125 section 6.4.3).
    fn named(&self, name: &str) -> Option<&Vec<Arc<Identity>>> {
        let wildcard = || name.split_once('.').and_then(|(_, rest)| self.by_name.get(&format!("*.{rest}")));
        self.by_name.get(name).or_else(wildcard)
    }
}

impl Identity {
    fn load(files: &CertificateFiles, settings: &ConfigParts) -> Result<Identity, CertificateError> {
        let unusable =
            |path: &Path, problem: String| CertificateError::Unusable { path: path.to_owned(), problem };
        let chain = CertificateDer::pem_slice_iter(&read(&files.certificate)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(&files.certificate, format!("not readable as PEM: {error}")))?;
        let Some(leaf) = chain.first().cloned() else {
            let problem = "no certificate in it; expected \"-----BEGIN CERTIFICATE-----\"".to_owned();
            return Err(unusable(&files.certificate, problem));
        };
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|error| {
            unusable(
                &files.key,
                format!("no private key to use in it: {error}; encrypted keys are not supported"),
            )
        })?;
        let key = CertifiedKey::from_der(chain, key, &settings.provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => unusable(
                &files.key,
                format!("this key does not belong to the certificate in {}", files.certificate.display()),
            ),
            error => unusable(&files.certificate, error.to_string()),
        })?;
        let key = Arc::new(key);

        let (names, not_after) = match X509Certificate::from_der(&leaf) {
            Ok((_, parsed)) => (dns_names(&parsed), parsed.validity().not_after.timestamp()),
            Err(error) => return Err(unusable(&files.certificate, error.to_string())),
        };
        let mut config = server_config(&key, settings, Arc::clone(&settings.provider), None)
            .map_err(|error| unusable(&files.certificate, error.to_string()))?;
        // Resumption by ticket only: the server keeps nothing per client.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&settings.tickets);
        config.send_tls13_tickets = 1;
        let mut without_tickets = config.clone();
        without_tickets.send_tls13_tickets = 0;
        Ok(Identity {
            config: Arc::new(config),
            without_tickets: Arc::new(without_tickets),
            end_point: ChannelBinding::end_point(&leaf),
            key,
            not_after,
            names,
        })
    }
}

fn server_config(
    key: &Arc<CertifiedKey>,
    settings: &ConfigParts,
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let verifier = verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth);
    Ok(ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(settings.versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key)))))
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    alternatives.value.general_names.iter().filter_map(dns).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let read = || {
        let mut content = Vec::new();
        File::open(path)?.take(MAX_PEM_BYTES).read_to_end(&mut content)?;
        Ok(content)
    };
    read().map_err(|source| CertificateError::Read { path: path.to_owned(), source })
}

fn stamps(files: &[CertificateFiles]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| match path.metadata() {
        Ok(metadata) => Stamp { modified: metadata.modified().ok(), len: metadata.len() },
        Err(_) => Stamp { modified: None, len: 0 },
    };
    files.iter().flat_map(|pair| [stamp(&pair.certificate), stamp(&pair.key)]).collect()
}
