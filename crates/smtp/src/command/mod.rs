//! Command lines: from octets to what the client means (RFC 5321 section 4.1).

mod parameters;
mod path;
pub(crate) mod xtext;

use packetboat_message::Domain;
use packetboat_wire::Secret;
use thiserror::Error;

use crate::envelope::{Recipient, Sender, Target};

/// Octets of a name in HELO that are kept; a domain is not longer (RFC 5321 section 4.5.3.1.2).
const HELLO_NAME_MAX: usize = 255;
/// Digits of a chunk size at most; more than any chunk needs and less than 64 bits hold.
const CHUNK_DIGITS_MAX: usize = 19;

/// How exactly a client has to keep to the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// What people type and old programs send is understood too: a space after the colon, paths without brackets,
    /// HELO without a name, command lines that end in LF alone. Never anything inside DATA.
    #[default]
    Lenient,
    /// RFC 5321 to the letter.
    Strict,
}

/// Which parameters are understood beyond those that always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offered {
    /// AUTH= with MAIL (RFC 4954 section 5).
    pub auth: bool,
    /// RET=, ENVID=, NOTIFY=, ORCPT= (RFC 3461).
    pub dsn: bool,
    /// BY= (RFC 2852).
    pub deliver_by: bool,
    /// HOLDFOR= and HOLDUNTIL= (RFC 4865).
    pub future_release: bool,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
}

/// A command and its arguments.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// HELO, EHLO or LHLO.
    Hello(Hello),
    /// MAIL FROM, SEND FROM, SOML FROM, SAML FROM.
    Mail(Sender),
    /// RCPT TO.
    Rcpt {
        /// The recipient and its parameters.
        recipient: Recipient,
        /// The path is written with characters beyond ASCII: only right in a SMTPUTF8 transaction.
        needs_utf8: bool,
    },
    /// DATA.
    Data,
    /// BDAT (RFC 3030).
    Bdat {
        /// Octets that follow the command line.
        size: u64,
        /// No chunk comes after this one.
        last: bool,
    },
    /// RSET.
    Reset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// HELP, and on what.
    Help(Option<String>),
    /// VRFY and what to verify.
    Verify(Query),
    /// EXPN and the list to expand.
    Expand(Query),
    /// TURN (RFC 821 section 3.8).
    Turn,
    /// ETRN (RFC 1985).
    Etrn(Node),
    /// ATRN (RFC 2645) and the domains whose mail is wanted; none: all that there are.
    Atrn(Vec<Domain>),
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954).
    Auth {
        /// The mechanism's name, in upper case.
        mechanism: String,
        /// The initial response as sent: base64, or `=` for an empty one.
        initial: Option<Secret<String>>,
    },
}

/// How the client introduced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Which verb.
    pub verb: HelloVerb,
    /// The name the client gave itself, for a Received header to show: printable ASCII without spaces, parentheses or
    /// quotes (those are replaced by `?`), at most 255 octets. Empty if it gave none, which only
    /// [`Strictness::Lenient`] lets through. It proves nothing.
    pub name: String,
}

/// A name somebody asks about with VRFY or EXPN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// A name or an address, as it was written.
    pub name: String,
    /// The answer may be UTF-8; otherwise it is ASCII (RFC 6531 section 3.7.4.2).
    pub utf8: bool,
}

/// Whose mail shall be sent now (RFC 1985 section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// This host's or domain's.
    Domain(Domain),
    /// `@`: this domain's and that of all below it.
    Below(Domain),
    /// `#`: what lies in a queue of this name.
    Queue(String),
}

/// The three greetings of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloVerb {
    /// HELO: no extensions (RFC 5321 section 4.1.1.1).
    Helo,
    /// EHLO.
    Ehlo,
    /// LHLO: LMTP (RFC 2033 section 4.1).
    Lhlo,
}

/// Why a line is no command that could be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    /// No such verb.
    #[error("unknown command")]
    UnknownVerb,
    /// A verb that is known and not served.
    #[error("command not implemented")]
    NotImplemented,
    /// The first words of another protocol, such as HTTP: somebody makes a browser talk to us.
    #[error("another protocol")]
    ForeignProtocol,
    /// Octets that no command may hold: control characters, or what is no UTF-8.
    #[error("invalid characters")]
    Characters,
    /// The argument is missing, or there is one too many.
    #[error("wrong argument")]
    Argument,
    /// The name given in HELO is no name.
    #[error("wrong host name")]
    HelloName,
    /// A chunk size that cannot be read. Where the next command starts is thereby unknown.
    #[error("wrong chunk size")]
    ChunkSize,
    /// Not the form `FROM:<path>`.
    #[error("wrong path syntax")]
    PathSyntax,
    /// The sender is not an address.
    #[error("the sender is no address")]
    SenderSyntax,
    /// The sender is a name alone.
    #[error("the sender needs a domain")]
    SenderDomainMissing,
    /// The sender is written beyond ASCII, and SMTPUTF8 was not asked for.
    #[error("the sender needs SMTPUTF8")]
    SenderNeedsUtf8,
    /// The recipient is not an address.
    #[error("the recipient is no address")]
    RecipientSyntax,
    /// The recipient is a name alone.
    #[error("the recipient needs a domain")]
    RecipientDomainMissing,
    /// The name to verify or expand is written beyond ASCII, and SMTPUTF8 was not asked for.
    #[error("the name needs SMTPUTF8")]
    NameNeedsUtf8,
    /// Not the name of a host or domain in full.
    #[error("the domain is wrong or not written in full")]
    NodeSyntax,
    /// A parameter that is not understood.
    #[error("unknown parameter")]
    UnknownParameter,
    /// A parameter that is understood, with a value that is not.
    #[error("unknown parameter value")]
    UnknownParameterValue,
    /// A parameter that is malformed or there twice.
    #[error("wrong parameter syntax")]
    ParameterSyntax,
}

/// Parses a command line without its line ending.
pub fn parse(line: &[u8], strictness: Strictness, offered: &Offered) -> Result<Command, CommandError> {
    let verb_end = line.iter().position(|&octet| octet == b' ' || octet == b'\t').unwrap_or(line.len());
    let (verb, argument) = line.split_at(verb_end);
    let verb = Verb::of(verb)?;
    // "SMTP servers that receive a command in which invalid character codes have been employed [...] MUST reject that
    // command with a 501 response" (RFC 5321 section 4.1.2).
    if argument.iter().any(|&octet| (octet < b' ' && octet != b'\t') || octet == 0x7f) {
        return Err(CommandError::Characters);
    }
    let argument = std::str::from_utf8(argument).map_err(|_| CommandError::Characters)?;
    // "receivers SHOULD tolerate trailing white space" (RFC 5321 section 4.1.1).
    let argument = argument.trim_end_matches([' ', '\t']);
    let trimmed = argument.trim_start_matches([' ', '\t']);
    match verb {
        Verb::Hello(verb) => hello(verb, trimmed, strictness).map(Command::Hello),
        Verb::Mail(target) => mail(target, argument, strictness, offered),
        Verb::Rcpt => rcpt(argument, strictness, offered),
        Verb::Data => alone(trimmed, Command::Data),
        Verb::Bdat => bdat(trimmed),
        Verb::StartTls => alone(trimmed, Command::StartTls),
        Verb::Auth => auth(trimmed),
        Verb::Verify => name(trimmed).map(Command::Verify),
        Verb::Expand => name(trimmed).map(Command::Expand),
        Verb::Reset if strictness == Strictness::Strict => alone(trimmed, Command::Reset),
        Verb::Quit if strictness == Strictness::Strict => alone(trimmed, Command::Quit),
        Verb::Reset => Ok(Command::Reset),
        Verb::Quit => Ok(Command::Quit),
        Verb::Noop => Ok(Command::Noop),
        Verb::Help => Ok(Command::Help((!trimmed.is_empty()).then(|| trimmed.to_owned()))),
        Verb::Turn => alone(trimmed, Command::Turn),
        Verb::Etrn => node(trimmed).map(Command::Etrn),
        Verb::Atrn => atrn(trimmed).map(Command::Atrn),
    }
}

enum Verb {
    Hello(HelloVerb),
    Mail(Target),
    Rcpt,
    Data,
    Bdat,
    Reset,
    Noop,
    Quit,
    Help,
    Verify,
    Expand,
    Turn,
    Etrn,
    Atrn,
    StartTls,
    Auth,
}

impl Verb {
    fn of(word: &[u8]) -> Result<Verb, CommandError> {
        let mut upper = [0; 12];
        let Some(upper) = upper.get_mut(..word.len()) else { return Err(CommandError::UnknownVerb) };
        upper.copy_from_slice(word);
        upper.make_ascii_uppercase();
        Ok(match &*upper {
            b"HELO" => Verb::Hello(HelloVerb::Helo),
            b"EHLO" => Verb::Hello(HelloVerb::Ehlo),
            b"LHLO" => Verb::Hello(HelloVerb::Lhlo),
            b"MAIL" => Verb::Mail(Target::Mailbox),
            b"SEND" => Verb::Mail(Target::Terminal),
            b"SOML" => Verb::Mail(Target::TerminalOrMailbox),
            b"SAML" => Verb::Mail(Target::TerminalAndMailbox),
            b"RCPT" => Verb::Rcpt,
            b"DATA" => Verb::Data,
            b"BDAT" => Verb::Bdat,
            b"RSET" => Verb::Reset,
            b"NOOP" => Verb::Noop,
            b"QUIT" => Verb::Quit,
            b"HELP" => Verb::Help,
            b"VRFY" => Verb::Verify,
            b"EXPN" => Verb::Expand,
            b"STARTTLS" => Verb::StartTls,
            b"AUTH" => Verb::Auth,
            b"TURN" => Verb::Turn,
            b"ETRN" => Verb::Etrn,
            b"ATRN" => Verb::Atrn,
            b"BURL" => return Err(CommandError::NotImplemented),
            b"GET" | b"POST" | b"PUT" | b"HEAD" | b"DELETE" | b"PATCH" | b"OPTIONS" | b"CONNECT"
            | b"TRACE" | b"PRI" | b"HOST:" | b"USER-AGENT:" => return Err(CommandError::ForeignProtocol),
            _ => return Err(CommandError::UnknownVerb),
        })
    }
}

fn alone(argument: &str, command: Command) -> Result<Command, CommandError> {
    if argument.is_empty() { Ok(command) } else { Err(CommandError::Argument) }
}

fn hello(verb: HelloVerb, argument: &str, strictness: Strictness) -> Result<Hello, CommandError> {
    if strictness == Strictness::Strict {
        // `ehlo = "EHLO" SP ( Domain / address-literal )`; a HELO with a literal is as common as harmless.
        let domain = Domain::parse(argument).map_err(|_| CommandError::HelloName)?;
        return Ok(Hello { verb, name: domain.to_ascii() });
    }
    let word = argument.split([' ', '\t']).next().unwrap_or_default();
    let shown = |c: char| if c.is_ascii_graphic() && !"()<>\"\\;,".contains(c) { c } else { '?' };
    Ok(Hello { verb, name: word.chars().map(shown).take(HELLO_NAME_MAX).collect() })
}

fn mail(
    target: Target,
    argument: &str,
    strictness: Strictness,
    offered: &Offered,
) -> Result<Command, CommandError> {
    let text = after_keyword(argument, "FROM", strictness)?;
    let (parsed, rest) = path::reverse(text, strictness)?;
    let mut sender = Sender { target, ..Sender::new(parsed.path) };
    parameters::of_mail(rest, offered, &mut sender)?;
    if parsed.needs_utf8 && !sender.smtputf8 {
        return Err(CommandError::SenderNeedsUtf8);
    }
    Ok(Command::Mail(sender))
}

fn rcpt(argument: &str, strictness: Strictness, offered: &Offered) -> Result<Command, CommandError> {
    let text = after_keyword(argument, "TO", strictness)?;
    let (parsed, rest) = path::forward(text, strictness)?;
    let mut recipient = Recipient { path: parsed.path, notify: None, original: None };
    parameters::of_rcpt(rest, offered, &mut recipient)?;
    Ok(Command::Rcpt { recipient, needs_utf8: parsed.needs_utf8 })
}

/// What follows `FROM:` or `TO:`.
fn after_keyword<'a>(
    argument: &'a str,
    keyword: &str,
    strictness: Strictness,
) -> Result<&'a str, CommandError> {
    let text = match strictness {
        Strictness::Lenient => argument.trim_start_matches([' ', '\t']),
        Strictness::Strict => argument.strip_prefix(' ').ok_or(CommandError::PathSyntax)?,
    };
    let (word, rest) = text.split_at_checked(keyword.len()).ok_or(CommandError::PathSyntax)?;
    if !word.eq_ignore_ascii_case(keyword) {
        return Err(CommandError::PathSyntax);
    }
    let rest = match strictness {
        Strictness::Lenient => rest.trim_start_matches([' ', '\t']),
        Strictness::Strict => rest,
    };
    rest.strip_prefix(':').ok_or(CommandError::PathSyntax)
}

/// `bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ]` (RFC 3030 section 2).
fn bdat(argument: &str) -> Result<Command, CommandError> {
    let (size, marker) = match argument.split_once([' ', '\t']) {
        Some((size, marker)) => (size, Some(marker.trim_start_matches([' ', '\t']))),
        None => (argument, None),
    };
    let last = match marker {
        None => false,
        Some(marker) if marker.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(CommandError::ChunkSize),
    };
    if size.len() > CHUNK_DIGITS_MAX || !size.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(CommandError::ChunkSize);
    }
    let size = size.parse().map_err(|_| CommandError::ChunkSize)?;
    Ok(Command::Bdat { size, last })
}

fn auth(argument: &str) -> Result<Command, CommandError> {
    let (mechanism, initial) = match argument.split_once([' ', '\t']) {
        Some((mechanism, initial)) => (mechanism, Some(initial.trim_start_matches([' ', '\t']))),
        None => (argument, None),
    };
    // `sasl-mech = 1*20mech-char` (RFC 4422 section 3.1).
    let is_name = (1..=20).contains(&mechanism.len())
        && mechanism.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_');
    if !is_name || initial.is_some_and(|initial| initial.contains([' ', '\t'])) {
        return Err(CommandError::Argument);
    }
    let initial = initial.map(Secret::from);
    Ok(Command::Auth { mechanism: mechanism.to_ascii_uppercase(), initial })
}

/// The argument of VRFY and EXPN: a name or an address, and whether the answer may be UTF-8 (RFC 6531 section 3.7.4.2).
fn name(argument: &str) -> Result<Query, CommandError> {
    let (name, utf8) = match argument.rsplit_once(' ') {
        Some((name, word)) if word.eq_ignore_ascii_case("SMTPUTF8") => (name.trim_end(), true),
        _ => (argument, false),
    };
    match name {
        "" => Err(CommandError::Argument),
        name if !utf8 && !name.is_ascii() => Err(CommandError::NameNeedsUtf8),
        name => Ok(Query { name: name.to_owned(), utf8 }),
    }
}

#[cfg(test)]
mod tests;

/// `ETRN [<option character>]<node name>` (RFC 1985 section 5).
fn node(argument: &str) -> Result<Node, CommandError> {
    if let Some(name) = argument.strip_prefix('#') {
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic());
        return if is_name { Ok(Node::Queue(name.to_owned())) } else { Err(CommandError::NodeSyntax) };
    }
    match argument.strip_prefix('@') {
        Some(name) => full_domain(name).map(Node::Below),
        None => full_domain(argument).map(Node::Domain),
    }
}

/// `ATRN [SP domain *("," domain)]` (RFC 2645 section 5.2.1).
fn atrn(argument: &str) -> Result<Vec<Domain>, CommandError> {
    if argument.is_empty() {
        return Ok(Vec::new());
    }
    argument.split(',').map(|name| full_domain(name.trim_matches(' '))).collect()
}

/// A domain in full: a name alone, or an address, is none.
fn full_domain(name: &str) -> Result<Domain, CommandError> {
    let domain = Domain::parse(name).ok().filter(|_| name.contains('.') && !name.starts_with('['));
    domain.ok_or(CommandError::NodeSyntax)
}
