//! What the large mailboxes hold, and what every question about them must answer. Message `n` (from 0) has the sequence
//! number `n + 1`, and all about it follows from `n`.

use std::io::Write as _;

use crate::content::Run;

/// Messages of one conversation; each answers the one before it.
const THREAD: usize = 5;
/// Different senders.
const SENDERS: usize = 60;
/// The one that is searched for.
const SENDER: usize = 7;
/// Different moments of the `Date` field: those of 28 days.
const MINUTES: usize = 28 * 24 * 60;
/// In few messages.
pub(crate) const RARE: &str = "zeppelin";
/// One message of so many has [`RARE`].
const RARE_EVERY: usize = 4999;
/// In every second message.
pub(crate) const COMMON: &str = "harbour";

/// Messages that are alike but for their numbers.
#[derive(Debug, Clone)]
pub(crate) struct Letters {
    filler: Run,
}

impl Letters {
    /// About this long each.
    pub(crate) fn new(size: usize) -> Letters {
        Letters { filler: Run { name: "letters".to_owned(), size, recipients: 1 } }
    }

    fn minute(n: usize) -> usize {
        n.wrapping_mul(7919) % MINUTES
    }

    fn date(n: usize) -> String {
        let minute = Letters::minute(n);
        let (day, hour, minute) = (1 + minute / 1440, minute / 60 % 24, minute % 60);
        format!("{day:02} Jul 2025 {hour:02}:{minute:02}:00 +0000")
    }

    fn subject(n: usize) -> String {
        let root = n - n % THREAD;
        let re = if n == root { "" } else { "Re: " };
        format!("{re}Report {root:06} of the month")
    }

    fn id(n: usize) -> String {
        format!("<letter.{n}@sender.example>")
    }

    /// The fields From, To, Subject and Date, as they stand in the message.
    pub(crate) fn four_fields(n: usize) -> String {
        let (s, to) = (n % SENDERS, n % 20);
        format!(
            "From: Sender {s} <sender{s}@sender.example>\r\nTo: Reader {to} <reader{to}@lists.example>\r\n\
             Subject: {}\r\nDate: {}\r\n",
            Letters::subject(n),
            Letters::date(n)
        )
    }

    /// The message, octet for octet.
    pub(crate) fn message(&self, n: usize) -> Vec<u8> {
        let mut message = Letters::four_fields(n).into_bytes();
        // Writing into a Vec cannot fail.
        let _ = write!(message, "Message-ID: {}\r\n", Letters::id(n));
        let before: Vec<String> = (n - n % THREAD..n).map(Letters::id).collect();
        if let Some(last) = before.last() {
            let _ = write!(message, "In-Reply-To: {last}\r\nReferences: {}\r\n", before.join("\r\n "));
        }
        message.extend_from_slice(
            b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\nX-Mailer: bench\r\n\r\n",
        );
        if n % RARE_EVERY == RARE_EVERY / 3 {
            let _ = write!(message, "The {RARE} has landed.\r\n");
        }
        if n.is_multiple_of(2) {
            let _ = write!(message, "All is calm in the {COMMON}.\r\n");
        }
        let filler = self.filler.message(n);
        let body = crate::content::find(&filler, b"\r\n\r\n").map_or(&filler[..], |end| &filler[end + 4..]);
        message.extend_from_slice(body);
        message
    }

    /// RFC 3501 section 7.4.2, written in the usual way.
    pub(crate) fn envelope(n: usize) -> String {
        let (s, to) = (n % SENDERS, n % 20);
        let from = format!("((\"Sender {s}\" NIL \"sender{s}\" \"sender.example\"))");
        let reply =
            if n.is_multiple_of(THREAD) { "NIL".into() } else { format!("\"{}\"", Letters::id(n - 1)) };
        format!(
            "(\"{}\" \"{}\" {from} {from} {from} ((\"Reader {to}\" NIL \"reader{to}\" \"lists.example\")) NIL NIL {reply} \"{}\")",
            Letters::date(n),
            Letters::subject(n),
            Letters::id(n)
        )
    }

    /// The key that finds one sender.
    pub(crate) fn sender_key() -> String {
        format!("FROM \"sender{SENDER}@\"")
    }

    /// Sequence numbers, of `count` messages, that [`Letters::sender_key`] finds.
    pub(crate) fn of_sender(count: usize) -> Vec<usize> {
        (0..count).filter(|n| n % SENDERS == SENDER).map(|n| n + 1).collect()
    }

    /// Sequence numbers of those with [`RARE`].
    pub(crate) fn rare(count: usize) -> Vec<usize> {
        (0..count).filter(|n| n % RARE_EVERY == RARE_EVERY / 3).map(|n| n + 1).collect()
    }

    /// Sequence numbers of those with [`COMMON`].
    pub(crate) fn common(count: usize) -> Vec<usize> {
        (0..count).filter(|n| n.is_multiple_of(2)).map(|n| n + 1).collect()
    }

    /// All, the newest first: RFC 5256, `SORT (REVERSE DATE)`.
    pub(crate) fn by_date(count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (1..=count).collect();
        all.sort_by_key(|n| (std::cmp::Reverse(Letters::minute(n - 1)), *n));
        all
    }

    /// `SORT (FROM SUBJECT)`.
    pub(crate) fn by_sender(count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (1..=count).collect();
        all.sort_by_cached_key(|n| (format!("sender{}", (n - 1) % SENDERS), (n - 1) / THREAD, *n));
        all
    }

    /// `THREAD REFERENCES`: chains, in the order of their first messages' dates.
    pub(crate) fn threads(count: usize) -> String {
        let mut roots: Vec<usize> = (0..count).step_by(THREAD).collect();
        roots.sort_by_key(|n| (Letters::minute(*n), *n));
        let chain = |root: usize| {
            let members: Vec<String> =
                (root..(root + THREAD).min(count)).map(|n| (n + 1).to_string()).collect();
            format!("({})", members.join(" "))
        };
        roots.into_iter().map(chain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_what_is_said_of_it() {
        let letters = Letters::new(4000);
        let seventh = String::from_utf8_lossy(&letters.message(6)).into_owned();
        assert!(seventh.starts_with(&Letters::four_fields(6)));
        assert!(seventh.contains("\r\nReferences: <letter.5@sender.example>\r\n"), "{seventh}");
        assert!(seventh.contains(COMMON) && !seventh.contains(RARE));
        assert!((3900..4500).contains(&seventh.len()), "{}", seventh.len());
        for n in Letters::rare(6000) {
            assert!(String::from_utf8_lossy(&letters.message(n - 1)).contains(RARE));
        }
        assert!(
            Letters::envelope(6).starts_with(&format!("(\"{}\" \"Re: Report 000005", Letters::date(6))),
            "{}",
            Letters::envelope(6)
        );
    }

    #[test]
    fn orders_are_whole() {
        for mut order in [Letters::by_date(500), Letters::by_sender(500)] {
            order.sort_unstable();
            assert!(order.into_iter().eq(1..=500));
        }
        assert!(Letters::threads(10).contains("(1 2 3 4 5)"));
    }
}
