//! Files: who finds which, what they may do there, how much and how fast. The keys, how they are read, and the rules they
//! come to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use packetboat_files::policy::{
    AccountDemand, Anonymous, AnonymousPassword, Home, PathRights, Policy, Quota, Rates, Rule, Template,
    Terms, Users,
};
use packetboat_files::{Algorithm, Keeping, Right, Rights, Sync, VirtualPath};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;
use super::problem::Report;
use super::section::{Key, Known, Section, path, read_section, read_value, section};
use super::value::{ListItem, Size, Value, choice, quoted};

section! {
    /// Files, for everybody who has an account. [[files_for]] says otherwise for some. Rates are octets a second, such as
    /// "2 MiB"; what is not set is not limited.
    Files ["files"] {
        /// What each account may keep in its home.
        quota: Option<Size> = None;
        /// How many files.
        quota_files: Option<u32> = None;
        /// What each account may send here a second, all its transfers together.
        upload_rate: Option<Size> = None;
        /// What each account may get a second.
        download_rate: Option<Size> = None;
        /// What all together may send here a second.
        total_upload_rate: Option<Size> = None;
        /// What all together may get a second.
        total_download_rate: Option<Size> = None;
        /// Connections at a time of one account.
        connections: Option<u32> = None;
        /// Of these, from one address.
        connections_per_address: Option<u32> = None;
        /// Networks from which files can be had; none: all.
        networks: Vec<IpNet> = vec![];
        /// Networks from which they cannot.
        denied_networks: Vec<IpNet> = vec![];
        /// When a cost centre has to be named (ACCT): "never", "login" to log in, or "store" to store something.
        account_required: AccountDemandWord = AccountDemandWord::Never;
        /// The cost centres there are; none: any name is taken. The log carries it.
        cost_centres: Vec<CostCentre> = vec![];
        /// Commands that are switched off, such as "SITE CHMOD".
        disabled: Vec<CommandName> = vec![];
        /// Checksums that are made of each file while it comes in, of "crc32", "md5", "sha1", "sha256" and "sha512", and
        /// kept with it. Others are made when somebody asks first, and then kept too. Each takes time of its own: sha256
        /// about as long as receiving.
        checksums: Vec<ChecksumWord> = vec![];
        /// How long what came of an upload that was broken off is kept, out of sight, for its account to go on with; 0: not
        /// at all. It takes room on disk and in the quota.
        keep_uploads: Duration = Duration::from_secs(24 * 3600);
        /// How many of them for each account.
        keep_uploads_max: u32 = 10;
        /// The largest file of which SIZE counts what a transfer would send, where that is not what lies on disk, as in TYPE A.
        count_sizes: Size = Size(64 << 20);
    }
}

section! {
    /// Files, for some users: what stands here comes before what [files] says. The section may stand several times; a key
    /// is taken from the one that names its user most closely, and of two as close from the last.
    FilesFor ["[files_for]"] {
        /// Whom it is for: "alice@example.org", "*@example.org", or "*".
        users: Vec<Users> = vec![];
        /// Where their own files lie, with {account}, {user} and {domain} for parts of the login name; "none": they have
        /// no files of their own. A relative path counts from the data directory. When not set, their directory in `ftp.homes`.
        home: Option<HomePath> = None;
        /// As in [files].
        quota: Option<Size> = None;
        /// As in [files].
        quota_files: Option<u32> = None;
        /// As in [files].
        upload_rate: Option<Size> = None;
        /// As in [files].
        download_rate: Option<Size> = None;
        /// As in [files].
        connections: Option<u32> = None;
        /// As in [files].
        connections_per_address: Option<u32> = None;
        /// As in [files].
        networks: Option<Vec<IpNet>> = None;
        /// As in [files].
        denied_networks: Option<Vec<IpNet>> = None;
        /// Refuse log-ins, and data connections, without TLS.
        require_tls: Option<bool> = None;
        /// As in [files].
        account_required: Option<AccountDemandWord> = None;
        /// As in [files].
        cost_centres: Option<Vec<CostCentre>> = None;
        /// As in [files].
        disabled: Option<Vec<CommandName>> = None;
        /// The only commands that work, beside those without which there is no session; none: all.
        commands: Option<Vec<CommandName>> = None;
        /// For the next command, as `ftp.timeout`.
        timeout: Option<Duration> = None;
        /// Tell them by SITE WHO of everybody who is here and what they do, as an administrator sees it; others see
        /// their own sessions.
        sees_all: Option<bool> = None;
    }
}

section! {
    /// A directory that some users find beside their own files. The section may stand several times.
    Folder ["[folder]"] {
        /// What it is called, for SMNT.
        name: String = String::new();
        /// Where it lies. {account}, {user} and {domain} stand for parts of the login name; what lies behind the first of
        /// them is made when it is missing. A relative path counts from the data directory.
        path: Option<FolderPath> = None;
        /// Where it appears, such as "/press". When not set, only to those who mount it by SMNT, under its name.
        at: Option<PathInSpace> = None;
        /// Who finds it: "alice@example.org", "*@example.org", "*" for all who have an account, "anonymous".
        users: Vec<Users> = vec![];
        /// What they may do there: words of "list read create write append delete rename make", or "all", "read-only",
        /// "drop-box" (to leave files and see none), "none".
        rights: Access = Access(Rights::READ_ONLY);
        /// What all of them together may keep there, beside their own quotas; with placeholders in `path`, in each directory
        /// that comes of them.
        quota: Option<Size> = None;
        /// How many files.
        quota_files: Option<u32> = None;
    }
}

section! {
    /// What some users may do at a path and below it, in their own files or in a folder. The section may stand several times.
    /// The longest path counts, and of two the one that names its user more closely. Where rights differ within a tree
    /// its symbolic links are not followed.
    PathRules ["[rights]"] {
        /// Where, such as "/incoming".
        path: Option<PathInSpace> = None;
        /// Who, as in [[folder]].
        users: Vec<Users> = vec![];
        /// What, as in [[folder]].
        rights: Access = Access(Rights::READ_ONLY);
    }
}

section! {
    /// Files for everybody, without an account: who logs in as "anonymous" or "ftp" may list and get what lies in one
    /// tree. What password was given is in the log, beside the address.
    AnonymousUsers ["anonymous"] {
        /// Let them in.
        enabled: bool = false;
        /// The tree. A relative path counts from the data directory.
        path: FolderPath = FolderPath::of("public");
        /// What counts as a password: "any", "email" (anything with an @ in it, or "guest"), or "address" (a whole one).
        password: PasswordKind = PasswordKind::EMail;
        /// A directory in the tree, such as "/incoming", where files can be left. Nobody can list it, get what is in it,
        /// replace or delete it. It is made when it is missing.
        incoming: Option<PathInSpace> = None;
        /// What may lie there.
        quota: Option<Size> = None;
        /// How many files may lie there.
        quota_files: Option<u32> = None;
        /// The only commands that work, beside those without which there is no session; none: all. ["RETR"] is the least
        /// that makes sense.
        commands: Vec<CommandName> = vec![];
        /// Commands that are switched off.
        disabled: Vec<CommandName> = vec![];
        /// What all of them together may send here a second.
        upload_rate: Option<Size> = None;
        /// What all of them together may get a second.
        download_rate: Option<Size> = None;
        /// Connections at a time of all of them.
        connections: u32 = 100;
        /// Connections at a time from one address.
        connections_per_address: u32 = 5;
        /// Networks from which they come; none: all.
        networks: Vec<IpNet> = vec![];
        /// Networks from which they do not.
        denied_networks: Vec<IpNet> = vec![];
        /// For the next command, as `ftp.timeout`.
        timeout: Duration = Duration::from_secs(5 * 60);
    }
}

choice! {
    /// When a cost centre has to be named.
    AccountDemandWord: "\"never\", \"login\" or \"store\"" {
        /// Never.
        #[default]
        Never = "never",
        /// To log in.
        LogIn = "login",
        /// To store something.
        Store = "store",
    }
}

choice! {
    /// What checksums are made with.
    ChecksumWord: "\"crc32\", \"md5\", \"sha1\", \"sha256\" or \"sha512\"" {
        /// CRC-32.
        Crc32 = "crc32",
        /// MD5.
        Md5 = "md5",
        /// SHA-1.
        Sha1 = "sha1",
        /// SHA-256.
        #[default]
        Sha256 = "sha256",
        /// SHA-512.
        Sha512 = "sha512",
    }
}

impl ListItem for ChecksumWord {
    const LIST_KIND: &'static str = "a list of checksums such as [\"crc32\", \"sha256\"]";
}

choice! {
    /// What counts as the password of an anonymous user.
    PasswordKind: "\"any\", \"email\" or \"address\"" {
        /// Anything.
        Any = "any",
        /// Something with an @ in it, or guest.
        #[default]
        EMail = "email",
        /// A whole address.
        Address = "address",
    }
}

/// A command, by the name settings know it under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandName(pub String);

impl Value for CommandName {
    const KIND: &'static str = "a command of FTP such as \"DELE\" or \"SITE CHMOD\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        packetboat_ftp::server::command_name(value.as_str()?).map(|name| CommandName(name.to_owned()))
    }

    fn write(&self) -> String {
        quoted(&self.0)
    }
}

impl ListItem for CommandName {
    const LIST_KIND: &'static str = "a list of commands of FTP such as [\"DELE\", \"SITE CHMOD\"]";
}

/// The name of a cost centre.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostCentre(pub String);

impl Value for CostCentre {
    const KIND: &'static str =
        "the name of a cost centre, such as \"4711\": up to 64 characters that can be seen";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let seen = !text.is_empty() && !text.contains(|c: char| c.is_control()) && text.trim() == text;
        (seen && text.chars().count() <= 64).then(|| CostCentre(text.to_owned()))
    }

    fn write(&self) -> String {
        quoted(&self.0)
    }
}

impl ListItem for CostCentre {
    const LIST_KIND: &'static str = "a list of names of cost centres such as [\"4711\", \"press\"]";
}

impl Value for Users {
    const KIND: &'static str = "a user, \"alice@example.org\", \"*@example.org\", \"*\" or \"anonymous\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str()?.parse().ok()
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

impl ListItem for Users {
    const LIST_KIND: &'static str =
        "a list of users such as [\"alice@example.org\", \"*@example.net\", \"anonymous\"]";
}

/// A directory of this machine, which may differ from user to user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderPath(pub Template);

impl FolderPath {
    /// Of a text that is one.
    fn of(text: &str) -> FolderPath {
        let root = || Template::parse("/");
        #[expect(clippy::expect_used, reason = "the root is a path")]
        FolderPath(Template::parse(text).or_else(|_| root()).expect("the root is a path"))
    }
}

impl Value for FolderPath {
    const KIND: &'static str =
        "a path without \"..\", in which {account}, {user} and {domain} may stand and no other braces";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        Template::parse(value.as_str()?).ok().map(FolderPath)
    }

    fn write(&self) -> String {
        quoted(&self.0.to_string())
    }
}

/// Where somebody's own files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomePath(pub Home);

impl Value for HomePath {
    const KIND: &'static str =
        "\"none\", or a path without \"..\" in which {account} stands, or {user} and {domain}";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()? {
            "none" => Some(HomePath(Home::None)),
            text => Template::parse(text).ok().map(|path| HomePath(Home::At(path))),
        }
    }

    fn write(&self) -> String {
        quoted(&match &self.0 {
            Home::None => "none".to_owned(),
            Home::At(path) => path.to_string(),
        })
    }
}

/// A path as users see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInSpace(pub VirtualPath);

impl Value for PathInSpace {
    const KIND: &'static str = "a path as users see it, such as \"/press\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let plain = text.starts_with('/') && !text.split('/').any(|part| matches!(part, "." | ".."));
        let path = VirtualPath::root().resolve(text.as_bytes()).ok();
        path.filter(|_| plain).map(PathInSpace)
    }

    fn write(&self) -> String {
        quoted(&self.0.to_string())
    }
}

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(pub Rights);

const RIGHTS: [(&str, Right); 8] = [
    ("list", Right::List),
    ("read", Right::Read),
    ("create", Right::Create),
    ("write", Right::Write),
    ("append", Right::Append),
    ("delete", Right::Delete),
    ("rename", Right::Rename),
    ("make", Right::Make),
];

impl Value for Access {
    const KIND: &'static str = "words of \"list read create write append delete rename make\", or one of \"all\", \
         \"read-only\", \"drop-box\" and \"none\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        Rights::parse(text).ok().filter(|_| !text.trim().is_empty()).map(Access)
    }

    fn write(&self) -> String {
        let whole = [
            ("all", Rights::ALL),
            ("read-only", Rights::READ_ONLY),
            ("drop-box", Rights::DROP_BOX),
            ("none", Rights::NONE),
        ];
        quoted(&match whole.iter().find(|(_, rights)| *rights == self.0) {
            Some((word, _)) => (*word).to_owned(),
            None => {
                let words = RIGHTS.iter().filter(|(_, right)| self.0.has(*right));
                words.map(|(word, _)| *word).collect::<Vec<_>>().join(" ")
            }
        })
    }
}

/// What a section that may stand several times cannot do without.
struct Missing<'t, 'r, 's> {
    section: &'static str,
    table: &'t DeTable<'t>,
    report: &'r mut Report<'s>,
    /// Problems with its keys: then nothing more is said.
    quiet: bool,
}

impl Missing<'_, '_, '_> {
    fn wrong(&mut self, key: &str, message: &str) {
        if self.quiet {
            return;
        }
        let place = self.table.get(key).map(Spanned::span);
        let place = place.or_else(|| self.table.keys().next().map(Spanned::span)).unwrap_or(0..0);
        self.report.add(place, &format!("{}.{key}", self.section), message.to_owned());
    }

    fn users(&mut self, users: &[Users]) {
        if users.is_empty() {
            self.wrong("users", "it is for nobody; name `users`, as in users = \"*@example.org\"");
        }
    }
}

pub(super) fn read_files_for(table: &DeTable<'_>, known: &Known, report: &mut Report<'_>) -> FilesFor {
    let before = report.problems.len();
    let rule: FilesFor = read_section(table, known, report);
    let quiet = report.problems.len() > before;
    let mut missing = Missing { section: "files_for", table, report, quiet };
    missing.users(&rule.users);
    if rule.users.contains(&Users::Anonymous) {
        missing.wrong("users", "what is for anonymous users stands in [anonymous]");
    }
    if let Some(HomePath(Home::At(path))) = &rule.home
        && !path.is_personal()
        && !matches!(&rule.users[..], [Users::Account(_)])
    {
        missing.wrong("home", "all of them would share it; put {account} in it, or write a [[folder]]");
    }
    rule
}

pub(super) fn read_folder(table: &DeTable<'_>, known: &Known, report: &mut Report<'_>) -> Folder {
    let before = report.problems.len();
    let folder: Folder = read_section(table, known, report);
    let quiet = report.problems.len() > before;
    report.place(&place_of(&folder.name), table.get("name").map_or(0..0, Spanned::span));
    let mut missing = Missing { section: "folder", table, report, quiet };
    let plain = !folder.name.is_empty()
        && folder.name.len() <= 255
        && !matches!(&folder.name[..], "." | "..")
        && !folder.name.contains(|c: char| c == '/' || c.is_control());
    if !plain {
        missing.wrong("name", "missing, or with a slash in it; write name = \"press\"");
    }
    if folder.path.is_none() {
        missing.wrong("path", "missing; name a directory, as in path = \"/srv/press\"");
    }
    missing.users(&folder.users);
    folder
}

pub(super) fn read_rights(table: &DeTable<'_>, known: &Known, report: &mut Report<'_>) -> PathRules {
    let before = report.problems.len();
    let rights: PathRules = read_section(table, known, report);
    let quiet = report.problems.len() > before;
    let mut missing = Missing { section: "rights", table, report, quiet };
    if rights.path.is_none() {
        missing.wrong("path", "missing; say where, as in path = \"/incoming\"");
    }
    missing.users(&rights.users);
    rights
}

fn place_of(folder: &str) -> String {
    format!("folder {folder}")
}

/// What no key about files can know alone.
pub(super) fn check(settings: &Settings, report: &mut Report<'_>) {
    let mut names = std::collections::HashSet::new();
    for folder in &settings.folders {
        if !names.insert(&folder.name) {
            let place = report.places.get(&place_of(&folder.name)).cloned().unwrap_or(0..0);
            let message = format!("there are two called {:?}; give each a name of its own", folder.name);
            report.add(place, "folder.name", message);
        }
    }
    for (n, folder) in settings.folders.iter().enumerate() {
        let quota = |folder: &Folder| (folder.quota, folder.quota_files);
        let other = |other: &&Folder| other.path == folder.path && quota(other) != quota(folder);
        if let Some(other) = settings.folders.iter().take(n).find(other) {
            let place = report.places.get(&place_of(&folder.name)).cloned().unwrap_or(0..0);
            let message = format!("{:?} is the same directory; write the same quota for both", other.name);
            report.add(place, "folder.quota", message);
        }
    }
    let anonymous = &settings.anonymous;
    if anonymous.path.0.is_personal() {
        report.add_about(
            "anonymous.path",
            "there is no login name to put in; write a path without braces".into(),
        );
    }
    if anonymous.incoming.as_ref().is_some_and(|incoming| incoming.0.is_root()) {
        let message = "then nothing could be got; name a directory in the tree, as in \"/incoming\"";
        report.add_about("anonymous.incoming", message.to_owned());
    }
    let named = settings.folders.iter().flat_map(|folder| &folder.users);
    let named = named.chain(settings.path_rules.iter().flat_map(|rights| &rights.users));
    if !anonymous.enabled && named.into_iter().any(|users| *users == Users::Anonymous) {
        report.add_about(
            "anonymous.enabled",
            "something is for anonymous users, and they are not let in; write [anonymous] with enabled = true".into(),
        );
    }
}

impl Settings {
    /// What somebody who comes for files finds, and on what terms.
    pub fn files_policy(&self) -> Policy {
        let data: &Path = &self.general.data;
        let homes = data.join(&self.ftp.homes);
        let anonymous = &self.anonymous;
        Policy {
            base: Terms {
                home: Some(Home::At(home_in(&homes))),
                require_tls: Some(self.ftp.require_tls),
                ..self.files.terms()
            },
            rules: self
                .files_for
                .iter()
                .map(|rule| Rule { users: rule.users.clone(), terms: rule.terms(data) })
                .collect(),
            folders: self
                .folders
                .iter()
                .filter_map(|folder| {
                    Some(packetboat_files::policy::Folder {
                        name: folder.name.clone(),
                        path: folder.path.clone()?.0.within(data),
                        at: folder.at.clone().map(|at| at.0),
                        users: folder.users.clone(),
                        rights: folder.rights.0,
                        quota: Quota {
                            octets: octets(folder.quota),
                            files: folder.quota_files.map(u64::from),
                        },
                    })
                })
                .collect(),
            rights: self
                .path_rules
                .iter()
                .filter_map(|rule| {
                    let (path, users) = (rule.path.clone()?.0, rule.users.clone());
                    Some(PathRights { path, users, rights: rule.rights.0 })
                })
                .collect(),
            total: Rates {
                up: octets(self.files.total_upload_rate),
                down: octets(self.files.total_download_rate),
            },
            anonymous: anonymous.enabled.then(|| Anonymous {
                path: anonymous.path.0.clone().within(data),
                incoming: anonymous.incoming.clone().map(|incoming| incoming.0),
                password: match anonymous.password {
                    PasswordKind::Any => AnonymousPassword::Any,
                    PasswordKind::EMail => AnonymousPassword::EMail,
                    PasswordKind::Address => AnonymousPassword::Address,
                },
                terms: anonymous.terms(),
            }),
            nothing: homes.join(".packetboat-nothing"),
            sync: Sync::Never,
            umask: 0o022,
            behaviour: Arc::new(self.files.behaviour()),
        }
    }
}

/// The directory of each account in the directory of all.
fn home_in(homes: &Path) -> Template {
    match Template::parse("{account}") {
        Ok(name) => name.within(homes),
        Err(_) => FolderPath::of("/").0,
    }
}

fn octets(size: Option<Size>) -> Option<u64> {
    size.map(|Size(octets)| octets)
}

fn names(commands: &[CommandName]) -> Vec<String> {
    commands.iter().map(|CommandName(name)| name.clone()).collect()
}

fn centres(centres: &[CostCentre]) -> Vec<String> {
    centres.iter().map(|CostCentre(name)| name.clone()).collect()
}

fn demand(word: AccountDemandWord) -> AccountDemand {
    match word {
        AccountDemandWord::Never => AccountDemand::Never,
        AccountDemandWord::LogIn => AccountDemand::LogIn,
        AccountDemandWord::Store => AccountDemand::Store,
    }
}

impl Files {
    fn behaviour(&self) -> packetboat_files::Rules {
        let mut checksums: Vec<Algorithm> = Vec::new();
        for word in &self.checksums {
            let algorithm = match word {
                ChecksumWord::Crc32 => Algorithm::Crc32,
                ChecksumWord::Md5 => Algorithm::Md5,
                ChecksumWord::Sha1 => Algorithm::Sha1,
                ChecksumWord::Sha256 => Algorithm::Sha256,
                ChecksumWord::Sha512 => Algorithm::Sha512,
            };
            if !checksums.contains(&algorithm) {
                checksums.push(algorithm);
            }
        }
        let keeps = !self.keep_uploads.is_zero() && self.keep_uploads_max > 0;
        packetboat_files::Rules {
            checksums,
            counted_octets_max: self.count_sizes.0,
            keeping: keeps.then_some(Keeping { age: self.keep_uploads, per_user: self.keep_uploads_max }),
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            quota_octets: octets(self.quota),
            quota_files: self.quota_files.map(u64::from),
            up: octets(self.upload_rate),
            down: octets(self.download_rate),
            connections: self.connections,
            connections_per_address: self.connections_per_address,
            networks: Some(self.networks.clone()),
            denied_networks: Some(self.denied_networks.clone()),
            account: Some(demand(self.account_required)),
            cost_centres: Some(centres(&self.cost_centres)),
            disabled: Some(names(&self.disabled)),
            ..Terms::default()
        }
    }
}

impl FilesFor {
    fn terms(&self, data: &Path) -> Terms {
        Terms {
            home: self.home.clone().map(|HomePath(home)| match home {
                Home::At(path) => Home::At(path.within(data)),
                Home::None => Home::None,
            }),
            quota_octets: octets(self.quota),
            quota_files: self.quota_files.map(u64::from),
            up: octets(self.upload_rate),
            down: octets(self.download_rate),
            connections: self.connections,
            connections_per_address: self.connections_per_address,
            networks: self.networks.clone(),
            denied_networks: self.denied_networks.clone(),
            require_tls: self.require_tls,
            account: self.account_required.map(demand),
            cost_centres: self.cost_centres.as_deref().map(centres),
            disabled: self.disabled.as_deref().map(names),
            only: self.commands.as_deref().map(names),
            idle: self.timeout,
            sees_all: self.sees_all,
        }
    }
}

impl AnonymousUsers {
    fn terms(&self) -> Terms {
        Terms {
            quota_octets: octets(self.quota),
            quota_files: self.quota_files.map(u64::from),
            up: octets(self.upload_rate),
            down: octets(self.download_rate),
            connections: Some(self.connections),
            connections_per_address: Some(self.connections_per_address),
            networks: Some(self.networks.clone()),
            denied_networks: Some(self.denied_networks.clone()),
            disabled: Some(names(&self.disabled)),
            only: Some(names(&self.commands)),
            idle: Some(self.timeout),
            ..Terms::default()
        }
    }
}
