//! A last server of bad manners. What it does to a message follows from the message's number, so that every run of one
//! seed is as bad as the other, and it writes down what it took.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Random;

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(120);

/// What the sink knows of a message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    /// Transactions that named it.
    pub(crate) tries: usize,
    /// Each time it came whole: the name the server before gave it, and whether that server heard a yes.
    pub(crate) came: Vec<(String, Heard)>,
    /// It came, and not as it was sent.
    pub(crate) damaged: bool,
}

/// What the other side heard after the final dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The whole yes.
    Yes,
    /// A no: the message is not here.
    No,
    /// Nothing, or too little to know: whoever sends again does right (RFC 1047).
    Unclear,
}

/// What befalls a message in one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    RecipientLater,
    RecipientNever,
    RecipientDrop,
    DataLater,
    DropInBody,
    EndLater,
    EndNever,
    EndBye,
    EndDrop,
    EndHalf,
    EndSlow,
}

/// The refusal that is for good.
pub(crate) const NEVER: &str = "550 5.1.1 there was never such a person";
pub(crate) const NEVER_AT_END: &str = "554 5.7.1 we do not like what it says";

#[derive(Debug)]
pub(crate) struct Sink {
    port: u16,
    seed: u64,
    stories: Mutex<HashMap<u32, Story>>,
    connections: Mutex<u64>,
}

/// Whether the message is refused for good, and with which words.
pub(crate) fn refusal(number: u32) -> Option<&'static str> {
    match number % 16 {
        3 => Some(NEVER),
        11 => Some(NEVER_AT_END),
        _ => None,
    }
}

impl Sink {
    pub(crate) fn start(seed: u64) -> Arc<Sink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let sink = Arc::new(Sink { port, seed, stories: Mutex::default(), connections: Mutex::default() });
        let serving = Arc::clone(&sink);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sink = Arc::clone(&serving);
                std::thread::spawn(move || sink.serve(stream));
            }
        });
        sink
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn stories(&self) -> HashMap<u32, Story> {
        self.stories.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> u64 {
        *self.connections.lock().unwrap()
    }

    /// What befalls a message in its next attempt.
    fn mishap(&self, number: u32) -> Option<Mishap> {
        let attempt = {
            let mut stories = self.stories.lock().unwrap();
            let story = stories.entry(number).or_default();
            story.tries += 1;
            story.tries
        };
        let mut random = Random::new(self.seed ^ (u64::from(number) << 8) ^ attempt as u64);
        // A message has bad luck less and less often.
        let luck = random.below(10 * attempt as u64);
        let refusal = refusal(number);
        let bad = [
            Mishap::RecipientLater,
            Mishap::RecipientDrop,
            Mishap::DataLater,
            Mishap::DropInBody,
            Mishap::EndLater,
            Mishap::EndBye,
            Mishap::EndDrop,
            Mishap::EndHalf,
            Mishap::EndSlow,
        ];
        // What is never taken is not taken slowly either.
        let bad = if refusal.is_some() { &bad[..8] } else { &bad[..] };
        match (luck, refusal) {
            (0, _) => Some(bad[random.below(bad.len() as u64) as usize]),
            (_, Some(NEVER)) => Some(Mishap::RecipientNever),
            (_, Some(_)) => Some(Mishap::EndNever),
            (_, None) => None,
        }
    }

    fn serve(&self, stream: TcpStream) {
        let connection = {
            let mut connections = self.connections.lock().unwrap();
            *connections += 1;
            *connections
        };
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        let _ = stream.set_nodelay(true);
        let mut stream = BufReader::new(stream);
        let luck = Random::new(self.seed.rotate_left(17) ^ connection).below(40);
        let greeting = match luck {
            0 => "421 4.3.2 not now\r\n",
            1 => return,
            2 => "220 sink.te",
            _ => "220 sink.test ESMTP\r\n",
        };
        let wrong_tls = luck == 3;
        // Whatever goes wrong from here on, the other side notices.
        let _ = stream.get_mut().write_all(greeting.as_bytes());
        if luck > 2 {
            let _ = self.converse(&mut stream, wrong_tls);
        }
    }

    fn converse(&self, stream: &mut BufReader<TcpStream>, wrong_tls: bool) -> Option<()> {
        let mut number = 0;
        let mut mishap = None;
        loop {
            let line = line(stream)?;
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            let reply = match verb.as_str() {
                "EHLO" if wrong_tls => "250-sink.test\r\n250-STARTTLS\r\n250 8BITMIME",
                "EHLO" => "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES",
                "STARTTLS" => {
                    stream.get_mut().write_all(b"220 2.0.0 go on\r\nno TLS here\r\n").ok()?;
                    return None;
                }
                "RCPT" => {
                    number = line.split(['<', '@']).nth(1)?.strip_prefix('m')?.parse().ok()?;
                    mishap = self.mishap(number);
                    match mishap {
                        Some(Mishap::RecipientLater) => "451 4.2.1 come again",
                        Some(Mishap::RecipientNever) => NEVER,
                        Some(Mishap::RecipientDrop) => return None,
                        _ => "250 2.1.5 ok",
                    }
                }
                "DATA" => match mishap {
                    Some(Mishap::RecipientLater | Mishap::RecipientNever) => "503 5.5.1 no recipients",
                    Some(Mishap::DataLater) => "451 4.3.0 come again",
                    _ => {
                        stream.get_mut().write_all(b"354 go on\r\n").ok()?;
                        self.message(stream, number, mishap)?;
                        continue;
                    }
                },
                "QUIT" => {
                    let _ = stream.get_mut().write_all(b"221 2.0.0 bye\r\n");
                    return None;
                }
                _ => "250 2.0.0 ok",
            };
            stream.get_mut().write_all(format!("{reply}\r\n").as_bytes()).ok()?;
        }
    }

    /// A message to its end and what is said there.
    fn message(&self, stream: &mut BufReader<TcpStream>, number: u32, mishap: Option<Mishap>) -> Option<()> {
        let mut text = String::new();
        loop {
            let line = line(stream)?;
            if mishap == Some(Mishap::DropInBody) && text.len() > 200 {
                return None;
            }
            if line == "." {
                break;
            }
            text.push_str(line.strip_prefix('.').unwrap_or(&line));
            text.push('\n');
        }
        let (reply, heard) = match mishap {
            Some(Mishap::EndLater) => ("451 4.3.0 come again\r\n", Heard::No),
            Some(Mishap::EndNever) => (NEVER_AT_END, Heard::No),
            Some(Mishap::EndBye) => ("421 4.3.2 must go\r\n", Heard::No),
            Some(Mishap::EndDrop) => ("", Heard::Unclear),
            Some(Mishap::EndHalf) => ("25", Heard::Unclear),
            _ => ("250 2.0.0 taken\r\n", Heard::Yes),
        };
        if mishap == Some(Mishap::EndSlow) {
            std::thread::sleep(Duration::from_millis(700));
        }
        // Written down first: whoever hears the yes may look.
        {
            let mut stories = self.stories.lock().unwrap();
            let story = stories.entry(number).or_default();
            let id = text.split("\tid ").nth(1).and_then(|rest| rest.split([' ', ';', '\n']).next());
            story.came.push((id.unwrap_or_default().to_owned(), heard));
            story.damaged |= !text.ends_with(&super::body(number).replace("\r\n", "\n"));
        }
        let written = stream.get_mut().write_all(reply.as_bytes());
        if matches!(mishap, Some(Mishap::EndNever)) {
            stream.get_mut().write_all(b"\r\n").ok()?;
        }
        written.ok()?;
        match mishap {
            Some(Mishap::EndBye | Mishap::EndDrop | Mishap::EndHalf) => None,
            _ => Some(()),
        }
    }
}

fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).ok()?;
    let line = line.strip_suffix(b"\r\n")?;
    Some(String::from_utf8_lossy(line).into_owned())
}
