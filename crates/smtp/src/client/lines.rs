//! Command lines as a client writes them.

use std::fmt::{self, Write};

use packetboat_message::Address;

use crate::command::xtext;
use crate::envelope::{BodyKind, ForwardPath, Notify, Recipient, Ret, Sender, Submitter};

use super::Capabilities;

/// Appends a command line. What would break it becomes `?`: no value, wherever it comes from, can bring a command of
/// its own.
pub(super) fn push_line(output: &mut Vec<u8>, line: &str) {
    output.extend(line.bytes().map(|octet| if octet < b' ' || octet == 0x7f { b'?' } else { octet }));
    output.extend_from_slice(b"\r\n");
}

/// `MAIL FROM:<path> parameters`, with those the server offers.
pub(super) fn mail(sender: &Sender, server: &Capabilities) -> String {
    let mut line = format!("{} FROM:<", sender.target.verb());
    // Writing to a string does not fail.
    let _ = write_mail(&mut line, sender, server);
    line
}

/// `RCPT TO:<path> parameters`, with those the server offers.
pub(super) fn rcpt(recipient: &Recipient, sender: &Sender, server: &Capabilities) -> String {
    let mut line = "RCPT TO:<".to_owned();
    let _ = write_rcpt(&mut line, recipient, sender, server);
    line
}

fn write_mail(line: &mut String, sender: &Sender, server: &Capabilities) -> fmt::Result {
    if let Some(path) = &sender.path {
        write_address(line, path, sender.smtputf8)?;
    }
    line.push('>');
    if let Some(size) = sender.size.filter(|_| server.size) {
        write!(line, " SIZE={size}")?;
    }
    let sayable = match sender.body {
        BodyKind::SevenBit => false,
        BodyKind::EightBit => server.eight_bit_mime,
        BodyKind::Binary => server.binary_mime,
    };
    if sayable {
        write!(line, " BODY={}", sender.body.as_str())?;
    }
    if sender.smtputf8 {
        line.push_str(" SMTPUTF8");
    }
    if !server.mechanisms.is_empty() {
        match &sender.submitter {
            Submitter::Unsaid => {}
            Submitter::Unknown => line.push_str(" AUTH=<>"),
            Submitter::Mailbox(mailbox) => {
                line.push_str(" AUTH=");
                xtext::encode(line, &mailbox.to_string())?;
            }
        }
    }
    if server.dsn {
        match sender.ret {
            None => {}
            Some(Ret::Full) => line.push_str(" RET=FULL"),
            Some(Ret::Headers) => line.push_str(" RET=HDRS"),
        }
        if let Some(envid) = &sender.envid {
            line.push_str(" ENVID=");
            xtext::encode(line, envid)?;
        }
    }
    if let Some(by) = sender.deliver_by.filter(|_| server.deliver_by) {
        write!(line, " BY={by}")?;
    }
    if let Some(hold) = sender.hold.filter(|_| server.future_release.is_some()) {
        write!(line, " {hold}")?;
    }
    if sender.require_tls && server.require_tls {
        line.push_str(" REQUIRETLS");
    }
    Ok(())
}

fn write_rcpt(
    line: &mut String,
    recipient: &Recipient,
    sender: &Sender,
    server: &Capabilities,
) -> fmt::Result {
    match &recipient.path {
        ForwardPath::Mailbox(address) => write_address(line, address, sender.smtputf8)?,
        ForwardPath::Postmaster => line.push_str("Postmaster"),
    }
    line.push('>');
    if !server.dsn {
        return Ok(());
    }
    if let Some(notify) = notify(recipient, sender, server) {
        write!(line, " NOTIFY={notify}")?;
    }
    if let Some(original) = &recipient.original {
        line.push_str(" ORCPT=");
        xtext::encode(line, &original.kind)?;
        line.push(';');
        xtext::encode(line, &original.address)?;
    }
    Ok(())
}

/// A server that cannot see to the time of delivery is at least to say when it takes long (RFC 2852 section 4.1.4.2).
fn notify(recipient: &Recipient, sender: &Sender, server: &Capabilities) -> Option<Notify> {
    let blind = sender.deliver_by.is_some() && !server.deliver_by;
    match recipient.notify {
        None if blind => Some(Notify { success: false, failure: true, delay: true }),
        Some(notify) if blind && notify != Notify::default() => Some(Notify { delay: true, ..notify }),
        asked => asked,
    }
}

/// The domain goes in A-labels unless the message is internationalised (RFC 6531 section 3.2).
fn write_address(line: &mut String, address: &Address, smtputf8: bool) -> fmt::Result {
    if smtputf8 {
        write!(line, "{address}")
    } else {
        write!(line, "{}@{}", address.local(), address.domain().to_ascii())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;
    use packetboat_wire::sasl::Mechanism;

    use super::super::FutureRelease;
    use super::*;
    use crate::command::{self, Command, Offered, Strictness};
    use crate::envelope::{DeliverBy, Hold, Late, OriginalRecipient, Target};

    fn everything() -> Capabilities {
        Capabilities {
            size: true,
            eight_bit_mime: true,
            binary_mime: true,
            dsn: true,
            deliver_by: true,
            future_release: Some(FutureRelease { longest: 1000, until: Timestamp::MAX }),
            require_tls: true,
            mechanisms: vec![Mechanism::Plain],
            ..Capabilities::default()
        }
    }

    fn full_sender() -> Sender {
        Sender {
            target: Target::TerminalAndMailbox,
            path: Some(Address::parse("jos\u{e9}@b\u{fc}cher.example").unwrap()),
            size: Some(1234),
            body: BodyKind::EightBit,
            smtputf8: true,
            submitter: Submitter::Mailbox(Address::parse("e=mc2@b.example").unwrap()),
            ret: Some(Ret::Headers),
            envid: Some("a b+c".into()),
            deliver_by: Some(DeliverBy { seconds: -7, late: Late::Notify, trace: true }),
            hold: Some(Hold::Until("2026-12-24T18:00:00Z".parse().unwrap())),
            require_tls: true,
        }
    }

    fn full_recipient() -> Recipient {
        Recipient {
            path: ForwardPath::Mailbox(Address::parse("\"a b\"@c.example").unwrap()),
            notify: Some(Notify { success: true, failure: true, delay: false }),
            original: Some(OriginalRecipient { kind: "rfc822".into(), address: "a+b@c.example".into() }),
        }
    }

    #[test]
    fn what_a_client_writes_a_server_reads() {
        let offered =
            Offered { auth: true, dsn: true, deliver_by: true, future_release: true, require_tls: true };
        let line = mail(&full_sender(), &everything());
        let read = command::parse(line.as_bytes(), Strictness::Strict, &offered);
        assert_eq!(read, Ok(Command::Mail(full_sender())), "{line}");
        let line = rcpt(&full_recipient(), &full_sender(), &everything());
        let read = command::parse(line.as_bytes(), Strictness::Strict, &offered);
        let expected = Command::Rcpt { recipient: full_recipient(), needs_utf8: false };
        assert_eq!(read, Ok(expected), "{line}");
    }

    #[test]
    fn what_is_not_offered_is_not_said() {
        let nothing = Capabilities::default();
        let sender = Sender { target: Target::Mailbox, smtputf8: false, ..full_sender() };
        assert_eq!(mail(&sender, &nothing), "MAIL FROM:<jos\u{e9}@xn--bcher-kva.example>");
        assert_eq!(mail(&Sender::default(), &everything()), "MAIL FROM:<>");
        assert_eq!(rcpt(&full_recipient(), &sender, &nothing), "RCPT TO:<\"a b\"@c.example>");
    }

    #[test]
    fn a_server_that_does_not_see_to_the_time_is_asked_to_tell_of_delay() {
        let plain = Recipient { notify: None, original: None, ..full_recipient() };
        let notify = |success, failure| Some(Notify { success, failure, delay: false });
        let server = Capabilities { dsn: true, ..Capabilities::default() };
        for (notify, expected) in [
            (None, " NOTIFY=FAILURE,DELAY"),
            (notify(true, false), " NOTIFY=SUCCESS,DELAY"),
            (notify(false, false), " NOTIFY=NEVER"),
        ] {
            let line = rcpt(&Recipient { notify, ..plain.clone() }, &full_sender(), &server);
            assert!(line.ends_with(expected), "{line}");
        }
        assert_eq!(rcpt(&plain, &full_sender(), &everything()), "RCPT TO:<\"a b\"@c.example>");
        assert_eq!(rcpt(&plain, &Sender::default(), &server), "RCPT TO:<\"a b\"@c.example>");
    }

    #[test]
    fn a_line_stays_one_line() {
        let mut output = Vec::new();
        push_line(&mut output, "EHLO x\r\nMAIL FROM:<>\0");
        assert_eq!(output, b"EHLO x??MAIL FROM:<>?\r\n");
    }
}
