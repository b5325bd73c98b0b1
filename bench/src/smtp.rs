//! Handing over messages: many SMTP sessions on one thread, which waits for all of them at once.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll;

use crate::Result;
use crate::content::Run;
use crate::wire::PATIENCE;

/// Messages a session hands over before it says QUIT and another begins.
const PER_SESSION: usize = 20;
/// Sessions that wait for their greeting at the same time: a burst of connects overflows short listen queues.
const GREETING_AT_ONCE: usize = 16;

/// What was found while handing over.
#[derive(Debug)]
pub(crate) struct Handed {
    /// From the first connect to the last 250.
    pub(crate) took: Duration,
    /// Of each message, from MAIL FROM to the final 250, in milliseconds, sorted.
    pub(crate) latencies: Vec<f64>,
}

impl Handed {
    /// The latency that this share of the messages stayed below.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = (share * self.latencies.len() as f64) as usize;
        self.latencies.get(at.min(self.latencies.len() - 1)).copied().unwrap_or_default()
    }
}

/// The reply a session waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Greeting,
    Ehlo,
    Mail,
    Recipient,
    Data,
    Accepted,
    Goodbye,
}

impl Awaited {
    fn code(self) -> &'static [u8] {
        match self {
            Awaited::Greeting => b"220",
            Awaited::Data => b"354",
            Awaited::Goodbye => b"221",
            _ => b"250",
        }
    }
}

struct Session {
    socket: TcpStream,
    /// Read and not yet understood: the beginning of a line.
    input: Vec<u8>,
    /// Still to be written, from `written` on.
    output: Vec<u8>,
    written: usize,
    awaited: VecDeque<Awaited>,
    /// Commands not yet sent, when the server does not take them in one piece.
    unsent: VecDeque<Vec<u8>>,
    pipelining: bool,
    size: bool,
    sent: usize,
    message: Vec<u8>,
    begun: Instant,
}

/// The work left, shared by all sessions.
struct Work<'a> {
    run: &'a Run,
    address: &'a dyn Fn(usize) -> String,
    next: usize,
    end: usize,
    accepted: usize,
    latencies: Vec<f64>,
}

/// What became of a session after a read.
#[derive(PartialEq, Eq)]
enum Left {
    Open,
    Greeted,
    Over,
}

/// Hands over messages `from..from + count` in `sessions` sessions at a time. `address` names a mailbox.
pub(crate) fn hand_over(
    to: SocketAddr,
    run: &Run,
    from: usize,
    count: usize,
    sessions: usize,
    address: &dyn Fn(usize) -> String,
) -> Result<Handed> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut work = Work {
        run,
        address,
        next: from,
        end: from + count,
        accepted: 0,
        latencies: Vec::with_capacity(count),
    };
    let mut open: Vec<Option<Session>> = (0..sessions.min(count)).map(|_| None).collect();
    let mut closed: Vec<usize> = (0..open.len()).rev().collect();
    let mut greeting = 0;
    let mut events = Vec::with_capacity(open.len());
    let start = Instant::now();
    let mut last_accepted = start;
    let patience = rustix::event::Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let mut buffer = vec![0; 16 * 1024];
    loop {
        while greeting < GREETING_AT_ONCE && work.next < work.end {
            let Some(slot) = closed.pop() else { break };
            let session = Session::open(to)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&poll, &session.socket, epoll::EventData::new_u64(slot as u64), flags)?;
            open[slot] = Some(session);
            greeting += 1;
        }
        if closed.len() == open.len() {
            break;
        }
        if epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&patience))? == 0 {
            return Err(format!("no reply in {} s; {} accepted", PATIENCE.as_secs(), work.accepted).into());
        }
        for event in events.drain(..) {
            let slot = usize::try_from(event.data.u64())?;
            let Some(session) = open.get_mut(slot).and_then(Option::as_mut) else { continue };
            let was_greeted = !session.awaits_greeting();
            let before = work.accepted;
            let left = session.turn(&mut buffer, &mut work)?;
            if work.accepted > before {
                last_accepted = Instant::now();
            }
            if !was_greeted && left != Left::Open {
                greeting -= 1;
            }
            if left == Left::Over {
                open[slot] = None;
                closed.push(slot);
            }
        }
    }
    if work.accepted != count {
        return Err(format!("{} of {count} messages were accepted", work.accepted).into());
    }
    work.latencies.sort_by(f64::total_cmp);
    Ok(Handed { took: last_accepted - start, latencies: work.latencies })
}

impl Session {
    fn open(to: SocketAddr) -> Result<Session> {
        let socket = TcpStream::connect(to).map_err(|e| format!("connecting to {to}: {e}"))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Session {
            socket,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            awaited: VecDeque::from([Awaited::Greeting]),
            unsent: VecDeque::new(),
            pipelining: false,
            size: false,
            sent: 0,
            message: Vec::new(),
            begun: Instant::now(),
        })
    }

    fn awaits_greeting(&self) -> bool {
        self.awaited.front() == Some(&Awaited::Greeting)
    }

    /// Reads what came, answers, and writes as much as the socket takes.
    fn turn(&mut self, buffer: &mut [u8], work: &mut Work<'_>) -> Result<Left> {
        let greeted = !self.awaits_greeting();
        loop {
            self.write()?;
            match self.socket.read(buffer) {
                Ok(0) if self.awaited.is_empty() => return Ok(Left::Over),
                Ok(0) => {
                    return Err(format!("the server closed the connection before {:?}", self.awaited).into());
                }
                Ok(n) => {
                    self.input.extend_from_slice(&buffer[..n]);
                    self.understand(work)?;
                    // After 221 nothing is of interest; whoever closes first, it is over.
                    if self.awaited.is_empty() {
                        return Ok(Left::Over);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let now = !self.awaits_greeting();
                    return Ok(if now && !greeted { Left::Greeted } else { Left::Open });
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn write(&mut self) -> Result {
        while self.written < self.output.len() {
            match self.socket.write(&self.output[self.written..]) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Takes the whole lines that have come.
    fn understand(&mut self, work: &mut Work<'_>) -> Result {
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        while let Some(at) = rest.iter().position(|&b| b == b'\n') {
            self.line(&rest[..at], work)?;
            rest = &rest[at + 1..];
        }
        self.input.extend_from_slice(rest);
        Ok(())
    }

    fn line(&mut self, line: &[u8], work: &mut Work<'_>) -> Result {
        let Some(&awaited) = self.awaited.front() else {
            return Err(format!("a reply to nothing: {}", String::from_utf8_lossy(line)).into());
        };
        if !line.starts_with(awaited.code()) {
            return Err(format!("{awaited:?}: {}", String::from_utf8_lossy(line).trim_end()).into());
        }
        if awaited == Awaited::Ehlo {
            let keyword = line.get(4..).unwrap_or_default().to_ascii_uppercase();
            self.pipelining |= keyword.starts_with(b"PIPELINING");
            self.size |= keyword.starts_with(b"SIZE");
        }
        if line.get(3) == Some(&b'-') {
            return Ok(());
        }
        self.awaited.pop_front();
        match awaited {
            Awaited::Greeting => self.send(Awaited::Ehlo, b"EHLO client.sender.example\r\n"),
            Awaited::Ehlo => self.begin(work),
            Awaited::Mail | Awaited::Recipient => self.send_next_command(),
            Awaited::Data => {
                self.output.append(&mut self.message);
                self.output.extend_from_slice(b".\r\n");
                self.awaited.push_back(Awaited::Accepted);
                self.sent += 1;
                // The last of a session goes out with QUIT behind it, as Postfix's client does.
                if self.pipelining && (self.sent == PER_SESSION || work.next == work.end) {
                    self.send(Awaited::Goodbye, b"QUIT\r\n");
                }
            }
            Awaited::Accepted => {
                work.accepted += 1;
                work.latencies.push(self.begun.elapsed().as_secs_f64() * 1000.0);
                if self.awaited.is_empty() {
                    if self.sent == PER_SESSION {
                        self.send(Awaited::Goodbye, b"QUIT\r\n")
                    } else {
                        self.begin(work)
                    }
                }
            }
            Awaited::Goodbye => {}
        }
        Ok(())
    }

    fn send(&mut self, awaited: Awaited, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.awaited.push_back(awaited);
    }

    /// Begins the next message, or ends the session when there is none.
    fn begin(&mut self, work: &mut Work<'_>) {
        if work.next == work.end {
            return self.send(Awaited::Goodbye, b"QUIT\r\n");
        }
        let n = work.next;
        work.next += 1;
        self.message = work.run.message(n);
        self.begun = Instant::now();
        let size = if self.size { format!(" SIZE={}", self.message.len()) } else { String::new() };
        self.unsent.push_back(format!("MAIL FROM:<sender@sender.example>{size}\r\n").into_bytes());
        let recipients =
            work.run.mailboxes(n).map(|m| format!("RCPT TO:<{}>\r\n", (work.address)(m)).into_bytes());
        self.unsent.extend(recipients);
        self.unsent.push_back(b"DATA\r\n".to_vec());
        self.send_next_command();
        while self.pipelining && !self.unsent.is_empty() {
            self.send_next_command();
        }
    }

    fn send_next_command(&mut self) {
        let Some(command) = self.unsent.pop_front() else { return };
        let awaited = match command.first() {
            Some(b'M') => Awaited::Mail,
            Some(b'R') => Awaited::Recipient,
            _ => Awaited::Data,
        };
        self.send(awaited, &command);
    }
}
