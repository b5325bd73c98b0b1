//! `cargo xtask bench`: builds the server and the load generator, unpacks the peers, and lets `bench/` measure.

use crate::debian;
use crate::shell::{self, Result, cargo, target_dir};

/// What Postfix with Dovecot takes from Debian.
const PEERS: &[&str] = &["postfix", "dovecot-core", "dovecot-pop3d", "dovecot-lmtpd"];

pub(crate) fn run(arguments: &[String]) -> Result {
    let built = cargo(&["build", "--release", "--locked", "--package", "bench"]).status()?;
    if !built.success() {
        return Err("the load generator does not build".into());
    }
    let peers = debian::unpack("postfix-dovecot", PEERS)?;
    let server = shell::build_server()?;
    let bench = target_dir().join("release/bench");
    let mut all = vec!["--packetboat".to_owned(), server.display().to_string()];
    all.extend(["--peers".to_owned(), peers.display().to_string()]);
    all.extend(arguments.iter().cloned());
    shell::become_program(&bench, &all)
}
