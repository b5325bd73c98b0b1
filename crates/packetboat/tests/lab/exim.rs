//! Debian's Exim on a host.

use super::mounts::install;
use super::net::Host;

/// Starts Exim for `domain` with these `users`, each with a Maildir.
pub fn start(host: &Host, domain: &str, users: &[&str]) {
    install(host, "exim");
    let configuration = include_str!("exim.conf")
        .replace("@NAME@", host.name())
        .replace("@DOMAIN@", domain)
        .replace("@USERS@", &users.join(" : "));
    let state = host.dir().join("state");
    std::fs::write(state.join("exim.conf"), configuration).unwrap();
    host.shell(
        "mkdir -p /mnt/exim/spool /mnt/exim/log\nchown -R Debian-exim:Debian-exim /mnt/exim /mnt/mail\n\
         chmod 644 /mnt/exim.conf\nexim4 -C /mnt/exim.conf -bd -q2s",
    );
}

/// What it logged.
pub fn log(host: &Host) -> String {
    std::fs::read_to_string(host.dir().join("state/exim/log/main.log")).unwrap_or_default()
}
