//! The octets of a composed message, one after the other.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use super::{Attachment, Segment};
use crate::base64_lines::Base64Lines;

/// Reads a [`Composed`](super::Composed) message. Files are opened when their turn comes, one at a time.
pub struct Reader {
    rest: std::vec::IntoIter<Segment>,
    current: Current,
}

enum Current {
    Octets { octets: Arc<[u8]>, at: usize },
    File { name: String, lines: Base64Lines<Box<dyn Read + Send>> },
    Nothing,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(segments: Vec<Segment>) -> Reader {
        Reader { rest: segments.into_iter(), current: Current::Nothing }
    }

    fn open(attachment: Attachment) -> io::Result<Current> {
        let file = (attachment.open)().map_err(|error| named(&attachment.name, &error))?;
        Ok(Current::File { lines: Base64Lines::new(file, attachment.len), name: attachment.name })
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.current {
                Current::Octets { octets, at } => {
                    let read = octets.get(*at..).unwrap_or_default().read(into)?;
                    *at += read;
                    read
                }
                Current::File { name, lines } => lines.read(into).map_err(|error| named(name, &error))?,
                Current::Nothing => 0,
            };
            if read > 0 {
                return Ok(read);
            }
            self.current = match self.rest.next() {
                Some(Segment::Octets(octets)) => Current::Octets { octets, at: 0 },
                Some(Segment::Base64(attachment)) => Reader::open(attachment)?,
                None => return Ok(0),
            };
        }
    }
}

/// The error with the name of the file in front.
fn named(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}
