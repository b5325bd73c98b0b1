//! The trace a message gathers on its way: `Received` at each hop, `Return-Path` at its last (RFC 5321 section 4.4).

use std::fmt::Write as _;
use std::net::IpAddr;

use jiff::Zoned;

use crate::fields::fields;
use crate::{Address, Domain, date};

/// Lines are folded before they get longer than this (RFC 5322 section 2.1.1).
const LINE_MAX: usize = 78;
/// Octets shown of a HELO name or host name, which are as long as a domain at most.
const NAME_MAX: usize = 255;

/// The line `Return-Path: <sender>`, with its CRLF. `None` is the null reverse-path of bounces.
pub fn return_path(sender: Option<&Address>) -> String {
    match sender {
        Some(sender) => format!("Return-Path: <{sender}>\r\n"),
        None => "Return-Path: <>\r\n".to_owned(),
    }
}

/// What a `Received` field tells of a hop.
#[derive(Debug, Clone)]
pub struct Received<'a> {
    /// What the client called itself in HELO, EHLO or LHLO, untrusted; `None` when it did not say.
    pub helo: Option<&'a str>,
    /// Where the client came from; `None` for a message that was born here.
    pub client: Option<Client<'a>>,
    /// The host that received the message: this one.
    pub by: &'a Domain,
    /// The protocol it came by.
    pub with: With,
    /// What TLS was agreed on, such as `TLSv1.3` and `TLS13_AES_256_GCM_SHA384`.
    pub tls: Option<(&'a str, &'a str)>,
    /// The name under which this host will find the message in its logs.
    pub id: &'a str,
    /// The recipient, if there is just one: naming several would tell each of the others, blind copies included
    /// (RFC 5321 section 7.2).
    pub recipient: Option<&'a Address>,
    /// When it came.
    pub at: &'a Zoned,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// Its address.
    pub ip: IpAddr,
    /// Its host name, if DNS gives one for the address and that address for the name.
    pub name: Option<&'a str>,
}

/// The protocol of a hop, from which the keyword after `with` is made (RFC 3848, RFC 6531 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct With {
    /// SMTP, ESMTP or LMTP.
    pub protocol: Protocol,
    /// The message used SMTPUTF8.
    pub utf8: bool,
    /// The connection was encrypted.
    pub tls: bool,
    /// The client had logged in.
    pub authenticated: bool,
}

/// The base of a [`With`] keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP begun with HELO.
    Smtp,
    /// SMTP begun with EHLO.
    Esmtp,
    /// LMTP.
    Lmtp,
    /// None: a program on this host handed the message in. `helo` is the user it ran as.
    Local,
}

impl With {
    /// The registered keyword, such as `ESMTPSA` or `UTF8LMTP`. There is none for TLS or AUTH after HELO, which cannot
    /// offer them.
    pub fn keyword(self) -> &'static str {
        // Columns: neither, S, A, SA.
        let row: [&str; 4] = match (self.protocol, self.utf8) {
            (Protocol::Smtp, _) => ["SMTP"; 4],
            // There is none; only that the message is internationalised has to be known later.
            (Protocol::Local, false) => [""; 4],
            (Protocol::Local, true) => ["UTF8SMTP"; 4],
            (Protocol::Esmtp, false) => ["ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"],
            (Protocol::Lmtp, false) => ["LMTP", "LMTPS", "LMTPA", "LMTPSA"],
            (Protocol::Esmtp, true) => ["UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"],
            (Protocol::Lmtp, true) => ["UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA"],
        };
        row[usize::from(self.tls) + 2 * usize::from(self.authenticated)]
    }
}

/// Whether the topmost `Received` field of a header, or of the beginning of one, says that the message came as
/// internationalised mail (RFC 6531 section 4.3).
pub fn came_with_utf8(header: &[u8]) -> bool {
    let received = fields(header).find(|field| field.is("Received"));
    received.is_some_and(|field| {
        let text = field.text();
        let mut words = text.split_ascii_whitespace();
        let with = words.find(|word| word.eq_ignore_ascii_case("with")).and_then(|_| words.next());
        with.and_then(|with| with.get(..4)).is_some_and(|start| start.eq_ignore_ascii_case("UTF8"))
    })
}

impl Received<'_> {
    /// The field, folded, with its last CRLF.
    pub fn to_field(&self) -> String {
        let mut out = Folded::new("Received:");
        if self.with.protocol == Protocol::Local {
            out.word("by");
            out.word(&self.domain(self.by));
            if let Some(user) = self.helo {
                out.word(&format!("(from user {})", visible(user, false)));
            }
            if self.with.utf8 {
                out.word("with");
                out.word(self.with.keyword());
            }
        } else {
            self.hop(&mut out);
        }
        out.fold();
        out.word("id");
        out.word(&visible(self.id, false));
        // A UTF-8 path may stand here only if the message travels as internationalised mail (RFC 6531 section 3.7.3).
        if let Some(recipient) = self.recipient.filter(|recipient| self.with.utf8 || !recipient.needs_utf8())
        {
            out.word("for");
            out.word(&format!("<{}@{}>", recipient.local(), self.domain(recipient.domain())));
        }
        out.end_of_clauses();
        out.fold();
        out.word(&date::format(self.at));
        out.finish()
    }

    /// From whom, by whom and how.
    fn hop(&self, out: &mut Folded) {
        if self.helo.is_some() || self.client.is_some() {
            out.word("from");
            out.word(&self.origin());
            if let Some(client) = self.client {
                out.word(&self.tcp_info(client));
            }
            out.fold();
        }
        out.word("by");
        out.word(&self.domain(self.by));
        out.word("with");
        out.word(self.with.keyword());
        if let Some((version, cipher)) = self.tls {
            out.word(&format!("({} {})", visible(version, false), visible(cipher, false)));
        }
    }

    fn origin(&self) -> String {
        match (self.helo, self.client) {
            (Some(helo), _) if !helo.is_empty() => visible(helo, self.with.utf8),
            (_, Some(client)) => Domain::Literal(client.ip.to_canonical()).to_string(),
            _ => "unknown".to_owned(),
        }
    }

    /// `TCP-info`: `(name [192.0.2.1])`, or the literal alone.
    fn tcp_info(&self, client: Client<'_>) -> String {
        let literal = Domain::Literal(client.ip.to_canonical());
        match client.name {
            Some(name) => format!("({} {literal})", visible(name, false)),
            None => format!("({literal})"),
        }
    }

    fn domain(&self, domain: &Domain) -> String {
        if self.with.utf8 { domain.to_string() } else { domain.to_ascii() }
    }
}

/// The text with every character that might end a word, a comment or the field turned into a question mark.
fn visible(text: &str, utf8: bool) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]+=/".contains(c);
    let shown = |c: char| plain(c) || (utf8 && !c.is_ascii() && c.is_alphanumeric());
    let text = text.get(..text.floor_char_boundary(NAME_MAX)).unwrap_or(text);
    text.chars().map(|c| if shown(c) { c } else { '?' }).collect()
}

/// A header field put together of words, with line breaks between them.
struct Folded {
    text: String,
    line_start: usize,
    /// Set where a new clause begins: it gets a line of its own.
    fold_next: bool,
}

impl Folded {
    fn new(name: &str) -> Folded {
        let mut text = String::with_capacity(320);
        text.push_str(name);
        Folded { text, line_start: 0, fold_next: false }
    }

    fn word(&mut self, word: &str) {
        if self.fold_next || self.text.len() - self.line_start + 1 + word.len() > LINE_MAX {
            self.text.push_str("\r\n");
            self.line_start = self.text.len();
            self.text.push('\t');
            self.fold_next = false;
        } else {
            self.text.push(' ');
        }
        // Writing to a String does not fail.
        let _ = self.text.write_str(word);
    }

    fn fold(&mut self) {
        self.fold_next = true;
    }

    fn end_of_clauses(&mut self) {
        self.text.push(';');
    }

    fn finish(mut self) -> String {
        self.text.push_str("\r\n");
        self.text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ESMTP: With = With { protocol: Protocol::Esmtp, utf8: false, tls: false, authenticated: false };

    fn received<'a>(by: &'a Domain, at: &'a Zoned) -> Received<'a> {
        let client = Client { ip: [192, 0, 2, 1].into(), name: Some("mail.example.com") };
        let helo = Some("mail.example.com");
        Received { helo, client: Some(client), by, with: ESMTP, tls: None, id: "4XYZ", recipient: None, at }
    }

    #[test]
    fn a_hop_is_told_in_one_folded_field() {
        let by = Domain::parse("bücher.example").unwrap();
        let at = "2026-11-21T09:34:45+01:00[+01:00]".parse().unwrap();
        let alice = Address::parse("alice@bücher.example").unwrap();
        let with = With { tls: true, authenticated: true, ..ESMTP };
        let tls = Some(("TLSv1.3", "TLS13_AES_256_GCM_SHA384"));
        let field = Received { with, tls, recipient: Some(&alice), ..received(&by, &at) }.to_field();
        assert_eq!(
            field,
            "Received: from mail.example.com (mail.example.com [192.0.2.1])\r\n\
             \tby xn--bcher-kva.example with ESMTPSA (TLSv1.3 TLS13_AES_256_GCM_SHA384)\r\n\
             \tid 4XYZ for <alice@xn--bcher-kva.example>;\r\n\
             \tSat, 21 Nov 2026 09:34:45 +0100\r\n"
        );
    }

    #[test]
    fn the_recipient_and_names_are_shown_as_the_message_may_carry_them() {
        let by = Domain::parse("mx.example").unwrap();
        let at = "2026-11-21T09:34:45Z[UTC]".parse().unwrap();
        let jose = Address::parse("josé@bücher.example").unwrap();
        let plain = Received { recipient: Some(&jose), ..received(&by, &at) };
        assert!(plain.to_field().contains("with ESMTP\r\n\tid 4XYZ;"), "{}", plain.to_field());
        let utf8 = Received { with: With { utf8: true, ..ESMTP }, helo: Some("bücher.example"), ..plain };
        assert!(utf8.to_field().contains("from bücher.example (mail.example.com"));
        assert!(utf8.to_field().contains("with UTF8SMTP\r\n\tid 4XYZ for <josé@bücher.example>;"));
    }

    #[test]
    fn what_the_client_said_cannot_leave_its_word() {
        let by = Domain::parse("mx.example").unwrap();
        let at = "2026-11-21T09:34:45Z[UTC]".parse().unwrap();
        let ip = "::ffff:192.0.2.1".parse().unwrap();
        let evil = "a (b); c\r\nX: y\0\u{202e}é".repeat(40);
        let client = Some(Client { ip, name: None });
        let field = Received { helo: Some(&evil), client, ..received(&by, &at) }.to_field();
        let word = field.split_whitespace().nth(2).unwrap();
        assert!(word.starts_with("a??b???c??X:?y???a"), "{field}");
        assert!(field.contains(" ([192.0.2.1])") || field.contains("\t([192.0.2.1])"), "{field}");
        assert_eq!(field.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with('\t')).count(), 1);
        assert!(field.split("\r\n").all(|line| line.len() < 998));

        let silent = Received { helo: None, client, ..received(&by, &at) }.to_field();
        assert!(
            silent.starts_with("Received: from [192.0.2.1] ([192.0.2.1])\r\n\tby mx.example"),
            "{silent}"
        );
        let local = With { protocol: Protocol::Local, ..ESMTP };
        let handed_in =
            Received { helo: Some("www-data"), client: None, with: local, ..received(&by, &at) }.to_field();
        assert!(
            handed_in.starts_with("Received: by mx.example (from user www-data)\r\n\tid 4XYZ;"),
            "{handed_in}"
        );
        let born_here = Received { helo: None, client: None, ..received(&by, &at) }.to_field();
        assert!(born_here.starts_with("Received: by mx.example with ESMTP\r\n\tid"), "{born_here}");
    }

    #[test]
    fn the_topmost_hop_tells_of_internationalised_mail() {
        let by = Domain::parse("x.example").unwrap();
        let at = "2026-11-21T09:34:45+01:00[+01:00]".parse().unwrap();
        let field =
            |utf8| Received { with: With { utf8, tls: true, ..ESMTP }, ..received(&by, &at) }.to_field();
        let (old, new) = (field(false), field(true));
        for (header, expected) in [
            (format!("Return-Path: <ü@x>\r\n{new}Subject: x\r\n\r\n"), true),
            (format!("{old}{new}\r\n"), false),
            ("Received: with lmtp".to_owned(), false),
            ("received: by x\r\n\twith utf8smtpsa id 1".to_owned(), true),
            ("Received: with".to_owned(), false),
            ("Subject: with UTF8SMTP\r\n\r\nReceived: with UTF8SMTP".to_owned(), true),
            (String::new(), false),
        ] {
            assert_eq!(came_with_utf8(header.as_bytes()), expected, "{header}");
        }
    }

    #[test]
    fn the_keyword_tells_the_protocol() {
        let with = |protocol, utf8, tls, authenticated| With { protocol, utf8, tls, authenticated }.keyword();
        for (keyword, got) in [
            ("SMTP", with(Protocol::Smtp, false, false, false)),
            ("ESMTPS", with(Protocol::Esmtp, false, true, false)),
            ("ESMTPA", with(Protocol::Esmtp, false, false, true)),
            ("LMTPSA", with(Protocol::Lmtp, false, true, true)),
            ("UTF8SMTPSA", with(Protocol::Esmtp, true, true, true)),
            ("UTF8LMTP", with(Protocol::Lmtp, true, false, false)),
        ] {
            assert_eq!(got, keyword);
        }
    }

    #[test]
    fn the_return_path_of_a_bounce_is_empty() {
        assert_eq!(return_path(None), "Return-Path: <>\r\n");
        let sender = Address::parse("\"a b\"@example.org").unwrap();
        assert_eq!(return_path(Some(&sender)), "Return-Path: <\"a b\"@example.org>\r\n");
    }
}
