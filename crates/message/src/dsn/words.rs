//! The part of a notice that people read, and its subject.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Kind, Report, ReportRecipient, meaning};
use crate::date;
use crate::fields::fields;
use crate::text::words;

/// Characters of the message's own subject that are told.
const SUBJECT_MAX: usize = 200;
/// Octets of a word at most, so that no line passes 998 (RFC 5322 section 2.1.1); what is longer is cut.
const WORD_MAX: usize = 900;
/// Columns of text.
const WIDTH: usize = 72;

/// What the notice is about, in a line.
pub(super) fn subject(report: &Report<'_>) -> String {
    let what = match report.kind {
        Kind::Failed => "Not delivered",
        Kind::Delayed => "Delayed",
        Kind::Delivered => "Delivered",
        Kind::Relayed => "Passed on",
        Kind::Expanded => "Delivered to a group",
    };
    let mut about = report.told().iter().filter(|recipient| recipient.action == report.kind);
    match (about.next(), about.count()) {
        (Some(only), 0) => format!("{what}: your message to {}", shown(only)),
        (Some(first), others) => format!("{what}: your message to {} and {others} more", shown(first)),
        (None, _) => format!("{what}: your message"),
    }
}

/// The text, lines ended by CRLF.
pub(super) fn text(report: &Report<'_>) -> String {
    let mut out = Text { text: String::with_capacity(2048) };
    out.paragraph(&format!("This is the mail system at {}.", report.reporting_mta), 0);
    out.gap();
    out.paragraph(&opening(report), 0);
    let mut told = Vec::with_capacity(Kind::ALL.len());
    for kind in Kind::ALL.into_iter().filter(|kind| *kind == report.kind).chain(Kind::ALL) {
        if told.contains(&kind) {
            continue;
        }
        told.push(kind);
        let mut heading = (kind != report.kind).then(|| heading(kind));
        for recipient in report.told().iter().filter(|recipient| recipient.action == kind) {
            if let Some(heading) = heading.take() {
                out.gap();
                out.paragraph(&format!("It {heading}"), 0);
            }
            out.gap();
            tell(&mut out, report, recipient);
        }
    }
    let left_off = report.recipients.len() - report.told().len();
    if left_off > 0 {
        out.gap();
        out.paragraph(&format!("{left_off} more recipients are not told of here."), 0);
    }
    out.gap();
    out.paragraph(&closing(report), 0);
    out.text
}

fn opening(report: &Report<'_>) -> String {
    let mut out = match field(report, "Subject") {
        Some(subject) => format!("Your message \"{subject}\""),
        None => "Your message".to_owned(),
    };
    if let Some(written) = field(report, "Date") {
        out.push_str(&format!(" of {written}"));
    } else if let Some(arrived_at) = report.arrived_at {
        out.push_str(&format!(" of {}", when(report, arrived_at)));
    }
    out.push(' ');
    out.push_str(heading(report.kind));
    out
}

fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "could not be delivered to:",
        Kind::Delayed => "has not been delivered yet to:",
        Kind::Delivered => "was delivered to:",
        Kind::Relayed => "was passed on to mail systems that do not tell whether it arrives, for:",
        Kind::Expanded => "was delivered to the members of:",
    }
}

fn tell(out: &mut Text, report: &Report<'_>, recipient: &ReportRecipient<'_>) {
    out.paragraph(&shown(recipient), 2);
    if let Some((_, original)) =
        recipient.original.filter(|(_, original)| *original != recipient.address.to_string())
    {
        out.paragraph(&format!("(you wrote to {original})"), 4);
    }
    let bad = matches!(recipient.action, Kind::Failed | Kind::Delayed);
    let meaning = meaning::of(recipient.status, recipient.diagnostic);
    if !recipient.explanation.is_empty() {
        out.paragraph(recipient.explanation, 4);
    } else if bad {
        out.paragraph(meaning.what, 4);
    }
    if let Some(reply) = recipient.diagnostic.filter(|_| bad) {
        match recipient.remote {
            Some(remote) => out.paragraph(&format!("The server {remote} said:"), 4),
            None => out.paragraph("The reason in the words of the mail system:", 4),
        }
        for line in reply.lines() {
            out.paragraph(&line, 6);
        }
    } else if let (Some(remote), false) = (recipient.remote, bad) {
        out.paragraph(&format!("The server {remote} took it over."), 4);
    }
    match recipient.action {
        Kind::Failed => out.paragraph(&format!("What you can do: {}", meaning.advice), 4),
        Kind::Delayed => {
            if let Some(until) = recipient.will_retry_until {
                let until = when(report, until);
                out.paragraph(
                    &format!("It will be tried until {until}; you are told if that does not help."),
                    4,
                );
            }
        }
        Kind::Delivered | Kind::Relayed | Kind::Expanded => {}
    }
}

fn closing(report: &Report<'_>) -> String {
    let words = match report.kind {
        Kind::Failed => "It will not be tried any further.",
        Kind::Delayed => "You need not send it again: this host keeps trying.",
        Kind::Delivered => "This says that it lies in the mailbox, not that it has been read.",
        Kind::Relayed => "Should it fail later, you may still hear of that.",
        Kind::Expanded => "Should it fail for one of them, you may still hear of that.",
    };
    let returned = if report.returns_full() { "your message" } else { "the header of your message" };
    format!("{words} Below are the details for programs, and {returned}.")
}

/// A recipient as a person reads it.
fn shown(recipient: &ReportRecipient<'_>) -> String {
    recipient.address.to_string()
}

fn when(report: &Report<'_>, at: Timestamp) -> String {
    let zone: &TimeZone = report.now.time_zone();
    date::format(&at.to_zoned(zone.clone()))
}

/// A field of the message, decoded, in one line of bounded length.
fn field(report: &Report<'_>, name: &str) -> Option<String> {
    let header = report.original.header;
    let header = header.get(..super::HEADER_MAX).unwrap_or(header);
    let text = fields(header).find(|field| field.is(name))?.text();
    let text: String =
        words::decode(text.as_bytes()).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = text.trim();
    let end = text.char_indices().nth(SUBJECT_MAX).map(|(at, _)| at);
    let cut = end.and_then(|end| text.get(..end)).map(|text| format!("{text}…"));
    Some(cut.unwrap_or_else(|| text.to_owned())).filter(|text| !text.is_empty())
}

struct Text {
    text: String,
}

impl Text {
    fn gap(&mut self) {
        self.text.push_str("\r\n");
    }

    /// A paragraph, broken between words; a word longer than a line has one for itself.
    fn paragraph(&mut self, text: &str, indent: usize) {
        let start = self.text.len();
        let mut column = 0;
        let words = text.split(|c: char| c == ' ' || c.is_control()).filter(|word| !word.is_empty());
        for word in words {
            let word = word.get(..word.floor_char_boundary(WORD_MAX)).unwrap_or_default();
            let width = word.chars().count();
            if column == 0 {
                self.indent(indent);
                column = indent;
            } else if column + 1 + width > WIDTH {
                self.text.push_str("\r\n");
                self.indent(indent);
                column = indent;
            } else {
                self.text.push(' ');
                column += 1;
            }
            self.text.push_str(word);
            column += width;
        }
        if self.text.len() > start {
            self.text.push_str("\r\n");
        }
    }

    fn indent(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }
}
