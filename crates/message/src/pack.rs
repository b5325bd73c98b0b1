//! Small numbers and strings packed one after the other: what a card and a structure are made of.
//!
//! Numbers are in seven-bit groups, least first. Reading never panics and never believes a length: what does not fit
//! is `None`.

/// Appends a number.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a number that may be negative.
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Appends octets with their length before them.
pub(crate) fn put_string(out: &mut Vec<u8>, octets: &[u8]) {
    put_number(out, octets.len() as u64);
    out.extend_from_slice(octets);
}

/// Appends what `write` appends, with its length before it.
pub(crate) fn put_block(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Most blocks are shorter than 128 octets; the others make room for a longer number.
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    if let (Ok(short @ 0..0x80), Some(slot)) = (u8::try_from(length), out.get_mut(start)) {
        *slot = short;
        return;
    }
    let mut number = Vec::with_capacity(5);
    put_number(&mut number, length as u64);
    out.splice(start..=start, number);
}

/// Reads from the front.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn octet(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        let mut shift = 0;
        loop {
            let octet = self.octet()?;
            number |= u64::from(octet & 0x7f).checked_shl(shift)?;
            if octet < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(crate) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    pub(crate) fn block(&mut self) -> Option<Reader<'a>> {
        self.string().map(Reader)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        let (taken, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let signed = [0, -1, 1, i64::MIN, i64::MAX, -70_000];
        let mut out = Vec::new();
        numbers.iter().for_each(|&number| put_number(&mut out, number));
        signed.iter().for_each(|&number| put_signed(&mut out, number));
        for length in [0, 1, 127, 128, 20_000] {
            put_block(&mut out, |out| out.resize(out.len() + length, b'x'));
        }
        let mut reader = Reader(&out);
        assert_eq!(numbers.map(|_| reader.number()), numbers.map(Some));
        assert_eq!(signed.map(|_| reader.signed()), signed.map(Some));
        for length in [0, 1, 127, 128, 20_000] {
            assert_eq!(reader.string(), Some(&vec![b'x'; length][..]));
        }
        assert!(reader.is_empty());
    }

    #[test]
    fn what_is_cut_short_or_too_large_is_none() {
        assert_eq!(Reader(b"").number(), None);
        assert_eq!(Reader(b"\xff\xff").number(), None);
        assert_eq!(Reader(&[0xff; 12]).number(), None);
        assert_eq!(Reader(b"\x05abc").string(), None);
        assert_eq!(Reader(b"\x01\x02\x03").u64(), None);
    }
}
