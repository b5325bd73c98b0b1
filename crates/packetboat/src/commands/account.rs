//! `packetboat account`: who is here.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use packetboat_server::admin::{
    Account, AccountRequest, AdminError, ErrorKind, Item, NewPassword, Quota, QuotaUse, Service,
};
use packetboat_server::settings::Size;

use super::account_import::{self, ImportArgs};
use super::manage::{Desk, ManageArgs, PasswordArgs, exit_codes, first_line, manage, octets, otherwise};

/// Add, show, change and remove accounts.
///
/// An account is one person or device under one name everywhere. It is named by its primary address, which is also its
/// login name; with one domain only, the part before the @ will do. Works while the server runs, through its local
/// socket, and when it does not.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct AccountArgs {
    #[command(flatten)]
    manage: ManageArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an account, with its first mailboxes
    Add {
        /// Primary address, such as alice@example.org
        account: String,
        /// A further address; may be given several times
        #[arg(long, value_name = "ADDRESS")]
        alias: Vec<String>,
        /// How people call it, such as 'Alice Liddell'
        #[arg(long)]
        name: Option<String>,
        /// How much mail it may keep, such as '5 GiB'
        #[arg(long, value_name = "SIZE")]
        quota: Option<Size>,
        /// How many messages it may keep
        #[arg(long, value_name = "N")]
        quota_messages: Option<u64>,
        #[command(flatten)]
        password: PasswordArgs,
        /// Without a password: nobody can log in until it has one
        #[arg(long, conflicts_with_all = ["password_stdin", "hash_stdin"])]
        no_password: bool,
    },
    /// Show all accounts
    List {
        /// Only those with an address in this domain
        #[arg(long)]
        domain: Option<String>,
    },
    /// Show all about an account
    Show {
        /// Login name
        account: String,
    },
    /// Give an account another password; app passwords stay as they are
    Passwd {
        /// Login name
        account: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Remove an account with all its mail
    Remove {
        /// Login name
        account: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Let nobody log in; mail still comes in
    Disable {
        /// Login name
        account: String,
    },
    /// Let people log in again
    Enable {
        /// Login name
        account: String,
    },
    /// Set how people call an account, or nothing to clear it
    Name {
        /// Login name
        account: String,
        /// Such as 'Alice Liddell'
        name: Option<String>,
    },
    /// Show or set how much an account may keep
    Quota {
        /// Login name
        account: String,
        /// All its mail together, such as '5 GiB', or 'none'
        #[arg(long, value_name = "SIZE", value_parser = limit::<Size>)]
        size: Option<Limit<Size>>,
        /// How many messages, or 'none'
        #[arg(long, value_name = "N", value_parser = limit::<u64>)]
        messages: Option<Limit<u64>>,
    },
    /// Count an account's files anew, at its next log-in to them
    ///
    /// For when files were put into its directory, or taken out of it, by other programs. What an account may keep in
    /// files is said in the settings: [files] and [[files_for]].
    Recount {
        /// Login name
        account: String,
    },
    /// Give an account further addresses, or take them away
    #[command(subcommand)]
    Address(AddressCommand),
    /// Bring in the users of another FTP server: vsftpd, ProFTPD or pure-ftpd
    ///
    /// They log in with the passwords they have. A hash of another kind than ours is replaced at the first log-in with the right
    /// password. Who is here already stays as they are, so an import that was broken off goes on when it is run again.
    Import(Box<ImportArgs>),
    /// Passwords for single programs or devices, made here and revoked one by one
    #[command(subcommand)]
    AppPassword(AppPasswordCommand),
    /// The secret for APOP, by which old POP3 programs log in without sending a password
    ///
    /// APOP needs the secret itself on both sides, so it is kept readable in the store: whoever reads the store or a
    /// backup of it can log in with it. It is not the password, and must not be the same.
    ApopSecret {
        /// Login name
        account: String,
        /// Take the secret from standard input, its first line, instead of making one
        #[arg(long = "password-stdin", conflicts_with = "remove")]
        stdin: bool,
        /// Be without one again
        #[arg(long)]
        remove: bool,
    },
}

#[derive(Debug, Subcommand)]
enum AddressCommand {
    /// Mail to this address goes to the account from now on
    Add {
        /// Login name
        account: String,
        /// The further address
        address: String,
    },
    /// Mail to this address is nobody's from now on
    Remove {
        /// Login name
        account: String,
        /// The address
        address: String,
    },
}

#[derive(Debug, Subcommand)]
enum AppPasswordCommand {
    /// Make one, and show it this once
    Add {
        /// Login name
        account: String,
        /// What it is for, such as 'phone'
        name: String,
        /// Good for these only, with commas between: submission, pop3, imap
        #[arg(long = "for", value_name = "SERVICES", value_delimiter = ',')]
        services: Vec<Service>,
    },
    /// Show which there are
    List {
        /// Login name
        account: String,
    },
    /// Make one useless from now on
    Revoke {
        /// Login name
        account: String,
        /// Its name
        name: String,
    },
}

/// A limit to be set.
#[derive(Debug, Clone, Copy)]
enum Limit<T> {
    None,
    To(T),
}

fn limit<T: std::str::FromStr>(text: &str) -> Result<Limit<T>, T::Err> {
    match text {
        "none" => Ok(Limit::None),
        text => text.parse().map(Limit::To),
    }
}

pub(crate) fn run(args: AccountArgs) -> ExitCode {
    let command = args.command;
    manage(&args.manage, async |desk| carry_out(command, desk).await)
}

async fn carry_out(command: Command, desk: &mut Desk) -> Result<(), AdminError> {
    use AccountRequest as R;
    match command {
        Command::Add { account, alias, name, quota, quota_messages, password, no_password } => {
            let password =
                if no_password { None } else { Some(password.get(&format!("Password for {account}"))?) };
            let quota = Quota { octets: quota.map(|Size(octets)| octets), messages: quota_messages };
            let add = R::Add { login: account, aliases: alias, name, password, quota };
            desk.ask(add, |item| about(item, |it| format!("account {} added", it.login))).await
        }
        Command::List { domain } => {
            let list = R::List { domain };
            desk.ask(list, |item| about(item, row)).await
        }
        Command::Show { account } => desk.ask(R::Show { account }, |item| about(item, whole)).await,
        Command::Passwd { account, password } => {
            // Before anybody types a password for nobody.
            desk.look(R::Show { account: account.clone() }).await?;
            let password: NewPassword = password.get(&format!("New password for {account}"))?;
            let change = R::Password { account, password };
            desk.ask(change, |item| about(item, |it| format!("{} has a new password", it.login))).await
        }
        Command::Remove { account, yes } => {
            if !yes {
                let shown = shown(desk, &account).await?;
                let (messages, login) = (shown.messages.used, &shown.login);
                desk.confirm(&format!("This removes {login} and its {messages} messages for good."), login)?;
            }
            desk.ask(R::Remove { account }, done).await
        }
        Command::Disable { account } => {
            let disable = R::Disable { account, disabled: true };
            let say =
                |it: &Account| format!("nobody can log in as {} any more; its mail still comes in", it.login);
            desk.ask(disable, |item| about(item, say)).await
        }
        Command::Enable { account } => {
            let enable = R::Disable { account, disabled: false };
            desk.ask(enable, |item| about(item, |it| format!("{} can log in again", it.login))).await
        }
        Command::Name { account, name } => {
            desk.ask(R::Name { account, name }, |item| about(item, whole)).await
        }
        Command::Quota { account, size, messages } => quota(desk, account, size, messages).await,
        Command::Recount { account } => desk.ask(R::RecountFiles { account }, done).await,
        Command::Address(AddressCommand::Add { account, address }) => {
            desk.ask(R::AddAddress { account, address }, |item| about(item, addresses)).await
        }
        Command::Address(AddressCommand::Remove { account, address }) => {
            desk.ask(R::RemoveAddress { account, address }, |item| about(item, addresses)).await
        }
        Command::Import(args) => account_import::run(*args, desk).await,
        Command::AppPassword(command) => app_password(command, desk).await,
        Command::ApopSecret { account, stdin: false, remove: false } => {
            let items = desk.look(R::GenerateApopSecret { account }).await?;
            desk.note("The secret for APOP, which is kept readable in the store, is shown this once:");
            desk.tell(&items, secret);
            Ok(())
        }
        Command::ApopSecret { account, stdin, .. } => {
            let given = if stdin { Some(first_line()?) } else { None };
            let say = |it: &Account| match it.apop {
                true => format!(
                    "{} can log in by APOP with this secret, which is kept readable in the store",
                    it.login
                ),
                false => format!("{} has no secret for APOP", it.login),
            };
            desk.ask(R::ApopSecret { account, secret: given }, |item| about(item, say)).await
        }
    }
}

async fn app_password(command: AppPasswordCommand, desk: &mut Desk) -> Result<(), AdminError> {
    match command {
        AppPasswordCommand::Add { account, name, services } => {
            let services = if services.is_empty() { None } else { Some(services.into_iter().collect()) };
            let note = format!("The app password '{name}' is shown this once:");
            let items = desk.look(AccountRequest::AddAppPassword { account, name, services }).await?;
            desk.note(&note);
            desk.tell(&items, secret);
            Ok(())
        }
        AppPasswordCommand::List { account } => {
            let say = |item: &Item| match item {
                Item::AppPassword(app) => {
                    let services = match &app.info.services {
                        Some(services) => services.iter().map(|it| it.name()).collect::<Vec<_>>().join(","),
                        None => "everything".to_owned(),
                    };
                    format!("{:<24} for {services:<24} since {}", app.info.name, day(app.info.created_at))
                }
                other => otherwise(other),
            };
            desk.ask(AccountRequest::AppPasswords { account }, say).await
        }
        AppPasswordCommand::Revoke { account, name } => {
            desk.ask(AccountRequest::RevokeAppPassword { account, name }, done).await
        }
    }
}

async fn quota(
    desk: &mut Desk,
    account: String,
    size: Option<Limit<Size>>,
    messages: Option<Limit<u64>>,
) -> Result<(), AdminError> {
    let say = |item: &Item| {
        about(item, |it| match it.files {
            None => format!("{}: {}", it.login, kept(it)),
            Some(_) => format!("{}: {}; in files {}", it.login, kept(it), kept_files(it)),
        })
    };
    if size.is_none() && messages.is_none() {
        return desk.ask(AccountRequest::Show { account }, say).await;
    }
    let now = shown(desk, &account).await?;
    let quota = Quota {
        octets: match size {
            None => now.octets.limit,
            Some(Limit::None) => None,
            Some(Limit::To(Size(octets))) => Some(octets),
        },
        messages: match messages {
            None => now.messages.limit,
            Some(Limit::None) => None,
            Some(Limit::To(messages)) => Some(messages),
        },
    };
    desk.ask(AccountRequest::Quota { account, quota }, say).await
}

async fn shown(desk: &mut Desk, account: &str) -> Result<Account, AdminError> {
    match desk.look(AccountRequest::Show { account: account.to_owned() }).await?.pop() {
        Some(Item::Account(shown)) => Ok(shown),
        _ => Err(AdminError::new(ErrorKind::Internal, "the server did not show the account")),
    }
}

fn about(item: &Item, say: impl Fn(&Account) -> String) -> String {
    match item {
        Item::Account(account) => say(account),
        other => otherwise(other),
    }
}

fn done(item: &Item) -> String {
    match item {
        Item::Done(done) => format!("{}: {}", done.done, done.what.as_deref().unwrap_or_default()),
        other => otherwise(other),
    }
}

fn secret(item: &Item) -> String {
    match item {
        Item::Secret(secret) => secret.password.0.expose().clone(),
        other => otherwise(other),
    }
}

fn addresses(account: &Account) -> String {
    format!("{} gets the mail to {}", account.login, account.addresses.join(", "))
}

fn row(account: &Account) -> String {
    let login = &account.login;
    format!(
        "{login:<40} {:>9} {:>8} messages  {}",
        octets(account.octets.used),
        account.messages.used,
        state(account)
    )
    .trim_end()
    .to_owned()
}

fn state(account: &Account) -> &'static str {
    match (account.disabled, account.password) {
        (true, _) => "disabled",
        (false, false) => "no password",
        (false, true) => "",
    }
}

fn whole(account: &Account) -> String {
    let some = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    let log_in = match (account.disabled, account.password) {
        (true, _) => "disabled; mail still comes in",
        (false, true) => "by password",
        (false, false) => "not by password; `packetboat account passwd` sets one",
    };
    let rows = [
        ("account", account.login.clone()),
        ("name", account.name.clone().unwrap_or_else(|| "none".to_owned())),
        ("addresses", some(&account.addresses)),
        ("log-in", log_in.to_owned()),
        ("app passwords", some(&account.app_passwords)),
        ("APOP secret", if account.apop { "yes" } else { "none" }.to_owned()),
        ("keeps", kept(account)),
        ("files", kept_files(account)),
        ("since", day(account.created_at)),
        ("number", account.id.to_string()),
    ];
    rows.map(|(what, text)| format!("{what:<14} {text}")).join("\n")
}

fn kept(account: &Account) -> String {
    let of = |limit: Option<String>| limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    let QuotaUse { used, limit } = account.messages;
    format!(
        "{}{}, {used}{} messages",
        octets(account.octets.used),
        of(account.octets.limit.map(octets)),
        of(limit.map(|limit| limit.to_string()))
    )
}

fn kept_files(account: &Account) -> String {
    let Some(files) = account.files else { return "not counted, there is no limit".to_owned() };
    let of = |limit: Option<String>| limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    format!(
        "{}{}, {}{} files",
        octets(files.octets.used),
        of(files.octets.limit.map(octets)),
        files.files.used,
        of(files.files.limit.map(|limit| limit.to_string()))
    )
}

fn day(time: impl std::fmt::Display) -> String {
    time.to_string().chars().take(10).collect()
}
