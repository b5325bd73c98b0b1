//! The text of listings: LIST as Unix has it, MLSD and MLST with facts (RFC 3659 section 7), NLST with names alone.

mod flags;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use crate::command::FileTime;

pub use flags::{Flags, Order};

/// What a listing tells of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Octets of the name.
    pub name: &'a [u8],
    /// What it is.
    pub kind: Kind<'a>,
    /// Octets.
    pub size: u64,
    /// When it was changed.
    pub modified: FileTime,
    /// When it was made, if that is known.
    pub created: Option<FileTime>,
    /// Unix permissions, 12 bits.
    pub mode: u32,
    /// How many names it has.
    pub links: u64,
    /// Whose it is; a name or number without spaces.
    pub owner: &'a str,
    /// The same of its group.
    pub group: &'a str,
    /// What tells it from all others, such as device and number.
    pub unique: (u64, u64),
    /// What may be done with it.
    pub allowed: Allowed,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// The directory that is listed.
    Current,
    /// The one above it.
    Parent,
    /// A symbolic link to this path.
    Link(&'a [u8]),
    /// Something else.
    Other,
}

/// What the user may do, as the fact `Perm` tells it (RFC 3659 section 7.5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)] // Named as the right they are.
pub struct Allowed {
    pub read: bool,
    pub write: bool,
    pub append: bool,
    pub delete: bool,
    pub rename: bool,
    pub list: bool,
    pub make: bool,
}

/// How long before `now` a time may lie that is shown with its hour: half a year, as `ls` has it.
const RECENT: i64 = 365 * 86_400 / 2;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A line of LIST, in the form that every client parses: the one of `/bin/ls -l`, with times in UTC.
pub fn unix_line(facts: &Facts<'_>, now: i64, flags: &Flags, out: &mut Vec<u8>) {
    let letter = match facts.kind {
        Kind::File => '-',
        Kind::Directory | Kind::Current | Kind::Parent => 'd',
        Kind::Link(_) => 'l',
        Kind::Other => 'p',
    };
    let mut line = String::with_capacity(64);
    line.push(letter);
    push_mode(facts.mode, &mut line);
    let (year, month, day, hour, minute, _) = facts.modified.civil();
    let month = MONTHS[usize::from(month - 1) % 12];
    let _ = write!(
        line,
        " {:>3} {:<8} {:<8} {:>12} {month} {day:>2} ",
        facts.links,
        word(facts.owner),
        word(facts.group),
        facts.size
    );
    let age = now.saturating_sub(facts.modified.seconds);
    let _ = if (-3600..RECENT).contains(&age) {
        write!(line, "{hour:02}:{minute:02} ")
    } else {
        write!(line, "{year:>5} ")
    };
    out.extend_from_slice(line.as_bytes());
    push_name(facts.name, out);
    if let Kind::Link(target) = facts.kind {
        out.extend_from_slice(b" -> ");
        push_name(target, out);
    }
    if flags.classify && matches!(facts.kind, Kind::Directory | Kind::Current | Kind::Parent) {
        out.push(b'/');
    }
    out.extend_from_slice(b"\n");
}

/// Owners and groups are columns, so they are one word, and there is always one.
fn word(name: &str) -> String {
    let name: String = name.chars().filter(|c| c.is_ascii_graphic()).take(32).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

fn push_mode(mode: u32, line: &mut String) {
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = mode >> shift & 7;
        line.push(if bits & 4 != 0 { 'r' } else { '-' });
        line.push(if bits & 2 != 0 { 'w' } else { '-' });
        line.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => set,
            (true, false) => unset,
        });
    }
}

/// A name in a line: what would end the line is shown as a question mark, as `ls` does on a terminal.
fn push_name(name: &[u8], out: &mut Vec<u8>) {
    out.extend(name.iter().map(|octet| if matches!(octet, b'\r' | b'\n' | 0) { b'?' } else { *octet }));
}

/// A line of MLSD, or of MLST between its first and last one: facts, a space, the name as it is.
pub fn facts_line(facts: &Facts<'_>, chosen: &[&str], out: &mut Vec<u8>) {
    let mut line = String::with_capacity(128);
    for fact in chosen {
        let _ = match *fact {
            "Type" => write!(
                line,
                "Type={};",
                match facts.kind {
                    Kind::File => "file",
                    Kind::Directory => "dir",
                    Kind::Current => "cdir",
                    Kind::Parent => "pdir",
                    Kind::Link(_) => "OS.unix=symlink",
                    Kind::Other => "OS.unix=special",
                }
            ),
            "Size" if matches!(facts.kind, Kind::File) => write!(line, "Size={};", facts.size),
            "Modify" => write!(line, "Modify={};", facts.modified),
            "Create" => facts.created.map_or(Ok(()), |created| write!(line, "Create={created};")),
            "Perm" => write!(line, "Perm={};", permissions(facts)),
            "Unique" => write!(line, "Unique={:x}g{:x};", facts.unique.0, facts.unique.1),
            "UNIX.mode" => write!(line, "UNIX.mode={:04o};", facts.mode & 0o7777),
            "UNIX.owner" => write!(line, "UNIX.owner={};", word(facts.owner)),
            "UNIX.group" => write!(line, "UNIX.group={};", word(facts.group)),
            _ => Ok(()),
        };
    }
    line.push(' ');
    out.extend_from_slice(line.as_bytes());
    push_name(facts.name, out);
    out.push(b'\n');
}

fn permissions(facts: &Facts<'_>) -> String {
    let allowed = facts.allowed;
    let directory = matches!(facts.kind, Kind::Directory | Kind::Current | Kind::Parent);
    let letters: [(bool, char); 10] = [
        (!directory && allowed.append, 'a'),
        (directory && allowed.make, 'c'),
        (allowed.delete, 'd'),
        (directory && allowed.list, 'e'),
        (allowed.rename, 'f'),
        (directory && allowed.list, 'l'),
        (directory && allowed.make, 'm'),
        (directory && allowed.delete, 'p'),
        (!directory && allowed.read, 'r'),
        (!directory && allowed.write, 'w'),
    ];
    letters.iter().filter(|(allowed, _)| *allowed).map(|(_, letter)| *letter).collect()
}

/// A line of NLST: a path that can be asked for.
pub fn name_line(name: &[u8], out: &mut Vec<u8>) {
    push_name(name, out);
    out.push(b'\n');
}
