//! Moving mail in and out over the admin socket.
//!
//! A request to import, export or hand in a message turns the connection over to this. Lines are JSON as before; what a line announces as
//! `octets` follows it as it is. In an import the client speaks, and is answered only where it asks: when a mailbox begins
//! and when it says `flush` or `finish`; so it is with recipients of a message that is handed in. What cannot go on is `"failed"` at the next such place. In an export the server
//! speaks until `"done"`.

mod export;
mod hand_in;
mod import;

use std::io;
use std::path::Path;

use packetboat_mail::mailbox::{self, Refusal};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::error::{AdminError, ErrorKind};
use super::line;

pub(super) use export::serve as serve_export;
pub use export::{Export, Exported, ExportedMailbox, ExportedMessage};
pub use hand_in::HandIn;
pub(super) use hand_in::serve as serve_hand_in;
pub(super) use import::serve as serve_import;
pub use import::{Import, ImportMailbox, ImportMessage, ImportTarget, ImportedSoFar};

/// Octets that follow one line at most.
const PIECE_MAX: usize = 1 << 20;
/// What a connection holds back until there is more.
const BUFFER: usize = 64 << 10;

/// Both directions of a connection that mail goes over.
#[derive(Debug)]
pub(super) struct Wire {
    reader: BufReader<OwnedReadHalf>,
    writer: BufWriter<OwnedWriteHalf>,
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Wire {
        let (reader, writer) = stream.into_split();
        Wire::of(BufReader::with_capacity(BUFFER, reader), writer)
    }

    pub(super) fn of(reader: BufReader<OwnedReadHalf>, writer: OwnedWriteHalf) -> Wire {
        Wire { reader, writer: BufWriter::with_capacity(BUFFER, writer) }
    }

    async fn say(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.writer.write_all(&line).await
    }

    async fn octets(&mut self, octets: &[u8]) -> io::Result<()> {
        self.writer.write_all(octets).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().await
    }

    pub(super) async fn hear<T: serde::de::DeserializeOwned>(&mut self) -> io::Result<T> {
        line::read(&mut self.reader).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn take(&mut self, octets: usize) -> io::Result<Vec<u8>> {
        if octets > PIECE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more octets than one line may announce"));
        }
        let mut piece = vec![0; octets];
        self.reader.read_exact(&mut piece).await?;
        Ok(piece)
    }

    /// Takes what the other side has still to say, and forgets it.
    async fn drain(&mut self) {
        let mut piece = vec![0; BUFFER];
        while self.reader.read(&mut piece).await.is_ok_and(|read| read > 0) {}
    }
}

/// Why mail does not move, by who can do something about it.
fn refused(refusal: &Refusal) -> AdminError {
    let kind = match refusal {
        Refusal::NoSuchMailbox | Refusal::Name(_) | Refusal::OverQuota | Refusal::Limit(_) => ErrorKind::Data,
        Refusal::Temporary | Refusal::DiskFull | Refusal::MailboxGone | Refusal::Expunged => {
            ErrorKind::Temporary
        }
        _ => ErrorKind::Data,
    };
    AdminError::new(kind, refusal.to_string())
}

fn special_uses(names: &[String]) -> Vec<mailbox::SpecialUse> {
    names.iter().filter_map(|name| mailbox::SpecialUse::parse(name)).collect()
}

fn lost(error: &io::Error) -> AdminError {
    AdminError::new(ErrorKind::Io, format!("the connection to the server was lost: {error}"))
}

/// Where a connection leads, for messages.
pub(super) fn at(path: &Path, error: &io::Error) -> AdminError {
    AdminError::new(ErrorKind::Io, format!("{}: {error}", path.display()))
}

/// Whether something went as it was asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer<T> {
    Told(T),
    Failed(AdminError),
}
