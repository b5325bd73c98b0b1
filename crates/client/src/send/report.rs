//! What became of a message: the one object that `--json` prints, and the lines a person reads.

use std::fmt;
use std::time::{Duration, Instant};

use packetboat_message::Address;
use packetboat_wire::{Reply, ReplyClass};
use serde::Serialize;

use super::failure::{Failure, FailureKind};
use super::faults;
use super::prepare::Prepared;
use crate::net::Place;

/// What became of a message.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether every recipient will get it.
    pub ok: bool,
    /// The exit code: 0, or that of the failure.
    pub exit_code: u8,
    /// Its identifier.
    pub message_id: Option<String>,
    /// Its length in octets.
    pub size: Option<u64>,
    /// The return path; empty for none.
    pub sender: Option<String>,
    /// What became of it for each recipient.
    pub recipients: Vec<RecipientReport>,
    /// The server that took it, or that was tried last.
    pub server: Option<ServerReport>,
    /// The reply to the message itself.
    pub reply: Option<ReplyReport>,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// Servers that were tried before, and why in vain.
    pub earlier: Vec<Attempt>,
    /// How long it took.
    pub timings: Timings,
}

/// What became of a message for one recipient.
#[derive(Debug, Clone, Serialize)]
pub struct RecipientReport {
    /// The recipient.
    pub address: String,
    /// How it stands.
    pub status: RecipientStatus,
    /// The reply that decided it.
    pub reply: Option<ReplyReport>,
    /// The refusal is a matter of permission.
    #[serde(skip)]
    pub(crate) denied: bool,
}

/// How it stands with a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipientStatus {
    /// The server has taken the message for this recipient.
    Accepted,
    /// Refused for now (4yz).
    Deferred,
    /// Refused for good (5yz).
    Refused,
    /// Nothing was decided: the message did not get so far, or its fate is not known.
    Undecided,
}

/// A server, as far as it was seen.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ServerReport {
    /// Its name and port as asked for.
    pub place: String,
    /// Its address.
    pub address: String,
    /// `smtp` or `lmtp`.
    pub protocol: &'static str,
    /// What TLS was agreed on.
    pub tls: Option<TlsReport>,
    /// The login.
    pub login: Option<LoginReport>,
    /// The extensions it offers.
    pub extensions: Vec<String>,
}

/// What TLS was agreed on.
#[derive(Debug, Clone, Serialize)]
pub struct TlsReport {
    /// Protocol version, such as `TLSv1.3`.
    pub version: &'static str,
    /// Cipher suite.
    pub cipher: &'static str,
    /// Whether the server's certificate was checked.
    pub verified: bool,
}

/// A login.
#[derive(Debug, Clone, Serialize)]
pub struct LoginReport {
    /// The name.
    pub user: String,
    /// The SASL mechanism.
    pub mechanism: &'static str,
}

/// A server's reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplyReport {
    /// The three digits.
    pub code: u16,
    /// The enhanced status code.
    pub enhanced: Option<String>,
    /// The text.
    pub text: String,
}

/// A server that was tried in vain.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// Its name and port.
    pub place: String,
    /// What went wrong there.
    pub failure: Failure,
}

/// Milliseconds from the beginning to each stage, where it was reached.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Timings {
    /// The message was ready to be sent.
    pub prepared_ms: Option<u64>,
    /// The connection stood.
    pub connected_ms: Option<u64>,
    /// The server was ready for the message: greeted, TLS done, logged in.
    pub ready_ms: Option<u64>,
    /// All was over.
    pub total_ms: u64,
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl RecipientReport {
    fn undecided(address: &Address) -> RecipientReport {
        let status = RecipientStatus::Undecided;
        RecipientReport { address: address.to_string(), status, reply: None, denied: false }
    }

    /// Takes the reply that decides how it stands.
    pub(crate) fn decide(&mut self, reply: &Reply) {
        self.status = match reply.class() {
            ReplyClass::Completion => RecipientStatus::Accepted,
            ReplyClass::Permanent => RecipientStatus::Refused,
            _ => RecipientStatus::Deferred,
        };
        self.denied = faults::refusal(reply, FailureKind::NoUser) == FailureKind::Denied;
        self.reply = Some(reply.into());
    }
}

impl ServerReport {
    pub(crate) fn new(place: &Place, lmtp: bool) -> ServerReport {
        let protocol = if lmtp { "lmtp" } else { "smtp" };
        ServerReport { place: place.to_string(), protocol, ..ServerReport::default() }
    }
}

impl From<&Reply> for ReplyReport {
    fn from(reply: &Reply) -> ReplyReport {
        ReplyReport {
            code: reply.code(),
            enhanced: reply.enhanced().map(|code| code.to_string()),
            text: reply.text().to_owned(),
        }
    }
}

impl fmt::Display for ReplyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = &self.enhanced {
            write!(f, " {enhanced}")?;
        }
        write!(f, " {}", self.text.replace('\n', " / "))
    }
}

impl Report {
    pub(crate) fn new() -> Report {
        Report {
            ok: false,
            exit_code: 0,
            message_id: None,
            size: None,
            sender: None,
            recipients: Vec::new(),
            server: None,
            reply: None,
            failure: None,
            earlier: Vec::new(),
            timings: Timings::default(),
        }
    }

    /// The message is ready to be sent; nothing is known of its recipients.
    pub(crate) fn begin(&mut self, prepared: &Prepared, started: Instant) {
        self.message_id.clone_from(&prepared.message_id);
        self.size = Some(prepared.content.len());
        self.sender = Some(prepared.sender.as_ref().map(ToString::to_string).unwrap_or_default());
        self.recipients = prepared.recipients.iter().map(RecipientReport::undecided).collect();
        self.timings.prepared_ms = Some(milliseconds(started.elapsed()));
    }

    /// Another server is tried: what the one before said of the recipients does not count.
    pub(crate) fn begin_attempt(&mut self, server: ServerReport) {
        self.server = Some(server);
        self.reply = None;
        for recipient in &mut self.recipients {
            recipient.status = RecipientStatus::Undecided;
            recipient.reply = None;
        }
    }

    pub(crate) fn conclude(&mut self, result: Result<(), Failure>) {
        let failure = result.err().or_else(|| self.refusals());
        self.ok = failure.is_none();
        self.exit_code = failure.as_ref().map_or(0, |failure| failure.kind.code());
        self.failure = failure;
    }

    /// The failure that lies in what became of the recipients.
    fn refusals(&self) -> Option<Failure> {
        let count = |status| self.recipients.iter().filter(|recipient| recipient.status == status).count();
        let all = self.recipients.len();
        let accepted = count(RecipientStatus::Accepted);
        let deferred = count(RecipientStatus::Deferred);
        let failure = match (accepted, deferred) {
            (accepted, _) if accepted == all => return None,
            (0, 0) if self.recipients.iter().all(|recipient| recipient.denied) => {
                let logged_in = self.server.as_ref().is_some_and(|server| server.login.is_some());
                let hint = if logged_in { faults::NOT_FOR_YOU } else { faults::LOG_IN };
                Failure::new(FailureKind::Denied, "the server does not let you write to any recipient")
                    .hint(hint)
            }
            (0, 0) => Failure::new(FailureKind::NoUser, "the server refuses every recipient"),
            (0, _) => Failure::new(FailureKind::Temporary, "the server takes no recipient now")
                .hint("Send the message again later."),
            _ => Failure::new(
                FailureKind::Partial,
                format!("the message went to {accepted} of {all} recipients only"),
            )
            .hint("Send it again to these alone."),
        };
        Some(failure)
    }

    /// One line on a message that was taken for somebody.
    pub fn success_line(&self) -> Option<String> {
        let accepted = self.recipients.iter().filter(|r| r.status == RecipientStatus::Accepted).count();
        if accepted == 0 {
            return None;
        }
        let people = if accepted == 1 { "1 recipient".to_owned() } else { format!("{accepted} recipients") };
        let mut line = format!("Sent to {people}");
        if let Some(server) = &self.server {
            line.push_str(&format!(" by {}", server.place));
            if let Some(tls) = &server.tls {
                line.push_str(&format!(" ({})", tls.version));
            }
        }
        if let Some(reply) = &self.reply {
            line.push_str(&format!(": {reply}"));
        }
        Some(line)
    }

    /// Lines on what went wrong: what, for whom, and what to do.
    pub fn failure_lines(&self) -> Vec<String> {
        let Some(failure) = &self.failure else {
            return Vec::new();
        };
        let mut lines: Vec<String> = self
            .earlier
            .iter()
            .map(|attempt| format!("tried {}: {}", attempt.place, attempt.failure))
            .collect();
        lines.push(failure.message.clone());
        for recipient in &self.recipients {
            if let (RecipientStatus::Deferred | RecipientStatus::Refused, Some(reply)) =
                (recipient.status, &recipient.reply)
            {
                lines.push(format!("  {}: {reply}", recipient.address));
            }
        }
        lines.extend(failure.hint.clone());
        lines
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_exit_code_follows_from_the_recipients() {
        use RecipientStatus::{Accepted, Deferred, Refused};
        for (statuses, code) in [
            (&[Accepted, Accepted][..], 0),
            (&[Accepted, Refused], 79),
            (&[Deferred, Accepted], 79),
            (&[Refused, Refused], 67),
            (&[Refused, Deferred], 75),
        ] {
            let mut report = Report::new();
            report.recipients = statuses
                .iter()
                .map(|status| RecipientReport {
                    address: "a@x".to_owned(),
                    status: *status,
                    reply: None,
                    denied: false,
                })
                .collect();
            report.conclude(Ok(()));
            assert_eq!((report.exit_code, report.ok), (code, code == 0));
        }
    }

    #[test]
    fn a_person_reads_what_went_wrong_for_whom_and_what_to_do() {
        let mut report = Report::new();
        let reply =
            ReplyReport { code: 550, enhanced: Some("5.1.1".to_owned()), text: "no\nsuch user".to_owned() };
        report.recipients = vec![
            RecipientReport {
                address: "a@x".to_owned(),
                status: RecipientStatus::Accepted,
                reply: None,
                denied: false,
            },
            RecipientReport {
                address: "b@x".to_owned(),
                status: RecipientStatus::Refused,
                reply: Some(reply),
                denied: false,
            },
        ];
        report.conclude(Ok(()));
        assert_eq!(report.success_line().unwrap(), "Sent to 1 recipient");
        assert_eq!(
            report.failure_lines(),
            [
                "the message went to 1 of 2 recipients only",
                "  b@x: 550 5.1.1 no / such user",
                "Send it again to these alone.",
            ]
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["recipients"][1]["status"], "refused");
        assert_eq!(json["failure"]["kind"], "partial");
        assert_eq!(json["exit_code"], 79);
    }
}
