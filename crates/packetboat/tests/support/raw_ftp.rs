//! A control connection without any manners: lines out, replies in.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A control connection in the clear.
#[derive(Debug)]
pub struct Raw {
    stream: BufReader<TcpStream>,
}

impl Raw {
    /// Connects, and reads the greeting.
    pub fn connect(at: SocketAddr) -> Raw {
        let stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Raw { stream: BufReader::new(stream) };
        assert_eq!(raw.reply().0, 220);
        raw
    }

    /// The same, and logs in as alice.
    pub fn login(at: SocketAddr) -> Raw {
        let mut raw = Raw::connect(at);
        raw.expect(331, "USER alice@boat.test");
        raw.expect(230, "PASS demo");
        raw
    }

    pub fn send(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).unwrap();
    }

    /// Says a line; the reply's code and all of its text.
    pub fn say(&mut self, line: &str) -> (u16, String) {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    #[track_caller]
    pub fn expect(&mut self, code: u16, line: &str) -> String {
        let (got, text) = self.say(line);
        assert_eq!(got, code, "{line}: {text}");
        text
    }

    /// The next reply; code 0 if the connection has ended instead.
    pub fn reply(&mut self) -> (u16, String) {
        let (mut text, mut code) = (String::new(), 0);
        loop {
            let mut line = Vec::new();
            if !matches!(self.stream.read_until(b'\n', &mut line), Ok(1..)) {
                return (0, text);
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            text += &line;
            let begins = line.get(..3).and_then(|digits| digits.parse().ok());
            if code == 0 {
                code = begins.unwrap_or(0);
            }
            if begins == Some(code) && line.as_bytes().get(3) == Some(&b' ') {
                return (code, text);
            }
        }
    }

    /// A passive data connection.
    pub fn data(&mut self) -> TcpStream {
        let said = self.expect(229, "EPSV");
        let port = said.split('|').nth(3).unwrap().parse().unwrap();
        let ip = self.stream.get_ref().peer_addr().unwrap().ip();
        let data = TcpStream::connect(SocketAddr::new(ip, port)).unwrap();
        data.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        data
    }

    /// Whether the server has closed the connection; what came before is passed over.
    pub fn is_closed(&mut self) -> bool {
        std::io::copy(&mut self.stream.by_ref().take(1 << 24), &mut std::io::sink()).is_ok()
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }
}
