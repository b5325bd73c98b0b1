//! A depot with one user and a handful of files, for tests of FTP sessions.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use packetboat_ftp::command::{FileTime, PathName};
use packetboat_ftp::data::DataError;
use packetboat_ftp::server::{
    Answer, Config, Event, Refusal, Request, Server, TransferFailure, Transferred, What,
};
use packetboat_wire::transcript::{Owner, Script};

/// Everything an owner of a server session does, in memory and at once. Transfers end when an `O:` line says so.
#[derive(Debug)]
pub struct Depot {
    user: Option<String>,
    needs_account: bool,
    by_certificate: bool,
    directory: String,
    files: BTreeMap<String, u64>,
    /// A request that takes its time.
    held: bool,
}

pub fn from_settings(script: &Script) -> (Server, Depot) {
    let is = |name: &str| script.setting(name) == Some("yes");
    let config = Config {
        require_tls: is("require-tls"),
        require_protection: is("require-protection"),
        tls: !is("no-tls"),
        allow_ccc: is("allow-ccc"),
        disabled: script
            .setting("disabled")
            .map(|verbs| verbs.split(' ').map(str::to_owned).collect())
            .unwrap_or_default(),
        ..Config::default()
    };
    let files = [("/readme.txt", 42), ("/a \"quoted\" name", 7)];
    let depot = Depot {
        user: None,
        needs_account: is("needs-account"),
        by_certificate: is("by-certificate"),
        directory: "/".to_owned(),
        held: false,
        files: files.into_iter().map(|(name, size)| (name.to_owned(), size)).collect(),
    };
    (Server::new(Arc::new(config)), depot)
}

/// Names that say of themselves why nothing comes of them.
fn refused(path: &[u8]) -> Option<Refusal> {
    match path {
        b"forbidden" => Some(Refusal::NoPermission),
        b"busy" => Some(Refusal::Busy),
        b"costly" => Some(Refusal::NeedsAccount),
        b"full" => Some(Refusal::NoSpace),
        b"nameless" => Some(Refusal::NameNotAllowed),
        b"missing" => Some(Refusal::NotFound),
        _ => None,
    }
}

impl Depot {
    fn full(&self, path: &PathName) -> String {
        let text = path.to_text();
        if text.starts_with('/') { text } else { format!("{}/{text}", self.directory.trim_end_matches('/')) }
    }

    fn size(&self, path: &PathName) -> Result<u64, Refusal> {
        self.files.get(&self.full(path)).copied().ok_or(Refusal::NotFound)
    }

    fn request(&mut self, request: Request) -> Result<Answer, Refusal> {
        let name = |text: &str| PathName::new(text).unwrap();
        match request {
            Request::ChangeDirectory(path) if path.as_bytes() == b"nowhere" => Err(Refusal::NotFound),
            Request::ChangeDirectory(path) => {
                self.directory = self.full(&path);
                Ok(Answer::Done)
            }
            Request::ParentDirectory => {
                let end = self.directory.rfind('/').unwrap_or(0);
                self.directory = if end == 0 { "/".to_owned() } else { self.directory[..end].to_owned() };
                Ok(Answer::Done)
            }
            Request::WorkingDirectory => Ok(Answer::Directory(name(&self.directory))),
            Request::MakeDirectory(path) => Ok(Answer::Directory(name(&self.full(&path)))),
            Request::RemoveDirectory(path) if path.as_bytes() == b"empty" => Ok(Answer::Done),
            Request::RemoveDirectory(_) => Err(Refusal::NotEmpty),
            Request::Delete(path) => self.size(&path).map(|_| Answer::Done),
            Request::RenameFrom(path) | Request::CopyFrom(path) => self.size(&path).map(|_| Answer::Done),
            Request::Rename(from, to) => {
                let (from, to) = (self.full(&from), self.full(&to));
                if self.files.contains_key(&to) {
                    return Err(Refusal::Exists);
                }
                let size = self.files.remove(&from).ok_or(Refusal::NotFound)?;
                self.files.insert(to, size);
                Ok(Answer::Done)
            }
            Request::Size(path, ..) => self.size(&path).map(Answer::Number),
            Request::ModificationTime(path) => {
                self.size(&path).map(|_| Answer::Time(FileTime { seconds: 951_868_799, nanoseconds: 0 }))
            }
            Request::Facts(path) => {
                let path = path.unwrap_or_else(|| name("/"));
                Ok(Answer::Lines(vec![format!("Type=file;Size=42; {}", self.full(&path))]))
            }
            Request::Status(_) => {
                Ok(Answer::Directories(vec!["total 1".to_owned(), "readme.txt".to_owned()]))
            }
            Request::Allocate(octets) if octets > 1_000_000 => Err(Refusal::QuotaExceeded),
            Request::Checksum { path, start, end, .. } => {
                let size = self.size(&path)?;
                Ok(Answer::Checksum { digest: "CAFE".to_owned(), start, end: end.unwrap_or(size) })
            }
            Request::ChangeMode(..) => Err(Refusal::NoPermission),
            Request::Mount(path) if path.as_bytes() == b"disk" => Ok(Answer::Done),
            Request::Mount(_) => Err(Refusal::NoPermission),
            Request::Available(_) => Ok(Answer::Number(1_000_000)),
            Request::Quota => Ok(Answer::Lines(vec!["Used 49 of 1000000 octets.".to_owned()])),
            Request::Who => Ok(Answer::Lines(vec!["anna from 192.0.2.7, idle".to_owned()])),
            _ => Ok(Answer::Done),
        }
    }
}

impl Owner<Server> for Depot {
    fn event(&mut self, session: &mut Server, event: Event) {
        match event {
            Event::Host(name) if name == "files.example" => session.accept(),
            Event::Host(_) => session.refuse(Refusal::NotFound),
            Event::User(name) => {
                self.user = Some(name);
                if self.by_certificate { session.logged_in() } else { session.accept() }
            }
            Event::Password(password) => {
                let right = self.user.as_deref() == Some("anna") && password.expose() == "secret";
                match (right, self.needs_account) {
                    (false, _) => session.refuse(Refusal::LoginFailed),
                    (true, true) => session.want_account(),
                    (true, false) => session.logged_in(),
                }
            }
            Event::Account(name) if name == "lab" && session.is_logged_in() => session.accept(),
            Event::Account(name) if name == "lab" => session.logged_in(),
            Event::Account(_) => session.refuse(Refusal::LoginFailed),
            Event::Listen(_) => session.listening(([192, 0, 2, 1], 5282).into()),
            Event::Connect(at) if at.port() >= 1024 && at.ip().to_string() == "192.0.2.7" => session.accept(),
            Event::Connect(_) => session.refuse(Refusal::AddressNotAllowed),
            Event::Request(Request::Checksum { path, .. }) if path.as_bytes() == b"huge" => self.held = true,
            Event::Request(request) => match self.request(request) {
                Ok(answer) => session.answer(answer),
                Err(why) => session.refuse(why),
            },
            Event::Transfer(transfer) => match &transfer.what {
                What::Retrieve(path) => match self.size(path) {
                    Ok(size) => session.transfer_begins(false, false, format!("Sending {size} octets.")),
                    Err(why) => session.refuse(why),
                },
                What::Store(path) | What::Append(path) | What::List(Some(path)) | What::Names(Some(path))
                    if let Some(why) = refused(path.as_bytes()) =>
                {
                    session.refuse(why);
                }
                What::StoreUnique(_) => session.transfer_begins(true, false, "FILE: unique.1".to_owned()),
                What::Store(_) | What::Append(_) => {
                    session.transfer_begins(true, false, "Receiving.".to_owned())
                }
                What::List(_) | What::Names(_) | What::Facts(_) => {
                    session.transfer_begins(false, true, "Here it comes.".to_owned());
                }
            },
            Event::Abort if std::mem::take(&mut self.held) => session.refuse(Refusal::Stopped),
            Event::Abort => session.transfer_ended(Err(TransferFailure::Aborted)),
            Event::Progress => session.answer(Answer::Lines(vec!["21 of 42 octets.".to_owned()])),
            Event::Reinitialized | Event::CloseData | Event::ClearControl => {}
        }
    }

    fn order(&mut self, session: &mut Server, order: &str) -> Result<(), String> {
        let ended = |outcome| Ok::<_, String>(outcome);
        match order {
            "complete" => {
                session.transfer_ended(Ok(Transferred { octets: 42, stays_open: false, note: None }))
            }
            "tls ended" => session.tls_ended(),
            "complete, open" => {
                session.transfer_ended(Ok(Transferred { octets: 42, stays_open: true, note: None }))
            }
            "lost" => session.transfer_ended(Err(TransferFailure::ConnectionLost)),
            "no connection" => session.transfer_ended(Err(TransferFailure::CannotConnect)),
            "quota" => session.transfer_ended(Err(TransferFailure::File(Refusal::QuotaExceeded))),
            "disk full" => session.transfer_ended(Err(TransferFailure::File(Refusal::NoSpace))),
            "not resumed" => session.transfer_ended(Err(TransferFailure::NotResumed)),
            "checksum" => {
                self.held = false;
                let (digest, end) = ("CAFE".to_owned(), 1 << 40);
                session.answer(Answer::Checksum { digest, start: 0, end });
            }
            "damaged" => session.transfer_ended(Err(TransferFailure::Data(DataError::Damaged))),
            "bad page" => session.transfer_ended(Err(TransferFailure::Data(DataError::InvalidPage))),
            "marker" => session.marker("1000", 1024),
            other => return Err(format!("no order {other:?}")),
        }
        ended(())
    }
}
