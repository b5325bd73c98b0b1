//! From what was asked for to a message and its envelope.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use jiff::Zoned;
use packetboat_message::compose::{Attachment, ComposeError, Composed, Letter, TEXT_MAX, guess_media_type};
use packetboat_message::{Address, Domain, Mailbox, date, message_id};

use super::failure::{Failure, FailureKind};
use super::raw::RawMessage;
use super::request::{Request, Surroundings, TextFrom};
use super::spool::{Spool, SpoolError};

/// How this program calls itself in messages.
const USER_AGENT: &str = concat!("packetboat/", env!("CARGO_PKG_VERSION"));
/// Octets of a text file that are looked at to see whether it is UTF-8.
const SNIFF: u64 = 64 * 1024;

/// A message with its envelope.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) content: Content,
    /// `None` is the null path.
    pub(crate) sender: Option<Address>,
    pub(crate) recipients: Vec<Address>,
    pub(crate) message_id: Option<String>,
}

/// The octets of a message, which can be read as often as servers are tried.
#[derive(Debug)]
pub(crate) enum Content {
    Letter(Composed),
    Raw(RawMessage),
}

/// What a header needs of the servers it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderUtf8 {
    /// It is ASCII.
    No,
    /// It is UTF-8, and came so: whether it is internationalised mail or just careless is not known.
    Perhaps,
    /// It has addresses in UTF-8.
    Yes,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Content::Letter(composed) => composed.len(),
            Content::Raw(raw) => raw.len(),
        }
    }

    pub(crate) fn is_eight_bit(&self) -> bool {
        match self {
            Content::Letter(composed) => composed.is_eight_bit(),
            Content::Raw(raw) => raw.body_is_eight_bit || !raw.header.is_ascii(),
        }
    }

    pub(crate) fn header_utf8(&self) -> HeaderUtf8 {
        match self {
            Content::Letter(composed) if composed.needs_utf8() => HeaderUtf8::Yes,
            Content::Raw(raw) if !raw.header.is_ascii() && std::str::from_utf8(&raw.header).is_ok() => {
                HeaderUtf8::Perhaps
            }
            _ => HeaderUtf8::No,
        }
    }

    pub(crate) fn reader(&self) -> Box<dyn Read + Send> {
        match self {
            Content::Letter(composed) => Box::new(composed.reader()),
            Content::Raw(raw) => Box::new(io::Cursor::new(raw.header.clone()).chain(raw.body.reader())),
        }
    }
}

/// Makes the message, or takes it in. `from` is who writes if the command line does not say.
pub(crate) fn prepare(
    request: &Request,
    from: Option<&str>,
    now: Zoned,
    around: &mut Surroundings,
) -> Result<Prepared, Failure> {
    let from = request.from.as_deref().or(from);
    let from = from.map(|from| Mailbox::parse(from).map_err(|error| usage("--from", &error))).transpose()?;
    let lists = [("--to", &request.to), ("--cc", &request.cc), ("--bcc", &request.bcc)];
    let [to, cc, bcc] = lists.map(|(option, list)| mailboxes(option, list));
    let (to, cc, bcc) = (to?, cc?, bcc?);
    let mut given: Vec<Address> =
        [&to, &cc, &bcc].into_iter().flatten().map(|m| m.address().clone()).collect();

    let mut prepared = if request.raw.is_some() || request.read_recipients {
        let mut raw = take_in(request, around)?;
        let sender = from.as_ref().or(raw.addressed.sender.as_ref()).cloned();
        if request.read_recipients {
            given.extend(raw.addressed.recipients.iter().map(|mailbox| mailbox.address().clone()));
            complete(&mut raw, sender.as_ref(), &now)?;
        }
        let message_id = raw.addressed.message_id.clone();
        let sender = sender.map(|mailbox| mailbox.address().clone());
        Prepared { content: Content::Raw(raw), sender, recipients: Vec::new(), message_id }
    } else {
        let letter = letter(request, from, to, cc, now, around)?;
        let sender = Some(letter.from.address().clone());
        let message_id = Some(letter.message_id.clone());
        let composed = letter.compose().map_err(compose_failure)?;
        Prepared { content: Content::Letter(composed), sender, recipients: Vec::new(), message_id }
    };
    for address in given {
        if !prepared.recipients.contains(&address) {
            prepared.recipients.push(address);
        }
    }
    match request.envelope_from.as_deref() {
        Some("" | "<>") => prepared.sender = None,
        Some(sender) => {
            let mailbox = Mailbox::parse(sender).map_err(|error| usage("--envelope-from", &error))?;
            prepared.sender = Some(mailbox.address().clone());
        }
        None if prepared.sender.is_none() => return Err(nobody_writes()),
        None => {}
    }
    if prepared.recipients.is_empty() {
        let hint = match request.raw.is_some() && !request.read_recipients {
            true => "Name recipients, or take those of the message's header with -t.",
            false => "Name recipients with --to, --cc or --bcc.",
        };
        return Err(Failure::new(FailureKind::Usage, "the message is for nobody").hint(hint));
    }
    Ok(prepared)
}

fn usage(option: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(FailureKind::Usage, format!("{option}: {error}"))
}

fn nobody_writes() -> Failure {
    Failure::new(FailureKind::Usage, "who writes is not said")
        .hint("Say it with --from 'Alice <alice@example.org>'.")
}

fn mailboxes(option: &str, list: &[String]) -> Result<Vec<Mailbox>, Failure> {
    let mut found = Vec::new();
    for text in list {
        found.extend(Mailbox::parse_list(text).map_err(|error| usage(option, &error))?);
    }
    Ok(found)
}

/// Takes in a ready message.
fn take_in(request: &Request, around: &mut Surroundings) -> Result<RawMessage, Failure> {
    let addresses_matter = request.read_recipients;
    match request.raw.as_deref() {
        Some(path) if path != Path::new("-") => {
            let mut file = open(path)?;
            RawMessage::read(&mut file, addresses_matter)
        }
        _ => RawMessage::read(&mut around.stdin, addresses_matter),
    }
}

/// With `-t` the program is the one that first sends the message, and adds what it must have (RFC 6409 section 8).
fn complete(raw: &mut RawMessage, sender: Option<&Mailbox>, now: &Zoned) -> Result<(), Failure> {
    if raw.addressed.message_id.is_none() {
        let domain = sender.map(|sender| sender.address().domain().clone()).unwrap_or_else(nameless);
        let id = message_id(now.timestamp(), random()?, &domain);
        raw.add_field(&format!("Message-ID: {id}\r\n"));
        raw.addressed.message_id = Some(id);
    }
    if let Some(sender) = sender.filter(|_| !raw.addressed.has_from) {
        raw.add_field(&sender.to_field("From"));
    }
    if !raw.addressed.has_date {
        raw.add_field(&format!("Date: {}\r\n", date::format(now)));
    }
    Ok(())
}

fn nameless() -> Domain {
    Domain::Name("localhost".to_owned())
}

fn letter(
    request: &Request,
    from: Option<Mailbox>,
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    now: Zoned,
    around: &mut Surroundings,
) -> Result<Letter, Failure> {
    let from = match (from, &request.user) {
        (Some(from), _) => from,
        // A login name that is an address is who writes.
        (None, Some(user)) => Mailbox::parse(user).map_err(|_| nobody_writes())?,
        (None, None) => return Err(nobody_writes()),
    };
    let domain = from.address().domain().clone();
    let mut fields = Vec::new();
    for field in &request.fields {
        let Some((name, value)) = field.split_once(':') else {
            let said = format!("--header: \"{field}\" is not of the form 'Name: value'");
            return Err(Failure::new(FailureKind::Usage, said));
        };
        fields.push((name.trim_end().to_owned(), value.trim().to_owned()));
    }
    Ok(Letter {
        message_id: message_id(now.timestamp(), random()?, &domain),
        from,
        to,
        cc,
        reply_to: mailboxes("--reply-to", &request.reply_to)?,
        subject: request.subject.clone(),
        date: now,
        in_reply_to: ids(&request.in_reply_to),
        references: ids(if request.references.is_empty() {
            &request.in_reply_to
        } else {
            &request.references
        }),
        user_agent: Some(USER_AGENT.to_owned()),
        fields,
        text: text(request, around)?,
        html: request.html.as_deref().map(|path| text_file(path, around)).transpose()?,
        attachments: request.attach.iter().map(|path| attachment(path)).collect::<Result<_, _>>()?,
        eight_bit: request.eight_bit,
        seed: random()?,
    })
}

/// Identifiers, several of them in one argument or not, with or without their angle brackets.
fn ids(given: &[String]) -> Vec<String> {
    let bracketed = |id: &str| if id.starts_with('<') { id.to_owned() } else { format!("<{id}>") };
    given.iter().flat_map(|ids| ids.split_whitespace()).map(bracketed).collect()
}

fn random() -> Result<[u8; 12], Failure> {
    let mut random = [0; 12];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| Failure::new(FailureKind::Internal, "this system has no randomness to give"))?;
    Ok(random)
}

fn compose_failure(error: ComposeError) -> Failure {
    let kind = match error {
        ComposeError::TextTooLong => FailureKind::Data,
        _ => FailureKind::Usage,
    };
    Failure::new(kind, error)
}

/// The text of a new message.
fn text(request: &Request, around: &mut Surroundings) -> Result<Option<String>, Failure> {
    match &request.text {
        TextFrom::Given(text) => Ok(Some(text.clone())),
        TextFrom::File(path) => text_file(path, around).map(Some),
        // Nobody is asked to type a text who has given another.
        TextFrom::Unsaid if request.html.is_some() => Ok(None),
        TextFrom::Unsaid if around.stdin_is_terminal && !request.attach.is_empty() => Ok(None),
        TextFrom::Unsaid => {
            if around.stdin_is_terminal {
                (around.note)("Type the message, and end it with Ctrl-D on a line of its own.");
            }
            text_file(Path::new("-"), around).map(Some)
        }
    }
}

fn text_file(path: &Path, around: &mut Surroundings) -> Result<String, Failure> {
    let mut octets = Vec::new();
    let limit = TEXT_MAX as u64 + 1;
    let (read, shown) = if path == Path::new("-") {
        ((&mut around.stdin).take(limit).read_to_end(&mut octets), "standard input".to_owned())
    } else {
        (open(path)?.take(limit).read_to_end(&mut octets), path.display().to_string())
    };
    read.map_err(|error| Failure::new(FailureKind::Io, format!("cannot read {shown}: {error}")))?;
    String::from_utf8(octets).map_err(|_| {
        Failure::new(FailureKind::Data, format!("the text from {shown} is not in UTF-8"))
            .hint("Convert it, for instance with iconv, or send it with --attach.")
    })
}

fn open(path: &Path) -> Result<File, Failure> {
    let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    });
    opened.map_err(|error| {
        Failure::new(FailureKind::NoInput, format!("cannot open {}: {error}", path.display()))
    })
}

/// A file to be attached. What is no plain file, such as a pipe, is read now, since its length has to be known.
fn attachment(path: &Path) -> Result<Attachment, Failure> {
    let mut file = open(path)?;
    let name =
        path.file_name().map_or_else(|| "attachment".to_owned(), |name| name.to_string_lossy().into_owned());
    let failed = |error| Failure::new(FailureKind::Io, format!("cannot read {}: {error}", path.display()));
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_file() {
        let mut media_type = guess_media_type(&name);
        if media_type.starts_with("text/") && is_utf8(&file).map_err(failed)? {
            media_type.push_str("; charset=utf-8");
        }
        let path = path.to_owned();
        let open = Arc::new(move || Ok(Box::new(File::open(&path)?) as Box<dyn Read + Send>));
        return Ok(Attachment { name, media_type: Some(media_type), len: metadata.len(), open });
    }
    let mut spool = Spool::default();
    let mut buffer = vec![0; SNIFF as usize];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            count => spool.push(buffer.get(..count).unwrap_or_default()).map_err(|error| match error {
                SpoolError::Create(error) => {
                    Failure::new(FailureKind::CannotCreate, format!("cannot make a temporary file: {error}"))
                }
                SpoolError::Write(error) => failed(error),
            })?,
        }
    }
    let kept = spool.finish();
    let len = kept.len();
    let open = Arc::new(move || Ok(Box::new(kept.reader()) as Box<dyn Read + Send>));
    Ok(Attachment { name, media_type: None, len, open })
}

/// Whether the file begins with UTF-8.
fn is_utf8(file: &File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.take(SNIFF).read_to_end(&mut start)?;
    // A character may be cut at the end of what was read.
    Ok(match std::str::from_utf8(&start) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && start.len() as u64 == SNIFF,
    })
}

#[cfg(test)]
mod tests;
