#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use tokio::net::TcpListener;

use super::*;
use crate::dns::{Answer, Found, LookupError, Mx, Security, Srv, Tlsa};

/// `name A address` and `name MX preference host`; `name FAIL` is a name that nobody can find out about.
#[derive(Debug)]
struct Zone(HashMap<String, Vec<String>>);

impl Zone {
    fn of(lines: &[&str]) -> Zone {
        let mut zone: HashMap<String, Vec<String>> = HashMap::new();
        for line in lines {
            let (name, rest) = line.split_once(' ').unwrap();
            zone.entry(name.to_owned()).or_default().push(rest.to_owned());
        }
        Zone(zone)
    }

    fn ask<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Found<Vec<T>> {
        let lines = self.0.get(name).map(Vec::as_slice).unwrap_or_default();
        if lines.iter().any(|line| line == "FAIL") {
            return Err(LookupError::Failed("SERVFAIL".to_owned()));
        }
        let data = lines.iter().filter_map(|line| read(line)).collect();
        Ok(Answer { data, alias: None, security: Security::Insecure })
    }
}

impl Lookup for Zone {
    async fn mx(&self, name: &str) -> Found<Vec<Mx>> {
        self.ask(name, |line| {
            let (preference, exchange) = line.strip_prefix("MX ")?.split_once(' ')?;
            Some(Mx { preference: preference.parse().ok()?, exchange: exchange.to_owned() })
        })
    }

    async fn addresses(&self, name: &str) -> Found<Vec<IpAddr>> {
        self.ask(name, |line| line.strip_prefix("A ")?.parse().ok())
    }

    async fn ptr(&self, _: IpAddr) -> Found<Vec<String>> {
        self.ask("", |_| None)
    }

    async fn txt(&self, _: &str) -> Found<Vec<Vec<u8>>> {
        self.ask("", |_| None)
    }

    async fn srv(&self, _: &str) -> Found<Vec<Srv>> {
        self.ask("", |_| None)
    }

    async fn tlsa(&self, _: &str) -> Found<Vec<Tlsa>> {
        self.ask("", |_| None)
    }

    async fn alias(&self, _: &str) -> Found<Option<String>> {
        Ok(Answer { data: None, alias: None, security: Security::Insecure })
    }
}

fn dialer(lines: &[&str], port: u16) -> Dialer<Zone> {
    let default = SameForAll(TlsDemand::Opportunistic);
    Dialer {
        settings: DialSettings {
            port,
            source_ipv4: Some(Ipv4Addr::new(127, 0, 0, 9)),
            source_ipv6: None,
            prefer: Prefer::Ipv4,
            connect_timeout: Duration::from_secs(10),
        },
        lookup: Some(Zone::of(lines)),
        rules: Arc::new(default.clone()),
        default,
        unreachable: Unreachable::new(Duration::from_secs(30)),
        limit: HostLimit::new(2),
        own: OwnAddresses::default(),
    }
}

fn ours(name: &str) -> bool {
    name == "us.test"
}

/// The connections along the way, and what failed, until nothing is left.
async fn journey(dialer: &Dialer<Zone>, domain: &str) -> Vec<String> {
    let domain = domain.parse().unwrap();
    let mut itinerary = match dialer.exchangers(&domain, ours).await {
        Ok(itinerary) => itinerary,
        Err(why) => return vec![format!("{why:?}")],
    };
    let failures = std::sync::Mutex::new(Vec::new());
    let mut seen = Vec::new();
    loop {
        let mut failed =
            |not: NotDialled| failures.lock().unwrap().push(format!("- {} {}", not.host, not.why));
        let dialled = dialer.next(&mut itinerary, Wish::Usual, &mut failed).await;
        seen.append(&mut failures.lock().unwrap());
        match dialled {
            Some(dialled) => seen.push(format!("+ {} {}", dialled.host.name, dialled.address.unwrap().ip())),
            None => break,
        }
    }
    if itinerary.has_no_address() {
        seen.push("no address".to_owned());
    }
    seen
}

#[tokio::test]
async fn who_does_not_answer_is_followed_by_the_next() {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let zone = [
        "d.test MX 10 dead.test",
        "d.test MX 20 alive.test",
        "d.test MX 30 nowhere.test",
        "dead.test A 127.0.0.3",
        "dead.test A 127.0.0.4",
        "alive.test A 127.0.0.2",
    ];
    let dialer = dialer(&zone, port);
    let seen = journey(&dialer, "d.test").await;
    let shown: Vec<&str> =
        seen.iter().map(|it| it.rsplit_once(" (").map_or(it.as_str(), |it| it.0)).collect();
    assert_eq!(
        shown,
        [
            "- dead.test Connection refused",
            "- dead.test Connection refused",
            "+ alive.test 127.0.0.2",
            "- nowhere.test there is no address under this name",
        ]
    );
    // From the address that is set.
    let (_, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.ip().to_string(), "127.0.0.9");
    // What did not answer is not asked again for a while.
    let again = journey(&dialer, "d.test").await;
    assert!(again[0].ends_with("a moment ago") && again[1].ends_with("a moment ago"), "{again:?}");
    assert_eq!(again[2], "+ alive.test 127.0.0.2");
}

#[tokio::test]
async fn the_other_family_is_tried_too() {
    // Not every machine has one.
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let port = listener.local_addr().unwrap().port();
    let zone = ["d.test A 127.0.0.5", "d.test A ::1", "d.test A 127.0.0.6"];
    let seen = journey(&dialer(&zone, port), "d.test").await;
    assert!(seen[0].starts_with("- d.test Connection refused") && seen[1] == "+ d.test ::1", "{seen:?}");
    // What is left of the host has its turn when the first connection came to nothing.
    assert!(seen[2].starts_with("- d.test Connection refused") && seen.len() == 3, "{seen:?}");
}

#[tokio::test]
async fn where_there_is_nobody() {
    let zone =
        ["null.test MX 0 ", "self.test MX 10 us.test", "broken.test FAIL", "half.test MX 10 broken.test"];
    let dialer = dialer(&zone, 9);
    for (domain, expected) in [
        ("null.test", vec!["Ever(NullMx)"]),
        ("self.test", vec!["Ever(Ourselves)"]),
        ("broken.test", vec!["ForNow(\"looking up the mail hosts of broken.test: SERVFAIL\")"]),
        ("half.test", vec!["- broken.test looking up its address: SERVFAIL"]),
        ("none.test", vec!["- none.test there is no address under this name", "no address"]),
    ] {
        assert_eq!(journey(&dialer, domain).await, expected, "{domain}");
    }
}

#[tokio::test]
async fn this_server_is_known_by_its_addresses() {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let zone = [
        "better.test MX 10 dead.test",
        "better.test MX 20 alias.test",
        "better.test MX 30 worse.test",
        "best.test MX 10 alias.test",
        "best.test MX 20 worse.test",
        "dead.test A 127.0.0.3",
        "alias.test A 127.0.0.4",
        "worse.test A 127.0.0.2",
    ];
    let dialer = Dialer {
        own: OwnAddresses::new([SocketAddr::new([127, 0, 0, 4].into(), at.port())]),
        ..dialer(&zone, at.port())
    };
    let here = "- alias.test this is one of the addresses of this server";
    assert_eq!(journey(&dialer, "best.test").await, [here, "no address"]);
    let seen = journey(&dialer, "better.test").await;
    assert!(
        seen.len() == 2 && seen[0].starts_with("- dead.test Connection refused") && seen[1] == here,
        "{seen:?}"
    );
}

#[tokio::test]
async fn an_address_in_place_of_a_domain_is_dialled() {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let dialer = dialer(&[], listener.local_addr().unwrap().port());
    assert_eq!(journey(&dialer, "[127.0.0.2]").await, ["+ 127.0.0.2 127.0.0.2"]);
}

#[test]
fn hosts_as_settings_write_them() {
    let shown =
        |hop: &str| fixed(&hop.parse().unwrap()).map(|host| format!("{} {:?}", host.name, host.place));
    for (hop, expected) in [
        ("host:mail.test:25", Some("mail.test System { port: 25 }")),
        ("host:[::1]:25", Some("::1 Address([::1]:25)")),
        ("host:127.0.0.1:2525", Some("127.0.0.1 Address(127.0.0.1:2525)")),
        ("lmtp:/run/lmtp", Some("/run/lmtp Local")),
        ("lmtp:mail.test:24", Some("mail.test System { port: 24 }")),
        ("lmtp:mail.test", None),
        ("mx:mail.test", None),
        ("peer:mail.test", None),
    ] {
        assert_eq!(shown(hop).as_deref(), expected, "{hop}");
    }
}
