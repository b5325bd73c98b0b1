//! A mail server that takes what it is given and misbehaves as a test wants it to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(120);

/// What the sink does at some moment in place of what a server should do.
#[derive(Debug, Clone)]
pub enum Act {
    /// Says this, a line or several.
    Say(String),
    /// Closes without a word.
    Drop,
    /// Says this without an end of line, and closes.
    Half(String),
    /// Waits so long, and does what it should.
    Wait(Duration),
    /// Says something that is no reply.
    Nonsense,
}

/// A moment of a conversation.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Which connection, from 0.
    pub connection: usize,
    /// `CONNECT`, the verb of a command, or `END` for the end of a message.
    pub verb: String,
    /// What stands behind the verb; at `END` the recipients.
    pub argument: String,
    /// How often this verb came before, in all connections.
    pub before: usize,
}

/// A message that arrived.
#[derive(Debug, Clone, Default)]
pub struct Received {
    pub connection: usize,
    /// `<alice@demo.test> SIZE=1 …`
    pub from: String,
    /// `<bob@other.test> NOTIFY=…`
    pub to: Vec<String>,
    /// As it was sent, unstuffed.
    pub text: Vec<u8>,
    /// The reply to its end was not a yes, or did not come.
    pub refused: bool,
}

type Script = dyn Fn(&Moment) -> Option<Act> + Send + Sync;

#[derive(Default)]
struct State {
    received: Vec<Received>,
    commands: Vec<(usize, String)>,
    connections: usize,
}

/// The sink.
pub struct Sink {
    at: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    extensions: Vec<String>,
    script: Box<Script>,
    lmtp: bool,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("at", &self.at).finish_non_exhaustive()
    }
}

/// What a usual server offers.
pub const USUAL: &[&str] =
    &["PIPELINING", "SIZE 10000000", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"];

impl Sink {
    /// A good server.
    pub fn good() -> Sink {
        Sink::start(USUAL, |_| None)
    }

    /// A server that offers this and behaves so.
    pub fn start(
        extensions: &[&str],
        script: impl Fn(&Moment) -> Option<Act> + Send + Sync + 'static,
    ) -> Sink {
        Sink::start_at((Ipv4Addr::LOCALHOST, 0).into(), extensions, false, script)
    }

    /// The same for LMTP.
    pub fn lmtp(script: impl Fn(&Moment) -> Option<Act> + Send + Sync + 'static) -> Sink {
        Sink::start_at((Ipv4Addr::LOCALHOST, 0).into(), USUAL, true, script)
    }

    pub fn start_at(
        at: SocketAddr,
        extensions: &[&str],
        lmtp: bool,
        script: impl Fn(&Moment) -> Option<Act> + Send + Sync + 'static,
    ) -> Sink {
        let listener = TcpListener::bind(at).unwrap();
        let at = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            extensions: extensions.iter().map(|&it| it.to_owned()).collect(),
            script: Box::new(script),
            lmtp,
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || {
                    let connection = {
                        let mut state = shared.state.lock().unwrap();
                        state.connections += 1;
                        state.connections - 1
                    };
                    let _ = Conversation::new(stream, connection, &shared).run();
                });
            }
        });
        Sink { at, shared }
    }

    pub fn at(&self) -> SocketAddr {
        self.at
    }

    pub fn port(&self) -> u16 {
        self.at.port()
    }

    /// Messages taken so far.
    pub fn taken(&self) -> Vec<Received> {
        let state = self.shared.state.lock().unwrap();
        state.received.iter().filter(|it| !it.refused).cloned().collect()
    }

    /// Messages that came whole so far, taken or not.
    pub fn received(&self) -> Vec<Received> {
        self.shared.state.lock().unwrap().received.clone()
    }

    /// All commands so far.
    pub fn commands(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().commands.iter().map(|(_, command)| command.clone()).collect()
    }

    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }

    /// Waits until so many messages are taken.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.state.lock().unwrap();
        loop {
            let taken: Vec<Received> = state.received.iter().filter(|it| !it.refused).cloned().collect();
            if taken.len() >= count {
                return taken;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} messages came; {:?}", taken.len(), state.commands);
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}

struct Conversation<'s> {
    stream: BufReader<TcpStream>,
    connection: usize,
    shared: &'s Shared,
    message: Received,
    /// There is a sender.
    open: bool,
    chunk: Vec<u8>,
}

/// The conversation is over.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Over {
        Over
    }
}

impl<'s> Conversation<'s> {
    fn new(stream: TcpStream, connection: usize, shared: &'s Shared) -> Conversation<'s> {
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        let _ = stream.set_nodelay(true);
        let message = Received { connection, ..Received::default() };
        Conversation {
            stream: BufReader::new(stream),
            connection,
            shared,
            message,
            open: false,
            chunk: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), Over> {
        self.answer("CONNECT", "", "220 sink.test ESMTP")?;
        loop {
            let line = self.line()?;
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            let verb = verb.to_ascii_uppercase();
            let argument = argument.trim().to_owned();
            match verb.as_str() {
                "EHLO" | "LHLO" => {
                    let mut reply = "250-sink.test".to_owned();
                    for extension in &self.shared.extensions {
                        reply += &format!("\r\n250-{extension}");
                    }
                    reply += "\r\n250 HELP";
                    self.answer(&verb, &argument, &reply)?;
                }
                "MAIL" => {
                    self.message = Received {
                        connection: self.connection,
                        from: argument.get(5..).unwrap_or_default().to_owned(),
                        ..Received::default()
                    };
                    self.open = self.answer("MAIL", &argument, "250 2.1.0 ok")?;
                }
                "RCPT" | "DATA" if !self.open => self.say("503 5.5.1 MAIL first")?,
                "RCPT" => {
                    if self.answer("RCPT", &argument, "250 2.1.5 ok")? {
                        self.message.to.push(argument.get(3..).unwrap_or_default().to_owned());
                    }
                }
                "DATA" if self.message.to.is_empty() => self.say("554 5.5.1 no recipients")?,
                "DATA" => {
                    if self.answer("DATA", "", "354 go on")? {
                        self.body()?;
                        self.end()?;
                    }
                }
                "BDAT" => {
                    let mut words = argument.split(' ');
                    let length: usize = words.next().and_then(|it| it.parse().ok()).ok_or(Over)?;
                    let mut chunk = vec![0; length];
                    std::io::Read::read_exact(&mut self.stream, &mut chunk)?;
                    self.chunk.extend(chunk);
                    if words.next().is_some_and(|it| it.eq_ignore_ascii_case("LAST")) {
                        self.message.text = std::mem::take(&mut self.chunk);
                        self.end()?;
                    } else {
                        self.answer("BDAT", &argument, "250 2.0.0 ok")?;
                    }
                }
                "RSET" => {
                    self.message = Received { connection: self.connection, ..Received::default() };
                    self.answer("RSET", "", "250 2.0.0 ok")?;
                }
                "STARTTLS" => {
                    // There is no TLS behind it.
                    self.answer("STARTTLS", "", "220 2.0.0 go on")?;
                    self.say("hello, is it me you are looking for")?;
                    return Ok(());
                }
                "QUIT" => {
                    self.answer("QUIT", "", "221 2.0.0 bye")?;
                    return Ok(());
                }
                _ => {
                    self.answer(&verb, &argument, "250 2.0.0 ok")?;
                }
            }
        }
    }

    /// The end of a message: each recipient has an answer in LMTP.
    fn end(&mut self) -> Result<(), Over> {
        let mut message = std::mem::take(&mut self.message);
        let recipients = message.to.clone();
        let moments = if self.shared.lmtp { recipients.clone() } else { vec![recipients.join(" ")] };
        let mut taken = false;
        for argument in moments {
            let answered = self.answer("END", &argument, "250 2.0.0 taken");
            let yes = matches!(answered, Ok(true));
            taken |= yes;
            if !yes && self.shared.lmtp {
                message.to.retain(|it| *it != argument);
            }
            if answered.is_err() {
                message.refused = !taken;
                self.note(message);
                return Err(Over);
            }
        }
        message.refused = !taken;
        self.note(message);
        Ok(())
    }

    fn note(&self, message: Received) {
        self.shared.state.lock().unwrap().received.push(message);
        self.shared.changed.notify_all();
    }

    fn body(&mut self) -> Result<(), Over> {
        let mut text = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line)? == 0 {
                return Err(Over);
            }
            if line == b".\r\n" {
                break;
            }
            text.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
        self.message.text = text;
        Ok(())
    }

    fn line(&mut self) -> Result<String, Over> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 || !line.ends_with(b"\r\n") {
            return Err(Over);
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Answers as it should, or as the script wants; whether that was a yes.
    fn answer(&mut self, verb: &str, argument: &str, usual: &str) -> Result<bool, Over> {
        let moment = {
            let mut state = self.shared.state.lock().unwrap();
            let before = state.commands.iter().filter(|(_, it)| it.split(' ').next() == Some(verb)).count();
            state.commands.push((self.connection, format!("{verb} {argument}").trim_end().to_owned()));
            let (verb, argument) = (verb.to_owned(), argument.to_owned());
            Moment { connection: self.connection, verb, argument, before }
        };
        self.shared.changed.notify_all();
        let yes = |text: &str| text.starts_with('2') || text.starts_with('3');
        match (self.shared.script)(&moment) {
            None => self.say(usual)?,
            Some(Act::Say(text)) => {
                self.say(&text)?;
                return Ok(yes(&text));
            }
            Some(Act::Drop) => return Err(Over),
            Some(Act::Half(text)) => {
                self.stream.get_mut().write_all(text.as_bytes())?;
                return Err(Over);
            }
            Some(Act::Wait(time)) => {
                std::thread::sleep(time);
                self.say(usual)?;
            }
            Some(Act::Nonsense) => self.say("what do you mean?")?,
        }
        Ok(true)
    }

    fn say(&mut self, text: &str) -> Result<(), Over> {
        Ok(self.stream.get_mut().write_all(format!("{text}\r\n").as_bytes())?)
    }
}
