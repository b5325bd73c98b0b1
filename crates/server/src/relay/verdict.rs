//! From what a server said to what becomes of each recipient: functions of replies.

use packetboat_mail::queue::{Attempt, Stage, Verdict};
use packetboat_message::dsn::{RemoteReply, Status};
use packetboat_smtp::client::{Error, Extension, Outcome, Stage as ClientStage};
use packetboat_wire::{Reply, ReplyClass};

/// RFC 1870 section 6.1
const TOO_BIG: Status = Status(5, 3, 4);
/// RFC 3463: other or undefined network or routing status; bad connection.
const BAD_CONNECTION: Status = Status(4, 4, 2);

/// What a server has said so far about the recipients of one transaction, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// To RCPT.
    pub(super) recipients: Vec<Option<Reply>>,
    /// LMTP: to the message, for one recipient each.
    pub(super) deliveries: Vec<Option<Reply>>,
}

impl Tally {
    pub(super) fn of(recipients: usize) -> Tally {
        Tally { recipients: vec![None; recipients], deliveries: vec![None; recipients] }
    }

    fn accepted(&self) -> bool {
        self.recipients.iter().flatten().any(|reply| reply.class() == ReplyClass::Completion)
    }
}

/// The reply as notices show it.
pub(super) fn remote(reply: &Reply) -> RemoteReply {
    RemoteReply {
        code: reply.code(),
        enhanced: reply.enhanced().map(|code| Status(code.class, code.subject, code.detail)),
        text: reply.text().to_owned(),
    }
}

/// What becomes of each recipient of a transaction; `None` is one that the server asks for another transaction for (RFC
/// 5321 section 4.5.3.1.10), where there was one recipient at least that it took.
///
/// `attempt` has all that is the same for all of them. `clear_by_need` says that we would have used TLS and could not.
pub(super) fn verdicts(
    tally: &Tally,
    outcome: &Outcome,
    attempt: &Attempt,
    dsn_passed: bool,
    clear_by_need: bool,
) -> Vec<Option<Verdict>> {
    let said = |stage: Stage, reply: &Reply| Attempt { stage, reply: Some(remote(reply)), ..attempt.clone() };
    let judge = |stage: Stage, reply: &Reply| match reply.class() {
        ReplyClass::Completion => Verdict::Delivered { attempt: said(stage, reply), dsn_passed },
        // "Must issue a STARTTLS command first": next time there may be one (RFC 3207 section 4).
        ReplyClass::Permanent if clear_by_need && reply.code() == 530 => {
            Verdict::Deferred(said(stage, reply))
        }
        ReplyClass::Permanent => Verdict::Failed(said(stage, reply)),
        _ => Verdict::Deferred(said(stage, reply)),
    };
    let here = |status: Status, text: String| {
        Verdict::Failed(Attempt { stage: Stage::Here, status: Some(status), text, ..attempt.clone() })
    };
    let taken = matches!(outcome, Outcome::Accepted(_) | Outcome::Delivered) && tally.accepted();
    let one = |index: usize| {
        let at_rcpt = tally.recipients.get(index).and_then(Option::as_ref);
        match at_rcpt {
            Some(reply) if is_too_many(reply) => {
                // "the client [...] SHOULD treat" a 552 for too many recipients "as if it were a 452".
                return (!taken).then(|| Verdict::Deferred(said(Stage::Recipient, reply)));
            }
            Some(reply) if reply.class() != ReplyClass::Completion => {
                return Some(judge(Stage::Recipient, reply));
            }
            _ => {}
        }
        Some(match outcome {
            Outcome::Accepted(reply) => judge(Stage::End, reply),
            Outcome::Delivered => match tally.deliveries.get(index).and_then(Option::as_ref) {
                Some(reply) => judge(Stage::End, reply),
                None => Verdict::Deferred(Attempt { stage: Stage::End, ..attempt.clone() }),
            },
            Outcome::Refused { stage, reply } => judge(stage_of(*stage), reply),
            // Each has a reply of its own, seen above.
            Outcome::NoRecipients => {
                Verdict::Deferred(Attempt { stage: Stage::Recipient, ..attempt.clone() })
            }
            Outcome::NotOffered(extension) => {
                let (status, text) = lacking(*extension);
                here(status, text.to_owned())
            }
            Outcome::TooBig { max } => here(
                TOO_BIG,
                format!("The message is larger than the {max} octets that the next server takes."),
            ),
        })
    };
    (0..tally.recipients.len()).map(one).collect()
}

/// Whether another host of the same next hop may well take what this one has put off: it has not been sent yet, and what was
/// said is not about a mailbox, which is full everywhere.
pub(super) fn another_host_may(verdict: &Verdict) -> bool {
    let Verdict::Deferred(attempt) = verdict else { return false };
    let Some(reply) = &attempt.reply else { return false };
    matches!(attempt.stage, Stage::Sender | Stage::Recipient | Stage::Data)
        && reply.enhanced.is_none_or(|status| status.1 != 2)
}

/// What is said where the next server lacks what a message needs.
fn lacking(extension: Extension) -> (Status, &'static str) {
    match extension {
        // RFC 6531 section 3.7.4.2
        Extension::SmtpUtf8 => (
            Status(5, 6, 7),
            "The address or the header of the message has characters outside ASCII, and the next server cannot take \
             such messages (it does not offer SMTPUTF8).",
        ),
        // RFC 3463: conversion required but not supported.
        Extension::EightBitMime | Extension::BinaryMime => (
            Status(5, 6, 3),
            "The next server takes only messages of plain text, and this one cannot be rewritten as such without damage.",
        ),
        // RFC 2852 section 4.1.4.1
        Extension::DeliverBy => (
            Status(5, 3, 3),
            "The message is to come back if it is late, and the next server cannot promise that (DELIVERBY).",
        ),
        Extension::FutureRelease => (
            Status(5, 3, 3),
            "The message is to be held for a time, and the next server cannot do that (FUTURERELEASE).",
        ),
        // RFC 8689 section 4.2.1
        Extension::RequireTls => (
            Status(5, 7, 30),
            "The message must travel protected all the way (REQUIRETLS), and the next server does not promise that.",
        ),
    }
}

/// What is known of each recipient of a transaction whose end nobody has heard of.
pub(super) fn known(tally: &Tally, attempt: &Attempt) -> Vec<Option<Verdict>> {
    let judge = |stage: Stage, reply: &Reply| {
        let attempt = Attempt {
            stage,
            reply: Some(remote(reply)),
            status: None,
            text: String::new(),
            ..attempt.clone()
        };
        match reply.class() {
            ReplyClass::Completion => Verdict::Delivered { attempt, dsn_passed: false },
            ReplyClass::Permanent => Verdict::Failed(attempt),
            _ => Verdict::Deferred(attempt),
        }
    };
    let one = |(at_rcpt, at_end): (&Option<Reply>, &Option<Reply>)| match (at_rcpt, at_end) {
        (_, Some(reply)) => Some(judge(Stage::End, reply)),
        (Some(reply), None) if is_too_many(reply) => None,
        (Some(reply), None) if reply.class() != ReplyClass::Completion => {
            Some(judge(Stage::Recipient, reply))
        }
        _ => None,
    };
    tally.recipients.iter().zip(&tally.deliveries).map(one).collect()
}

/// A refusal of a recipient that means "not in this transaction".
fn is_too_many(reply: &Reply) -> bool {
    match reply.code() {
        // Also said when a disk is full; whoever means that has another code for it.
        452 => reply.enhanced().is_none_or(|code| (code.subject, code.detail) == (5, 3)),
        552 => reply.enhanced().is_some_and(|code| (code.subject, code.detail) == (5, 3)),
        _ => false,
    }
}

/// What is told of a session that came to a bad end.
pub(super) fn broken(error: &Error, attempt: &Attempt) -> Attempt {
    let mut attempt = attempt.clone();
    match error {
        Error::Refused { stage, reply } | Error::Unexpected { stage, reply } => {
            attempt.stage = stage_of(*stage);
            attempt.reply = Some(remote(reply));
            if matches!(error, Error::Unexpected { .. }) {
                attempt.text = error.to_string();
            }
        }
        Error::TimedOut(stage) | Error::Lost(stage) => {
            attempt.stage = stage_of(*stage);
            attempt.status = Some(BAD_CONNECTION);
            attempt.text = error.to_string();
        }
        Error::TlsNotOffered => {
            attempt.stage = Stage::Tls;
            attempt.status = Some(Status(4, 7, 4));
            attempt.text = error.to_string();
        }
        Error::NoMechanism | Error::Login(_) => {
            attempt.stage = Stage::Auth;
            attempt.status = Some(Status(4, 7, 0));
            attempt.text = error.to_string();
        }
        Error::NoReply(_) => {
            attempt.status = Some(Status(4, 5, 0));
            attempt.text = error.to_string();
        }
    }
    attempt
}

pub(super) fn stage_of(stage: ClientStage) -> Stage {
    match stage {
        ClientStage::Greeting => Stage::Greeting,
        ClientStage::Hello => Stage::Hello,
        ClientStage::StartTls => Stage::Tls,
        ClientStage::Auth => Stage::Auth,
        ClientStage::Ready | ClientStage::Mail | ClientStage::Reset | ClientStage::Quit => Stage::Sender,
        ClientStage::Recipient => Stage::Recipient,
        ClientStage::Data | ClientStage::Chunk => Stage::Data,
        ClientStage::End => Stage::End,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use packetboat_wire::EnhancedCode;

    use super::*;

    fn reply(text: &str) -> Reply {
        let (code, rest) = text.split_once(' ').unwrap();
        let code = code.parse().unwrap();
        match EnhancedCode::split(rest) {
            Some((enhanced, text)) => Reply::new(code, text.to_owned()).with_enhanced(enhanced),
            None => Reply::new(code, rest.to_owned()),
        }
    }

    fn tally(recipients: &[&str]) -> Tally {
        let mut tally = Tally::of(recipients.len());
        tally.recipients = recipients.iter().map(|it| (!it.is_empty()).then(|| reply(it))).collect();
        tally
    }

    fn shown(verdicts: &[Option<Verdict>]) -> String {
        let attempt = |attempt: &Attempt| match (&attempt.reply, attempt.status) {
            (Some(reply), _) => format!("{:?} {}", attempt.stage, reply.code),
            (None, Some(status)) => format!("{:?} {}.{}.{}", attempt.stage, status.0, status.1, status.2),
            (None, None) => format!("{:?}", attempt.stage),
        };
        let one = |verdict: &Option<Verdict>| match verdict {
            None => "again".to_owned(),
            Some(Verdict::Delivered { attempt: it, .. }) => format!("+ {}", attempt(it)),
            Some(Verdict::Deferred(it)) => format!("~ {}", attempt(it)),
            Some(Verdict::Failed(it)) => format!("- {}", attempt(it)),
            Some(Verdict::Untried) => "untried".to_owned(),
        };
        verdicts.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_recipient_gets_its_own_verdict() {
        let accepted = || Outcome::Accepted(reply("250 ok"));
        let refused = |stage, text| Outcome::Refused { stage, reply: reply(text) };
        use ClientStage::{Data, End, Mail};
        for (recipients, outcome, expected) in [
            (&["250 ok"][..], accepted(), "+ End 250"),
            (&["250 ok", "550 who", "451 later"], accepted(), "+ End 250, - Recipient 550, ~ Recipient 451"),
            (&["550 who", "451 later"], Outcome::NoRecipients, "- Recipient 550, ~ Recipient 451"),
            (&["", ""], refused(Mail, "550 no"), "- Sender 550, - Sender 550"),
            (&["", ""], refused(Mail, "450 no"), "~ Sender 450, ~ Sender 450"),
            (&["250 ok", "550 who"], refused(Data, "451 later"), "~ Data 451, - Recipient 550"),
            (&["250 ok", "451 later"], refused(End, "554 spam"), "- End 554, ~ Recipient 451"),
            (&["530 5.7.0 TLS first"], Outcome::NoRecipients, "- Recipient 530"),
            // So many at a time and no more.
            (&["250 ok", "452 4.5.3 many"], accepted(), "+ End 250, again"),
            (&["250 ok", "452 many"], accepted(), "+ End 250, again"),
            (&["250 ok", "552 5.5.3 many"], accepted(), "+ End 250, again"),
            (&["250 ok", "452 4.3.1 disk"], accepted(), "+ End 250, ~ Recipient 452"),
            (&["250 ok", "552 5.2.2 full"], accepted(), "+ End 250, - Recipient 552"),
            (&["452 4.5.3 many"], Outcome::NoRecipients, "~ Recipient 452"),
            (&["250 ok", "552 5.5.3 many"], refused(End, "451 x"), "~ End 451, ~ Recipient 552"),
            // Decided here.
            (&[""], Outcome::NotOffered(Extension::SmtpUtf8), "- Here 5.6.7"),
            (&[""], Outcome::NotOffered(Extension::BinaryMime), "- Here 5.6.3"),
            (&["", ""], Outcome::TooBig { max: 1 }, "- Here 5.3.4, - Here 5.3.4"),
        ] {
            let attempt = Attempt::new(0, Stage::Connect);
            let verdicts = verdicts(&tally(recipients), &outcome, &attempt, false, false);
            assert_eq!(shown(&verdicts), expected, "{recipients:?} {outcome:?}");
        }
    }

    #[test]
    fn another_host_is_asked_only_where_it_may_know_better() {
        for (stage, text, expected) in [
            (Stage::Sender, "451 try later", true),
            (Stage::Recipient, "451 4.7.1 try later", true),
            (Stage::Data, "452 4.3.1 disk full", true),
            (Stage::Recipient, "452 4.2.2 mailbox full", false),
            (Stage::Recipient, "450 4.2.0 greylisted", false),
            (Stage::End, "451 try later", false),
        ] {
            let attempt = Attempt { reply: Some(remote(&reply(text))), ..Attempt::new(0, stage) };
            assert_eq!(another_host_may(&Verdict::Deferred(attempt.clone())), expected, "{text}");
            assert!(!another_host_may(&Verdict::Failed(attempt)));
        }
        assert!(!another_host_may(&Verdict::Deferred(Attempt::new(0, Stage::Sender))));
    }

    #[test]
    fn over_lmtp_each_recipient_has_an_answer_at_the_end() {
        let mut tally = tally(&["250 ok", "550 who", "250 ok", "250 ok"]);
        tally.deliveries =
            vec![Some(reply("250 ok")), None, Some(reply("452 4.2.2 full")), Some(reply("550 no"))];
        let verdicts = verdicts(&tally, &Outcome::Delivered, &Attempt::new(0, Stage::Connect), true, false);
        assert_eq!(shown(&verdicts), "+ End 250, - Recipient 550, ~ End 452, - End 550");
    }

    #[test]
    fn who_wants_tls_is_asked_again_when_tls_failed_only_now() {
        let tally = tally(&[""]);
        let outcome = Outcome::Refused { stage: ClientStage::Mail, reply: reply("530 5.7.0 STARTTLS first") };
        let attempt = Attempt::new(0, Stage::Connect);
        assert_eq!(shown(&verdicts(&tally, &outcome, &attempt, false, true)), "~ Sender 530");
        assert_eq!(shown(&verdicts(&tally, &outcome, &attempt, false, false)), "- Sender 530");
    }

    #[test]
    fn a_broken_session_is_told_in_words() {
        let attempt = Attempt::new(0, Stage::Connect);
        let lost = broken(&Error::Lost(ClientStage::End), &attempt);
        assert_eq!((lost.stage, lost.status), (Stage::End, Some(BAD_CONNECTION)));
        assert!(lost.text.contains("lost"), "{}", lost.text);
        let refused = Error::Refused { stage: ClientStage::Greeting, reply: reply("554 no") };
        assert_eq!(broken(&refused, &attempt).reply.unwrap().code, 554);
    }
}
