//! A socket that is read in large pieces, whatever is asked of it: TLS asks for 4 KiB at a time.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// A socket with what was read of it ahead.
#[derive(Debug)]
pub(crate) struct Wide {
    pub(crate) socket: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Wide {
    /// Reads so many octets ahead; none: as it is asked.
    pub(crate) fn new(socket: TcpStream, ahead: usize) -> Wide {
        Wide { socket, buffer: vec![0; ahead], start: 0, end: 0 }
    }
}

impl Read for Wide {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end {
            if into.len() >= self.buffer.len() {
                return self.socket.read(into);
            }
            (self.start, self.end) = (0, self.socket.read(&mut self.buffer)?);
        }
        let n = into.len().min(self.end - self.start);
        into[..n].copy_from_slice(&self.buffer[self.start..self.start + n]);
        self.start += n;
        Ok(n)
    }
}

impl Write for Wide {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.socket.write(octets)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.socket.write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
