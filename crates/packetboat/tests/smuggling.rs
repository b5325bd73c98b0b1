//! SMTP smuggling through us: whatever form of an end of data a message hides, whoever receives it from us sees one message,
//! and we see one for each that another server has taken.

#![allow(clippy::unwrap_used)]

mod lab;

use lab::net::{Host, Network};
use lab::{boat, exim, mounts, postfix, until};

const DNS: &str = "203.0.113.53";
const ATTACK: &str = include_str!("smuggling/attack.py");
const LENIENT: &str = include_str!("smuggling/lenient.py");

/// Postfix as it was before it had heard of smuggling.
const CREDULOUS: &str =
    "smtpd_forbid_bare_newline = no\nsmtpd_forbid_unauth_pipelining = no\nsmtpd_error_sleep_time = 0";
/// Whoever is a neighbour may send by us.
const OPEN_HOUSE: &str = "[relay]\ntrusted_networks = [\"127.0.0.0/8\", \"203.0.113.0/24\"]\n";

/// What became of one form: its name, the messages that were taken, and the replies.
struct Tried {
    form: String,
    taken: usize,
    replies: Vec<String>,
}

/// Attacks the server on this host.
fn attack(host: &Host, way: &str, to: &str) -> Vec<Tried> {
    let said = host.run("python3", &["-c", ATTACK, "25", way, to], "");
    let tried = |line: &str| {
        let (form, replies): (String, Vec<String>) = serde_json::from_str(line).unwrap();
        // A yes to a sender or recipient that was hidden is none to a message.
        let taken = |reply: &&String| {
            reply.starts_with("250")
                && (reply.contains("queued") || reply.contains("id=") || reply.contains("2.0.0 OK"))
        };
        Tried { form, taken: replies.iter().filter(taken).count(), replies }
    };
    let tried: Vec<Tried> = said.lines().map(tried).collect();
    assert!(tried.len() > 20, "{said}");
    tried
}

/// The header of a message, as far as the first empty line.
fn header(message: &str) -> &str {
    message.split("\r\n\r\n").next().unwrap().split("\n\n").next().unwrap()
}

/// Those of the messages that this form led to, hidden or not. Each must have come by way of `by`.
fn of_form<'m>(messages: &'m [String], form: &str, by: &str) -> Vec<&'m str> {
    let subject = |message: &&str, what: &str| {
        let subject = format!("Subject: {what} {form}");
        header(message).lines().any(|line| line == subject || line.starts_with(&format!("{subject} ")))
    };
    let found: Vec<&str> = messages
        .iter()
        .map(String::as_str)
        .filter(|it| subject(it, "outer") || subject(it, "hidden"))
        .collect();
    for message in &found {
        assert!(header(message).contains(&format!("by {by}")), "{form}: never passed {by}:\n{message:?}");
    }
    found
}

fn world() -> (Network, tempfile::TempDir, Host) {
    let dir = tempfile::Builder::new().prefix("packetboat-lab-").tempdir().unwrap();
    let internet = Network::new();
    let mut dns = Host::new("dns", dir.path(), DNS.parse().unwrap());
    internet.join(&dns, &format!("{DNS}/24"));
    let mut zone = lab::dns::Zone::default();
    for (letter, number) in [("a", 1), ("b", 2), ("c", 3), ("l", 4)] {
        let mail = format!("mail.{letter}.example");
        zone = zone.host(&mail, &format!("203.0.113.{number}")).mx(&format!("{letter}.example"), &mail, 10);
    }
    zone.serve(&mut dns);
    (internet, dir, dns)
}

fn join(internet: &Network, dir: &tempfile::TempDir, letter: &str, number: u8) -> Host {
    let host = Host::new(&format!("mail.{letter}.example"), dir.path(), DNS.parse().unwrap());
    internet.join(&host, &format!("203.0.113.{number}/24"));
    host
}

/// What the lenient server took, as texts with its senders before them.
fn lenient(host: &Host) -> Vec<String> {
    let taken = std::fs::read_to_string(host.dir().join("taken")).unwrap_or_default();
    let one = |line: &str| {
        let (sender, text): (String, Vec<String>) = serde_json::from_str(line).unwrap();
        format!("X-Sender: {sender}\n{}", text.join("\n"))
    };
    taken.lines().map(one).collect()
}

#[test]
fn nothing_is_smuggled_through_us() {
    let (internet, dir, _dns) = world();
    let mut a = join(&internet, &dir, "a", 1);
    let (b, c) = (join(&internet, &dir, "b", 2), join(&internet, &dir, "c", 3));
    let mut l = join(&internet, &dir, "l", 4);
    boat::start(&mut a, "a.example", &["alice"], OPEN_HOUSE);
    let program = boat::binary();
    a.run(program.to_str().unwrap(), &["alias", "add", "via@a.example", "lena@l.example"], "");
    postfix::start(&b, "b.example", &["bob"], CREDULOUS);
    exim::start(&c, "c.example", &["carol"]);
    let mut command = l.command("python3");
    command.args(["-c", LENIENT, "8BITMIME", "SMTPUTF8"]);
    l.start("lenient", &mut command);
    until("all listen", || (b.listens(25) && c.listens(25) && l.listens(25)).then_some(()));

    // Into us, and out to each of them.
    let ways = [("data", 1, 2), ("bdat", 1, 3), ("binary", 2, 3)];
    let receivers: [(&str, &dyn Fn() -> Vec<String>); 3] = [
        ("bob@b.example", &|| mounts::maildir(&b, "bob")),
        ("carol@c.example", &|| mounts::maildir(&c, "carol")),
        ("lena@l.example", &|| lenient(&l)),
    ];
    for (to, received) in receivers {
        let mut expected = std::collections::BTreeMap::<String, usize>::new();
        let mut all = 0;
        for (way, messages, replies) in ways {
            for tried in attack(&a, way, to) {
                // One answer for each message, or chunk, and one for QUIT: nothing of what was hidden was heard.
                assert_eq!(tried.replies.len(), replies, "{way} {}: {:?}", tried.form, tried.replies);
                let refused = tried.replies.iter().any(|it| it.starts_with("554 5.6.0"));
                assert!(tried.taken == messages || refused, "{way} {}: {:?}", tried.form, tried.replies);
                let is_bare = tried.form.split('-').any(|it| matches!(it, "lf" | "cr" | "crcrlf" | "lfcr"));
                if way != "binary" {
                    assert_eq!(tried.taken, usize::from(!is_bare), "{way} {}", tried.form);
                }
                *expected.entry(tried.form).or_default() += tried.taken;
                all += tried.taken;
            }
        }
        // What cannot be written anew for the receiver comes back to its sender.
        let failed = || {
            let log = std::fs::read_to_string(a.dir().join("packetboat.log")).unwrap();
            let told =
                |line: &&str| line.contains(&format!("to=\"{to}\"")) && line.contains("what=\"failed\"");
            log.lines().filter(told).count()
        };
        until(&format!("all has gone to {to}"), || (received().len() + failed() >= all).then_some(()));
        let (messages, failed) = (received(), failed());
        assert!(messages.len() <= all, "{to}: {} of {all}", messages.len());
        let mut arrived = 0;
        for (form, taken) in &expected {
            let found = of_form(&messages, form, "mail.a.example").len();
            assert!(found <= *taken, "{to} {form}: {found} messages of {taken}");
            arrived += found;
            let is_whole = |m: &String| m.contains("hidden") || m.contains("plain");
            assert!(messages.iter().all(is_whole), "{to}");
        }
        assert_eq!(arrived, messages.len(), "{to}: a message of no form");
        let from_boss = |line: &str| {
            (line.starts_with("Return-path:")
                || line.starts_with("Return-Path:")
                || line.starts_with("X-Sender:"))
                && line.contains("boss@")
        };
        assert!(!messages.iter().any(|it| header(it).lines().any(from_boss)), "{to}");
        assert!(arrived + failed == all && failed < 8, "{to}: {arrived} of {all} arrived, {failed} failed");
    }

    // From each of them, which believe more, to us and through us.
    let at_l = lenient(&l).len();
    for (host, by) in [(&b, "mail.b.example"), (&c, "mail.c.example")] {
        let mut taken = std::collections::BTreeMap::<String, usize>::new();
        for to in ["alice@a.example", "via@a.example"] {
            for tried in attack(host, "data", to) {
                *taken.entry(tried.form).or_default() += tried.taken;
            }
        }
        let all: usize = taken.values().sum();
        let before = lenient(&l).len();
        assert!(before >= at_l);
        let messages = || -> Vec<String> {
            let mut all = boat::inbox(&a, "alice@a.example");
            all.extend(lenient(&l));
            all.into_iter().filter(|it| header(it).contains(&format!("by {by}"))).collect()
        };
        until(&format!("{by} has sent all"), || (messages().len() >= all).then_some(()));
        std::thread::sleep(std::time::Duration::from_millis(500));
        for (form, taken) in &taken {
            assert_eq!(of_form(&messages(), form, by).len(), *taken, "from {by}: {form}");
        }
    }
    // Nothing came out of us that had not come in: all that the lenient server has passed us.
    for message in lenient(&l) {
        assert!(header(&message).contains("by mail.a.example"), "{message}");
    }
}
