//! NSD from Debian with signed zones, for what is checked by DNSSEC: it has the root and everything below it, and answers as
//! a resolver would.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::mounts::{libraries, tree};
use super::net::{Host, succeed};
use super::until;

/// How a zone is signed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Signed {
    Not,
    Yes,
    /// And then changed behind the signer's back: each of the first for the second.
    Forged(&'static str, &'static str),
}

/// A program of the tree, run on a host in its directory.
fn tool(host: &Host, name: &str) -> Command {
    let tree = tree("nsd");
    let program = ["usr/sbin", "usr/bin"].map(|place| tree.join(place).join(name));
    let mut command = host.command(program.iter().find(|it| it.exists()).unwrap());
    command.env("LD_LIBRARY_PATH", libraries(&tree));
    command
}

fn said(command: &mut Command) -> String {
    String::from_utf8(succeed(command).stdout).unwrap().trim().to_owned()
}

/// Serves these zones, all of them top-level domains, on `host`, at `address`. Gives the file of the root's key.
pub fn serve(host: &mut Host, address: &str, zones: &[(&str, Signed, &str)]) -> PathBuf {
    let dir = host.dir().to_owned();
    let mut delegations = String::new();
    let mut listed = String::new();
    let mut anchor = PathBuf::new();
    let root = (".", Signed::Yes, "");
    for &(zone, signed, records) in zones.iter().chain([&root]) {
        let name_server = format!("ns.{}", if zone == "." { "" } else { zone });
        let mut text = format!(
            "$ORIGIN {zone}\n$TTL 60\n@ SOA {name_server} hostmaster.{zone} 1 3600 600 86400 60\n@ NS {name_server}\n\
             {name_server} A {address}\n{records}"
        );
        if zone == "." {
            text = text.replace("hostmaster..", "hostmaster.");
            text.push_str(&delegations);
        }
        let file = if zone == "." { "root".to_owned() } else { zone.to_owned() };
        fs::write(dir.join(&file), text).unwrap();
        delegations.push_str(&format!("{zone} NS {name_server}\n{name_server} A {address}\n"));
        let mut served = file.clone();
        if signed != Signed::Not {
            let key = said(tool(host, "ldns-keygen").args(["-a", "ED25519", "-k", zone]));
            delegations.push_str(&said(tool(host, "ldns-key2ds").args(["-n", "-2", &format!("{key}.key")])));
            delegations.push('\n');
            served = format!("{file}.signed");
            said(tool(host, "ldns-signzone").args(["-f", &served, "-o", zone, &file, &key]));
            if let Signed::Forged(from, to) = signed {
                let text = fs::read_to_string(dir.join(&served)).unwrap();
                assert!(text.contains(from), "{text}");
                fs::write(dir.join(&served), text.replace(from, to)).unwrap();
            }
            if zone == "." {
                anchor = dir.join(format!("{key}.key"));
            }
        }
        listed.push_str(&format!("zone:\n  name: \"{zone}\"\n  zonefile: \"{served}\"\n"));
    }
    let place = dir.display();
    let configuration = format!(
        "server:\n  username: \"\"\n  chroot: \"\"\n  rrl-ratelimit: 0\n  server-count: 1\n  ip-address: {address}\n  zonesdir: \"{place}\"\n  \
         pidfile: \"{place}/pid\"\n  database: \"\"\n  zonelistfile: \"{place}/zones\"\n  xfrdfile: \"{place}/xfrd\"\n  xfrdir: \"{place}\"\n\
         remote-control:\n  control-enable: no\n{listed}"
    );
    fs::write(dir.join("nsd.conf"), configuration).unwrap();
    let mut command = tool(host, "nsd");
    command.arg("-d").arg("-c").arg(dir.join("nsd.conf"));
    host.start("nsd", &mut command);
    until("NSD listens", || host.listens_at(address, 53).then_some(()));
    anchor
}
