//! A small line protocol to drive: it echoes, and knows a few words.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use packetboat_server::conn::Conn;
use packetboat_server::drive::{Handler, Link, Pace, Stop, Summary, TlsRole};
use packetboat_server::shutdown::Shutdown;
use packetboat_wire::{ChannelBinding, Session, Step, TlsFacts};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// Answers each line with `> line`. `STARTTLS`, `QUIT`, `BULK` and `ASK …` do what they say. After `HOLD n` lines wait for
/// news, as if they were `n` octets.
#[derive(Debug, Default)]
pub struct Echo {
    input: Vec<u8>,
    steps: std::collections::VecDeque<Step<Ask>>,
    greeted: bool,
    ended: bool,
    closing: bool,
    held: Option<usize>,
    /// How long a silent peer is borne.
    pub patience: Option<Duration>,
    since: Option<Instant>,
}

/// The toy's only event: a question about a word.
#[derive(Debug)]
pub struct Ask(pub String);

impl Echo {
    pub fn answer(&mut self, text: &str) {
        self.held = None;
        self.say(text);
    }

    pub fn answer_bytes(&mut self, bytes: Bytes) {
        self.steps.push_back(Step::Send(bytes));
    }

    fn say(&mut self, text: &str) {
        self.steps.push_back(Step::Send(Bytes::from(format!("{text}\r\n"))));
    }

    fn line(&mut self, line: &str) {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("STARTTLS", _) => {
                self.say("go ahead");
                self.steps.push_back(Step::StartTls);
            }
            ("QUIT", _) => {
                self.say("bye");
                self.closing = true;
            }
            ("HOLD", octets) => {
                self.held = octets.parse().ok();
                self.say("holding");
            }
            ("ASK", word) => self.steps.push_back(Step::Event(Ask(word.to_owned()))),
            _ => self.say(&format!("> {line}")),
        }
    }
}

impl Session for Echo {
    type Event = Ask;

    fn receive(&mut self, bytes: &[u8]) {
        assert!(!self.ended, "bytes after the end of input");
        assert!(self.held.is_none_or(|octets| octets < 65_536), "bytes while enough is waiting");
        self.input.extend_from_slice(bytes);
    }

    fn held_back(&self) -> Option<usize> {
        self.held
    }

    fn end_of_input(&mut self) {
        self.ended = true;
        self.closing = true;
    }

    fn tls_started(&mut self, tls: TlsFacts) {
        self.input.clear();
        let bindings: Vec<String> = tls
            .bindings
            .iter()
            .map(|binding: &ChannelBinding| format!("{}/{}", binding.name(), binding.data().len()))
            .collect();
        let name = tls.server_name.as_deref().unwrap_or("-");
        self.greeted = true;
        self.say(&format!("secure {} {name} {}", tls.version, bindings.join(" ")));
    }

    fn shut_down(&mut self) {
        self.say("stopping");
        self.closing = true;
    }

    fn next(&mut self, now: Instant) -> Step<Ask> {
        if !self.greeted {
            self.greeted = true;
            self.say("hello");
        }
        loop {
            if let Some(step) = self.steps.pop_front() {
                self.since = Some(now);
                return step;
            }
            if self.closing {
                return Step::Close;
            }
            if self.held.is_some() {
                return Step::Wait { until: None };
            }
            let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else {
                let since = *self.since.get_or_insert(now);
                let until = self.patience.map(|patience| since + patience);
                if until.is_some_and(|until| until <= now) {
                    self.say("timeout");
                    self.closing = true;
                    continue;
                }
                return Step::Wait { until };
            };
            let line: Vec<u8> = self.input.drain(..=end).collect();
            self.line(String::from_utf8_lossy(&line).trim_end());
        }
    }
}

/// Knows what to answer.
#[derive(Debug, Default)]
pub struct Oracle {
    pub bulk: bool,
    pub news: Option<mpsc::Receiver<String>>,
    pub heard: Option<String>,
    pub done: Option<oneshot::Sender<String>>,
    pub asked: Arc<AtomicU64>,
}

impl Handler<Echo> for Oracle {
    async fn handle(&mut self, session: &mut Echo, Ask(word): Ask) -> Result<(), Stop> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match word.split_once(' ').unwrap_or((&word, "")) {
            ("panic", _) => panic!("as asked"),
            ("stop", _) => return Err(Stop("as asked".into())),
            ("bulk", _) => {
                self.bulk = true;
                session.answer("send");
            }
            ("nap", millis) => {
                tokio::time::sleep(Duration::from_millis(millis.parse().unwrap())).await;
                session.answer("awake");
            }
            ("big", size) => {
                let size: usize = size.parse().unwrap();
                let piece = Bytes::from(vec![b'x'; 10_000]);
                for _ in 0..size / piece.len() {
                    session.answer_bytes(piece.clone());
                }
                session.answer("done");
            }
            _ => session.answer(&format!("heard {word}")),
        }
        Ok(())
    }

    async fn news(&mut self) {
        match &mut self.news {
            Some(news) => match news.recv().await {
                Some(text) => self.heard = Some(text),
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    async fn tell(&mut self, session: &mut Echo) -> Result<(), Stop> {
        if let Some(text) = self.heard.take() {
            session.answer(&format!("news: {text}"));
        }
        Ok(())
    }

    fn in_bulk(&self) -> bool {
        self.bulk
    }

    fn ended(&mut self, summary: &Summary) {
        if let Some(done) = self.done.take() {
            let _ = done.send(summary.end.to_string());
        }
    }
}

/// A connected pair: the server's end as a link, and the client's socket.
pub async fn pair(shutdown: &Shutdown, tls: TlsRole, pace: Pace) -> (Link, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, server) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let link = Link {
        conn: Conn::tcp(server.unwrap().0),
        id: 1,
        tls,
        implicit_tls: false,
        pace: Arc::new(pace),
        shutdown: shutdown.signal(),
        cut: Arc::default(),
    };
    (link, client.unwrap())
}
