//! The story of a message: what happened to it, event by event, told to whoever keeps it.
//!
//! Whoever runs the post office may hand it a [`Sink`] ([`PostOffice::tell_to`]). Events name people and servers, and hold
//! neither a message's text nor anything by which somebody logs in.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use packetboat_message::Address;
use packetboat_message::dsn::{Kind, Status};
use serde::{Deserialize, Serialize};

use crate::queue::{Attempt, Stage, TlsSeen};
use crate::{MessageTag, PostOffice};

/// Recipients told of in one event; of the rest, how many there are.
pub const RECIPIENTS_MAX: usize = 100;
/// Octets kept of a text that somebody else chose.
pub const TEXT_MAX: usize = 1000;

/// Takes events. It must return at once, whatever becomes of them: deliveries wait for it.
pub trait Sink: fmt::Debug + Send + Sync {
    /// Something happened.
    fn tell(&self, event: Event);
}

/// Something that happened to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in microseconds since the epoch.
    pub at: i64,
    /// The message's name; what is refused at once has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<MessageTag>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// It was taken over: it is on disk.
    Accepted(Box<Taken>),
    /// A sender, a recipient or the message was refused.
    Refused(Box<Refused>),
    /// It was tried to hand it on.
    Tried(Box<Tried>),
    /// What waited for its time is in the mailbox here.
    Arrived {
        /// For whom.
        to: Address,
    },
    /// It is not tried any more.
    GivenUp {
        /// For whom.
        to: Address,
        /// Why, in words.
        why: String,
    },
    /// Its sender was told of it.
    Told {
        /// The name of the notice, a message itself.
        notice: MessageTag,
        /// What it says: `failed`, `delayed`, `delivered`, `relayed` or `expanded`.
        kind: Cow<'static, str>,
        /// Who was told.
        to: Address,
        /// Of whom; the first [`RECIPIENTS_MAX`].
        about: Vec<Address>,
    },
    /// The operator did something with it in the queue.
    Operated {
        /// For whom it is.
        to: Address,
        /// What: `held`, `released`, `cancelled`, `to be tried now`, or `sent by` another way.
        action: String,
    },
}

/// A message that was taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Who sent it; nobody: the null path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Address>,
    /// Who had logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// Where it came from; nothing: from this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// What the peer called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helo: Option<String>,
    /// By which protocol it came.
    pub with: Cow<'static, str>,
    /// TLS version and cipher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<(Cow<'static, str>, Cow<'static, str>)>,
    /// Octets as it came.
    pub octets: u64,
    /// Its Message-ID, without angle brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// For whom; the first [`RECIPIENTS_MAX`].
    pub recipients: Vec<Recipient>,
    /// How many more recipients there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
    /// Its rows of the queue; the first [`RECIPIENTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queue: Vec<u64>,
}

/// A recipient of a message that was taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// As the peer named it.
    pub to: Address,
    /// Where it leads.
    #[serde(flatten)]
    pub place: Place,
    /// Who stands behind it, where it is an alias; the first [`RECIPIENTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<Recipient>,
}

/// Where a recipient leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "place", rename_all = "kebab-case")]
pub enum Place {
    /// To a mailbox here.
    Mailbox,
    /// Into the queue, for this next hop.
    Queue {
        /// Which.
        hop: String,
    },
    /// To those who stand behind it.
    Alias,
    /// Nowhere.
    Nowhere {
        /// Why.
        why: String,
    },
}

/// What was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The sender, as the peer named it; empty: the null path.
    pub from: String,
    /// The recipient, if it is one that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who had logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// Why.
    pub why: String,
    /// Whether it may be tried again later.
    pub for_now: bool,
}

/// A try to hand a message on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// For whom.
    pub to: Address,
    /// What came of it.
    pub became: Became,
    /// The server, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// How the connection was protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Why it was not, where the server offered it and it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_failed: Option<String>,
    /// How far it went.
    pub stage: Stage,
    /// What the server said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// The status, where it is not the answer's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What happened, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// When it is tried again, in microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<i64>,
}

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Became {
    /// The next hop has it.
    Delivered,
    /// Not now.
    Deferred,
    /// Never.
    Failed,
}

/// How a connection was protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Such as `TLSv1.3`.
    pub version: String,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Whether, and by what, the server was known to be the right one.
    pub verified: crate::queue::Verified,
}

impl Tried {
    pub(crate) fn new(to: Address, became: Became, attempt: &Attempt, next_at: Option<i64>) -> Box<Tried> {
        Box::new(Tried {
            to,
            became,
            host: attempt.host.clone(),
            address: attempt.address,
            tls: attempt.tls.as_ref().map(|TlsSeen { version, cipher, verified }| Tls {
                version: version.clone(),
                cipher: cipher.clone(),
                verified: *verified,
            }),
            tls_failed: attempt.tls_failed.clone(),
            stage: attempt.stage,
            reply: attempt.reply.as_ref().map(ToString::to_string),
            status: attempt.status,
            text: attempt.text.clone(),
            next_at,
        })
    }
}

/// The word for a kind of notice.
pub(crate) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "failed",
        Kind::Delayed => "delayed",
        Kind::Delivered => "delivered",
        Kind::Relayed => "relayed",
        Kind::Expanded => "expanded",
    }
}

/// No more of a text than is kept.
pub fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl PostOffice {
    /// From now on, what happens to messages is told to `sink`. There is one at most; the first stays.
    pub fn tell_to(&self, sink: std::sync::Arc<dyn Sink>) {
        let _ = self.shared.story.set(sink);
    }

    /// Tells of an event, if anybody listens.
    pub fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(sink) = self.shared.story.get() {
            sink.tell(event());
        }
    }
}
