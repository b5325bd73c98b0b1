//! What the tests need beside Rust and a C compiler.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::bench;
use crate::debian;
use crate::shell::{Result, cargo, is_root, output, run, target_dir, which};

/// Python's IMAPClient, which Debian has only in an old version, and what its package index must hand over.
const IMAPCLIENT: &str =
    "imapclient==4.1.0 --hash=sha256:5fd62ab2a099494ed2a5a21e7bda03c1e99e3d55bdedb4e9c12c8176873a8fe4";

/// How to see that something is there, and the Debian package that brings it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    Program(&'static str, &'static str),
    PerlModule(&'static str, &'static str),
    PythonModule(&'static str, &'static str),
}

/// The foreign programs that the interop tests start.
const CLIENTS: &[Need] = &[
    Need::Program("curl", "curl"),
    Need::Program("swaks", "swaks"),
    Need::PerlModule("Net::SSLeay", "libnet-ssleay-perl"), // swaks speaks TLS with it
    Need::Program("msmtp", "msmtp"),
    Need::Program("mpop", "mpop"),
    Need::Program("fetchmail", "fetchmail"),
    Need::Program("getmail", "getmail6"),
    Need::Program("mutt", "mutt"),
    Need::Program("s-nail", "s-nail"),
    Need::Program("python3", "python3"),
    Need::PythonModule("ensurepip", "python3-venv"),
    Need::Program("mbsync", "isync"),
    Need::Program("offlineimap", "offlineimap3"),
    Need::Program("neomutt", "neomutt"),
    Need::Program("alpine", "alpine"),
    Need::Program("telnet", "telnet"),
    Need::Program("nc", "netcat-openbsd"),
    Need::Program("strace", "strace"),
    Need::Program("lftp", "lftp"),
    Need::Program("tnftp", "tnftp"),
    Need::Program("inetutils-ftp", "inetutils-ftp"),
    Need::Program("ncftpput", "ncftp"),
    Need::Program("wget", "wget"),
    Need::Program("rclone", "rclone"),
    Need::Program("fusermount3", "fuse3"), // rclone mounts with it
    Need::Program("openssl", "openssl"),
    Need::Program("ip", "iproute2"), // the networks of the tests' own hosts
];

/// Servers of others that the tests talk with, by the tree they are unpacked into: installed, each would start itself, and
/// they conflict.
const NEIGHBOURS: &[(&str, &[&str])] = &[
    // Its IMAP server's answers are compared with ours: one process for a connection, without the services around it.
    ("dovecot", &["dovecot-core", "dovecot-imapd"]),
    ("postfix", &["postfix"]),
    ("exim", &["exim4-daemon-light"]),
    ("dnsmasq", &["dnsmasq-base"]),
    // Signs zones and serves them, for what is checked by DNSSEC.
    ("nsd", &["nsd", "ldnsutils"]),
    // Writes the databases of users that are brought in from vsftpd.
    ("db", &["db5.3-util"]),
];

impl Need {
    fn is_met(&self) -> bool {
        match self {
            Need::Program(program, _) => which(program).is_some(),
            Need::PerlModule(module, _) => {
                output(Command::new("perl").arg(format!("-M{module}")).args(["-e", "1"])).is_ok()
            }
            Need::PythonModule(module, _) => {
                output(Command::new("python3").arg("-c").arg(format!("import {module}"))).is_ok()
            }
        }
    }

    fn package(&self) -> &'static str {
        match self {
            Need::Program(_, package) | Need::PerlModule(_, package) | Need::PythonModule(_, package) => {
                package
            }
        }
    }
}

/// Sees to it that every foreign client is there.
pub(crate) fn clients() -> Result {
    meet(CLIENTS)?;
    let (source, sink) = (postfix_tool("smtp-source")?, postfix_tool("smtp-sink")?);
    let imapclient = imapclient()?;
    println!("clients: all there; {}, {} and {}", source.display(), sink.display(), imapclient.display());
    for (name, packages) in NEIGHBOURS.iter().chain(bench::FTP) {
        println!("neighbours: {}", debian::unpack(name, packages)?.display());
    }
    Ok(())
}

/// Installs what is missing as root, else names it.
pub(crate) fn meet(needs: &[Need]) -> Result {
    let missing = || -> Vec<&str> { needs.iter().filter(|n| !n.is_met()).map(Need::package).collect() };
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    if !is_root() {
        return Err(format!("missing; as root: apt-get install {}", wanted.join(" ")).into());
    }
    debian::install(&wanted)?;
    match missing().as_slice() {
        [] => Ok(()),
        still => Err(format!("installed, and still not there: {}", still.join(" ")).into()),
    }
}

/// One of Postfix's programs for tests, without Postfix: the package would start a mail server, so it is only unpacked.
fn postfix_tool(name: &str) -> Result<PathBuf> {
    let place = target_dir().join("tools/bin").join(name);
    if let Some(installed) = which(name) {
        return Ok(installed);
    }
    if !place.exists() {
        let tree = debian::unpack("postfix", &["postfix"])?;
        let script = format!(
            "#!/bin/sh\nexport LD_LIBRARY_PATH={0}/usr/lib/postfix:{0}/usr/lib/x86_64-linux-gnu:{0}/usr/lib/aarch64-linux-gnu\nexec {0}/usr/sbin/{name} \"$@\"\n",
            tree.display()
        );
        fs::create_dir_all(place.with_file_name(""))?;
        fs::write(&place, script)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
    }
    Ok(place)
}

/// A Python that has IMAPClient, in an environment of its own.
fn imapclient() -> Result<PathBuf> {
    let tools = target_dir().join("tools");
    let (environment, place) = (tools.join("python"), tools.join("bin/imapclient-python"));
    if place.exists() {
        return Ok(place);
    }
    let python = environment.join("bin/python");
    let requirements = tools.join("imapclient.txt");
    fs::create_dir_all(tools.join("bin"))?;
    fs::write(&requirements, format!("{IMAPCLIENT}\n"))?;
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--requirement"]);
    run(pip.arg(&requirements)).map_err(|e| format!("{e}\n(Python's IMAPClient comes from pypi.org)"))?;
    // Written last: it says that the environment is complete.
    fs::write(&place, format!("#!/bin/sh\nexec {} \"$@\"\n", python.display()))?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
    Ok(place)
}

/// A cargo subcommand: the installed one, or one built into `target/tools`.
pub(crate) fn cargo_subcommand(name: &str) -> Result<PathBuf> {
    if let Some(installed) = which(name) {
        return Ok(installed);
    }
    let tools = target_dir().join("tools");
    let built = tools.join("bin").join(name);
    if !built.exists() {
        run(cargo(&["install", "--locked", "--quiet", name, "--root"]).arg(&tools))?;
    }
    Ok(built)
}
