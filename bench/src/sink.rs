//! Where relayed messages end: takes what it is given, compares it with what was sent, and counts each message once.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::Result;
use crate::content::{Run, find};
use crate::wire::PATIENCE;

/// Octets read at once.
const PIECE: usize = 64 * 1024;
/// What ends a message.
const END: &[u8] = b"\r\n.\r\n";

/// A server that takes everything.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) at: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    all_there: Condvar,
}

#[derive(Debug, Default)]
struct State {
    run: Option<Run>,
    /// Which messages of the run are there.
    seen: Vec<bool>,
    missing: usize,
    last: Option<Instant>,
    /// The first thing that was wrong.
    wrong: Option<String>,
    connections: usize,
}

impl Sink {
    pub(crate) fn start() -> Result<Sink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let at = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(std::io::Result::ok) {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || {
                    // Who goes away without a word has nothing to lose here: the count tells.
                    let _ = converse(stream, &shared);
                });
            }
        });
        Ok(Sink { at, shared })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// From now on, so many messages of this run are to come.
    pub(crate) fn expect(&self, run: &Run, count: usize) {
        *self.state() =
            State { run: Some(run.clone()), seen: vec![false; count], missing: count, ..State::default() };
    }

    /// Waits until all are there; tells when the last one came, and over how many connections.
    pub(crate) fn wait(&self, patience: Duration) -> Result<(Instant, usize)> {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        loop {
            if let Some(wrong) = &state.wrong {
                return Err(wrong.clone().into());
            }
            if let (0, Some(last)) = (state.missing, state.last) {
                return Ok((last, state.connections));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("{} messages have not come", state.missing).into());
            }
            state = match self.shared.all_there.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(_) => return Err("the sink panicked".into()),
            };
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A message has come; looks at all of it, outside the lock.
    fn take(&self, run: Option<&Run>, message: &[u8]) {
        let checked =
            run.ok_or_else(|| "a message that nobody waits for".into()).and_then(|run| run.check(message));
        let mut state = self.lock();
        let wrong = match checked {
            Err(error) => Some(error.to_string()),
            Ok(n) => match state.seen.get_mut(n) {
                None => Some(format!("message {n} was not sent")),
                Some(true) => Some(format!("message {n} came twice")),
                Some(seen) => {
                    *seen = true;
                    None
                }
            },
        };
        if wrong.is_none() {
            state.missing -= 1;
            state.last = Some(Instant::now());
        }
        let over = wrong.is_some() || state.missing == 0;
        state.wrong = state.wrong.take().or(wrong);
        if over {
            self.all_there.notify_all();
        }
    }
}

fn converse(mut stream: TcpStream, shared: &Shared) -> Result {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"220 sink.example ESMTP\r\n")?;
    let run = {
        let mut state = shared.lock();
        state.connections += 1;
        state.run.clone()
    };
    let mut run = run;
    let (mut input, mut start, mut in_message) = (Vec::with_capacity(2 * PIECE), 0, false);
    let mut replies = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        if in_message {
            if let Some(end) = find(&input[start..], END) {
                shared.take(run.as_ref(), &input[start..start + end + 2]);
                start += end + END.len();
                in_message = false;
                replies.extend_from_slice(b"250 2.0.0 taken\r\n");
                continue;
            }
        } else if let Some(end) = input[start..].iter().position(|&b| b == b'\n') {
            let line = &input[start..start + end];
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            start += end + 1;
            match verb.as_slice() {
                b"EHLO" => replies
                    .extend_from_slice(b"250-sink.example\r\n250-PIPELINING\r\n250-SIZE\r\n250 8BITMIME\r\n"),
                b"MAIL" => {
                    run = shared.lock().run.clone();
                    replies.extend_from_slice(b"250 2.1.0 ok\r\n");
                }
                b"DATA" => {
                    in_message = true;
                    replies.extend_from_slice(b"354 go on\r\n");
                }
                b"QUIT" => {
                    replies.extend_from_slice(b"221 2.0.0 bye\r\n");
                    stream.write_all(&replies)?;
                    return Ok(());
                }
                _ => replies.extend_from_slice(b"250 2.0.0 ok\r\n"),
            }
            continue;
        }
        stream.write_all(&replies)?;
        replies.clear();
        input.drain(..start);
        start = 0;
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            read => input.extend_from_slice(&piece[..read]),
        }
    }
}
