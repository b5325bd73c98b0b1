//! What is sent and expected. A message is a function of its run, its number and its size, so what comes back can be
//! compared byte for byte without keeping what was sent.

use std::io::Write as _;
use std::sync::OnceLock;

use crate::Result;

/// Length of a body line with its CRLF.
const LINE: usize = 78;
/// Different lines there are.
const LINES: usize = 4096;

/// Accounts that receive.
pub(crate) const MAILBOXES: usize = 20;

/// Lines of random words. None begins with a dot, so the text looks the same stuffed and not.
fn lines() -> &'static [u8] {
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    BLOCK.get_or_init(|| {
        // xorshift64*
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
        };
        let mut block = Vec::with_capacity(LINE * LINES);
        for _ in 0..LINES {
            let mut word = 0;
            for _ in 0..LINE - 2 {
                if word == 0 {
                    word = 2 + random() % 9;
                    block.push(b' ');
                } else {
                    word -= 1;
                    block.push(b'a' + u8::try_from(random() % 26).unwrap_or(0));
                }
            }
            block.extend_from_slice(b"\r\n");
        }
        block
    })
}

/// Which messages belong together, and how they are addressed.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Unlike that of any other run.
    pub(crate) name: String,
    /// About how long each message is, header and all.
    pub(crate) size: usize,
    /// How many mailboxes each message goes to.
    pub(crate) recipients: usize,
}

impl Run {
    /// The mailboxes of message `n`.
    pub(crate) fn mailboxes(&self, n: usize) -> impl Iterator<Item = usize> {
        (n..n + self.recipients).map(|m| m % MAILBOXES)
    }

    /// The numbers, below `count`, of the messages that mailbox `m` gets.
    pub(crate) fn of_mailbox(&self, m: usize, count: usize) -> impl Iterator<Item = usize> {
        (0..count).filter(move |n| (m + MAILBOXES - n % MAILBOXES) % MAILBOXES < self.recipients)
    }

    /// Message `n`.
    pub(crate) fn message(&self, n: usize) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.size + LINE);
        let (name, to) = (&self.name, n % MAILBOXES);
        // Writing into a Vec cannot fail.
        let _ = write!(
            message,
            "From: Sender {s} <sender{s}@sender.example>\r\nTo: Reader {to} <reader{to}@lists.example>\r\n\
             Subject: Message {n} of {name}\r\nDate: Tue, {day:02} Jul 2025 {h:02}:{m:02}:{s:02} +0000\r\n\
             Message-ID: <{name}.{n}@sender.example>\r\nX-Bench: {name} {n}\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=us-ascii\r\n\r\n",
            s = n % 60,
            day = 1 + n % 28,
            h = n % 24,
            m = n / 60 % 60,
        );
        let missing = self.size.saturating_sub(message.len()).div_ceil(LINE).max(1);
        let block = lines();
        let first = n.wrapping_mul(2_654_435_761) % LINES;
        for line in (first..first + missing).map(|l| l % LINES) {
            message.extend_from_slice(&block[line * LINE..(line + 1) * LINE]);
        }
        message
    }

    /// The number of a message that came back, after comparing all of it. Servers add header lines at the top.
    pub(crate) fn check(&self, got: &[u8]) -> Result<usize> {
        let head = find(got, b"\r\n\r\n").map_or(got, |end| &got[..end]);
        let tag = find(head, b"\nX-Bench: ").map(|at| &head[at + 10..]).ok_or("a message without X-Bench")?;
        let tag = String::from_utf8_lossy(tag.split(|&b| b == b'\r').next().unwrap_or_default());
        let n = match tag.split_once(' ') {
            Some((name, n)) if name == self.name => n.parse()?,
            _ => return Err(format!("a message of another run: {tag}").into()),
        };
        let sent = self.message(n);
        let Some(added) = got.strip_suffix(sent.as_slice()) else {
            return Err(format!("message {n} is not what was sent: {} bytes came back", got.len()).into());
        };
        let is_header =
            |line: &[u8]| line.first().is_some_and(|&b| b == b' ' || b == b'\t') || line.contains(&b':');
        let whole_lines = added.is_empty() || added.ends_with(b"\r\n");
        if !whole_lines || !added.split_inclusive(|&b| b == b'\n').all(is_header) {
            return Err(format!("message {n}: what stands before it is no header").into());
        }
        Ok(n)
    }
}

/// Where `needle` begins in `hay`.
pub(crate) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn run(size: usize, recipients: usize) -> Run {
        Run { name: "r1".to_owned(), size, recipients }
    }

    #[test]
    fn sizes_are_about_right() {
        for size in [1000, 4000, 50_000] {
            let length = run(size, 1).message(12_345).len();
            assert!((size..size + LINE).contains(&length), "{length}");
        }
    }

    #[test]
    fn messages_come_back_whole_or_are_refused() {
        let run = run(4000, 1);
        let sent = run.message(77);
        assert_eq!(run.check(&sent).unwrap(), 77);
        let with_header =
            [b"Return-Path: <a@b>\r\nReceived: by x\r\n\tfor y; z\r\n".as_slice(), &sent].concat();
        assert_eq!(run.check(&with_header).unwrap(), 77);

        assert!(run.check(&sent[..sent.len() - LINE]).is_err(), "a line is missing");
        assert!(run.check(&[&sent[..], b"x\r\n"].concat()).is_err(), "something follows");
        assert!(run.check(&[b"junk\r\n".as_slice(), &sent].concat()).is_err(), "no header before it");
        let mut wrong = sent.clone();
        wrong[3000] ^= 1;
        assert!(run.check(&wrong).is_err(), "one bit");
        assert!(Run { name: "r2".to_owned(), ..run }.check(&sent).is_err(), "another run");
    }

    #[test]
    fn both_directions_of_addressing_agree() {
        for recipients in [1, 3, 10, MAILBOXES] {
            let run = run(100, recipients);
            for mailbox in 0..MAILBOXES {
                let expected: Vec<usize> =
                    (0..100).filter(|&n| run.mailboxes(n).any(|m| m == mailbox)).collect();
                assert_eq!(run.of_mailbox(mailbox, 100).collect::<Vec<_>>(), expected);
            }
        }
    }
}
