//! `packetboat domain`: whose mail comes here.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use packetboat_server::admin::{Domain, DomainRequest, Item};

use super::manage::{ManageArgs, exit_codes, manage, otherwise};

/// Add, list and remove the domains whose mail is delivered here, and say what holds for all their names.
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
    /// Show all about a domain
    Show {
        /// Such as example.org
        domain: String,
    },
    /// Take mail for a domain no longer; it must have no addresses and aliases any more
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
    /// Say who gets mail to names that are nobody's, or that it is refused
    CatchAll {
        /// Such as example.org
        domain: String,
        #[command(flatten)]
        who: Who,
    },
    /// Say who gets mail to abuse, hostmaster, info, noc, security and webmaster, where nobody has these
    ///
    /// Postmaster always works and is apart from this: see `packetboat domain postmaster`.
    Generic {
        /// Such as example.org
        domain: String,
        #[command(flatten)]
        who: Who,
    },
    /// Make a domain another name of one that is here: anna@one is anna@other, whoever that is
    ///
    /// The domain is added if it is not here yet. Addresses and aliases of its own go before.
    Alias {
        /// The other name, such as example.net
        domain: String,
        /// The domain it means, such as example.org
        #[arg(required_unless_present = "none", conflicts_with = "none")]
        of: Option<String>,
        /// A domain of its own again
        #[arg(long)]
        none: bool,
    },
    /// Say what separates user and tag in addresses such as anna+lists@example.org
    Separator {
        /// Such as example.org
        domain: String,
        /// One of the characters + - = _ . # or 'none'
        #[arg(required_unless_present = "default", conflicts_with = "default")]
        separator: Option<String>,
        /// As accounts.subaddress_separator in the settings says
        #[arg(long)]
        default: bool,
    },
    /// Say whether mail that an alias sends on to other servers gets a return path of this domain (SRS)
    ///
    /// It does, if nothing is said: without it, many servers refuse such mail, because by SPF it is not for this server to
    /// send mail of the sender's domain. Bounces come back by it and go to the sender.
    Srs {
        /// Such as example.org
        domain: String,
        /// Whether
        #[arg(value_parser = ["on", "off"])]
        state: String,
    },
}

/// Somebody or nobody.
#[derive(Debug, Args)]
struct Who {
    /// Address of who gets it
    #[arg(required_unless_present = "none", conflicts_with = "none")]
    address: Option<String>,
    /// Nobody from now on
    #[arg(long)]
    none: bool,
}

pub(crate) fn run(args: DomainArgs) -> ExitCode {
    use DomainRequest as R;
    let (request, say): (R, fn(&Domain) -> String) = match args.command {
        Command::Add { domain } => (R::Add { domain }, |it| format!("domain {} added", it.domain)),
        Command::List => (R::List, row),
        Command::Show { domain } => (R::Show { domain }, whole),
        Command::Remove { domain } => (R::Remove { domain }, row),
        Command::Postmaster { domain, account } => (R::Postmaster { domain, account }, row),
        Command::CatchAll { domain, who } => (R::CatchAll { domain, target: who.address }, whole),
        Command::Generic { domain, who } => (R::Generic { domain, target: who.address }, whole),
        Command::Alias { domain, of, .. } => (R::SameAs { domain, other: of }, whole),
        Command::Separator { domain, separator, .. } => (R::Separator { domain, separator }, whole),
        Command::Srs { domain, state } => (R::Srs { domain, on: state == "on" }, whole),
    };
    let say = |item: &Item| match item {
        Item::Domain(domain) => say(domain),
        Item::Done(done) => format!("{}: {}", done.done, done.what.as_deref().unwrap_or_default()),
        other => otherwise(other),
    };
    manage(&args.manage, async |desk| desk.ask(request, say).await)
}

fn row(domain: &Domain) -> String {
    match (&domain.same_as, &domain.postmaster) {
        (Some(other), _) => format!("{:<40} another name of {other}", domain.domain),
        (None, Some(postmaster)) => format!("{:<40} postmaster {postmaster}", domain.domain),
        (None, None) => format!("{:<40} no accounts yet", domain.domain),
    }
}

fn whole(domain: &Domain) -> String {
    let or = |value: &Option<String>, without: &str| value.clone().unwrap_or_else(|| without.to_owned());
    let separator = match domain.separator {
        Some(separator) => format!("user{separator}tag"),
        None => "none".to_owned(),
    };
    let srs = if domain.srs { "a return path of this domain" } else { "the sender's return path" };
    let rows = [
        ("domain", domain.domain.clone()),
        ("means", or(&domain.same_as, "itself")),
        ("postmaster", or(&domain.postmaster, "the server's")),
        ("generic names", or(&domain.generic, "nobody in particular")),
        ("other names", or(&domain.catch_all, "refused")),
        ("tags", separator),
        ("forwarded with", srs.to_owned()),
        ("since", domain.created_at.strftime("%Y-%m-%d").to_string()),
    ];
    rows.map(|(name, value)| format!("{name:<14} {value}")).join("\n")
}
