//! IMAP.

use std::time::Duration;

use packetboat_imap::client::{self, Client, Event, Read, Reader, RemoteName, Request, TlsPolicy};
use packetboat_imap::command::{FetchItem, Section, SectionItem, SectionText};
use packetboat_imap::response::StatusItem;
use packetboat_wire::sasl::{Credentials, encode_base64};
use packetboat_wire::{Input, Session};

use crate::session::{self, Owner};
use crate::{bit, parameters, pieces};

const PASSWORD: &str = "tanstaaf";
const SEED: [u8; 24] = [7; 24];

/// What is read of a server does not depend on how it is cut, and sections have the octets they were announced with.
pub fn response(data: &[u8]) {
    let ([how], data) = parameters(data);
    let run = |how| {
        let mut input = Input::new();
        let mut reader = Reader::new();
        let mut log = Vec::new();
        let mut left = None;
        let mut violation = None;
        'all: for piece in pieces(data, how) {
            input.push(piece);
            loop {
                match reader.next(&mut input) {
                    Ok(None) => break,
                    Ok(Some(Read::Octets(octets))) => {
                        let left = left.as_mut().expect("octets of no section");
                        assert!(!octets.is_empty() && octets.len() as u64 <= *left);
                        *left -= octets.len() as u64;
                    }
                    Ok(Some(read)) => {
                        match &read {
                            Read::Section { octets, .. } => assert_eq!(left.replace(*octets), None),
                            Read::SectionEnd => assert_eq!(left.take(), Some(0)),
                            _ => assert_eq!(left, None),
                        }
                        log.push(format!("{read:?}"));
                    }
                    Err(error) => {
                        violation = Some(error);
                        break 'all;
                    }
                }
            }
        }
        (log, left, violation)
    };
    assert_eq!(run(how), run(0));
}

/// Sends what the fuzzer says and notes what came of it.
struct User {
    log: Vec<String>,
    requested: usize,
    answered: usize,
    over: bool,
    octets: usize,
}

impl Owner<Client> for User {
    fn event(&mut self, session: &mut Client, event: Event) {
        assert!(!self.over, "{event:?} after the end");
        match &event {
            Event::Octets(piece) => {
                assert!(!piece.is_empty());
                self.octets += piece.len();
                return;
            }
            Event::Append { left } => session.append_chunk(&vec![b'x'; (*left).min(50) as usize]),
            Event::Done { .. } | Event::Refused { .. } => self.answered += 1,
            Event::Failed(_) => self.over = true,
            _ => {}
        }
        assert!(self.answered <= self.requested);
        self.log.push(format!("{event:?}"));
    }

    fn order(&mut self, session: &mut Client, order: u8) {
        let name = || {
            let names: [&[u8]; 4] = [b"INBOX", b"a b", b"Entw\xc3\xbcrfe", b"x\r\nA9 DELETE INBOX"];
            RemoteName::new(names[usize::from(order >> 4) % 4].to_vec())
        };
        let body = Section {
            item: SectionItem::Body,
            peek: true,
            path: Vec::new(),
            text: SectionText::Whole,
            partial: None,
        };
        let fetch = |items| Request::Fetch {
            uids: "1:*".parse().expect("a set"),
            items,
            changed_since: bit(order, 7).then_some(5),
        };
        let request = match order % 16 {
            0 => Request::Noop,
            1 => Request::List {
                lsub: bit(order, 4),
                reference: RemoteName::new(Vec::new()),
                pattern: name(),
                status: vec![StatusItem::Messages],
            },
            2 => Request::Status { mailbox: name(), items: vec![StatusItem::Size] },
            3 => Request::Select { mailbox: name(), examine: bit(order, 7), condstore: bit(order, 6) },
            4 => fetch(vec![FetchItem::Uid, FetchItem::Flags, FetchItem::Section(body)]),
            5 => fetch(vec![FetchItem::Envelope, FetchItem::BodyStructure]),
            6 => Request::Append {
                mailbox: name(),
                flags: Vec::new(),
                date: Some(0),
                octets: u64::from(order >> 6) * 100,
            },
            7 => Request::Idle,
            8 => return session.idle_done(),
            9 => Request::Unselect,
            10 => Request::Logout,
            11 => Request::Other("NOOP\r\nA9 DELETE INBOX".into()),
            _ => Request::Other("CHECK".into()),
        };
        if session.request(request).is_ok() {
            self.requested += 1;
        }
    }
}

/// A client survives any server, sends no password in the clear unasked, and does not care how its input is cut.
pub fn client(data: &[u8]) {
    let ([flags, how], data) = parameters(data);
    let credentials = Credentials { username: "mrose".into(), password: PASSWORD.into(), authzid: None };
    let mut config = client::Config::new(bit(flags, 0).then_some(credentials));
    config.tls = match flags >> 1 & 3 {
        0 => TlsPolicy::Require,
        1 | 2 => TlsPolicy::IfOffered,
        _ => TlsPolicy::Never,
    };
    config.password_in_clear = bit(flags, 3);
    if bit(flags, 4) {
        config.id = vec![("name".into(), "packetboat".into())];
        config.enable = vec!["CONDSTORE".into()];
    }
    config.window = usize::from(flags >> 5 & 3) + 1;
    config.timeout = Duration::from_secs(60);
    let in_clear = config.password_in_clear;
    let implicit_tls = bit(flags, 7);
    let run = |how| {
        let mut user = User { log: Vec::new(), requested: 0, answered: 0, over: false, octets: 0 };
        let mut session = Client::new(config.clone(), SEED);
        if implicit_tls {
            session.tls_started(session::tls());
        }
        let outcome = session::play(session, &mut user, how, data);
        (outcome, user.log, user.octets)
    };
    let whole = run(0);
    assert_eq!(run(how), whole);
    let (outcome, _, octets) = whole;
    assert!(octets <= data.len());
    let clear = &outcome.sent[..outcome.tls_at.first().copied().unwrap_or(outcome.sent.len())];
    if !in_clear && !implicit_tls {
        let plain = encode_base64(format!("\0mrose\0{PASSWORD}").as_bytes());
        for secret in [PASSWORD.to_owned(), encode_base64(PASSWORD.as_bytes()), plain] {
            let found = clear.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "the password was sent in the clear");
        }
    }
    commands_are_the_clients_own(&outcome.sent);
}

/// Whatever names and messages hold, only what the client asks is a command: nothing begins with `A9 DELETE` outside of
/// a literal.
fn commands_are_the_clients_own(mut sent: &[u8]) {
    while let Some(end) = sent.windows(2).position(|pair| pair == b"\r\n") {
        let line = &sent[..end];
        assert!(!line.starts_with(b"A9 DELETE"), "a command got in");
        sent = &sent[end + 2..];
        let literal = line.strip_suffix(b"}").and_then(|line| {
            let begin = line.iter().rposition(|&octet| octet == b'{')?;
            let digits = line[begin + 1..].strip_suffix(b"+").unwrap_or(&line[begin + 1..]);
            std::str::from_utf8(digits).ok()?.parse::<usize>().ok()
        });
        // A literal whose leave never came is not followed by its octets, but by nothing or another command.
        if let Some(octets) = literal
            && sent.len() >= octets
            && !sent.starts_with(b"A")
        {
            sent = &sent[octets..];
        }
    }
}
