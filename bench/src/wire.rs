//! A blocking connection that reads lines.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memchr::memmem;

use crate::Result;

/// How long a server may take for one reply.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The first piece read; idle connections stay this small.
const SMALL: usize = 1024;
/// Pieces read once a fast sender is seen.
const LARGE: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Conn {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// What of the buffer is read and not yet taken.
    start: usize,
    end: usize,
}

impl Conn {
    pub(crate) fn connect(to: SocketAddr) -> Result<Conn> {
        let socket = TcpStream::connect(to).map_err(|e| format!("connecting to {to}: {e}"))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Conn { socket, buffer: vec![0; SMALL], start: 0, end: 0 })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result {
        Ok(self.socket.write_all(bytes)?)
    }

    /// One line without its end, handed to `look`.
    fn with_line<T>(&mut self, look: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let mut looked = self.start;
        loop {
            if let Some(at) = self.buffer[looked..self.end].iter().position(|&b| b == b'\n') {
                let line = &self.buffer[self.start..looked + at];
                let answer = look(line.strip_suffix(b"\r").unwrap_or(line));
                self.start = looked + at + 1;
                return Ok(answer);
            }
            let have = self.end - self.start;
            self.fill()?;
            looked = self.start + have;
        }
    }

    fn fill(&mut self) -> Result {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize((2 * self.end).max(LARGE), 0);
        }
        match self.socket.read(&mut self.buffer[self.end..])? {
            0 => Err("the server closed the connection".into()),
            n => {
                self.end += n;
                Ok(())
            }
        }
    }

    pub(crate) fn line(&mut self) -> Result<String> {
        self.with_line(|line| String::from_utf8_lossy(line).into_owned())
    }

    /// The text up to the line that is a dot alone, unstuffed, behind what `out` holds.
    pub(crate) fn dotted(&mut self, out: &mut Vec<u8>) -> Result {
        let mut looked = 0;
        loop {
            let unread = &self.buffer[self.start..self.end];
            if unread.starts_with(b".\r\n") {
                self.start += 3;
                return Ok(());
            }
            if let Some(at) = memmem::find(&unread[looked..], b"\r\n.\r\n") {
                let text = &unread[..looked + at + 2];
                unstuff(text, out);
                self.start += text.len() + 3;
                return Ok(());
            }
            looked = unread.len().saturating_sub(4);
            self.fill()?;
        }
    }

    /// A three-digit reply of one or more lines, which must have this code.
    pub(crate) fn reply(&mut self, code: &str, to: &str) -> Result<String> {
        let mut text = String::new();
        loop {
            let line = self.line()?;
            text.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                let good = line.starts_with(code);
                return if good { Ok(text) } else { Err(format!("{to}: {text}, not {code}").into()) };
            }
            text.push('\n');
        }
    }

    /// A POP3 status line, which must be `+OK`.
    pub(crate) fn ok(&mut self, to: &str) -> Result<String> {
        let line = self.line()?;
        if line.starts_with("+OK") { Ok(line) } else { Err(format!("{to}: {line}").into()) }
    }
}

/// Appends text without the dots that were put before dots at the beginning of lines.
fn unstuff(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text.strip_prefix(b".").unwrap_or(text);
    while let Some(at) = memmem::find(rest, b"\n.") {
        out.extend_from_slice(&rest[..=at]);
        rest = &rest[at + 2..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn texts_come_out_unstuffed_however_they_are_cut() {
        let sent = b"+OK\r\n..a\r\n.\r\n.\r\n+OK\r\nx\r\n..\r\n...\r\n\r\n.\r\n";
        for piece in 1..sent.len() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut conn = Conn::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            server.set_nodelay(true).unwrap();
            let (mut texts, mut out) = (Vec::new(), Vec::new());
            std::thread::scope(|scope| {
                scope.spawn(move || sent.chunks(piece).for_each(|piece| server.write_all(piece).unwrap()));
                for _ in 0..3 {
                    if texts.len() != 1 {
                        conn.ok("RETR").unwrap();
                    }
                    out.clear();
                    conn.dotted(&mut out).unwrap();
                    texts.push(out.clone());
                }
            });
            assert_eq!(texts, [b".a\r\n".as_slice(), b"", b"x\r\n.\r\n..\r\n\r\n"], "in pieces of {piece}");
        }
    }
}
