//! `cargo xtask bench`: builds the server and the load generator, unpacks the peers, and lets `bench/` measure.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::debian;
use crate::shell::{self, Result, cargo, target_dir};

/// What Postfix with Dovecot takes from Debian.
const MAIL: &[(&str, &[&str])] =
    &[("postfix-dovecot", &["postfix", "dovecot-core", "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd"])];

/// FTP servers, each in a tree of its own, because they conflict.
pub(crate) const FTP: &[(&str, &[&str])] = &[
    ("vsftpd", &["vsftpd"]),
    ("proftpd", &["proftpd-core", "proftpd-mod-crypto"]),
    ("pure-ftpd", &["pure-ftpd", "pure-ftpd-common"]),
];

/// A file system in memory.
const MEMORY: &str = "/dev/shm";

pub(crate) fn run(arguments: &[String]) -> Result {
    let built = cargo(&["build", "--release", "--locked", "--package", "bench"]).status()?;
    if !built.success() {
        return Err("the load generator does not build".into());
    }
    let is_ftp = arguments.iter().any(|argument| argument == "ftp");
    for (name, packages) in if is_ftp { FTP } else { MAIL } {
        debian::unpack(name, packages)?;
    }
    let peers = target_dir().join("debian");
    let server = shell::build_server()?;
    let bench = target_dir().join("release/bench");
    let state = target_dir().join("bench");
    let mut all: Vec<OsString> = vec!["--packetboat".into(), server.into(), "--peers".into(), peers.into()];
    // Beside the build, where a disk is; the system's temporary directory may be memory. Files that are only moved lie in
    // memory: what is measured is the server, and no server here waits for the disk.
    let dir = if is_ftp && Path::new(MEMORY).is_dir() { MEMORY.into() } else { state.clone() };
    let results = state.join(if is_ftp { "results-ftp.json" } else { "results.json" });
    fs::create_dir_all(&state)?;
    all.extend(["--results".into(), results.into(), "--dir".into(), dir.into()]);
    all.extend(arguments.iter().map(OsString::from));
    shell::become_program(&bench, &all)
}
