//! `packetboat alias import`: the aliases file of another mail server.

use std::io::Read as _;
use std::path::Path;

use packetboat_server::admin::aliases_file::{
    Address, Domain, Entry, FILE_MAX, FileTarget, Parsed, parse_file, parse_include,
};
use packetboat_server::admin::{AdminError, AliasRequest, DomainRequest, ErrorKind, Item};

use super::super::manage::{Desk, print};
use super::row;

/// Something that was not taken, with its line.
type Trouble = (usize, String);

pub(super) async fn run(
    desk: &mut Desk,
    file: &Path,
    domain: Option<String>,
    dry_run: bool,
) -> Result<(), AdminError> {
    let domain = match domain {
        Some(text) => Domain::parse(&text).map_err(|error| {
            AdminError::new(ErrorKind::Data, format!("'{text}' is not a domain name: {error}"))
        })?,
        None => only_domain(desk).await?,
    };
    let Parsed { entries, troubles } = parse_file(&read(file)?, &domain);
    let mut left_out: Vec<Trouble> =
        troubles.into_iter().map(|trouble| (trouble.line, trouble.what)).collect();
    let mut taken: Vec<(usize, String)> = Vec::new();
    for entry in entries {
        let Entry { line, name, targets } = entry;
        let targets = addresses(&name, targets, &domain, line, &mut left_out);
        if targets.is_empty() {
            continue;
        }
        if dry_run {
            desk.say(
                &format!("{name} -> {}", targets.join(", ")),
                || serde_json::json!({ "line": line, "alias": name.to_string(), "targets": targets }),
            );
            continue;
        }
        let name = name.to_string();
        match desk.ask(AliasRequest::Set { name: name.clone(), targets }, row).await {
            Ok(()) => taken.push((line, name)),
            Err(error) if matches!(error.kind, ErrorKind::Io | ErrorKind::Unavailable) => return Err(error),
            Err(error) => left_out.push((line, error.message)),
        }
    }
    // Only now, since a file may name what comes further down.
    for (line, name) in taken {
        for item in desk.look(AliasRequest::Show { name: name.clone() }).await.unwrap_or_default() {
            if let Item::Way(way) = item
                && let Some(problem) = way.problem
            {
                let end = &way.address;
                let what = format!(
                    "{name} is here, and leads to {end}: {problem}; make the account or alias, or say \
                     `packetboat alias remove {name} {end}`"
                );
                left_out.push((line, what));
            }
        }
    }
    left_out.sort();
    for (line, what) in &left_out {
        desk.say_problem(
            &format!("{}:{line}: {what}", file.display()),
            || serde_json::json!({ "line": line, "problem": what }),
        );
    }
    match left_out.len() {
        0 => Ok(()),
        count => {
            let message = format!("{count} of the file's entries need a look; the others are taken");
            Err(AdminError::new(ErrorKind::Data, message))
        }
    }
}

async fn only_domain(desk: &mut Desk) -> Result<Domain, AdminError> {
    let items = desk.look(DomainRequest::List).await?;
    let mut names = items.into_iter().filter_map(|item| match item {
        Item::Domain(domain) => Domain::parse(&domain.domain).ok(),
        _ => None,
    });
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(AdminError::new(
            ErrorKind::NoDomain,
            "there is no domain here yet; add one with `packetboat domain add`",
        )),
        (Some(_), Some(_)) => Err(AdminError::new(
            ErrorKind::Usage,
            "there are several domains here; say with --domain to which the names in the file belong",
        )),
    }
}

/// The text of a file, or of standard input.
fn read(file: &Path) -> Result<String, AdminError> {
    let failed =
        |error: std::io::Error| AdminError::new(ErrorKind::Io, format!("{}: {error}", file.display()));
    let mut text = Vec::new();
    match file == Path::new("-") {
        true => std::io::stdin().lock().take(FILE_MAX + 1).read_to_end(&mut text).map_err(failed)?,
        false => {
            let opened = std::fs::File::open(file).map_err(failed)?;
            opened.take(FILE_MAX + 1).read_to_end(&mut text).map_err(failed)?
        }
    };
    if text.len() as u64 > FILE_MAX {
        let message = format!("{}: longer than {FILE_MAX} octets, which is no aliases file", file.display());
        return Err(AdminError::new(ErrorKind::Data, message));
    }
    // Comments in old files may be in any charset.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The addresses among the targets and in the files they name; what else there is goes into `left_out`.
fn addresses(
    name: &Address,
    targets: Vec<FileTarget>,
    domain: &Domain,
    line: usize,
    left_out: &mut Vec<Trouble>,
) -> Vec<String> {
    let mut addresses = Vec::new();
    for target in targets {
        let FileTarget::Include(file) = target else {
            match plain(name, target) {
                Ok(address) => addresses.push(address),
                Err(what) => left_out.push((line, what)),
            }
            continue;
        };
        match read(Path::new(&file)) {
            Ok(text) => {
                let (more, troubles) = parse_include(&text, domain);
                for trouble in troubles {
                    left_out.push((line, format!("{file}: {trouble}")));
                }
                for target in more {
                    match plain(name, target) {
                        Ok(address) => addresses.push(address),
                        Err(what) => left_out.push((line, format!("{file}: {what}"))),
                    }
                }
            }
            Err(error) => left_out.push((line, format!("{name}: {}", error.message))),
        }
    }
    addresses
}

/// The address a target is, or what to do instead.
fn plain(name: &Address, target: FileTarget) -> Result<String, String> {
    match target {
        FileTarget::Address(address) => Ok(address.to_string()),
        FileTarget::Command(command) => Err(format!(
            "{name}: no mail goes into programs here (|{command}); make an account {name} and let the program fetch its \
             mail by IMAP or POP3, or run it behind LMTP"
        )),
        FileTarget::File(file) if file == "/dev/null" => Err(format!(
            "{name}: no mail is thrown away here; leave the name out, so that senders hear that nobody reads it, or make \
             an account {name}"
        )),
        FileTarget::File(file) => Err(format!(
            "{name}: no mail goes into files here ({file}); make an account {name}, and `packetboat export` writes its \
             mail to files"
        )),
        FileTarget::Include(file) => Err(format!(
            "{name}: an included file names another one ({file}), which is not read; name it directly"
        )),
    }
}

impl Desk {
    /// Prints a line that is an answer: text, or JSON.
    fn say(&self, human: &str, json: impl FnOnce() -> serde_json::Value) {
        match self.json() {
            true => print(&json().to_string()),
            false => print(human),
        }
    }

    /// Tells what is wrong, on standard error, or as JSON among the answers.
    fn say_problem(&self, human: &str, json: impl FnOnce() -> serde_json::Value) {
        match self.json() {
            true => print(&json().to_string()),
            false => self.note(human),
        }
    }
}
