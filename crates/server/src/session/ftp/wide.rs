//! The socket below TLS, read in large pieces: TLS asks for 4 KiB at a time.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;

/// Octets read at a time, once it is seen that many come.
const AHEAD: usize = 128 * 1024;

/// A socket, with what was read of it ahead.
#[derive(Debug)]
pub(super) struct Wide {
    socket: TcpStream,
    /// Empty until a read was filled: a small file, and one that is sent, need none.
    ahead: Vec<u8>,
    start: usize,
    end: usize,
}

impl Wide {
    pub(super) fn new(socket: TcpStream) -> Wide {
        Wide { socket, ahead: Vec::new(), start: 0, end: 0 }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The socket. What was read ahead is lost.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }
}

impl Read for Wide {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end {
            if piece.len() >= self.ahead.len() {
                let read = self.socket.read(piece)?;
                if read == piece.len() && read > 0 && self.ahead.is_empty() {
                    self.ahead.resize(AHEAD, 0);
                }
                return Ok(read);
            }
            (self.start, self.end) = (0, 0);
            self.end = self.socket.read(&mut self.ahead)?;
        }
        let octets = self.ahead.get(self.start..self.end).unwrap_or_default().read(piece)?;
        self.start += octets;
        Ok(octets)
    }
}

impl Write for Wide {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.socket.write(octets)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nothing_is_lost_whatever_is_asked_for() {
        let octets: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        for asked in [1, 7, 4096, 300_000] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut wide = Wide::new(listener.accept().unwrap().0);
            let mut came = Vec::new();
            std::thread::scope(|scope| {
                let sent = &octets;
                scope.spawn(move || client.write_all(sent).unwrap());
                let mut piece = vec![0; asked];
                while came.len() < octets.len() {
                    let read = wide.read(&mut piece).unwrap();
                    assert!(read > 0);
                    came.extend_from_slice(&piece[..read]);
                }
            });
            assert!(came == octets, "asked for {asked}");
        }
    }
}
