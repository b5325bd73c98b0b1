//! The four ways a letter goes, from the sender's hands into the receiver's, between real hosts with a real DNS: Postfix
//! and Exim stand on the other side, in both directions.

#![allow(clippy::unwrap_used)]

mod lab;

use lab::net::{Host, Network};
use lab::{boat, exim, mounts, postfix, until};

/// The part of the Internet that the tests need.
struct World {
    internet: Network,
    dir: tempfile::TempDir,
    _dns: Host,
}

const DNS: &str = "203.0.113.53";

impl World {
    fn new() -> World {
        let dir = tempfile::Builder::new().prefix("packetboat-lab-").tempdir().unwrap();
        let internet = Network::new();
        let mut dns = Host::new("dns", dir.path(), DNS.parse().unwrap());
        internet.join(&dns, &format!("{DNS}/24"));
        lab::dns::Zone::default()
            .host("mail.a.example", "203.0.113.1")
            .mx("a.example", "mail.a.example", 10)
            .host("mail.b.example", "203.0.113.2")
            .mx("b.example", "mail.b.example", 10)
            .host("mail.c.example", "203.0.113.3")
            .mx("c.example", "mail.c.example", 10)
            .host("mail.d.example", "203.0.113.4")
            .mx("d.example", "nowhere.d.example", 5)
            .mx("d.example", "mail.d.example", 10)
            .serve(&mut dns);
        World { internet, dir, _dns: dns }
    }

    fn host(&self, name: &str, address: &str) -> Host {
        let host = Host::new(name, self.dir.path(), DNS.parse().unwrap());
        self.internet.join(&host, address);
        host
    }
}

/// Hands a message to the server on `host` as a mail program there would, logged in.
fn submit(host: &Host, from: &str, to: &str, subject: &str) {
    let arguments = ["--server", "127.0.0.1:587", "-tls", "--auth", "PLAIN", "--auth-user", from];
    let message = ["--auth-password", "secret", "--from", from, "--to", to, "--h-Subject", subject];
    host.run("swaks", &[&arguments[..], &message[..]].concat(), "");
}

/// Hands a message to the foreign server on `host`, which trusts its own host.
fn hand_over(host: &Host, from: &str, to: &str, subject: &str) {
    host.run("swaks", &["--server", "127.0.0.1", "--from", from, "--to", to, "--h-Subject", subject], "");
}

fn find(messages: Vec<String>, subject: &str) -> Option<String> {
    let mut found: Vec<String> =
        messages.into_iter().filter(|m| m.contains(&format!("Subject: {subject}"))).collect();
    assert!(found.len() < 2, "{subject} came {} times", found.len());
    found.pop()
}

#[test]
fn sender_and_receiver_on_one_system() {
    let world = World::new();
    let mut a = world.host("mail.a.example", "203.0.113.1/24");
    boat::start(&mut a, "a.example", &["alice", "anton"], "");
    submit(&a, "alice@a.example", "anton@a.example", "within one house");
    until("the letter is in the inbox", || find(boat::inbox(&a, "anton@a.example"), "within one house"));
}

#[test]
fn two_systems() {
    let world = World::new();
    let mut a = world.host("mail.a.example", "203.0.113.1/24");
    let b = world.host("mail.b.example", "203.0.113.2/24");
    let c = world.host("mail.c.example", "203.0.113.3/24");
    boat::start(&mut a, "a.example", &["alice"], "");
    postfix::start(&b, "b.example", &["bob"], "");
    exim::start(&c, "c.example", &["carol"]);
    until("Postfix and Exim listen", || (b.listens(25) && c.listens(25)).then_some(()));

    hand_over(&b, "bob@b.example", "carol@c.example", "the lab itself");
    until("Postfix reaches Exim", || find(mounts::maildir(&c, "carol"), "the lab itself"));

    hand_over(&b, "bob@b.example", "alice@a.example", "from Postfix");
    hand_over(&c, "carol@c.example", "alice@a.example", "from Exim");
    until("from Postfix to us", || find(boat::inbox(&a, "alice@a.example"), "from Postfix"));
    until("from Exim to us", || find(boat::inbox(&a, "alice@a.example"), "from Exim"));
}
