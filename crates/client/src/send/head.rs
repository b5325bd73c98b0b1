//! The header of a ready message, taken off what streams in.

use std::borrow::Cow;

use packetboat_message::{HeaderEnd, HeaderScan};
use thiserror::Error;

/// Octets of a header at most; it is held in memory.
const HEADER_MAX: usize = 1024 * 1024;

/// A header, and what has been found in it.
#[derive(Debug, Default)]
pub(crate) struct Head {
    scan: HeaderScan,
    octets: Vec<u8>,
}

/// The header is endless.
#[derive(Debug, Error)]
#[error("the header of the message is longer than 1 MiB")]
pub(crate) struct TooLong;

impl Head {
    /// Takes the next octets of the message, and gives back those that are of the body.
    pub(crate) fn push<'a>(&mut self, octets: &'a [u8]) -> Result<Cow<'a, [u8]>, TooLong> {
        if self.scan.ended().is_some() {
            return Ok(octets.into());
        }
        self.scan.push(octets);
        self.octets.extend_from_slice(octets);
        if self.scan.ended().is_some() {
            return Ok(self.cut().into());
        }
        if self.octets.len() > HEADER_MAX { Err(TooLong) } else { Ok(Cow::default()) }
    }

    /// The message is over: how the header ended, and what of it is of the body.
    pub(crate) fn finish(&mut self) -> (HeaderEnd, Vec<u8>) {
        match self.scan.ended() {
            Some(end) => (end, Vec::new()),
            None => (self.scan.finish(), self.cut()),
        }
    }

    /// The header, with the empty line at its end.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What is in it.
    pub(crate) fn scan(&self) -> &HeaderScan {
        &self.scan
    }

    /// A line that ends a header without being empty is of the body, and may have come in an earlier piece.
    fn cut(&mut self) -> Vec<u8> {
        let len = usize::try_from(self.scan.len()).unwrap_or(usize::MAX).min(self.octets.len());
        self.octets.split_off(len)
    }
}
