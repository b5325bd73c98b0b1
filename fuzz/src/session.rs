//! Sessions under arbitrary octets, time and endings.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use packetboat_wire::{ChannelBinding, Session, Step, TlsFacts};

use crate::pieces;

/// Steps a session may take without waiting.
const STEPS_MAX: usize = 200_000;
/// In the data, what follows this octet is not input but something else that happens; see [`Happening`].
const MARK: u8 = 0xff;

/// Who answers the session. For a session whose behaviour does not depend on how its input is cut, answers must not
/// either: they may depend on what was asked before, and on nothing else.
pub trait Owner<S: Session> {
    /// Deals with an event, and answers it if it is a question.
    fn event(&mut self, session: &mut S, event: S::Event);

    /// Does something of its own accord, as one octet of the data says.
    fn order(&mut self, session: &mut S, order: u8) {
        let _ = (session, order);
    }

    /// The session has closed.
    fn closed(&mut self, session: &S) {
        let _ = session;
    }
}

/// What a conversation came to.
#[derive(Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the session sent, octet by octet.
    pub sent: Vec<u8>,
    /// Places in it where TLS began.
    pub tls_at: Vec<usize>,
    /// A handshake was asked for and has not been.
    pub tls_open: bool,
    /// Whether the session closed the connection.
    pub closed: bool,
}

impl Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "closed {}, TLS at {:?}, open {}, sent:", self.closed, self.tls_at, self.tls_open)?;
        self.sent
            .split_inclusive(|&octet| octet == b'\n')
            .try_for_each(|line| writeln!(f, "  {}", line.escape_ascii()))
    }
}

/// What data is made of: input, and [`MARK`] followed by one of these.
enum Happening<'a> {
    Input(&'a [u8]),
    /// `H`: the TLS handshake, if one was asked for. Input between that and this is lost in it.
    Handshake,
    /// `T` and an octet: 2 to its power, in seconds.
    Time(Duration),
    /// `C`: the peer closes.
    EndOfInput,
    /// `D`: the server stops.
    ShutDown,
    /// `O` and an octet.
    Order(u8),
}

fn happenings(mut data: &[u8]) -> impl Iterator<Item = Happening<'_>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let (happening, length) = match data {
            [MARK, b'T', exponent, ..] => (Happening::Time(Duration::from_secs(1 << (exponent % 14))), 3),
            [MARK, b'O', order, ..] => (Happening::Order(*order), 3),
            [MARK, b'H', ..] => (Happening::Handshake, 2),
            [MARK, b'C', ..] => (Happening::EndOfInput, 2),
            [MARK, b'D', ..] => (Happening::ShutDown, 2),
            _ => {
                let end =
                    data.iter().skip(1).position(|&octet| octet == MARK).map_or(data.len(), |at| at + 1);
                (Happening::Input(&data[..end]), end)
            }
        };
        data = &data[length..];
        Some(happening)
    })
}

/// TLS as the driver would tell of it.
pub fn tls() -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS13_AES_256_GCM_SHA384",
        server_name: None,
        bindings: vec![ChannelBinding::TlsExporter(vec![0x42; 32])],
    }
}

/// Lets a session live through `data`, its input cut as `how` says, and holds it to its contract.
pub fn play<S, O>(mut session: S, owner: &mut O, how: u8, data: &[u8]) -> Outcome
where
    S: Session,
    S::Event: Debug,
    O: Owner<S>,
{
    let mut outcome = Outcome::default();
    let mut now = Instant::now();
    let mut until = drive(&mut session, owner, now, &mut outcome);
    for happening in happenings(data) {
        if outcome.closed {
            break;
        }
        match happening {
            Happening::Handshake if outcome.tls_open => {
                outcome.tls_open = false;
                session.tls_started(tls());
            }
            _ if outcome.tls_open => continue,
            Happening::Handshake => continue,
            Happening::Input(input) => {
                for piece in pieces(input, how) {
                    session.receive(piece);
                    until = drive(&mut session, owner, now, &mut outcome);
                    if outcome.closed || outcome.tls_open {
                        break;
                    }
                }
                continue;
            }
            Happening::Time(span) => {
                let then = now + span;
                while let Some(wake) = until.filter(|wake| *wake <= then && !outcome.closed) {
                    now = wake;
                    until = drive(&mut session, owner, now, &mut outcome);
                }
                now = then;
                continue;
            }
            Happening::EndOfInput => session.end_of_input(),
            Happening::ShutDown => session.shut_down(),
            Happening::Order(order) => owner.order(&mut session, order),
        }
        until = drive(&mut session, owner, now, &mut outcome);
    }
    outcome
}

/// Carries out steps until the session waits; until when it does.
fn drive<S, O>(session: &mut S, owner: &mut O, now: Instant, outcome: &mut Outcome) -> Option<Instant>
where
    S: Session,
    O: Owner<S>,
{
    for _ in 0..STEPS_MAX {
        match session.next(now) {
            Step::Send(octets) => {
                assert!(!octets.is_empty(), "sends nothing");
                outcome.sent.extend_from_slice(&octets);
            }
            Step::Event(event) => owner.event(session, event),
            Step::StartTls => {
                outcome.tls_at.push(outcome.sent.len());
                outcome.tls_open = true;
                return None;
            }
            Step::Wait { until } => {
                assert!(until.is_none_or(|until| until > now), "waits for a time that has passed");
                return until;
            }
            Step::Close => {
                outcome.closed = true;
                owner.closed(session);
                return None;
            }
        }
    }
    panic!("took {STEPS_MAX} steps without waiting");
}
