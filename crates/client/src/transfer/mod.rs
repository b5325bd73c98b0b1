//! Moving mail: reading it where it was ([`Source`]), and writing it for somewhere else ([`maildir::Writer`],
//! [`mbox::Writer`]).

pub mod imap;
mod lines;
pub mod maildir;
pub mod mbox;
mod names;
mod progress;
mod target;
mod uidlist;
mod url;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

pub use lines::{Endings, to_lf};
pub use names::{local_name, maildir_name};
pub use progress::Progress;
pub use target::{Target, TargetFolder};
pub use uidlist::UidList;
pub use url::{ImapUrl, InvalidUrl};

/// Octets handed over at once.
pub(crate) const PIECE: usize = 64 * 1024;

/// `\Seen`
pub const SEEN: u8 = 1;
/// `\Answered`
pub const ANSWERED: u8 = 2;
/// `\Flagged`
pub const FLAGGED: u8 = 4;
/// `\Deleted`
pub const DELETED: u8 = 8;
/// `\Draft`
pub const DRAFT: u8 = 16;

/// A mailbox as its source has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its name in UTF-8 with `/` between levels; the inbox is `INBOX`.
    pub name: String,
    /// `\Sent` and so on, where the source knows.
    pub special_uses: Vec<String>,
    /// Whether its owner is subscribed to it; where the source does not know, they are.
    pub subscribed: bool,
    /// Whether it only shows messages of other mailboxes (`\All`, `\Flagged`).
    pub is_view: bool,
    pub(crate) place: FolderPlace,
}

/// Where a mailbox is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FolderPlace {
    Path(PathBuf),
    Remote(packetboat_imap::client::RemoteName),
}

/// What is in a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Its UIDVALIDITY, if messages have UIDs.
    pub uid_validity: Option<u32>,
    /// Its UIDNEXT.
    pub uid_next: Option<u32>,
    /// Its messages: by UID, those without one at the end.
    pub messages: Vec<Message>,
    /// What cannot be read and why.
    pub unreadable: Vec<(String, String)>,
}

/// A message as its source has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The same at every look, and another one for every other message.
    pub identity: u128,
    /// Its UID.
    pub uid: Option<u32>,
    /// About how large it is.
    pub octets: u64,
    /// System flags as bits: [`SEEN`] and so on.
    pub flags: u8,
    /// Keywords.
    pub keywords: Vec<Arc<str>>,
    /// Internal date, microseconds since 1970.
    pub received_at: Option<i64>,
    pub(crate) place: Place,
}

/// Where a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file in `cur`, or in `new`.
    File { name: Box<str>, new: bool },
    /// From this octet of a file on.
    Offset(u64),
    /// On a server, under its UID.
    Remote,
}

impl Message {
    /// How to call it in a report.
    pub fn label(&self) -> String {
        match (&self.place, self.uid) {
            (Place::File { name, new }, _) => format!("{}/{name}", if *new { "new" } else { "cur" }),
            (Place::Offset(at), _) => format!("the message at octet {at}"),
            (Place::Remote, uid) => format!("UID {}", uid.unwrap_or(0)),
        }
    }
}

/// Where messages go that are read.
pub trait Sink {
    /// Why it takes no more.
    type Error;
    /// A message begins. `octets` is about how large it will be.
    fn begin(&mut self, message: &Message, octets: u64) -> impl Future<Output = Result<(), Self::Error>>;
    /// The next octets of it.
    fn octets(&mut self, octets: &[u8]) -> impl Future<Output = Result<(), Self::Error>>;
    /// It is complete.
    fn end(&mut self, message: &Message) -> impl Future<Output = Result<(), Self::Error>>;
    /// What came of the message in hand so far is to be forgotten; it may come again.
    fn abandon(&mut self) -> impl Future<Output = Result<(), Self::Error>>;
    /// It cannot be had; the reason is for people.
    fn unreadable(&mut self, message: &Message, why: String)
    -> impl Future<Output = Result<(), Self::Error>>;
}

/// Why a source cannot be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The system said no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// What is there is something else.
    #[error("{}: {what}", path.display())]
    Form {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The server, the network or the login.
    #[error(transparent)]
    Remote(#[from] imap::RemoteError),
}

impl SourceError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> SourceError {
        let path = path.into();
        move |error| SourceError::Io { path, error }
    }
}

/// Why reading ends early.
#[derive(Debug)]
pub enum Stopped<E> {
    /// The source cannot be read.
    Source(SourceError),
    /// The sink takes no more.
    Sink(E),
}

impl<E> From<SourceError> for Stopped<E> {
    fn from(error: SourceError) -> Self {
        Stopped::Source(error)
    }
}

/// Where mail was until now.
#[derive(Debug)]
pub enum Source {
    /// A Maildir, with folders or without.
    Maildir(maildir::Maildir),
    /// An mbox file, or a directory of them.
    Mbox(mbox::Mbox),
    /// A server.
    Imap(Box<imap::Imap>),
}

impl Source {
    /// All mailboxes, the inbox first.
    ///
    /// # Errors
    /// When the source cannot be read at all.
    pub async fn folders(&mut self) -> Result<Vec<Folder>, SourceError> {
        let mut folders = match self {
            Source::Maildir(maildir) => maildir.folders()?,
            Source::Mbox(mbox) => mbox.folders()?,
            Source::Imap(imap) => imap.folders().await?,
        };
        folders.sort_by(|a, b| (a.name != "INBOX", &a.name).cmp(&(b.name != "INBOX", &b.name)));
        Ok(folders)
    }

    /// What is in one of them.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn contents(&mut self, folder: &Folder) -> Result<Contents, SourceError> {
        let mut contents = match self {
            Source::Maildir(maildir) => maildir.contents(folder)?,
            Source::Mbox(mbox) => mbox.contents(folder)?,
            Source::Imap(imap) => imap.contents(folder).await?,
        };
        if contents.uid_validity.is_none() {
            contents.messages.iter_mut().for_each(|message| message.uid = None);
        }
        Ok(contents)
    }

    /// Reads the messages at these places of the contents, in this order as far as the source can.
    ///
    /// # Errors
    /// When the source or the sink fails. A single message that cannot be read is told to the sink.
    pub async fn read<S: Sink>(
        &mut self,
        folder: &Folder,
        contents: &Contents,
        wanted: &[usize],
        sink: &mut S,
    ) -> Result<(), Stopped<S::Error>> {
        let messages = wanted.iter().filter_map(|at| contents.messages.get(*at));
        match self {
            Source::Maildir(maildir) => maildir.read(folder, messages, sink).await,
            Source::Mbox(mbox) => mbox.read(folder, messages, sink).await,
            Source::Imap(imap) => imap.read(folder, messages.collect(), sink).await,
        }
    }
}

/// An identity made of these.
pub(crate) fn identity(parts: &[&[u8]]) -> u128 {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    first_octets(context.finish().as_ref())
}

pub(crate) fn first_octets(digest: &[u8]) -> u128 {
    digest.first_chunk().map_or(0, |octets| u128::from_be_bytes(*octets))
}
