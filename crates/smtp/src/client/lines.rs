//! Command lines as a client writes them.

use std::fmt::{self, Write};

use packetboat_message::Address;

use crate::command::xtext;
use crate::envelope::{BodyKind, ForwardPath, Recipient, Ret, Sender, Submitter};

use super::Capabilities;

/// Appends a command line. What would break it becomes `?`: no value, wherever it comes from, can bring a command of
/// its own.
pub(super) fn push_line(output: &mut Vec<u8>, line: &str) {
    output.extend(line.bytes().map(|octet| if octet < b' ' || octet == 0x7f { b'?' } else { octet }));
    output.extend_from_slice(b"\r\n");
}

/// `MAIL FROM:<path> parameters`, with those the server offers.
pub(super) fn mail(sender: &Sender, server: &Capabilities) -> String {
    let mut line = "MAIL FROM:<".to_owned();
    // Writing to a string does not fail.
    let _ = write_mail(&mut line, sender, server);
    line
}

/// `RCPT TO:<path> parameters`, with those the server offers.
pub(super) fn rcpt(recipient: &Recipient, smtputf8: bool, server: &Capabilities) -> String {
    let mut line = "RCPT TO:<".to_owned();
    let _ = write_rcpt(&mut line, recipient, smtputf8, server);
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
    Ok(())
}

fn write_rcpt(
    line: &mut String,
    recipient: &Recipient,
    smtputf8: bool,
    server: &Capabilities,
) -> fmt::Result {
    match &recipient.path {
        ForwardPath::Mailbox(address) => write_address(line, address, smtputf8)?,
        ForwardPath::Postmaster => line.push_str("Postmaster"),
    }
    line.push('>');
    if !server.dsn {
        return Ok(());
    }
    if let Some(notify) = &recipient.notify {
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
    use packetboat_wire::sasl::Mechanism;

    use super::*;
    use crate::command::{self, Command, Offered, Strictness};
    use crate::envelope::{Notify, OriginalRecipient};

    fn everything() -> Capabilities {
        Capabilities {
            size: true,
            eight_bit_mime: true,
            binary_mime: true,
            dsn: true,
            mechanisms: vec![Mechanism::Plain],
            ..Capabilities::default()
        }
    }

    fn full_sender() -> Sender {
        Sender {
            path: Some(Address::parse("jos\u{e9}@b\u{fc}cher.example").unwrap()),
            size: Some(1234),
            body: BodyKind::EightBit,
            smtputf8: true,
            submitter: Submitter::Mailbox(Address::parse("e=mc2@b.example").unwrap()),
            ret: Some(Ret::Headers),
            envid: Some("a b+c".into()),
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
        let offered = Offered { auth: true, dsn: true };
        let line = mail(&full_sender(), &everything());
        let read = command::parse(line.as_bytes(), Strictness::Strict, &offered);
        assert_eq!(read, Ok(Command::Mail(full_sender())), "{line}");
        let line = rcpt(&full_recipient(), true, &everything());
        let read = command::parse(line.as_bytes(), Strictness::Strict, &offered);
        let expected = Command::Rcpt { recipient: full_recipient(), needs_utf8: false };
        assert_eq!(read, Ok(expected), "{line}");
    }

    #[test]
    fn what_is_not_offered_is_not_said() {
        let nothing = Capabilities::default();
        let sender = Sender { smtputf8: false, ..full_sender() };
        assert_eq!(mail(&sender, &nothing), "MAIL FROM:<jos\u{e9}@xn--bcher-kva.example>");
        assert_eq!(mail(&Sender::default(), &everything()), "MAIL FROM:<>");
        assert_eq!(rcpt(&full_recipient(), false, &nothing), "RCPT TO:<\"a b\"@c.example>");
    }

    #[test]
    fn a_line_stays_one_line() {
        let mut output = Vec::new();
        push_line(&mut output, "EHLO x\r\nMAIL FROM:<>\0");
        assert_eq!(output, b"EHLO x??MAIL FROM:<>?\r\n");
    }
}
