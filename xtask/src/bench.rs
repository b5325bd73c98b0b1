//! `cargo xtask bench`: builds the server and the load generator, unpacks the peers, and lets `bench/` measure.

use std::ffi::OsString;

use crate::debian;
use crate::shell::{self, Result, cargo, target_dir};

/// What Postfix with Dovecot takes from Debian.
const PEERS: &[&str] = &["postfix", "dovecot-core", "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd"];

pub(crate) fn run(arguments: &[String]) -> Result {
    let built = cargo(&["build", "--release", "--locked", "--package", "bench"]).status()?;
    if !built.success() {
        return Err("the load generator does not build".into());
    }
    let peers = debian::unpack("postfix-dovecot", PEERS)?;
    let server = shell::build_server()?;
    let bench = target_dir().join("release/bench");
    let state = target_dir().join("bench");
    let mut all: Vec<OsString> = vec!["--packetboat".into(), server.into(), "--peers".into(), peers.into()];
    // Beside the build, where a disk is; the system's temporary directory may be memory.
    all.extend(["--results".into(), state.join("results.json").into(), "--dir".into(), state.into()]);
    all.extend(arguments.iter().map(OsString::from));
    shell::become_program(&bench, &all)
}
