//! The message that FETCH is telling: its sections, piece by piece.

use bytes::Bytes;
use packetboat_imap::command::{Section, SectionText};
use packetboat_imap::response::{Code, Completion};
use packetboat_imap::server::{FetchWriter, Server};
use packetboat_mail::mailbox::{Message, Selected};
use packetboat_message::card::Card;
use packetboat_message::text::transfer::Decoder;
use packetboat_store::MessageReader;

use super::Refused;
use super::section::{self, Found, Source};

/// A section up to this size is said at once.
const SMALL: u64 = 64 * 1024;

/// The message that is being told.
#[derive(Debug)]
pub(super) struct Current {
    message: Message,
    card: Bytes,
    reader: Option<MessageReader>,
    prefix: u64,
    /// An item was said already.
    begun: bool,
    /// The item to be said next.
    pub(super) item: usize,
    streaming: Option<Streaming>,
}

/// A section that is being said.
#[derive(Debug)]
struct Streaming {
    at: u64,
    end: u64,
    decoding: Option<Decoding>,
}

/// Decoded octets: how many are passed over, and how many are then said.
#[derive(Debug)]
struct Decoding {
    decoder: Decoder,
    skip: u64,
    left: u64,
}

impl Current {
    /// A message of which what needs no octets was said; `begun`: there was something.
    pub(super) fn new(message: Message, card: Bytes, reader: Option<MessageReader>, begun: bool) -> Current {
        let prefix = reader.as_ref().map_or(0, |reader| reader.prefix().len() as u64);
        Current { message, card, reader, prefix, begun, item: 0, streaming: None }
    }

    /// Whether a section has been begun and not ended.
    pub(super) fn is_streaming(&self) -> bool {
        self.streaming.is_some()
    }

    /// What says the next item.
    fn writer<'a>(&mut self, session: &'a mut Server) -> FetchWriter<'a> {
        session.fetch_resume(std::mem::replace(&mut self.begun, true))
    }

    /// Says a section, or begins to; what it cannot say is the end of the command.
    pub(super) async fn say(
        &mut self,
        session: &mut Server,
        selected: &Selected,
        section: &Section,
    ) -> Refused<Option<Completion>> {
        let card = Card::parse(&self.card);
        if self.reader.is_none() {
            self.reader = selected.open_message(&self.message).await.ok();
            self.prefix = self.reader.as_ref().map_or(0, |reader| reader.prefix().len() as u64);
        }
        let found = match (&self.reader, card) {
            (Some(reader), _) if is_whole(section) => Found::Range(0, reader.len()),
            (reader, Some(card)) => {
                let source = Source { reader: reader.as_ref(), card, prefix: self.prefix };
                section::find(&source, section).await.map_err(|error| unreadable(&error))?
            }
            _ => Found::Nil,
        };
        match found {
            Found::Nil => _ = self.writer(session).section_nil(section),
            Found::Unknown => {
                self.writer(session).section_nil(section);
                let text = "The part has an encoding that is not known here";
                return Ok(Some(Completion::no(Code::UnknownCte, text)));
            }
            Found::Here(octets) => self.say_here(session, section, &octets),
            Found::Range(start, len) => {
                let (skip, len) = cut(section, len);
                let start = start.saturating_add(skip);
                self.streaming = Some(Streaming { at: start, end: start + len, decoding: None });
                self.begin_section(session, section, len).await?;
            }
            Found::Decoded { start, end, encoding, octets } => {
                let (skip, len) = cut(section, octets);
                let decoding = Some(Decoding { decoder: Decoder::new(encoding), skip, left: len });
                self.streaming = Some(Streaming { at: start, end, decoding });
                self.begin_section(session, section, len).await?;
            }
        }
        Ok(None)
    }

    /// Says a section that is at hand.
    pub(super) fn say_here(&mut self, session: &mut Server, section: &Section, octets: &[u8]) {
        self.writer(session).section(section, part(section, octets));
    }

    async fn begin_section(&mut self, session: &mut Server, section: &Section, len: u64) -> Refused {
        if len <= SMALL
            && let (Some(streaming), Some(reader)) = (&self.streaming, &self.reader)
            && streaming.decoding.is_none()
        {
            let (at, end) = (streaming.at, streaming.end);
            // Mostly all of it comes at once.
            let mut octets = match len {
                0 => Bytes::new(),
                _ => section::read(reader, at, end).await.map_err(|error| unreadable(&error))?,
            };
            if (octets.len() as u64) < len {
                let mut all = Vec::from(octets);
                while (all.len() as u64) < len {
                    let from = at + all.len() as u64;
                    let piece = section::read(reader, from, end).await.map_err(|error| unreadable(&error))?;
                    all.extend_from_slice(&piece);
                }
                octets = all.into();
            }
            self.streaming = None;
            self.writer(session).section(section, &octets);
            return Ok(());
        }
        self.writer(session).begin_section(section, len);
        Ok(())
    }

    /// Says the next piece of the section.
    pub(super) async fn stream(&mut self, session: &mut Server) -> Refused {
        let (Some(streaming), Some(reader)) = (&mut self.streaming, &self.reader) else { return Ok(()) };
        let ended = streaming.at >= streaming.end;
        let piece = match ended {
            true => Bytes::new(),
            false => section::read(reader, streaming.at, streaming.end)
                .await
                .map_err(|error| unreadable(&error))?,
        };
        streaming.at += piece.len() as u64;
        match &mut streaming.decoding {
            None => _ = session.fetch_resume(true).literal(&piece),
            Some(decoding) => {
                let mut out = Vec::new();
                if ended {
                    decoding.decoder.finish(&mut out);
                } else {
                    decoding.decoder.push(&piece, &mut out);
                }
                let skip = usize::try_from(decoding.skip).unwrap_or(usize::MAX).min(out.len());
                decoding.skip -= skip as u64;
                let rest = out.get(skip..).unwrap_or_default();
                let take = usize::try_from(decoding.left).unwrap_or(usize::MAX).min(rest.len());
                decoding.left -= take as u64;
                session.fetch_resume(true).literal(rest.get(..take).unwrap_or_default());
                if !ended && decoding.left > 0 {
                    return Ok(());
                }
                self.streaming = None;
                return Ok(());
            }
        }
        if streaming.at >= streaming.end {
            self.streaming = None;
        }
        Ok(())
    }

    /// Says how many octets a part has, decoded.
    pub(super) async fn say_size(
        &mut self,
        session: &mut Server,
        path: &[u32],
    ) -> Refused<Option<Completion>> {
        let (Some(reader), Some(card)) = (&self.reader, Card::parse(&self.card)) else { return Ok(None) };
        let Some(root) = card.structure() else { return Ok(None) };
        let source = Source { reader: Some(reader), card, prefix: self.prefix };
        let found =
            section::decoded(reader, &source, &root, path).await.map_err(|error| unreadable(&error))?;
        let octets = match found {
            Found::Range(_, octets) | Found::Decoded { octets, .. } => octets,
            Found::Unknown => {
                let text = "The part has an encoding that is not known here";
                return Ok(Some(Completion::no(Code::UnknownCte, text)));
            }
            Found::Nil | Found::Here(_) => 0,
        };
        self.writer(session).binary_size(path, octets);
        Ok(None)
    }
}

/// Which octets of so many are wanted.
fn cut(section: &Section, octets: u64) -> (u64, u64) {
    match section.partial {
        Some((first, count)) => {
            let skip = first.min(octets);
            (skip, count.min(octets - skip))
        }
        None => (0, octets),
    }
}

/// Those that are wanted.
pub(super) fn part<'a>(section: &Section, octets: &'a [u8]) -> &'a [u8] {
    let (skip, len) = cut(section, octets.len() as u64);
    octets.get(skip as usize..(skip + len) as usize).unwrap_or_default()
}

/// All of a message.
pub(super) fn is_whole(section: &Section) -> bool {
    section.path.is_empty() && matches!(section.text, SectionText::Whole)
}

fn unreadable(error: &packetboat_store::ReadError) -> Completion {
    tracing::error!(%error, "a message could not be read");
    Completion::no(Code::ServerBug, "A message cannot be read")
}
