#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record as Written, RecordType, rdata};
use tokio::net::UdpSocket;

use super::*;

const HOST: &str = "mail.example.org";
const DOMAIN: &str = "example.org";
const PATIENCE: Duration = Duration::from_secs(60);

/// A zone in a few lines, `name TYPE value`; the type FAIL is a failure to find out, DEAD a resolver that is gone, and
/// HANG one that never answers.
#[derive(Debug)]
struct Table(BTreeMap<(String, String), Vec<String>>);

impl Table {
    fn new(lines: &[&str]) -> Table {
        let mut rows: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for line in lines {
            let mut words = line.splitn(3, ' ').map(str::to_owned);
            let key = (words.next().unwrap(), words.next().unwrap());
            rows.entry(key).or_default().extend(words);
        }
        Table(rows)
    }

    fn has(&self, name: &str, kind: &str) -> bool {
        self.0.contains_key(&(name.to_owned(), kind.to_owned()))
    }

    async fn ask(&self, name: &str, kind: &str) -> Result<Vec<String>, LookupError> {
        if self.has(name, "FAIL") {
            return Err(LookupError::Failed("SERVFAIL".to_owned()));
        }
        if self.has(name, "DEAD") {
            return Err(LookupError::Unreachable("refused".to_owned()));
        }
        if self.has(name, "HANG") {
            std::future::pending::<()>().await;
        }
        Ok(self.0.get(&(name.to_owned(), kind.to_owned())).cloned().unwrap_or_default())
    }
}

fn numbered(value: &str) -> (u16, String) {
    let (number, name) = value.split_once(' ').unwrap();
    (number.parse().unwrap(), name.to_owned())
}

/// As an answer of a zone that nobody has signed.
fn unsigned<T>(data: T) -> Answer<T> {
    Answer { data, alias: None, security: Security::Insecure }
}

impl Lookup for Table {
    async fn mx(&self, name: &str) -> Found<Vec<Mx>> {
        let mx = |value: String| {
            let (preference, exchange) = numbered(&value);
            Mx { preference, exchange }
        };
        Ok(unsigned(self.ask(name, "MX").await?.into_iter().map(mx).collect()))
    }

    async fn addresses(&self, name: &str) -> Found<Vec<IpAddr>> {
        let addresses = self.ask(name, "A").await?.iter().map(|it| it.parse().unwrap()).collect();
        let alias = self.has(name, "CNAME").then(|| "other.example".to_owned());
        Ok(Answer { alias, ..unsigned(addresses) })
    }

    async fn ptr(&self, address: IpAddr) -> Found<Vec<String>> {
        Ok(unsigned(self.ask(&address.to_string(), "PTR").await?))
    }

    async fn txt(&self, name: &str) -> Found<Vec<Vec<u8>>> {
        Ok(unsigned(self.ask(name, "TXT").await?.into_iter().map(String::into_bytes).collect()))
    }

    async fn srv(&self, name: &str) -> Found<Vec<Srv>> {
        let srv = |value: String| {
            let (port, target) = numbered(&value);
            Srv { port, target }
        };
        Ok(unsigned(self.ask(name, "SRV").await?.into_iter().map(srv).collect()))
    }

    async fn tlsa(&self, _name: &str) -> Found<Vec<Tlsa>> {
        Ok(unsigned(Vec::new()))
    }

    async fn alias(&self, _name: &str) -> Found<Option<String>> {
        Ok(unsigned(None))
    }
}

const GOOD: [&str; 13] = [
    "mail.example.org A 192.0.2.1",
    "mail.example.org A 2001:db8::1",
    "192.0.2.1 PTR mail.example.org",
    "2001:db8::1 PTR mail.example.org",
    "example.org MX 10 mail.example.org",
    "example.org TXT v=spf1 mx -all",
    "_dmarc.example.org TXT v=DMARC1; p=none",
    "_submissions._tcp.example.org SRV 465 mail.example.org",
    "_submission._tcp.example.org SRV 587 mail.example.org",
    "_imaps._tcp.example.org SRV 993 mail.example.org",
    "_imap._tcp.example.org SRV 143 mail.example.org",
    "_pop3s._tcp.example.org SRV 995 mail.example.org",
    "_pop3._tcp.example.org SRV 110 mail.example.org",
];

/// All that is said, of a good zone less the lines that begin with one of `without`, and with `more`.
async fn said(without: &[&str], more: &[&str]) -> Vec<String> {
    let left = GOOD.iter().filter(|line| !without.iter().any(|it| line.starts_with(it)));
    let table = Table::new(&left.chain(more).copied().collect::<Vec<_>>());
    let Findings { findings, skipped } = check(&table, HOST, &[DOMAIN.to_owned()], PATIENCE).await;
    findings.iter().map(ToString::to_string).chain(skipped.map(|it| format!("skipped: {it}"))).collect()
}

#[tokio::test]
async fn a_good_zone_is_fine() {
    assert_eq!(
        said(&[], &["example.org TXT some other text", "example.org MX 20 mail.example.org"]).await,
        [
            "mail.example.org: has the address 192.0.2.1, which says that name",
            "mail.example.org: has the address 2001:db8::1, which says that name",
            "example.org: its MX records lead here",
            "example.org: has an SPF record",
            "example.org: has a DMARC record",
            "example.org: mail programs find this server by SRV records",
        ]
    );
}

#[tokio::test]
async fn what_is_amiss_is_named_with_what_to_publish() {
    let mx = "publish\n  example.org. MX 10 mail.example.org.\n  ; other servers bring mail here";
    let rows: &[(&[&str], &[&str], &str)] = &[
        (
            &["mail.example.org A"],
            &[],
            "wrong: mail.example.org: has neither an A nor an AAAA record; publish\n  mail.example.org. A <",
        ),
        (
            &["192.0.2.1 PTR"],
            &["192.0.2.1 PTR host1.provider.example"],
            "wrong: mail.example.org: has the address 192.0.2.1, whose PTR record says host1.provider.example; \
             publish\n  1.2.0.192.in-addr.arpa. PTR mail.example.org.\n",
        ),
        (
            &["2001:db8::1 PTR"],
            &[],
            "wrong: mail.example.org: has the address 2001:db8::1, which has no PTR record; publish\n  \
             1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mail.example.org.\n",
        ),
        (&["example.org MX"], &[], &format!("wrong: example.org: has no MX record; {mx}")),
        (
            &["example.org MX"],
            &["example.org A 192.0.2.1"],
            "notice: example.org: has no MX record; mail comes here because its address is this server's; publish",
        ),
        (
            &["example.org MX"],
            &["example.org MX 0 "],
            &format!("wrong: example.org: says by a null MX record that it takes no mail; {mx}"),
        ),
        (
            &["example.org MX"],
            &["example.org MX 10 mx.other.example", "mx.other.example A 198.51.100.1"],
            &format!(
                "wrong: example.org: its MX records lead to mx.other.example, and none leads here; {mx}"
            ),
        ),
        (
            &[],
            &["example.org MX 20 gone.example.org"],
            "wrong: example.org: its MX record names gone.example.org, which has no address",
        ),
        (
            &[],
            &["example.org MX 20 a.example.org", "a.example.org A 192.0.2.1", "a.example.org CNAME"],
            "wrong: example.org: its MX record names a.example.org, which is an alias (CNAME) and must not be one",
        ),
        (
            &["example.org TXT"],
            &["example.org TXT v=spf10 mx -all"],
            "wrong: example.org: has no SPF record; publish\n  example.org. TXT \"v=spf1 mx -all\"\n",
        ),
        (&[], &["example.org TXT V=SPF1 a"], "wrong: example.org: has several SPF records,"),
        (
            &["example.org TXT"],
            &["example.org TXT v=spf1 -mx ?all exp=a.example"],
            "notice: example.org: has an SPF record that no server passes; publish",
        ),
        (
            &["_dmarc"],
            &["_dmarc.example.org TXT v=DMARC10"],
            "notice: example.org: has no DMARC record; publish\n  _dmarc.example.org. TXT \"v=DMARC1;",
        ),
        (&[], &["_dmarc.example.org TXT v=DMARC1;p=none"], "wrong: example.org: has several DMARC records,"),
        (
            &["_pop3s"],
            &[],
            "notice: _pop3s._tcp.example.org: has no SRV record; publish\n  \
             _pop3s._tcp.example.org. SRV 0 1 995 mail.example.org.\n",
        ),
        (
            &["_submission._tcp"],
            &["_submission._tcp.example.org SRV 587 old.example.org"],
            "notice: _submission._tcp.example.org: its SRV record names old.example.org; publish",
        ),
        (&[], &["_dmarc.example.org FAIL"], "notice: _dmarc.example.org: could not be looked up (SERVFAIL)"),
    ];
    for (without, more, expected) in rows {
        let said = said(without, more).await;
        let bad: Vec<_> = said
            .iter()
            .filter(|it| ["wrong: ", "notice: ", "skipped"].iter().any(|w| it.starts_with(w)))
            .collect();
        assert!(bad.iter().any(|it| it.starts_with(expected)), "{expected}\n{said:#?}");
        // One mistake, one finding.
        assert_eq!(bad.len(), 1, "{expected}\n{said:#?}");
    }
}

#[tokio::test]
async fn what_a_domain_may_choose_is_fine() {
    for (without, more) in [
        ("_pop3._tcp", "_pop3._tcp.example.org SRV 0 "),
        ("example.org MX", "example.org MX 10 MAIL.example.org"),
        ("example.org TXT", "example.org TXT v=spf1 include:_spf.example -all"),
        ("example.org TXT", "example.org TXT v=spf1 ip4:192.0.2.0/24 -all"),
        ("example.org TXT", "example.org TXT v=spf1 redirect=_spf.example"),
    ] {
        let said = said(&[without], &[more, "MAIL.example.org A 192.0.2.1"]).await;
        assert!(
            said.iter().all(|it| !it.starts_with("wrong") && !it.starts_with("notice")),
            "{more}\n{said:#?}"
        );
    }
}

#[tokio::test]
async fn a_resolver_that_fails_ends_it() {
    let said_of = |line: &'static str| async move { said(&[], &[line]).await };
    assert_eq!(said_of("mail.example.org DEAD").await, ["skipped: no answer from the resolver (refused)"]);
    let late = said_of("_dmarc.example.org DEAD").await;
    assert_eq!(late.len(), 5, "{late:?}");
    assert_eq!(late[4], "skipped: no answer from the resolver (refused)");

    let table = Table::new(&[GOOD.as_slice(), &["example.org HANG"]].concat());
    let found = check(&table, HOST, &[DOMAIN.to_owned()], Duration::from_millis(1)).await;
    assert_eq!(found.skipped.unwrap(), "no answers to all questions within 0 s");
    assert_eq!(found.findings.len(), 2);
}

#[test]
fn records_name_the_host_and_every_service() {
    let shown: Vec<String> = records(DOMAIN, HOST).iter().map(ToString::to_string).collect();
    assert!(shown.contains(&"example.org. MX 10 mail.example.org.".to_owned()), "{shown:?}");
    for service in ["_imaps._tcp.example.org. SRV 0 1 993", "_pop3s._tcp.example.org. SRV 0 1 995"] {
        assert!(shown.contains(&format!("{service} mail.example.org.")), "{shown:?}");
    }
}

/// A name server on loopback that knows a few records.
async fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let query = Message::from_vec(&buffer[..length]).unwrap();
            socket.send_to(&answer(&query).to_vec().unwrap(), peer).await.unwrap();
        }
    });
    at
}

fn answer(query: &Message) -> Message {
    let question = query.queries[0].clone();
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let asked = question.name().to_ascii();
    let records = match (asked.as_str(), question.query_type()) {
        ("example.org.", RecordType::MX) => vec![RData::MX(rdata::MX::new(10, name("Mail.Example.org.")))],
        ("null.example.", RecordType::MX) => vec![RData::MX(rdata::MX::new(0, Name::root()))],
        ("mail.example.org.", RecordType::A) => vec![RData::A(rdata::A::new(192, 0, 2, 1))],
        ("alias.example.org.", RecordType::A) => {
            vec![RData::CNAME(rdata::CNAME(name("mail.example.org.")))]
        }
        ("1.2.0.192.in-addr.arpa.", RecordType::PTR) => {
            vec![RData::PTR(rdata::PTR(name("mail.example.org.")))]
        }
        ("example.org.", RecordType::TXT) => {
            vec![RData::TXT(rdata::TXT::new(vec!["v=spf1 mx ".to_owned(), "-all".to_owned()]))]
        }
        ("_pop3._tcp.example.org.", RecordType::SRV) => {
            vec![RData::SRV(rdata::SRV::new(0, 1, 110, name("mail.example.org.")))]
        }
        _ => Vec::new(),
    };
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.response_code = match (asked.as_str(), records.is_empty()) {
        ("broken.example.", _) => ResponseCode::ServFail,
        ("mail.example.org." | "alias.example.org.", _) | (_, false) => ResponseCode::NoError,
        _ => ResponseCode::NXDomain,
    };
    // As a resolver that checks signatures, of one name only.
    message.metadata.authentic_data = query.metadata.authentic_data && asked == "mail.example.org.";
    let owner = question.name().clone();
    message.add_query(question);
    message.add_answers(records.into_iter().map(|data| Written::from_rdata(owner.clone(), 60, data)));
    if asked == "alias.example.org." {
        let data = RData::A(rdata::A::new(192, 0, 2, 1));
        message.add_answer(Written::from_rdata(name("mail.example.org."), 60, data));
    }
    message
}

#[tokio::test]
async fn the_resolver_asks_a_name_server() {
    let resolver = Resolver::at(name_server().await).unwrap();
    let address = IpAddr::from([192, 0, 2, 1]);
    let mx =
        |preference, exchange: &str| Ok(unsigned(vec![Mx { preference, exchange: exchange.to_owned() }]));
    assert_eq!(resolver.mx("example.org").await, mx(10, "mail.example.org"));
    assert_eq!(resolver.mx("null.example").await, mx(0, ""));
    assert_eq!(resolver.mx("nothing.example").await, Ok(unsigned(Vec::new())));
    assert!(matches!(resolver.mx("broken.example").await, Err(LookupError::Failed(_))));
    assert!(matches!(resolver.mx("a..b").await, Err(LookupError::Failed(_))));
    assert_eq!(resolver.addresses("mail.example.org").await, Ok(unsigned(vec![address])));
    let alias = resolver.addresses("alias.example.org").await.unwrap();
    assert_eq!((alias.alias.as_deref(), alias.data), (Some("mail.example.org"), vec![address]));
    assert_eq!(resolver.ptr(address).await, Ok(unsigned(vec!["mail.example.org".to_owned()])));
    assert_eq!(resolver.txt("example.org").await, Ok(unsigned(vec![b"v=spf1 mx -all".to_vec()])));
    let srv = Srv { port: 110, target: "mail.example.org".to_owned() };
    assert_eq!(resolver.srv("_pop3._tcp.example.org").await, Ok(unsigned(vec![srv])));
}

#[tokio::test]
async fn a_name_server_nearby_says_what_it_has_checked() {
    let server = name_server().await;
    let options = |dnssec| ResolverOptions { servers: vec![server], dnssec, ..ResolverOptions::default() };
    // On this machine, so it is believed.
    for dnssec in [Dnssec::TrustAd, Dnssec::Auto] {
        let resolver = Resolver::new(&options(dnssec)).unwrap();
        for _ in 0..2 {
            let checked = resolver.addresses("mail.example.org").await.unwrap();
            assert_eq!((checked.security, checked.data.len()), (Security::Secure, 1));
        }
        assert_eq!(resolver.mx("example.org").await.unwrap().security, Security::Insecure);
        assert_eq!(resolver.mx("nothing.example").await, Ok(unsigned(Vec::new())));
    }
    let believing = Resolver::new(&options(Dnssec::Off)).unwrap();
    assert_eq!(believing.addresses("mail.example.org").await.unwrap().security, Security::Insecure);
}

#[tokio::test]
async fn nobody_at_the_name_server_is_no_answer() {
    // Closed again, so that the system answers that nobody is there; at worst nothing comes within the limit.
    let at = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let resolver = Resolver::at(at).unwrap();
    let answer = resolver.mx("example.org").await;
    assert!(matches!(answer, Err(LookupError::Unreachable(_))), "{answer:?}");
}
