//! Mail from users and programs of this machine, by the command `sendmail`.
//!
//! There are three ways in, and [`Counter`] takes the first that is open: over the admin socket to the server that runs, for
//! its own user and root; into the store, when no server runs and the user may open it; else into the
//! [drop folder](drop), where the server finds it at once when it runs ([`pickup`]), and when it starts.
//!
//! Whoever may run programs here may send to anybody, as any sender: nobody is asked for a password. The trace field says
//! which user it was.

mod counter;
pub mod drop;
mod names;
pub mod pickup;
pub mod stdio;

use jiff::Zoned;
use packetboat_mail::queue::{Asked, RcptAsked};
pub use packetboat_mail::queue::{BodyKind, Notify, Ret};
use packetboat_mail::{Intake, Origin, PostOffice, Refusal, Role};
use packetboat_message::Address;
use packetboat_message::trace::{Protocol, With};
use serde::{Deserialize, Serialize};

use crate::admin::{AdminError, ErrorKind};
use crate::session::random;

pub use counter::{Counter, HandedIn, Handing, Refused};
pub use names::Names;

/// What is known of a message besides its octets and its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Who sends it; `None` is the null sender.
    pub sender: Option<Address>,
    /// The user whose program it was, by login name.
    pub user: String,
    /// What it is made of.
    pub body: BodyKind,
    /// It needs SMTPUTF8.
    pub smtputf8: bool,
    /// How much of it a failure notice brings back.
    pub ret: Option<Ret>,
    /// The sender's name for the transaction.
    pub envid: Option<String>,
}

/// A recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rcpt {
    /// Who.
    pub address: Address,
    /// What the sender asks for.
    #[serde(flatten)]
    pub asked: RcptAsked,
}

impl Envelope {
    /// Of a message of our own.
    pub(crate) fn of(sender: Option<Address>, user: String, smtputf8: bool) -> Envelope {
        Envelope { smtputf8, ..Envelope::new(sender, user) }
    }

    /// A message of a user, plain and simple.
    pub fn new(sender: Option<Address>, user: String) -> Envelope {
        Envelope { sender, user, body: BodyKind::SevenBit, smtputf8: false, ret: None, envid: None }
    }
}

/// Random octets.
pub fn random_octets() -> [u8; 12] {
    random()
}

/// When the sender wants to be told.
pub fn notify(success: bool, failure: bool, delay: bool) -> Notify {
    Notify { success, failure, delay }
}

impl Rcpt {
    /// A recipient, and when the sender wants to be told.
    pub fn new(address: Address, notify: Option<Notify>) -> Rcpt {
        Rcpt { address, asked: RcptAsked { notify, original: None } }
    }
}

/// A message from this machine begins.
pub(crate) fn begin(office: &PostOffice, envelope: &Envelope) -> Result<Intake, Refusal> {
    let with = With { protocol: Protocol::Local, utf8: envelope.smtputf8, tls: false, authenticated: false };
    let user: String = envelope.user.chars().take(USER_MAX).collect();
    let helo = Some(user);
    let origin = Origin { role: Role::Exchange, peer: None, helo, with, tls: None, may_relay: true };
    let asked = Asked {
        body: envelope.body,
        smtputf8: envelope.smtputf8,
        ret: envelope.ret,
        envid: envelope.envid.clone(),
        ..Asked::default()
    };
    office.begin(origin, envelope.sender.clone(), asked, Zoned::now(), u64::from_ne_bytes(random()))
}

/// Who runs this process: login name and full name.
pub fn user() -> (String, String) {
    let uid = nix::unistd::getuid();
    match nix::unistd::User::from_uid(uid).ok().flatten() {
        Some(user) => {
            let gecos = user.gecos.to_string_lossy();
            // An ampersand stands for the login name (finger(1)).
            let full_name = gecos.split(',').next().unwrap_or_default().replace('&', &user.name);
            (user.name, full_name)
        }
        None => (uid.to_string(), String::new()),
    }
}

/// Characters of a user's name that are told.
const USER_MAX: usize = 64;

/// Why a message or a recipient is not taken, by who can do something about it.
pub(crate) fn refused(refusal: &Refusal) -> AdminError {
    let kind = match refusal {
        Refusal::UnknownUser | Refusal::Moved(_) | Refusal::DeadEnd(_) => ErrorKind::NoUser,
        Refusal::NoRoute(_) => ErrorKind::NoDomain,
        refusal if refusal.is_temporary() => ErrorKind::Temporary,
        Refusal::OverQuota => ErrorKind::Temporary,
        Refusal::TooLarge(_) | Refusal::Loop(_) => ErrorKind::Data,
        _ => ErrorKind::Unavailable,
    };
    AdminError::new(kind, refusal.to_string())
}

/// What the log says of a message that was taken.
pub(crate) fn log_accepted(envelope: &Envelope, accepted: &packetboat_mail::Accepted) {
    let sender = envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default();
    for (recipient, outcome) in &accepted.outcomes {
        let (tag, user, recipient) = (accepted.tag, &envelope.user, recipient.address.to_string());
        match outcome {
            Ok(()) => tracing::info!(%tag, user, sender, recipient, "delivered"),
            Err(refusal) => {
                let reason = refusal.to_string();
                tracing::info!(%tag, user, sender, recipient, reason, "refused");
            }
        }
    }
}
