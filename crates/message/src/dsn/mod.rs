//! Delivery status notifications: the letter that tells a sender what became of a message (RFC 3461 section 6, RFC 3464,
//! RFC 6522, for internationalised mail RFC 6533).
//!
//! A [`Report`] says what has happened and is written as two pieces, [`Report::before`] and [`Report::after`]: between them
//! stands the message that comes back, which its owner streams, so that a notice costs no more memory for a long message
//! than for a short one. First in it are plain words for a person, then the same for programs; [`DeliveryStatus`] reads
//! the latter.
//!
//! What a report does not decide is whether it may be sent at all: never for a null sender, never for what is a notice
//! itself (RFC 5321 section 6.1), and only as NOTIFY allows.

mod meaning;
mod parse;
mod status;
#[cfg(test)]
mod tests;
mod unitext;
mod words;
mod write;

use jiff::{Timestamp, Zoned};

use crate::{Address, Domain};

pub use parse::{DeliveryStatus, RecipientStatus};
pub use status::{InvalidStatus, RemoteReply, Status};
pub use unitext::{from_unitext, to_unitext};

/// Recipients in one report at most; those of a message with more go into several reports.
pub const RECIPIENTS_MAX: usize = 500;
/// Octets of a header that come back at most; what is longer is left off at the end of a field.
pub const HEADER_MAX: usize = 64 << 10;
/// Octets of a remote server's answer that are passed on at most.
pub const REPLY_MAX: usize = 2000;

/// What has happened to a recipient's copy (RFC 3464 section 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// It was given up.
    Failed,
    /// It has not been delivered yet, and will be tried further.
    Delayed,
    /// It lies in the mailbox.
    Delivered,
    /// It was handed to a server that will not report on it.
    Relayed,
    /// It was delivered to an alias and went on to the addresses behind it.
    Expanded,
}

/// A notice about one message.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// What it is mainly about: it chooses the subject and the first words. Its recipients may have other actions.
    pub kind: Kind,
    /// This host.
    pub reporting_mta: &'a Domain,
    /// Who answers for this host, usually its postmaster: a person, whom an answer reaches.
    pub from: &'a Address,
    /// The sender of the message, from its envelope.
    pub to: &'a Address,
    /// The sender's name for the transaction, decoded (ENVID).
    pub envid: Option<&'a str>,
    /// When the message came to this host.
    pub arrived_at: Option<Timestamp>,
    /// The server or program it came from, as it called itself.
    pub received_from: Option<&'a str>,
    /// Randomness: for the boundary between the parts, and for the Message-ID.
    pub seed: [u8; 12],
    /// Now, in the zone in which times are told.
    pub now: &'a Zoned,
    /// Whether the notice may travel as internationalised mail (SMTPUTF8), which it may where the message did so.
    pub utf8: bool,
    /// To whom it has happened; at most [`RECIPIENTS_MAX`] are told of.
    pub recipients: &'a [ReportRecipient<'a>],
    /// What comes back of the message.
    pub original: Original<'a>,
}

/// One recipient in a report.
#[derive(Debug, Clone)]
pub struct ReportRecipient<'a> {
    /// The recipient as the first sender wrote it, decoded: kind of address and address (ORCPT). `None` where it was not
    /// said: nothing may be made up for it (RFC 3461 section 6.3).
    pub original: Option<(&'a str, &'a str)>,
    /// The recipient as it was in the envelope that came here.
    pub address: &'a Address,
    /// What has happened.
    pub action: Kind,
    /// Why.
    pub status: Status,
    /// The server that answered, by name; `None` where none was asked.
    pub remote: Option<&'a str>,
    /// What it answered.
    pub diagnostic: Option<&'a RemoteReply>,
    /// What has happened, in plain words. Where it is empty, the status is put in words.
    pub explanation: &'a str,
    /// When it was last tried.
    pub last_attempt_at: Option<Timestamp>,
    /// Until when it will be tried; told only of what is delayed.
    pub will_retry_until: Option<Timestamp>,
    /// Under which name the logs of this host have it.
    pub log_id: Option<&'a str>,
}

/// What a report brings back of the message.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// Its header, with whatever was put before it here.
    pub header: &'a [u8],
    /// Whether all of it shall come back (RET=FULL). See [`Report::returns_full`] for whether it does.
    pub full: bool,
    /// What it is made of.
    pub content: Content,
    /// It came as internationalised mail (SMTPUTF8).
    pub utf8: bool,
}

/// What a message is made of; the same as its BODY parameter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Lines of ASCII.
    SevenBit,
    /// Lines with octets above 127.
    EightBit,
    /// Any octets.
    Binary,
}

impl Report<'_> {
    /// The notice up to where the message stands that comes back. Without such a message it is all but [`after`].
    ///
    /// [`after`]: Report::after
    pub fn before(&self) -> Vec<u8> {
        write::before(self)
    }

    /// What follows the message that comes back.
    pub fn after(&self) -> Vec<u8> {
        write::after(self)
    }

    /// Whether the whole message, header and body, has to be put between [`Report::before`] and [`Report::after`].
    ///
    /// Only a notice of failure brings back more than the header (RFC 3461 section 6.2), and nothing that could only
    /// travel as BINARYMIME does.
    pub fn returns_full(&self) -> bool {
        let failed = self.told().iter().any(|recipient| recipient.action == Kind::Failed);
        self.original.full && failed && self.original.content != Content::Binary
    }

    /// Whether the notice has to travel as SMTPUTF8: there is more than ASCII in its header.
    pub fn needs_utf8(&self) -> bool {
        write::needs_utf8(self)
    }

    /// Whether there is more than ASCII in the notice (BODY=8BITMIME).
    pub fn is_eight_bit(&self) -> bool {
        (self.returns_full() && self.original.content == Content::EightBit) || !self.before().is_ascii()
    }

    fn told(&self) -> &[ReportRecipient<'_>] {
        self.recipients.get(..RECIPIENTS_MAX).unwrap_or(self.recipients)
    }
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::Failed, Kind::Delayed, Kind::Delivered, Kind::Relayed, Kind::Expanded];

    /// The word of the Action field.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Delayed => "delayed",
            Kind::Delivered => "delivered",
            Kind::Relayed => "relayed",
            Kind::Expanded => "expanded",
        }
    }

    fn named(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }
}
