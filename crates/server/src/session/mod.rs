//! One thin file per protocol: where a conversation and the post office meet.
//!
//! A session file carries an event to whoever decides and carries the verdict back. It decides nothing.

mod ftp;
mod imap;
mod login;
mod pop3;
pub(crate) mod smtp;

use std::sync::Arc;

use packetboat_account::Authenticator;
use packetboat_mail::PostOffice;

use crate::peers::Peers;
use crate::relay::{Relay, TrustedNetworks};

pub use ftp::{
    Announcing, Clients, Depot, Doors, FtpService, Links, OnePort, Owners, Waiting, check_authorities,
};
pub use imap::ImapService;
pub use pop3::Pop3Service;
pub use smtp::SmtpService;

/// What the sessions of all protocols share.
#[derive(Debug, Clone)]
pub struct Counter {
    /// Where mail goes and comes from.
    pub office: PostOffice,
    /// Who checks log-ins.
    pub authenticator: Authenticator,
    /// Who may send to everybody without a login.
    pub trusted: Arc<TrustedNetworks>,
    /// Servers that fetch their mail.
    pub peers: Peers,
    /// Who carries mail to other servers.
    pub relay: Arc<Relay>,
}

/// `N` random octets.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    // Without randomness nothing here is safe: a nonce of zeroes would be worse than an ended connection.
    #[expect(clippy::expect_used, reason = "the driver turns the panic into the end of this one connection")]
    aws_lc_rs::rand::fill(&mut octets).expect("the system gives random octets");
    octets
}
