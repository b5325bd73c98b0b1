//! Writing a Maildir.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::super::uidlist::LETTERS;
use super::super::{ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, UidList, identity, maildir_name, to_lf};

/// A message up to this size is put together in memory.
const IN_MEMORY: usize = 1 << 20;

/// Writes Maildir++ folders, with the UIDs and keywords as Dovecot keeps them.
#[derive(Debug)]
pub struct Writer {
    root: PathBuf,
    subscriptions: String,
}

/// A message being written.
#[derive(Debug, Default)]
pub struct Draft {
    octets: Vec<u8>,
    file: Option<File>,
}

/// A folder being written.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    header: String,
    uids: String,
    keywords: Vec<String>,
}

impl Draft {
    /// The next octets of it.
    ///
    /// # Errors
    /// When there is no room for a large one.
    pub fn push(&mut self, octets: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.octets.len() + octets.len() <= IN_MEMORY {
            self.octets.extend_from_slice(octets);
            return Ok(());
        }
        if self.file.is_none() {
            let mut file = tempfile::tempfile()?;
            file.write_all(&std::mem::take(&mut self.octets))?;
            self.file = Some(file);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(octets))
    }

    /// Writes it as files have it: with LF, unless it could not be told any more what it was.
    pub(crate) fn write(mut self, to: &mut impl io::Write) -> io::Result<()> {
        let Some(mut file) = self.file.take() else {
            let short = to_lf(&self.octets);
            return to.write_all(short.as_deref().unwrap_or(&self.octets));
        };
        file.rewind()?;
        let mut plain = Plain::default();
        each_piece(&mut file, |piece| {
            plain.push(piece);
            Ok(())
        })?;
        file.rewind()?;
        let short = plain.is_short();
        each_piece(&mut file, |piece| match short {
            true => {
                let mut rest = piece;
                while let Some(at) = memchr::memchr(b'\r', rest) {
                    let (line, after) = rest.split_at(at);
                    to.write_all(line)?;
                    rest = after.get(1..).unwrap_or_default();
                    // Whether LF follows is known from the first look only where CR stands nowhere else.
                }
                to.write_all(rest)
            }
            false => to.write_all(piece),
        })
    }
}

/// Whether every CR and every LF of a large message is half of a CRLF.
#[derive(Debug, Default)]
struct Plain {
    stray: bool,
    after_cr: bool,
}

impl Plain {
    fn push(&mut self, piece: &[u8]) {
        let Some(first) = piece.first() else { return };
        self.stray |= self.after_cr != (*first == b'\n');
        for at in memchr::memchr2_iter(b'\r', b'\n', piece) {
            match piece.get(at) {
                Some(b'\r') => self.stray |= piece.get(at + 1).is_some_and(|next| *next != b'\n'),
                _ => self.stray |= at > 0 && piece.get(at - 1) != Some(&b'\r'),
            }
        }
        self.after_cr = piece.last() == Some(&b'\r');
    }

    fn is_short(&self) -> bool {
        !self.stray && !self.after_cr
    }
}

fn each_piece(file: &mut File, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut piece = vec![0; super::PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        take(piece.get(..read).unwrap_or_default())?;
    }
}

/// What is to be written of a message besides its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Its UID.
    pub uid: u32,
    /// System flags as bits.
    pub flags: u8,
    /// Keywords.
    pub keywords: &'a [String],
    /// Internal date, microseconds since 1970.
    pub received_at: i64,
}

impl Writer {
    /// Into this directory, which is made if it is not there and must be empty.
    ///
    /// # Errors
    /// When there is something in it, or it cannot be made.
    pub fn new(root: &Path) -> io::Result<Writer> {
        fs::create_dir_all(root)?;
        if fs::read_dir(root)?.next().is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something in it already"));
        }
        Ok(Writer { root: root.to_owned(), subscriptions: String::new() })
    }

    /// Begins a mailbox.
    pub(crate) fn folder(
        &mut self,
        name: &str,
        uid_validity: u32,
        uid_next: u32,
        subscribed: bool,
    ) -> io::Result<Folder> {
        let plus = maildir_name(name);
        let dir = if name == "INBOX" { self.root.clone() } else { self.root.join(&plus) };
        if name != "INBOX" && dir.exists() {
            let why = format!("{}: another mailbox has this name in a Maildir", dir.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        if name != "INBOX" {
            fs::write(dir.join("maildirfolder"), b"")?;
        }
        if subscribed {
            self.subscriptions.push_str(plus.strip_prefix('.').unwrap_or(&plus));
            self.subscriptions.push('\n');
        }
        let guid = identity(&[b"folder", name.as_bytes(), &uid_validity.to_be_bytes()]);
        let header = UidList::header(uid_validity, uid_next, guid);
        Ok(Folder { dir, header, uids: String::new(), keywords: Vec::new() })
    }

    /// All mailboxes are written.
    pub(crate) fn finish(self) -> io::Result<()> {
        fs::write(self.root.join("subscriptions"), self.subscriptions)
    }
}

impl Folder {
    /// Writes a message. Gives how many keywords there was no letter for.
    pub(crate) fn add(&mut self, facts: &Facts<'_>, draft: Draft) -> io::Result<usize> {
        let at = facts.received_at.div_euclid(1_000_000);
        let name = format!("{at}.U{}.packetboat", facts.uid);
        let mut letters = String::new();
        let letter_of = [(DRAFT, 'D'), (FLAGGED, 'F'), (ANSWERED, 'R'), (SEEN, 'S'), (DELETED, 'T')];
        letters.extend(letter_of.iter().filter(|(bit, _)| facts.flags & bit != 0).map(|(_, letter)| letter));
        let mut dropped = 0;
        let mut places = Vec::new();
        for keyword in facts.keywords {
            let known = self.keywords.iter().position(|known| known.eq_ignore_ascii_case(keyword));
            match known {
                Some(place) => places.push(place),
                None if self.keywords.len() < LETTERS => {
                    places.push(self.keywords.len());
                    self.keywords.push(keyword.clone());
                }
                None => dropped += 1,
            }
        }
        places.sort_unstable();
        letters.extend(places.iter().filter_map(|place| Some(char::from(b'a' + u8::try_from(*place).ok()?))));
        let temporary = self.dir.join("tmp").join(&name);
        let mut file = io::BufWriter::new(File::create(&temporary)?);
        draft.write(&mut file)?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        if let Ok(micros) = u64::try_from(facts.received_at) {
            file.set_modified(UNIX_EPOCH + Duration::from_micros(micros))?;
        }
        drop(file);
        fs::rename(temporary, self.dir.join("cur").join(format!("{name}:2,{letters}")))?;
        UidList::line(facts.uid, &name, &mut self.uids);
        Ok(dropped)
    }

    /// The mailbox is complete.
    pub(crate) fn finish(self) -> io::Result<()> {
        fs::write(self.dir.join("dovecot-uidlist"), self.header + &self.uids)?;
        if self.keywords.is_empty() {
            return Ok(());
        }
        let lines = self.keywords.iter().enumerate();
        let text: String = lines.map(|(number, name)| format!("{number} {name}\n")).collect();
        fs::write(self.dir.join("dovecot-keywords"), text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn large_messages_are_written_as_small_ones_are() {
        for (line, same) in
            [(&b"0123456789\r\n"[..], false), (b"0123456789\r\r\n", true), (b"0123456789\n", true)]
        {
            let message = line.repeat(200_000);
            let mut draft = Draft::default();
            message.chunks(999).for_each(|piece| draft.push(piece).unwrap());
            assert!(draft.file.is_some());
            let mut out = Vec::new();
            draft.write(&mut out).unwrap();
            assert_eq!(out == message, same);
            assert_eq!(out, to_lf(&message).unwrap_or(message));
        }
    }
}
