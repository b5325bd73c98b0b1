//! Client sessions against dialogues: see `tests/transcripts/ftp-client` at the top of the repository.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use packetboat_ftp::client::{
    Client, Config, ConnectionPolicy, Event, Login, Request, TlsPolicy, Transfer, What,
};
use packetboat_ftp::command::{Command, PathName, TransferMode, parse};
use packetboat_ftp::data::Representation;
use packetboat_wire::Session;
use packetboat_wire::transcript::{Owner, Role, Script, check_folder};
use packetboat_wire::{Secret, TlsFacts};

/// Takes commands as orders: `O: RETR file`. `as TYPE E, STRU R` and `from 100` are for the transfers that follow.
#[derive(Debug)]
struct User {
    representation: Representation,
    deflate: bool,
    restart: Option<String>,
    range: Option<(u64, u64)>,
    allocate: Option<(u64, Option<u64>)>,
    connects: bool,
}

impl User {
    fn prepare(&mut self, line: &str) -> Result<(), String> {
        let command = parse(line.as_bytes()).map_err(|error| format!("{line}: {error}"))?;
        self.deflate = self.deflate && !matches!(command, Command::Mode(_));
        match command {
            Command::Type(ty) => self.representation.ty = ty,
            Command::Stru(structure) => self.representation.structure = structure,
            Command::Mode(TransferMode::Standard(mode)) => self.representation.mode = mode,
            Command::Mode(TransferMode::Deflate) => self.deflate = true,
            Command::Rest(marker) => self.restart = Some(marker),
            Command::Rang(first, last) => self.range = Some((first, last)),
            Command::Allo { bytes, record } => self.allocate = Some((bytes, record)),
            other => return Err(format!("{other:?} prepares nothing")),
        }
        Ok(())
    }
}

impl Owner<Client> for User {
    fn event(&mut self, session: &mut Client, event: Event) {
        match event {
            Event::Connect(_) | Event::Listen if !self.connects => session.not_connected(),
            Event::Connect(_) => session.connected(),
            Event::Listen => session.listening(([192, 0, 2, 7], 5282).into()),
            _ => {}
        }
    }

    fn order(&mut self, session: &mut Client, order: &str) -> Result<(), String> {
        match order.split_once(' ').unwrap_or((order, "")) {
            ("abort", _) => session.abort(),
            ("status", _) => session.status(),
            ("data", _) => session.data_ended(),
            ("with", what) => what.split(", ").try_for_each(|line| self.prepare(line))?,
            ("rename", names) => {
                let (from, to) = names.split_once(' ').ok_or("rename from to")?;
                let name = |text: &str| PathName::new(text).unwrap();
                session.request(Request::Rename(name(from), name(to))).map_err(|error| error.to_string())?;
            }
            _ => {
                let command = parse(order.as_bytes()).map_err(|error| error.to_string())?;
                let what = match command {
                    Command::Retr(path) => What::Retrieve(path),
                    Command::Stor(path) => What::Store(path),
                    Command::Stou(path) => What::StoreUnique(path),
                    Command::Appe(path) => What::Append(path),
                    Command::List(path) => What::List(path),
                    Command::Nlst(path) => What::Names(path),
                    Command::Mlsd(path) => What::Facts(path),
                    other => {
                        return session.request(Request::Command(other)).map_err(|error| error.to_string());
                    }
                };
                let mut transfer = Transfer::new(what, self.representation);
                transfer.deflate = self.deflate;
                transfer.restart = self.restart.take();
                transfer.range = self.range.take();
                transfer.allocate = self.allocate.take();
                session.request(Request::Transfer(transfer)).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

/// | setting | values |
/// |---|---|
/// | `tls` | `never` (unless told otherwise), `require`, `if-offered`, `implicit` |
/// | `user` | `anna`, unless told otherwise; `-` logs nobody in |
/// | `account` `host` | none |
/// | `connection` | `passive` (unless told otherwise), `pasv`, `active`, `port`, `lpsv`, `lprt` |
/// | `connects` `clear` `protect` | `no` |
/// | `server` | `192.0.2.1` |
fn from_settings(script: &Script) -> (Client, User) {
    let is = |name: &str| script.setting(name) != Some("no");
    let name = script.setting("user").unwrap_or("anna");
    let login = Login {
        name: name.to_owned(),
        password: Secret::from("secret"),
        account: script.setting("account").map(str::to_owned),
    };
    let server = script.setting("server").unwrap_or("192.0.2.1").parse().unwrap();
    let mut config = Config::new(server, (name != "-").then_some(login));
    config.tls = match script.setting("tls") {
        None | Some("never") => TlsPolicy::Never,
        Some("require" | "implicit") => TlsPolicy::Require,
        Some("if-offered") => TlsPolicy::IfOffered,
        Some(other) => panic!("no policy {other}"),
    };
    config.password_in_clear = is("clear");
    config.protect_data = is("protect");
    config.host = script.setting("host").map(str::to_owned);
    config.connection = match script.setting("connection") {
        None | Some("passive") => ConnectionPolicy::Passive,
        Some("pasv") => ConnectionPolicy::PlainPassive,
        Some("active") => ConnectionPolicy::Active,
        Some("port") => ConnectionPolicy::PlainActive,
        Some("lpsv") => ConnectionPolicy::LongPassive,
        Some("lprt") => ConnectionPolicy::LongActive,
        Some(other) => panic!("no connection {other}"),
    };
    config.timeout = Duration::from_secs(60);
    let mut client = Client::new(config);
    if script.setting("tls") == Some("implicit") {
        client.tls_started(TlsFacts::default());
    }
    let user = User {
        representation: Representation::default(),
        deflate: false,
        restart: None,
        range: None,
        allocate: None,
        connects: is("connects"),
    };
    (client, user)
}

#[test]
fn transcripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/transcripts/ftp-client");
    check_folder(folder, Role::Client, from_settings);
}

#[test]
fn what_the_session_does_itself_is_not_taken() {
    let mut client = Client::new(Config::new([192, 0, 2, 1].into(), None));
    for line in [
        "USER a",
        "PASS b",
        "REIN",
        "AUTH TLS",
        "PBSZ 0",
        "PROT C",
        "CCC",
        "HOST x",
        "PASV",
        "EPSV",
        "EPSV ALL",
        "LPSV",
        "PORT 1,2,3,4,5,6",
        "EPRT |1|1.2.3.4|5|",
        "LPRT 4,4,1,2,3,4,2,5,6",
        "RETR x",
        "STOR x",
        "STOU",
        "APPE x",
        "LIST",
        "NLST",
        "MLSD",
        "REST 1",
        "RANG 1 2",
        "RNFR x",
        "RNTO x",
        "ABOR",
        "ADAT x",
        "MIC x",
    ] {
        let command = parse(line.as_bytes()).unwrap();
        assert!(client.request(Request::Command(command)).is_err(), "{line}");
    }
    // A name that would be a second command.
    let injected = Command::Opts("UTF8".into(), Some("ON\r\nDELE x".into()));
    assert!(client.request(Request::Command(injected)).is_err());
    let mut transfer = Transfer::new(What::List(None), Representation::default());
    transfer.restart = Some("1\r\nDELE x".to_owned());
    assert!(client.request(Request::Transfer(transfer)).is_err());
    assert_eq!(client.pending(), 0);
}
