//! The frame of a record in a segment, and the head of a segment.
//!
//! A record is `head (44 octets) | meta | body`. The head's checksum covers head and meta; the body has its own, which
//! is computed while the body is received and is kept in the database too, so that each read can verify.
//!
//! Every record has a number that only grows and names its predecessor in the log. Numbers are microseconds of the
//! clock, or one more than the last when the clock stands still: so they are a time as well, and numbers given out
//! after a restore from backup are not those given out before it.

/// Octets before `meta`.
pub(crate) const HEAD: usize = 44;
/// Octets before the first record of a segment.
pub(crate) const SEGMENT_HEAD: usize = 32;
/// No record's meta is larger: a check before anything is allocated.
pub(crate) const META_MAX: usize = 256 << 20;

const MAGIC: [u8; 4] = *b"PBr\x01";
const SEGMENT_MAGIC: [u8; 8] = *b"PBseg\r\n\x01";

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A body; its number is the body's identity.
    Body,
    /// What a transaction did.
    Tx,
}

/// A record's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// The body lies in a file of its own, which `meta` names; `body_len` is the file's length.
    pub(crate) file: bool,
    /// A copy made by compaction: its number is that of the original, and it has no place in the chain.
    pub(crate) moved: bool,
    pub(crate) number: u64,
    /// The number of the record before, in the order of the log.
    pub(crate) previous: u64,
    pub(crate) meta_len: u32,
    pub(crate) body_len: u64,
    pub(crate) body_crc: u32,
}

impl Head {
    pub(crate) fn of_transaction(number: u64, previous: u64, meta: &[u8]) -> Head {
        Head {
            kind: Kind::Tx,
            file: false,
            moved: false,
            number,
            previous,
            meta_len: meta.len() as u32,
            body_len: 0,
            body_crc: 0,
        }
    }

    /// Octets of the body that follow in the segment.
    pub(crate) fn inline_len(&self) -> u64 {
        if self.file { 0 } else { self.body_len }
    }

    /// Octets of the whole record in the segment.
    pub(crate) fn record_len(&self) -> u64 {
        HEAD as u64 + u64::from(self.meta_len) + self.inline_len()
    }

    /// Appends head and meta; the body follows.
    pub(crate) fn encode(&self, meta: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.push(match self.kind {
            Kind::Body => 1,
            Kind::Tx => 2,
        });
        out.push(u8::from(self.file) | u8::from(self.moved) << 1);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.meta_len.to_le_bytes());
        out.extend_from_slice(&self.body_crc.to_le_bytes());
        out.extend_from_slice(&self.body_len.to_le_bytes());
        let head = out.get(start..).unwrap_or_default();
        let crc = crc32c::crc32c_append(crc32c::crc32c(head), meta);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(meta);
    }

    /// Reads a head; `None` when it is none. Whether head and meta are whole, [`Head::verify`] tells.
    pub(crate) fn decode(bytes: &[u8; HEAD]) -> Option<Head> {
        let (magic, rest) = bytes.split_at(4);
        let [kind, flags, 0, 0, ..] = *rest else { return None };
        if magic != MAGIC || flags > 3 {
            return None;
        }
        let head = Head {
            kind: match kind {
                1 => Kind::Body,
                2 => Kind::Tx,
                _ => return None,
            },
            file: flags & 1 != 0,
            moved: flags & 2 != 0,
            number: u64_at(bytes, 8)?,
            previous: u64_at(bytes, 16)?,
            meta_len: u32_at(bytes, 24)?,
            body_crc: u32_at(bytes, 28)?,
            body_len: u64_at(bytes, 32)?,
        };
        (head.meta_len as usize <= META_MAX && head.body_len < 1 << 48).then_some(head)
    }

    /// Whether the head's octets and its meta are as they were written.
    pub(crate) fn verify(bytes: &[u8; HEAD], meta: &[u8]) -> bool {
        let (covered, _) = bytes.split_at(HEAD - 4);
        let crc = crc32c::crc32c_append(crc32c::crc32c(covered), meta);
        u32_at(bytes, HEAD - 4) == Some(crc)
    }
}

/// The head of a segment file.
pub(crate) fn segment_head(id: u64, store: u64) -> [u8; SEGMENT_HEAD] {
    let mut head = [0; SEGMENT_HEAD];
    head[..8].copy_from_slice(&SEGMENT_MAGIC);
    head[8..16].copy_from_slice(&id.to_le_bytes());
    head[16..24].copy_from_slice(&store.to_le_bytes());
    let crc = crc32c::crc32c(&head[..28]);
    head[28..].copy_from_slice(&crc.to_le_bytes());
    head
}

/// The segment's number and its store's, when it is a segment's head.
pub(crate) fn read_segment_head(head: &[u8; SEGMENT_HEAD]) -> Option<(u64, u64)> {
    let (covered, _) = head.split_at(28);
    if !head.starts_with(&SEGMENT_MAGIC) || u32_at(head, 28) != Some(crc32c::crc32c(covered)) {
        return None;
    }
    Some((u64_at(head, 8)?, u64_at(head, 16)?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_changed_octet_anywhere_is_seen() {
        let head = Head {
            kind: Kind::Body,
            file: true,
            moved: false,
            number: 77,
            previous: 76,
            meta_len: 3,
            body_len: 9,
            body_crc: 5,
        };
        let mut out = Vec::new();
        head.encode(b"abc", &mut out);
        assert_eq!(out.len() as u64, head.record_len());
        for at in 0..out.len() {
            let mut bad = out.clone();
            bad[at] ^= 0x10;
            let octets: &[u8; HEAD] = bad[..HEAD].try_into().unwrap();
            let good = Head::decode(octets).is_some() && Head::verify(octets, &bad[HEAD..]);
            assert!(!good, "octet {at}");
        }
        let octets: &[u8; HEAD] = out[..HEAD].try_into().unwrap();
        assert_eq!(Head::decode(octets), Some(head));
        assert!(Head::verify(octets, b"abc"));
    }

    #[test]
    fn segment_heads_name_their_store() {
        let head = segment_head(3, 99);
        assert_eq!(read_segment_head(&head), Some((3, 99)));
        let mut bad = head;
        bad[9] = 1;
        assert_eq!(read_segment_head(&bad), None);
    }
}
