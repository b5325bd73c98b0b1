//! The servers measured: this one, and Debian's Postfix with Dovecot and FTP servers.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::Result;
use crate::content::{MAILBOXES, Run};
use crate::meter::Group;
use crate::relay::OUT;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(60);
/// Where mail goes.
const DOMAIN: &str = "demo.test";
/// Of every account.
pub(crate) const PASSWORD: &str = "demo";
/// [`PASSWORD`] hashed as this server hashes it by default (argon2id, 19 MiB, 2 passes), so that a log-in costs the peer
/// the same cryptography.
const HASH: &str = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$cGFja2V0Ym9hdC1iZW5jaA$JLvnqzMLI8XvpCIVwGcE71OxahhKauyvN9rKS9FOtXQ";
/// [`PASSWORD`] by SHA-256-crypt with 1,000 rounds (0.4 ms), for FTP servers, which know no other hash that all of them
/// know: their log-ins wait for next to no cryptography.
const CHEAP_HASH: &str = "$5$rounds=1000$packetboat$wWyyMRrRTJGQ..1GZZiWda86Fo6jLK.2cCHm6Nnb81C";
/// Who logs in to FTP servers.
pub(crate) const FTP_LOGIN: &str = "alice@demo.test";
/// Owner of the peer's mail, in the peer's own `/etc` only.
const MAIL_OWNER: u32 = 64100;
/// The users Debian's packages would create.
const USERS: &[(&str, u32)] = &[
    ("bench", MAIL_OWNER),
    ("postfix", 64101),
    ("postdrop", 64102),
    ("dovecot", 64103),
    ("dovenull", 64104),
];

/// What to start.
#[derive(Debug, Clone)]
pub(crate) enum Spec {
    /// This server, from this binary.
    Packetboat { name: String, binary: PathBuf },
    /// Postfix with Dovecot, from this tree of unpacked packages.
    Peer { tree: PathBuf },
    /// Postfix alone, for relaying.
    Postfix { tree: PathBuf },
    /// Dovecot alone, for IMAP, keeping mail in this format.
    Dovecot { tree: PathBuf, format: Format },
    /// An FTP server of Debian's.
    Ftp { server: FtpServer, tree: PathBuf },
}

/// The FTP servers beside which this one is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FtpServer {
    Vsftpd,
    Proftpd,
    PureFtpd,
}

impl FtpServer {
    pub(crate) const ALL: [FtpServer; 3] = [FtpServer::Vsftpd, FtpServer::Proftpd, FtpServer::PureFtpd];

    /// Its name, which is that of its tree of packages too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            FtpServer::Vsftpd => "vsftpd",
            FtpServer::Proftpd => "proftpd",
            FtpServer::PureFtpd => "pure-ftpd",
        }
    }
}

/// How Dovecot keeps mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Maildir,
    Mdbox,
}

impl Spec {
    pub(crate) fn name(&self) -> &str {
        match self {
            Spec::Packetboat { name, .. } => name,
            Spec::Peer { .. } => "postfix-dovecot",
            Spec::Postfix { .. } => "postfix",
            Spec::Dovecot { format: Format::Maildir, .. } => "dovecot-maildir",
            Spec::Dovecot { format: Format::Mdbox, .. } => "dovecot-mdbox",
            Spec::Ftp { server, .. } => server.name(),
        }
    }

    /// The user who has to own the files that it serves; `None`: whoever starts it.
    pub(crate) fn owner(&self) -> Option<u32> {
        matches!(self, Spec::Ftp { .. }).then_some(MAIL_OWNER)
    }

    /// What exactly it is, for the record.
    pub(crate) fn version(&self) -> String {
        match self {
            Spec::Packetboat { binary, .. } => {
                let out = Command::new(binary).arg("--version").output();
                let said =
                    out.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
                format!("{said} ({})", binary.display())
            }
            Spec::Peer { tree }
            | Spec::Postfix { tree }
            | Spec::Dovecot { tree, .. }
            | Spec::Ftp { tree, .. } => {
                let listed = fs::read_to_string(tree.join("versions")).unwrap_or_default();
                let names = ["postfix", "dovecot", "vsftpd", "proftpd", "pure-ftpd"];
                let of_interest = |line: &&str| names.iter().any(|name| line.starts_with(name));
                listed.lines().filter(of_interest).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Target {
    /// Where each protocol is served; [`NOWHERE`] if it is not.
    pub(crate) smtp: SocketAddr,
    pub(crate) pop3: SocketAddr,
    pub(crate) imap: SocketAddr,
    pub(crate) imaps: SocketAddr,
    pub(crate) ftp: SocketAddr,
    pub(crate) group: Group,
    /// What it was started on.
    dir: PathBuf,
    /// From the start of its first process until it greeted.
    pub(crate) took: Duration,
    /// The certificate to trust.
    authority: PathBuf,
    child: Child,
}

/// The address of what a server does not serve.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The address, and log-in name, of mailbox `m`.
pub(crate) fn address(m: usize) -> String {
    format!("user{m:04}@{DOMAIN}")
}

impl Target {
    /// Starts a server on `dir`, which it may have used before, with at least this many accounts.
    pub(crate) fn start(spec: &Spec, dir: &Path, accounts: usize) -> Result<Target> {
        let group = next_group();
        match spec {
            Spec::Packetboat { binary, .. } => start_packetboat(binary, dir, accounts, group),
            Spec::Peer { tree } => {
                let group = group.ok_or("Postfix and Dovecot need root and a cgroup2 mount")?;
                start_peer(tree, dir, accounts, group)
            }
            Spec::Postfix { .. } => Err("Postfix alone is for relaying".into()),
            Spec::Dovecot { tree, format } => {
                let group = group.ok_or("Dovecot needs root and a cgroup2 mount")?;
                start_dovecot(tree, dir, *format, accounts, group)
            }
            Spec::Ftp { server, tree } => {
                let group = group.ok_or("FTP servers need root and a cgroup2 mount")?;
                start_ftp(*server, tree, dir, group)
            }
        }
    }

    /// Starts a server that sends on whatever it is given from this machine to the sink.
    pub(crate) fn start_relay(spec: &Spec, dir: &Path, sink: SocketAddr) -> Result<Target> {
        let group = next_group();
        match spec {
            Spec::Packetboat { binary, .. } => relay_packetboat(binary, dir, sink, group),
            Spec::Postfix { tree } => {
                let group = group.ok_or("Postfix needs root and a cgroup2 mount")?;
                relay_postfix(tree, dir, sink, group)
            }
            Spec::Peer { .. } | Spec::Dovecot { .. } | Spec::Ftp { .. } => Err("not for relaying".into()),
        }
    }

    /// The certificate (PEM) that makes its TLS believed.
    pub(crate) fn authority(&self) -> Result<Vec<u8>> {
        Ok(fs::read(&self.authority)?)
    }

    /// Where the files of [`FTP_LOGIN`] lie.
    pub(crate) fn files(&self) -> PathBuf {
        let ours = self.dir.join("data/files");
        if ours.exists() { ours.join(FTP_LOGIN) } else { self.dir.join("files") }
    }

    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.group.stop();
        let _ = self.child.wait();
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.end();
    }
}

fn next_group() -> Option<Group> {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    Group::control(&STARTED.fetch_add(1, Ordering::Relaxed).to_string())
}

fn relay_packetboat(binary: &Path, dir: &Path, sink: SocketAddr, group: Option<Group>) -> Result<Target> {
    fs::create_dir_all(dir)?;
    let smtp = free_port()?;
    let closed: String = ["submission", "submissions", "pop3", "pop3s", "imap", "imaps"]
        .map(|service| format!("{service} = []\n"))
        .concat();
    let settings = format!(
        "hostname = \"mx.demo.test\"\ndata = \"data\"\n[listen]\nsmtp = \"127.0.0.1:{smtp}\"\n{closed}\
         [relay]\ntrusted_networks = \"127.0.0.0/8\"\n[queue]\nconnections_per_destination = {OUT}\n\
         [[route]]\ndomains = \"*\"\nvia = \"host:{sink}\"\n[log]\nlevel = \"info\"\n"
    );
    let file = dir.join("packetboat.toml");
    fs::write(&file, settings)?;
    let log = fs::File::options().create(true).append(true).open(dir.with_extension("log"))?;
    let group = group.unwrap_or(Group::Tree(0));
    let mut command = group.command(binary);
    command.args(["serve", "--config"]).arg(file);
    let begun = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
    let group = if let Group::Tree(_) = group { Group::Tree(child.id()) } else { group };
    let (smtp, took) = (local(smtp), Duration::ZERO);
    let authority = PathBuf::new();
    let (pop3, imap, imaps, ftp) = (NOWHERE, NOWHERE, NOWHERE, NOWHERE);
    let dir = dir.to_owned();
    let mut target = Target { smtp, pop3, imap, imaps, ftp, group, dir, took, authority, child };
    target.wait_for_greetings(begun)?;
    Ok(target)
}

fn relay_postfix(tree: &Path, dir: &Path, sink: SocketAddr, group: Group) -> Result<Target> {
    let smtp = free_port()?;
    for sub in ["log", "run", "spool", "etc", "postfix", "queue", "data"] {
        fs::create_dir_all(dir.join(sub))?;
    }
    chown(dir.join("data"), Some(64101), Some(64101))?;
    let main = include_str!("../peer/relay.cf").replace("@SINK@", &sink.port().to_string());
    fs::write(dir.join("postfix/main.cf"), main)?;
    let master = include_str!("../peer/master.cf").replace("@SMTP@", &smtp.to_string());
    fs::write(dir.join("postfix/master.cf"), master)?;
    fs::write(dir.join("start"), include_str!("../peer/start"))?;
    write_etc(&dir.join("etc"))?;
    let ports = Ports { smtp: local(smtp), ..Ports::NONE };
    start_in_namespace(tree, dir, ports, group)
}

fn start_packetboat(binary: &Path, dir: &Path, accounts: usize, group: Option<Group>) -> Result<Target> {
    fs::create_dir_all(dir)?;
    let log = fs::File::options().create(true).append(true).open(dir.with_extension("log"))?;
    let group = group.unwrap_or(Group::Tree(0));
    let mut command = group.command(binary);
    command.args(["demo", "--json", "--accounts", &accounts.to_string(), "--dir"]).arg(dir);
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
    let group = if let Group::Tree(_) = group { Group::Tree(child.id()) } else { group };
    let output = child.stdout.take().ok_or("no output")?;
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let _ = output.read_line(&mut line);
        let _ = tell.send(line);
        // Whatever follows is of no interest, but must not fill the pipe.
        let _ = std::io::copy(&mut output, &mut std::io::sink());
    });
    let line = told.recv_timeout(START).unwrap_or_default();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
    let port = |name: &str| ready["ports"][name].as_u64().and_then(|p| u16::try_from(p).ok());
    let (Some(smtp), Some(pop3)) = (port("smtp"), port("pop3")) else {
        group.stop();
        let _ = child.wait();
        let log = fs::read_to_string(dir.with_extension("log")).unwrap_or_default();
        return Err(format!("{} demo is not ready; it said: {line}{log}", binary.display()).into());
    };
    let imap = port("imap").map_or(NOWHERE, local);
    let imaps = port("imaps").map_or(NOWHERE, local);
    let ftp = port("ftp").map_or(NOWHERE, local);
    let authority = ready["ca"].as_str().unwrap_or_default().into();
    let (smtp, pop3, took, dir) = (local(smtp), local(pop3), Duration::ZERO, dir.to_owned());
    let mut target = Target { smtp, pop3, imap, imaps, ftp, group, dir, took, authority, child };
    target.wait_for_greetings(begun)?;
    Ok(target)
}

fn start_peer(tree: &Path, dir: &Path, accounts: usize, group: Group) -> Result<Target> {
    let (smtp, pop3, lmtp) = (free_port()?, free_port()?, free_port()?);
    let _ = fs::remove_dir_all(dir.join("run"));
    for sub in ["log", "run", "spool", "etc", "mail", "postfix", "queue", "data"] {
        fs::create_dir_all(dir.join(sub))?;
    }
    chown(dir.join("mail"), Some(MAIL_OWNER), Some(MAIL_OWNER))?;
    chown(dir.join("data"), Some(64101), Some(64101))?;
    let fill = |text: &str| {
        [("@SMTP@", smtp.to_string()), ("@POP3@", pop3.to_string()), ("@LMTP@", lmtp.to_string())]
            .into_iter()
            .chain([("@UID@", MAIL_OWNER.to_string())])
            .fold(text.to_owned(), |text, (name, value)| text.replace(name, &value))
    };
    fs::write(dir.join("dovecot.conf"), fill(include_str!("../peer/dovecot.conf")))?;
    fs::write(dir.join("postfix/main.cf"), fill(include_str!("../peer/main.cf")))?;
    fs::write(dir.join("postfix/master.cf"), fill(include_str!("../peer/master.cf")))?;
    fs::write(dir.join("start"), include_str!("../peer/start"))?;
    let mut users = String::new();
    for m in 0..accounts {
        let _ = writeln!(users, "user{m:04}:{HASH}");
    }
    fs::write(dir.join("users"), users)?;
    write_etc(&dir.join("etc"))?;
    let ports = Ports { smtp: local(smtp), pop3: local(pop3), ..Ports::NONE };
    start_in_namespace(tree, dir, ports, group)
}

fn start_dovecot(tree: &Path, dir: &Path, format: Format, accounts: usize, group: Group) -> Result<Target> {
    let (imap, imaps) = (free_port()?, free_port()?);
    let _ = fs::remove_dir_all(dir.join("run"));
    for sub in ["log", "run", "spool", "etc", "mail"] {
        fs::create_dir_all(dir.join(sub))?;
    }
    chown(dir.join("mail"), Some(MAIL_OWNER), Some(MAIL_OWNER))?;
    let format = match format {
        Format::Maildir => "maildir:~/Maildir",
        Format::Mdbox => "mdbox:~/mdbox",
    };
    let configuration = include_str!("../peer/dovecot-imap.conf")
        .replace("@IMAP@", &imap.to_string())
        .replace("@IMAPS@", &imaps.to_string())
        .replace("@UID@", &MAIL_OWNER.to_string())
        .replace("@FORMAT@", format);
    fs::write(dir.join("dovecot.conf"), configuration)?;
    fs::write(dir.join("start"), include_str!("../peer/start"))?;
    let users: String = (0..accounts).map(|m| format!("user{m:04}:{{PLAIN}}{PASSWORD}\n")).collect();
    fs::write(dir.join("users"), users)?;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(dir.join("cert.pem"), made.cert.pem())?;
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem())?;
    write_etc(&dir.join("etc"))?;
    let ports = Ports { imap: local(imap), imaps: local(imaps), ..Ports::NONE };
    start_in_namespace(tree, dir, ports, group)
}

/// FTP as its administrator would set it up, with limits raised so that the load is let in.
fn start_ftp(server: FtpServer, tree: &Path, dir: &Path, group: Group) -> Result<Target> {
    let ftp = free_port()?;
    for sub in ["log", "run/empty", "spool", "etc/pam.d", "files"] {
        fs::create_dir_all(dir.join(sub))?;
    }
    chown(dir.join("files"), Some(MAIL_OWNER), Some(MAIL_OWNER))?;
    let fill = |text: &str| text.replace("@FTP@", &ftp.to_string()).replace("@UID@", &MAIL_OWNER.to_string());
    fs::write(dir.join("vsftpd.conf"), fill(include_str!("../peer/vsftpd.conf")))?;
    fs::write(dir.join("proftpd.conf"), fill(include_str!("../peer/proftpd.conf")))?;
    fs::write(dir.join("start"), include_str!("../peer/start"))?;
    let launch = match server {
        FtpServer::Vsftpd => "vsftpd /mnt/vsftpd.conf",
        FtpServer::Proftpd => "proftpd -c /mnt/proftpd.conf",
        FtpServer::PureFtpd => include_str!("../peer/pure-ftpd"),
    };
    fs::write(dir.join("launch"), fill(launch))?;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    for (name, text) in
        [("cert.pem", &certificate), ("key.pem", &key), ("both.pem", &(key.clone() + &certificate))]
    {
        let file = dir.join(name);
        fs::write(&file, text)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    }
    let etc = dir.join("etc");
    write_etc(&etc)?;
    let user = format!("{FTP_LOGIN}:x:{MAIL_OWNER}:{MAIL_OWNER}::/mnt/files:/bin/sh\n");
    fs::write(etc.join("passwd"), fs::read_to_string(etc.join("passwd"))? + &user)?;
    let shadow = etc.join("shadow");
    fs::write(&shadow, format!("{FTP_LOGIN}:{CHEAP_HASH}:19000::::::\n"))?;
    fs::set_permissions(shadow, fs::Permissions::from_mode(0o600))?;
    let users = dir.join("users");
    fs::write(&users, format!("{FTP_LOGIN}:{CHEAP_HASH}:{MAIL_OWNER}:{MAIL_OWNER}::/mnt/files:/bin/sh\n"))?;
    fs::set_permissions(users, fs::Permissions::from_mode(0o600))?;
    let pam = "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n";
    fs::write(etc.join("pam.d/bench"), pam)?;
    start_in_namespace(tree, dir, Ports { ftp: local(ftp), ..Ports::NONE }, group)
}

struct Ports {
    smtp: SocketAddr,
    pop3: SocketAddr,
    imap: SocketAddr,
    imaps: SocketAddr,
    ftp: SocketAddr,
}

impl Ports {
    const NONE: Ports = Ports { smtp: NOWHERE, pop3: NOWHERE, imap: NOWHERE, imaps: NOWHERE, ftp: NOWHERE };
}

/// Runs `peer/start` where it finds its packages in their places.
fn start_in_namespace(tree: &Path, dir: &Path, ports: Ports, group: Group) -> Result<Target> {
    let log = fs::File::create(dir.join("log/start.log"))?;
    let mut command = group.command(Path::new("unshare"));
    command.args(["--mount", "--propagation", "private", "bash"]).arg(dir.join("start")).arg(tree).arg(dir);
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    let status = child.wait()?;
    let Ports { smtp, pop3, imap, imaps, ftp } = ports;
    let (authority, took) = (dir.join("cert.pem"), Duration::ZERO);
    let mut target =
        Target { smtp, pop3, imap, imaps, ftp, group, dir: dir.to_owned(), took, authority, child };
    if !status.success() {
        let log = fs::read_to_string(dir.join("log/start.log")).unwrap_or_default();
        return Err(format!("the peer does not start: {status}\n{log}").into());
    }
    target.wait_for_greetings(begun)?;
    Ok(target)
}

impl Target {
    /// Up is: it says something.
    fn wait_for_greetings(&mut self, begun: Instant) -> Result {
        for at in [self.smtp, self.pop3, self.imap, self.ftp].into_iter().filter(|at| *at != NOWHERE) {
            let greets = || -> std::io::Result<bool> {
                let mut socket = TcpStream::connect(at)?;
                socket.set_read_timeout(Some(Duration::from_secs(5)))?;
                Ok(socket.read(&mut [0])? == 1)
            };
            while !greets().unwrap_or(false) {
                if begun.elapsed() > START {
                    return Err(format!("nothing greets at {at}").into());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.took = begun.elapsed();
        Ok(())
    }
}

/// The machine's users and groups and the peer's, and no DNS: a look-up is refused at once.
fn write_etc(etc: &Path) -> Result {
    for name in ["passwd", "group"] {
        let machine = fs::read_to_string(Path::new("/etc").join(name))?;
        let is_ours = |line: &&str| !USERS.iter().any(|(user, _)| line.starts_with(&format!("{user}:")));
        let mut text: String = machine.lines().filter(is_ours).flat_map(|line| [line, "\n"]).collect();
        for (user, id) in USERS {
            let rest =
                if name == "passwd" { format!("{id}::/nonexistent:/bin/false") } else { String::new() };
            let _ = writeln!(text, "{user}:x:{id}:{rest}");
        }
        fs::write(etc.join(name), text)?;
    }
    Ok(fs::write(etc.join("resolv.conf"), "nameserver 127.0.0.1\n")?)
}

/// Puts messages `0..count` of `run` into the peer's Maildirs as its LMTP server would, but without its syncs.
pub(crate) fn seed_maildirs(dir: &Path, run: &Run, count: usize) -> Result {
    for m in 0..MAILBOXES {
        let home = dir.join("mail").join(format!("user{m:04}"));
        let maildir = home.join("Maildir");
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(maildir.join(sub))?;
        }
        for n in run.of_mailbox(m, count) {
            let sent = run.message(n);
            let stored: Vec<u8> = sent.iter().copied().filter(|&b| b != b'\r').collect();
            let (size, with_cr) = (stored.len(), sent.len());
            let file = maildir.join("new").join(format!("1751360000.M{n}P1.bench,S={size},W={with_cr}"));
            fs::write(&file, stored)?;
            chown(&file, Some(MAIL_OWNER), Some(MAIL_OWNER))?;
        }
        for made in [home, maildir.join("cur"), maildir.join("new"), maildir.join("tmp"), maildir] {
            chown(made, Some(MAIL_OWNER), Some(MAIL_OWNER))?;
        }
    }
    Ok(())
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
