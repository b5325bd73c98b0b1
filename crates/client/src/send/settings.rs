//! To which server, how protected, and as whom: the command line and the configuration file taken together.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use packetboat_wire::Secret;
use serde::Deserialize;

use super::failure::{Failure, FailureKind};
use super::request::{PASSWORD_VARIABLE, PasswordFrom, Request, Surroundings, TlsMode};
use crate::net::Place;
use crate::tls::Trust;

/// Name of the configuration file in the folder of configuration files.
const FILE: &str = "packetboat/send.toml";
/// Octets of the configuration file at most.
const FILE_MAX: u64 = 1024 * 1024;
/// Octets of a password at most.
const PASSWORD_MAX: u64 = 1024;
/// For a connection to come about, unless told otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// What one server needs to be spoken with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) servers: Vec<Place>,
    pub(crate) tls: TlsMode,
    /// What the person said about certificates.
    pub(crate) trust: Option<Trust>,
    pub(crate) lmtp: bool,
    pub(crate) helo: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) login: Option<Login>,
    /// Who writes, if the command line does not say.
    pub(crate) from: Option<String>,
}

/// As whom to log in.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Secret<String>,
}

/// The configuration file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The profile that is meant when none is named.
    default: Option<String>,
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    #[serde(default)]
    server: OneOrMore,
    tls: Option<TlsWord>,
    ca: Option<PathBuf>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    lmtp: bool,
    helo: Option<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    password_command: Option<String>,
    from: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Default for OneOrMore {
    fn default() -> OneOrMore {
        OneOrMore::More(Vec::new())
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TlsWord {
    Auto,
    StartTls,
    Implicit,
    None,
}

impl Settings {
    /// Takes command line and configuration together, and finds the password.
    pub(crate) fn resolve(request: &Request, around: &mut Surroundings) -> Result<Settings, Failure> {
        let (profile, file) = profile(request, around)?;
        let servers: Vec<String> = match (request.servers.is_empty(), profile.server) {
            (false, _) => request.servers.clone(),
            (true, OneOrMore::One(server)) => vec![server],
            (true, OneOrMore::More(servers)) => servers,
        };
        if servers.is_empty() {
            let file =
                file.map_or_else(|| "the configuration file".to_owned(), |file| file.display().to_string());
            return Err(Failure::new(FailureKind::Usage, "no server to send through is named")
                .hint(format!("Name one with --server, or in a profile in {file}.")));
        }
        let places: Result<Vec<Place>, _> = servers.iter().map(|server| server.parse()).collect();
        let profile_trust = match (profile.insecure, profile.ca) {
            (true, _) => Some(Trust::Anyone),
            (false, Some(ca)) => Some(Trust::Ca(beside(file.as_deref(), ca))),
            (false, None) => None,
        };
        let profile_tls = profile.tls.map(|word| match word {
            TlsWord::Auto => TlsMode::Auto,
            TlsWord::StartTls => TlsMode::StartTls,
            TlsWord::Implicit => TlsMode::Implicit,
            TlsWord::None => TlsMode::None,
        });
        let user = request.user.clone().or(profile.user);
        let source =
            request.password.clone().or_else(|| match (profile.password_file, profile.password_command) {
                // The environment stands between the command line and the file.
                _ if around.env_password.is_some() => None,
                (Some(path), _) => Some(PasswordFrom::File(beside(file.as_deref(), path))),
                (None, Some(command)) => Some(PasswordFrom::Command(command)),
                (None, None) => None,
            });
        let login = match user {
            Some(user) => Some(Login { password: password(&user, source, around)?, user }),
            None if request.password.is_some() => {
                return Err(Failure::new(
                    FailureKind::Usage,
                    "a password is given, but no name to log in with",
                )
                .hint("Name the account with --user."));
            }
            None => None,
        };
        Ok(Settings {
            servers: places.map_err(|error| Failure::new(FailureKind::Usage, error))?,
            tls: request.tls.or(profile_tls).unwrap_or_default(),
            trust: request.trust.clone().or(profile_trust),
            lmtp: request.lmtp || profile.lmtp,
            helo: request.helo.clone().or(profile.helo),
            connect_timeout: request.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            login,
            from: profile.from,
        })
    }
}

/// The profile that is meant, and the file it was looked for in.
fn profile(request: &Request, around: &Surroundings) -> Result<(Profile, Option<PathBuf>), Failure> {
    let usual = around.config_dir.as_ref().map(|dir| dir.join(FILE));
    let wanted = request.config.is_some() || request.profile.is_some();
    // A profile belongs to its servers: its password must not go to another one that the command line names.
    if !wanted && !request.servers.is_empty() {
        return Ok((Profile::default(), usual));
    }
    let Some(path) = request.config.clone().or(usual) else {
        return Ok((Profile::default(), None));
    };
    let text = match read_file(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !wanted => {
            return Ok((Profile::default(), Some(path)));
        }
        Err(error) => {
            let said = format!("cannot read the configuration file {}: {error}", path.display());
            return Err(Failure::new(FailureKind::Config, said));
        }
    };
    let file: File = toml::from_str(&text).map_err(|error| {
        let said = format!("the configuration file {} is wrong: {error}", path.display());
        Failure::new(FailureKind::Config, said.trim_end())
    })?;
    let only = || (file.profile.len() == 1).then(|| file.profile.keys().next().cloned()).flatten();
    let Some(name) = request.profile.clone().or_else(|| file.default.clone()).or_else(only) else {
        return Ok((Profile::default(), Some(path)));
    };
    match file.profile.get(&name) {
        Some(profile) => Ok((profile.clone(), Some(path))),
        None => {
            let names: Vec<&str> = file.profile.keys().map(String::as_str).collect();
            let said = format!("there is no profile \"{name}\" in {}", path.display());
            Err(Failure::new(FailureKind::Config, said).hint(format!("There are: {}.", names.join(", "))))
        }
    }
}

/// A path in the configuration file is one from its folder.
fn beside(file: Option<&Path>, path: PathBuf) -> PathBuf {
    match file.and_then(Path::parent) {
        Some(folder) => folder.join(path),
        None => path,
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn password(
    user: &str,
    source: Option<PasswordFrom>,
    around: &mut Surroundings,
) -> Result<Secret<String>, Failure> {
    match source {
        Some(PasswordFrom::File(path)) => {
            let read = std::fs::File::open(&path).and_then(|file| first_line(&mut io::BufReader::new(file)));
            read.map_err(|error| {
                let said = format!("cannot read the password from {}: {error}", path.display());
                Failure::new(FailureKind::NoInput, said)
            })
        }
        Some(PasswordFrom::Stdin) => first_line(&mut around.stdin).map_err(|error| {
            Failure::new(FailureKind::Io, format!("cannot read the password from standard input: {error}"))
        }),
        Some(PasswordFrom::Command(command)) => from_command(&command).map_err(|error| {
            let said = format!("the command for the password, \"{command}\", failed: {error}");
            Failure::new(FailureKind::Config, said)
        }),
        None => match around.env_password.take() {
            Some(password) => Ok(password),
            None if around.stdin_is_terminal => (around.ask_password)(&format!("Password of {user}: "))
                .map_err(|error| Failure::new(FailureKind::Io, format!("cannot ask for the password: {error}"))),
            None => Err(Failure::new(FailureKind::Usage, format!("there is no password for {user}")).hint(format!(
                "Give it with --password-file, --password-stdin, --password-command or in {PASSWORD_VARIABLE}."
            ))),
        },
    }
}

fn from_command(command: &str) -> io::Result<Secret<String>> {
    let mut child = Command::new("/bin/sh").args(["-c", command]).stdout(Stdio::piped()).spawn()?;
    let line = match child.stdout.take() {
        Some(stdout) => {
            let mut stdout = io::BufReader::new(stdout);
            let line = first_line(&mut stdout);
            // A command that may not print all it has to say fails.
            io::copy(&mut stdout, &mut io::sink())?;
            line
        }
        None => Err(io::ErrorKind::BrokenPipe.into()),
    };
    let status = child.wait()?;
    if status.success() { line } else { Err(io::Error::other(status.to_string())) }
}

/// The first line, without its end, and not an octet more.
fn first_line(from: &mut dyn BufRead) -> io::Result<Secret<String>> {
    let mut octets = Vec::with_capacity(PASSWORD_MAX as usize);
    from.take(PASSWORD_MAX).read_until(b'\n', &mut octets)?;
    let line = Secret::new(octets);
    let text = line.expose().strip_suffix(b"\n").unwrap_or(line.expose());
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if text.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its first line is empty"));
    }
    match std::str::from_utf8(text) {
        Ok(text) => Ok(Secret::new(text.to_owned())),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not in UTF-8")),
    }
}

#[cfg(test)]
mod tests;
