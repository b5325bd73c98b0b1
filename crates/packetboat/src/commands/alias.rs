//! `packetboat alias`: names behind which other addresses stand.

mod import;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use packetboat_server::admin::{AdminError, Alias, AliasRequest, ErrorKind, Item, Way};

use super::manage::{Desk, ManageArgs, exit_codes, manage, otherwise};

/// Add, show, change and remove aliases: addresses whose mail goes to other addresses.
///
/// A target is an address here, another alias, or an address anywhere else. With one domain only, the part before the @
/// will do. Works while the server runs, through its local socket, and when it does not; what changes is so from the next
/// message on. For what concerns all names of a domain (catch-all, generic names, other names of a domain), see
/// `packetboat domain`.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct AliasArgs {
    #[command(flatten)]
    manage: ManageArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let an address lead to others too: `alias add info@example.org anna@example.org ben@elsewhere.example`
    ///
    /// An address that an account has can be an alias, too, if it is among its own targets: the account keeps its mail, and
    /// the others get a copy.
    Add {
        /// The address
        alias: String,
        /// Where its mail goes
        #[arg(required = true, value_name = "TARGET")]
        targets: Vec<String>,
        /// Take targets that nobody has yet
        #[arg(long)]
        missing_ok: bool,
    },
    /// Remove an alias, or only some of its targets
    Remove {
        /// The address
        alias: String,
        /// Only these targets
        #[arg(value_name = "TARGET")]
        targets: Vec<String>,
    },
    /// Show all aliases
    List {
        /// Only those of this domain
        #[arg(long)]
        domain: Option<String>,
    },
    /// Show where mail to an address goes, and by which way; it may be any address
    Show {
        /// The address
        alias: String,
    },
    /// Keep an address for a user who has moved, whether or not there is an account
    ///
    /// Mail is sent on to the new address, and senders are told of it (reply 251). With --refuse it is not sent on, and
    /// senders are told to write to the new address (reply 551). `alias remove` ends either.
    Move {
        /// The old address
        alias: String,
        /// The new one
        to: String,
        /// Take no mail for the old address any more
        #[arg(long)]
        refuse: bool,
    },
    /// Bring in a file of aliases as sendmail and Postfix have it, such as /etc/aliases
    ///
    /// An alias that is here already leads where the file says. Files named by :include: are read now, once. What leads
    /// into programs and files is told and left out.
    Import {
        /// The file, or - for standard input
        file: PathBuf,
        /// The domain of names without one; without it, the one domain there is
        #[arg(long)]
        domain: Option<String>,
        /// Change nothing: only tell what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Sign the return paths of forwarded mail with a new key; those made with the last two stay good
    RotateKey,
}

pub(crate) fn run(args: AliasArgs) -> ExitCode {
    let command = args.command;
    manage(&args.manage, async |desk| carry_out(command, desk).await)
}

/// `sendmail -bv`.
pub(crate) fn verify(config: Option<PathBuf>, data: Option<PathBuf>, names: Vec<String>) -> ExitCode {
    manage(&ManageArgs::of(config, data), async |desk: &mut Desk| {
        let mut worst = Ok(());
        for name in names {
            match desk.ask(AliasRequest::Show { name: name.clone() }, row).await {
                // It would be sent on.
                Err(error) if error.kind == ErrorKind::NoDomain => desk.line(&format!("{name} (elsewhere)")),
                Err(error) if error.kind == ErrorKind::NoUser => {
                    desk.line(&format!("{name}: {error}"));
                    worst = Err(error);
                }
                asked => asked?,
            }
        }
        worst
    })
}

async fn carry_out(command: Command, desk: &mut Desk) -> Result<(), AdminError> {
    use AliasRequest as R;
    match command {
        Command::Add { alias, targets, missing_ok } => {
            desk.ask(R::Add { name: alias, targets, missing_ok }, row).await
        }
        Command::Remove { alias, targets } => desk.ask(R::Remove { name: alias, targets }, row).await,
        Command::List { domain } => desk.ask(R::List { domain }, row).await,
        Command::Show { alias } => desk.ask(R::Show { name: alias }, row).await,
        Command::Move { alias, to, refuse } => desk.ask(R::Move { name: alias, to, refuse }, row).await,
        Command::Import { file, domain, dry_run } => import::run(desk, &file, domain, dry_run).await,
        Command::RotateKey => desk.ask(R::RotateKey, row).await,
    }
}

fn row(item: &Item) -> String {
    match item {
        Item::Alias(alias) => about(alias),
        Item::Way(way) => taken(way),
        Item::Done(done) => match &done.what {
            Some(what) => format!("{}: {what}", done.done),
            None => done.done.clone(),
        },
        other => otherwise(other),
    }
}

fn about(alias: &Alias) -> String {
    let (name, targets) = (&alias.alias, alias.targets.join(", "));
    match alias.moved.as_deref() {
        None => format!("{name:<40} -> {targets}"),
        Some("refuse") => format!("{name:<40} has moved to {targets}; mail is refused"),
        Some(_) => format!("{name:<40} has moved to {targets}; mail follows"),
    }
}

/// A way, such as `info@example.org -> sales@example.org -> anna@example.org (account anna@example.org)`.
fn taken(way: &Way) -> String {
    let mut text = way.through.join(" -> ");
    if !text.is_empty() {
        text.push_str(" -> ");
    }
    text.push_str(&way.address);
    let tag = way.tag.as_ref().map_or_else(String::new, |tag| format!(", tag {tag}"));
    match (&way.problem, &way.account) {
        (Some(problem), _) => text.push_str(&format!(": {problem}")),
        (None, Some(account)) => text.push_str(&format!(" (account {account}{tag})")),
        (None, None) => text.push_str(" (elsewhere)"),
    }
    text
}
