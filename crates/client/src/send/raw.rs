//! A message that is ready already, from a pipe or a file.
//!
//! It is taken as it is, but for what cannot travel: its line ends become CRLF, a line `From …` of a mailbox file at
//! its top goes, and so do the fields that name blind copies (RFC 5322 section 3.6.3).

use std::io::{self, Read};

use packetboat_message::crlf::CrlfLines;
use packetboat_message::fields::{RawField, fields};
use packetboat_message::{Field, HeaderEnd, HeaderScan, Mailbox};

use super::failure::{Failure, FailureKind};
use super::head::Head;
use super::spool::{Kept, Spool, SpoolError};

/// Octets read at once.
const READ_MAX: usize = 64 * 1024;

/// A message taken in, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct RawMessage {
    /// The header, with the empty line at its end.
    pub(crate) header: Vec<u8>,
    /// What follows it.
    pub(crate) body: Kept,
    /// Whether there are octets above 127 in the body.
    pub(crate) body_is_eight_bit: bool,
    /// What the header says of the way the message is to take.
    pub(crate) addressed: Addressed,
}

/// Who is named in a header. Fields that begin with `Resent-`, where there are any, count instead of those without
/// (RFC 5322 section 3.6.6).
#[derive(Debug, Clone, Default)]
pub(crate) struct Addressed {
    /// `Sender` or else the first of `From`.
    pub(crate) sender: Option<Mailbox>,
    /// `To`, `Cc` and `Bcc`.
    pub(crate) recipients: Vec<Mailbox>,
    /// `Message-ID`.
    pub(crate) message_id: Option<String>,
    /// Which fields are there.
    pub(crate) has_date: bool,
    pub(crate) has_from: bool,
}

impl RawMessage {
    /// Takes a message in. `addresses_matter` says whether it is an error when the header's addresses cannot be read.
    pub(crate) fn read(input: &mut dyn Read, addresses_matter: bool) -> Result<RawMessage, Failure> {
        let mut intake = Intake::default();
        let mut lines = CrlfLines::default();
        let mut buffer = vec![0; READ_MAX];
        let mut normal = Vec::with_capacity(READ_MAX + READ_MAX / 8);
        loop {
            let count = match input.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(Failure::new(FailureKind::Io, format!("cannot read the message: {error}")));
                }
            };
            normal.clear();
            match buffer.get(..count) {
                Some([]) | None => lines.finish(&mut normal),
                Some(chunk) => lines.push(chunk, &mut normal),
            }
            intake.push(&normal)?;
            if count == 0 {
                return intake.finish(addresses_matter);
            }
        }
    }

    /// Octets of the whole message.
    pub(crate) fn len(&self) -> u64 {
        self.header.len() as u64 + self.body.len()
    }

    /// Puts a field on top of the header.
    pub(crate) fn add_field(&mut self, field: &str) {
        self.header.splice(..0, field.bytes());
    }
}

/// A message on its way in.
#[derive(Default)]
struct Intake {
    head: Head,
    body: Spool,
    body_is_eight_bit: bool,
}

impl Intake {
    fn push(&mut self, octets: &[u8]) -> Result<(), Failure> {
        let body = self.head.push(octets);
        self.push_body(&body.map_err(|error| Failure::new(FailureKind::Data, error.to_string()))?)
    }

    fn push_body(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.body_is_eight_bit |= !octets.is_ascii();
        self.body.push(octets).map_err(|error| match error {
            SpoolError::Create(error) => {
                Failure::new(FailureKind::CannotCreate, format!("cannot make a temporary file: {error}"))
                    .hint("Let TMPDIR name a folder that can be written to.")
            }
            SpoolError::Write(error) => {
                Failure::new(FailureKind::Io, format!("cannot write to a temporary file: {error}"))
                    .hint("Let TMPDIR name a folder with room for the message.")
            }
        })
    }

    fn finish(mut self, addresses_matter: bool) -> Result<RawMessage, Failure> {
        let (end, rest) = self.head.finish();
        self.push_body(&rest)?;
        let octets = self.head.octets();
        let named = fields(octets).any(|field| !field.name.is_empty());
        if !named {
            let said = match (octets.is_empty(), self.body.is_empty()) {
                (true, true) => "there is no message: the input is empty",
                _ => "the input is no message: it does not begin with header fields",
            };
            return Err(Failure::new(FailureKind::Data, said)
                .hint("Without --raw and -t the input is taken as the text of a new message."));
        }
        let addressed = Addressed::read(octets, self.head.scan(), addresses_matter)?;
        let mut header: Vec<u8> = fields(octets)
            .filter(|field| field.is_kept())
            .flat_map(|field| field.whole.iter().copied())
            .collect();
        if end != HeaderEnd::EmptyLine {
            header.extend_from_slice(b"\r\n");
        }
        Ok(RawMessage {
            header,
            body: self.body.finish(),
            body_is_eight_bit: self.body_is_eight_bit,
            addressed,
        })
    }
}

trait IsKept {
    fn is_kept(&self) -> bool;
}

impl IsKept for RawField<'_> {
    /// All but blind copies and the line of a mailbox file: the only lines without a name in a header are that one and
    /// the empty one at its end.
    fn is_kept(&self) -> bool {
        !self.is("Bcc") && !self.is("Resent-Bcc") && (!self.name.is_empty() || self.whole == b"\r\n")
    }
}

impl Addressed {
    fn read(header: &[u8], scan: &HeaderScan, addresses_matter: bool) -> Result<Addressed, Failure> {
        let resent =
            fields(header).any(|field| ["Resent-To", "Resent-Cc", "Resent-Bcc"].iter().any(|n| field.is(n)));
        let names: [[&str; 5]; 2] = [
            ["Sender", "From", "To", "Cc", "Bcc"],
            ["Resent-Sender", "Resent-From", "Resent-To", "Resent-Cc", "Resent-Bcc"],
        ];
        let [sender, from, recipients @ ..] = names[usize::from(resent)];
        let list = |name: &str| -> Result<Vec<Mailbox>, Failure> {
            let mut list = Vec::new();
            for field in fields(header).filter(|field| field.is(name)) {
                match Mailbox::parse_list(&field.text()) {
                    Ok(mailboxes) => list.extend(mailboxes),
                    Err(error) if addresses_matter => {
                        let said = format!("the field {name} of the message cannot be read: {error}");
                        return Err(Failure::new(FailureKind::Data, said));
                    }
                    Err(_) => {}
                }
            }
            Ok(list)
        };
        let mut addressed = Addressed {
            sender: list(sender)?.into_iter().next(),
            has_date: scan.has(Field::Date),
            has_from: scan.has(Field::From),
            ..Addressed::default()
        };
        if addressed.sender.is_none() {
            addressed.sender = list(from)?.into_iter().next();
        }
        for name in recipients {
            addressed.recipients.extend(list(name)?);
        }
        let message_id = scan.value(Field::MessageId).map(|id| String::from_utf8_lossy(id).into_owned());
        addressed.message_id = message_id.filter(|id| !id.is_empty());
        Ok(addressed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(input: &[u8], addresses_matter: bool) -> Result<RawMessage, Failure> {
        RawMessage::read(&mut &*input, addresses_matter)
    }

    fn text(message: &RawMessage) -> String {
        let mut whole = message.header.clone();
        message.body.reader().read_to_end(&mut whole).unwrap();
        assert_eq!(whole.len() as u64, message.len());
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn a_message_passes_but_for_what_cannot_travel() {
        for (input, output) in [
            ("A: b\n\n.\nbody", "A: b\r\n\r\n.\r\nbody\r\n"),
            ("A: b\nBCC: x,\n y\nC: d\nresent-bcc: z\n\nBcc: stays\n", "A: b\r\nC: d\r\n\r\nBcc: stays\r\n"),
            ("From alice Sat Nov 21\nA: b\n\n", "A: b\r\n\r\n"),
            ("A: b", "A: b\r\n\r\n"),
            ("A: b\nno field\n\n", "A: b\r\n\r\nno field\r\n\r\n"),
            ("A: b\n\n", "A: b\r\n\r\n"),
        ] {
            assert_eq!(text(&read(input.as_bytes(), false).unwrap()), output);
        }
        for input in ["", "\nbody\n", "Hello\n", "From alice\n\nbody"] {
            assert_eq!(read(input.as_bytes(), true).unwrap_err().kind, FailureKind::Data, "{input}");
        }
        let endless = read(&b"A: b\n".repeat(1 << 18), true).unwrap_err();
        assert!(endless.message.contains("1 MiB"), "{endless}");
    }

    #[test]
    fn a_long_body_goes_to_a_file_and_comes_back_whole() {
        let line = "0123456789\n".repeat(1000);
        let message = read(format!("A: b\n\n{}", line.repeat(300)).as_bytes(), false).unwrap();
        assert!(matches!(message.body, Kept::File { .. }));
        assert_eq!(text(&message), format!("A: b\r\n\r\n{}", line.repeat(300).replace('\n', "\r\n")));
    }

    #[test]
    fn the_header_says_whom_it_is_from_and_for() {
        let message = read(
            b"From: A <a@x>, b@x\nTo: c@x, D <d@x>\nCc: g: e@x;\nBcc: f@x\nDate: now\nMessage-ID: <1@x>\n\n",
            true,
        );
        let addressed = message.unwrap().addressed;
        let show =
            |list: &[Mailbox]| list.iter().map(|m| m.address().to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(addressed.sender.unwrap().address().to_string(), "a@x");
        assert_eq!(show(&addressed.recipients), "c@x d@x e@x f@x");
        assert_eq!(addressed.message_id.as_deref(), Some("<1@x>"));
        assert!(addressed.has_date && addressed.has_from);

        let resent =
            read(b"Resent-From: r@x\nResent-To: s@x\nSender: z@x\nTo: c@x\nFrom: a@x\n\n", true).unwrap();
        assert_eq!(resent.addressed.sender.unwrap().address().to_string(), "r@x");
        assert_eq!(show(&resent.addressed.recipients), "s@x");

        assert_eq!(read(b"To: not an address\n\n", true).unwrap_err().kind, FailureKind::Data);
        assert!(read(b"To: not an address\n\n", false).unwrap().addressed.recipients.is_empty());
    }
}
