//! Fresh tickets for a TLS 1.3 client that has used those it had (RFC 8446 section 4.6.1).
//!
//! rustls sends tickets right behind the handshake and never again, but a session of FTP lasts for hours and needs one for
//! each data connection: most clients use a ticket once, as they should (appendix C.4). So the cryptography of control
//! connections goes through this module, which adds two things to it: it sees the secret that tickets are made of, and it
//! can send what is written as a message of the handshake. Both happen inside one call into rustls, on one thread; that is
//! why a thread may be asked what its current call is about.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::{Arc, LazyLock};

use rustls::crypto::cipher::{
    AeadKey, Iv, MessageDecrypter, MessageEncrypter, OutboundOpaqueMessage, OutboundPlainMessage,
    Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::hmac;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock, OutputLengthError};
use rustls::crypto::{ActiveKeyExchange, CryptoProvider, aws_lc_rs};
use rustls::server::ProducesTickets;
use rustls::{
    CipherSuiteCommon, Connection, ConnectionTrafficSecrets, ContentType, SupportedCipherSuite,
    Tls13CipherSuite,
};

use crate::session::random;

/// RFC 8446 section 4.6.1: the label of a ticket's secret.
const RESUMPTION: &[u8] = b"resumption";
const NEW_SESSION_TICKET: u8 = 4;
const NONCE_OCTETS: usize = 16;

thread_local! {
    /// The secret that the ticket which is being made is derived from.
    static SECRET: RefCell<Option<OkmBlock>> = const { RefCell::new(None) };
    /// What is being written is a message of the handshake.
    static HANDSHAKE: Cell<bool> = const { Cell::new(false) };
}

/// The usual cryptography, with the two additions.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        for suite in &mut provider.cipher_suites {
            if let SupportedCipherSuite::Tls13(usual) = suite {
                *suite = SupportedCipherSuite::Tls13(with_tickets(usual));
            }
        }
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

/// Made once for each suite, and kept: rustls wants them so.
fn with_tickets(usual: &'static Tls13CipherSuite) -> &'static Tls13CipherSuite {
    Box::leak(Box::new(Tls13CipherSuite {
        common: CipherSuiteCommon {
            suite: usual.common.suite,
            hash_provider: usual.common.hash_provider,
            confidentiality_limit: usual.common.confidentiality_limit,
        },
        hkdf_provider: Box::leak(Box::new(Derivation(usual.hkdf_provider))),
        aead_alg: Box::leak(Box::new(Encryption(usual.aead_alg))),
        quic: None,
    }))
}

struct Derivation(&'static dyn Hkdf);

impl Hkdf for Derivation {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        self.0.extract_from_zero_ikm(salt)
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        self.0.extract_from_secret(salt, secret)
    }

    fn extract_from_kx_shared_secret(
        &self,
        salt: Option<&[u8]>,
        kx: Box<dyn ActiveKeyExchange>,
        peer_pub_key: &[u8],
    ) -> Result<Box<dyn HkdfExpander>, rustls::Error> {
        self.0.extract_from_kx_shared_secret(salt, kx, peer_pub_key)
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        Box::new(Expander { usual: self.0.expander_for_okm(okm), secret: OkmBlock::new(okm.as_ref()) })
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> hmac::Tag {
        self.0.hmac_sign(key, message)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Expander {
    usual: Box<dyn HkdfExpander>,
    secret: OkmBlock,
}

impl HkdfExpander for Expander {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        self.usual.expand_slice(info, output)
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        if info.contains(&RESUMPTION) {
            SECRET.set(Some(OkmBlock::new(self.secret.as_ref())));
        }
        self.usual.expand_block(info)
    }

    fn hash_len(&self) -> usize {
        self.usual.hash_len()
    }
}

struct Encryption(&'static dyn Tls13AeadAlgorithm);

impl Tls13AeadAlgorithm for Encryption {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Encrypter(self.0.encrypter(key, iv)))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Encrypter(Box<dyn MessageEncrypter>);

impl MessageEncrypter for Encrypter {
    fn encrypt(
        &mut self,
        mut message: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, rustls::Error> {
        if HANDSHAKE.get() && message.typ == ContentType::ApplicationData {
            message.typ = ContentType::Handshake;
        }
        self.0.encrypt(message, seq)
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        self.0.encrypted_payload_len(payload_len)
    }
}

/// What tickets of one connection are made of.
pub(super) struct Mint {
    secret: OkmBlock,
    /// What rustls put into the first one, without its secret and what comes before and behind that.
    template: Vec<u8>,
    secret_at: usize,
}

impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mint").finish_non_exhaustive()
    }
}

impl Mint {
    /// To be called while rustls makes a ticket of `plain`; nothing if this is no ticket of TLS 1.3.
    pub(super) fn of(plain: &[u8]) -> Option<Mint> {
        let secret = SECRET.take()?;
        // A flag and perhaps a name of one octet's length, version, suite; then the secret, with its length before it.
        let name = match plain.first()? {
            0 => 0,
            _ => 1 + usize::from(*plain.get(1)?),
        };
        let secret_at = 1 + name + 2 + 2 + 1;
        let octets = secret.as_ref().len();
        if usize::from(*plain.get(secret_at - 1)?) != octets {
            return None;
        }
        let mut template = plain.to_vec();
        template.get_mut(secret_at..secret_at + octets)?.fill(0);
        Some(Mint { secret, template, secret_at })
    }

    /// A NewSessionTicket message with a ticket of its own nonce and secret. `name` comes before what is encrypted.
    fn message(
        &self,
        suite: &Tls13CipherSuite,
        tickets: &dyn ProducesTickets,
        seconds: u64,
    ) -> Option<Vec<u8>> {
        let (nonce, age_add) = (random::<NONCE_OCTETS>(), random::<4>());
        let octets = self.secret.as_ref().len();
        let expander = suite.hkdf_provider.expander_for_okm(&self.secret);
        let length = u16::try_from(octets).ok()?.to_be_bytes();
        // HkdfLabel (section 7.1): a length, a label and a context.
        let info: [&[u8]; 6] =
            [&length, &[6 + RESUMPTION.len() as u8], b"tls13 ", RESUMPTION, &[NONCE_OCTETS as u8], &nonce];
        let secret = expander.expand_block(&info);
        SECRET.take();
        let mut plain = self.template.clone();
        plain.get_mut(self.secret_at..self.secret_at + octets)?.copy_from_slice(secret.as_ref());
        // Behind all else: when it was made, and what its age is hidden by.
        let end = plain.len().checked_sub(12)?;
        plain.truncate(end);
        plain.extend_from_slice(&seconds.to_be_bytes());
        plain.extend_from_slice(&age_add);
        let ticket = tickets.encrypt(&plain)?;
        let mut body = Vec::with_capacity(ticket.len() + 64);
        body.extend_from_slice(&tickets.lifetime().to_be_bytes());
        body.extend_from_slice(&age_add);
        body.push(NONCE_OCTETS as u8);
        body.extend_from_slice(&nonce);
        body.extend_from_slice(&u16::try_from(ticket.len()).ok()?.to_be_bytes());
        body.extend_from_slice(&ticket);
        body.extend_from_slice(&[0, 0]);
        let length = u32::try_from(body.len()).ok()?.to_be_bytes();
        let head = [NEW_SESSION_TICKET, length[1], length[2], length[3]];
        Some([&head[..], &body].concat())
    }

    /// Puts one more ticket into what goes to the client. `false`: not now.
    pub(super) fn send(&self, tls: &mut Connection, tickets: &dyn ProducesTickets) -> bool {
        use std::io::Write as _;

        let Some(SupportedCipherSuite::Tls13(suite)) = tls.negotiated_cipher_suite() else { return false };
        // A message has to go whole, and what rustls takes at once has a limit.
        if tls.is_handshaking() || tls.wants_write() {
            return false;
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seconds = now.map_or(0, |now| now.as_secs());
        let Some(message) = self.message(suite, tickets, seconds) else { return false };
        HANDSHAKE.set(true);
        let written = tls.writer().write(&message);
        HANDSHAKE.set(false);
        matches!(written, Ok(octets) if octets == message.len())
    }
}

#[cfg(test)]
mod tests;
