//! Address lists as they stand in headers (RFC 5322 section 3.4), read so that something comes out of anything.

use std::borrow::Cow;

use crate::structure::after_comment;

/// What stands for a local part that is missing, as the usual servers write it: RFC 9051 leaves nothing for it, since
/// an address without one is the mark of a group.
pub(crate) const MISSING_MAILBOX: &[u8] = b"MISSING_MAILBOX";
/// What stands for a missing domain.
pub(crate) const MISSING_DOMAIN: &[u8] = b"MISSING_DOMAIN";

/// An address or the mark of a group, as [`Address`](super::Address) has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    pub(crate) name: Option<Cow<'a, [u8]>>,
    pub(crate) route: Option<Cow<'a, [u8]>>,
    pub(crate) mailbox: Option<Cow<'a, [u8]>>,
    pub(crate) host: Option<Cow<'a, [u8]>>,
}

/// Reads at most `room` addresses and marks, and gives how many more could have been.
pub(crate) fn parse<'a>(value: &'a [u8], room: usize, mut found: impl FnMut(Parsed<'a>)) -> usize {
    let mut cursor = Cursor { value, at: 0, comment: None };
    let mut in_group = false;
    let mut room = room;
    while room > 0 {
        cursor.skip_space();
        match cursor.peek() {
            None => break,
            Some(b';') if in_group => {
                in_group = false;
                cursor.at += 1;
                found(Parsed::default());
            }
            Some(b',' | b';' | b'>' | b')' | b']' | b'\\') => {
                cursor.at += 1;
                continue;
            }
            Some(_) => match cursor.mailbox(in_group) {
                Item::Address(address) => found(address),
                Item::Group(name) => {
                    in_group = true;
                    found(Parsed { mailbox: Some(name), ..Parsed::default() });
                }
            },
        }
        room -= 1;
    }
    if in_group {
        // A group that was not closed is closed here, so that marks come in pairs.
        found(Parsed::default());
    }
    room
}

enum Item<'a> {
    Address(Parsed<'a>),
    Group(Cow<'a, [u8]>),
}

/// Words that have been read, as one text.
#[derive(Default)]
enum Words<'a> {
    #[default]
    None,
    /// They stand in the value just so.
    Slice {
        text: &'a [u8],
        end: usize,
    },
    Put(Vec<u8>),
}

impl<'a> Words<'a> {
    fn is_none(&self) -> bool {
        matches!(self, Words::None)
    }

    fn text(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Words::None => None,
            Words::Slice { text, .. } => Some(Cow::Borrowed(text)),
            Words::Put(text) => Some(Cow::Owned(text)),
        }
    }
}

struct Cursor<'a> {
    value: &'a [u8],
    at: usize,
    /// The last comment that was passed.
    comment: Option<&'a [u8]>,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.value.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.value.get(self.at..).unwrap_or_default()
    }

    /// White space, line breaks, NULs and comments.
    fn skip_space(&mut self) {
        while let Some(octet) = self.peek() {
            match octet {
                b' ' | b'\t' | b'\r' | b'\n' | 0 => self.at += 1,
                b'(' => {
                    let rest = self.rest();
                    let length = rest.len() - after_comment(rest).len();
                    self.comment = rest.get(1..length);
                    self.at += length;
                }
                _ => return,
            }
        }
    }

    fn mailbox(&mut self, in_group: bool) -> Item<'a> {
        self.comment = None;
        let mut words = self.words(b' ');
        // A sign that means nothing here, and would be met again and again.
        while !matches!(self.peek(), None | Some(b'<' | b'@' | b',' | b';' | b':')) {
            self.at += 1;
            self.append_words(&mut words, b' ');
        }
        match self.peek() {
            Some(b'<') => {
                self.at += 1;
                let mut address = self.angle();
                self.skip_item();
                address.name = words.text();
                Item::Address(address)
            }
            Some(b':') if !in_group => {
                self.at += 1;
                Item::Group(words.text().unwrap_or_default())
            }
            Some(b'@') => {
                self.at += 1;
                self.comment = None;
                let host = self.domain();
                self.skip_item();
                let name = self.comment.map(comment_text).filter(|comment| !comment.is_empty());
                Item::Address(Parsed { name, ..address(local(words), host) })
            }
            _ => {
                self.skip_item();
                let name = self.comment.map(comment_text).filter(|comment| !comment.is_empty());
                Item::Address(Parsed { name, ..address(local(words), None) })
            }
        }
    }

    /// What stands in angle brackets, of which the first has been taken.
    fn angle(&mut self) -> Parsed<'a> {
        self.skip_space();
        let mut route = None;
        if self.peek() == Some(b'@') {
            let rest = self.rest();
            let end = rest.iter().position(|octet| matches!(octet, b':' | b'>')).unwrap_or(rest.len());
            if rest.get(end) == Some(&b':') {
                let text = rest.get(..end).unwrap_or_default();
                let kept = |octet: &u8| *octet > b' ';
                route = Some(match text.iter().all(kept) {
                    true => Cow::Borrowed(text),
                    false => Cow::Owned(text.iter().copied().filter(kept).collect()),
                });
                self.at += end + 1;
            }
        }
        let words = self.words(b' ');
        let mut host = None;
        if self.peek() == Some(b'@') {
            self.at += 1;
            host = self.domain();
        }
        Parsed { route, ..address(local(words), host) }
    }

    /// The words from here on, with `between` where there is space between them.
    fn words(&mut self, between: u8) -> Words<'a> {
        let mut words = Words::None;
        self.append_words(&mut words, between);
        words
    }

    fn append_words(&mut self, words: &mut Words<'a>, between: u8) {
        loop {
            let before = self.at;
            self.skip_space();
            let has_space = self.at > before;
            let start = self.at;
            let (text, is_plain): (Cow<'a, [u8]>, bool) = match self.peek() {
                Some(b'"') => (self.quoted(), false),
                _ => {
                    let special = |octet: &u8| *octet <= b' ' || b"()<>@,;:\"[]\\".contains(octet);
                    let rest = self.rest();
                    let length = rest.iter().position(special).unwrap_or(rest.len());
                    if length == 0 {
                        return;
                    }
                    self.at += length;
                    (Cow::Borrowed(rest.get(..length).unwrap_or_default()), true)
                }
            };
            let fresh = match text {
                Cow::Borrowed(text) => {
                    Words::Slice { text, end: if is_plain { self.at } else { usize::MAX } }
                }
                Cow::Owned(text) => Words::Put(text),
            };
            let next = (has_space, start, fresh);
            *words = self.join(std::mem::take(words), next, between);
        }
    }

    fn join(&self, words: Words<'a>, next: (bool, usize, Words<'a>), between: u8) -> Words<'a> {
        let (has_space, start, fresh) = next;
        match (words, fresh) {
            (Words::None, fresh) => fresh,
            // Two plain words with one space between them are one slice.
            (Words::Slice { text, end }, Words::Slice { end: fresh_end, .. })
                if fresh_end != usize::MAX
                    && end.checked_add(1) == Some(start)
                    && self.value.get(end) == Some(&between) =>
            {
                let text = end.checked_sub(text.len()).and_then(|from| self.value.get(from..fresh_end));
                Words::Slice { text: text.unwrap_or_default(), end: fresh_end }
            }
            (words, fresh) => {
                let mut put = words.text().unwrap_or_default().into_owned();
                if has_space {
                    put.push(between);
                }
                put.extend_from_slice(&fresh.text().unwrap_or_default());
                Words::Put(put)
            }
        }
    }

    /// A quoted string without its quotes; one that does not end goes to the end.
    fn quoted(&mut self) -> Cow<'a, [u8]> {
        self.at += 1;
        let rest = self.rest();
        let mut put: Option<Vec<u8>> = None;
        let mut at = 0;
        while let Some(&octet) = rest.get(at) {
            match octet {
                b'"' => break,
                b'\\' | b'\r' | b'\n' | 0 => {
                    let put = put.get_or_insert_with(|| rest.get(..at).unwrap_or_default().to_vec());
                    if octet == b'\\' {
                        at += 1;
                        put.extend(rest.get(at).filter(|octet| !matches!(octet, b'\r' | b'\n' | 0)));
                    }
                }
                octet => {
                    if let Some(put) = &mut put {
                        put.push(octet);
                    }
                }
            }
            at += 1;
        }
        self.at = (self.at + at + 1).min(self.value.len());
        put.map_or_else(|| Cow::Borrowed(rest.get(..at.min(rest.len())).unwrap_or_default()), Cow::Owned)
    }

    /// The domain after an at sign; obsolete space and comments around its dots fall out.
    fn domain(&mut self) -> Option<Cow<'a, [u8]>> {
        let mut domain: Option<Cow<'a, [u8]>> = None;
        loop {
            let before = self.at;
            self.skip_space();
            let has_space = self.at > before;
            let rest = self.rest();
            let length = match rest.first() {
                Some(b'[') => literal_len(rest),
                _ => {
                    let special = |octet: &u8| *octet <= b' ' || b"()<>@,;:\"[]\\".contains(octet);
                    rest.iter().position(special).unwrap_or(rest.len())
                }
            };
            let word = rest.get(..length).filter(|word| !word.is_empty());
            match (&mut domain, word) {
                (_, None) => return domain,
                (None, Some(word)) => domain = Some(Cow::Borrowed(word)),
                (Some(domain), Some(word)) => {
                    if has_space && !domain.ends_with(b".") && !word.starts_with(b".") {
                        return Some(std::mem::take(domain));
                    }
                    domain.to_mut().extend_from_slice(word);
                }
            }
            self.at += length;
        }
    }

    /// Goes to what ends an address, whatever is left before it.
    fn skip_item(&mut self) {
        loop {
            self.skip_space();
            match self.peek() {
                None | Some(b',' | b';') => return,
                Some(b'"') => drop(self.quoted()),
                Some(_) => self.at += 1,
            }
        }
    }
}

/// Octets of the domain literal that a text begins with; one that does not end goes to the end.
fn literal_len(text: &[u8]) -> usize {
    let mut octets = text.iter().zip(1..);
    while let Some((octet, length)) = octets.next() {
        match octet {
            // A quoted pair (RFC 5322 section 4.4, obs-dtext).
            b'\\' => {
                octets.next();
            }
            b']' => return length,
            _ => {}
        }
    }
    text.len()
}

fn address<'a>(mailbox: Option<Cow<'a, [u8]>>, host: Option<Cow<'a, [u8]>>) -> Parsed<'a> {
    Parsed {
        mailbox: Some(mailbox.unwrap_or(Cow::Borrowed(MISSING_MAILBOX))),
        host: Some(host.unwrap_or(Cow::Borrowed(MISSING_DOMAIN))),
        ..Parsed::default()
    }
}

/// Words as a local part: obsolete space around its dots falls out.
fn local(words: Words<'_>) -> Option<Cow<'_, [u8]>> {
    if words.is_none() {
        return None;
    }
    let text = words.text()?;
    if !text.contains(&b' ') || !(text.windows(2).any(|pair| pair == b" ." || pair == b". ")) {
        return Some(text);
    }
    let mut put: Vec<u8> = Vec::with_capacity(text.len());
    for &octet in text.iter() {
        match octet {
            b' ' if put.ends_with(b".") => {}
            b'.' => {
                while put.ends_with(b" ") {
                    put.pop();
                }
                put.push(octet);
            }
            octet => put.push(octet),
        }
    }
    Some(Cow::Owned(put))
}

/// The text of a comment, given with the parenthesis that closes it.
fn comment_text(comment: &[u8]) -> Cow<'_, [u8]> {
    let text = comment.strip_suffix(b")").unwrap_or(comment).trim_ascii();
    if !text.iter().any(|octet| matches!(octet, b'\\' | b'\r' | b'\n' | 0)) {
        return Cow::Borrowed(text);
    }
    let mut put = Vec::with_capacity(text.len());
    let mut octets = text.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b'\\' => put.extend(octets.next()),
            b'\r' | b'\n' | 0 => {}
            octet => put.push(octet),
        }
    }
    Cow::Owned(put)
}
