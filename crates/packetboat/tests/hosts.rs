//! Domains with several mail hosts (RFC 5321 section 5.1): who puts a message off is followed by the next, who has taken it by
//! nobody, and where this server stands among them, the list ends.

#![allow(clippy::unwrap_used)]

mod lab;

use std::collections::BTreeMap;

use lab::net::{Host, Network};
use lab::{boat, until};
use serde_json::Value;

const DNS: &str = "203.0.113.53";
const SINK: &str = include_str!("hosts/sink.py");
const US: &str = "203.0.113.1";
/// Where nobody is.
const DEAD: &str = "203.0.113.250";

/// A mail host: what it says to which verb, or an address.
enum At {
    Sink(&'static [(&'static str, &'static str)]),
    Address(&'static str),
}
use At::{Address, Sink};

struct Case {
    domain: &'static str,
    hosts: &'static [At],
    /// To whom the message is.
    to: &'static [&'static str],
    /// What each recipient comes to: the place of the host that takes it, `waits`, or `fails`.
    comes: &'static [&'static str],
    /// Which hosts are called at all.
    called: &'static str,
}

const GOOD: At = Sink(&[]);

const CASES: &[Case] = &[
    case("connect", &[Sink(&[("CONNECT", "421 4.3.2 not now")]), GOOD], "1", "0 1"),
    case("gone", &[Sink(&[("CONNECT", "554 5.3.2 no mail here")]), GOOD], "1", "0 1"),
    case("ehlo", &[Sink(&[("EHLO", "421 4.3.2 not now"), ("HELO", "421 4.3.2 not now")]), GOOD], "1", "0 1"),
    case("mail", &[Sink(&[("MAIL", "451 4.3.0 try later")]), GOOD], "1", "0 1"),
    case("close", &[Sink(&[("MAIL", "421 4.3.0 try later")]), GOOD], "1", "0 1"),
    case("data", &[Sink(&[("DATA", "451 4.3.0 try later")]), GOOD], "1", "0 1"),
    case("rcpt", &[Sink(&[("RCPT", "451 4.7.1 try later")]), GOOD], "1", "0 1"),
    case("utf8", &[Sink(&[("EHLO", "250-sink\r\n250 8BITMIME")]), GOOD], "1", "0 1"),
    // What is not to be had elsewhere, or must not be tried elsewhere.
    case("end", &[Sink(&[("END", "451 4.3.0 try later")]), GOOD], "waits", "0"),
    case("full", &[Sink(&[("RCPT", "452 4.2.2 mailbox full")]), GOOD], "waits", "0"),
    case("refused", &[Sink(&[("MAIL", "550 5.7.1 never")]), GOOD], "fails", "0"),
    case(
        "two",
        &[Sink(&[("MAIL", "451 4.3.0 later")]), Sink(&[("MAIL", "451 4.3.0 later")]), GOOD],
        "waits",
        "0 1",
    ),
    Case {
        to: &["one", "two", "three"],
        comes: &["0", "waits", "fails"],
        ..case(
            "mixed",
            &[Sink(&[("RCPT two@", "451 4.7.1 try later"), ("RCPT three@", "550 5.1.1 who")]), GOOD],
            "0",
            "0",
        )
    },
    Case {
        to: &["one", "two", "three"],
        comes: &["1", "1", "fails"],
        ..case(
            "part",
            &[Sink(&[("RCPT", "451 4.7.1 later"), ("RCPT three@", "550 5.1.1 who")]), GOOD],
            "1",
            "0 1",
        )
    },
    // This server, under a name of which it knows nothing.
    case("circle", &[Address(US), GOOD], "fails", ""),
    case("backup", &[Address(DEAD), Address(US), GOOD], "waits", ""),
];

const fn case(domain: &'static str, hosts: &'static [At], comes: &'static str, called: &'static str) -> Case {
    let comes: &'static [&'static str] = match comes.as_bytes() {
        b"0" => &["0"],
        b"1" => &["1"],
        b"waits" => &["waits"],
        _ => &["fails"],
    };
    Case { domain, hosts, to: &["one"], comes, called }
}

fn address(domain: usize, host: usize) -> String {
    format!("203.0.113.{}", 100 + domain * 3 + host)
}

/// What became of a recipient, as the story tells it.
fn last_try(a: &Host, to: &str) -> Option<Value> {
    let said = a.command(boat::binary()).args(["trace", "--json", to]).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    let story: Value = serde_json::from_str(text.lines().next()?).unwrap();
    let of = |it: &&Value| it["event"] == "tried" && it["to"] == to;
    story["events"].as_array().unwrap().iter().rfind(of).cloned()
}

#[test]
fn the_next_host_is_asked_where_it_may_know_better() {
    let dir = tempfile::Builder::new().prefix("packetboat-lab-").tempdir().unwrap();
    let internet = Network::new();
    let host = |name: &str, address: &str| {
        let host = Host::new(name, dir.path(), DNS.parse().unwrap());
        internet.join(&host, &format!("{address}/24"));
        host
    };
    let mut dns = host("dns", DNS);
    let mut sinks = host("sinks", "203.0.113.99");
    let mut a = host("mail.a.example", US);
    let mut zone = lab::dns::Zone::default();
    let mut answers = BTreeMap::new();
    for (number, case) in CASES.iter().enumerate() {
        for (place, at) in case.hosts.iter().enumerate() {
            let name = format!("mx{place}.{}.example", case.domain);
            let at = match at {
                Address(at) => (*at).to_owned(),
                Sink(says) => {
                    let at = address(number, place);
                    sinks.shell(&format!("ip address add {at}/24 dev eth0"));
                    answers.insert(at.clone(), says.iter().copied().collect::<BTreeMap<_, _>>());
                    at
                }
            };
            let preference = u16::try_from(10 * (place + 1)).unwrap();
            zone = zone.host(&name, &at).mx(&format!("{}.example", case.domain), &name, preference);
        }
    }
    zone.serve(&mut dns);
    std::fs::write(sinks.dir().join("answers"), serde_json::to_string(&answers).unwrap()).unwrap();
    let mut command = sinks.command("python3");
    command.args(["-c", SINK, "answers"]);
    sinks.start("sinks", &mut command);
    boat::start(&mut a, "a.example", &["alice"], "[relay]\nconnect_timeout = \"5s\"\n");

    for case in CASES {
        let to: Vec<String> = case.to.iter().map(|who| format!("{who}@{}.example", case.domain)).collect();
        if case.domain == "utf8" {
            let script = "import smtplib, ssl, sys\ns = smtplib.SMTP('127.0.0.1', 587)\n\
                s.starttls(context=ssl._create_unverified_context())\ns.login('alice@a.example', 'secret')\n\
                s.sendmail('alice@a.example', [sys.argv[1]], 'Subject: ol\\u00e9\\r\\n\\r\\n'.encode(), ['SMTPUTF8', 'BODY=8BITMIME'])\n";
            a.run("python3", &["-c", script, &to[0]], "");
            continue;
        }
        let login =
            ["--server", "127.0.0.1:587", "-tls", "--auth", "PLAIN", "--auth-user", "alice@a.example"];
        let letter = ["--auth-password", "secret", "--from", "alice@a.example", "--to", &to.join(",")];
        a.run("swaks", &[&login[..], &letter[..]].concat(), "");
    }
    let mut wrong = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        let mut came = Vec::new();
        for who in case.to {
            let to = format!("{who}@{}.example", case.domain);
            let tried = until(&format!("a try to reach {to}"), || last_try(&a, &to));
            came.push(match tried["became"].as_str().unwrap() {
                "delivered" => (0..3)
                    .find(|place| tried["address"] == address(number, *place).as_str())
                    .map_or("nowhere".to_owned(), |place| place.to_string()),
                "deferred" => "waits".to_owned(),
                _ => "fails".to_owned(),
            });
        }
        let seen = std::fs::read_to_string(sinks.dir().join("seen")).unwrap_or_default();
        let seen: Vec<Value> = seen.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let at = |place: usize, event: &str| {
            seen.iter()
                .filter(|it| it["at"] == address(number, place).as_str() && it["event"] == event)
                .count()
        };
        let called: Vec<String> =
            (0..3).filter(|place| at(*place, "connected") > 0).map(|place| place.to_string()).collect();
        let taken: usize = (0..3).map(|place| at(place, "taken")).sum();
        let expected = usize::from(case.comes.iter().any(|it| it.len() == 1));
        if came != case.comes || called.join(" ") != case.called || taken != expected {
            wrong.push(format!("{}: {came:?}, called {called:?}, taken {taken}", case.domain));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let notice = until("a notice about the circle", || {
        boat::inbox(&a, "alice@a.example").into_iter().find(|it| it.contains("one@circle.example"))
    });
    assert!(notice.contains("Status: 5.4.6"), "{notice}");
}
