//! An FTP client that does as little as it can and checks all it is told.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::Result;
use crate::ftp_content::Pattern;
use crate::imap::Stream;
use crate::wide::Wide;
use crate::wire::PATIENCE;

/// Octets read at a time: few enough to stay in a core's own cache.
const PIECE: usize = 256 * 1024;

/// A session.
pub(crate) struct Session {
    control: Stream,
    server: SocketAddr,
    /// What came and is not yet taken: `buffer[start..end]`.
    buffer: [u8; 512],
    start: usize,
    end: usize,
    /// For data connections, of which the first resume the session of this one.
    tls: Option<Arc<ClientConfig>>,
}

impl Session {
    /// Connects, and logs in if there is somebody to log in.
    pub(crate) fn open(
        server: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        login: &str,
        password: &str,
    ) -> Result<Session> {
        let control = Stream::Clear(connect(server)?);
        let mut session = Session { control, server, buffer: [0; 512], start: 0, end: 0, tls: tls.cloned() };
        session.reply("220", "greeting")?;
        if let Some(config) = tls {
            session.command("AUTH TLS", "234")?;
            session.control = protected(session.control, config, 0)?;
        }
        session.command(&format!("USER {login}"), "331")?;
        session.command(&format!("PASS {password}"), "230")?;
        Ok(session)
    }

    /// Makes it ready for transfers.
    pub(crate) fn prepare(&mut self) -> Result {
        if self.tls.is_some() {
            self.command("PBSZ 0", "200")?;
            self.command("PROT P", "200")?;
        }
        self.command("TYPE I", "200")
    }

    /// Sends a command, whose reply must have this code.
    pub(crate) fn command(&mut self, command: &str, code: &str) -> Result {
        self.send(command)?;
        self.reply(code, command).map(drop)
    }

    fn send(&mut self, command: &str) -> Result {
        Ok(self.control.write_all(format!("{command}\r\n").as_bytes())?)
    }

    /// The last line of a reply.
    fn reply(&mut self, code: &str, to: &str) -> Result<String> {
        loop {
            let line = self.line()?;
            let is_last =
                line.as_bytes().get(3) == Some(&b' ') && line.as_bytes()[..3].iter().all(u8::is_ascii_digit);
            if is_last {
                return if line.starts_with(code) {
                    Ok(line)
                } else {
                    Err(format!("{to}: {line}, not {code}").into())
                };
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            let there = &self.buffer[self.start..self.end];
            if let Some(at) = there.iter().position(|&b| b == b'\n') {
                line.extend_from_slice(&there[..at]);
                self.start += at + 1;
                return Ok(String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned());
            }
            line.extend_from_slice(there);
            self.start = 0;
            self.end = self.control.read(&mut self.buffer)?;
            if self.end == 0 {
                return Err(format!("the server closed the connection after {line:?}").into());
            }
        }
    }

    /// A data connection for a command that has been sent on its way.
    fn data(&mut self, command: &str) -> Result<Stream> {
        self.send("EPSV")?;
        let said = self.reply("229", "EPSV")?;
        let port = said.rsplit('|').nth(1).and_then(|port| port.parse().ok());
        let data = Stream::Clear(connect((self.server.ip(), port.ok_or(said)?).into())?);
        self.send(command)?;
        self.reply("150", command)?;
        match &self.tls {
            None => Ok(data),
            Some(config) => protected(data, config, if command.starts_with("RETR") { PIECE } else { 0 }),
        }
    }

    /// RETR, LIST or MLSD; `look` gets every piece.
    pub(crate) fn fetch(&mut self, command: &str, mut look: impl FnMut(&[u8]) -> Result) -> Result<u64> {
        let mut data = self.data(command)?;
        let mut octets = 0;
        let mut piece = vec![0; PIECE];
        loop {
            match data.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => {
                    look(&piece[..n])?;
                    octets += n as u64;
                }
                // Without a farewell: some servers have none. How much came is compared by who asked for it.
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(e) => return Err(e.into()),
            }
        }
        close(data)?;
        self.reply("226", command)?;
        Ok(octets)
    }

    /// RETR of what must be the pattern from `begin` on, and of this length.
    pub(crate) fn retrieve(&mut self, path: &str, pattern: &Pattern, begin: u64, octets: u64) -> Result {
        let mut place = begin;
        let came = self.fetch(&format!("RETR {path}"), |piece| {
            if !pattern.is_at(place, piece) {
                return Err(format!("{path}: wrong content within {} octets at {place}", piece.len()).into());
            }
            place += piece.len() as u64;
            Ok(())
        })?;
        if came == octets { Ok(()) } else { Err(format!("{path}: {came} octets of {octets}").into()) }
    }

    /// STOR of the pattern from `begin` on.
    pub(crate) fn store(&mut self, path: &str, pattern: &Pattern, begin: u64, octets: u64) -> Result {
        let command = format!("STOR {path}");
        let mut data = self.data(&command)?;
        let mut sent = 0;
        while sent < octets {
            let piece = pattern.at(begin + sent);
            let n = usize::try_from(octets - sent).map_or(piece.len(), |left| left.min(piece.len()));
            data.write_all(&piece[..n])?;
            sent += n as u64;
        }
        close(data)?;
        self.reply("226", &command).map(drop)
    }

    pub(crate) fn quit(mut self) -> Result {
        self.command("QUIT", "221")
    }
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(to).map_err(|e| format!("connecting to {to}: {e}"))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn protected(stream: Stream, config: &Arc<ClientConfig>, ahead: usize) -> Result<Stream> {
    let Stream::Clear(socket) = stream else { return Err("TLS in TLS".into()) };
    let mut socket = Wide::new(socket, ahead);
    let mut connection = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
    connection.set_buffer_limit(Some(2 * PIECE));
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
}

/// No more comes from us. Under TLS the server's farewell is waited for: some report success only once it is taken, and
/// what is unread when a socket is closed resets it.
fn close(mut data: Stream) -> Result {
    match &mut data {
        Stream::Clear(socket) => {
            // The server may have closed already.
            let _ = socket.shutdown(std::net::Shutdown::Write);
        }
        Stream::Tls(tls) => {
            tls.conn.send_close_notify();
            let _ = tls.conn.complete_io(&mut tls.sock);
            let _ = tls.sock.socket.shutdown(std::net::Shutdown::Write);
            let _ = data.read(&mut [0; 64]);
        }
    }
    Ok(())
}
