//! Mailboxes as header fields and people write them: `"Liddell, Alice" <alice@example.org>` (RFC 5322 section 3.4).

use std::fmt;

use thiserror::Error;

use crate::encode;
use crate::{Address, InvalidAddress};

/// An address with the name of whom it belongs to, if one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    name: Option<String>,
    address: Address,
}

/// Why a text is no mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{}\": {why}", text.escape_debug())]
pub struct InvalidMailbox {
    /// The part of a list that is wrong.
    pub text: String,
    /// What is wrong with it.
    pub why: MailboxFault,
}

/// What may be wrong with a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MailboxFault {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// A quote, bracket or parenthesis has no partner, or text follows the address.
    #[error("a mailbox is written as alice@example.org or Alice <alice@example.org>")]
    Form,
    /// There is more than one mailbox, or none, where one is asked for.
    #[error("one address is wanted here")]
    NotOne,
}

impl Mailbox {
    /// Puts a mailbox together. An empty name is none, and control characters in it become spaces.
    pub fn new(name: Option<&str>, address: Address) -> Mailbox {
        let name = name.map(|name| name.replace(char::is_control, " ").trim().to_owned());
        Mailbox { name: name.filter(|name| !name.is_empty()), address }
    }

    /// Parses one mailbox: `alice@example.org`, `Alice <alice@example.org>`, `alice@example.org (Alice)`.
    pub fn parse(text: &str) -> Result<Mailbox, InvalidMailbox> {
        let mut all = Mailbox::parse_list(text)?;
        match (all.pop(), all.is_empty()) {
            (Some(mailbox), true) => Ok(mailbox),
            _ => Err(InvalidMailbox { text: text.to_owned(), why: MailboxFault::NotOne }),
        }
    }

    /// Parses an address list. Groups (`friends: a@x, b@x;`) give their members, empty places give nothing.
    pub fn parse_list(text: &str) -> Result<Vec<Mailbox>, InvalidMailbox> {
        let mut list = Vec::new();
        let mut parts = Parts::default();
        let mut start = 0;
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                ',' | ';' => {
                    list.extend(std::mem::take(&mut parts).mailbox(&text[start..at])?);
                    start = at + 1;
                }
                // The name of a group; inside an address there is a colon in brackets only.
                ':' => {
                    parts = Parts::default();
                    start = at + 1;
                }
                _ => {
                    let taken = parts.take(c, &mut chars);
                    taken.map_err(|why| InvalidMailbox { text: text[start..].to_owned(), why })?;
                }
            }
        }
        list.extend(parts.mailbox(&text[start..])?);
        Ok(list)
    }

    /// Whom the address belongs to.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A header field of that name with the mailbox in it, and its CRLF.
    pub fn to_field(&self, name: &str) -> String {
        encode::words_field(name, std::iter::once(self.to_header().as_str()))
    }

    /// The mailbox as a header field carries it: the name quoted or in encoded-words where it has to be, the domain in
    /// A-form unless the local part needs SMTPUTF8 anyway.
    pub(crate) fn to_header(&self) -> String {
        let address = match self.address.needs_utf8() {
            true => self.address.to_string(),
            false => format!("{}@{}", self.address.local(), self.address.domain().to_ascii()),
        };
        match &self.name {
            Some(name) => format!("{} <{address}>", encode::phrase(name)),
            None => address,
        }
    }
}

impl From<Address> for Mailbox {
    fn from(address: Address) -> Mailbox {
        Mailbox { name: None, address }
    }
}

/// As a person reads it, `Alice <alice@example.org>`.
impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address),
            None => self.address.fmt(f),
        }
    }
}

/// One mailbox as far as it has been read.
#[derive(Default)]
struct Parts {
    /// What stands outside brackets and comments, unquoted: the name, or the address if there are no brackets.
    outside: String,
    /// The same with its quotes.
    written: String,
    angle: Option<String>,
    comment: String,
}

impl Parts {
    fn take(&mut self, c: char, rest: &mut std::str::CharIndices<'_>) -> Result<(), MailboxFault> {
        match c {
            '"' => {
                let quoted = quoted_string(rest)?;
                self.outside.push_str(&quoted.plain);
                self.written.push_str(&quoted.written);
            }
            '(' => {
                let comment = comment(rest)?;
                if self.comment.is_empty() {
                    self.comment = comment;
                }
            }
            '<' if self.angle.is_none() => self.angle = Some(angle(rest)?),
            // An address literal may have colons and must not end at one.
            '[' => {
                self.push('[');
                loop {
                    let (_, c) = rest.next().ok_or(MailboxFault::Form)?;
                    self.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '<' | '>' | ')' => return Err(MailboxFault::Form),
            c if c.is_whitespace() => self.push(' '),
            c => self.push(c),
        }
        Ok(())
    }

    fn push(&mut self, c: char) {
        self.outside.push(c);
        self.written.push(c);
    }

    fn mailbox(self, text: &str) -> Result<Option<Mailbox>, InvalidMailbox> {
        let fault = |why| InvalidMailbox { text: text.trim().to_owned(), why };
        let outside = self.outside.trim();
        let (name, address) = match &self.angle {
            Some(angle) => (outside, angle.as_str()),
            None if self.written.trim().is_empty() => return Ok(None),
            None => (self.comment.trim(), self.written.trim()),
        };
        let address = Address::parse(address).map_err(|why| fault(why.into()))?;
        Ok(Some(Mailbox::new(Some(name), address)))
    }
}

struct Quoted {
    plain: String,
    written: String,
}

fn quoted_string(rest: &mut std::str::CharIndices<'_>) -> Result<Quoted, MailboxFault> {
    let mut quoted = Quoted { plain: String::new(), written: "\"".to_owned() };
    loop {
        let (_, c) = rest.next().ok_or(MailboxFault::Form)?;
        quoted.written.push(c);
        match c {
            '"' => return Ok(quoted),
            '\\' => {
                let (_, c) = rest.next().ok_or(MailboxFault::Form)?;
                quoted.written.push(c);
                quoted.plain.push(c);
            }
            c => quoted.plain.push(c),
        }
    }
}

fn comment(rest: &mut std::str::CharIndices<'_>) -> Result<String, MailboxFault> {
    let mut text = String::new();
    let mut depth = 1usize;
    loop {
        let (_, c) = rest.next().ok_or(MailboxFault::Form)?;
        match c {
            '\\' => text.push(rest.next().ok_or(MailboxFault::Form)?.1),
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(text);
                }
            }
            c => text.push(c),
        }
    }
}

/// The inside of `<...>`, without a source route (RFC 5322 section 4.4), which nobody follows any more.
fn angle(rest: &mut std::str::CharIndices<'_>) -> Result<String, MailboxFault> {
    let mut text = String::new();
    loop {
        let (_, c) = rest.next().ok_or(MailboxFault::Form)?;
        match c {
            '"' => text.push_str(&quoted_string(rest)?.written),
            '<' => return Err(MailboxFault::Form),
            '>' => break,
            c => text.push(c),
        }
    }
    let text = text.trim();
    let address = match text.strip_prefix('@').and_then(|route| route.split_once(':')) {
        Some((_, address)) => address,
        None => text,
    };
    Ok(address.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn mailboxes_are_read_as_people_write_them() {
        for (text, name, address) in [
            ("alice@example.org", None, "alice@example.org"),
            (" <alice@example.org> ", None, "alice@example.org"),
            ("Alice Liddell <alice@example.org>", Some("Alice Liddell"), "alice@example.org"),
            ("\"Liddell, Alice\" <alice@example.org>", Some("Liddell, Alice"), "alice@example.org"),
            ("alice@example.org (Alice (A.) Liddell)", Some("Alice A. Liddell"), "alice@example.org"),
            ("Ålice <ålice@bücher.example>", Some("Ålice"), "ålice@bücher.example"),
            ("\"a b\"@example.org", None, "\"a b\"@example.org"),
            ("A <\"a>b\"@example.org>", Some("A"), "\"a>b\"@example.org"),
            ("A <@x,@y:a@example.org>", Some("A"), "a@example.org"),
            ("a@[IPv6:2001:db8::1]", None, "a@[IPv6:2001:db8::1]"),
            ("J. R. \"Bob\" Dobbs\r\n <bob@example.org>", Some("J. R. Bob Dobbs"), "bob@example.org"),
            ("\"\" <a@b>", None, "a@b"),
        ] {
            let mailbox = Mailbox::parse(text).expect(text);
            let name_got = mailbox.name().map(|name| name.split_whitespace().collect::<Vec<_>>().join(" "));
            assert_eq!((name_got.as_deref(), mailbox.address().to_string().as_str()), (name, address));
        }
    }

    #[test]
    fn lists_and_groups_give_their_members() {
        for (text, count) in [
            ("", 0),
            (" , ,", 0),
            ("undisclosed-recipients:;", 0),
            ("a@x, B <b@x>,c@x", 3),
            ("\"Team: a, b\" <a@x>, friends: b@x, C <c@x>; d@x", 4),
        ] {
            assert_eq!(Mailbox::parse_list(text).expect(text).len(), count, "{text}");
        }
    }

    #[test]
    fn what_is_no_mailbox_is_named() {
        for (text, part, why) in [
            ("Alice <<a@x>>", "Alice <<a@x>>", MailboxFault::Form),
            ("a@x, \"b", " \"b", MailboxFault::Form),
            ("a@x)", "a@x)", MailboxFault::Form),
            ("<a@x", "<a@x", MailboxFault::Form),
            ("a@x, bob", "bob", MailboxFault::Address(InvalidAddress::Form)),
            ("A <a@x> B <b@x>", "A <a@x> B <b@x>", MailboxFault::Form),
            ("a b@x", "a b@x", MailboxFault::Address(InvalidAddress::LocalPart)),
        ] {
            let error = Mailbox::parse_list(text).expect_err(text);
            assert_eq!((error.text.as_str(), error.why), (part, why));
        }
        for text in ["", "a@x, b@x", "g:;"] {
            assert_eq!(Mailbox::parse(text).unwrap_err().why, MailboxFault::NotOne, "{text}");
        }
    }

    #[test]
    fn headers_carry_names_that_survive() {
        for (text, header) in [
            ("alice@example.org", "alice@example.org"),
            ("Alice Liddell <alice@bücher.example>", "Alice Liddell <alice@xn--bcher-kva.example>"),
            ("\"Liddell, \\\"A\\\"\" <a@x>", "\"Liddell, \\\"A\\\"\" <a@x>"),
            ("Zoë <zoë@bücher.example>", "=?utf-8?Q?Zo=C3=AB?= <zoë@bücher.example>"),
        ] {
            assert_eq!(Mailbox::parse(text).unwrap().to_header(), header);
        }
    }
}
