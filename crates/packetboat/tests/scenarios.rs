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

/// As they come: the DNS here, which knows no signatures, is one of those that have to do.
const OUR_SETTINGS: &str = "";

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
    boat::start(&mut a, "a.example", &["alice", "anton"], OUR_SETTINGS);
    submit(&a, "alice@a.example", "anton@a.example", "within one house");
    until("the letter is in the inbox", || find(boat::inbox(&a, "anton@a.example"), "within one house"));
}

#[test]
fn two_systems() {
    let world = World::new();
    let mut a = world.host("mail.a.example", "203.0.113.1/24");
    let b = world.host("mail.b.example", "203.0.113.2/24");
    let c = world.host("mail.c.example", "203.0.113.3/24");
    boat::start(&mut a, "a.example", &["alice"], OUR_SETTINGS);
    postfix::start(&b, "b.example", &["bob"], "");
    exim::start(&c, "c.example", &["carol"]);
    until("Postfix and Exim listen", || (b.listens(25) && c.listens(25)).then_some(()));

    hand_over(&b, "bob@b.example", "alice@a.example", "from Postfix");
    hand_over(&c, "carol@c.example", "alice@a.example", "from Exim");
    submit(&a, "alice@a.example", "bob@b.example", "to Postfix");
    submit(&a, "alice@a.example", "carol@c.example", "to Exim");
    until("from Postfix to us", || find(boat::inbox(&a, "alice@a.example"), "from Postfix"));
    until("from Exim to us", || find(boat::inbox(&a, "alice@a.example"), "from Exim"));
    let letter = until("from us to Postfix", || find(mounts::maildir(&b, "bob"), "to Postfix"));
    assert!(letter.contains("from mail.a.example (mail.a.example [203.0.113.1])"), "{letter}");
    until("from us to Exim", || find(mounts::maildir(&c, "carol"), "to Exim"));

    // One letter to both, and to somebody who is not there: two get it, and its sender hears of the third.
    submit(&a, "alice@a.example", "bob@b.example,carol@c.example,nobody@b.example", "to all of you");
    until("one of three by Postfix", || find(mounts::maildir(&b, "bob"), "to all of you"));
    until("one of three by Exim", || find(mounts::maildir(&c, "carol"), "to all of you"));
    let notice = until("the notice", || {
        boat::inbox(&a, "alice@a.example").into_iter().find(|m| m.contains("multipart/report"))
    });
    let facts = notice_facts(&a, &notice);
    assert_eq!(facts["from"], "", "a notice has the null sender");
    assert_eq!(facts["action"], "failed");
    assert_eq!(facts["final-recipient"], "rfc822; nobody@b.example");
    assert_eq!(facts["status"], "5.1.1");
    assert_eq!(facts["remote-mta"], "dns; mail.b.example");
    assert!(facts["diagnostic-code"].starts_with("smtp; 550 5.1.1"), "{facts:?}");
    assert_eq!(facts["returned"], "message/rfc822");
}

#[test]
fn two_systems_of_ours_and_a_server_that_is_down() {
    let world = World::new();
    let mut a = world.host("mail.a.example", "203.0.113.1/24");
    let mut d = world.host("mail.d.example", "203.0.113.4/24");
    boat::start(
        &mut a,
        "a.example",
        &["alice"],
        &format!(
            "{OUR_SETTINGS}\n[queue]\nretry = [\"1s\"]\nrest = \"1s\"\nrest_max = \"1s\"\n[relay]\nunreachable = \"1s\""
        ),
    );
    // Nothing listens there yet, and the first exchange of its domain has no address at all.
    submit(&a, "alice@a.example", "dora@d.example", "patience");
    boat::start(&mut d, "d.example", &["dora"], OUR_SETTINGS);
    let letter = until("the letter waited", || find(boat::inbox(&d, "dora@d.example"), "patience"));
    assert!(
        letter.contains("TLS1_3") || letter.contains("TLSv1.3"),
        "by STARTTLS where it is offered: {letter}"
    );
    submit(&d, "dora@d.example", "alice@a.example", "and back");
    until("the answer", || find(boat::inbox(&a, "alice@a.example"), "and back"));
}

#[test]
fn a_user_on_a_lan_sends_through_its_server() {
    let world = World::new();
    let lan = Network::new();
    // The server has a foot in both networks; the user's machine knows the LAN alone.
    let mut a = world.host("mail.a.example", "203.0.113.1/24");
    lan.join(&a, "10.7.0.1/24");
    let b = world.host("mail.b.example", "203.0.113.2/24");
    let desk = Host::new("desk", world.dir.path(), "10.7.0.1".parse().unwrap());
    lan.join(&desk, "10.7.0.2/24");
    boat::start(&mut a, "a.example", &["alice"], OUR_SETTINGS);
    postfix::start(&b, "b.example", &["bob"], "");
    until("Postfix listens", || b.listens(25).then_some(()));

    let login = ["--server", "10.7.0.1:587", "-tls", "--auth", "PLAIN", "--auth-user", "alice@a.example"];
    let letter = ["--auth-password", "secret", "--from", "alice@a.example", "--to", "bob@b.example"];
    desk.run("swaks", &[&login[..], &letter, &["--h-Subject", "from my desk"]].concat(), "");
    until("over the server to the world", || find(mounts::maildir(&b, "bob"), "from my desk"));
    // Without a log-in it is a server like any other: for its own users.
    let stranger = ["--server", "10.7.0.1:25", "--from", "alice@a.example", "--to", "bob@b.example"];
    let refused = desk.command("swaks").args(stranger).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stdout).contains("550 5.7.1"), "{refused:?}");
}

#[test]
fn both_users_behind_their_servers() {
    let world = World::new();
    let (lan_a, lan_d) = (Network::new(), Network::new());
    let mut a = world.host("mail.a.example", "203.0.113.1/24");
    lan_a.join(&a, "10.7.0.1/24");
    let mut d = world.host("mail.d.example", "203.0.113.4/24");
    lan_d.join(&d, "10.8.0.1/24");
    let [alice, dora] =
        [("alice", &lan_a, "10.7.0.2/24"), ("dora", &lan_d, "10.8.0.2/24")].map(|(name, lan, at)| {
            let host = Host::new(name, world.dir.path(), DNS.parse().unwrap());
            lan.join(&host, at);
            host
        });
    boat::start(&mut a, "a.example", &["alice"], OUR_SETTINGS);
    boat::start(&mut d, "d.example", &["dora"], OUR_SETTINGS);

    let login = ["--server", "10.7.0.1:587", "-tls", "--auth", "PLAIN", "--auth-user", "alice@a.example"];
    let letter = ["--auth-password", "secret", "--from", "alice@a.example", "--to", "dora@d.example"];
    alice.run("swaks", &[&login[..], &letter, &["--h-Subject", "from door to door"]].concat(), "");
    // Dora's machine picks it up, by IMAP and by POP3.
    let fetch = |url: &str| {
        let mut curl = dora.command("curl");
        curl.args(["--silent", "--insecure", "--ssl-reqd", "--user", "dora@d.example:secret", url]);
        String::from_utf8_lossy(&curl.output().unwrap().stdout).into_owned()
    };
    until("picked up by IMAP", || {
        fetch("imap://10.8.0.1/INBOX;MAILINDEX=1").contains("from door to door").then_some(())
    });
    assert!(fetch("pop3://10.8.0.1/1").contains("Subject: from door to door"));
}

#[test]
fn a_letter_that_goes_in_circles_comes_to_an_end() {
    let world = World::new();
    let mut a = world.host("mail.a.example", "203.0.113.1/24");
    let b = world.host("mail.b.example", "203.0.113.2/24");
    boat::start(&mut a, "a.example", &["alice"], OUR_SETTINGS);
    // Each sends on to the other.
    let forward = "virtual_alias_maps = inline:{ { round@b.example = round@a.example } }";
    postfix::start(&b, "b.example", &["bob", "round"], forward);
    let boat = boat::binary();
    a.run(boat.to_str().unwrap(), &["alias", "add", "round@a.example", "round@b.example"], "");
    until("Postfix listens", || b.listens(25).then_some(()));

    submit(&a, "alice@a.example", "round@b.example", "round and round");
    let notice = until("somebody notices", || {
        let inbox = boat::inbox(&a, "alice@a.example");
        inbox.into_iter().find(|m| m.contains("delivery-status") && m.contains("round and round"))
    });
    assert!(notice.contains("loop") || notice.contains("5.4.6"), "{notice}");
}

/// What an independent reader, Python's, finds in a notice.
fn notice_facts(host: &Host, notice: &str) -> std::collections::HashMap<String, String> {
    let script = "import sys, email, email.policy\n\
        m = email.message_from_string(sys.stdin.read(), policy=email.policy.default)\n\
        assert m.get_content_type() == 'multipart/report' and m.get_param('report-type') == 'delivery-status'\n\
        print('from=' + m['Return-Path'].strip('<>'))\n\
        text, status, returned = m.iter_parts()\n\
        assert 'could not be delivered' in text.get_content() or text.get_content().strip(), 'words for people'\n\
        assert status.get_content_type() == 'message/delivery-status'\n\
        message, recipient = status.get_payload()\n\
        assert message['Reporting-MTA'].startswith('dns;')\n\
        print('returned=' + returned.get_content_type())\n\
        for name, value in recipient.items(): print(name.lower() + '=' + ' '.join(value.split()))\n";
    let said = host.run("python3", &["-c", script], notice);
    said.lines().filter_map(|line| line.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}
