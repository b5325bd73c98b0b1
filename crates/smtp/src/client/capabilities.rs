//! What a server offers: the answer to EHLO (RFC 5321 section 4.1.1.1).

use jiff::Timestamp;
use packetboat_wire::Reply;
use packetboat_wire::sasl::Mechanism;

use crate::envelope::{Hold, Late, Sender};

use super::Extension;

/// Mechanisms that are remembered at most; there are not that many.
const MECHANISMS_MAX: usize = 16;

/// What a server offers. Empty after HELO.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870).
    pub size: bool,
    /// The largest message, if SIZE names it.
    pub max_size: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030).
    pub binary_mime: bool,
    /// DSN (RFC 3461). Without it nobody after us tells the sender of anything but failure, so that a message which was
    /// to be followed ends for its sender with our "relayed" (RFC 3461 section 5.2.2).
    pub dsn: bool,
    /// DELIVERBY (RFC 2852). Without it a message that is only to be told of when it is late may go all the same, with
    /// a "relayed" from us (section 4.1.4.2).
    pub deliver_by: bool,
    /// Seconds that a message has to have at least which is to be returned if it is late, if DELIVERBY names it.
    pub deliver_by_least: Option<u32>,
    /// FUTURERELEASE (RFC 4865).
    pub future_release: Option<FutureRelease>,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// ETRN (RFC 1985).
    pub etrn: bool,
    /// ATRN (RFC 2645).
    pub atrn: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// AUTH (RFC 4954) with the mechanisms known here.
    pub mechanisms: Vec<Mechanism>,
    /// Recipients a message may have (RFC 9422, RCPTMAX).
    pub max_recipients: Option<u32>,
    /// Messages a connection may have (RFC 9422, MAILMAX).
    pub max_messages: Option<u32>,
}

/// How long a server holds messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FutureRelease {
    /// Seconds at most.
    pub longest: u32,
    /// By the server's clock, until when at most.
    pub until: Timestamp,
}

impl Capabilities {
    /// The first of the extensions that this message cannot do without and the server does not offer, or not to this
    /// extent. BODY is not looked at here.
    pub(super) fn missing(&self, sender: &Sender) -> Option<Extension> {
        if sender.smtputf8 && !self.smtputf8 {
            return Some(Extension::SmtpUtf8);
        }
        // A notice is better sent in the clear than lost (RFC 8689 section 5).
        if sender.require_tls && !self.require_tls && sender.path.is_some() {
            return Some(Extension::RequireTls);
        }
        // "MUST NOT be relayed to a SMTP server which does not support the Deliver By SMTP service extension.
        // Moreover, the server to which it is relayed MUST NOT have a fixed minimum by-time which is greater than the
        // time remaining" (RFC 2852 section 4.1.4.1).
        if let Some(by) = sender.deliver_by.filter(|by| by.late == Late::Return) {
            let seconds = u32::try_from(by.seconds).unwrap_or(0);
            if !self.deliver_by || seconds == 0 || self.deliver_by_least.is_some_and(|least| seconds < least)
            {
                return Some(Extension::DeliverBy);
            }
        }
        let held = match (sender.hold, self.future_release) {
            (None, _) => true,
            (Some(Hold::For(seconds)), Some(server)) => seconds <= server.longest,
            (Some(Hold::Until(moment)), Some(server)) => moment <= server.until,
            (Some(_), None) => false,
        };
        if held { None } else { Some(Extension::FutureRelease) }
    }

    /// Reads the answer to EHLO or LHLO.
    pub fn parse(reply: &Reply) -> Capabilities {
        let mut capabilities = Capabilities::default();
        // The first line is the server's name.
        for line in reply.lines().skip(1) {
            capabilities.add(line);
        }
        capabilities
    }

    fn add(&mut self, line: &str) {
        // Servers of the last century say AUTH=LOGIN.
        let (keyword, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
        match keyword.to_ascii_uppercase().as_str() {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => {
                self.size = true;
                // "a value of 0 indicates that no fixed maximum message size is in force" (RFC 1870 section 3).
                self.max_size = rest.trim().parse().ok().filter(|&max| max > 0);
            }
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "CHUNKING" => self.chunking = true,
            "BINARYMIME" => self.binary_mime = true,
            "DSN" => self.dsn = true,
            "DELIVERBY" => {
                self.deliver_by = true;
                // `min-by-time *( ',' extension-token )`
                self.deliver_by_least = rest.split(',').next().and_then(positive);
            }
            "FUTURERELEASE" => {
                let mut words = rest.split_ascii_whitespace();
                let (longest, until) = (words.next().and_then(positive), words.next());
                self.future_release = longest
                    .zip(until.and_then(|until| until.parse().ok()))
                    .map(|(longest, until)| FutureRelease { longest, until });
            }
            "REQUIRETLS" => self.require_tls = true,
            "ETRN" => self.etrn = true,
            "ATRN" => self.atrn = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "STARTTLS" => self.starttls = true,
            "AUTH" => {
                for mechanism in rest.split_ascii_whitespace().filter_map(Mechanism::parse) {
                    if !self.mechanisms.contains(&mechanism) && self.mechanisms.len() < MECHANISMS_MAX {
                        self.mechanisms.push(mechanism);
                    }
                }
            }
            "LIMITS" => {
                for limit in rest.split_ascii_whitespace() {
                    match limit.split_once('=') {
                        Some(("RCPTMAX", n)) => self.max_recipients = positive(n),
                        Some(("MAILMAX", n)) => self.max_messages = positive(n),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

fn positive(number: &str) -> Option<u32> {
    number.trim().parse().ok().filter(|&n| n > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::envelope::DeliverBy;

    #[test]
    fn what_a_message_cannot_do_without() {
        let by = |seconds, late| Sender {
            deliver_by: Some(DeliverBy { seconds, late, trace: false }),
            ..Sender::default()
        };
        let hold = |hold| Sender { hold: Some(hold), ..Sender::default() };
        let until = |text: &str| hold(Hold::Until(text.parse().unwrap()));
        let from = packetboat_message::Address::parse("a@b.example").ok();
        let tls = |path| Sender { path, require_tls: true, ..Sender::default() };
        let server = Capabilities {
            deliver_by: true,
            deliver_by_least: Some(60),
            future_release: Some(FutureRelease {
                longest: 100,
                until: "2026-12-24T18:00:00Z".parse().unwrap(),
            }),
            require_tls: true,
            ..Capabilities::default()
        };
        for (sender, by_nothing, by_all) in [
            (Sender::default(), None, None),
            (tls(from), Some(Extension::RequireTls), None),
            (tls(None), None, None),
            (by(60, Late::Return), Some(Extension::DeliverBy), None),
            (by(59, Late::Return), Some(Extension::DeliverBy), Some(Extension::DeliverBy)),
            (by(-1, Late::Return), Some(Extension::DeliverBy), Some(Extension::DeliverBy)),
            (by(-1, Late::Notify), None, None),
            (hold(Hold::For(100)), Some(Extension::FutureRelease), None),
            (hold(Hold::For(101)), Some(Extension::FutureRelease), Some(Extension::FutureRelease)),
            (until("2026-12-24T18:00:00Z"), Some(Extension::FutureRelease), None),
            (until("2026-12-24T18:00:01Z"), Some(Extension::FutureRelease), Some(Extension::FutureRelease)),
        ] {
            assert_eq!(Capabilities::default().missing(&sender), by_nothing, "{sender:?}");
            assert_eq!(server.missing(&sender), by_all, "{sender:?}");
        }
    }

    #[test]
    fn what_servers_say() {
        let reply = Reply::multi(
            250,
            [
                "PIPELINING is my name",
                "size 1000",
                "8BITMIME",
                "SmtpUtf8",
                "CHUNKING",
                "BINARYMIME",
                "DSN",
                "DELIVERBY 240,X",
                "FUTURERELEASE 86400 2026-12-24T18:00:00Z",
                "REQUIRETLS",
                "ETRN",
                "atrn",
                "ENHANCEDSTATUSCODES",
                "STARTTLS",
                "AUTH PLAIN XYZZY LOGIN",
                "AUTH=LOGIN SCRAM-SHA-256",
                "LIMITS RCPTMAX=100 MAILMAX=0 OTHER",
                "X-UNKNOWN 7",
                "",
            ],
        );
        assert_eq!(
            Capabilities::parse(&reply),
            Capabilities {
                pipelining: false,
                size: true,
                max_size: Some(1000),
                eight_bit_mime: true,
                smtputf8: true,
                chunking: true,
                binary_mime: true,
                dsn: true,
                deliver_by: true,
                deliver_by_least: Some(240),
                future_release: Some(FutureRelease {
                    longest: 86400,
                    until: "2026-12-24T18:00:00Z".parse().unwrap()
                }),
                require_tls: true,
                etrn: true,
                atrn: true,
                enhanced_status_codes: true,
                starttls: true,
                mechanisms: vec![Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256],
                max_recipients: Some(100),
                max_messages: None,
            }
        );
        let unlimited = Reply::multi(250, ["x", "SIZE 0", "PIPELINING"]);
        let unlimited = Capabilities::parse(&unlimited);
        assert_eq!((unlimited.size, unlimited.max_size, unlimited.pipelining), (true, None, true));
    }
}
