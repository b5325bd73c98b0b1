//! The notice as a message.

use jiff::Timestamp;

use super::{Content, HEADER_MAX, Kind, REPLY_MAX, Report, ReportRecipient, from_unitext, to_unitext, words};
use crate::fields::fields;
use crate::{Address, Domain, date, encode, message_id};

/// Octets of a line at most, without its CRLF (RFC 5322 section 2.1.1).
const LINE_MAX: usize = 998;
/// Octets of a name or address in a field of the status part.
const VALUE_MAX: usize = 900;

pub(super) fn needs_utf8(report: &Report<'_>) -> bool {
    !header(report).is_ascii()
}

pub(super) fn before(report: &Report<'_>) -> Vec<u8> {
    let text = words::text(report);
    let status = status_part(report);
    let returned = (!report.returns_full()).then(|| returned_header(report.original.header));
    let mut out =
        Vec::with_capacity(2048 + text.len() + status.len() + returned.as_ref().map_or(0, Vec::len));
    let full_is_eight_bit = returned.is_none() && report.original.content != Content::SevenBit;
    let returned_is_ascii = returned.as_ref().is_none_or(|header| header.is_ascii());
    let eight_bit = full_is_eight_bit || !returned_is_ascii || !status.is_ascii();

    push(&mut out, &header(report));
    push(&mut out, "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n");
    push(&mut out, &format!(" boundary=\"{}\"\r\n", boundary(report)));
    if eight_bit {
        push(&mut out, "Content-Transfer-Encoding: 8bit\r\n");
    }
    push(&mut out, "\r\nThis is a delivery status notification in MIME format.\r\n");

    delimiter(&mut out, report);
    push(&mut out, "Content-Description: Notification\r\n");
    if text.is_ascii() {
        push(&mut out, "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
        push(&mut out, &text);
    } else {
        push(&mut out, "Content-Type: text/plain; charset=utf-8\r\n");
        push(&mut out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        encode::quoted_printable(&mut out, &text);
    }

    delimiter(&mut out, report);
    push(&mut out, "Content-Description: Delivery report\r\n");
    part_type(
        &mut out,
        "message",
        ["delivery-status", "global-delivery-status"],
        !status.is_ascii(),
        !status.is_ascii(),
    );
    push(&mut out, &status);

    delimiter(&mut out, report);
    match returned {
        Some(header) => {
            push(&mut out, "Content-Description: Header of the message\r\n");
            let global = report.original.utf8 && !returned_is_ascii;
            let (kind, subtypes) =
                if global { ("message", ["", "global-headers"]) } else { ("text", ["rfc822-headers", ""]) };
            part_type(&mut out, kind, subtypes, global, !returned_is_ascii);
            out.extend_from_slice(&header);
        }
        None => {
            push(&mut out, "Content-Description: The message\r\n");
            part_type(&mut out, "message", ["rfc822", "global"], report.original.utf8, full_is_eight_bit);
        }
    }
    out
}

pub(super) fn after(report: &Report<'_>) -> Vec<u8> {
    format!("\r\n--{}--\r\n", boundary(report)).into_bytes()
}

/// The fields of the notice itself, but for those of MIME.
fn header(report: &Report<'_>) -> String {
    let utf8 = report.utf8 || report.to.needs_utf8();
    let mailbox = |address: &Address| match utf8 {
        true => address.to_string(),
        false => format!("{}@{}", address.local(), address.domain().to_ascii()),
    };
    let mut out = format!("Date: {}\r\n", date::format(report.now));
    let from = format!("<{}>", mailbox(report.from));
    out.push_str(&encode::words_field("From", ["Mail Delivery System", &from].into_iter()));
    out.push_str(&encode::words_field("To", std::iter::once(mailbox(report.to).as_str())));
    out.push_str(&encode::unstructured_field("Subject", &words::subject(report)));
    let id = message_id(report.now.timestamp(), report.seed, report.reporting_mta);
    out.push_str(&format!("Message-ID: {id}\r\n"));
    if let Some(id) = answered(report) {
        out.push_str(&encode::words_field("References", std::iter::once(id.as_str())));
    }
    // RFC 3834 section 5: written by a program, because of a message.
    out.push_str("Auto-Submitted: auto-replied\r\n");
    out
}

/// The Message-ID of the message, so that the notice stands beside it in a thread.
fn answered(report: &Report<'_>) -> Option<String> {
    let header = report.original.header;
    let header = header.get(..HEADER_MAX).unwrap_or(header);
    let id = fields(header).find(|field| field.is("Message-ID"))?.text();
    let plain = |inside: &str| {
        !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>')
    };
    let sound =
        id.len() < VALUE_MAX && id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).is_some_and(plain);
    sound.then_some(id)
}

/// A boundary that stands in no part: nothing that was not written after the seed was drawn can have it.
fn boundary(report: &Report<'_>) -> String {
    let seed: String = report.seed.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("=_r{seed}")
}

fn delimiter(out: &mut Vec<u8>, report: &Report<'_>) {
    push(out, &format!("\r\n--{}\r\n", boundary(report)));
}

/// The type of a part in its old or its internationalised form, and its encoding.
fn part_type(out: &mut Vec<u8>, kind: &str, [old, global]: [&str; 2], is_global: bool, eight_bit: bool) {
    push(out, &format!("Content-Type: {kind}/{}\r\n", if is_global { global } else { old }));
    if eight_bit {
        push(out, "Content-Transfer-Encoding: 8bit\r\n");
    }
    push(out, "\r\n");
}

/// The part that programs read (RFC 3464 section 2.1). It is ASCII unless the notice may be internationalised and has
/// something to say that is not.
fn status_part(report: &Report<'_>) -> String {
    let utf8 = report.utf8 || report.to.needs_utf8();
    let mut out = Fields { text: String::with_capacity(1024), utf8 };
    out.field("Reporting-MTA", &format!("dns; {}", domain(report.reporting_mta)));
    if let Some(envid) = report.envid {
        out.field("Original-Envelope-Id", envid);
    }
    if let Some(from) = report.received_from {
        out.field("Received-From-MTA", &format!("dns; {from}"));
    }
    if let Some(arrived_at) = report.arrived_at {
        out.date("Arrival-Date", report, arrived_at);
    }
    for recipient in report.told() {
        out.text.push_str("\r\n");
        recipient_fields(&mut out, report, recipient);
    }
    out.text
}

fn recipient_fields(out: &mut Fields, report: &Report<'_>, recipient: &ReportRecipient<'_>) {
    if let Some((kind, original)) = recipient.original {
        out.address("Original-Recipient", kind, original);
    }
    match out.utf8 || recipient.address.needs_utf8() {
        true => out.address("Final-Recipient", "rfc822", &recipient.address.to_string()),
        // A domain alone has a form in ASCII that everyone understands.
        false => {
            let address = recipient.address;
            out.address(
                "Final-Recipient",
                "rfc822",
                &format!("{}@{}", address.local(), address.domain().to_ascii()),
            );
        }
    }
    out.field("Action", recipient.action.as_str());
    out.field("Status", &recipient.status.to_string());
    if let Some(remote) = recipient.remote {
        out.field("Remote-MTA", &format!("dns; {remote}"));
    }
    if let Some(reply) = recipient.diagnostic {
        // RFC 3461 section 9.2: each line of the reply with its code.
        let lines = reply.lines();
        let mut lines = lines.iter();
        out.begin("Diagnostic-Code", &format!("smtp; {}", lines.next().map_or("", String::as_str)));
        for line in lines {
            out.continued(line);
        }
        out.text.push_str("\r\n");
    }
    if let Some(at) = recipient.last_attempt_at {
        out.date("Last-Attempt-Date", report, at);
    }
    if let Some(log_id) = recipient.log_id {
        out.field("Final-Log-ID", log_id);
    }
    if let Some(until) = recipient.will_retry_until.filter(|_| recipient.action == Kind::Delayed) {
        out.date("Will-Retry-Until", report, until);
    }
}

fn domain(domain: &Domain) -> String {
    domain.to_ascii()
}

/// Fields of the status part: one after the other, long ones folded.
struct Fields {
    text: String,
    utf8: bool,
}

impl Fields {
    fn field(&mut self, name: &str, value: &str) {
        self.begin(name, value);
        self.text.push_str("\r\n");
    }

    /// A field without its last line end.
    fn begin(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        self.text.push(':');
        self.words(name.len() + 1, value);
    }

    /// A line of its own that belongs to the field before it.
    fn continued(&mut self, value: &str) {
        self.text.push_str("\r\n");
        self.words(0, value);
    }

    /// Words with a space before each, folded. What could begin a field of its own cannot be in them.
    fn words(&mut self, mut column: usize, value: &str) {
        let value = value.get(..value.floor_char_boundary(REPLY_MAX)).unwrap_or_default();
        for word in value.split(|c: char| c == ' ' || c.is_control()).filter(|word| !word.is_empty()) {
            // A word that is too long for a line is cut (RFC 5322 section 2.1.1).
            let mut rest = word;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.floor_char_boundary(VALUE_MAX));
                if column + 1 + piece.len() > encode::LINE_MAX && column > 1 {
                    self.text.push_str("\r\n");
                    column = 0;
                }
                self.text.push(' ');
                self.text.extend(piece.chars().map(|c| if self.utf8 || c.is_ascii() { c } else { '?' }));
                column += 1 + piece.len();
                rest = after;
            }
        }
    }

    fn date(&mut self, name: &str, report: &Report<'_>, at: Timestamp) {
        self.field(name, &date::format(&at.to_zoned(report.now.time_zone().clone())));
    }

    /// An address with its type. One that is not ASCII is of the type `utf-8`, written as it is or so that it is ASCII
    /// (RFC 6533 section 3). Spaces in it are its own: nothing is folded.
    fn address(&mut self, name: &str, kind: &str, address: &str) {
        let address = address.get(..address.floor_char_boundary(VALUE_MAX)).unwrap_or_default();
        let was_utf8 = kind.eq_ignore_ascii_case("utf-8");
        let plain = if was_utf8 { from_unitext(address) } else { Some(address.to_owned()) };
        let is_atom = |kind: &str| {
            let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
            !kind.is_empty() && kind.len() <= 40 && kind.bytes().all(atom)
        };
        let kind = match kind {
            _ if !address.is_ascii() || was_utf8 => "utf-8",
            kind if is_atom(kind) => kind,
            _ => "unknown",
        };
        let encoded = match plain {
            Some(plain) if kind == "utf-8" && !self.utf8 => to_unitext(&plain),
            Some(plain) => plain,
            // What is not of the syntax it claims is copied as it is.
            None if address.is_ascii() || self.utf8 => address.to_owned(),
            None => to_unitext(address),
        };
        self.text.push_str(&format!("{name}: {kind}; "));
        self.text.extend(encoded.chars().map(|c| if c.is_control() { ' ' } else { c }));
        self.text.push_str("\r\n");
    }
}

/// A header as it comes back: whole fields up to [`HEADER_MAX`], lines ended by CRLF and none too long, without the
/// empty line at its end.
fn returned_header(header: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.len().min(HEADER_MAX));
    for field in fields(header) {
        if out.len() + field.whole.len() > HEADER_MAX || field.whole.trim_ascii().is_empty() {
            break;
        }
        for line in field.whole.split_inclusive(|octet| *octet == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = line.get(..LINE_MAX).unwrap_or(line);
            out.extend(line.iter().map(|octet| if matches!(octet, 0 | b'\r') { b' ' } else { *octet }));
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}
