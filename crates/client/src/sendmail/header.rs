//! The header that comes in: which fields stay, and whom it names.

use packetboat_message::fields::fields;

use super::Home;
use super::qualify::qualify;

/// The header as it came.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// The fields that stay, addresses complete.
    pub(super) kept: Vec<u8>,
    /// The values of the fields that name recipients. Fields that begin with `Resent-`, where there are any, count instead
    /// of those without (RFC 5322 section 3.6.6).
    pub(super) recipients: Vec<String>,
}

/// Fields with addresses, which may be those of users of this machine.
const ADDRESSES: [&str; 11] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Bcc",
];
/// Fields that are for the mail system on its way in, or for others not to see.
const DROPPED: [&str; 4] = ["Bcc", "Resent-Bcc", "Return-Path", "Content-Length"];

impl Header {
    pub(super) fn read(header: &[u8], home: &Home) -> Header {
        let mut out = Header { kept: Vec::with_capacity(header.len() + 64), recipients: Vec::new() };
        let (mut first, mut resent) = (Vec::new(), Vec::new());
        for field in fields(header) {
            let name = |names: &[&str]| names.iter().any(|name| field.is(name));
            if name(&["To", "Cc", "Bcc"]) {
                first.push(field.text());
            } else if name(&["Resent-To", "Resent-Cc", "Resent-Bcc"]) {
                resent.push(field.text());
            }
            // The only lines without a name are the line `From …` of a mailbox file and the empty one.
            let is_stray = field.name.is_empty();
            if name(&DROPPED) || is_stray {
                continue;
            }
            match std::str::from_utf8(field.value) {
                Ok(value) if name(&ADDRESSES) => {
                    out.kept.extend_from_slice(field.name);
                    out.kept.push(b':');
                    let end = value.trim_end().len();
                    let (value, line_end) = value.split_at(end);
                    out.kept.extend_from_slice(qualify(value, &home.domain).as_bytes());
                    out.kept.extend_from_slice(line_end.as_bytes());
                }
                _ => out.kept.extend_from_slice(field.whole),
            }
        }
        out.recipients = if resent.is_empty() { first } else { resent };
        out
    }
}
