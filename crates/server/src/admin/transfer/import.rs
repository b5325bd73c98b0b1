//! Moving in.

use std::collections::HashSet;
use std::io;

use bytes::Bytes;
use packetboat_mail::mailbox::{
    Foreign, ImportError, Imported, Importing, Mailboxes, Name, NewMessage, Refusal,
};
use packetboat_store::Flags;
use serde::{Deserialize, Serialize};

use super::{Answer, PIECE_MAX, Wire, lost, refused, special_uses};
use crate::admin::error::{AdminError, ErrorKind};
use crate::shutdown::{Phase, ShutdownSignal};

/// Identities in one line.
const KNOWN_AT_ONCE: usize = 4_000;

/// A mailbox that comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportMailbox {
    /// Its name here.
    pub name: String,
    /// What it is for: `\Sent` and so on.
    pub special_uses: Vec<String>,
    /// Its UIDVALIDITY, if UIDs are to be kept.
    pub uid_validity: Option<u32>,
    /// Its UIDNEXT.
    pub uid_next: Option<u32>,
    /// The lowest UID in it.
    pub first_uid: Option<u32>,
    /// Whether its owner is subscribed to it.
    pub subscribed: bool,
}

/// Our mailbox for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportTarget {
    /// Its name.
    pub name: String,
    /// Whether it was made for this.
    pub created: bool,
    /// Whether UIDs are kept.
    pub keeps_uids: bool,
    /// The first UID that can be kept.
    pub uid_next: u32,
}

/// A message that comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportMessage {
    /// Names it among all that come into this mailbox.
    pub identity: u128,
    /// How to call it in a report.
    pub label: String,
    /// Its UID.
    pub uid: Option<u32>,
    /// System flags as bits, `\Seen` first.
    pub flags: u8,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Internal date, microseconds since 1970.
    pub received_at: i64,
    /// About how large it is.
    pub octets: u64,
}

/// What became of messages since it was asked last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedSoFar {
    /// How many are in the mailbox, on disk.
    pub messages: u64,
    /// Those that have the UIDs they came with.
    pub uids_kept: u64,
    /// Octets of them.
    pub octets: u64,
    /// Keywords there was no room for.
    pub keywords_dropped: u64,
    /// Whether the mailbox got a new UIDVALIDITY, because a UID was taken.
    pub renumbered: bool,
    /// Messages that were not taken, and why.
    pub refused: Vec<(String, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Say {
    Mailbox(ImportMailbox),
    Message(ImportMessage),
    Octets(usize),
    End,
    Abandon,
    Flush,
    Finish,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    Known(Vec<u128>),
    Mailbox(ImportTarget),
    SoFar(ImportedSoFar),
}

/// An import under way, at the end of the command.
#[derive(Debug)]
pub struct Import {
    wire: Wire,
}

impl Import {
    pub(in crate::admin) fn new(wire: Wire) -> Import {
        Import { wire }
    }

    /// What the server says, if it does. It says why it stopped listening before it does so.
    async fn answer(&mut self) -> Result<Told, AdminError> {
        match self.wire.hear().await {
            Ok(Answer::Told(told)) => Ok(told),
            Ok(Answer::Failed(error)) => Err(error),
            Err(error) => Err(lost(&error)),
        }
    }

    async fn say(&mut self, say: &Say) -> Result<(), AdminError> {
        match self.wire.say(say).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.reason(&error).await),
        }
    }

    async fn reason(&mut self, error: &io::Error) -> AdminError {
        match self.answer().await {
            Err(said) if said.kind != ErrorKind::Io => said,
            _ => lost(error),
        }
    }

    /// A mailbox begins. Gives ours, and the identities of the messages that came before.
    ///
    /// # Errors
    /// When it cannot be had, or the connection is lost.
    pub async fn mailbox(
        &mut self,
        mailbox: &ImportMailbox,
    ) -> Result<(ImportTarget, HashSet<u128>), AdminError> {
        self.say(&Say::Mailbox(mailbox.clone())).await?;
        self.wire.flush().await.map_err(|error| lost(&error))?;
        let mut all = HashSet::new();
        loop {
            match self.answer().await? {
                Told::Known(known) => all.extend(known),
                Told::Mailbox(target) => return Ok((target, all)),
                Told::SoFar(_) => {}
            }
        }
    }

    /// A message begins.
    ///
    /// # Errors
    /// When the server stopped, or the connection is lost.
    pub async fn message(&mut self, message: ImportMessage) -> Result<(), AdminError> {
        self.say(&Say::Message(message)).await
    }

    /// The next octets of it.
    ///
    /// # Errors
    /// When the server stopped, or the connection is lost.
    pub async fn octets(&mut self, octets: &[u8]) -> Result<(), AdminError> {
        for piece in octets.chunks(PIECE_MAX) {
            self.say(&Say::Octets(piece.len())).await?;
            if let Err(error) = self.wire.octets(piece).await {
                return Err(self.reason(&error).await);
            }
        }
        Ok(())
    }

    /// It is complete.
    ///
    /// # Errors
    /// When the server stopped, or the connection is lost.
    pub async fn end(&mut self) -> Result<(), AdminError> {
        self.say(&Say::End).await
    }

    /// It is not to be had in full, and to be forgotten.
    ///
    /// # Errors
    /// When the server stopped, or the connection is lost.
    pub async fn abandon(&mut self) -> Result<(), AdminError> {
        self.say(&Say::Abandon).await
    }

    /// Has all that came put on disk, and asks what became of it.
    ///
    /// # Errors
    /// When that failed. With [`ErrorKind::Temporary`] the same may succeed when it is begun anew.
    pub async fn flush(&mut self) -> Result<ImportedSoFar, AdminError> {
        self.so_far(&Say::Flush).await
    }

    /// The same; the mailbox is complete.
    ///
    /// # Errors
    /// As for [`Import::flush`].
    pub async fn finish(&mut self) -> Result<ImportedSoFar, AdminError> {
        self.so_far(&Say::Finish).await
    }

    async fn so_far(&mut self, say: &Say) -> Result<ImportedSoFar, AdminError> {
        self.say(say).await?;
        if let Err(error) = self.wire.flush().await {
            return Err(self.reason(&error).await);
        }
        match self.answer().await? {
            Told::SoFar(so_far) => Ok(so_far),
            Told::Known(_) | Told::Mailbox(_) => Err(unexpected()),
        }
    }
}

fn unexpected() -> AdminError {
    AdminError::new(ErrorKind::Usage, "the other side says something else; is it of another version?")
}

/// Messages not taken that are told at once; of more only their number is known.
const REFUSED_MAX: usize = 500;

/// The server's end. Returns when the client has gone, or after what cannot be mended.
pub(in crate::admin) async fn serve(
    mut wire: Wire,
    mailboxes: Mailboxes,
    shutdown: ShutdownSignal,
) -> io::Result<()> {
    let outcome = tokio::select! {
        outcome = listen(&mut wire, &mailboxes) => outcome,
        () = shutdown.reached(Phase::Stopping) => {
            let message = "the server is stopping; run the import again when it is back";
            Err(Stop::Failed(AdminError::new(ErrorKind::Temporary, message)))
        }
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(Stop::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(Stop::Io(error)) => Err(error),
        Err(Stop::Failed(error)) => {
            wire.say(&Answer::<Told>::Failed(error)).await?;
            wire.flush().await?;
            // Whoever is in the middle of saying something reads afterwards.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(60), wire.drain()).await;
            Ok(())
        }
    }
}

enum Stop {
    Io(io::Error),
    Failed(AdminError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Stop {
        Stop::Failed(match &error {
            ImportError::Contended => AdminError::new(ErrorKind::Temporary, error.to_string()),
            ImportError::Refused(refusal) => refused(refusal),
        })
    }
}

async fn listen(wire: &mut Wire, mailboxes: &Mailboxes) -> Result<(), Stop> {
    let mut importing: Option<Importing> = None;
    let mut refusals: Vec<(String, String)> = Vec::new();
    let mut label = String::new();
    loop {
        let say: Say = wire.hear().await?;
        if let Say::Mailbox(mailbox) = say {
            let (target, known) = match begin(mailboxes, mailbox, &mut importing).await {
                Ok(begun) => begun,
                // The next mailbox may be another matter.
                Err(error) => {
                    wire.say(&Answer::<Told>::Failed(error)).await?;
                    wire.flush().await?;
                    continue;
                }
            };
            for known in known.chunks(KNOWN_AT_ONCE) {
                wire.say(&Answer::Told(Told::Known(known.to_vec()))).await?;
            }
            wire.say(&Answer::Told(Told::Mailbox(target))).await?;
            wire.flush().await?;
            continue;
        }
        let octets = match &say {
            Say::Octets(octets) => Bytes::from(wire.take(*octets).await?),
            _ => Bytes::new(),
        };
        let Some(importing) = &mut importing else {
            return Err(Stop::Failed(unexpected()));
        };
        let mut refuse = |label: &mut String, refusal: &Refusal| {
            let label = std::mem::take(label);
            if refusals.len() < REFUSED_MAX && !label.is_empty() {
                refusals.push((label, refusal.to_string()));
            }
        };
        match say {
            Say::Message(message) => {
                label = message.label;
                let new = NewMessage {
                    flags: Flags(message.flags.into()),
                    keywords: message.keywords,
                    received_at: message.received_at,
                    octets: message.octets,
                };
                if let Err(refusal) = importing.begin(message.identity, message.uid, new) {
                    refuse(&mut label, &refusal);
                }
            }
            // What is refused already goes on coming for a while.
            Say::Octets(_) if label.is_empty() => {}
            Say::Octets(_) => match importing.write(octets).await {
                Ok(()) => {}
                Err(refusal @ Refusal::TooLarge(_)) => refuse(&mut label, &refusal),
                Err(refusal) => return Err(ImportError::from(refusal).into()),
            },
            Say::End => importing.end().await?,
            Say::Abandon => importing.abandon(),
            Say::Flush | Say::Finish => {
                match say {
                    Say::Finish => importing.finish().await?,
                    _ => importing.flush().await?,
                }
                let so_far = told(importing.told(), std::mem::take(&mut refusals));
                wire.say(&Answer::Told(Told::SoFar(so_far))).await?;
                wire.flush().await?;
            }
            Say::Mailbox(_) => {}
        }
    }
}

async fn begin(
    mailboxes: &Mailboxes,
    mailbox: ImportMailbox,
    importing: &mut Option<Importing>,
) -> Result<(ImportTarget, Vec<u128>), AdminError> {
    *importing = None;
    let name = Name::new(&mailbox.name).map_err(|error| refused(&error.into()))?;
    let foreign = Foreign {
        name,
        special_uses: special_uses(&mailbox.special_uses),
        uid_validity: mailbox.uid_validity,
        uid_next: mailbox.uid_next,
        first_uid: mailbox.first_uid,
        subscribed: mailbox.subscribed,
    };
    let mut begun = mailboxes.import(foreign).await.map_err(|refusal| refused(&refusal))?;
    let target = ImportTarget {
        name: begun.name().to_string(),
        created: begun.is_new(),
        keeps_uids: begun.keeps_uids(),
        uid_next: begun.uid_next(),
    };
    let known = begun.take_known();
    *importing = Some(begun);
    Ok((target, known))
}

fn told(imported: Imported, refused: Vec<(String, String)>) -> ImportedSoFar {
    let Imported { messages, uids_kept, octets, keywords_dropped, renumbered } = imported;
    ImportedSoFar { messages, uids_kept, octets, keywords_dropped, renumbered, refused }
}
