//! From a line to a command.

use packetboat_wire::Secret;

use super::address::{eprt, family, lprt, port};
use super::{
    Algorithm, Command, FileTime, InvalidCommand, NewFact, PathName, Protection, TransferMode, site,
};
use crate::data::{ByteSize, Format, Mode, Structure, Type};

/// First words of other protocols that a browser, or a mail program, can be made to send here (ALPACA,
/// CVE-2021-3618).
const FOREIGN: &[&[u8]] = &[
    b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"PATCH", b"DELETE", b"TRACE", b"HOST:",
    b"EHLO", b"HELO", b"MAIL", b"RCPT", b"DATA",
];

/// Reads a line, without its ending.
pub fn parse(line: &[u8]) -> Result<Command, InvalidCommand> {
    let (verb, argument) = split_word(line);
    let verb = verb.to_ascii_uppercase();
    if FOREIGN.contains(&&verb[..]) || verb.ends_with(b":") {
        return Err(InvalidCommand::Foreign);
    }
    let known = if argument.is_empty() { bare(&verb) } else { with_argument(&verb, argument) };
    known.unwrap_or_else(|| {
        Err(match (bare(&verb).is_some(), with_argument(&verb, b"x").is_some()) {
            (true, _) => InvalidCommand::Argument("This command takes no parameter."),
            (false, true) => InvalidCommand::Argument("This command needs a parameter."),
            (false, false) => InvalidCommand::Unknown,
        })
    })
}

/// Commands that can stand alone; `None` if this is none of them.
fn bare(verb: &[u8]) -> Option<Result<Command, InvalidCommand>> {
    Some(Ok(match verb {
        b"CDUP" | b"XCUP" => Command::Cdup,
        b"REIN" => Command::Rein,
        b"QUIT" => Command::Quit,
        b"PASV" => Command::Pasv,
        b"EPSV" => Command::Epsv(None),
        b"LPSV" => Command::Lpsv,
        b"STOU" => Command::Stou(None),
        b"ABOR" => Command::Abor,
        b"PWD" | b"XPWD" => Command::Pwd,
        b"LIST" => Command::List(None),
        b"NLST" | b"NLIST" => Command::Nlst(None),
        b"MLSD" => Command::Mlsd(None),
        b"MLST" => Command::Mlst(None),
        b"SYST" => Command::Syst,
        b"STAT" => Command::Stat(None),
        b"HELP" => Command::Help(None),
        b"NOOP" => Command::Noop,
        b"FEAT" => Command::Feat,
        b"AVBL" => Command::Avbl(None),
        b"LANG" => Command::Lang(None),
        b"CCC" => Command::Ccc,
        // An empty password, which some send for anonymous users.
        b"PASS" => Command::Pass(Secret::from("")),
        _ => return None,
    }))
}

/// Commands that take an argument; `None` if this is none of them.
fn with_argument(verb: &[u8], argument: &[u8]) -> Option<Result<Command, InvalidCommand>> {
    let text = String::from_utf8_lossy(argument);
    let word = text.trim();
    let path = |make: fn(PathName) -> Command| {
        let invalid = InvalidCommand::Argument("A path cannot hold such octets.");
        PathName::new(argument).map(make).ok_or(invalid)
    };
    let optional = |make: fn(Option<PathName>) -> Command| {
        let invalid = InvalidCommand::Argument("A path cannot hold such octets.");
        PathName::new(argument).map(Some).map(make).ok_or(invalid)
    };
    Some(match verb {
        b"USER" => Ok(Command::User(word.to_owned())),
        b"PASS" => Ok(Command::Pass(Secret::new(text.into_owned()))),
        b"ACCT" => Ok(Command::Acct(word.to_owned())),
        b"CWD" | b"XCWD" => path(Command::Cwd),
        b"SMNT" => path(Command::Smnt),
        b"PORT" => port(word).map(Command::Port),
        b"EPRT" => eprt(word).map(Command::Eprt),
        b"LPRT" => lprt(word).map(Command::Lprt),
        b"EPSV" if word.eq_ignore_ascii_case("ALL") => Ok(Command::EpsvAll),
        b"EPSV" => family(word).map(|family| Command::Epsv(Some(family))),
        b"TYPE" => representation_type(word).map(Command::Type),
        b"STRU" => structure(word).map(Command::Stru),
        b"MODE" => mode(word).map(Command::Mode),
        b"RETR" => path(Command::Retr),
        b"STOR" => path(Command::Stor),
        b"STOU" => optional(Command::Stou),
        b"APPE" => path(Command::Appe),
        b"ALLO" => allocate(word),
        b"REST" => Ok(Command::Rest(word.to_owned())),
        b"RANG" => range(word),
        b"RNFR" => path(Command::Rnfr),
        b"RNTO" => path(Command::Rnto),
        b"DELE" => path(Command::Dele),
        b"RMD" | b"XRMD" => path(Command::Rmd),
        b"MKD" | b"XMKD" => path(Command::Mkd),
        b"LIST" => optional(Command::List),
        b"NLST" | b"NLIST" => optional(Command::Nlst),
        b"MLSD" => optional(Command::Mlsd),
        b"MLST" => optional(Command::Mlst),
        b"STAT" => optional(Command::Stat),
        b"SITE" => site::parse(argument).map(Command::Site),
        b"HELP" => Ok(Command::Help(Some(word.to_ascii_uppercase()))),
        b"NOOP" => Ok(Command::Noop),
        b"OPTS" => Ok(options(word)),
        b"SIZE" => path(Command::Size),
        b"MDTM" => modification_time(argument),
        b"MFMT" => timed(argument, Command::Mfmt),
        b"MFCT" => timed(argument, Command::Mfct),
        b"MFF" => facts(argument),
        b"HASH" => path(Command::Hash),
        b"XCRC" => checksum(Algorithm::Crc32, argument),
        b"XMD5" | b"MD5" => checksum(Algorithm::Md5, argument),
        b"XSHA" | b"XSHA1" => checksum(Algorithm::Sha1, argument),
        b"XSHA256" => checksum(Algorithm::Sha256, argument),
        b"XSHA512" => checksum(Algorithm::Sha512, argument),
        b"AVBL" => optional(Command::Avbl),
        b"COMB" => combine(argument),
        b"CLNT" => Ok(Command::Clnt(word.to_owned())),
        b"CSID" => Ok(Command::Csid(word.to_owned())),
        b"LANG" => Ok(Command::Lang(Some(word.to_owned()))),
        b"HOST" => Ok(Command::Host(word.to_owned())),
        b"AUTH" => Ok(Command::Auth(word.to_ascii_uppercase())),
        b"ADAT" => Ok(Command::Adat),
        b"PBSZ" => word
            .parse()
            .map(Command::Pbsz)
            .map_err(|_| InvalidCommand::Argument("PBSZ takes a number, which for TLS is 0.")),
        b"PROT" => protection(word).map(Command::Prot),
        b"MIC" | b"CONF" | b"ENC" => Ok(Command::Protected),
        _ => return None,
    })
}

/// The first word, and what follows the space behind it.
pub(super) fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, b""),
    }
}

/// Words, of which those in quotation marks may hold spaces; within, a quotation mark is written twice.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut rest = text.trim_ascii_start();
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let mut word = Vec::new();
        if first != b'"' {
            let (taken, left) = split_word(rest);
            rest = left.trim_ascii_start();
            return Some(taken.to_vec());
        }
        rest = &rest[1..];
        loop {
            let (&octet, left) = rest.split_first()?;
            rest = left;
            match octet {
                b'"' if rest.first() == Some(&b'"') => {
                    word.push(b'"');
                    rest = &rest[1..];
                }
                b'"' => break,
                octet => word.push(octet),
            }
        }
        rest = rest.trim_ascii_start();
        Some(word)
    })
}

fn representation_type(text: &str) -> Result<Type, InvalidCommand> {
    let mut words = text.split_ascii_whitespace().map(str::to_ascii_uppercase);
    let (code, parameter, more) = (words.next().unwrap_or_default(), words.next(), words.next());
    if more.is_some() {
        return Err(InvalidCommand::Argument("TYPE takes a type and one parameter."));
    }
    // `TYPE L8` is sent too.
    let (code, parameter) = match code.split_at_checked(1) {
        Some(("L", bits)) if !bits.is_empty() && parameter.is_none() => {
            ("L".to_owned(), Some(bits.to_owned()))
        }
        _ => (code, parameter),
    };
    let format = || match parameter.as_deref() {
        None | Some("N") => Ok(Format::NonPrint),
        Some("T") => Ok(Format::Telnet),
        Some("C") => Ok(Format::CarriageControl),
        Some(_) => Err(InvalidCommand::Parameter("The format is N, T or C.")),
    };
    match (&code[..], &parameter) {
        ("A", _) => format().map(Type::Ascii),
        ("E", _) => format().map(Type::Ebcdic),
        ("I", None) => Ok(Type::Image),
        ("I", Some(_)) => Err(InvalidCommand::Argument("TYPE I takes no parameter.")),
        ("L", None) => Err(InvalidCommand::Argument("TYPE L needs the bits of a byte.")),
        ("L", Some(bits)) => {
            let size = bits.parse().ok().and_then(ByteSize::new);
            size.map(Type::Local).ok_or(InvalidCommand::Parameter("A byte has 1 to 255 bits."))
        }
        _ => Err(InvalidCommand::Parameter("The types are A, E, I and L.")),
    }
}

fn structure(text: &str) -> Result<Structure, InvalidCommand> {
    match &text.to_ascii_uppercase()[..] {
        "F" => Ok(Structure::File),
        "R" => Ok(Structure::Record),
        "P" => Ok(Structure::Page),
        _ => Err(InvalidCommand::Parameter("The structures are F, R and P.")),
    }
}

fn mode(text: &str) -> Result<TransferMode, InvalidCommand> {
    Ok(match &text.to_ascii_uppercase()[..] {
        "S" => TransferMode::Standard(Mode::Stream),
        "B" => TransferMode::Standard(Mode::Block),
        "C" => TransferMode::Standard(Mode::Compressed),
        "Z" => TransferMode::Deflate,
        _ => return Err(InvalidCommand::Parameter("The modes are S, B, C and Z.")),
    })
}

fn protection(text: &str) -> Result<Protection, InvalidCommand> {
    Ok(match &text.to_ascii_uppercase()[..] {
        "C" => Protection::Clear,
        "S" => Protection::Safe,
        "E" => Protection::Confidential,
        "P" => Protection::Private,
        _ => return Err(InvalidCommand::Parameter("The levels are C, S, E and P.")),
    })
}

fn allocate(text: &str) -> Result<Command, InvalidCommand> {
    let wrong = InvalidCommand::Argument("ALLO takes a number, and R with another one.");
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong);
    match words[..] {
        [bytes] => Ok(Command::Allo { bytes: number(bytes)?, record: None }),
        [bytes, r, record] if r.eq_ignore_ascii_case("R") => {
            Ok(Command::Allo { bytes: number(bytes)?, record: Some(number(record)?) })
        }
        _ => Err(wrong),
    }
}

fn range(text: &str) -> Result<Command, InvalidCommand> {
    let wrong = InvalidCommand::Argument("RANG takes two numbers, the first and the last octet.");
    let (start, end) = text.split_once(' ').ok_or(wrong)?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong);
    Ok(Command::Rang(number(start)?, number(end)?))
}

fn options(text: &str) -> Command {
    let (command, parameters) = text.split_once(' ').unwrap_or((text, ""));
    let parameters = Some(parameters.trim()).filter(|parameters| !parameters.is_empty());
    Command::Opts(command.to_ascii_uppercase(), parameters.map(str::to_owned))
}

/// A time before a path sets it; a file whose name looks like that is asked for with `./` before it.
fn modification_time(argument: &[u8]) -> Result<Command, InvalidCommand> {
    match timed(argument, Command::Mfmt) {
        Ok(command) => Ok(command),
        Err(_) => {
            let path = PathName::new(argument);
            path.map(Command::Mdtm).ok_or(InvalidCommand::Argument("A path cannot hold such octets."))
        }
    }
}

fn timed(argument: &[u8], make: fn(FileTime, PathName) -> Command) -> Result<Command, InvalidCommand> {
    let (time, path) = split_word(argument);
    let time = std::str::from_utf8(time).ok().and_then(FileTime::parse);
    match (time, PathName::new(path)) {
        (Some(time), Some(path)) => Ok(make(time, path)),
        _ => Err(InvalidCommand::Argument("A time is YYYYMMDDHHMMSS in UTC, and a path follows it.")),
    }
}

fn facts(argument: &[u8]) -> Result<Command, InvalidCommand> {
    let wrong = InvalidCommand::Argument("MFF takes facts such as Modify=20261121160000; and a path.");
    let (facts, path) = split_word(argument);
    let facts = std::str::from_utf8(facts).map_err(|_| wrong)?;
    let facts = facts.strip_suffix(';').ok_or(wrong)?.split(';').map(NewFact::parse);
    Ok(Command::Mff(facts.collect::<Result<_, _>>()?, PathName::new(path).ok_or(wrong)?))
}

/// A path, in quotation marks if it has spaces and numbers follow, and where to begin and to end.
fn checksum(algorithm: Algorithm, argument: &[u8]) -> Result<Command, InvalidCommand> {
    let wrong =
        InvalidCommand::Argument("A path is needed, and the octets at which to begin and to end may follow.");
    let number = |octets: &[u8]| std::str::from_utf8(octets).ok().and_then(|text| text.parse::<u64>().ok());
    let (path, start, end) = if argument.first() == Some(&b'"') {
        let parts: Vec<Vec<u8>> = words(argument).collect();
        match &parts[..] {
            [path] => (path.clone(), None, None),
            [path, start] => (path.clone(), Some(number(start).ok_or(wrong)?), None),
            [path, start, end] => {
                (path.clone(), Some(number(start).ok_or(wrong)?), Some(number(end).ok_or(wrong)?))
            }
            _ => return Err(wrong),
        }
    } else {
        (argument.to_vec(), None, None)
    };
    let path = PathName::new(path).ok_or(wrong)?;
    Ok(Command::Checksum { algorithm, path, start, end })
}

fn combine(argument: &[u8]) -> Result<Command, InvalidCommand> {
    let wrong = InvalidCommand::Argument("COMB takes a path and those of the files to put together there.");
    let mut paths = words(argument).map(|word| PathName::new(word).ok_or(wrong));
    let target = paths.next().ok_or(wrong)??;
    let sources: Vec<PathName> = paths.collect::<Result<_, _>>()?;
    if sources.is_empty() { Err(wrong) } else { Ok(Command::Comb(target, sources)) }
}
