//! What the queue knows of a message and of each of its recipients, and how that is written down.

use std::net::IpAddr;

use packetboat_message::Address;
use packetboat_message::dsn::{RemoteReply, Status};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{MessageTag, Reach};

/// Octets kept of a text that somebody else chose: a host's name, an explanation.
const TEXT_MAX: usize = 1000;
/// Octets kept of a remote server's answer.
const REPLY_MAX: usize = 2000;
/// The way in which envelopes are written. A later one reads the earlier ones.
const VERSION: u8 = 1;

/// A message in the queue: what is the same for all its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    #[serde(rename = "v")]
    pub(super) version: u8,
    /// Its name in logs and `Received` fields.
    #[serde(rename = "t")]
    pub tag: MessageTag,
    /// Where notices about it go; `None` is the null path.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Address>,
    /// When it came, microseconds since the epoch.
    #[serde(rename = "a")]
    pub arrived_at: i64,
    /// Octets of the body as it came.
    #[serde(rename = "o")]
    pub octets: u64,
    /// How it is handed on.
    #[serde(flatten)]
    pub asked: Asked,
    /// Its Message-ID, without angle brackets.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Who submitted it.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// Where it came from.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// It is a notice itself: whatever becomes of it, nobody is told (RFC 5321 section 6.1).
    #[serde(rename = "n", default, skip_serializing_if = "is_false")]
    pub notice: bool,
}

/// What a sender asks for a message besides that it arrives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// The size announced, in octets; 0 if none was.
    #[serde(skip)]
    pub declared: u64,
    /// Where it goes at recipients here; elsewhere it is mail.
    #[serde(skip)]
    pub reach: Reach,
    /// What the body is made of.
    #[serde(rename = "b", default)]
    pub body: BodyKind,
    /// The message has an internationalised envelope or header (RFC 6531).
    #[serde(rename = "u", default, skip_serializing_if = "is_false")]
    pub smtputf8: bool,
    /// How much of it a failure notice brings back (RFC 3461 section 4.3).
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<Ret>,
    /// The sender's name for the transaction, decoded (RFC 3461 section 4.4).
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
    /// It must not travel in the clear, nor to a server that is not sure to be the right one (RFC 8689).
    #[serde(rename = "q", default, skip_serializing_if = "is_false")]
    pub require_tls: bool,
    /// It is to arrive, whatever becomes of TLS (`TLS-Required: No`, RFC 8689 section 3).
    #[serde(rename = "f", default, skip_serializing_if = "is_false")]
    pub forgo_tls: bool,
    /// By when it has to be there (RFC 2852).
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    pub by: Option<DeliverBy>,
    /// Before when it is not sent on (RFC 4865), microseconds since the epoch.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub hold_until: Option<i64>,
}

impl Asked {
    /// A message of this announced size, nothing special; 0 is an unknown size.
    pub fn sized(declared: u64) -> Asked {
        Asked { declared, ..Asked::default() }
    }
}

/// What the body of a message is made of (RFC 6152, RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum BodyKind {
    /// Lines of US-ASCII.
    #[default]
    #[serde(rename = "7")]
    SevenBit,
    /// Lines with octets over 127.
    #[serde(rename = "8")]
    EightBit,
    /// Any octets, no lines.
    #[serde(rename = "b")]
    Binary,
}

/// How much of a message a failure notice brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ret {
    /// All of it.
    #[serde(rename = "f")]
    Full,
    /// Its header.
    #[serde(rename = "h")]
    Headers,
}

/// By when a message has to be delivered (RFC 2852).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverBy {
    /// The moment, microseconds since the epoch.
    #[serde(rename = "a")]
    pub at: i64,
    /// By-mode N: when the moment has passed the sender is told and the message still travels; else it comes back.
    #[serde(rename = "n", default, skip_serializing_if = "is_false")]
    pub notify_only: bool,
    /// Each hop is to be told of with a notice (by-trace).
    #[serde(rename = "t", default, skip_serializing_if = "is_false")]
    pub trace: bool,
}

/// When the sender wants to hear of a recipient (RFC 3461 section 4.1); nothing set means never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify {
    /// When the message was delivered.
    pub success: bool,
    /// When it cannot be.
    pub failure: bool,
    /// When it takes unusually long.
    pub delay: bool,
}

impl Serialize for Notify {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (u8::from(self.success) | u8::from(self.failure) << 1 | u8::from(self.delay) << 2)
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Notify {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Notify, D::Error> {
        let bits = u8::deserialize(deserializer)?;
        Ok(Notify { success: bits & 1 != 0, failure: bits & 2 != 0, delay: bits & 4 != 0 })
    }
}

/// What a sender asks for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RcptAsked {
    /// When to tell; `None`: as usual, of failure and delay.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// The recipient as the first sender wrote it: kind of address, such as `rfc822`, and address (RFC 3461 section 4.2).
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub original: Option<(String, String)>,
}

impl RcptAsked {
    /// Whether the sender wants to hear of the success.
    pub fn wants_success(&self) -> bool {
        self.notify.is_some_and(|notify| notify.success)
    }

    /// Whether the sender wants to hear of a failure.
    pub fn wants_failure(&self) -> bool {
        self.notify.is_none_or(|notify| notify.failure)
    }

    /// Whether the sender wants to hear of a delay.
    pub fn wants_delay(&self) -> bool {
        self.notify.is_none_or(|notify| notify.delay)
    }
}

/// One recipient of a message in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rcpt {
    #[serde(rename = "v")]
    pub(super) version: u8,
    /// Who gets it.
    #[serde(rename = "a")]
    pub address: Address,
    /// What the sender asked for this recipient.
    #[serde(flatten)]
    pub asked: RcptAsked,
    /// The address it was expanded from.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub expanded_from: Option<Address>,
    /// How often it was tried.
    #[serde(rename = "c", default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// What became of the last try.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Attempt>,
    /// The sender has been told of the delay.
    #[serde(rename = "d", default, skip_serializing_if = "is_false")]
    pub delay_told: bool,
}

impl Rcpt {
    /// A recipient that has not been tried yet.
    pub fn new(address: Address, asked: RcptAsked) -> Rcpt {
        Rcpt {
            version: VERSION,
            address,
            asked,
            expanded_from: None,
            attempts: 0,
            last: None,
            delay_told: false,
        }
    }
}

/// One try to hand a message on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When, microseconds since the epoch.
    #[serde(rename = "a")]
    pub at: i64,
    /// The server, by name.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its address.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// How the connection was protected; `None`: it was not.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSeen>,
    /// Why it was not, where the server offered it and it failed.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub tls_failed: Option<String>,
    /// How far it went.
    #[serde(rename = "g")]
    pub stage: Stage,
    /// What the server answered.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<RemoteReply>,
    /// The status, where it is not the answer's own.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// What happened, in plain words for the sender and the log; may be empty where the answer says it all.
    #[serde(rename = "w", default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

impl Attempt {
    /// An attempt that got this far; the rest is set by who made it.
    pub fn new(at: i64, stage: Stage) -> Attempt {
        Attempt {
            at,
            host: None,
            address: None,
            tls: None,
            tls_failed: None,
            stage,
            reply: None,
            status: None,
            text: String::new(),
        }
    }

    /// Keeps no more of what others said than fits a row.
    pub fn bounded(mut self) -> Attempt {
        shorten(&mut self.text, TEXT_MAX);
        if let Some(why) = &mut self.tls_failed {
            shorten(why, TEXT_MAX);
        }
        if let Some(host) = &mut self.host {
            shorten(host, TEXT_MAX);
        }
        if let Some(reply) = &mut self.reply {
            shorten(&mut reply.text, REPLY_MAX);
        }
        if let Some(tls) = &mut self.tls {
            shorten(&mut tls.version, TEXT_MAX);
            shorten(&mut tls.cipher, TEXT_MAX);
        }
        self
    }
}

fn shorten(text: &mut String, max: usize) {
    text.truncate(text.floor_char_boundary(max));
}

/// How a connection was protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSeen {
    /// Such as `TLSv1.3`.
    #[serde(rename = "v")]
    pub version: String,
    /// Such as `TLS13_AES_256_GCM_SHA384`.
    #[serde(rename = "c")]
    pub cipher: String,
    /// Whether, and by what, the server was known to be the right one.
    #[serde(rename = "k")]
    pub verified: Verified,
}

/// By what a server was known to be the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verified {
    /// It was not.
    No,
    /// By a certificate that an authority vouches for.
    Pkix,
    /// By DNSSEC (RFC 7672).
    Dane,
    /// By the policy of the recipient's domain (RFC 8461).
    Sts,
}

/// How far an attempt went: what it waited for when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The name service, or the policy of the domain.
    Lookup,
    /// The connection.
    Connect,
    /// The greeting.
    Greeting,
    /// The answer to EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS and the handshake.
    Tls,
    /// Log-in.
    Auth,
    /// The answer to MAIL.
    Sender,
    /// The answer to RCPT.
    Recipient,
    /// The answer to DATA, or the body on its way.
    Data,
    /// The answer to the end of the body.
    End,
    /// Nothing: it was decided here.
    Here,
}

/// What became of one recipient in an errand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The next hop took it over.
    Delivered {
        /// How.
        attempt: Attempt,
        /// The next hop knows what the sender wants to hear and tells it (RFC 3461 section 5.2.2).
        dsn_passed: bool,
    },
    /// Not now.
    Deferred(Attempt),
    /// Never.
    Failed(Attempt),
    /// It was not tried at all, as when a connection kept from before turned out to be closed: as if nothing happened.
    Untried,
}

/// A row of the queue that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("an entry of the queue cannot be read: {0}")]
pub struct Unreadable(String);

impl Envelope {
    /// An envelope with nothing in it but what every message has.
    pub fn new(
        tag: MessageTag,
        sender: Option<Address>,
        arrived_at: i64,
        octets: u64,
        asked: Asked,
    ) -> Envelope {
        Envelope {
            version: VERSION,
            tag,
            sender,
            arrived_at,
            octets,
            asked,
            message_id: None,
            login: None,
            peer: None,
            notice: false,
        }
    }

    /// As it is kept.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads what [`Envelope::encode`] wrote, in this or an earlier version.
    pub fn decode(octets: &[u8]) -> Result<Envelope, Unreadable> {
        decode(octets, |envelope: &Envelope| envelope.version)
    }
}

impl Rcpt {
    /// As it is kept.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads what [`Rcpt::encode`] wrote, in this or an earlier version.
    pub fn decode(octets: &[u8]) -> Result<Rcpt, Unreadable> {
        decode(octets, |rcpt: &Rcpt| rcpt.version)
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Such values have no maps with strange keys, and a Vec takes everything: it does not fail.
    serde_json::to_vec(value).unwrap_or_default()
}

fn decode<T: serde::de::DeserializeOwned>(
    octets: &[u8],
    version: impl Fn(&T) -> u8,
) -> Result<T, Unreadable> {
    let value: T = serde_json::from_slice(octets).map_err(|error| Unreadable(error.to_string()))?;
    match version(&value) {
        VERSION => Ok(value),
        other => Err(Unreadable(format!("it has version {other}"))),
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn envelopes_and_recipients_read_back_as_written() {
        let asked = Asked {
            declared: 0,
            reach: Reach::Mailbox,
            body: BodyKind::EightBit,
            smtputf8: true,
            ret: Some(Ret::Headers),
            envid: Some("QQ 314".into()),
            require_tls: true,
            forgo_tls: true,
            by: Some(DeliverBy { at: 5, notify_only: true, trace: false }),
            hold_until: Some(-1),
        };
        let mut envelope = Envelope::new(MessageTag::new(1, 2), Some(address("zoë@a.example")), 7, 8, asked);
        envelope.message_id = Some("x@y".into());
        envelope.login = Some("zoë".into());
        envelope.peer = Some([192, 0, 2, 1].into());
        assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
        let plain = Envelope::new(MessageTag::new(1, 2), None, 7, 8, Asked::default());
        assert_eq!(Envelope::decode(&plain.encode()).unwrap(), plain);
        assert!(plain.encode().len() < 80, "{}", plain.encode().len());

        let notify = Some(Notify { success: true, failure: false, delay: true });
        let original = Some(("rfc822".into(), "b+c@d".into()));
        let mut rcpt = Rcpt::new(address("b@c.example"), RcptAsked { notify, original });
        assert_eq!(Rcpt::decode(&rcpt.encode()).unwrap(), rcpt);
        rcpt.attempts = 3;
        rcpt.delay_told = true;
        rcpt.expanded_from = Some(address("list@d.example"));
        let tls = TlsSeen { version: "TLSv1.3".into(), cipher: "X".into(), verified: Verified::Dane };
        rcpt.last = Some(Attempt {
            host: Some("mx.c.example".into()),
            address: Some("2001:db8::1".parse().unwrap()),
            tls: Some(tls),
            reply: Some(RemoteReply {
                code: 451,
                enhanced: Some(Status(4, 3, 2)),
                text: "later\nplease".into(),
            }),
            status: Some(Status(4, 4, 1)),
            text: "no answer".into(),
            ..Attempt::new(9, Stage::Recipient)
        });
        assert_eq!(Rcpt::decode(&rcpt.encode()).unwrap(), rcpt);
    }

    #[test]
    fn what_cannot_be_read_is_said_so() {
        for octets in [&b""[..], b"{}", b"\xff", br#"{"v":9,"a":"b@c"}"#] {
            assert!(Rcpt::decode(octets).is_err());
        }
        assert!(Rcpt::decode(br#"{"v":1,"a":"b@c.example","later":[1]}"#).is_ok());
    }

    #[test]
    fn what_others_said_is_bounded() {
        let mut attempt = Attempt::new(0, Stage::End);
        attempt.text = "ü".repeat(5000);
        attempt.reply = Some(RemoteReply { code: 550, enhanced: None, text: "x".repeat(100_000) });
        let mut rcpt = Rcpt::new(address("b@c.example"), RcptAsked::default());
        rcpt.last = Some(attempt.bounded());
        assert!(rcpt.encode().len() < 4000);
    }

    #[test]
    fn without_notify_a_sender_hears_of_trouble_only() {
        let plain = RcptAsked::default();
        assert!(!plain.wants_success() && plain.wants_failure() && plain.wants_delay());
        let never = RcptAsked { notify: Some(Notify::default()), original: None };
        assert!(!never.wants_success() && !never.wants_failure() && !never.wants_delay());
    }
}
