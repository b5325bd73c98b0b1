//! `packetboat import`: moving in.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use packetboat_client::Secret;
use packetboat_client::send::PASSWORD_VARIABLE;
use packetboat_client::tls::Trust;
use packetboat_client::transfer::imap::{Account, Imap};
use packetboat_client::transfer::maildir::Maildir;
use packetboat_client::transfer::mbox::Mbox;
use packetboat_client::transfer::{Contents, Folder, Message, Progress, Sink, Source, SourceError, Stopped};
use packetboat_server::admin::{
    AdminError, ErrorKind, Import, ImportMailbox, ImportMessage, ImportTarget, ImportedSoFar,
};
use serde_json::json;

use super::manage::{Desk, ManageArgs, exit_codes, manage, octets, print};

/// Messages, and octets of them, after which it is asked what became of them.
const ASK_MESSAGES: u64 = 2_000;
const ASK_OCTETS: u64 = 64 << 20;
/// How often a mailbox is begun anew because it changed at the same moment.
const TRIES: u32 = 5;
/// Messages that are named one by one; of more, their number is told.
const NAMED_MAX: usize = 1_000;

/// Bring mail from elsewhere into an account: a Maildir, mbox files, or an account on an IMAP server.
///
/// Flags, keywords and dates are kept; UIDs and UIDVALIDITY too, where the mailbox here is new or empty. The source is
/// only read. Broken off, the same command goes on where it ended, and nothing comes twice. A message that cannot be
/// brought in is named, and the others go on; the exit code is 65 then. Works while the server runs, and when it does
/// not.
#[derive(Debug, Args)]
#[command(after_long_help = after_help())]
pub(crate) struct ImportArgs {
    /// Whose mailboxes the mail comes into: login name
    account: String,
    /// From where: maildir:PATH, mbox:PATH (a file or a directory of them), imaps://user@host or imap://user@host
    source: String,
    /// Only this mailbox of the source; may be given several times
    #[arg(long, value_name = "NAME")]
    folder: Vec<String>,
    /// Into this mailbox; several mailboxes of the source come below it
    #[arg(long, value_name = "MAILBOX")]
    into: Option<String>,
    /// A file with the password for the IMAP server, in its first line [default: $PACKETBOAT_PASSWORD, or it is asked for]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Believe the certificates that the authorities in this PEM file have signed, instead of the system's
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Send the password to the IMAP server although it does not offer TLS
    #[arg(long)]
    no_tls: bool,
    /// Only tell what there is
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    manage: ManageArgs,
}

fn after_help() -> String {
    let examples = "Examples:\n  \
        packetboat import alice@example.org maildir:/home/alice/Maildir\n  \
        packetboat import alice@example.org mbox:/var/mail/alice --into INBOX\n  \
        packetboat import alice@example.org imaps://alice@old.example.net --password-file pw\n\n";
    format!("{examples}{}", exit_codes())
}

pub(crate) fn run(args: &ImportArgs) -> ExitCode {
    manage(&args.manage, async |desk| Moving::begin(args, desk).await?.all().await)
}

struct Moving<'a> {
    args: &'a ImportArgs,
    desk: &'a mut Desk,
    source: Source,
    folders: Vec<Folder>,
    import: Option<Import>,
    progress: Progress,
    sum: Sum,
}

/// What became of everything so far.
#[derive(Default)]
struct Sum {
    messages: u64,
    there_already: u64,
    octets: u64,
    uids_kept: u64,
    failed: u64,
    named: Vec<(String, String, String)>,
    mailboxes: Vec<serde_json::Value>,
}

impl<'a> Moving<'a> {
    async fn begin(args: &'a ImportArgs, desk: &'a mut Desk) -> Result<Moving<'a>, AdminError> {
        let mut source = args.source()?;
        let mut folders = source.folders().await.map_err(|error| unreadable(&error))?;
        for wanted in &args.folder {
            if !folders.iter().any(|folder| folder.name == *wanted) {
                let names: Vec<&str> = folders.iter().map(|folder| folder.name.as_str()).collect();
                let message = format!("the source has no mailbox {wanted}; it has {}", names.join(", "));
                return Err(AdminError::new(ErrorKind::Usage, message));
            }
        }
        folders.retain(|folder| match args.folder.is_empty() {
            // What is only a view of other mailboxes would come twice.
            true => !folder.is_view,
            false => args.folder.contains(&folder.name),
        });
        let progress = Progress::new(!args.manage.json());
        Ok(Moving { args, desk, source, folders, import: None, progress, sum: Sum::default() })
    }

    async fn all(mut self) -> Result<(), AdminError> {
        for folder in std::mem::take(&mut self.folders) {
            let contents = match self.source.contents(&folder).await {
                Ok(contents) => contents,
                // One file may be none, and the next one be.
                Err(error @ (SourceError::Form { .. } | SourceError::Io { .. })) => {
                    self.sum.fail(&folder.name, "the mailbox", &unreadable(&error).message);
                    continue;
                }
                Err(error) => return Err(self.ended(unreadable(&error))),
            };
            if self.args.dry_run {
                self.describe(&folder, &contents);
                continue;
            }
            if let Err(error) = self.folder(&folder, contents).await {
                return Err(self.ended(error));
            }
        }
        self.tell();
        match self.sum.failed {
            0 => Ok(()),
            failed => {
                let message = format!("{failed} messages could not be brought in; the others are there");
                Err(AdminError::new(ErrorKind::Data, message))
            }
        }
    }

    fn describe(&mut self, folder: &Folder, contents: &Contents) {
        let octets_all: u64 = contents.messages.iter().map(|message| message.octets).sum();
        let count = contents.messages.len();
        self.sum.octets += octets_all;
        if self.args.manage.json() {
            self.sum.mailboxes.push(json!({
                "from": folder.name, "into": self.name(folder), "messages": count, "octets": octets_all,
                "uid_validity": contents.uid_validity,
            }));
        } else {
            print(&format!("{}: {count} messages, {}", folder.name, octets(octets_all)));
        }
    }

    /// What a mailbox of the source is to be called here.
    fn name(&self, folder: &Folder) -> String {
        let single =
            self.args.folder.len() == 1 || matches!(&self.source, Source::Mbox(mbox) if mbox.is_file());
        match &self.args.into {
            None => folder.name.clone(),
            Some(into) if single || folder.name == "INBOX" => into.clone(),
            Some(into) => format!("{into}/{}", folder.name),
        }
    }

    async fn folder(&mut self, folder: &Folder, contents: Contents) -> Result<(), AdminError> {
        for (what, why) in &contents.unreadable {
            self.sum.fail(&folder.name, what, why);
        }
        let mut tries = 0;
        let before = self.sum.messages;
        loop {
            match self.attempt(folder, &contents, before).await {
                Err(error) if error.kind == ErrorKind::Temporary && tries < TRIES => {
                    tries += 1;
                    self.import = None;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// `before` is how many messages had come when the mailbox was begun for the first time.
    async fn attempt(&mut self, folder: &Folder, contents: &Contents, before: u64) -> Result<(), AdminError> {
        let decided = self.args.into.is_some();
        let wanted = ImportMailbox {
            name: self.name(folder),
            // Who says into which mailbox has decided.
            special_uses: if decided { Vec::new() } else { folder.special_uses.clone() },
            uid_validity: contents.uid_validity,
            uid_next: contents.uid_next,
            first_uid: contents.messages.first().and_then(|message| message.uid),
            subscribed: folder.subscribed,
        };
        let import = match &mut self.import {
            Some(import) => import,
            none => none.insert(self.desk.import(&self.args.account).await?),
        };
        let (target, known) = match import.mailbox(&wanted).await {
            Ok(begun) => begun,
            Err(error) if error.kind == ErrorKind::Data => {
                self.sum.fail(&folder.name, "the mailbox", &error.message);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let order = order(contents, &known, &target);
        let known_now = (contents.messages.len() - order.len()) as u64;
        let there_already = known_now.saturating_sub(self.sum.messages - before);
        drop(known);
        self.progress.mailbox(&target.name, order.len() as u64);
        let mut carrier = Carrier {
            import,
            progress: &self.progress,
            sum: &mut self.sum,
            mailbox: folder.name.clone(),
            told: ImportedSoFar::default(),
            waiting: 0,
            waiting_octets: 0,
        };
        let read = self.source.read(folder, contents, &order, &mut carrier).await;
        // What came before the source failed is not lost.
        let finished = match read {
            Ok(()) => carrier.finish().await,
            Err(Stopped::Sink(error)) => Err(error),
            Err(Stopped::Source(error)) => {
                carrier.ask().await?;
                Err(unreadable(&error))
            }
        };
        let told = carrier.told;
        if finished.is_ok() {
            self.sum.there_already += there_already;
        }
        self.report(folder, &target, &told, there_already);
        finished
    }

    fn report(&mut self, folder: &Folder, target: &ImportTarget, told: &ImportedSoFar, there_already: u64) {
        let uids = match (target.keeps_uids, told.renumbered, told.uids_kept == told.messages) {
            (_, true, _) => "a UID was taken, so the mailbox has a new UIDVALIDITY and new UIDs",
            (true, _, true) => "UIDs kept",
            (true, _, false) => "UIDs kept, but for some messages",
            (false, ..) => "new UIDs",
        };
        self.sum.mailboxes.push(json!({
            "from": folder.name, "into": target.name, "created": target.created,
            "messages": told.messages, "there_already": there_already, "octets": told.octets,
            "uids_kept": told.uids_kept, "renumbered": told.renumbered,
            "keywords_dropped": told.keywords_dropped,
        }));
        if self.args.manage.json() {
            return;
        }
        let mut line = match folder.name == target.name {
            true => target.name.clone(),
            false => format!("{} into {}", folder.name, target.name),
        };
        line += &format!(": {} messages, {}", told.messages, octets(told.octets));
        if there_already > 0 {
            line += &format!(", {there_already} there already");
        }
        if told.messages > 0 {
            line += &format!("; {uids}");
        }
        if told.keywords_dropped > 0 {
            line += &format!("; {} keywords dropped, a mailbox has room for 59", told.keywords_dropped);
        }
        self.progress.aside(|| print(&line));
    }

    /// Tells what was done before something that ends the command.
    fn ended(&self, error: AdminError) -> AdminError {
        if !self.sum.mailboxes.is_empty() || self.sum.failed > 0 {
            self.tell();
        }
        match self.sum.messages {
            0 => error,
            done => {
                let message =
                    format!("{}; {done} messages are there, and the same command goes on", error.message);
                AdminError::new(error.kind, message)
            }
        }
    }

    fn tell(&self) {
        let sum = &self.sum;
        if self.args.manage.json() {
            let failed: Vec<_> = sum
                .named
                .iter()
                .map(|(mailbox, message, why)| json!({ "mailbox": mailbox, "message": message, "why": why }))
                .collect();
            let summary = json!({
                "messages": sum.messages, "there_already": sum.there_already, "octets": sum.octets,
                "uids_kept": sum.uids_kept, "failed": sum.failed, "failures": failed, "mailboxes": sum.mailboxes,
            });
            print(&summary.to_string());
            return;
        }
        for (mailbox, message, why) in &sum.named {
            self.desk.note(&format!("{mailbox}: {message}: {why}"));
        }
    }
}

/// Which messages are still to come, and in which order: first those whose UIDs can be kept.
fn order(contents: &Contents, known: &HashSet<u128>, target: &ImportTarget) -> Vec<usize> {
    let missing = |(_, message): &(usize, &Message)| !known.contains(&message.identity);
    let mut order: Vec<usize> =
        contents.messages.iter().enumerate().filter(missing).map(|(at, _)| at).collect();
    if target.keeps_uids {
        let late = |at: &usize| {
            let uid = contents.messages.get(*at).and_then(|message| message.uid);
            uid.is_none_or(|uid| uid < target.uid_next)
        };
        order.sort_by_key(late);
    }
    order
}

impl Sum {
    fn fail(&mut self, mailbox: &str, message: &str, why: &str) {
        self.failed += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push((mailbox.to_owned(), message.to_owned(), why.to_owned()));
        }
    }
}

/// Carries messages from the source to the server.
struct Carrier<'a> {
    import: &'a mut Import,
    progress: &'a Progress,
    sum: &'a mut Sum,
    mailbox: String,
    told: ImportedSoFar,
    waiting: u64,
    waiting_octets: u64,
}

impl Carrier<'_> {
    async fn ask(&mut self) -> Result<(), AdminError> {
        let so_far = self.import.flush().await?;
        self.count(so_far);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), AdminError> {
        let so_far = self.import.finish().await?;
        self.count(so_far);
        Ok(())
    }

    fn count(&mut self, so_far: ImportedSoFar) {
        self.waiting = 0;
        self.waiting_octets = 0;
        self.sum.messages += so_far.messages;
        self.sum.octets += so_far.octets;
        self.sum.uids_kept += so_far.uids_kept;
        self.told.messages += so_far.messages;
        self.told.octets += so_far.octets;
        self.told.uids_kept += so_far.uids_kept;
        self.told.keywords_dropped += so_far.keywords_dropped;
        self.told.renumbered |= so_far.renumbered;
        for (message, why) in so_far.refused {
            self.sum.fail(&self.mailbox, &message, &why);
        }
    }
}

impl Sink for Carrier<'_> {
    type Error = AdminError;

    async fn begin(&mut self, message: &Message, octets: u64) -> Result<(), AdminError> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let now = || i64::try_from(now()).unwrap_or(i64::MAX);
        let message = ImportMessage {
            identity: message.identity,
            label: message.label(),
            uid: message.uid,
            flags: message.flags,
            keywords: message.keywords.iter().map(|word| word.to_string()).collect(),
            received_at: message.received_at.unwrap_or_else(now),
            octets,
        };
        self.import.message(message).await
    }

    async fn octets(&mut self, octets: &[u8]) -> Result<(), AdminError> {
        self.waiting_octets += octets.len() as u64;
        self.import.octets(octets).await
    }

    async fn end(&mut self, _message: &Message) -> Result<(), AdminError> {
        self.import.end().await?;
        self.progress.advance(1);
        self.waiting += 1;
        if self.waiting >= ASK_MESSAGES || self.waiting_octets >= ASK_OCTETS {
            self.ask().await?;
        }
        Ok(())
    }

    async fn abandon(&mut self) -> Result<(), AdminError> {
        self.import.abandon().await
    }

    async fn unreadable(&mut self, message: &Message, why: String) -> Result<(), AdminError> {
        self.progress.advance(1);
        self.sum.fail(&self.mailbox, &message.label(), &why);
        Ok(())
    }
}

impl ImportArgs {
    fn source(&self) -> Result<Source, AdminError> {
        if let Some(path) = self.source.strip_prefix("maildir:") {
            return Ok(Source::Maildir(Maildir::new(path)));
        }
        if let Some(path) = self.source.strip_prefix("mbox:") {
            return Ok(Source::Mbox(Mbox::new(path)));
        }
        let usage = |message: String| AdminError::new(ErrorKind::Usage, message);
        if !self.source.to_ascii_lowercase().starts_with("imap") {
            let message = format!(
                "\"{}\" is no source: write maildir:PATH, mbox:PATH, imaps://user@host or imap://user@host",
                self.source
            );
            return Err(usage(message));
        }
        let url = self.source.parse().map_err(|error| usage(format!("{error}")))?;
        let trust = self.tls_ca.clone().map_or(Trust::System, Trust::Ca);
        let password = self.password()?;
        Ok(Source::Imap(Box::new(Imap::new(Account { url, password, clear: self.no_tls, trust }))))
    }

    fn password(&self) -> Result<Secret<String>, AdminError> {
        if let Some(path) = &self.password_file {
            let text = fs::read_to_string(path)
                .map(Secret::new)
                .map_err(|error| AdminError::new(ErrorKind::Io, format!("{}: {error}", path.display())))?;
            return Ok(Secret::new(text.expose().lines().next().unwrap_or_default().to_owned()));
        }
        if let Some(text) = std::env::var(PASSWORD_VARIABLE).ok().filter(|text| !text.is_empty()) {
            return Ok(Secret::new(text));
        }
        rpassword::prompt_password("Password there: ").map(Secret::new).map_err(|error| {
            let message = format!("cannot ask for a password here ({error}); use --password-file");
            AdminError::new(ErrorKind::Usage, message)
        })
    }
}

fn unreadable(error: &SourceError) -> AdminError {
    let kind = match error {
        SourceError::Io { .. } => ErrorKind::Io,
        SourceError::Form { .. } => ErrorKind::Data,
        // What was lost was tried again already.
        SourceError::Remote(_) => ErrorKind::Unavailable,
    };
    AdminError::new(kind, error.to_string())
}
