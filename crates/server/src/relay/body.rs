//! The message as it is sent: as it is stored, or rewritten for a server that cannot take it so.

use bytes::Bytes;
use packetboat_message::reencode::{Impossible, Survey, Target};
use packetboat_smtp::BodyKind;
use packetboat_smtp::client::Capabilities;
use packetboat_store::{MessageReader, ReadError};
use tokio::sync::mpsc;

/// Octets of a message that are read at once.
const PIECE: usize = 64 * 1024;
/// Pieces that are rewritten ahead of the connection.
const AHEAD: usize = 2;

/// A message that is being sent.
#[derive(Debug)]
pub(super) enum Body {
    /// As it is stored.
    Stored { reader: MessageReader, offset: u64 },
    /// By a task that reads and rewrites it. It ends when nobody listens any more.
    Rewritten(mpsc::Receiver<Result<Bytes, ReadError>>),
}

/// Why a message cannot be sent to a server.
#[derive(Debug)]
pub(super) enum NotSent {
    /// The disk.
    Unreadable(ReadError),
    /// It cannot be rewritten.
    Impossible(Impossible),
}

/// A message that can be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) body: Body,
    pub(super) kind: BodyKind,
    /// Its length, or about that if it is rewritten.
    pub(super) octets: u64,
}

/// What has to become of a message of this kind for a server.
pub(super) fn target(kind: BodyKind, server: &Capabilities) -> Option<Target> {
    match kind {
        BodyKind::SevenBit => None,
        BodyKind::EightBit if server.eight_bit_mime => None,
        BodyKind::Binary if server.binary_mime && server.chunking => None,
        BodyKind::Binary if server.eight_bit_mime => Some(Target::EightBit),
        BodyKind::EightBit | BodyKind::Binary => Some(Target::SevenBit),
    }
}

/// Whether a message that was declared as internationalised has anything in its headers, those of its parts included, that is
/// not ASCII. Without, it is a message like any other, and need not be declared (RFC 6531 section 3.4).
pub(super) async fn has_utf8_header(reader: &MessageReader) -> Result<bool, ReadError> {
    let plan = survey(reader).await?.finish(Target::EightBit);
    Ok(plan.map_or(true, |plan| plan.has_eight_bit_header()))
}

async fn survey(reader: &MessageReader) -> Result<Survey, ReadError> {
    let mut survey = Survey::new();
    let mut offset = 0;
    loop {
        let piece = reader.read(offset, PIECE).await?;
        if piece.is_empty() {
            return Ok(survey);
        }
        offset += piece.len() as u64;
        survey.push(&piece);
    }
}

/// The message as the server can take it. Where it has to be rewritten, it is read twice.
pub(super) async fn prepare(
    reader: MessageReader,
    kind: BodyKind,
    server: &Capabilities,
) -> Result<Prepared, NotSent> {
    let octets = reader.len();
    let Some(target) = target(kind, server) else {
        return Ok(Prepared { body: Body::Stored { reader, offset: 0 }, kind, octets });
    };
    let survey = survey(&reader).await.map_err(NotSent::Unreadable)?;
    let plan = survey.finish(target).map_err(NotSent::Impossible)?;
    let kind = match target {
        Target::SevenBit => BodyKind::SevenBit,
        Target::EightBit => BodyKind::EightBit,
    };
    let octets = plan.len(octets);
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut writer = plan.writer();
        let mut offset = 0;
        loop {
            let mut out = Vec::new();
            let piece = match reader.read(offset, PIECE).await {
                Ok(piece) if piece.is_empty() => break,
                Ok(piece) => {
                    offset += piece.len() as u64;
                    writer.push(&piece, &mut out);
                    Ok(Bytes::from(out))
                }
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            let nothing = piece.as_ref().is_ok_and(Bytes::is_empty);
            if (!nothing && sender.send(piece).await.is_err()) || failed {
                return;
            }
        }
        let mut out = Vec::new();
        writer.finish(&mut out);
        // Who does not listen any more has no use for it.
        let _ = sender.send(Ok(out.into())).await;
    });
    Ok(Prepared { body: Body::Rewritten(receiver), kind, octets })
}

impl Body {
    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        match self {
            Body::Stored { reader, offset } => {
                let piece = reader.read(*offset, PIECE).await?;
                *offset += piece.len() as u64;
                Ok(Some(piece).filter(|piece| !piece.is_empty()))
            }
            Body::Rewritten(receiver) => {
                receiver.recv().await.transpose().map(|it| it.filter(|it| !it.is_empty()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_does_not_take_is_rewritten() {
        let offers = |eight_bit_mime, binary_mime, chunking| Capabilities {
            eight_bit_mime,
            binary_mime,
            chunking,
            ..Capabilities::default()
        };
        use BodyKind::{Binary, EightBit, SevenBit};
        for (kind, server, expected) in [
            (SevenBit, offers(false, false, false), None),
            (EightBit, offers(true, false, false), None),
            (EightBit, offers(false, false, true), Some(Target::SevenBit)),
            (Binary, offers(true, true, true), None),
            (Binary, offers(true, true, false), Some(Target::EightBit)),
            (Binary, offers(true, false, true), Some(Target::EightBit)),
            (Binary, offers(false, true, false), Some(Target::SevenBit)),
        ] {
            assert_eq!(target(kind, &server), expected, "{kind:?} {server:?}");
        }
    }
}
