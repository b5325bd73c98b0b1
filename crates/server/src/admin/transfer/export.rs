//! Moving out.

use std::io;

use packetboat_mail::mailbox::{Mailboxes, Refusal};
use serde::{Deserialize, Serialize};

use super::{Answer, Wire, lost, refused};
use crate::admin::error::{AdminError, ErrorKind};
use crate::shutdown::{Phase, ShutdownSignal};

/// Octets read at a time.
const PIECE: usize = 256 << 10;

/// A mailbox that goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedMailbox {
    /// Its name.
    pub name: String,
    /// What it is for: `\Sent` and so on.
    pub special_uses: Vec<String>,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// Its UIDNEXT.
    pub uid_next: u32,
    /// How many messages are in it.
    pub messages: u32,
    /// Whether its owner is subscribed to it.
    pub subscribed: bool,
}

/// A message that goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedMessage {
    /// Its UID.
    pub uid: u32,
    /// System flags as bits, `\Seen` first.
    pub flags: u8,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Internal date, microseconds since 1970.
    pub received_at: i64,
    /// How large it is.
    pub octets: u64,
}

/// What comes next in an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exported {
    /// A mailbox begins.
    Mailbox(ExportedMailbox),
    /// A message of it begins.
    Message(ExportedMessage),
    /// The next octets of it.
    Octets(Vec<u8>),
    /// It is complete.
    End,
    /// It cannot be read in full, and is to be forgotten.
    Damaged(String),
    /// That was all.
    Done,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    Mailbox(ExportedMailbox),
    Message(ExportedMessage),
    Octets(usize),
    End,
    Damaged(String),
    Done,
}

/// An export under way, at the end of the command.
#[derive(Debug)]
pub struct Export {
    wire: Wire,
}

impl Export {
    pub(in crate::admin) fn new(wire: Wire) -> Export {
        Export { wire }
    }

    /// What comes next.
    ///
    /// # Errors
    /// When the server cannot go on, or the connection is lost.
    pub async fn next(&mut self) -> Result<Exported, AdminError> {
        let told = self.wire.hear().await.map_err(|error| lost(&error))?;
        Ok(match told {
            Answer::Failed(error) => return Err(error),
            Answer::Told(Told::Mailbox(mailbox)) => Exported::Mailbox(mailbox),
            Answer::Told(Told::Message(message)) => Exported::Message(message),
            Answer::Told(Told::Octets(octets)) => {
                Exported::Octets(self.wire.take(octets).await.map_err(|error| lost(&error))?)
            }
            Answer::Told(Told::End) => Exported::End,
            Answer::Told(Told::Damaged(why)) => Exported::Damaged(why),
            Answer::Told(Told::Done) => Exported::Done,
        })
    }
}

/// The server's end.
pub(in crate::admin) async fn serve(
    mut wire: Wire,
    mailboxes: Mailboxes,
    only: Vec<String>,
    shutdown: ShutdownSignal,
) -> io::Result<()> {
    let outcome = tokio::select! {
        outcome = tell(&mut wire, &mailboxes, &only) => outcome,
        () = shutdown.reached(Phase::Stopping) => {
            Ok(Err(AdminError::new(ErrorKind::Temporary, "the server is stopping")))
        }
    };
    match outcome? {
        Ok(()) => wire.say(&Answer::Told(Told::Done)).await?,
        Err(error) => wire.say(&Answer::<Told>::Failed(error)).await?,
    }
    wire.flush().await
}

async fn tell(wire: &mut Wire, mailboxes: &Mailboxes, only: &[String]) -> io::Result<Result<(), AdminError>> {
    let all = match mailboxes.portable().await {
        Ok(all) => all,
        Err(refusal) => return Ok(Err(refused(&refusal))),
    };
    if let Some(missing) = only.iter().find(|name| !all.iter().any(|mailbox| mailbox.name == **name)) {
        return Ok(Err(AdminError::new(ErrorKind::Data, format!("there is no mailbox {missing}"))));
    }
    for mailbox in all.into_iter().filter(|mailbox| only.is_empty() || only.contains(&mailbox.name)) {
        let told = ExportedMailbox {
            name: mailbox.name,
            special_uses: mailbox.special_uses.iter().map(ToString::to_string).collect(),
            uid_validity: mailbox.uid_validity,
            uid_next: mailbox.uid_next,
            messages: mailbox.messages,
            subscribed: mailbox.subscribed,
        };
        wire.say(&Answer::Told(Told::Mailbox(told))).await?;
        let mut after = 0;
        // What comes meanwhile has no place in the UIDs that were told.
        while after < mailbox.uid_next {
            let page = match mailboxes.outgoing(mailbox.id, after).await {
                Ok(page) => page,
                Err(refusal) => return Ok(Err(refused(&refusal))),
            };
            if page.is_empty() {
                break;
            }
            for outgoing in page {
                after = outgoing.uid;
                if after >= mailbox.uid_next {
                    break;
                }
                let told = ExportedMessage {
                    uid: outgoing.uid,
                    flags: u8::try_from(outgoing.flags.0).unwrap_or(0),
                    keywords: outgoing.keywords.clone(),
                    received_at: outgoing.received_at,
                    octets: outgoing.octets,
                };
                let reader = match mailboxes.take_out(&outgoing).await {
                    Ok(reader) => reader,
                    // Removed while it was on its way.
                    Err(Refusal::Expunged) => continue,
                    Err(refusal) => {
                        wire.say(&Answer::Told(Told::Message(told))).await?;
                        wire.say(&Answer::Told(Told::Damaged(refusal.to_string()))).await?;
                        continue;
                    }
                };
                wire.say(&Answer::Told(Told::Message(told))).await?;
                let mut at = 0;
                let last = loop {
                    match reader.read(at, PIECE).await {
                        Ok(piece) if piece.is_empty() => break Told::End,
                        Ok(piece) => {
                            at += piece.len() as u64;
                            wire.say(&Answer::Told(Told::Octets(piece.len()))).await?;
                            wire.octets(&piece).await?;
                        }
                        Err(error) => break Told::Damaged(error.to_string()),
                    }
                };
                wire.say(&Answer::Told(last)).await?;
            }
        }
    }
    Ok(Ok(()))
}
