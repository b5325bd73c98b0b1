//! HELP, FEAT, SYST, and what clients tell of themselves.

use super::Server;
use super::switch::{is_off, of_fact, usual};
use crate::command::{Algorithm, Command, Site};
use crate::reply::{self, Information};
use packetboat_wire::Reply;

/// The facts of MLST and MLSD (RFC 3659 section 7.5), as FEAT shows them.
pub(super) const FACTS: &[&str] =
    &["Type", "Size", "Modify", "Create", "Perm", "Unique", "UNIX.mode", "UNIX.owner", "UNIX.group"];

/// What HELP says of each command: how it is written, and what it does.
pub(super) const COMMANDS: &[(&str, &str)] = &[
    ("USER", "USER name: who you are"),
    ("PASS", "PASS password: that it is you"),
    ("ACCT", "ACCT name: which account pays"),
    ("CWD", "CWD path: change the directory"),
    ("CDUP", "CDUP: change to the directory above"),
    ("SMNT", "SMNT name: mount one of your trees"),
    ("REIN", "REIN: log out and stay connected"),
    ("QUIT", "QUIT: log out"),
    ("PORT", "PORT h1,h2,h3,h4,p1,p2: where to connect to"),
    ("PASV", "PASV: listen for the data connection"),
    ("TYPE", "TYPE A|E [N|T|C], I, L bits: what the data is"),
    ("STRU", "STRU F|R|P: how the file is structured"),
    ("MODE", "MODE S|B|C|Z: how the data travels"),
    ("RETR", "RETR path: get a file"),
    ("STOR", "STOR path: put a file"),
    ("STOU", "STOU [path]: put a file under a name of its own"),
    ("APPE", "APPE path: put something behind a file"),
    ("ALLO", "ALLO octets [R octets]: how much will come"),
    ("REST", "REST marker: where the next transfer begins"),
    ("RNFR", "RNFR path: the file to rename"),
    ("RNTO", "RNTO path: its new name"),
    ("ABOR", "ABOR: give up the transfer"),
    ("DELE", "DELE path: delete a file"),
    ("RMD", "RMD path: remove a directory"),
    ("MKD", "MKD path: make a directory"),
    ("PWD", "PWD: which directory this is"),
    ("LIST", "LIST [-alRtrS1] [path]: list a directory"),
    ("NLST", "NLST [path]: names alone"),
    ("SITE", "SITE command: see SITE HELP"),
    ("SYST", "SYST: which system this is"),
    ("STAT", "STAT [path]: how things are"),
    ("HELP", "HELP [command]: this"),
    ("NOOP", "NOOP: nothing"),
    ("FEAT", "FEAT: what is possible beyond RFC 959"),
    ("OPTS", "OPTS command options: how a command is to work"),
    ("AUTH", "AUTH TLS: protect this connection"),
    ("PBSZ", "PBSZ 0: before PROT"),
    ("PROT", "PROT C|P: protect data connections"),
    ("CCC", "CCC: go on in the clear, where the server allows it"),
    ("EPRT", "EPRT |family|address|port|: where to connect to"),
    ("EPSV", "EPSV [family|ALL]: listen for the data connection"),
    ("LPRT", "LPRT family,length,…: where to connect to"),
    ("LPSV", "LPSV: listen for the data connection"),
    ("SIZE", "SIZE path: how large a file is"),
    ("MDTM", "MDTM path: when it was changed"),
    ("MFMT", "MFMT time path: say when it was changed"),
    ("MFCT", "MFCT time path: say when it was made"),
    ("MFF", "MFF facts path: set facts"),
    ("MLST", "MLST [path]: facts of a file"),
    ("MLSD", "MLSD [path]: facts of all files in a directory"),
    ("HASH", "HASH path: a checksum, by OPTS HASH"),
    ("XCRC", "XCRC path: CRC-32; also XMD5, XSHA1, XSHA256, XSHA512"),
    ("RANG", "RANG first last: only these octets"),
    ("AVBL", "AVBL [path]: room that is left"),
    ("COMB", "COMB path path…: put files together"),
    ("HOST", "HOST name: which host is meant"),
    ("LANG", "LANG [tag]: the language of replies"),
    ("CLNT", "CLNT name: which client you are"),
    ("CSID", "CSID facts: which client you are"),
];

pub(super) const SITE_COMMANDS: &[(&str, &str)] = &[
    ("CHMOD", "SITE CHMOD mode path: change permissions"),
    ("UMASK", "SITE UMASK [mask]: permissions that new files do not get"),
    ("IDLE", "SITE IDLE [seconds]: how long to wait for you"),
    ("UTIME", "SITE UTIME time path: say when a file was changed"),
    ("SYMLINK", "SITE SYMLINK target link: make a symbolic link"),
    ("COPY", "SITE COPY from to: copy a file; also SITE CPFR, SITE CPTO"),
    ("MKDIR", "SITE MKDIR path: make directories"),
    ("RMDIR", "SITE RMDIR path: remove a directory with all that is in it"),
    ("QUOTA", "SITE QUOTA: what you may use, and what you use"),
    ("WHO", "SITE WHO: who is here"),
    ("CODEPAGE", "SITE CODEPAGE number: what TYPE E means"),
    ("LRECL", "SITE LRECL [octets]: what a record is, where a file has none"),
    ("HELP", "SITE HELP [command]: this"),
];

/// Security mechanisms other than TLS have these (RFC 2228).
const OTHER_MECHANISMS: &[&str] = &["ADAT", "MIC", "CONF", "ENC"];

impl Server {
    pub(super) fn information(&mut self, command: Command) {
        let answer = match command {
            Command::Syst => reply::system(),
            Command::Feat => reply::lines(Information::System, self.features()),
            Command::Help(topic) => match topic.as_deref().map(|topic| (topic, topic.strip_prefix("SITE"))) {
                // "Can be stated in a reply to the HELP SITE command" (RFC 959 section 4.1.3).
                Some((_, Some(""))) => self.help_of_site(None),
                Some((_, Some(word))) if word.starts_with(' ') => self.help_of_site(Some(word.trim())),
                Some((topic, _)) => self.help("Commands:", "", COMMANDS, Some(topic)),
                None => self.help("Commands:", "", COMMANDS, None),
            },
            Command::Site(Site::Help(topic)) => self.help_of_site(topic.as_deref()),
            Command::Lang(None) => reply::set("Replies are in English.".to_owned()),
            Command::Lang(Some(tag)) if tag.to_ascii_lowercase().split('-').next() == Some("en") => {
                reply::set("Replies are in English.".to_owned())
            }
            Command::Lang(Some(_)) => reply::invalid_parameter("Replies are in English only: LANG EN."),
            Command::Csid(_) => {
                reply::set(format!("Name=packetboat; Version={};", env!("CARGO_PKG_VERSION")))
            }
            _ => reply::ok(),
        };
        self.say(&answer);
    }

    fn help_of_site(&self, topic: Option<&str>) -> Reply {
        let topic = topic.map(|topic| if matches!(topic, "CPFR" | "CPTO") { "COPY" } else { topic });
        self.help("SITE commands:", "SITE ", SITE_COMMANDS, topic)
    }

    /// Of what is switched off, nothing is said.
    fn help(&self, title: &str, before: &str, commands: &[(&str, &str)], topic: Option<&str>) -> Reply {
        let is_on = |name: &str| !is_off(&self.disabled, format!("{before}{name}").as_bytes());
        if let Some(topic) = topic {
            if before.is_empty() && OTHER_MECHANISMS.contains(&topic) {
                return reply::lines(
                    Information::Help,
                    vec![format!("{topic}: for mechanisms that are not offered here; see AUTH")],
                );
            }
            let topic = if before.is_empty() { usual(topic) } else { topic };
            return match commands.iter().find(|(name, _)| *name == topic && is_on(name)) {
                Some((_, text)) => reply::lines(Information::Help, vec![(*text).to_owned()]),
                None => reply::invalid_parameter("No help on that; HELP alone lists all commands."),
            };
        }
        let mut lines = vec![title.to_owned()];
        let names: Vec<&str> = commands.iter().map(|(name, _)| *name).filter(|name| is_on(name)).collect();
        let row = |row: &[&str]| row.iter().map(|name| format!("{name:<9}")).collect::<String>();
        lines.extend(names.chunks(8).map(row));
        lines.push("HELP and a command tells more of it.".to_owned());
        reply::lines(Information::Help, lines)
    }

    /// What is switched off is no feature (RFC 2389 section 3.2).
    fn features(&self) -> Vec<String> {
        let mut lines = vec!["Extensions supported:".to_owned()];
        let mut add = |feature: &str| {
            if !is_off(&self.disabled, feature.as_bytes()) {
                lines.push(feature.to_owned());
            }
        };
        if self.config.tls {
            ["AUTH TLS", "PBSZ", "PROT"].into_iter().for_each(&mut add);
            if self.config.allow_ccc {
                add("CCC");
            }
        }
        ["AVBL", "CLNT", "COMB", "CSID", "EPRT", "EPSV"].into_iter().for_each(&mut add);
        // The one that HASH uses now has a star (draft-bryan-ftpext-hash section 3).
        let hashes = Algorithm::ALL.map(|algorithm| {
            let star = if algorithm == self.settings.hash { "*" } else { "" };
            format!("{}{star}", algorithm.name())
        });
        add(&format!("HASH {}", hashes.join(";")));
        ["HOST", "LANG EN*"].into_iter().for_each(&mut add);
        let settable = ["Modify;", "Create;", "UNIX.mode;"].into_iter().filter(|fact| {
            let sets = of_fact(&fact.trim_end_matches(';').to_ascii_uppercase());
            sets.is_none_or(|command| !is_off(&self.disabled, command.as_bytes()))
        });
        let settable: String = settable.collect();
        ["MDTM", "MFCT"].into_iter().for_each(&mut add);
        if !settable.is_empty() {
            add(&format!("MFF {settable}"));
        }
        add("MFMT");
        let facts: String =
            FACTS
                .iter()
                .map(|fact| {
                    if self.settings.facts.contains(fact) { format!("{fact}*;") } else { format!("{fact};") }
                })
                .collect();
        // It stands for MLSD too (RFC 3659 section 7.8), which is what clients want to know of.
        if !is_off(&self.disabled, b"MLSD") {
            add(&format!("MLST {facts}"));
        }
        [
            "MODE Z",
            "RANG STREAM",
            "REST STREAM",
            "SITE SYMLINK",
            "SITE UTIME",
            "SIZE",
            "TVFS",
            "UTF8",
            "XCRC",
            "XMD5",
            "XSHA1",
            "XSHA256",
            "XSHA512",
        ]
        .into_iter()
        .for_each(&mut add);
        lines.push("End".to_owned());
        lines
    }
}
