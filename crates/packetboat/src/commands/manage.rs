//! What the commands that manage a server share: where the request goes, passwords, output, exit codes.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use packetboat_server::admin::{
    AdminError, ErrorKind, Export, Import, Item, NewPassword, Office, Password, Request,
};
use packetboat_server::settings::Settings;

use super::complain;
use super::serve::ConfigArg;

/// Octets read of a password on standard input: more than the longest password or hash.
const PASSWORD_INPUT_MAX: u64 = 8 * 1024;

/// Options of every such command.
#[derive(Debug, Args)]
pub(crate) struct ManageArgs {
    /// The file with the settings [default: packetboat.toml here, or else in /etc/packetboat]
    #[arg(long, short, value_name = "FILE", env = "PACKETBOAT_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Manage what is kept in this data directory, by default settings, instead of reading a file
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// Print JSON, one object a line; failures too: {"error":{"kind":…,"message":…}}
    #[arg(long, global = true)]
    json: bool,
}

/// A new password, however it comes.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct PasswordArgs {
    /// Read the password from standard input, its first line, instead of asking for it
    #[arg(long)]
    password_stdin: bool,
    /// Read a password hash of another system from standard input: $argon2id$…, $5$…, $6$…, $2b$…, $1$…, $7$… or {SSHA}…
    #[arg(long)]
    hash_stdin: bool,
}

/// Where requests go and answers are shown.
#[derive(Debug)]
pub(crate) struct Desk {
    office: Office,
    json: bool,
}

/// Runs a command: opens the way to the directory, works, and tells a failure by message and exit code.
pub(crate) fn manage(
    args: &ManageArgs,
    work: impl AsyncFnOnce(&mut Desk) -> Result<(), AdminError>,
) -> ExitCode {
    let outcome = runtime().and_then(|runtime| {
        runtime.block_on(async {
            let mut desk = Desk { office: Office::open(&args.settings()?).await?, json: args.json };
            let outcome = work(&mut desk).await;
            desk.office.close().await;
            outcome
        })
    });
    end(args.json, outcome)
}

/// Without threads, because the process may have to become another user first.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, AdminError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| AdminError::new(ErrorKind::Io, error.to_string()))
}

/// Tells how a command ended, a failure by message and exit code.
pub(crate) fn end(json: bool, outcome: Result<(), AdminError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if json {
                print(&serde_json::json!({ "error": error }).to_string());
            } else {
                complain(&error);
            }
            ExitCode::from(error.kind.code())
        }
    }
}

impl ManageArgs {
    /// For a command whose own command line is another's.
    pub(crate) fn of(config: Option<PathBuf>, data: Option<PathBuf>) -> ManageArgs {
        ManageArgs { config, data, json: false }
    }

    /// Whether to print JSON.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// The settings meant.
    pub(crate) fn settings(&self) -> Result<Settings, AdminError> {
        if let Some(data) = &self.data {
            let mut settings = Settings::default();
            settings.general.data.clone_from(data);
            return Ok(settings);
        }
        let file = ConfigArg { config: self.config.clone() }.file();
        Settings::load(&file).map_err(|error| AdminError::new(ErrorKind::Config, error.to_string()))
    }
}

impl Desk {
    /// Whether JSON is wanted.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Has a request carried out. Prints each item: as JSON, or as `human` says it.
    pub(crate) async fn ask(
        &mut self,
        request: impl Into<Request>,
        mut human: impl FnMut(&Item) -> String,
    ) -> Result<(), AdminError> {
        let json = self.json;
        let show = |item: Item| print(&if json { as_json(&item) } else { human(&item) });
        self.office.ask(request.into(), show).await
    }

    /// Has a request carried out whose answer is not to be shown.
    pub(crate) async fn look(&mut self, request: impl Into<Request>) -> Result<Vec<Item>, AdminError> {
        let mut items = Vec::new();
        self.office.ask(request.into(), |item| items.push(item)).await?;
        Ok(items)
    }

    /// Begins to bring mail into an account.
    pub(crate) async fn import(&self, account: &str) -> Result<Import, AdminError> {
        self.office.import(account).await
    }

    /// Begins to take mail out of an account.
    pub(crate) async fn export(&self, account: &str, mailboxes: Vec<String>) -> Result<Export, AdminError> {
        self.office.export(account, mailboxes).await
    }

    /// Prints items that were looked at first.
    pub(crate) fn tell(&self, items: &[Item], human: impl Fn(&Item) -> String) {
        for item in items {
            print(&if self.json { as_json(item) } else { human(item) });
        }
    }

    /// Says something that belongs to the answer, to people only.
    pub(crate) fn line(&self, text: &str) {
        if !self.json {
            print(text);
        }
    }

    /// Says something that is not the answer, to people only.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            // Where nobody reads standard error, nobody misses it.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Asks whether to go on with something that cannot be undone.
    pub(crate) fn confirm(&self, question: &str, wanted: &str) -> Result<(), AdminError> {
        if self.json || !io::stdin().is_terminal() {
            let message = "nobody is there to be asked whether this is meant; say --yes";
            return Err(AdminError::new(ErrorKind::Usage, message));
        }
        self.note(&format!("{question}\nTo go on, type {wanted}:"));
        let mut answer = String::new();
        let read = io::stdin().lock().take(1024).read_line(&mut answer);
        read.map_err(|error| AdminError::new(ErrorKind::Io, error.to_string()))?;
        match answer.trim() == wanted {
            true => Ok(()),
            false => Err(AdminError::new(ErrorKind::Usage, "nothing was changed")),
        }
    }
}

impl PasswordArgs {
    /// The password or hash given, or what is typed twice.
    pub(crate) fn get(&self, prompt: &str) -> Result<NewPassword, AdminError> {
        if self.hash_stdin {
            return first_line().map(NewPassword::Hash);
        }
        if self.password_stdin {
            return first_line().map(NewPassword::Plain);
        }
        let ask = |prompt: &str| {
            rpassword::prompt_password(prompt).map(Password::from).map_err(|error| {
                let message = format!("cannot ask for a password here ({error}); use --password-stdin");
                AdminError::new(ErrorKind::Usage, message)
            })
        };
        let password = ask(&format!("{prompt}: "))?;
        if ask("The same again: ")? != password {
            return Err(AdminError::new(ErrorKind::Data, "the two passwords differ; nothing was changed"));
        }
        Ok(NewPassword::Plain(password))
    }
}

/// The first line of standard input.
pub(crate) fn first_line() -> Result<Password, AdminError> {
    let mut line = String::new();
    let read = io::stdin().lock().take(PASSWORD_INPUT_MAX).read_line(&mut line);
    read.map_err(|error| AdminError::new(ErrorKind::Data, format!("standard input: {error}")))?;
    if line.ends_with('\n') {
        line.pop();
        if line.ends_with('\r') {
            line.pop();
        }
    }
    Ok(Password::from(line))
}

/// Prints a line. A reader that went away, such as `head`, is no failure.
pub(crate) fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn as_json(item: &Item) -> String {
    let value = match item {
        Item::Domain(domain) => serde_json::to_string(domain),
        Item::Account(account) => serde_json::to_string(account),
        Item::Alias(alias) => serde_json::to_string(alias),
        Item::Way(way) => serde_json::to_string(way),
        Item::QueueEntry(entry) => serde_json::to_string(entry),
        Item::QueueDestination(destination) => serde_json::to_string(destination),
        Item::QueueActed(acted) => serde_json::to_string(acted),
        Item::AppPassword(app) => serde_json::to_string(app),
        Item::Secret(secret) => serde_json::to_string(secret),
        Item::Story(story) => serde_json::to_string(story),
        Item::Connection(connection) => serde_json::to_string(connection),
        Item::Metric(line) => serde_json::to_string(line),
        Item::Copied(copied) => serde_json::to_string(copied),
        Item::Done(done) => serde_json::to_string(done),
    };
    value.unwrap_or_default()
}

/// What to say of an item that was not expected in answer to a request.
pub(crate) fn otherwise(item: &Item) -> String {
    as_json(item)
}

/// The table of exit codes for the help text.
pub(crate) fn exit_codes() -> String {
    let mut text = "Exit codes:\n   0  done\n".to_owned();
    for kind in ErrorKind::ALL {
        text.push_str(&format!("  {:2}  {}\n", kind.code(), kind.meaning()));
    }
    text
}

/// An amount of octets, as people read it.
pub(crate) fn octets(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = number as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{number} B"),
        _ => format!("{amount:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(octets(number), text);
        }
    }
}
