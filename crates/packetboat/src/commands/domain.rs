//! `packetboat domain`: whose mail comes here.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use packetboat_server::admin::{DomainRequest, Item, Request};

use super::manage::{ManageArgs, exit_codes, manage, otherwise};

/// Add, list and remove the domains whose mail is delivered here.
///
/// Works while the server runs, through its local socket, and when it does not.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct DomainArgs {
    #[command(flatten)]
    manage: ManageArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take mail for a domain from now on
    Add {
        /// Such as example.org
        domain: String,
    },
    /// Show all domains
    List,
    /// Take mail for a domain no longer; it must have no addresses any more
    Remove {
        /// Such as example.org
        domain: String,
    },
    /// Say who gets the mail for postmaster; otherwise it is the domain's first account
    Postmaster {
        /// Such as example.org
        domain: String,
        /// Login name of who gets it
        account: String,
    },
}

pub(crate) fn run(args: DomainArgs) -> ExitCode {
    let (request, added) = match args.command {
        Command::Add { domain } => (DomainRequest::Add { domain }, true),
        Command::List => (DomainRequest::List, false),
        Command::Remove { domain } => (DomainRequest::Remove { domain }, false),
        Command::Postmaster { domain, account } => (DomainRequest::Postmaster { domain, account }, false),
    };
    let say = |item: &Item| match item {
        Item::Domain(domain) if added => format!("domain {} added", domain.domain),
        Item::Domain(domain) => match &domain.postmaster {
            Some(postmaster) => format!("{:<40} postmaster {postmaster}", domain.domain),
            None => format!("{:<40} no accounts yet", domain.domain),
        },
        Item::Done(done) => format!("{}: {}", done.done, done.what.as_deref().unwrap_or_default()),
        other => otherwise(other),
    };
    manage(&args.manage, async |desk| desk.ask(Request::Domain(request), say).await)
}
