//! The text of listings: LIST as Unix has it, MLSD and MLST with facts (RFC 3659 section 7), NLST with names alone.

mod digits;
mod flags;
#[cfg(test)]
mod tests;

use memchr::memchr3;

use crate::command::FileTime;
use digits::{push_hex, push_number, push_time, push_two};

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
    pub create: bool,
}

/// How long before `now` a time may lie that is shown with its hour: half a year, as `ls` has it.
const RECENT: i64 = 365 * 86_400 / 2;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A line of LIST, in the form that every client parses: the one of `/bin/ls -l`, with times in UTC.
pub fn unix_line(facts: &Facts<'_>, now: i64, flags: &Flags, out: &mut Vec<u8>) {
    out.push(match facts.kind {
        Kind::File => b'-',
        Kind::Directory | Kind::Current | Kind::Parent => b'd',
        Kind::Link(_) => b'l',
        Kind::Other => b'p',
    });
    push_mode(facts.mode, out);
    out.push(b' ');
    push_number(facts.links, 3, out);
    for name in [facts.owner, facts.group] {
        out.push(b' ');
        let begin = out.len();
        push_word(name, out);
        out.resize(out.len().max(begin + 8), b' ');
    }
    out.push(b' ');
    push_number(facts.size, 12, out);
    let (year, month, day, hour, minute, _) = facts.modified.civil();
    out.push(b' ');
    out.extend_from_slice(MONTHS[usize::from(month - 1) % 12].as_bytes());
    out.push(b' ');
    push_number(day.into(), 2, out);
    out.push(b' ');
    let age = now.saturating_sub(facts.modified.seconds);
    if (-3600..RECENT).contains(&age) {
        push_two(hour, out);
        out.push(b':');
        push_two(minute, out);
    } else {
        match u64::try_from(year) {
            Ok(year) => push_number(year, 5, out),
            Err(_) => out.extend_from_slice(format!("{year:>5}").as_bytes()),
        }
    }
    out.push(b' ');
    push_name(facts.name, out);
    if let Kind::Link(target) = facts.kind {
        out.extend_from_slice(b" -> ");
        push_name(target, out);
    }
    if flags.classify && matches!(facts.kind, Kind::Directory | Kind::Current | Kind::Parent) {
        out.push(b'/');
    }
    out.push(b'\n');
}

/// Owners and groups are columns, so they are one word, and there is always one. A column counts characters, so they are
/// ASCII.
fn push_word(name: &str, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend(name.bytes().filter(u8::is_ascii_graphic).take(32));
    if out.len() == begin {
        out.push(b'-');
    }
}

fn push_mode(mode: u32, line: &mut Vec<u8>) {
    for (shift, special, set, unset) in
        [(6, 0o4000, b's', b'S'), (3, 0o2000, b's', b'S'), (0, 0o1000, b't', b'T')]
    {
        let bits = mode >> shift & 7;
        let execute = match (mode & special != 0, bits & 1 != 0) {
            (false, false) => b'-',
            (false, true) => b'x',
            (true, true) => set,
            (true, false) => unset,
        };
        let (read, write) = (bits & 4 != 0, bits & 2 != 0);
        line.extend_from_slice(&[if read { b'r' } else { b'-' }, if write { b'w' } else { b'-' }, execute]);
    }
}

/// A name in a line: what would end the line is shown as a question mark, as `ls` does on a terminal.
fn push_name(name: &[u8], out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(name);
    if memchr3(b'\r', b'\n', 0, name).is_some() {
        let ends = |octet: &&mut u8| matches!(**octet, b'\r' | b'\n' | 0);
        out[begin..].iter_mut().filter(ends).for_each(|octet| *octet = b'?');
    }
}

/// A line of MLSD, or of MLST between its first and last one: facts, a space, the name as it is.
pub fn facts_line(facts: &Facts<'_>, chosen: &[&str], out: &mut Vec<u8>) {
    for fact in chosen {
        let begin = out.len();
        out.extend_from_slice(fact.as_bytes());
        out.push(b'=');
        let known = match *fact {
            "Type" => {
                out.extend_from_slice(match facts.kind {
                    Kind::File => b"file",
                    Kind::Directory => b"dir",
                    Kind::Current => b"cdir",
                    Kind::Parent => b"pdir",
                    Kind::Link(_) => b"OS.unix=symlink",
                    Kind::Other => b"OS.unix=special",
                });
                true
            }
            "Size" => {
                push_number(facts.size, 0, out);
                facts.kind == Kind::File
            }
            "Modify" => {
                push_time(facts.modified, out);
                true
            }
            "Create" => {
                facts.created.iter().for_each(|created| push_time(*created, out));
                facts.created.is_some()
            }
            "Perm" => {
                push_permissions(facts, out);
                true
            }
            "Unique" => {
                push_hex(facts.unique.0, out);
                out.push(b'g');
                push_hex(facts.unique.1, out);
                true
            }
            "UNIX.mode" => {
                out.extend([9, 6, 3, 0].map(|shift| b'0' + (facts.mode >> shift & 7) as u8));
                true
            }
            "UNIX.owner" => {
                push_word(facts.owner, out);
                true
            }
            "UNIX.group" => {
                push_word(facts.group, out);
                true
            }
            _ => false,
        };
        if known {
            out.push(b';');
        } else {
            out.truncate(begin);
        }
    }
    out.push(b' ');
    push_name(facts.name, out);
    out.push(b'\n');
}

fn push_permissions(facts: &Facts<'_>, out: &mut Vec<u8>) {
    let allowed = facts.allowed;
    let directory = matches!(facts.kind, Kind::Directory | Kind::Current | Kind::Parent);
    let letters: [(bool, u8); 10] = [
        (!directory && allowed.append, b'a'),
        (directory && allowed.create, b'c'),
        (allowed.delete, b'd'),
        (directory && (allowed.list || allowed.create), b'e'),
        (allowed.rename, b'f'),
        (directory && allowed.list, b'l'),
        (directory && allowed.make, b'm'),
        (directory && allowed.delete, b'p'),
        (!directory && allowed.read, b'r'),
        (!directory && allowed.write, b'w'),
    ];
    out.extend(letters.iter().filter(|(allowed, _)| *allowed).map(|(_, letter)| *letter));
}

/// A line of NLST: a path that can be asked for.
pub fn name_line(name: &[u8], out: &mut Vec<u8>) {
    push_name(name, out);
    out.push(b'\n');
}
