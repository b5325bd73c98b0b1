//! Messages for the screens of people who are here (RFC 821 section 3.4).
//!
//! Whoever serves a person opens a [`Terminal`] for them and hears of each [`Note`] that is [shown](Terminals::show).
//! Nothing of it is kept: a note reaches those who are here, and who is slow misses the oldest.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use packetboat_message::Address;
use packetboat_message::card::Card;
use packetboat_message::text::words;
use packetboat_store::AccountId;
use parking_lot::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};

/// Notes that a terminal has not taken yet, at most.
const WAITING_MAX: usize = 8;
/// Characters of a note's subject and text at most.
const PART_MAX: usize = 200;
/// Characters of a sender's address that are shown.
const SENDER_MAX: usize = 320;

/// Where a message goes at its recipients' (RFC 821 section 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Into the mailbox.
    #[default]
    Mailbox,
    /// To the terminals of who is here, and nowhere else.
    Terminal,
    /// To the terminals of who is here, into the mailbox of who is not.
    TerminalOrMailbox,
    /// Into the mailbox, and to the terminals of who is here.
    TerminalAndMailbox,
}

/// The terminals that are open. A handle: clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Terminals {
    open: Arc<Mutex<HashMap<AccountId, broadcast::Sender<Arc<Note>>>>>,
}

/// A message as it is shown: one line, bounded, and nothing in it that moves a cursor or turns writing around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    from: String,
    subject: String,
    text: String,
}

/// Somebody's screen. Closed when it is dropped.
#[derive(Debug)]
pub struct Terminal {
    account: AccountId,
    terminals: Terminals,
    notes: Option<broadcast::Receiver<Arc<Note>>>,
}

impl Terminals {
    /// Opens a terminal of this account.
    pub fn open(&self, account: AccountId) -> Terminal {
        let mut open = self.open.lock();
        let notes = open.entry(account).or_insert_with(|| broadcast::Sender::new(WAITING_MAX)).subscribe();
        Terminal { account, terminals: self.clone(), notes: Some(notes) }
    }

    /// Whether somebody sits at one.
    pub fn is_open(&self, account: AccountId) -> bool {
        self.open.lock().contains_key(&account)
    }

    /// Shows a note on all terminals of the account. The answer is whether there was one.
    pub fn show(&self, account: AccountId, note: Arc<Note>) -> bool {
        self.open.lock().get(&account).is_some_and(|terminal| terminal.send(note).is_ok())
    }
}

impl Terminal {
    /// Waits for the next note. May be given up and asked again; nothing is lost by that.
    pub async fn next(&mut self) -> Arc<Note> {
        let Some(notes) = &mut self.notes else { return std::future::pending().await };
        loop {
            match notes.recv().await {
                Ok(note) => return note,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut open = self.terminals.open.lock();
        self.notes = None;
        if open.get(&self.account).is_some_and(|terminal| terminal.receiver_count() == 0) {
            open.remove(&self.account);
        }
    }
}

impl Note {
    /// What is shown of a message from this sender, of which this card was made.
    pub fn of(sender: Option<&Address>, card: &[u8]) -> Note {
        let from = sender.map(ToString::to_string).unwrap_or_else(|| "<>".to_owned());
        let card = Card::parse(card);
        let subject = card.and_then(|card| card.first_value("Subject").flatten());
        let subject = subject.map(words::decode).unwrap_or_default();
        let text = card.map(|card| card.preview()).unwrap_or_default();
        Note {
            from: one_line(&from, SENDER_MAX),
            subject: one_line(&subject, PART_MAX),
            text: one_line(&text, PART_MAX),
        }
    }
}

/// `Message from alice@example.org: subject: text`.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message from {}", self.from)?;
        for part in [&self.subject, &self.text] {
            if !part.is_empty() {
                write!(f, ": {part}")?;
            }
        }
        Ok(())
    }
}

/// The text with each run of white space as one space, without control characters and without those that change the
/// direction of what follows, cut at `max` characters.
fn one_line(text: &str, max: usize) -> String {
    let mut line = String::new();
    let mut left = max;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        let shown = word.chars().filter(|c| !is_unseen(*c));
        let before = line.len();
        for c in shown {
            if left == 0 {
                line.push('\u{2026}');
                return line;
            }
            if before > 0 && line.len() == before {
                line.push(' ');
                left = left.saturating_sub(1);
            }
            line.push(c);
            left = left.saturating_sub(1);
        }
    }
    line
}

/// Marks of direction, joiners, tags and the like (Unicode section 23.2).
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use packetboat_message::card;

    use super::*;

    fn note(message: &str) -> Note {
        let mut builder = card::Builder::new();
        builder.push(message.as_bytes());
        let card = builder.finish().card(b"");
        Note::of(Some(&"alice@example.org".parse().unwrap()), &card)
    }

    #[test]
    fn a_note_is_one_line_of_text() {
        for (message, shown) in [
            ("Subject: Lunch\r\n\r\nAt the\r\nharbour?\r\n", "Lunch: At the harbour?"),
            ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe=0D=0A*_BYE?=\r\n\r\n", "Gr\u{fc}\u{df}e * BYE"),
            ("Subject: a\u{202e}b\u{200b}c\r\n\r\n\u{1b}[2Jd\0e\r\n", "abc: [2Jd e"),
            ("Content-Type: text/html\r\n\r\n<p>Come <b>now</b></p><script>x()</script>\r\n", "Come now"),
        ] {
            let line = note(message).to_string();
            assert_eq!(line, format!("Message from alice@example.org: {shown}"), "{message:?}");
        }
        assert_eq!(Note::of(None, b"no card").to_string(), "Message from <>");
    }

    #[test]
    fn a_note_is_bounded() {
        let long = note(&format!("Subject: {}\r\n\r\n{}\r\n", "s".repeat(5000), "t ".repeat(5000)));
        assert!(long.to_string().chars().count() < 500, "{long}");
        assert!(long.subject.ends_with("s\u{2026}"));
    }

    #[tokio::test]
    async fn whoever_is_here_is_shown_a_note() {
        let terminals = Terminals::default();
        let (alice, bob) = (AccountId(1), AccountId(2));
        let hello = Arc::new(note("Subject: Hello\r\n\r\n"));
        assert!(!terminals.show(alice, Arc::clone(&hello)));
        let (mut first, mut second) = (terminals.open(alice), terminals.open(alice));
        assert!(terminals.is_open(alice) && !terminals.is_open(bob));
        assert!(terminals.show(alice, Arc::clone(&hello)) && !terminals.show(bob, Arc::clone(&hello)));
        assert_eq!((first.next().await, second.next().await), (Arc::clone(&hello), Arc::clone(&hello)));
        drop(first);
        assert!(terminals.show(alice, Arc::clone(&hello)));
        drop(second);
        assert!(!terminals.is_open(alice) && !terminals.show(alice, hello));
        assert!(terminals.open.lock().is_empty());
    }

    #[tokio::test]
    async fn who_is_slow_misses_the_oldest() {
        let terminals = Terminals::default();
        let mut terminal = terminals.open(AccountId(1));
        for n in 0..100 {
            terminals.show(AccountId(1), Arc::new(note(&format!("Subject: {n}\r\n\r\n"))));
        }
        assert_eq!(terminal.next().await.subject, (100 - WAITING_MAX).to_string());
    }
}
