//! Maildir, with folders as Maildir++ has them or as directories in each other, and with what Dovecot keeps beside the
//! messages.

mod writer;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::uidlist::{self, UidList, base};
use super::{
    ANSWERED, Contents, DELETED, DRAFT, Endings, FLAGGED, Folder, FolderPlace, Message, PIECE, Place, SEEN,
    Sink, SourceError, Stopped, identity, local_name,
};

pub(crate) use writer::Folder as FolderWriter;
pub use writer::{Draft, Facts, Writer};

/// Directories in each other at most.
const DEPTH_MAX: usize = 16;
/// Octets read of a file that Dovecot keeps beside the messages.
const INDEX_MAX: u64 = 256 << 20;

/// A Maildir.
#[derive(Debug)]
pub struct Maildir {
    root: PathBuf,
}

impl Maildir {
    /// The Maildir in this directory.
    pub fn new(root: impl Into<PathBuf>) -> Maildir {
        Maildir { root: root.into() }
    }

    pub(super) fn folders(&self) -> Result<Vec<Folder>, SourceError> {
        let mut found = Vec::new();
        if is_maildir(&self.root) {
            found.push(("INBOX".to_owned(), self.root.clone()));
        }
        self.search(&self.root, "", 0, &mut found)?;
        if found.is_empty() {
            let what = "no Maildir: there is no directory cur or new in it, nor in a directory in it";
            return Err(SourceError::Form { path: self.root.clone(), what });
        }
        let subscriptions = self.subscriptions();
        let folder = |(name, path): (String, PathBuf)| Folder {
            subscribed: subscriptions.as_ref().is_none_or(|names| name == "INBOX" || names.contains(&name)),
            name,
            special_uses: Vec::new(),
            is_view: false,
            place: FolderPlace::Path(path),
        };
        Ok(found.into_iter().map(folder).collect())
    }

    fn search(
        &self,
        dir: &Path,
        above: &str,
        depth: usize,
        found: &mut Vec<(String, PathBuf)>,
    ) -> Result<(), SourceError> {
        for entry in fs::read_dir(dir).map_err(SourceError::io(dir))? {
            let entry = entry.map_err(SourceError::io(dir))?;
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.as_encoded_bytes();
            if matches!(name, b"cur" | b"new" | b"tmp") || !path.is_dir() {
                continue;
            }
            // Folders of Maildir++ stand side by side, their levels between dots.
            let (name, plus) = match name.strip_prefix(b".") {
                Some(rest) => (local_name(rest, Some('.')), true),
                None => (local_name(name, None), false),
            };
            if name.is_empty() || (plus && depth > 0) {
                continue;
            }
            let name = if above.is_empty() { name } else { format!("{above}/{name}") };
            if is_maildir(&path) {
                found.push((name.clone(), path.clone()));
            }
            if !plus && depth < DEPTH_MAX {
                self.search(&path, &name, depth + 1, found)?;
            }
        }
        Ok(())
    }

    /// Names in the file `subscriptions`; `None` if there is none.
    fn subscriptions(&self) -> Option<Vec<String>> {
        let text = fs::read(self.root.join("subscriptions")).ok()?;
        let mut lines: Vec<&[u8]> = text.split(|octet| *octet == b'\n').collect();
        // Version 2 says so, and has tabs between the levels.
        let second = lines.first().is_some_and(|line| line.starts_with(b"V\t"));
        if second {
            lines.remove(0);
        }
        let separator = |line: &[u8]| match second {
            true => '\t',
            false if line.contains(&b'.') => '.',
            false => '/',
        };
        Some(lines.iter().map(|line| local_name(line, Some(separator(line)))).collect())
    }

    pub(super) fn contents(&self, folder: &Folder) -> Result<Contents, SourceError> {
        let FolderPlace::Path(dir) = &folder.place else { return Ok(Contents::default()) };
        let list = bounded(&dir.join("dovecot-uidlist"))?.and_then(|text| UidList::parse(&text));
        let keywords = bounded(&dir.join("dovecot-keywords"))?.unwrap_or_default();
        let keywords = uidlist::keywords(&String::from_utf8_lossy(&keywords));
        let mut contents = Contents {
            uid_validity: list.as_ref().map(|list| list.uid_validity),
            uid_next: list.as_ref().map(|list| list.uid_next),
            ..Contents::default()
        };
        let uids = list.map(|list| list.uids).unwrap_or_default();
        for (sub, new) in [("cur", false), ("new", true)] {
            let path = dir.join(sub);
            let entries = match fs::read_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(SourceError::io(&path))?,
            };
            for entry in entries {
                let entry = entry.map_err(SourceError::io(&path))?;
                let name = entry.file_name();
                // As Dovecot does it: what begins with a dot is no message.
                if name.as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                let shown = entry.path().display().to_string();
                let Some(name) = name.to_str() else {
                    contents.unreadable.push((shown, "the file's name is not UTF-8".to_owned()));
                    continue;
                };
                match fs::metadata(entry.path()) {
                    Ok(meta) if meta.is_file() => {
                        contents.messages.push(message(folder, name, new, &meta, &uids, &keywords));
                    }
                    Ok(_) => {}
                    // Gone in this moment, or moved: then it is found at the next look.
                    Err(error) => contents.unreadable.push((shown, error.to_string())),
                }
            }
        }
        contents.messages.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(contents)
    }

    pub(super) async fn read<'m, S: Sink>(
        &self,
        folder: &Folder,
        messages: impl Iterator<Item = &'m Message>,
        sink: &mut S,
    ) -> Result<(), Stopped<S::Error>> {
        let FolderPlace::Path(dir) = &folder.place else { return Ok(()) };
        let (mut piece, mut out) = (vec![0; PIECE], Vec::new());
        for message in messages {
            let Place::File { name, new } = &message.place else { continue };
            let path = dir.join(if *new { "new" } else { "cur" }).join(&**name);
            let mut file = match fs::File::open(&path) {
                Ok(file) => file,
                Err(error) => {
                    sink.unreadable(message, format!("{}: {error}", path.display()))
                        .await
                        .map_err(Stopped::Sink)?;
                    continue;
                }
            };
            sink.begin(message, message.octets).await.map_err(Stopped::Sink)?;
            let mut endings = Endings::default();
            loop {
                let read = match file.read(&mut piece) {
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => {
                        sink.abandon().await.map_err(Stopped::Sink)?;
                        let why = format!("{}: {error}", path.display());
                        sink.unreadable(message, why).await.map_err(Stopped::Sink)?;
                        break;
                    }
                };
                if read == 0 {
                    sink.end(message).await.map_err(Stopped::Sink)?;
                    break;
                }
                out.clear();
                endings.push(piece.get(..read).unwrap_or_default(), &mut out);
                sink.octets(&out).await.map_err(Stopped::Sink)?;
            }
        }
        Ok(())
    }
}

fn is_maildir(dir: &Path) -> bool {
    dir.join("cur").is_dir() || dir.join("new").is_dir()
}

/// By UID; without one, by the time in the name, as they were delivered.
fn order(message: &Message) -> (u32, u64, &str) {
    let name = match &message.place {
        Place::File { name, .. } => &**name,
        _ => "",
    };
    (message.uid.unwrap_or(u32::MAX), seconds(name).unwrap_or(u64::MAX), name)
}

/// The time at the beginning of a file name.
fn seconds(name: &str) -> Option<u64> {
    name.split('.').next()?.parse().ok()
}

/// A file that may be missing.
fn bounded(path: &Path) -> Result<Option<Vec<u8>>, SourceError> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(SourceError::io(path))?,
    };
    let mut text = Vec::new();
    file.take(INDEX_MAX).read_to_end(&mut text).map_err(SourceError::io(path))?;
    Ok(Some(text))
}

fn message(
    folder: &Folder,
    name: &str,
    new: bool,
    meta: &fs::Metadata,
    uids: &HashMap<Box<str>, u32>,
    names: &[Option<Arc<str>>],
) -> Message {
    let base = base(name);
    let (flags, keywords) = if new { (0, Vec::new()) } else { flags(name, names) };
    let modified = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let received_at = match modified {
        Some(since) => i64::try_from(since.as_micros()).ok(),
        None => seconds(name).and_then(|at| i64::try_from(at).ok()?.checked_mul(1_000_000)),
    };
    Message {
        identity: identity(&[b"maildir", folder.name.as_bytes(), base.as_bytes()]),
        uid: uids.get(base).copied(),
        octets: meta.len(),
        flags,
        keywords,
        received_at,
        place: Place::File { name: name.into(), new },
    }
}

/// The flags behind `:2,`.
fn flags(name: &str, names: &[Option<Arc<str>>]) -> (u8, Vec<Arc<str>>) {
    let (mut flags, mut keywords) = (0, Vec::new());
    let letters = name.rsplit_once(":2,").map_or("", |(_, letters)| letters);
    // Other programs put a comma and more behind the letters.
    for letter in letters.bytes().take_while(u8::is_ascii_alphabetic) {
        match letter {
            b'S' => flags |= SEEN,
            b'R' => flags |= ANSWERED,
            b'F' => flags |= FLAGGED,
            b'T' => flags |= DELETED,
            b'D' => flags |= DRAFT,
            b'P' => keywords.push("$Forwarded".into()),
            b'a'..=b'z' => {
                let name = names.get(usize::from(letter - b'a')).cloned().flatten();
                keywords.extend(name.filter(|name| !keywords.contains(name)));
            }
            _ => {}
        }
    }
    (flags, keywords)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn flags_stand_in_the_name() {
        let names = uidlist::keywords("0 Junk\n1 $Forwarded\n");
        for (name, bits, words) in [
            ("1.a.b:2,S", SEEN, &[][..]),
            ("1.a.b:2,DFRST", 31, &[]),
            ("1.a.b:2,", 0, &[]),
            ("1.a.b", 0, &[]),
            ("1.a.b,S=12:2,Sa", SEEN, &["Junk"]),
            ("1.a.b:2,Pb", 0, &["$Forwarded"]),
            ("1.a.b:2,Sz?a", SEEN, &[]),
            ("1.a.b:1,S", 0, &[]),
        ] {
            let (flags, keywords) = flags(name, &names);
            let keywords: Vec<&str> = keywords.iter().map(|word| &**word).collect();
            assert_eq!((flags, keywords.as_slice()), (bits, words), "{name}");
        }
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn folders_of_both_kinds() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in ["cur/1.a.b:2,S", "new/2.a.b", "tmp/3.a.b", ".Sent.2024/cur/1.a.b:2,", ".trash/cur/x"] {
            write(root, path, "A: b\n\n");
        }
        write(root, "deep/er/cur/1.a.b", "A: b\n\n");
        write(root, "nothing/here", "");
        write(root, "subscriptions", "Sent.2024\ndeep/er\n");
        let maildir = Maildir::new(root);
        let mut folders = maildir.folders().unwrap();
        folders.sort_by(|a, b| a.name.cmp(&b.name));
        let told: Vec<_> = folders.iter().map(|folder| (folder.name.as_str(), folder.subscribed)).collect();
        assert_eq!(told, [("INBOX", true), ("Sent/2024", true), ("deep/er", true), ("trash", false)]);
        let inbox = maildir.contents(&folders[0]).unwrap();
        assert_eq!((inbox.messages.len(), inbox.uid_validity), (2, None));
        assert_eq!(inbox.messages.iter().map(|message| message.flags).collect::<Vec<_>>(), [SEEN, 0]);
        write(root, "subscriptions", "V\t2\n\nSent\t2024\n");
        assert!(maildir.folders().unwrap().iter().any(|it| it.name == "Sent/2024" && it.subscribed));
        assert!(Maildir::new(root.join("nothing")).folders().is_err());
        assert!(Maildir::new(root.join("missing")).folders().is_err());
    }

    #[test]
    fn messages_come_by_uid_and_those_without_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in ["9.a.b:2,", "8.a.b:2,a", "7.a.b:2,", "10.a.b:2,"] {
            write(root, &format!("cur/{name}"), "A: b\n\n");
        }
        write(root, "dovecot-uidlist", "3 V7 N9 G00\n3 :9.a.b:2,S\n5 :8.a.b\n");
        write(root, "dovecot-keywords", "0 Junk\n");
        let maildir = Maildir::new(root);
        let contents = maildir.contents(&maildir.folders().unwrap()[0]).unwrap();
        let told: Vec<_> = contents.messages.iter().map(|it| (it.uid, it.label())).collect();
        let name = |name: &str| format!("cur/{name}");
        assert_eq!(
            told,
            [
                (Some(3), name("9.a.b:2,")),
                (Some(5), name("8.a.b:2,a")),
                (None, name("7.a.b:2,")),
                (None, name("10.a.b:2,"))
            ]
        );
        assert_eq!((contents.uid_validity, contents.uid_next), (Some(7), Some(9)));
        assert_eq!(contents.messages[1].keywords, ["Junk".into()]);
    }
}
