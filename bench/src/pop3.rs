//! Looking into mailboxes.

use std::net::SocketAddr;

use crate::Result;
use crate::wire::Conn;

/// Commands sent ahead of their replies when a session is pipelined (RFC 2449 section 6.6).
pub(crate) const AHEAD: usize = 64;

/// A session that is logged in.
#[derive(Debug)]
pub(crate) struct Maildrop {
    conn: Conn,
    buffer: Vec<u8>,
}

impl Maildrop {
    pub(crate) fn open(at: SocketAddr, login: &str, password: &str) -> Result<Maildrop> {
        let mut conn = Conn::connect(at)?;
        conn.ok("greeting")?;
        let mut maildrop = Maildrop { conn, buffer: Vec::new() };
        maildrop.command(&format!("USER {login}"))?;
        maildrop.command(&format!("PASS {password}"))?;
        Ok(maildrop)
    }

    fn command(&mut self, line: &str) -> Result<String> {
        self.conn.send(format!("{line}\r\n").as_bytes())?;
        self.conn.ok(line)
    }

    /// How many messages there are.
    pub(crate) fn count(&mut self) -> Result<usize> {
        let stat = self.command("STAT")?;
        let count = stat.split(' ').nth(1).and_then(|n| n.parse().ok());
        count.ok_or_else(|| format!("STAT: {stat}").into())
    }

    /// The unique-id listing; its number of lines.
    pub(crate) fn unique_ids(&mut self) -> Result<usize> {
        self.command("UIDL")?;
        self.buffer.clear();
        self.conn.dotted(&mut self.buffer)?;
        Ok(self.buffer.iter().filter(|&&b| b == b'\n').count())
    }

    /// Messages by their numbers, which begin at 1; `ahead` of them are asked for at a time. Each is appended to `out`, and
    /// `look` is handed where it begins.
    pub(crate) fn retrieve(
        &mut self,
        numbers: &[usize],
        ahead: usize,
        out: &mut Vec<u8>,
        mut look: impl FnMut(&mut Vec<u8>, usize) -> Result,
    ) -> Result {
        for some in numbers.chunks(ahead) {
            let commands: String = some.iter().map(|n| format!("RETR {n}\r\n")).collect();
            self.conn.send(commands.as_bytes())?;
            for _ in some {
                self.conn.ok("RETR")?;
                let begin = out.len();
                self.conn.dotted(out)?;
                look(out, begin)?;
            }
        }
        Ok(())
    }

    /// Deletes messages `1..=count` and ends the session, which makes it so.
    pub(crate) fn empty(mut self, count: usize) -> Result {
        let numbers: Vec<usize> = (1..=count).collect();
        for some in numbers.chunks(AHEAD) {
            let commands: String = some.iter().map(|n| format!("DELE {n}\r\n")).collect();
            self.conn.send(commands.as_bytes())?;
            for _ in some {
                self.conn.ok("DELE")?;
            }
        }
        self.quit()
    }

    pub(crate) fn quit(mut self) -> Result {
        self.command("QUIT").map(drop)
    }
}
