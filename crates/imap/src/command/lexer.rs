//! What commands are written with (RFC 9051 section 9): atoms, strings, numbers, lists.

use std::borrow::Cow;
use std::num::NonZeroU32;

use super::CommandError;
use crate::value::{Flag, MailboxName, Messages, NumberSet, SetError, Target, is_atom_char};

pub(super) type Result<T> = std::result::Result<T, CommandError>;

/// Reads a command from front to back. Literals stand where they came, after their `{n}` and CRLF.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    rest: &'a [u8],
    /// Mailbox names are in UTF-8.
    utf8: bool,
}

/// The announcement of a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiteralHead {
    pub(crate) octets: u64,
    /// The client waits to be told to go on (RFC 7888 has those who do not).
    pub(crate) synchronizing: bool,
    /// NULs are allowed (RFC 3516 section 4.4).
    pub(crate) binary: bool,
}

/// `resp-specials` may stand in arguments, but not in what is one atom among others.
fn is_astring_char(octet: u8) -> bool {
    is_atom_char(octet) || octet == b']'
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8], utf8: bool) -> Lexer<'a> {
        Lexer { rest: text, utf8 }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn utf8(&self) -> bool {
        self.utf8
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn eat(&mut self, octet: u8) -> bool {
        let there = self.peek() == Some(octet);
        if there {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        there
    }

    /// Takes this word, in any case, if it comes next and ends here.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let mut ahead = Lexer { ..*self };
        let there = ahead.take_while(is_atom_char).eq_ignore_ascii_case(word.as_bytes());
        if there {
            *self = ahead;
        }
        there
    }

    pub(super) fn expect(&mut self, octet: u8, what: &'static str) -> Result<()> {
        if self.eat(octet) { Ok(()) } else { Err(CommandError::Syntax(what)) }
    }

    pub(super) fn sp(&mut self) -> Result<()> {
        self.expect(b' ', "arguments are missing")
    }

    /// The command ends here. Spaces before the end are no error: some clients leave one.
    pub(super) fn end(&self) -> Result<()> {
        if self.rest.iter().all(|octet| *octet == b' ') {
            Ok(())
        } else {
            Err(CommandError::Syntax("there is more than the command takes"))
        }
    }

    pub(super) fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|octet| !accept(*octet)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    pub(super) fn atom(&mut self) -> Result<&'a [u8]> {
        match self.take_while(is_atom_char) {
            [] => Err(CommandError::Syntax("an atom is missing")),
            atom => Ok(atom),
        }
    }

    /// An atom, for comparison in any case.
    pub(super) fn word(&mut self) -> Result<String> {
        self.atom().map(|atom| atom.iter().map(|octet| char::from(octet.to_ascii_uppercase())).collect())
    }

    /// A number up to 2^63 - 1.
    pub(super) fn number64(&mut self) -> Result<u64> {
        let digits = self.take_while(|octet| octet.is_ascii_digit());
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i64>().ok());
        number.map(i64::unsigned_abs).ok_or(CommandError::Syntax("a number is missing or too large"))
    }

    pub(super) fn nz_number(&mut self) -> Result<NonZeroU32> {
        let number = u32::try_from(self.number64()?).ok();
        number.and_then(NonZeroU32::new).ok_or(CommandError::Syntax("the number is out of range"))
    }

    /// The announcement of a literal, without the line's end.
    pub(super) fn literal_head(&mut self) -> Result<LiteralHead> {
        const WRONG: CommandError = CommandError::Syntax("a literal is announced wrongly");
        let binary = self.eat(b'~');
        if !self.eat(b'{') {
            return Err(WRONG);
        }
        let octets = self.number64()?;
        let synchronizing = !self.eat(b'+');
        if self.eat(b'}') { Ok(LiteralHead { octets, synchronizing, binary }) } else { Err(WRONG) }
    }

    fn literal(&mut self) -> Result<&'a [u8]> {
        let head = self.literal_head()?;
        if self.rest.is_empty() {
            return Err(CommandError::Incomplete);
        }
        let rest =
            self.rest.strip_prefix(b"\r\n").ok_or(CommandError::Syntax("no line end after a literal"))?;
        let split = usize::try_from(head.octets).ok().and_then(|octets| rest.split_at_checked(octets));
        let (octets, rest) = split.ok_or(CommandError::Incomplete)?;
        if !head.binary && memchr::memchr(0, octets).is_some() {
            return Err(CommandError::Syntax("a string holds NUL"));
        }
        self.rest = rest;
        Ok(octets)
    }

    /// `quoted`. What is not ASCII is let through whether the client has asked for that or not: search texts and passwords
    /// come so.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>> {
        const OPEN: CommandError = CommandError::Syntax("a quoted string does not end");
        self.expect(b'"', "a string is missing")?;
        let end = memchr::memchr2(b'"', b'\\', self.rest).ok_or(OPEN)?;
        let (mut text, mut rest) = (Cow::Borrowed(&self.rest[..end]), &self.rest[end..]);
        loop {
            match rest {
                [b'"', after @ ..] => {
                    self.rest = after;
                    break;
                }
                [b'\\', escaped @ (b'"' | b'\\'), after @ ..] => {
                    let end = memchr::memchr2(b'"', b'\\', after).ok_or(OPEN)?;
                    let text = text.to_mut();
                    text.push(*escaped);
                    text.extend_from_slice(&after[..end]);
                    rest = &after[end..];
                }
                _ => return Err(CommandError::Syntax("a backslash stands before what needs none")),
            }
        }
        if memchr::memchr3(0, b'\r', b'\n', &text).is_some() {
            return Err(CommandError::Syntax("a quoted string holds what it may not"));
        }
        Ok(text)
    }

    /// `string`
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{' | b'~') => self.literal().map(Cow::Borrowed),
            _ => Err(CommandError::Syntax("a string is missing")),
        }
    }

    /// `astring`. The tilde begins a literal8 only before a brace.
    pub(super) fn astring(&mut self) -> Result<Cow<'a, [u8]>> {
        self.string_or(is_astring_char)
    }

    /// `list-mailbox`
    pub(super) fn list_mailbox(&mut self) -> Result<Cow<'a, [u8]>> {
        self.string_or(|octet| is_astring_char(octet) || matches!(octet, b'%' | b'*'))
    }

    /// A string, or an atom of these octets. Octets beyond ASCII are taken, too, as in [`quoted`](Lexer::quoted).
    fn string_or(&mut self, accept: impl Fn(u8) -> bool) -> Result<Cow<'a, [u8]>> {
        if matches!(self.rest, [b'"' | b'{', ..] | [b'~', b'{', ..]) {
            return self.string();
        }
        match self.take_while(|octet| accept(octet) || octet >= 0x80) {
            [] => Err(CommandError::Syntax("an argument is missing")),
            atom => Ok(Cow::Borrowed(atom)),
        }
    }

    /// An `astring` in UTF-8.
    pub(super) fn text(&mut self) -> Result<String> {
        utf8(self.astring()?)
    }

    /// `nstring` in UTF-8.
    pub(super) fn ntext(&mut self) -> Result<Option<String>> {
        if self.eat_word("NIL") { Ok(None) } else { utf8(self.string()?).map(Some) }
    }

    pub(super) fn mailbox(&mut self) -> Result<MailboxName> {
        MailboxName::decode(&self.astring()?, self.utf8).map_err(CommandError::Mailbox)
    }

    /// `sequence-set` without `$`.
    pub(super) fn set(&mut self) -> Result<NumberSet> {
        let set = self.take_while(|octet| octet.is_ascii_digit() || matches!(octet, b',' | b':' | b'*'));
        NumberSet::parse(set).map_err(|error| match error {
            SetError::Syntax => CommandError::Syntax("a set of message numbers is missing or wrong"),
            SetError::TooMany => CommandError::Limit("the set has too many ranges"),
        })
    }

    /// `sequence-set`
    pub(super) fn target(&mut self, uid: bool) -> Result<Target> {
        let messages = if self.eat(b'$') { Messages::Saved } else { Messages::Set(self.set()?) };
        Ok(Target { messages, uid })
    }

    pub(super) fn flag(&mut self) -> Result<Flag> {
        let start = self.rest;
        self.eat(b'\\');
        self.take_while(is_atom_char);
        let flag = &start[..start.len() - self.rest.len()];
        let flag = std::str::from_utf8(flag).ok().and_then(|flag| flag.parse().ok());
        flag.ok_or(CommandError::Syntax("not a flag"))
    }

    /// `(` items with a space between them `)`; there may be none.
    pub(super) fn list<T>(
        &mut self,
        max: usize,
        mut item: impl FnMut(&mut Lexer<'a>) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.expect(b'(', "a list is missing")?;
        let mut items = Vec::new();
        while !self.eat(b')') {
            if !items.is_empty() {
                self.expect(b' ', "a list does not end")?;
                // Lists with a space before the end are seen.
                if self.eat(b')') {
                    break;
                }
            }
            if items.len() == max {
                return Err(CommandError::Limit("a list is too long"));
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
}

/// The announcement at the end of a line, if there is one. One between quotes is none.
pub(crate) fn announced(line: &[u8]) -> Option<LiteralHead> {
    if line.last() != Some(&b'}') {
        return None;
    }
    let start = memchr::memrchr(b'{', line)?;
    let mut lexer = Lexer::new(&line[start..], false);
    let head = lexer.literal_head().ok().filter(|_| lexer.rest.is_empty())?;
    let mut quoted = false;
    let mut before = line[..start].iter();
    while let Some(octet) = before.next() {
        match octet {
            b'"' => quoted = !quoted,
            b'\\' if quoted => _ = before.next(),
            _ => {}
        }
    }
    let binary = line[..start].ends_with(b"~") && !line[..start].ends_with(b"~~");
    (!quoted).then_some(LiteralHead { binary, ..head })
}

pub(super) fn utf8(octets: Cow<'_, [u8]>) -> Result<String> {
    String::from_utf8(octets.into_owned()).map_err(|_| CommandError::Syntax("text is not in UTF-8"))
}
