//! The commands of POP3: from a line to a value and back.

use bytes::BytesMut;
use packetboat_wire::Secret;

/// Octets of a command line at most, its CRLF included (RFC 2449 section 4).
pub const COMMAND_LINE_MAX: usize = 255;

/// Octets of a line that carries SASL data at most.
///
/// RFC 5034 section 4 lifts the limit of 255 for SASL responses and asks to take whatever the offered mechanisms
/// produce; bearer tokens are the largest, and clients do send those as initial responses too.
pub const SASL_LINE_MAX: usize = 12 * 1024;

/// How exactly a peer has to keep to the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// Bare LF ends a line; blanks before, after and between the words of a command do no harm.
    #[default]
    Lenient,
    /// The grammar of RFC 2449 section 3: CRLF, and one space before each argument.
    Strict,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `USER name` (RFC 1939 section 7).
    User(String),
    /// `PASS string`: everything behind the first space, so that passwords may hold spaces.
    Pass(Secret<String>),
    /// `APOP name digest`.
    Apop {
        /// The mailbox name.
        name: String,
        /// MD5 over the banner's timestamp and the shared secret.
        digest: [u8; 16],
    },
    /// `AUTH` alone asks which mechanisms there are: RFC 1734 as clients came to use it.
    AuthList,
    /// `AUTH mechanism [initial-response]` (RFC 5034 section 4).
    Auth {
        /// The mechanism's name in upper case.
        mechanism: String,
        /// The initial response, still in Base64; `=` is an empty one.
        initial: Option<Secret<String>>,
    },
    /// `CAPA` (RFC 2449 section 5).
    Capa,
    /// `STLS` (RFC 2595 section 4).
    Stls,
    /// `UTF8` (RFC 6856 section 2.1).
    Utf8,
    /// `LANG [range]` (RFC 6856 section 3): without a range it asks for a listing.
    Lang(Option<String>),
    /// `QUIT`.
    Quit,
    /// `STAT`.
    Stat,
    /// `LIST [msg]`.
    List(Option<u64>),
    /// `RETR msg`.
    Retr(u64),
    /// `DELE msg`.
    Dele(u64),
    /// `NOOP`.
    Noop,
    /// `RSET`.
    Rset,
    /// `TOP msg n`.
    Top {
        /// The message number.
        message: u64,
        /// How many lines of the body.
        lines: u64,
    },
    /// `UIDL [msg]`.
    Uidl(Option<u64>),
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommand {
    /// The first word is none of ours.
    #[error("unknown command")]
    Unknown,
    /// The first word is a command, the others do not fit it.
    #[error("wrong arguments")]
    Arguments,
    /// Longer than [`COMMAND_LINE_MAX`], and not an AUTH.
    #[error("line too long")]
    TooLong,
    /// A request line of HTTP, or the first octets of a TLS handshake: whoever sends this takes us for another server,
    /// or was made to by a page in a browser.
    #[error("another protocol")]
    WrongProtocol,
}

/// What an HTTP request may begin with (RFC 9110 section 9, RFC 5789).
const HTTP_METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

impl Command {
    /// Reads a line that has lost its line ending.
    pub fn parse(line: &[u8], strictness: Strictness) -> Result<Command, InvalidCommand> {
        let lenient = strictness == Strictness::Lenient;
        let line = if lenient { line.trim_ascii_start() } else { line };
        let blank = |byte: &u8| *byte == b' ' || (lenient && *byte == b'\t');
        let (verb, rest) = match line.iter().position(blank) {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line, None),
        };
        let verb = Verb::named(verb).ok_or_else(|| foreign(verb))?;
        if line.len() + 2 > COMMAND_LINE_MAX && verb != Verb::Auth {
            return Err(InvalidCommand::TooLong);
        }
        let rest =
            rest.map(|rest| std::str::from_utf8(rest).map_err(|_| InvalidCommand::Arguments)).transpose()?;
        if rest.is_some_and(|rest| rest.chars().any(|c| c.is_control() && !(lenient && c == '\t'))) {
            return Err(InvalidCommand::Arguments);
        }
        if verb == Verb::Pass {
            return match rest {
                Some(password) if !password.is_empty() => Ok(Command::Pass(password.into())),
                _ => Err(InvalidCommand::Arguments),
            };
        }
        let arguments = Arguments::split(rest, strictness)?;
        verb.with(&arguments).ok_or(InvalidCommand::Arguments)
    }

    /// Appends the command and its CRLF, as a client sends it.
    ///
    /// Control characters in arguments are left out, for they could only be there to smuggle another command; a TAB
    /// stays, as passwords may have one.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Command::User(name) => line(out, &["USER", name]),
            Command::Pass(password) => line(out, &["PASS", password.expose()]),
            Command::Apop { name, digest } => {
                let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
                line(out, &["APOP", name, &digest]);
            }
            Command::AuthList => line(out, &["AUTH"]),
            Command::Auth { mechanism, initial: None } => line(out, &["AUTH", mechanism]),
            Command::Auth { mechanism, initial: Some(initial) } => {
                line(out, &["AUTH", mechanism, initial.expose()])
            }
            Command::Capa => line(out, &["CAPA"]),
            Command::Stls => line(out, &["STLS"]),
            Command::Utf8 => line(out, &["UTF8"]),
            Command::Lang(None) => line(out, &["LANG"]),
            Command::Lang(Some(range)) => line(out, &["LANG", range]),
            Command::Quit => line(out, &["QUIT"]),
            Command::Stat => line(out, &["STAT"]),
            Command::List(None) => line(out, &["LIST"]),
            Command::List(Some(number)) => line(out, &["LIST", &number.to_string()]),
            Command::Retr(number) => line(out, &["RETR", &number.to_string()]),
            Command::Dele(number) => line(out, &["DELE", &number.to_string()]),
            Command::Noop => line(out, &["NOOP"]),
            Command::Rset => line(out, &["RSET"]),
            Command::Top { message, lines } => line(out, &["TOP", &message.to_string(), &lines.to_string()]),
            Command::Uidl(None) => line(out, &["UIDL"]),
            Command::Uidl(Some(number)) => line(out, &["UIDL", &number.to_string()]),
        }
    }
}

/// Appends words with a space between each two, and a CRLF.
fn line(out: &mut BytesMut, words: &[&str]) {
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b" ");
        }
        out.extend(word.bytes().filter(|octet| !octet.is_ascii_control() || *octet == b'\t'));
    }
    out.extend_from_slice(b"\r\n");
}

/// What stands behind the verb.
struct Arguments<'a> {
    /// All of it, without blanks at the ends when lenient.
    text: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Arguments<'a> {
    fn split(rest: Option<&'a str>, strictness: Strictness) -> Result<Arguments<'a>, InvalidCommand> {
        let Some(rest) = rest else { return Ok(Arguments { text: "", words: Vec::new() }) };
        match strictness {
            Strictness::Lenient => {
                let text = rest.trim_matches([' ', '\t']);
                Ok(Arguments {
                    text,
                    words: text.split([' ', '\t']).filter(|word| !word.is_empty()).collect(),
                })
            }
            Strictness::Strict => {
                let words: Vec<&str> = rest.split(' ').collect();
                if words.iter().any(|word| word.is_empty()) {
                    return Err(InvalidCommand::Arguments);
                }
                Ok(Arguments { text: rest, words })
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    User,
    Pass,
    Apop,
    Auth,
    Capa,
    Stls,
    Utf8,
    Lang,
    Quit,
    Stat,
    List,
    Retr,
    Dele,
    Noop,
    Rset,
    Top,
    Uidl,
}

impl Verb {
    /// Keywords are case-insensitive (RFC 1939 section 3).
    fn named(word: &[u8]) -> Option<Verb> {
        let mut upper = [0; 4];
        let upper = upper.get_mut(..word.len())?;
        upper.copy_from_slice(word);
        upper.make_ascii_uppercase();
        Some(match &*upper {
            b"USER" => Verb::User,
            b"PASS" => Verb::Pass,
            b"APOP" => Verb::Apop,
            b"AUTH" => Verb::Auth,
            b"CAPA" => Verb::Capa,
            b"STLS" => Verb::Stls,
            b"UTF8" => Verb::Utf8,
            b"LANG" => Verb::Lang,
            b"QUIT" => Verb::Quit,
            b"STAT" => Verb::Stat,
            b"LIST" => Verb::List,
            b"RETR" => Verb::Retr,
            b"DELE" => Verb::Dele,
            b"NOOP" => Verb::Noop,
            b"RSET" => Verb::Rset,
            b"TOP" => Verb::Top,
            b"UIDL" => Verb::Uidl,
            _ => return None,
        })
    }

    fn with(self, arguments: &Arguments<'_>) -> Option<Command> {
        let Arguments { text, words } = arguments;
        // One table of what each verb takes; whatever does not match a row has wrong arguments.
        Some(match (self, words.as_slice()) {
            (Verb::User, [_, ..]) => Command::User((*text).to_owned()),
            (Verb::Apop, [name, digest]) => {
                Command::Apop { name: (*name).to_owned(), digest: parse_digest(digest)? }
            }
            (Verb::Auth, []) => Command::AuthList,
            (Verb::Auth, [mechanism]) => {
                Command::Auth { mechanism: mechanism_name(mechanism)?, initial: None }
            }
            (Verb::Auth, [mechanism, initial]) => {
                Command::Auth { mechanism: mechanism_name(mechanism)?, initial: Some((*initial).into()) }
            }
            (Verb::Capa, []) => Command::Capa,
            (Verb::Stls, []) => Command::Stls,
            (Verb::Utf8, []) => Command::Utf8,
            (Verb::Lang, []) => Command::Lang(None),
            (Verb::Lang, [range]) => Command::Lang(Some((*range).to_owned())),
            (Verb::Quit, []) => Command::Quit,
            (Verb::Stat, []) => Command::Stat,
            (Verb::List, []) => Command::List(None),
            (Verb::List, [number]) => Command::List(Some(parse_number(number)?)),
            (Verb::Retr, [number]) => Command::Retr(parse_number(number)?),
            (Verb::Dele, [number]) => Command::Dele(parse_number(number)?),
            (Verb::Noop, []) => Command::Noop,
            (Verb::Rset, []) => Command::Rset,
            (Verb::Top, [number, lines]) => {
                Command::Top { message: parse_number(number)?, lines: parse_number(lines)? }
            }
            (Verb::Uidl, []) => Command::Uidl(None),
            (Verb::Uidl, [number]) => Command::Uidl(Some(parse_number(number)?)),
            _ => return None,
        })
    }
}

/// Digits, and nothing else. What is too large for any number becomes the largest: no message has it, and no message
/// has so many lines.
fn parse_number(word: &str) -> Option<u64> {
    if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(word.parse().unwrap_or(u64::MAX))
}

/// "a 16-octet value which is sent in hexadecimal format, using lower-case ASCII characters" (RFC 1939 section 7).
fn parse_digest(word: &str) -> Option<[u8; 16]> {
    let mut digest = [0; 16];
    if word.len() != 32 {
        return None;
    }
    for (octet, pair) in digest.iter_mut().zip(word.as_bytes().chunks(2)) {
        let [high, low] = pair else { return None };
        let value = char::from(*high).to_digit(16)? * 16 + char::from(*low).to_digit(16)?;
        *octet = u8::try_from(value).ok()?;
    }
    Some(digest)
}

/// A mechanism's name in upper case: letters, digits, `-` and `_`, at most 20 (RFC 4422 section 3.1).
fn mechanism_name(word: &str) -> Option<String> {
    let well_formed = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    ((1..=20).contains(&word.len()) && well_formed).then(|| word.to_ascii_uppercase())
}

/// Whether an unknown verb belongs to another protocol.
fn foreign(verb: &[u8]) -> InvalidCommand {
    // 0x16 0x03 begins a TLS record with a handshake in it.
    if verb.starts_with(b"\x16\x03") || HTTP_METHODS.iter().any(|method| method.as_bytes() == verb) {
        return InvalidCommand::WrongProtocol;
    }
    InvalidCommand::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lenient(line: &str) -> Result<Command, InvalidCommand> {
        Command::parse(line.as_bytes(), Strictness::Lenient)
    }

    fn strict(line: &str) -> Result<Command, InvalidCommand> {
        Command::parse(line.as_bytes(), Strictness::Strict)
    }

    fn auth(mechanism: &str, initial: Option<&str>) -> Command {
        Command::Auth { mechanism: mechanism.to_owned(), initial: initial.map(Into::into) }
    }

    /// Lines as a careful client writes them, with their meaning: the same both ways.
    fn canonical() -> Vec<(&'static str, Command)> {
        let digest =
            [0xc4, 0xc9, 0x33, 0x4b, 0xac, 0x56, 0x0e, 0xcc, 0x97, 0x9e, 0x58, 0x00, 0x1b, 0x3e, 0x22, 0xfb];
        vec![
            ("USER mrose", Command::User("mrose".into())),
            ("USER jörg@bücher.example", Command::User("jörg@bücher.example".into())),
            ("PASS secret", Command::Pass("secret".into())),
            ("PASS two words ", Command::Pass("two words ".into())),
            ("PASS  leading", Command::Pass(" leading".into())),
            ("APOP mrose c4c9334bac560ecc979e58001b3e22fb", Command::Apop { name: "mrose".into(), digest }),
            ("AUTH", Command::AuthList),
            ("AUTH PLAIN", auth("PLAIN", None)),
            ("AUTH PLAIN =", auth("PLAIN", Some("="))),
            ("AUTH SCRAM-SHA-256-PLUS cD10bHM=", auth("SCRAM-SHA-256-PLUS", Some("cD10bHM="))),
            ("CAPA", Command::Capa),
            ("STLS", Command::Stls),
            ("UTF8", Command::Utf8),
            ("LANG", Command::Lang(None)),
            ("LANG *", Command::Lang(Some("*".into()))),
            ("LANG de-AT", Command::Lang(Some("de-AT".into()))),
            ("QUIT", Command::Quit),
            ("STAT", Command::Stat),
            ("LIST", Command::List(None)),
            ("LIST 2", Command::List(Some(2))),
            ("RETR 1", Command::Retr(1)),
            ("DELE 18446744073709551615", Command::Dele(u64::MAX)),
            ("NOOP", Command::Noop),
            ("RSET", Command::Rset),
            ("TOP 1 10", Command::Top { message: 1, lines: 10 }),
            ("TOP 1 0", Command::Top { message: 1, lines: 0 }),
            ("UIDL", Command::Uidl(None)),
            ("UIDL 7", Command::Uidl(Some(7))),
        ]
    }

    #[test]
    fn canonical_lines_there_and_back() {
        for (line, command) in canonical() {
            assert_eq!(lenient(line).as_ref(), Ok(&command), "{line}");
            if !matches!(command, Command::Pass(_)) {
                assert!(lenient(&line.to_ascii_lowercase()).is_ok(), "{line}");
            }
            assert_eq!(strict(line).as_ref(), Ok(&command), "{line}");
            let mut out = BytesMut::new();
            command.encode(&mut out);
            assert_eq!(out, format!("{line}\r\n").as_bytes());
        }
    }

    #[test]
    fn a_tab_in_a_password_is_sent_and_no_other_control() {
        let mut out = BytesMut::new();
        Command::Pass("a\tb\r\nDELE 1\0".into()).encode(&mut out);
        assert_eq!(out, "PASS a\tbDELE 1\r\n");
        assert_eq!(lenient("PASS a\tb"), Ok(Command::Pass("a\tb".into())));
    }

    #[test]
    fn stray_blanks() {
        for (line, command) in [
            (" STAT", Command::Stat),
            ("STAT ", Command::Stat),
            ("stat\t", Command::Stat),
            ("RETR  1 ", Command::Retr(1)),
            ("TOP\t1\t2", Command::Top { message: 1, lines: 2 }),
            ("USER  mrose  ", Command::User("mrose".into())),
            ("USER john smith", Command::User("john smith".into())),
            ("AUTH  plain", auth("PLAIN", None)),
        ] {
            assert_eq!(lenient(line), Ok(command), "{line:?}");
            assert!(strict(line).is_err() || line.starts_with("USER john"), "{line:?}");
        }
    }

    #[test]
    fn wrong_arguments() {
        for line in [
            "USER",
            "USER ",
            "PASS",
            "PASS ",
            "APOP mrose",
            "APOP mrose c4c9",
            "APOP mrose é4c9334bac560ecc979e58001b3e22f",
            "APOP a b c4c9334bac560ecc979e58001b3e22fb",
            "APOP mrose +4c9334bac560ecc979e58001b3e22fb",
            "STAT 1",
            "LIST -1",
            "LIST +1",
            "LIST 1 2",
            "LIST one",
            "RETR",
            "RETR 1 2",
            "RETR 0x1",
            "RETR 1.0",
            "DELE",
            "DELE all",
            "DELE -99",
            "TOP",
            "TOP 1",
            "TOP 1 -1",
            "TOP 1 2 3",
            "UIDL -1",
            "NOOP 1",
            "RSET all",
            "QUIT now",
            "CAPA 1",
            "STLS now",
            "UTF8 USER",
            "LANG en de",
            "AUTH PLAIN a b",
            "AUTH PL@IN",
            "AUTH TWENTY-ONE-CHARACTERS",
            "USER a\0b",
            "PASS a\0b",
            "PASS a\rb",
            "USER a\u{85}b",
        ] {
            assert_eq!(lenient(line), Err(InvalidCommand::Arguments), "{line:?}");
            assert_eq!(strict(line), Err(InvalidCommand::Arguments), "{line:?}");
        }
        let latin1 = b"USER j\xf6rg";
        assert_eq!(Command::parse(latin1, Strictness::Lenient), Err(InvalidCommand::Arguments), "not UTF-8");
    }

    #[test]
    fn unknown_verbs_and_other_protocols() {
        for line in ["", " ", "XYZZY", "USERNAME", "RET", "RETR1", "EHLO x", "a1 LOGIN", "DÉLE", "\0", "get"]
        {
            assert_eq!(lenient(line), Err(InvalidCommand::Unknown), "{line:?}");
        }
        for line in ["GET / HTTP/1.1", "POST /x HTTP/1.0", "OPTIONS *", "\x16\x03\x01\x02"] {
            assert_eq!(lenient(line), Err(InvalidCommand::WrongProtocol), "{line:?}");
        }
    }

    #[test]
    fn huge_numbers_name_no_message() {
        assert_eq!(lenient("RETR 99999999999999999999999999"), Ok(Command::Retr(u64::MAX)));
        assert_eq!(lenient("RETR 000001"), Ok(Command::Retr(1)));
        assert_eq!(lenient("TOP 1 99999999999999999999"), Ok(Command::Top { message: 1, lines: u64::MAX }));
    }

    #[test]
    fn only_auth_may_be_long() {
        let fits = format!("USER {}", "a".repeat(COMMAND_LINE_MAX - 2 - 5));
        assert!(lenient(&fits).is_ok());
        assert_eq!(lenient(&format!("{fits}a")), Err(InvalidCommand::TooLong));
        assert_eq!(lenient(&format!("PASS {}", "a".repeat(300))), Err(InvalidCommand::TooLong));
        assert!(lenient(&format!("AUTH PLAIN {}", "A".repeat(4000))).is_ok());
    }

    #[test]
    fn a_name_cannot_smuggle_a_command() {
        let mut out = BytesMut::new();
        Command::User("a\r\nDELE 1".into()).encode(&mut out);
        assert_eq!(out, &b"USER aDELE 1\r\n"[..]);
    }
}
