//! What is told of files: the log of transfers.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use packetboat_files::policy::Users;
use packetboat_message::Address;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use super::problem::Report;
use super::section::{Key, Known, Section, path, read_section, read_value, section, within};
use super::value::{ListItem, Size, Value, quoted};
use crate::files::EventKind;

section! {
    /// The log of transfers of files, besides what the log says of them. Relative paths count from the data directory. The
    /// files are opened anew at a reload (SIGHUP), for those who put them aside by logrotate.
    TransferLog ["transfer_log"] {
        /// A file in the form of xferlog(5), as wu-ftpd, vsftpd and ProFTPD write it.
        xferlog: Option<PathBuf> = None;
        /// A file with a JSON object for each transfer, in a line.
        json: Option<PathBuf> = None;
        /// A file that has become so large is put aside under its name with ".1", and older ones become ".2" and so on. "0"
        /// puts none aside.
        size: Size = Size(64 << 20), in Size(0)..=Size(1 << 40);
        /// How many are kept that were put aside.
        keep: u32 = 4, in 0..=1000;
        /// JSON tells also what is deleted, renamed and made.
        actions: bool = true;
        /// JSON tells also who logs in.
        logins: bool = false;
    }
}

/// What somebody wants to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct On(pub EventKind);

const KINDS: [EventKind; 6] = [
    EventKind::Upload,
    EventKind::Download,
    EventKind::Delete,
    EventKind::Rename,
    EventKind::Mkdir,
    EventKind::Rmdir,
];

impl Value for On {
    const KIND: &'static str = "\"upload\", \"download\", \"delete\", \"rename\", \"mkdir\" or \"rmdir\"";

    fn read(value: &DeValue<'_>) -> Option<On> {
        let word = value.as_str()?;
        KINDS.into_iter().find(|kind| kind.word() == word).map(On)
    }

    fn write(&self) -> String {
        quoted(self.0.word())
    }
}

impl ListItem for On {
    const LIST_KIND: &'static str =
        "a list of \"upload\", \"download\", \"delete\", \"rename\", \"mkdir\" and \"rmdir\"";
}

impl ListItem for String {
    const LIST_KIND: &'static str = "a list of texts in quotes";
}

section! {
    /// Whom to tell when files have changed: by HTTP, by a program, by mail. The section may stand several times. Nothing is
    /// lost or told twice when the server is killed, see docs/ftp.md.
    FileEvent ["[file_event]"] {
        /// What it is called: letters, digits, hyphens.
        name: String = String::new();
        /// Of what: "upload" (the file is whole), "download", "delete", "rename", "mkdir", "rmdir".
        on: Vec<On> = vec![On(EventKind::Upload)];
        /// Only below these paths, as users see them: "*" stands for anything in a name, "**" for anything at all, "?" for one
        /// character.
        paths: Vec<String> = vec![];
        /// Only what these do: "alice@example.org", "*@example.org", "*" or "anonymous".
        users: Vec<Users> = vec![];
        /// Where a JSON object is posted: an address that begins with https:// or http://.
        webhook: Option<String> = None;
        /// The file whose first line is the secret that signs it. Read at start and reload.
        secret_file: Option<PathBuf> = None;
        /// A program and its arguments; no shell. What happened is in the environment (PACKETBOAT_EVENT, PACKETBOAT_FILE and
        /// others).
        command: Vec<String> = vec![];
        /// Who gets a mail.
        mail_to: Vec<Address> = vec![];
        /// How long a webhook or a program may take.
        timeout: Duration = Duration::from_secs(30), in Duration::from_secs(1)..=Duration::from_secs(3600);
        /// How many of them at a time.
        at_once: u32 = 4, in 1..=64;
        /// How long it is tried again.
        give_up: Duration = Duration::from_secs(3 * 24 * 60 * 60), in Duration::from_secs(1)..=Duration::from_secs(60 * 24 * 60 * 60);
    }
}

/// Reads a `[[file_event]]`.
pub(super) fn read(table: &DeTable<'_>, known: &Known, report: &mut Report<'_>) -> FileEvent {
    let problems = report.problems.len();
    let event: FileEvent = read_section(table, known, report);
    if report.problems.len() > problems {
        return event;
    }
    let mut wrong = |key: &str, message: &str| {
        let place = table.get(key).or_else(|| table.values().next()).map_or(0..0, Spanned::span);
        report.add(place, &format!("file_event.{key}"), message.to_owned());
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if event.name.is_empty() || event.name.len() > 64 || !event.name.chars().all(is_plain) {
        wrong("name", "missing, or not of letters, digits and hyphens; write name = \"new-orders\"");
    }
    if event.webhook.is_none() && event.command.is_empty() && event.mail_to.is_empty() {
        wrong("name", "nobody is told; name a `webhook`, a `command` or addresses to `mail_to`");
    }
    if let Some(Err(why)) = event.webhook.as_deref().map(crate::files::check_webhook) {
        wrong("webhook", why);
    }
    if event.secret_file.is_some() && event.webhook.is_none() {
        wrong("secret_file", "there is no `webhook` that it could sign");
    }
    if event.command.first().is_some_and(|program| !Path::new(program).is_absolute()) {
        wrong("command", "the program is named by its whole path, as in [\"/usr/local/bin/arrived\"]");
    }
    event
}

pub(super) fn check(settings: &Settings, report: &mut Report<'_>) {
    let mut names = HashSet::new();
    for event in &settings.file_events {
        if !names.insert(&event.name) {
            let message = format!("there are two called {:?}; give each a name of its own", event.name);
            report.add_about("file_event.name", message);
        }
    }
}
