//! A DNS server from Debian for the hosts of a test: dnsmasq, which answers from its command line alone.

use std::process::Command;

use super::mounts::tree;
use super::net::Host;
use super::until;

/// What the world knows of names.
#[derive(Debug, Default)]
pub struct Zone {
    arguments: Vec<String>,
}

impl Zone {
    /// A host's address, and the name of the address.
    pub fn host(mut self, name: &str, address: &str) -> Zone {
        self.arguments.push(format!("--host-record={name},{address}"));
        self
    }

    pub fn mx(mut self, domain: &str, exchange: &str, preference: u16) -> Zone {
        self.arguments.push(format!("--mx-host={domain},{exchange},{preference}"));
        self
    }

    pub fn txt(mut self, name: &str, text: &str) -> Zone {
        self.arguments.push(format!("--txt-record={name},\"{text}\""));
        self
    }

    /// Answers on `host`; whatever is not named does not exist.
    pub fn serve(self, host: &mut Host) {
        let tree = tree("dnsmasq");
        let mut command: Command = host.command(tree.join("usr/sbin/dnsmasq"));
        command
            .env("LD_LIBRARY_PATH", super::mounts::libraries(&tree))
            .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--no-daemon", "--user=root"])
            .args(["--conf-file=/dev/null", "--pid-file=", "--local=/#/", "--log-queries"])
            .args(&self.arguments);
        host.start("dns", &mut command);
        // Whoever asks before it answers has no second chance soon.
        until("the DNS listens", || host.listens(53).then_some(()));
    }
}
