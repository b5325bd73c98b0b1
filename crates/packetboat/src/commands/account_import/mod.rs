//! `packetboat account import`: users of other FTP servers.

mod found;
mod passwd;
mod puredb;
mod vsftpd;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use packetboat_server::admin::{
    AccountRequest, AdminError, ErrorKind, Item, NewPassword, Password, Quota, aliases_file, check_hash,
};
use serde::Serialize;

use super::manage::{Desk, print};
use found::{Found, networks};

/// Octets of a file with users that are read.
const FILE_MAX: u64 = 256 << 20;

/// Which server they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    /// Names and passwords in alternating lines, name:hash lines (pam_pwdfile), or what `db_dump` says of a database
    Vsftpd,
    /// An AuthUserFile
    Proftpd,
    /// pureftpd.passwd, or the PureDB made of it
    PureFtpd,
}

/// Where users come from, and how.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The file with the users
    file: PathBuf,
    /// The server that it is of
    #[arg(long)]
    from: Server,
    /// The domain of users whose names have none
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Give accounts that are here already the password of the file; else they stay as they are
    #[arg(long)]
    replace: bool,
    /// Where to write what belongs into packetboat.toml: homes, quotas, rates, networks [default: standard output, at the end]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// vsftpd: the `userlist_file`
    #[arg(long, value_name = "FILE")]
    userlist: Option<PathBuf>,
    /// vsftpd: the users in it are those who may log in (userlist_deny=NO); else those who may not
    #[arg(long, requires = "userlist")]
    userlist_allows: bool,
    /// vsftpd: the `user_config_dir`
    #[arg(long, value_name = "DIR")]
    user_config: Option<PathBuf>,
}

/// What became of one.
#[derive(Debug, Serialize)]
struct Told {
    account: String,
    /// `added`, `password replaced`, `there already` or `not taken`; in a dry run, what would be.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_taken_over: Vec<String>,
    /// What belongs into the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<String>,
}

/// Reads users and makes accounts of them, one after the other: broken off, it goes on when it is run again, since those who
/// are here already stay as they are.
pub(crate) async fn run(args: ImportArgs, desk: &mut Desk) -> Result<(), AdminError> {
    let octets = read(&args.file)?;
    let wrong = |why: String| data(format!("{}: {why}", args.file.display()));
    let users = match args.from {
        Server::Vsftpd => vsftpd::users(&octets, &vsftpd::Beside::of(&args)?).map_err(wrong)?,
        Server::Proftpd => passwd::auth_user_file(&octets).map_err(wrong)?,
        Server::PureFtpd if puredb::is_one(&octets) => {
            let entries = puredb::entries(&octets).map_err(wrong)?;
            entries
                .iter()
                .map(|(name, value)| passwd::pure_ftpd(name, value))
                .collect::<Result<_, _>>()
                .map_err(wrong)?
        }
        Server::PureFtpd => passwd::pure_ftpd_file(&octets).map_err(wrong)?,
    };
    let (mut counts, mut settings) = ([0; 4], String::new());
    for user in users {
        let told = one(user, &args, desk).await?;
        let place = match told.outcome {
            "added" => 0,
            "password replaced" => 1,
            "there already" => 2,
            _ => 3,
        };
        counts[place] += 1;
        if let Some(more) = &told.settings {
            settings.push_str(more);
        }
        match desk.json() {
            true => print(&serde_json::to_string(&told).unwrap_or_default()),
            false => {
                let reason = told.reason.iter().map(|reason| format!(": {reason}"));
                let lost = told.not_taken_over.iter().map(|lost| format!("\n    not taken over: {lost}"));
                print(&format!(
                    "{:<40} {}{}",
                    told.account,
                    told.outcome,
                    reason.chain(lost).collect::<String>()
                ));
            }
        }
    }
    let [added, replaced, there, refused] = counts;
    let would = if args.dry_run { "nothing was done; it would be: " } else { "" };
    desk.note(&format!(
        "{would}{added} added, {replaced} with a new password, {there} there already, {refused} not taken"
    ));
    if settings.is_empty() {
        return Ok(());
    }
    match &args.settings {
        Some(file) => {
            let opened = fs::OpenOptions::new().write(true).create_new(true).open(file);
            let written = opened.and_then(|mut file| file.write_all(settings.as_bytes()));
            written.map_err(|error| AdminError::new(ErrorKind::Io, format!("{}: {error}", file.display())))
        }
        None => {
            desk.line(&format!("\n# For packetboat.toml:\n{settings}"));
            Ok(())
        }
    }
}

async fn one(user: Found, args: &ImportArgs, desk: &mut Desk) -> Result<Told, AdminError> {
    let account = match (user.name.contains('@'), &args.domain) {
        (true, _) => user.name.clone(),
        (false, Some(domain)) => format!("{}@{domain}", user.name),
        (false, None) => {
            let message = format!("'{}' is a name without a domain; say which with --domain", user.name);
            return Err(AdminError::new(ErrorKind::Usage, message));
        }
    };
    let told = |outcome, reason: Option<String>| Told {
        account: account.clone(),
        outcome,
        reason,
        not_taken_over: user.lost.clone(),
        settings: settings_of(&account, &user),
    };
    let refused = |reason: String| Told { settings: None, ..told("not taken", Some(reason)) };
    if let Err(error) = aliases_file::Address::parse(&account) {
        return Ok(refused(format!("it cannot be a login name: {error}")));
    }
    match &user.secret {
        Some(NewPassword::Hash(Password(hash))) => {
            if let Err(why) = usable(hash.expose()) {
                return Ok(refused(why));
            }
        }
        Some(NewPassword::Plain(_)) => {}
        None => return Ok(refused("there is no password, or one that nobody can have".to_owned())),
    }
    let there = match desk.look(AccountRequest::Show { account: account.clone() }).await {
        Ok(_) => true,
        Err(error) if error.kind == ErrorKind::NoUser => false,
        Err(error) => return Err(error),
    };
    if there && !args.replace {
        return Ok(Told { settings: None, ..told("there already", None) });
    }
    let outcome = if there { "password replaced" } else { "added" };
    if args.dry_run {
        return Ok(told(outcome, None));
    }
    let Some(password) = user.secret.clone() else { return Ok(told("not taken", None)) };
    let request = match there {
        true => AccountRequest::Password { account: account.clone(), password },
        false => AccountRequest::Add {
            login: account.clone(),
            aliases: vec![],
            name: user.called.clone(),
            password: Some(password),
            quota: Quota::default(),
        },
    };
    let done: Result<Vec<Item>, AdminError> = desk.look(request).await;
    match done {
        Ok(_) => {}
        Err(error) if matches!(error.kind, ErrorKind::Data | ErrorKind::Exists) => {
            return Ok(refused(error.message));
        }
        Err(error) => return Err(error),
    }
    if user.disabled {
        desk.look(AccountRequest::Disable { account: account.clone(), disabled: true }).await?;
    }
    Ok(told(outcome, user.disabled.then(|| "may not log in, as before".to_owned())))
}

/// Whether log-ins can be checked by this hash, and why not.
fn usable(hash: &str) -> Result<(), String> {
    let is_crypt =
        |text: &str| text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"./".contains(&octet));
    if (hash.len() == 13 && is_crypt(hash)) || (hash.starts_with('_') && hash.len() == 20) {
        let why =
            "its hash is DES crypt, whose passwords are found within hours; give the user a new password";
        return Err(why.to_owned());
    }
    if hash.starts_with("$y$") || hash.starts_with("$gy$") {
        return Err(
            "its hash is yescrypt, which is not understood here; give the user a new password".to_owned()
        );
    }
    check_hash(hash).map_err(|error| error.to_string())
}

/// What belongs into the settings for a user.
fn settings_of(account: &str, user: &Found) -> Option<String> {
    let mut lines = Vec::new();
    let text = |text: &str| toml_text(text);
    lines.extend(user.home.as_deref().map(|home| format!("home = {}", text(home))));
    let sizes =
        [("quota", user.quota), ("upload_rate", user.upload_rate), ("download_rate", user.download_rate)];
    lines.extend(
        sizes.iter().filter_map(|(key, size)| Some(format!("{key} = {}", text(&size.as_ref()?.to_string())))),
    );
    let numbers = [("quota_files", user.quota_files), ("connections", user.connections)];
    lines.extend(numbers.iter().filter_map(|(key, number)| Some(format!("{key} = {}", number.as_ref()?))));
    for (key, networks) in [("networks", &user.networks), ("denied_networks", &user.denied_networks)] {
        let networks: Vec<String> = networks.iter().map(|network| text(network)).collect();
        if !networks.is_empty() {
            lines.push(format!("{key} = [{}]", networks.join(", ")));
        }
    }
    (!lines.is_empty()).then(|| format!("[[files_for]]\nusers = {}\n{}\n\n", text(account), lines.join("\n")))
}

/// A basic string of TOML.
fn toml_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

fn read(file: &Path) -> Result<Vec<u8>, AdminError> {
    let mut octets = Vec::new();
    let read = fs::File::open(file).and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut octets));
    read.map_err(|error| AdminError::new(ErrorKind::Io, format!("{}: {error}", file.display())))?;
    if octets.len() as u64 > FILE_MAX {
        return Err(data(format!("{}: larger than {} MiB", file.display(), FILE_MAX >> 20)));
    }
    Ok(octets)
}

fn data(message: String) -> AdminError {
    AdminError::new(ErrorKind::Data, message)
}

fn hash(text: &str) -> NewPassword {
    NewPassword::Hash(Password::from(text.to_owned()))
}

fn plain(text: &str) -> NewPassword {
    NewPassword::Plain(Password::from(text.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn settings_are_written_as_they_are_read() {
        let user = Found {
            home: Some("/home/ftp/j\"o\\e".to_owned()),
            quota: Some(52_428_800),
            quota_files: Some(100),
            upload_rate: Some(30_720),
            connections: Some(5),
            networks: vec!["192.0.2.0/24".to_owned()],
            ..Found::default()
        };
        let text = settings_of("joe@example.org", &user).unwrap();
        let text = format!("hostname = \"a.example\"\n{text}");
        let settings =
            packetboat_server::settings::Settings::parse(&text, Path::new("/etc/packetboat.toml")).unwrap();
        let read = &settings.files_for[0];
        assert_eq!(
            (read.quota.map(|it| it.0), read.quota_files, read.connections),
            (Some(52_428_800), Some(100), Some(5))
        );
        assert_eq!(settings_of("joe@example.org", &Found::default()), None);
        assert_eq!(
            networks("192.0.2.7, 10.0.0.0/8,host.example,2001:db8::/32"),
            (
                vec!["192.0.2.7/32".to_owned(), "10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()],
                vec!["host.example".to_owned()]
            )
        );
    }

    #[test]
    fn hashes_that_cannot_be_taken_are_named() {
        for (hash, word) in [
            ("abSQqR3lgjqok", "DES"),
            ("_J9..rasmBYk8r9AiWNc", "DES"),
            ("$y$j9T$abc$def", "yescrypt"),
            ("*", "unknown"),
        ] {
            assert!(usable(hash).unwrap_err().contains(word), "{hash}");
        }
        assert_eq!(usable("$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80"), Ok(()));
        assert_eq!(usable("$apr1$abcdefgh$sIQmFnT1CuEXAsyjuXjUX/"), Ok(()));
    }
}
