//! From what went wrong with a server to what a person is told, and whether the next server is tried.

use packetboat_smtp::client::{Error, Extension, Outcome, Stage};
use packetboat_wire::sasl::ClientError;
use packetboat_wire::{Reply, ReplyClass};

use super::failure::{Failure, FailureKind};
use super::report::ReplyReport;
use crate::link::LinkError;
use crate::net::{ConnectError, Place};
use crate::tls::TlsError;

/// What went wrong with one server.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) failure: Failure,
    /// Nothing has been decided about the message, so another server may do better.
    pub(crate) next: bool,
}

impl Fault {
    pub(crate) fn end(failure: Failure) -> Fault {
        Fault { failure, next: false }
    }

    fn next(failure: Failure) -> Fault {
        Fault { failure, next: true }
    }
}

pub(crate) fn connect(error: ConnectError) -> Fault {
    let (kind, hint) = match &error {
        ConnectError::NoSuchHost { .. } => (FailureKind::NoHost, "Is the server's name right?"),
        ConnectError::Unreachable(..) | ConnectError::TimedOut(..) => {
            (FailureKind::Unavailable, "Are the server and its port right, and is there a way to it?")
        }
    };
    Fault::next(Failure::new(kind, error).hint(hint))
}

pub(crate) fn tls(error: TlsError, place: &Place) -> Fault {
    let (kind, hint) = match &error {
        TlsError::Ca { .. } => (FailureKind::NoInput, None),
        TlsError::NoSystemRoots(_) => {
            (FailureKind::Config, Some("Install the package ca-certificates, or name a file with --ca."))
        }
        TlsError::Certificate { .. } => (
            FailureKind::Protocol,
            Some(
                "Is it the right server? If so, name the authority that signed with --ca, or believe it with --insecure.",
            ),
        ),
        TlsError::Handshake { .. } => (
            FailureKind::Protocol,
            Some("The port may want another kind of TLS: try --tls starttls or --tls implicit."),
        ),
    };
    // What is wrong on this machine is wrong for every server.
    let next = matches!(kind, FailureKind::Protocol);
    let mut failure = Failure::new(kind, format!("{place}: {error}"));
    failure.hint = hint.map(str::to_owned);
    Fault { failure, next }
}

pub(crate) fn link(error: LinkError, place: &Place) -> Fault {
    match error {
        LinkError::Tls(error) => tls(error, place),
        error => Fault::next(Failure::new(FailureKind::Temporary, format!("{place}: {error}"))),
    }
}

/// The session has failed. `ready` says whether the message had begun.
pub(crate) fn session(error: &Error, place: &Place, ready: bool) -> Fault {
    let said = format!("{place}: {error}");
    let failure = match error {
        Error::Refused { stage: Stage::Auth, reply } => refused_login(reply, said),
        Error::Refused { stage, reply } => {
            let kind = match (reply.class(), stage) {
                (ReplyClass::Permanent, Stage::Greeting | Stage::Hello | Stage::StartTls) => {
                    FailureKind::Unavailable
                }
                (ReplyClass::Permanent, _) => FailureKind::Data,
                _ => FailureKind::Temporary,
            };
            Failure::new(kind, said)
        }
        Error::Unexpected { .. } => Failure::new(FailureKind::Protocol, said),
        Error::NoReply(_) => Failure::new(FailureKind::Protocol, said)
            .hint("Is it a mail server? If it expects TLS at once, use --tls implicit."),
        Error::TlsNotOffered => Failure::new(FailureKind::Protocol, said)
            .hint("If the connection is safe without TLS, say so with --tls none."),
        Error::NoMechanism => Failure::new(FailureKind::Denied, said).hint(
            "Many servers let nobody log in without TLS; some ports are for mail between servers only.",
        ),
        Error::Login(ClientError::Refused(_) | ClientError::Unfit(_)) => {
            Failure::new(FailureKind::Denied, said).hint("Are the name and the password right?")
        }
        Error::Login(_) => Failure::new(FailureKind::Protocol, said).hint("Is it the right server?"),
        Error::TimedOut(_) | Error::Lost(_) if error.is_in_doubt() => {
            Failure::new(FailureKind::Temporary, said).hint(
                "The message was sent whole and may have been delivered: look before you send it again.",
            )
        }
        Error::TimedOut(Stage::Greeting) | Error::Lost(Stage::Greeting) => {
            Failure::new(FailureKind::Temporary, format!("{place}: the server says nothing"))
                .hint("If it expects TLS at once, use --tls implicit.")
        }
        Error::TimedOut(_) | Error::Lost(_) => Failure::new(FailureKind::Temporary, said),
    };
    // Another server would be given the same wrong password.
    let next = !ready && failure.kind != FailureKind::Denied;
    Fault { failure, next }
}

fn refused_login(reply: &Reply, said: String) -> Failure {
    match reply.class() {
        ReplyClass::Permanent => {
            Failure::new(FailureKind::Denied, said).hint("Are the name and the password right?")
        }
        _ => Failure::new(FailureKind::Temporary, said),
    }
}

/// What became of the message as a whole, where that is a failure.
pub(crate) fn outcome(outcome: &Outcome, place: &Place) -> Option<Fault> {
    let failure = match outcome {
        // What became of each recipient tells the rest.
        Outcome::Accepted(_) | Outcome::Delivered | Outcome::NoRecipients => return None,
        Outcome::Refused { stage, reply } => {
            let said = format!("{place}: the server refuses {stage}: {}", ReplyReport::from(reply));
            let failure = Failure::new(refusal(reply, FailureKind::Data), said);
            match failure.kind {
                FailureKind::Denied => failure.hint(LOG_IN),
                FailureKind::Temporary => failure.hint("Send the message again later."),
                _ => failure,
            }
        }
        Outcome::NotOffered(Extension::SmtpUtf8) => Failure::new(
            FailureKind::Protocol,
            format!("{place}: the server does not take addresses in UTF-8"),
        )
        .hint("Use an ASCII address of the recipient, or another server."),
        Outcome::NotOffered(extension) => {
            Failure::new(FailureKind::Protocol, format!("{place}: the server does not offer {extension:?}"))
        }
        Outcome::TooBig { max } => Failure::new(
            FailureKind::Data,
            format!("{place}: the server takes messages up to {max} octets only"),
        )
        .hint("Attachments grow by a third on their way."),
    };
    // A server that says "not now" before it has seen the message leaves the others to be asked.
    let before_message = matches!(outcome, Outcome::Refused { stage: Stage::Mail, .. });
    Some(Fault { next: before_message && failure.kind == FailureKind::Temporary, failure })
}

/// What to do where the server knows who is asking, and does not want to.
pub(crate) const NOT_FOR_YOU: &str = "The server carries no mail to these addresses for your account.";

/// What to do where the server does not want to carry the mail of somebody it does not know.
pub(crate) const LOG_IN: &str = "The server may want a login: name the account with --user.";

/// What kind of failure a refusal is; `usual` if it is for good and not a matter of permission.
pub(crate) fn refusal(reply: &Reply, usual: FailureKind) -> FailureKind {
    // 5.7.x is about security and policy (RFC 3463 section 3.8).
    let forbidden =
        matches!(reply.code(), 530 | 535 | 538) || reply.enhanced().is_some_and(|code| code.subject == 7);
    match reply.class() {
        ReplyClass::Transient => FailureKind::Temporary,
        ReplyClass::Permanent if forbidden => FailureKind::Denied,
        ReplyClass::Permanent => usual,
        _ => FailureKind::Protocol,
    }
}
