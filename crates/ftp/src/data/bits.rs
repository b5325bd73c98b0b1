//! Logical bytes of any size: packed contiguously on the wire (RFC 959 section 3.1.1.4), each in whole octets,
//! right-justified, on disk.

use super::{ByteSize, DataError};

/// Octets of the largest logical byte.
const OCTETS_MAX: usize = 32;

/// Packs what lies on disk for the wire.
#[derive(Debug)]
pub(super) struct Packer {
    size: ByteSize,
    /// Octets of the current logical byte that have been seen.
    seen: usize,
    held: u8,
    held_bits: u32,
}

impl Packer {
    pub(super) fn new(size: ByteSize) -> Packer {
        Packer { size, seen: 0, held: 0, held_bits: 0 }
    }

    pub(super) fn push(&mut self, disk: &[u8], out: &mut Vec<u8>) -> Result<(), DataError> {
        for &octet in disk {
            let bits = if self.seen == 0 { first_bits(self.size) } else { 8 };
            if bits < 8 && octet >> bits != 0 {
                return Err(DataError::NotThisByteSize);
            }
            self.put(octet, bits, out);
            self.seen = (self.seen + 1) % self.size.octets();
        }
        Ok(())
    }

    fn put(&mut self, octet: u8, bits: u32, out: &mut Vec<u8>) {
        let window = u16::from(self.held) << bits | u16::from(octet);
        let held = self.held_bits + bits;
        if held >= 8 {
            self.held_bits = held - 8;
            out.push((window >> self.held_bits) as u8);
            self.held = (window & ((1 << self.held_bits) - 1)) as u8;
        } else {
            (self.held, self.held_bits) = (window as u8, held);
        }
    }

    /// Whether nothing is held, so that the next logical byte begins with an octet on the wire.
    pub(super) fn is_even(&self) -> bool {
        self.seen == 0 && self.held_bits == 0
    }

    /// The end of the file or of a record: pads with zeros.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), DataError> {
        if self.seen != 0 {
            return Err(DataError::NotThisByteSize);
        }
        if self.held_bits > 0 {
            out.push(self.held << (8 - self.held_bits));
            (self.held, self.held_bits) = (0, 0);
        }
        Ok(())
    }
}

/// Unpacks what came over the wire for the disk.
#[derive(Debug)]
pub(super) struct Unpacker {
    size: ByteSize,
    /// The octets of the current logical byte that are complete. What is left of them at the end is padding.
    begun: [u8; OCTETS_MAX],
    done: usize,
    held: u32,
    held_bits: u32,
}

impl Unpacker {
    pub(super) fn new(size: ByteSize) -> Unpacker {
        Unpacker { size, begun: [0; OCTETS_MAX], done: 0, held: 0, held_bits: 0 }
    }

    pub(super) fn push(&mut self, wire: &[u8], out: &mut Vec<u8>) {
        for &octet in wire {
            self.held = self.held << 8 | u32::from(octet);
            self.held_bits += 8;
            loop {
                let bits = if self.done == 0 { first_bits(self.size) } else { 8 };
                if self.held_bits < bits {
                    break;
                }
                self.held_bits -= bits;
                self.begun[self.done] = (self.held >> self.held_bits) as u8;
                self.held &= (1 << self.held_bits) - 1;
                self.done += 1;
                if self.done == self.size.octets() {
                    out.extend_from_slice(&self.begun[..self.done]);
                    self.done = 0;
                }
            }
        }
    }

    pub(super) fn is_even(&self) -> bool {
        self.done == 0 && self.held_bits == 0
    }

    /// The end of the file or of a record: what is left over can only be padding.
    pub(super) fn finish(&mut self) -> Result<(), DataError> {
        let padding = self.held == 0 && self.begun[..self.done].iter().all(|octet| *octet == 0);
        *self = Unpacker::new(self.size);
        if padding { Ok(()) } else { Err(DataError::NotThisByteSize) }
    }
}

/// Bits of a logical byte that are in the first of its octets.
fn first_bits(size: ByteSize) -> u32 {
    u32::from(size.bits()) - 8 * (size.octets() as u32 - 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn packed(size: u8, disk: &[u8]) -> Result<Vec<u8>, DataError> {
        let (mut packer, mut out) = (Packer::new(ByteSize::new(size).unwrap()), Vec::new());
        packer.push(disk, &mut out)?;
        packer.finish(&mut out)?;
        Ok(out)
    }

    fn unpacked(size: u8, wire: &[u8]) -> Result<Vec<u8>, DataError> {
        let (mut unpacker, mut out) = (Unpacker::new(ByteSize::new(size).unwrap()), Vec::new());
        unpacker.push(wire, &mut out);
        unpacker.finish()?;
        Ok(out)
    }

    #[test]
    fn words_of_36_bits() {
        // Two words in nine octets, as RFC 959 section 3.1.1.4 says.
        let wire = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x12];
        let disk = [0x1, 0x23, 0x45, 0x67, 0x89, 0xa, 0xbc, 0xde, 0xf0, 0x12];
        assert_eq!(unpacked(36, &wire).unwrap(), disk);
        assert_eq!(packed(36, &disk).unwrap(), wire);
        assert_eq!(unpacked(36, &wire[..5]), Err(DataError::NotThisByteSize), "four bits over");
    }

    #[test]
    fn every_size_comes_back() {
        for size in 1..=255u8 {
            let octets = ByteSize::new(size).unwrap().octets();
            let mask = (1u16 << first_bits(ByteSize::new(size).unwrap())) as u32 - 1;
            let disk: Vec<u8> = (0..octets * 8)
                .map(|n| if n % octets == 0 { ((n as u32 * 37) & mask) as u8 } else { (n * 89) as u8 })
                .collect();
            let wire = packed(size, &disk).unwrap();
            assert_eq!(wire.len(), usize::from(size), "eight of {size} bits");
            assert_eq!(unpacked(size, &wire).unwrap(), disk);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(packed(7, &[0x80]), Err(DataError::NotThisByteSize));
        assert_eq!(packed(12, &[0x01]), Err(DataError::NotThisByteSize));
        assert_eq!(unpacked(12, &[0x01]), Err(DataError::NotThisByteSize));
        assert_eq!(unpacked(12, &[0x12, 0x30]).unwrap(), [0x01, 0x23]);
    }
}
