//! A server that follows a script, for the tests of `send`, here and in the binary.

#![allow(dead_code, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// For anything a test waits for; a test that takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server for one connection. Its script has a line for each thing that happens:
///
/// - `S: text` is sent, with CRLF.
/// - `C: text` must come; a `*` at the end stands for anything.
/// - `MESSAGE` takes a message up to its line with a dot.
/// - `HOLD` says to the test that this point has been reached, and waits for its permission to go on.
///
/// At the end of the script the server closes the connection.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    thread: JoinHandle<Vec<u8>>,
    pub(crate) reached: Receiver<()>,
    pub(crate) go_on: Sender<()>,
}

impl Scripted {
    pub(crate) fn start(script: &str) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = script.to_owned();
        let (tell, reached) = channel();
        let (go_on, permission) = channel();
        let thread = std::thread::spawn(move || {
            let stream = accept(&listener);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            follow(&script, &stream, &tell, &permission)
        });
        Scripted { address, thread, reached, go_on }
    }

    /// Host and port, as `--server` takes them.
    pub(crate) fn place(&self) -> String {
        self.address.to_string()
    }

    /// Waits for the end of the script; gives the octets of the messages that came, still stuffed.
    pub(crate) fn finish(self) -> Vec<u8> {
        match self.thread.join() {
            Ok(message) => message,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// A test whose client does not come fails, rather than waiting for it.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(Instant::now() < deadline, "no client came");
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn follow(script: &str, mut stream: &TcpStream, tell: &Sender<()>, permission: &Receiver<()>) -> Vec<u8> {
    let mut reader = BufReader::new(stream);
    let mut message = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(": ") {
            Some(("S", text)) => stream.write_all(format!("{text}\r\n").as_bytes()).unwrap(),
            Some(("C", expected)) => {
                let mut came = String::new();
                reader.read_line(&mut came).unwrap();
                let came = came.trim_end();
                let fits = match expected.strip_suffix('*') {
                    Some(start) => came.starts_with(start),
                    None => came == expected,
                };
                assert!(fits, "the client said {came:?}, and not {expected:?}");
            }
            _ if line == "MESSAGE" => take_message(&mut reader, &mut message),
            _ if line == "HOLD" => {
                tell.send(()).unwrap();
                permission.recv_timeout(PATIENCE).unwrap();
            }
            _ => panic!("no line of a script: {line}"),
        }
    }
    message
}

/// Keeps the beginning of a message and lets the rest go by, so that a long one takes no room here either.
fn take_message(reader: &mut impl BufRead, message: &mut Vec<u8>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        assert!(
            reader.by_ref().take(1 << 20).read_until(b'\n', &mut line).unwrap() > 0,
            "the message broke off"
        );
        if line == b".\r\n" {
            return;
        }
        if message.len() < 1 << 20 {
            message.extend_from_slice(&line);
        }
    }
}

/// A dialogue in which everything goes well up to the recipients.
pub(crate) const OPENING: &str = "S: 220 test ESMTP
    C: EHLO [127.0.0.1]
    S: 250-test
    S: 250-SIZE 1000000000
    S: 250-8BITMIME
    S: 250 ENHANCEDSTATUSCODES
    C: MAIL FROM:<alice@example.org>*
    S: 250 2.1.0 ok
    C: RCPT TO:<bob@example.org>
    ";

/// The end of a dialogue in which the message is taken.
pub(crate) const TAKEN: &str = "S: 250 2.1.5 ok
    C: DATA
    S: 354 go
    MESSAGE
    S: 250 2.0.0 taken as 4711
    C: QUIT
    S: 221 bye
    ";
