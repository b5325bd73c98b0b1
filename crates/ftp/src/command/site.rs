//! SITE: what only this server knows, under the names that others use too.

use super::{FileTime, InvalidCommand, PathName};

/// What stands behind SITE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// `HELP [command]`
    Help(Option<String>),
    /// `CHMOD mode path`
    Chmod(u32, PathName),
    /// `UMASK [mask]`
    Umask(Option<u32>),
    /// `IDLE [seconds]`
    Idle(Option<u64>),
    /// `UTIME time path`, and `UTIME path access modification creation UTC` as clients send it.
    Utime(FileTime, PathName),
    /// `SYMLINK target link`
    Symlink(PathName, PathName),
    /// `COPY from to`; `CPFR` and `CPTO` are the same in two steps.
    Copy(PathName, PathName),
    /// `CPFR from`
    CopyFrom(PathName),
    /// `CPTO to`
    CopyTo(PathName),
    /// `MKDIR path`: with the directories above it.
    Mkdir(PathName),
    /// `RMDIR path`: with all that is in it.
    Rmdir(PathName),
    /// `QUOTA`
    Quota,
    /// `WHO`
    Who,
    /// `CODEPAGE number`, for TYPE E.
    CodePage(String),
    /// `LRECL [octets]`: what a record is in TYPE I where a file has none; 0 or nothing: all of it.
    RecordLength(u32),
}

pub(super) fn parse(argument: &[u8]) -> Result<Site, InvalidCommand> {
    let (verb, rest) = super::parse::split_word(argument);
    let verb = verb.to_ascii_uppercase();
    let text = || std::str::from_utf8(rest).map(str::trim).unwrap_or_default();
    let path = |octets: &[u8]| PathName::new(octets).ok_or(InvalidCommand::Argument("A path is missing."));
    let octal = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        text.and_then(|text| u32::from_str_radix(text, 8).ok())
            .filter(|mode| *mode <= 0o7777)
            .ok_or(InvalidCommand::Argument("The mode is an octal number such as 644."))
    };
    Ok(match &verb[..] {
        b"HELP" => Site::Help((!text().is_empty()).then(|| text().to_ascii_uppercase())),
        b"CHMOD" => {
            let (mode, name) = super::parse::split_word(rest);
            Site::Chmod(octal(mode)?, path(name)?)
        }
        b"UMASK" if rest.is_empty() => Site::Umask(None),
        b"UMASK" => Site::Umask(Some(octal(rest)?)),
        b"IDLE" if rest.is_empty() => Site::Idle(None),
        b"IDLE" => {
            Site::Idle(Some(text().parse().map_err(|_| InvalidCommand::Argument("IDLE takes seconds."))?))
        }
        b"UTIME" => utime(rest)?,
        b"SYMLINK" => two(rest, Site::Symlink)?,
        b"COPY" => two(rest, Site::Copy)?,
        b"CPFR" => Site::CopyFrom(path(rest)?),
        b"CPTO" => Site::CopyTo(path(rest)?),
        b"MKDIR" => Site::Mkdir(path(rest)?),
        b"RMDIR" => Site::Rmdir(path(rest)?),
        b"QUOTA" => Site::Quota,
        b"WHO" => Site::Who,
        b"CODEPAGE" if !text().is_empty() => Site::CodePage(text().to_owned()),
        b"LRECL" if text().is_empty() => Site::RecordLength(0),
        b"LRECL" => {
            Site::RecordLength(text().parse().map_err(|_| InvalidCommand::Argument("LRECL takes octets."))?)
        }
        _ => {
            return Err(InvalidCommand::Parameter("SITE does not know this; SITE HELP tells what it knows."));
        }
    })
}

/// Two paths: the first has no space in it, or both are in quotation marks.
fn two(argument: &[u8], make: fn(PathName, PathName) -> Site) -> Result<Site, InvalidCommand> {
    let missing = InvalidCommand::Argument("Two paths are needed; put those with spaces in quotation marks.");
    let mut paths = super::parse::words(argument);
    match (paths.next(), paths.next(), paths.next()) {
        (Some(from), Some(to), None) => {
            Ok(make(PathName::new(from).ok_or(missing)?, PathName::new(to).ok_or(missing)?))
        }
        _ => Err(missing),
    }
}

/// `UTIME YYYYMMDDhhmm[ss] path`, or `UTIME path access modification creation UTC`.
fn utime(argument: &[u8]) -> Result<Site, InvalidCommand> {
    let wrong = InvalidCommand::Argument("UTIME takes YYYYMMDDhhmmss and a path.");
    let time = |octets: &[u8]| {
        let text = std::str::from_utf8(octets).ok()?;
        FileTime::parse(text).or_else(|| FileTime::parse(&format!("{text}00")))
    };
    let (first, rest) = super::parse::split_word(argument);
    if let Some(time) = time(first) {
        return Ok(Site::Utime(time, PathName::new(rest).ok_or(wrong)?));
    }
    let mut from_the_end = argument.rsplitn(5, |octet| *octet == b' ');
    let (zone, _created, modified) = (from_the_end.next(), from_the_end.next(), from_the_end.next());
    let path = from_the_end.nth(1);
    match (zone, modified.and_then(time), path.and_then(PathName::new)) {
        (Some(b"UTC"), Some(time), Some(path)) => Ok(Site::Utime(time, path)),
        _ => Err(wrong),
    }
}
