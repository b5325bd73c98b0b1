//! mbox files: one message after the other, `From ` before each (RFC 4155), with the flags in the header as most programs
//! keep them.

mod scan;
mod writer;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::{
    Contents, Endings, Folder, FolderPlace, Message, Place, Sink, SourceError, Stopped, identity, local_name,
};
use scan::{Found, Scan};

pub(crate) use writer::Folder as FolderWriter;
pub use writer::Writer;

/// Directories in each other at most.
const DEPTH_MAX: usize = 16;
const NO_MBOX: &str = "no mbox: it does not begin with \"From \"";

/// An mbox file, or a directory of them.
#[derive(Debug)]
pub struct Mbox {
    path: PathBuf,
}

impl Mbox {
    /// The file, or the directory.
    pub fn new(path: impl Into<PathBuf>) -> Mbox {
        Mbox { path: path.into() }
    }

    /// Whether it is one file.
    pub fn is_file(&self) -> bool {
        !self.path.is_dir()
    }

    pub(super) fn folders(&self) -> Result<Vec<Folder>, SourceError> {
        let mut found = Vec::new();
        let meta = fs::metadata(&self.path).map_err(SourceError::io(&self.path))?;
        if meta.is_dir() {
            search(&self.path, "", 0, &mut found)?;
        } else {
            found.push(folder(mailbox_name(&self.path), &self.path));
        }
        match found.is_empty() {
            true => Err(SourceError::Form { path: self.path.clone(), what: "there is no mbox file in it" }),
            false => Ok(found),
        }
    }

    pub(super) fn contents(&self, folder: &Folder) -> Result<Contents, SourceError> {
        let FolderPlace::Path(path) = &folder.place else { return Ok(Contents::default()) };
        let file = File::open(path).map_err(SourceError::io(path))?;
        let mut scan = Scan::new(BufReader::with_capacity(super::PIECE, file), 0);
        let mut contents = Contents::default();
        let mut same: HashMap<u128, u32> = HashMap::new();
        let mut digest = Digest::default();
        let mut octets = 0;
        while let Some(found) = scan.next().map_err(SourceError::io(path))? {
            match found {
                Found::Nothing => {
                    return Err(SourceError::Form { path: path.clone(), what: NO_MBOX });
                }
                Found::Begin => {
                    digest = Digest::default();
                    octets = 0;
                    digest.update(&scan.out);
                }
                Found::Octets => {
                    octets += scan.out.len() as u64;
                    digest.update(&scan.out);
                }
                Found::End => {
                    let facts = scan.facts();
                    if let Some((validity, next)) = facts.base {
                        contents.uid_validity.get_or_insert(validity);
                        contents.uid_next.get_or_insert(next);
                    }
                    if facts.internal {
                        continue;
                    }
                    let digest = digest.finish();
                    let twin = same.entry(digest).or_insert(0);
                    let number = *twin;
                    *twin += 1;
                    contents.messages.push(Message {
                        identity: identity(&[
                            b"mbox",
                            folder.name.as_bytes(),
                            &digest.to_be_bytes(),
                            &number.to_be_bytes(),
                        ]),
                        uid: facts.uid,
                        octets,
                        flags: facts.flags,
                        keywords: std::mem::take(&mut facts.keywords),
                        received_at: facts.received_at,
                        place: Place::Offset(facts.at),
                    });
                }
            }
        }
        let uids: Vec<u32> = contents.messages.iter().filter_map(|message| message.uid).collect();
        // They are to be trusted where all have one and they ascend.
        if uids.len() != contents.messages.len() || !uids.is_sorted_by(|a, b| a < b) {
            contents.uid_validity = None;
        }
        contents.uid_next = contents.uid_next.max(uids.last().and_then(|last| last.checked_add(1)));
        Ok(contents)
    }

    pub(super) async fn read<'m, S: Sink>(
        &self,
        folder: &Folder,
        messages: impl Iterator<Item = &'m Message>,
        sink: &mut S,
    ) -> Result<(), Stopped<S::Error>> {
        let FolderPlace::Path(path) = &folder.place else { return Ok(()) };
        let mut file = File::open(path).map_err(SourceError::io(path))?;
        let mut out = Vec::new();
        for message in messages {
            let Place::Offset(at) = message.place else { continue };
            file.seek(SeekFrom::Start(at)).map_err(SourceError::io(path))?;
            let mut scan = Scan::new(BufReader::with_capacity(super::PIECE, &mut file), at);
            let mut endings = Endings::default();
            sink.begin(message, message.octets).await.map_err(Stopped::Sink)?;
            loop {
                match scan.next().map_err(SourceError::io(path))? {
                    Some(Found::Begin) => {}
                    Some(Found::Octets) => {
                        out.clear();
                        endings.push(&scan.out, &mut out);
                        sink.octets(&out).await.map_err(Stopped::Sink)?;
                    }
                    Some(Found::End) => {
                        sink.end(message).await.map_err(Stopped::Sink)?;
                        break;
                    }
                    Some(Found::Nothing) | None => {
                        sink.abandon().await.map_err(Stopped::Sink)?;
                        let why = "the file changed meanwhile".to_owned();
                        sink.unreadable(message, why).await.map_err(Stopped::Sink)?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

fn folder(name: String, path: &Path) -> Folder {
    Folder {
        name,
        special_uses: Vec::new(),
        subscribed: true,
        is_view: false,
        place: FolderPlace::Path(path.to_owned()),
    }
}

/// The name of a file without `.mbox`.
fn mailbox_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let name = name.strip_suffix(b".mbox").filter(|name| !name.is_empty()).unwrap_or(name);
    let name = local_name(name, None);
    if name.is_empty() { "mbox".to_owned() } else { name }
}

fn search(dir: &Path, above: &str, depth: usize, found: &mut Vec<Folder>) -> Result<(), SourceError> {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(SourceError::io(dir))?;
    entries.sort();
    for path in entries {
        if path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        let below = |name: String| if above.is_empty() { name } else { format!("{above}/{name}") };
        if path.is_dir() {
            if depth < DEPTH_MAX {
                // Thunderbird keeps what is below Sent in Sent.sbd.
                let name = mailbox_name(&path);
                let name = name.strip_suffix(".sbd").unwrap_or(&name).to_owned();
                search(&path, &below(name), depth + 1, found)?;
            }
        } else if begins_as_mbox(&path)? {
            found.push(folder(below(mailbox_name(&path)), &path));
        }
    }
    Ok(())
}

/// Whether a file is an mbox; an empty one is, if it is called so.
fn begins_as_mbox(path: &Path) -> Result<bool, SourceError> {
    use std::io::Read as _;
    let mut start = Vec::new();
    let file = File::open(path).map_err(SourceError::io(path))?;
    file.take(5).read_to_end(&mut start).map_err(SourceError::io(path))?;
    Ok(start == b"From " || (start.is_empty() && path.extension().is_some_and(|it| it == "mbox")))
}

struct Digest(aws_lc_rs::digest::Context);

impl Default for Digest {
    fn default() -> Digest {
        Digest(aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256))
    }
}

impl Digest {
    fn update(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    fn finish(&self) -> u128 {
        super::first_octets(self.0.clone().finish().as_ref())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::transfer::{ANSWERED, SEEN};

    fn contents(text: &[u8]) -> Result<Contents, SourceError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Old mail.mbox");
        fs::write(&path, text).unwrap();
        let mbox = Mbox::new(&path);
        let folders = mbox.folders().unwrap();
        assert_eq!(folders[0].name, "Old mail");
        mbox.contents(&folders[0])
    }

    #[test]
    fn messages_keep_their_identity_when_their_flags_change() {
        let text = |status: &str| {
            format!(
                "From a@b Thu Jan  1 00:00:07 1970\nX-IMAPbase: 77 9 Junk\nX-UID: 3\n{status}Subject: x\n\nHi\n\n\
                 From a@b Thu Jan  1 00:00:07 1970\nX-UID: 5\nSubject: x\n\nHi\n\n"
            )
        };
        let old = contents(text("").as_bytes()).unwrap();
        let new = contents(text("Status: RO\nX-Status: A\n").as_bytes()).unwrap();
        let identities = |it: &Contents| it.messages.iter().map(|it| it.identity).collect::<Vec<_>>();
        assert_eq!(identities(&old), identities(&new));
        // Twins are two.
        assert_ne!(old.messages[0].identity, old.messages[1].identity);
        assert_eq!((new.uid_validity, new.uid_next), (Some(77), Some(10)));
        assert_eq!((new.messages[0].flags, new.messages[1].flags), (SEEN | ANSWERED, 0));
        assert_eq!(new.messages[1].uid, Some(5));
        assert_eq!(old.messages[0].received_at, Some(7_000_000));
    }

    #[test]
    fn what_is_no_mbox() {
        assert!(matches!(contents(b"Subject: x\n\n"), Err(SourceError::Form { .. })));
        assert_eq!(contents(b"").unwrap().messages.len(), 0);
        // UIDs that do not ascend are none.
        let text = b"From a Thu Jan  1 00:00:00 1970\nX-IMAP: 7 9\nX-UID: 4\n\n\nFrom a Thu Jan  1 00:00:00 1970\nX-UID: 4\n\n";
        assert_eq!(contents(text).unwrap().uid_validity, None);
    }

    #[test]
    fn a_directory_of_mailboxes() {
        let dir = tempfile::tempdir().unwrap();
        let from = "From a Thu Jan  1 00:00:00 1970\n\nx\n";
        for (path, text) in [
            ("Inbox", from),
            ("Sent.sbd/2024", from),
            ("Sent", from),
            ("x.msf", "//"),
            (".hidden", from),
            ("new.mbox", ""),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let folders = Mbox::new(dir.path()).folders().unwrap();
        let names: Vec<&str> = folders.iter().map(|folder| folder.name.as_str()).collect();
        assert_eq!(names, ["INBOX", "Sent", "Sent/2024", "new"]);
    }
}
