//! Numbers and strings as octets: LEB128 integers, zigzag for signed ones, a length before what varies.

/// Appends.
pub(crate) trait Put {
    fn put_number(&mut self, value: u64);
    fn put_bytes(&mut self, value: &[u8]);

    fn put_signed(&mut self, value: i64) {
        self.put_number(((value << 1) ^ (value >> 63)) as u64);
    }

    fn put_wide(&mut self, value: u128) {
        self.put_bytes(&value.to_be_bytes());
    }
}

impl Put for Vec<u8> {
    fn put_number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_bytes(&mut self, value: &[u8]) {
        self.put_number(value.len() as u64);
        self.extend_from_slice(value);
    }
}

/// Takes from the front; `None` when the octets do not say what was asked.
#[derive(Debug)]
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn number32(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (value, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(value)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    pub(crate) fn wide(&mut self) -> Option<u128> {
        Some(u128::from_be_bytes(self.bytes()?.try_into().ok()?))
    }

    /// How many things follow; never more than there are octets left, so that a wrong count costs no memory.
    pub(crate) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len()).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            out.put_number(value);
            let mut take = Take(&out);
            assert_eq!(take.number(), Some(value));
            assert!(take.is_empty());
            assert_eq!(Take(&out[..out.len() - 1]).number(), None, "{value} cut short");
        }
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            out.put_signed(value);
            assert_eq!(Take(&out).signed(), Some(value));
        }
        assert_eq!(Take(&[0xff; 10]).number(), None, "65 bits");
        assert_eq!(Take(&[0xff; 11]).number(), None);
    }

    #[test]
    fn lengths_are_checked_before_use() {
        assert_eq!(Take(&[5, 1, 2]).bytes(), None);
        assert_eq!(Take(&[200, 200, 200, 200, 15]).count(), None);
        let mut out = Vec::new();
        out.put_wide(u128::MAX - 7);
        assert_eq!(Take(&out).wide(), Some(u128::MAX - 7));
    }
}
