//! Our own FTP client over blocking sockets, for what no foreign client says: every representation, markers, and lines cut
//! where it hurts. It has no TLS.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use packetboat_ftp::client::{Client, Config, ConnectionPolicy, Event, Login, Request, TlsPolicy, Transfer};
use packetboat_ftp::command::parse;
use packetboat_ftp::data::{Inbound, Mode, Options, Representation};
use packetboat_wire::{Reply, Session as _, Step};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_micros(200);

/// A session in the clear.
#[derive(Debug)]
pub struct Ftp {
    client: Client,
    control: TcpStream,
    data: Option<TcpStream>,
    listener: Option<TcpListener>,
    /// A data connection that stays open is not made again.
    pub connections: usize,
}

/// What is done with the data connection of a request.
#[derive(Debug, Default)]
struct Sending {
    opened: bool,
    rest: Vec<u8>,
    fetch: Option<Vec<u8>>,
    /// The connection is reset: when so much was fetched, or when all was sent.
    breaks: Option<usize>,
    ends_with_connection: bool,
    holds: bool,
    /// How what comes says where it ends.
    representation: Representation,
    done: bool,
}

impl Sending {
    /// Whether all that was to be fetched is here.
    fn has_ended(&self) -> bool {
        let Some(fetched) = &self.fetch else { return true };
        let mut inbound = Inbound::new(self.representation, &Options::default(), None);
        inbound.push(fetched, &mut Vec::new(), &mut Vec::new()).is_ok_and(|consumed| consumed.end_of_file)
    }
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The last reply.
    pub reply: Reply,
    /// What came over the data connection.
    pub data: Vec<u8>,
    /// Restart markers, ours and theirs.
    pub markers: Vec<(String, String)>,
    /// What was said in 150.
    pub opening: Option<Reply>,
}

impl Ended {
    pub fn code(&self) -> u16 {
        self.reply.code()
    }
}

/// Ends a connection as a machine does that has gone away.
pub fn reset(socket: TcpStream) {
    // With no time to linger for, closing is resetting.
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
    drop(socket);
}

impl Ftp {
    /// Logs in as alice of the test's server.
    pub fn login(at: SocketAddr, connection: ConnectionPolicy) -> Ftp {
        Ftp::login_as(at, connection, "alice@boat.test")
    }

    pub fn login_as(at: SocketAddr, connection: ConnectionPolicy, name: &str) -> Ftp {
        let login = Login { name: name.to_owned(), password: "demo".into(), account: None };
        let mut config = Config::new(at.ip(), Some(login));
        config.tls = TlsPolicy::Never;
        config.password_in_clear = true;
        config.connection = connection;
        let control = TcpStream::connect(at).unwrap();
        control.set_nonblocking(true).unwrap();
        control.set_nodelay(true).unwrap();
        let mut ftp =
            Ftp { client: Client::new(config), control, data: None, listener: None, connections: 0 };
        let mut nothing = Sending::default();
        while !matches!(ftp.event(&mut nothing), Event::Ready) {}
        ftp
    }

    /// A command that needs no data connection; its reply, whatever that is.
    pub fn command(&mut self, line: &str) -> Reply {
        let command = parse(line.as_bytes()).unwrap();
        self.client.request(Request::Command(command)).unwrap();
        self.end(&mut Sending::default()).reply
    }

    /// A command that must be answered with this code; what was said.
    #[track_caller]
    pub fn expect(&mut self, code: u16, line: &str) -> String {
        let reply = self.command(line);
        assert_eq!(reply.code(), code, "{line}: {reply}");
        reply.text().to_owned()
    }

    /// Sends this over the data connection.
    pub fn send(&mut self, transfer: Transfer, data: &[u8]) -> Ended {
        self.transfer(transfer, Sending { rest: data.to_vec(), ..Sending::default() })
    }

    /// Sends this, and breaks the data connection instead of ending it.
    pub fn send_and_break(&mut self, transfer: Transfer, data: &[u8]) -> Ended {
        self.transfer(transfer, Sending { rest: data.to_vec(), breaks: Some(0), ..Sending::default() })
    }

    /// Takes what comes over the data connection.
    pub fn fetch(&mut self, transfer: Transfer) -> Ended {
        self.transfer(transfer, Sending { fetch: Some(Vec::new()), ..Sending::default() })
    }

    /// Takes so many octets of it, and breaks the data connection.
    pub fn fetch_and_break(&mut self, transfer: Transfer, octets: usize) -> Ended {
        self.transfer(
            transfer,
            Sending { fetch: Some(Vec::new()), breaks: Some(octets), ..Sending::default() },
        )
    }

    /// Sends this, and leaves the data connection as it is: neither more nor an end comes.
    pub fn send_and_hold(&mut self, transfer: Transfer, data: &[u8]) {
        let mut sending = Sending { rest: data.to_vec(), holds: true, ..Sending::default() };
        self.client.request(Request::Transfer(transfer)).unwrap();
        while !matches!(self.event(&mut sending), Event::Opened { .. }) {}
        sending.opened = true;
        let deadline = Instant::now() + PATIENCE;
        while !sending.done {
            assert!(Instant::now() < deadline, "it is not taken");
            self.carry(&mut sending);
        }
    }

    fn transfer(&mut self, transfer: Transfer, mut sending: Sending) -> Ended {
        sending.ends_with_connection = transfer.deflate || transfer.representation.mode == Mode::Stream;
        sending.representation = transfer.representation;
        self.client.request(Request::Transfer(transfer)).unwrap();
        self.end(&mut sending)
    }

    fn end(&mut self, sending: &mut Sending) -> Ended {
        let (mut markers, mut opening) = (Vec::new(), None);
        loop {
            let (reply, stays_open) = match self.event(sending) {
                Event::Opened { reply, .. } => {
                    opening = Some(reply);
                    sending.opened = true;
                    continue;
                }
                Event::Marker { ours, theirs } => {
                    markers.push((ours, theirs));
                    continue;
                }
                Event::Status(_) | Event::Ready => continue,
                Event::Done { reply, stays_open, .. } => (reply, stays_open),
                Event::Refused { reply, .. } => (reply, false),
                other => panic!("{other:?}"),
            };
            // All that was sent before the reply is here.
            while self.carry(sending) {}
            if !sending.opened {
                // No transfer: what is open stays so.
            } else if !stays_open {
                (self.data, self.listener) = (None, None);
            } else if self.data.is_none() {
                // We broke it, and the server had sent all.
                self.client.data_closed();
            } else {
                // The two connections are not in step: what is on its way tells itself where it ends.
                let deadline = Instant::now() + PATIENCE;
                while !sending.has_ended() {
                    assert!(Instant::now() < deadline, "the file does not end");
                    if !self.carry(sending) {
                        std::thread::sleep(PAUSE);
                    }
                }
            }
            return Ended { reply, data: sending.fetch.take().unwrap_or_default(), markers, opening };
        }
    }

    /// Runs until the session tells something that is not about the data connection.
    fn event(&mut self, sending: &mut Sending) -> Event {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.client.next(Instant::now()) {
                Step::Send(octets) => self.write(&octets),
                Step::Event(Event::Connect(at)) => match TcpStream::connect(at) {
                    Ok(data) => {
                        data.set_nonblocking(true).unwrap();
                        self.data = Some(data);
                        self.connections += 1;
                        self.client.connected();
                    }
                    Err(_) => self.client.not_connected(),
                },
                Step::Event(Event::Listen) => {
                    let local = self.control.local_addr().unwrap();
                    let listener = TcpListener::bind((local.ip(), 0)).unwrap();
                    self.client.listening(listener.local_addr().unwrap());
                    self.listener = Some(listener);
                }
                Step::Event(event) => return event,
                Step::Wait { .. } => {
                    assert!(Instant::now() < deadline, "nothing more comes");
                    let mut moved = self.read();
                    moved |= self.carry(sending);
                    if !moved {
                        std::thread::sleep(PAUSE);
                    }
                }
                step => panic!("{step:?}"),
            }
        }
    }

    fn write(&mut self, octets: &[u8]) {
        self.control.set_nonblocking(false).unwrap();
        self.control.write_all(octets).unwrap();
        self.control.set_nonblocking(true).unwrap();
    }

    fn read(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match self.control.read(&mut piece) {
            Ok(0) => self.client.end_of_input(),
            Ok(read) => self.client.receive(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.client.end_of_input(),
        }
        true
    }

    /// Moves some data; whether some moved.
    fn carry(&mut self, sending: &mut Sending) -> bool {
        if self.data.is_none()
            && let Some(listener) = &self.listener
        {
            listener.set_nonblocking(true).unwrap();
            let Ok((data, _)) = listener.accept() else { return false };
            data.set_nonblocking(true).unwrap();
            self.data = Some(data);
            self.connections += 1;
        }
        let Some(data) = &mut self.data else { return false };
        if sending.done || !sending.opened {
            return false;
        }
        if let Some(fetched) = &mut sending.fetch {
            let mut piece = vec![0; 64 * 1024];
            match data.read(&mut piece) {
                Ok(0) => sending.done = true,
                Ok(read) => fetched.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => sending.done = true,
            }
            if sending.breaks.is_some_and(|octets| fetched.len() >= octets) {
                sending.done = true;
                self.data.take().into_iter().for_each(reset);
            }
        } else if sending.rest.is_empty() {
            match sending.breaks {
                // What was sent has to be taken before the connection is reset, for a reset overtakes.
                Some(_) => {
                    std::thread::sleep(Duration::from_millis(100));
                    self.data.take().into_iter().for_each(reset);
                }
                None if sending.ends_with_connection => drop(data.shutdown(Shutdown::Write)),
                None => {}
            }
            sending.done = true;
        } else {
            match data.write(&sending.rest) {
                Ok(written) => drop(sending.rest.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => sending.done = true,
            }
        }
        if sending.done && !sending.holds {
            self.client.data_ended();
        }
        true
    }
}
