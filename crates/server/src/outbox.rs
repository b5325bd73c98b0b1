//! Bytes on their way to the peer, gathered so that one system call carries many replies.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Pieces shorter than this are copied together: below it, a copy is cheaper than one more `iovec`.
const COPY_BELOW: usize = 1024;

/// At most so many pieces go into one gathered write.
pub(crate) const MAX_SLICES: usize = 16;

/// A queue of output. Long pieces keep their own memory, short ones are joined.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Bytes>,
    /// Short pieces that came after the last of `chunks`.
    tail: Vec<u8>,
    len: usize,
}

impl Outbox {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        if self.chunks.is_empty() && self.tail.is_empty() {
            // The common case, one reply and nothing else: no copy at all.
            self.chunks.push_back(bytes);
        } else if bytes.len() < COPY_BELOW {
            self.tail.extend_from_slice(&bytes);
        } else {
            self.close_tail();
            self.chunks.push_back(bytes);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first pieces, as one gathered write takes them. Unused places stay empty slices.
    pub(crate) fn slices(&self) -> ([IoSlice<'_>; MAX_SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let pieces = self.chunks.iter().map(|chunk| chunk.as_ref()).chain([self.tail.as_slice()]);
        let mut used = 0;
        for (place, piece) in slices.iter_mut().zip(pieces.filter(|piece| !piece.is_empty())) {
            *place = IoSlice::new(piece);
            used += 1;
        }
        (slices, used)
    }

    /// Forgets the first `sent` bytes.
    pub(crate) fn advance(&mut self, sent: usize) {
        let mut left = sent.min(self.len);
        self.len -= left;
        while left > 0 {
            let Some(chunk) = self.chunks.front_mut() else {
                self.close_tail();
                if self.chunks.is_empty() {
                    return;
                }
                continue;
            };
            let step = left.min(chunk.len());
            chunk.advance(step);
            left -= step;
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
    }

    /// Gives memory back; called before a wait that may be long.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() && self.chunks.capacity() > 0 {
            *self = Outbox::default();
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(Bytes::from(std::mem::take(&mut self.tail)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn content(outbox: &Outbox) -> Vec<u8> {
        let (slices, used) = outbox.slices();
        slices.iter().take(used).flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn keeps_order_whatever_the_sizes() {
        let sizes = [0, 3, 5000, 1, 1, 2000, 1023, 1024, 7];
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for (i, size) in sizes.into_iter().enumerate() {
            let piece = vec![b'a' + i as u8; size];
            expected.extend_from_slice(&piece);
            outbox.push(Bytes::from(piece));
        }
        assert_eq!(outbox.len(), expected.len());
        for step in [1, 2, 4999, 3, 1500, 100, 1 << 20] {
            assert_eq!(content(&outbox), expected);
            outbox.advance(step);
            expected.drain(..step.min(expected.len()));
            assert_eq!(outbox.len(), expected.len());
        }
        assert!(outbox.is_empty());
        assert_eq!(outbox.slices().1, 0);
    }

    #[test]
    fn joins_short_pieces() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.push(Bytes::from_static(b"250 2.1.5 Ok\r\n"));
        }
        assert_eq!(outbox.slices().1, 2);
        outbox.advance(1400);
        outbox.rest();
        assert_eq!(outbox.chunks.capacity(), 0);
    }
}
