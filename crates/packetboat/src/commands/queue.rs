//! `packetboat queue`: mail on its way to other servers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use packetboat_server::admin::{Item, QueueAttempt, QueueEntry, QueueRequest, Which};

use super::manage::{Desk, ManageArgs, exit_codes, manage, octets, otherwise};

/// Show mail that waits for other servers, hold it, let it go, try it now, send it another way or take it out
///
/// Works while the server runs, through its local socket, and when it does not.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct QueueArgs {
    #[command(flatten)]
    manage: ManageArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what waits, one line for each recipient
    List {
        #[command(flatten)]
        which: WhichArgs,
        /// No more than so many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Show all about an entry or a message
    Show {
        /// An entry's number, or the name of a message in the log
        id: String,
    },
    /// Show where mail waits to go, and what keeps it
    Destinations,
    /// Let mail wait until it is released
    Hold {
        #[command(flatten)]
        which: Chosen,
    },
    /// Let mail go on that was held
    Release {
        #[command(flatten)]
        which: Chosen,
    },
    /// Take mail out; its senders are told
    Cancel {
        #[command(flatten)]
        which: Chosen,
        /// Tell nobody
        #[arg(long)]
        silently: bool,
    },
    /// Try mail now, whenever it would be its turn
    Retry {
        #[command(flatten)]
        which: Chosen,
    },
    /// Send mail another way: to mx:DOMAIN, host:NAME:PORT, smarthost:NAME, lmtp:NAME or peer:NAME
    Reroute {
        /// The next hop; a domain alone means its mail exchangers
        #[arg(long, value_name = "NEXT-HOP")]
        to: String,
        #[command(flatten)]
        which: Chosen,
    },
}

/// Which mail, where none need be named.
#[derive(Debug, Args)]
struct WhichArgs {
    /// For this next hop, such as mx:example.org or example.org
    #[arg(long, value_name = "NEXT-HOP")]
    destination: Option<String>,
    /// For this recipient: an address or a domain
    #[arg(long, value_name = "WHO")]
    recipient: Option<String>,
    /// From this sender: an address, a domain, or <>
    #[arg(long, value_name = "WHO")]
    sender: Option<String>,
    /// Only what is held
    #[arg(long, conflicts_with = "not_held")]
    held: bool,
    /// Only what is not held
    #[arg(long)]
    not_held: bool,
}

/// Which mail, where something has to be said.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Chosen {
    /// An entry's number, or the name of a message in the log
    id: Option<String>,
    /// For this next hop, such as mx:example.org or example.org
    #[arg(long, value_name = "NEXT-HOP")]
    destination: Option<String>,
    /// For this recipient: an address or a domain
    #[arg(long, value_name = "WHO")]
    recipient: Option<String>,
    /// From this sender: an address, a domain, or <>
    #[arg(long, value_name = "WHO")]
    sender: Option<String>,
    /// All there is
    #[arg(long)]
    all: bool,
}

impl WhichArgs {
    fn which(self) -> Which {
        let held = (self.held || self.not_held).then_some(self.held);
        Which {
            id: None,
            destination: self.destination,
            recipient: self.recipient,
            sender: self.sender,
            held,
        }
    }
}

impl Chosen {
    fn which(self) -> Which {
        let Chosen { id, destination, recipient, sender, all: _ } = self;
        Which { id, destination, recipient, sender, held: None }
    }
}

pub(crate) fn run(args: QueueArgs) -> ExitCode {
    let QueueArgs { manage: how, command } = args;
    manage(&how, async |desk| match command {
        Command::List { which, limit } => {
            desk.ask(QueueRequest::List { which: which.which(), limit }, say).await
        }
        Command::Show { id } => {
            let which = Which { id: Some(id), ..Which::default() };
            desk.ask(QueueRequest::List { which, limit: None }, show).await
        }
        Command::Destinations => desk.ask(QueueRequest::Destinations, say).await,
        Command::Hold { which } => desk.ask(QueueRequest::Hold(which.which()), say).await,
        Command::Release { which } => desk.ask(QueueRequest::Release(which.which()), say).await,
        Command::Cancel { which, silently } => {
            desk.ask(QueueRequest::Cancel { which: which.which(), tell: !silently }, say).await
        }
        Command::Retry { which } => desk.ask(QueueRequest::Retry(which.which()), say).await,
        Command::Reroute { to, which } => {
            desk.ask(QueueRequest::Reroute { which: which.which(), to }, say).await
        }
    })
}

/// `mailq`: the queue, and a last line that says how much it is.
pub(crate) fn mailq(config: Option<PathBuf>, data: Option<PathBuf>) -> ExitCode {
    manage(&ManageArgs::of(config, data), async |desk: &mut Desk| {
        let mut count = 0_u64;
        let request = QueueRequest::List { which: Which::default(), limit: None };
        desk.ask(request, |item| {
            count += 1;
            show(item)
        })
        .await?;
        desk.line(&match count {
            0 => "Mail queue is empty".to_owned(),
            count => format!("-- {count} in the queue"),
        });
        Ok(())
    })
}

/// `sendmail -q`.
pub(crate) fn flush(config: Option<PathBuf>, data: Option<PathBuf>) -> ExitCode {
    manage(&ManageArgs::of(config, data), async |desk: &mut Desk| {
        desk.look(QueueRequest::Retry(Which { held: Some(false), ..Which::default() })).await.map(drop)
    })
}

/// In a line.
fn say(item: &Item) -> String {
    match item {
        Item::QueueEntry(entry) => line(entry),
        Item::QueueDestination(it) => {
            let mut out = format!("{:<40} {:>8} waiting", it.destination, it.entries);
            if let Some(until) = it.resting_until {
                out.push_str(&format!(", rests until {}", second(until)));
            }
            if let Some(trouble) = &it.trouble {
                out.push_str(&format!(": {}", why(trouble)));
            }
            out
        }
        Item::QueueActed(acted) => {
            let mut out = format!("{} {}", acted.entries, acted.done);
            if acted.under_way > 0 {
                out.push_str(&format!(
                    "; {} are under way at this moment and were left alone",
                    acted.under_way
                ));
            }
            out
        }
        other => otherwise(other),
    }
}

fn line(entry: &QueueEntry) -> String {
    let sender = entry.sender.as_deref().unwrap_or("<>");
    let recipient = entry.recipient.as_deref().unwrap_or("?");
    let message = entry.message.as_deref().unwrap_or("?");
    let mut out = format!(
        "{:<8} {message} {:<8} {:>10} {sender} -> {recipient} by {}",
        entry.id,
        entry.state,
        octets(entry.octets),
        entry.destination
    );
    if let Some(last) = &entry.last {
        out.push_str(&format!(": {}", why(last)));
    }
    out
}

/// In full.
fn show(item: &Item) -> String {
    let Item::QueueEntry(entry) = item else { return say(item) };
    let mut out = format!("entry          {}\n", entry.id);
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            out.push_str(&format!("  {name:<12} {value}\n"));
        }
    };
    row("message", entry.message.clone());
    row("Message-ID", entry.message_id.clone());
    row("from", Some(entry.sender.clone().unwrap_or_else(|| "<>".to_owned())));
    row("by", entry.login.clone());
    row("to", entry.recipient.clone());
    row("next hop", Some(entry.destination.clone()));
    row("size", Some(octets(entry.octets)));
    row("came", entry.arrived_at.map(second));
    row("state", Some(entry.state.clone()));
    row("next try", entry.due_at.filter(|_| entry.state == "waiting").map(second));
    row("tried", (entry.attempts > 0).then(|| format!("{} times", entry.attempts)));
    if let Some(last) = &entry.last {
        row("last tried", last.at.map(second));
        row(
            "at",
            last.host.clone().map(|host| match last.address {
                Some(address) => format!("{host} ({address})"),
                None => host,
            }),
        );
        row("TLS", last.tls.clone());
        row("outcome", Some(why(last)));
    }
    out.truncate(out.trim_end().len());
    out
}

fn why(attempt: &QueueAttempt) -> String {
    match (&attempt.reply, attempt.text.as_str()) {
        (Some(reply), "") => reply.clone(),
        (Some(reply), text) => format!("{text} ({reply})"),
        (None, "") => format!("stopped at {}", attempt.stage),
        (None, text) => text.to_owned(),
    }
}

/// To the second.
fn second(at: jiff::Timestamp) -> String {
    let text: String = at.to_string().chars().take(19).collect();
    format!("{text}Z")
}
