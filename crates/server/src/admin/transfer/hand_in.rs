//! A message from this machine.

use std::io;

use bytes::Bytes;
use packetboat_mail::{Addressee, Intake};
use packetboat_message::crlf::CrlfLines;
use serde::{Deserialize, Serialize};

use super::{Answer, PIECE_MAX, Wire, lost};
use crate::admin::error::{AdminError, ErrorKind};
use crate::local::{self, Envelope, Rcpt};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Say {
    Recipient(Box<Rcpt>),
    Octets(usize),
    Finish,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    Taken,
    Done { tag: String },
}

/// A message being handed in, at the end of the command.
#[derive(Debug)]
pub struct HandIn {
    wire: Wire,
}

impl HandIn {
    pub(in crate::admin) fn new(wire: Wire) -> HandIn {
        HandIn { wire }
    }

    async fn answer(&mut self) -> Result<Told, AdminError> {
        match self.wire.hear().await {
            Ok(Answer::Told(told)) => Ok(told),
            Ok(Answer::Failed(error)) => Err(error),
            Err(error) => Err(lost(&error)),
        }
    }

    async fn say(&mut self, say: &Say) -> Result<(), AdminError> {
        self.wire.say(say).await.map_err(|error| lost(&error))
    }

    /// Names a recipient. What is refused is no reason to stop, as long as another was taken.
    ///
    /// # Errors
    /// When the recipient is refused, or with [`ErrorKind::Io`] when the connection is lost.
    pub async fn recipient(&mut self, recipient: Rcpt) -> Result<(), AdminError> {
        self.say(&Say::Recipient(Box::new(recipient))).await?;
        self.wire.flush().await.map_err(|error| lost(&error))?;
        self.answer().await.map(|_| ())
    }

    /// The next octets of the message.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn octets(&mut self, octets: &[u8]) -> Result<(), AdminError> {
        for piece in octets.chunks(PIECE_MAX) {
            self.say(&Say::Octets(piece.len())).await?;
            self.wire.octets(piece).await.map_err(|error| lost(&error))?;
        }
        Ok(())
    }

    /// The message is complete. When this returns it is on disk; gives the name under which the log has it.
    ///
    /// # Errors
    /// When it is not taken, or the connection is lost.
    pub async fn finish(mut self) -> Result<String, AdminError> {
        self.say(&Say::Finish).await?;
        self.wire.flush().await.map_err(|error| lost(&error))?;
        match self.answer().await? {
            Told::Done { tag } => Ok(tag),
            Told::Taken => Err(AdminError::new(ErrorKind::Usage, "the server says something else")),
        }
    }
}

/// The server's end.
pub(in crate::admin) async fn serve(
    mut wire: Wire,
    mut intake: Intake,
    envelope: Envelope,
) -> io::Result<()> {
    let mut lines = CrlfLines::default();
    let mut in_body = false;
    let mut refused = None;
    loop {
        let say: Say = match wire.hear().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            said => said?,
        };
        match say {
            Say::Recipient(recipient) => {
                let to = Addressee::Mailbox(recipient.address.clone());
                let answer = match intake.recipient(to, recipient.asked).await {
                    Ok(_) => Answer::Told(Told::Taken),
                    Err(refusal) => Answer::Failed(local::refused(&refusal)),
                };
                wire.say(&answer).await?;
                wire.flush().await?;
            }
            Say::Octets(octets) => {
                let octets = wire.take(octets).await?;
                if refused.is_none() {
                    if !std::mem::replace(&mut in_body, true) {
                        intake.open_body();
                    }
                    let mut text = Vec::with_capacity(octets.len() + octets.len() / 16);
                    lines.push(&octets, &mut text);
                    refused = intake.write(Bytes::from(text)).await.err();
                }
            }
            Say::Finish => {
                let mut text = Vec::new();
                lines.finish(&mut text);
                if !in_body {
                    intake.open_body();
                }
                if refused.is_none() && !text.is_empty() {
                    refused = intake.write(Bytes::from(text)).await.err();
                }
                let outcome = match refused {
                    Some(refusal) => Err(refusal),
                    None => intake.commit().await,
                };
                let answer = match outcome {
                    Ok(accepted) => {
                        local::log_accepted(&envelope, &accepted);
                        Answer::Told(Told::Done { tag: accepted.tag.to_string() })
                    }
                    Err(refusal) => Answer::Failed(local::refused(&refusal)),
                };
                wire.say(&answer).await?;
                return wire.flush().await;
            }
        }
    }
}
