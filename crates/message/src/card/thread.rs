//! What a message is an answer to (RFC 5256, REFERENCES): message identifiers as numbers.
//!
//! A number is taken from the identifier in its normal form, quotes taken off, and never changes between versions.
//! Two identifiers may share one; who must be sure compares the texts ([`ids`] on the fields of the card).

use std::borrow::Cow;

use crate::pack::{Reader, put_number};

/// References at most. Of more the first is kept, which is where the thread began, and the last ones.
pub const REFERENCES_MAX: usize = 200;

/// The identifiers in a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threading<'a> {
    /// The message's own.
    pub message_id: Option<u64>,
    references: &'a [u8],
}

impl<'a> Threading<'a> {
    pub(super) fn read(packed: &'a [u8]) -> Threading<'a> {
        let mut reader = Reader(packed);
        let message_id = match reader.octet() {
            Some(1) => reader.u64(),
            _ => None,
        };
        Threading { message_id, references: reader.0 }
    }

    /// What it answers, the first of the thread first: the identifiers in References, or the first one in In-Reply-To
    /// where there are none.
    pub fn references(&self) -> impl Iterator<Item = u64> + use<'a> {
        let mut reader = Reader(self.references);
        std::iter::from_fn(move || reader.u64())
    }

    /// Where its thread began: the first message it names, or itself. `None`: it names none, nor itself.
    ///
    /// It is the same for all answers as long as programs keep the first reference, as RFC 5322 section 3.6.4 has it.
    pub fn root(&self) -> Option<u64> {
        self.references().next().or(self.message_id)
    }
}

/// Writes what [`Threading::read`] reads.
pub(super) fn pack(
    message_id: Option<&[u8]>,
    references: impl Iterator<Item = u64>,
    in_reply_to: Option<&[u8]>,
    out: &mut Vec<u8>,
) {
    match message_id.and_then(|value| ids(value).next()) {
        Some(id) => {
            put_number(out, 1);
            out.extend_from_slice(&number(&id).to_le_bytes());
        }
        None => put_number(out, 0),
    }
    let start = out.len();
    let mut count = 0;
    for id in references {
        if count == REFERENCES_MAX {
            out.drain(start + 8..start + 16);
            count -= 1;
        }
        out.extend_from_slice(&id.to_le_bytes());
        count += 1;
    }
    if count == 0
        && let Some(id) = in_reply_to.and_then(|value| ids(value).next())
    {
        out.extend_from_slice(&number(&id).to_le_bytes());
    }
}

/// The identifiers in a value, without their brackets and in normal form: no quotes around the local part, no line
/// breaks (RFC 5256 section 3, "message ID normalization").
pub fn ids(value: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            let start = memchr::memchr(b'<', rest)?;
            let inside = rest.get(start + 1..)?;
            let end = inside.iter().position(|octet| matches!(octet, b'<' | b'>'))?;
            let (id, after) = inside.split_at(end);
            rest = after;
            if after.starts_with(b">")
                && let Some(id) = normal(id)
            {
                return Some(id);
            }
        }
    })
}

fn normal(id: &[u8]) -> Option<Cow<'_, [u8]>> {
    let id = id.trim_ascii();
    let at = memchr::memrchr(b'@', id)?;
    if at == 0 || at + 1 == id.len() {
        return None;
    }
    if !id.iter().any(|octet| *octet <= b' ' || *octet == b'"') {
        return Some(Cow::Borrowed(id));
    }
    let mut plain = Vec::with_capacity(id.len());
    let mut octets = id.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b'"' => {}
            b'\\' => plain.extend(octets.next()),
            octet if octet <= b' ' => {}
            octet => plain.push(octet),
        }
    }
    Some(Cow::Owned(plain))
}

/// The number of an identifier in normal form: FNV-1a of 64 bits, mixed once more.
pub fn number(id: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for &octet in id {
        hash = (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_found_and_normal() {
        for (value, found) in [
            ("", vec![]),
            ("<a@b>", vec!["a@b"]),
            (" <a@b>\r\n <c@d>,<e@f>", vec!["a@b", "c@d", "e@f"]),
            ("<\"a\"@b> <a\r\n b@c>", vec!["a@b", "ab@c"]),
            ("<no at> <@b> <a@> < x@y >", vec!["x@y"]),
            ("your message of Monday <open@x", vec![]),
            ("<a <b@c>", vec!["b@c"]),
        ] {
            let ids: Vec<String> =
                ids(value.as_bytes()).map(|id| String::from_utf8_lossy(&id).into_owned()).collect();
            assert_eq!(ids, found, "{value}");
        }
    }

    #[test]
    fn of_many_references_the_first_and_the_last_are_kept() {
        let mut out = Vec::new();
        pack(Some(b"<a@b>"), 0..1000, Some(b"<c@d>"), &mut out);
        let read = Threading::read(&out);
        assert_eq!(read.message_id, Some(number(b"a@b")));
        let references: Vec<u64> = read.references().collect();
        assert_eq!(references.len(), REFERENCES_MAX);
        assert_eq!(read.root(), Some(0));
        assert_eq!((references[0], references[1], references[REFERENCES_MAX - 1]), (0, 801, 999));
        out.clear();
        pack(None, std::iter::empty(), Some(b"<c@d> <e@f>"), &mut out);
        assert!(Threading::read(&out).references().eq([number(b"c@d")]));
        assert_eq!(Threading::read(&out).root(), Some(number(b"c@d")));
        assert_eq!(number(b"a@b"), 0x3eda_ccc6_bf06_a9b7, "numbers are stored");
    }
}
