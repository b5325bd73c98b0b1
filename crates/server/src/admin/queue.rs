//! Carrying out requests about mail on its way to other servers.

use jiff::Timestamp;
use packetboat_mail::outbound::NextHop;
use packetboat_mail::queue::admin::{ActError, Acted, Action, Entry, Filter, LIST_MAX, Who};
use packetboat_mail::queue::{Attempt, Stage, Verified};
use packetboat_store::{QueueId, ReadError};
use serde::{Deserialize, Serialize};

use super::error::{AdminError, ErrorKind};
use super::execute::{Context, Items};
use super::item::Item;

/// Something to be done with the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueRequest {
    /// Tell what is in it.
    List {
        /// Which of it.
        which: Which,
        /// No more than so many entries; `None`: all.
        limit: Option<u64>,
    },
    /// Tell where mail waits to go.
    Destinations,
    /// Let it wait until it is released.
    Hold(Which),
    /// Let it go on.
    Release(Which),
    /// Take it out.
    Cancel {
        /// Which of it.
        which: Which,
        /// Whether the senders hear of it.
        tell: bool,
    },
    /// Try it now.
    Retry(Which),
    /// Send it another way.
    Reroute {
        /// Which of it.
        which: Which,
        /// The next hop, such as `mx:example.org` or `host:mail.example.org:25`.
        to: String,
    },
}

/// Which mail is meant: that to which everything applies that is said here. Nothing said means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Which {
    /// By entry's number, or message's name in the log and in `Received` fields.
    pub id: Option<String>,
    /// By next hop, such as `mx:example.org`; a domain alone means its mail exchangers.
    pub destination: Option<String>,
    /// By recipient: an address or a domain.
    pub recipient: Option<String>,
    /// By sender: an address, a domain, or `<>`.
    pub sender: Option<String>,
    /// What is held, or what is not.
    pub held: Option<bool>,
}

/// One recipient's copy of a message in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEntry {
    /// Its number.
    pub id: u64,
    /// Its message, as the log names it.
    pub message: Option<String>,
    /// Who sent it; nobody: the null sender, or it cannot be read.
    pub sender: Option<String>,
    /// Who shall get it.
    pub recipient: Option<String>,
    /// Where it goes next.
    pub destination: String,
    /// Octets of the message.
    pub octets: u64,
    /// When it came.
    pub arrived_at: Option<Timestamp>,
    /// `waiting`, `held` or `carried`.
    pub state: String,
    /// When it is tried next at the earliest.
    pub due_at: Option<Timestamp>,
    /// How often it was tried.
    pub attempts: u32,
    /// What came of it last.
    pub last: Option<QueueAttempt>,
    /// The message's Message-ID.
    pub message_id: Option<String>,
    /// Who submitted it.
    pub login: Option<String>,
    /// It is a notice itself.
    pub notice: bool,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueAttempt {
    /// When.
    pub at: Option<Timestamp>,
    /// The server.
    pub host: Option<String>,
    /// Its address.
    pub address: Option<std::net::IpAddr>,
    /// How far it went.
    pub stage: String,
    /// What the server answered.
    pub reply: Option<String>,
    /// What happened, in plain words.
    pub text: String,
    /// TLS version, cipher suite, and by what the server was known.
    pub tls: Option<String>,
}

/// Where mail waits to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDestination {
    /// The next hop.
    pub destination: String,
    /// Recipients' copies that go there.
    pub entries: u64,
    /// It is left alone until then, because it could not be reached.
    pub resting_until: Option<Timestamp>,
    /// When something is to be done for it; `None`: all of it is held or under way.
    pub wake_at: Option<Timestamp>,
    /// Why it could not be reached.
    pub trouble: Option<QueueAttempt>,
}

/// What was done with entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueActed {
    /// What.
    pub done: String,
    /// With how many.
    pub entries: u64,
    /// How many were left alone because they are under way at this moment.
    pub under_way: u64,
}

pub(super) async fn queue(request: QueueRequest, context: &Context, items: &Items) -> Result<(), AdminError> {
    let (which, action, done) = match request {
        QueueRequest::List { which, limit } => return list(&which, limit, context, items).await,
        QueueRequest::Destinations => {
            for (destination, trouble) in context.queue.destinations(LIST_MAX).await.map_err(unreadable)? {
                let told = QueueDestination {
                    destination: destination.name,
                    entries: destination.rows,
                    resting_until: moment(destination.resting_until),
                    wake_at: moment(destination.wake_at),
                    trouble: trouble.map(attempt),
                };
                items.tell(Item::QueueDestination(Box::new(told))).await?;
            }
            return Ok(());
        }
        QueueRequest::Hold(which) => (which, Action::Hold, "held"),
        QueueRequest::Release(which) => (which, Action::Release, "released"),
        QueueRequest::Cancel { which, tell } => (which, Action::Cancel { tell }, "cancelled"),
        QueueRequest::Retry(which) => (which, Action::Retry, "to be tried now"),
        QueueRequest::Reroute { which, to } => (which, Action::Reroute(next_hop(&to)?), "rerouted"),
    };
    let Acted { rows, busy } =
        context.queue.act(&filter(&which)?, &action).await.map_err(|error| match error {
            ActError::Read(error) => unreadable(error),
            ActError::Commit(error) => AdminError::new(ErrorKind::Io, error.to_string()),
        })?;
    if rows == 0 && busy == 0 && which.id.is_some() {
        return Err(AdminError::new(ErrorKind::Data, "there is nothing of that name in the queue"));
    }
    let acted = QueueActed { done: done.to_owned(), entries: rows, under_way: busy };
    items.tell(Item::QueueActed(acted)).await
}

async fn list(which: &Which, limit: Option<u64>, context: &Context, items: &Items) -> Result<(), AdminError> {
    let filter = filter(which)?;
    let mut left = limit.unwrap_or(u64::MAX);
    let mut after = QueueId(0);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(LIST_MAX).min(PAGE);
        let page = context.queue.list(&filter, after, wanted).await.map_err(unreadable)?;
        for found in page.entries {
            left = left.saturating_sub(1);
            items.tell(Item::QueueEntry(Box::new(entry(found)))).await?;
        }
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    Ok(())
}

/// Entries read at a time.
const PAGE: usize = 200;

fn filter(which: &Which) -> Result<Filter, AdminError> {
    let mut filter = Filter { held: which.held, ..Filter::default() };
    if let Some(id) = &which.id {
        match (id.parse::<u64>(), id.parse()) {
            (Ok(row), _) => filter.row = Some(QueueId(row)),
            (_, Ok(tag)) => filter.tag = Some(tag),
            _ => {
                let message = format!("'{id}' is neither an entry's number nor a message's name in the log");
                return Err(AdminError::new(ErrorKind::Data, message));
            }
        }
    }
    filter.destination = which.destination.as_deref().map(next_hop).transpose()?;
    filter.recipient = which.recipient.as_deref().map(who).transpose()?;
    filter.sender = which.sender.as_deref().map(who).transpose()?;
    Ok(filter)
}

fn next_hop(text: &str) -> Result<NextHop, AdminError> {
    if let Ok(hop) = text.parse() {
        return Ok(hop);
    }
    match text.parse() {
        Ok(domain) if !text.contains(':') => Ok(NextHop::Mx(domain)),
        _ => {
            let message = "a next hop is mx:DOMAIN, host:NAME:PORT, smarthost:NAME, lmtp:NAME or peer:NAME";
            Err(AdminError::new(ErrorKind::Data, format!("'{text}': {message}")))
        }
    }
}

fn who(text: &str) -> Result<Who, AdminError> {
    let wrong = |error: packetboat_message::InvalidAddress| {
        AdminError::new(ErrorKind::Data, format!("'{text}' is neither an address nor a domain: {error}"))
    };
    match text {
        "" | "<>" => Ok(Who::Nobody),
        text if text.starts_with('@') => {
            Ok(Who::Domain(text.trim_start_matches('@').parse().map_err(wrong)?))
        }
        text if text.contains('@') => Ok(Who::Address(text.parse().map_err(wrong)?)),
        text => Ok(Who::Domain(text.parse().map_err(wrong)?)),
    }
}

fn entry(entry: Entry) -> QueueEntry {
    let state = match (entry.carried, entry.held) {
        (true, _) => "carried",
        (false, true) => "held",
        (false, false) => "waiting",
    };
    let envelope = entry.envelope;
    let rcpt = entry.recipient;
    QueueEntry {
        id: entry.id.0,
        message: envelope.as_ref().map(|envelope| envelope.tag.to_string()),
        sender: envelope.as_ref().and_then(|envelope| envelope.sender.as_ref()).map(ToString::to_string),
        recipient: rcpt.as_ref().map(|rcpt| rcpt.address.to_string()),
        destination: entry.destination,
        octets: entry.octets,
        arrived_at: envelope.as_ref().and_then(|envelope| moment(envelope.arrived_at)),
        state: state.to_owned(),
        due_at: moment(entry.due_at),
        attempts: rcpt.as_ref().map_or(0, |rcpt| rcpt.attempts),
        last: rcpt.and_then(|rcpt| rcpt.last).map(attempt),
        message_id: envelope.as_ref().and_then(|envelope| envelope.message_id.clone()),
        login: envelope.as_ref().and_then(|envelope| envelope.login.clone()),
        notice: envelope.as_ref().is_some_and(|envelope| envelope.notice),
    }
}

fn attempt(attempt: Attempt) -> QueueAttempt {
    QueueAttempt {
        at: moment(attempt.at),
        host: attempt.host,
        address: attempt.address,
        stage: stage(attempt.stage).to_owned(),
        reply: attempt.reply.map(|reply| reply.to_string()),
        text: attempt.text,
        tls: attempt.tls.map(|tls| {
            let by = match tls.verified {
                Verified::No => "not verified",
                Verified::Pkix => "verified by its certificate",
                Verified::Dane => "verified by DANE",
                Verified::Sts => "verified by MTA-STS",
            };
            format!("{} {}, {by}", tls.version, tls.cipher)
        }),
    }
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Lookup => "lookup",
        Stage::Connect => "connect",
        Stage::Greeting => "greeting",
        Stage::Hello => "hello",
        Stage::Tls => "tls",
        Stage::Auth => "auth",
        Stage::Sender => "sender",
        Stage::Recipient => "recipient",
        Stage::Data => "data",
        Stage::End => "end",
        Stage::Here => "here",
    }
}

/// A moment, where it is one: the ends of time are none.
fn moment(microseconds: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(microseconds).ok().filter(|at| at.as_second() > 0)
}

fn unreadable(error: ReadError) -> AdminError {
    AdminError::new(ErrorKind::Io, error.to_string())
}
