//! From what is written to what is meant.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use super::files::{self, AnonymousUsers, Files, FilesFor, Folder, PathRules};
use super::keys::{
    Accounts, Auth, Certificate, Dns, Ftp, General, Imap, Limits, Listen, Log, OutboundTls, Peer, Pop3,
    Queue, Relay, Route, Smarthost, Smtp, Store, Tls, Trace,
};
use super::outbound;
use super::peer;
use super::problem::{Problem, Report};
use super::section::{Known, Section, read_section};
use super::value::ListenAddress;
use super::watch::{self, FileEvent, TransferLog};

/// The names of sections that may stand several times.
const CERTIFICATE: &str = "certificate";
const ROUTE: &str = "route";
const SMARTHOST: &str = "smarthost";
const PEER: &str = "peer";
const FILES_FOR: &str = "files_for";
const FOLDER: &str = "folder";
const RIGHTS: &str = "rights";
const FILE_EVENT: &str = "file_event";
const REPEATED: [&str; 8] = [CERTIFICATE, ROUTE, SMARTHOST, PEER, FILES_FOR, FOLDER, RIGHTS, FILE_EVENT];

pub(super) fn known() -> Known {
    Known::default()
        .with::<General>()
        .with::<Certificate>()
        .with::<Tls>()
        .with::<Listen>()
        .with::<Limits>()
        .with::<Smtp>()
        .with::<Pop3>()
        .with::<Imap>()
        .with::<Ftp>()
        .with::<Files>()
        .with::<FilesFor>()
        .with::<Folder>()
        .with::<PathRules>()
        .with::<AnonymousUsers>()
        .with::<Dns>()
        .with::<OutboundTls>()
        .with::<Queue>()
        .with::<Relay>()
        .with::<Route>()
        .with::<Smarthost>()
        .with::<Peer>()
        .with::<Accounts>()
        .with::<Auth>()
        .with::<Store>()
        .with::<Trace>()
        .with::<Log>()
        .with::<TransferLog>()
        .with::<FileEvent>()
}

pub(super) fn parse(text: &str, file: &Path) -> Result<Settings, Vec<Problem>> {
    let mut report = Report { text, problems: Vec::new(), places: HashMap::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut settings = read(table.get_ref(), &mut report);
    match errors.first() {
        // After the first place where the file is not TOML, nothing is certain: an array that is not closed makes
        // the rest of the file look wrong.
        Some(error) => {
            let span = error.span().unwrap_or(0..0);
            report.add(span, "", format!("not TOML: {}", error.message()));
            report.cut_after_last();
        }
        None if report.problems.is_empty() => check(&settings, &mut report),
        None => {}
    }
    if !report.problems.is_empty() {
        report.problems.sort_by_key(|problem| (problem.line, problem.column));
        report.problems.dedup();
        return Err(report.problems);
    }
    let directory = std::path::absolute(file).ok().and_then(|file| file.parent().map(Path::to_owned));
    settings.make_paths_absolute(&directory.unwrap_or_default());
    Ok(settings)
}

fn read(table: &DeTable<'_>, report: &mut Report<'_>) -> Settings {
    let known = known();
    let mut settings = Settings::default();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let Some(inner) = sections(name, value, &known, report) else {
            if !settings.general.take(name, value, report) {
                report.add(key.span(), name, known.advice(General::NAME, name));
            }
            continue;
        };
        for table in inner {
            match name {
                CERTIFICATE => settings.certificates.push(read_certificate(table, &known, report)),
                "tls" => settings.tls = read_section(table, &known, report),
                "listen" => settings.listen = read_section(table, &known, report),
                "limits" => settings.limits = read_section(table, &known, report),
                "smtp" => settings.smtp = read_section(table, &known, report),
                "pop3" => settings.pop3 = read_section(table, &known, report),
                "imap" => settings.imap = read_section(table, &known, report),
                "ftp" => settings.ftp = read_section(table, &known, report),
                "files" => settings.files = read_section(table, &known, report),
                "anonymous" => settings.anonymous = read_section(table, &known, report),
                FILES_FOR => settings.files_for.push(files::read_files_for(table, &known, report)),
                FOLDER => settings.folders.push(files::read_folder(table, &known, report)),
                RIGHTS => settings.path_rules.push(files::read_rights(table, &known, report)),
                "dns" => settings.dns = read_section(table, &known, report),
                "outbound_tls" => settings.outbound_tls = read_section(table, &known, report),
                "queue" => settings.queue = read_section(table, &known, report),
                "relay" => settings.relay = read_section(table, &known, report),
                ROUTE => settings.routes.push(outbound::read_route(table, &known, report)),
                PEER => settings.peers.push(peer::read(table, &known, report)),
                SMARTHOST => {
                    let place = settings.smarthosts.len();
                    settings.smarthosts.push(outbound::read_smarthost(table, place, &known, report));
                }
                "accounts" => settings.accounts = read_section(table, &known, report),
                "auth" => settings.auth = read_section(table, &known, report),
                "store" => settings.store = read_section(table, &known, report),
                "trace" => settings.trace = read_section(table, &known, report),
                "log" => settings.log = read_section(table, &known, report),
                FILE_EVENT => settings.file_events.push(watch::read(table, &known, report)),
                "transfer_log" => settings.transfer_log = read_section(table, &known, report),
                _ => report.add(key.span(), name, known.section_advice(name)),
            }
        }
    }
    settings
}

/// The tables under a name, if it is the name of a section or holds tables.
fn sections<'v, 't>(
    name: &str,
    value: &'v Spanned<DeValue<'t>>,
    known: &Known,
    report: &mut Report<'_>,
) -> Option<Vec<&'v DeTable<'t>>> {
    let is = |wanted: &str| known.sections.iter().any(|(header, ..)| *header == wanted);
    match value.get_ref() {
        // [certificate] with one pair of brackets can only mean the one certificate there is.
        DeValue::Table(table) => Some(vec![table]),
        DeValue::Array(array) if REPEATED.contains(&name) => {
            let tables = array.iter().filter_map(|item| {
                let table = item.get_ref().as_table();
                if table.is_none() {
                    report.add(item.span(), name, format!("write it as a section: [[{name}]]"));
                }
                table
            });
            Some(tables.collect())
        }
        DeValue::Array(array) if !is(name) && array.iter().any(|item| item.get_ref().is_table()) => {
            report.add(value.span(), name, known.section_advice(name));
            Some(Vec::new())
        }
        _ if is(name) || REPEATED.contains(&name) => {
            let header = if REPEATED.contains(&name) { format!("[[{name}]]") } else { format!("[{name}]") };
            report.add(value.span(), name, format!("this is a section; write {header} on a line of its own"));
            Some(Vec::new())
        }
        _ => None,
    }
}

fn read_certificate(table: &DeTable<'_>, known: &Known, report: &mut Report<'_>) -> Certificate {
    let before = report.problems.len();
    let certificate: Certificate = read_section(table, known, report);
    let place = table.keys().next().map_or(0..0, Spanned::span);
    for (key, path) in [("chain", &certificate.chain), ("key", &certificate.key)] {
        if path.as_os_str().is_empty() && report.problems.len() == before {
            report.add(place.clone(), CERTIFICATE, format!("`{key}` is missing; name the PEM file"));
        }
    }
    certificate
}

/// What no key can know alone.
fn check(settings: &Settings, report: &mut Report<'_>) {
    check_hostname(&settings.general.hostname, report);

    let limits = &settings.limits;
    if limits.connections_per_address > limits.connections {
        let most = limits.connections;
        report.add_about(
            "limits.connections_per_address",
            format!(
                "more than limits.connections, which is {most}, has no effect; lower one or raise the other"
            ),
        );
    }

    let mut taken: HashMap<ListenAddress, &str> = HashMap::new();
    for (service, addresses) in settings.listen.services() {
        for address in addresses {
            let key = format!("listen.{service}");
            let same_port = |other: &ListenAddress| overlap(address, other);
            match taken.iter().find(|(other, _)| same_port(other)) {
                Some((_, other)) if *other == service => {
                    report.add_about(&key, format!("{address} is named twice; once is enough"));
                }
                Some((_, other)) => {
                    report.add_about(
                        &key,
                        format!("{address} is also in listen.{other}; give each service its own port"),
                    );
                }
                None => {
                    taken.insert(address.clone(), service);
                }
            }
        }
    }

    peer::check(settings, report);
    outbound::check(settings, report);
    files::check(settings, report);
    watch::check(settings, report);

    if settings.log.level.parse::<tracing_subscriber::filter::Targets>().is_err() {
        report.add_about(
            "log.level",
            format!(
                "{:?} is not a level; use \"error\", \"warn\", \"info\", \"debug\" or \"trace\", or a list such as \"info,packetboat_smtp=debug\"",
                settings.log.level
            ),
        );
    }
}

/// Whether two addresses cannot be bound both.
fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Port(port), ListenAddress::Tcp(address))
        | (ListenAddress::Tcp(address), ListenAddress::Port(port)) => *port == address.port(),
        // Port 0 asks the system for a free one.
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => one == other && one.port() != 0,
        (one, other) => one == other,
    }
}

fn check_hostname(name: &str, report: &mut Report<'_>) {
    if name.is_empty() {
        let message =
            "missing; write the server's name in DNS at the top, as in hostname = \"mail.example.org\"";
        report.add_about("hostname", message.to_owned());
        return;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        let message = format!(
            "{name:?} is not a host name; letters, digits, hyphens and dots, as in \"mail.example.org\" (other scripts in their xn-- form)"
        );
        report.add_about("hostname", message);
    }
}

impl Listen {
    /// The services that take connections from the network, with their addresses.
    pub fn services(&self) -> [(&'static str, &Vec<ListenAddress>); 12] {
        [
            ("smtp", &self.smtp),
            ("submission", &self.submission),
            ("submissions", &self.submissions),
            ("odmr", &self.odmr),
            ("lmtp", &self.lmtp),
            ("pop3", &self.pop3),
            ("pop3s", &self.pop3s),
            ("imap", &self.imap),
            ("imaps", &self.imaps),
            ("ftp", &self.ftp),
            ("ftps", &self.ftps),
            ("metrics", &self.metrics),
        ]
    }
}

impl Settings {
    fn make_paths_absolute(&mut self, directory: &Path) {
        let absolute = |path: &mut PathBuf| *path = directory.join(&path);
        absolute(&mut self.general.data);
        for certificate in &mut self.certificates {
            absolute(&mut certificate.chain);
            absolute(&mut certificate.key);
        }
        let optional = [
            &mut self.dns.trust_anchor,
            &mut self.outbound_tls.authorities,
            &mut self.ftp.client_authorities,
            &mut self.ftp.client_revocations,
        ];
        for path in optional.into_iter().flatten() {
            absolute(path);
        }
        self.file_events.iter_mut().filter_map(|event| event.secret_file.as_mut()).for_each(absolute);
        for smarthost in &mut self.smarthosts {
            [&mut smarthost.ca, &mut smarthost.password_file].into_iter().flatten().for_each(absolute);
        }
    }
}
