//! Mail to servers with TLS of all sorts, from the real program, with the DNS signed by the tools of ldns and served by NSD,
//! policies over HTTPS, and Postfix that takes nothing in the clear. Where a domain or a sender demands protection, nothing
//! goes without it; where nobody does, everything arrives.

#![allow(clippy::unwrap_used)]

mod lab;

use std::collections::HashMap;
use std::fmt::Write as _;

use lab::net::{Host, Network};
use lab::nsd::{self, Signed};
use lab::{boat, mounts, postfix, until};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, date_time_ymd,
};
use serde_json::{Value, json};

const DNS: &str = "203.0.113.53";
const PEERS: &str = include_str!("tls_peers/peer.py");
const WEB: &str = "203.0.113.80";
const POSTFIX: &str = "203.0.113.90";

type Authority = CertifiedIssuer<'static, KeyPair>;

/// What a peer's certificate is.
#[derive(Clone, Copy, PartialEq)]
enum Cert {
    Good,
    Expired,
    /// For another name.
    Other,
    /// By an authority that nobody knows.
    Unknown,
}

/// What the DNS says of a host's key.
#[derive(Clone, Copy, PartialEq)]
enum Tlsa {
    None,
    Right,
    Wrong,
    /// Its signature is.
    Bogus,
    /// An association of a kind that nobody knows.
    Unusable,
}

/// What became of a message.
#[derive(Clone, Copy)]
enum Comes {
    /// Under TLS, verified so.
    Secure(&'static str),
    InClear,
    /// It waits, with this in the story.
    Waits(&'static str),
    /// It has come back, with this in the story.
    Fails(&'static str),
}
use Comes::{Fails, InClear, Secure, Waits};

struct Case {
    name: &'static str,
    /// The zone is signed.
    signed: bool,
    /// How the peer behaves.
    mode: &'static str,
    cert: Cert,
    tlsa: Tlsa,
    /// The mode of the domain's policy, and a pattern in it other than its host.
    policy: Option<(&'static str, Option<&'static str>)>,
    /// The peer offers REQUIRETLS.
    promises: bool,
    /// What the sender asks for: nothing, `require` or `forgo`.
    wish: &'static str,
    comes: Comes,
}

const USUAL: Case = Case {
    name: "",
    signed: false,
    mode: "tls",
    cert: Cert::Good,
    tlsa: Tlsa::None,
    policy: None,
    promises: false,
    wish: "",
    comes: InClear,
};

/// A domain with TLSA records.
const DANE: Case = Case { signed: true, tlsa: Tlsa::Right, ..USUAL };
/// A domain with a policy.
const STS: Case = Case { policy: Some(("enforce", None)), ..USUAL };
const REQUIRE: Case = Case { wish: "require", promises: true, ..USUAL };

/// Each is a domain of its own, with a host and an address of its own.
const CASES: &[Case] = &[
    // Nobody demands anything.
    Case { name: "plain", mode: "clear", comes: InClear, ..USUAL },
    Case { name: "good", comes: Secure("pkix"), ..USUAL },
    Case { name: "expired", cert: Cert::Expired, comes: Secure("no"), ..USUAL },
    Case { name: "unknown", cert: Cert::Unknown, comes: Secure("no"), ..USUAL },
    Case { name: "broken", mode: "broken", comes: InClear, ..USUAL },
    Case { name: "old", mode: "old", comes: InClear, ..USUAL },
    // The DNS does.
    Case { name: "dane", comes: Secure("dane"), ..DANE },
    Case { name: "dane-expired", cert: Cert::Expired, comes: Secure("dane"), ..DANE },
    Case { name: "dane-unknown", cert: Cert::Unknown, comes: Secure("dane"), ..DANE },
    Case { name: "dane-wrong", tlsa: Tlsa::Wrong, comes: Waits("DANE"), ..DANE },
    Case { name: "dane-bogus", tlsa: Tlsa::Bogus, comes: Waits("TLSA"), ..DANE },
    Case { name: "dane-clear", mode: "clear", comes: Waits("DANE"), ..DANE },
    Case { name: "dane-broken", mode: "broken", comes: Waits("DANE"), ..DANE },
    Case { name: "dane-old", mode: "old", comes: Waits("DANE"), ..DANE },
    // RFC 7672 section 2.2: they still promise TLS.
    Case { name: "dane-odd", tlsa: Tlsa::Unusable, cert: Cert::Unknown, comes: Secure("no"), ..DANE },
    Case { name: "dane-odd-clear", tlsa: Tlsa::Unusable, mode: "clear", comes: Waits("DANE"), ..DANE },
    // A policy does.
    Case { name: "sts", comes: Secure("sts"), ..STS },
    Case { name: "sts-expired", cert: Cert::Expired, comes: Waits("MTA-STS"), ..STS },
    Case { name: "sts-other", cert: Cert::Other, comes: Waits("MTA-STS"), ..STS },
    Case { name: "sts-unknown", cert: Cert::Unknown, comes: Waits("MTA-STS"), ..STS },
    Case { name: "sts-clear", mode: "clear", comes: Waits("MTA-STS"), ..STS },
    Case { name: "sts-broken", mode: "broken", comes: Waits("MTA-STS"), ..STS },
    Case { name: "sts-old", mode: "old", comes: Waits("MTA-STS"), ..STS },
    Case { name: "sts-mx", policy: Some(("enforce", Some("*.else.where"))), comes: Waits("MTA-STS"), ..STS },
    Case { name: "sts-test", policy: Some(("testing", None)), mode: "clear", comes: InClear, ..STS },
    // The sender does.
    Case { name: "req-dane", comes: Secure("dane"), promises: true, wish: "require", ..DANE },
    Case { name: "req-sts", comes: Secure("sts"), promises: true, wish: "require", ..STS },
    Case { name: "req-pkix", signed: true, comes: Secure("pkix"), ..REQUIRE },
    Case { name: "req-expired", signed: true, cert: Cert::Expired, comes: Fails("REQUIRETLS"), ..REQUIRE },
    Case { name: "req-silent", signed: true, promises: false, comes: Fails("REQUIRETLS"), ..REQUIRE },
    Case { name: "req-clear", signed: true, mode: "clear", comes: Fails("REQUIRETLS"), ..REQUIRE },
    Case { name: "req-unsigned", comes: Fails("REQUIRETLS"), ..REQUIRE },
    // The sender does without.
    Case { name: "forgo-dane", tlsa: Tlsa::Wrong, wish: "forgo", comes: Secure("pkix"), ..DANE },
    Case { name: "forgo-sts", mode: "broken", wish: "forgo", comes: InClear, ..STS },
];

impl Case {
    fn domain(&self) -> String {
        format!("{}.{}", self.name, if self.signed { "signed" } else { "plain" })
    }
}

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, in files; and the public key.
fn certificate(host: &Host, file: &str, names: &[String], cert: Cert, by: &Authority) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.to_vec()).unwrap();
    params.not_after = date_time_ymd(if cert == Cert::Expired { 2020 } else { 2040 }, 1, 1);
    params.not_before = date_time_ymd(2019, 1, 1);
    let made = params.signed_by(&key, by).unwrap();
    std::fs::write(host.dir().join(format!("{file}.pem")), made.pem()).unwrap();
    std::fs::write(host.dir().join(format!("{file}.key")), key.serialize_pem()).unwrap();
    key.subject_public_key_info()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

struct World {
    _internet: Network,
    _dir: tempfile::TempDir,
    _dns: Host,
    peers: Host,
    postfix: Host,
    a: Host,
}

fn address(place: usize) -> String {
    format!("203.0.113.{}", 100 + place)
}

fn world() -> World {
    let dir = tempfile::Builder::new().prefix("packetboat-lab-").tempdir().unwrap();
    let internet = Network::new();
    let host = |name: &str, address: &str| {
        let host = Host::new(name, dir.path(), DNS.parse().unwrap());
        internet.join(&host, &format!("{address}/24"));
        host
    };
    let mut dns = host("dns", DNS);
    let mut peers = host("peers", WEB);
    let postfix = host("mail.postfix.plain", POSTFIX);
    let mut a = host("mail.a.plain", "203.0.113.1");
    let (known, unknown) = (authority("known"), authority("unknown"));
    std::fs::write(a.dir().join("ca.pem"), known.pem()).unwrap();

    let mut zones: HashMap<bool, String> = HashMap::new();
    let mut config = Vec::new();
    let mut policies = serde_json::Map::new();
    let mut web_names = Vec::new();
    for (place, case) in CASES.iter().enumerate() {
        let Case { name, .. } = case;
        let (domain, at) = (case.domain(), address(place));
        peers.shell(&format!("ip address add {at}/24 dev eth0"));
        let mx = if case.cert == Cert::Other { "other.example".to_owned() } else { format!("mx.{domain}") };
        let by = if case.cert == Cert::Unknown { &unknown } else { &known };
        let key = hex(&certificate(&peers, name, &[mx], case.cert, by));
        let mut records = format!("{name} MX 10 mx.{name}\nmx.{name} A {at}\n");
        let mut tlsa = |data: &str| {
            let _ = writeln!(records, "_25._tcp.mx.{name} TLSA {data}");
        };
        match case.tlsa {
            Tlsa::None => {}
            Tlsa::Right => tlsa(&format!("3 1 0 {key}")),
            Tlsa::Wrong => tlsa(&format!("3 1 1 {}", "ab".repeat(32))),
            Tlsa::Bogus => tlsa(&format!("3 1 1 {}", "cd".repeat(32))),
            Tlsa::Unusable => tlsa(&format!("9 9 9 {}", "ef".repeat(32))),
        }
        if let Some((mode, pattern)) = case.policy {
            let mx = pattern.map_or_else(|| format!("mx.{domain}"), str::to_owned);
            let _ = write!(records, "_mta-sts.{name} TXT \"v=STSv1; id=a\"\nmta-sts.{name} A {WEB}\n");
            let text = format!("version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n");
            policies.insert(format!("mta-sts.{domain}"), text.into());
            web_names.push(format!("mta-sts.{domain}"));
        }
        zones.entry(case.signed).or_default().push_str(&records);
        config.push(json!({
            "at": at, "mode": case.mode, "chain": format!("{name}.pem"), "key": format!("{name}.key"),
            "require_tls": case.promises,
        }));
    }
    let plain = zones.entry(false).or_default();
    let _ = writeln!(plain, "postfix MX 10 mail.postfix\nmail.postfix A {POSTFIX}\nmail.a A 203.0.113.1");
    // The hash of the one record that is not as it was signed.
    let forged = Signed::Forged(
        "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
        "cececececececececececececececececececececececececececececececece",
    );
    let anchor = nsd::serve(
        &mut dns,
        DNS,
        &[("signed.", forged, &zones[&true]), ("plain.", Signed::Not, &zones[&false])],
    );

    certificate(&peers, "web", &web_names, Cert::Good, &known);
    let web = json!({ "at": WEB, "chain": "web.pem", "key": "web.key", "policies": policies });
    std::fs::write(peers.dir().join("config"), json!({ "peers": config, "web": web }).to_string()).unwrap();
    let mut command = peers.command("python3");
    command.args(["-c", PEERS, "config"]);
    peers.start("peers", &mut command);

    certificate(&postfix, "state-cert", &["mail.postfix.plain".to_owned()], Cert::Good, &unknown);
    std::fs::create_dir_all(postfix.dir().join("state")).unwrap();
    for end in ["pem", "key"] {
        let at = |name: &str| postfix.dir().join(format!("{name}.{end}"));
        std::fs::copy(at("state-cert"), at("state/cert")).unwrap();
    }
    let encrypts = "smtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = /mnt/cert.pem\n\
                    smtpd_tls_key_file = /mnt/cert.key\nsmtpd_tls_received_header = yes\ntls_random_source = dev:/dev/urandom";
    postfix::start(&postfix, "postfix.plain", &["bob"], encrypts);

    let settings = format!(
        "[dns]\ntrust_anchor = \"{}\"\n[outbound_tls]\nauthorities = \"{}\"\n",
        anchor.display(),
        a.dir().join("ca.pem").display()
    );
    boat::start(&mut a, "a.plain", &["alice"], &settings);
    until("all listen", || peers.listens_at(WEB, 443).then_some(()));
    until("Postfix listens", || postfix.listens(25).then_some(()));
    World { _internet: internet, _dir: dir, _dns: dns, peers, postfix, a }
}

/// Hands all messages in, as a mail program does.
const SUBMIT: &str = "import json, smtplib, ssl, sys\n\
    s = smtplib.SMTP('127.0.0.1', 587)\ns.starttls(context=ssl._create_unverified_context())\ns.login('alice@a.plain', 'secret')\n\
    for name, to, wish in json.load(sys.stdin):\n\
    \x20   header = 'TLS-Required: No\\r\\n' if wish == 'forgo' else ''\n\
    \x20   text = f'From: alice@a.plain\\r\\nTo: {to}\\r\\nSubject: {name}\\r\\n{header}\\r\\nhello\\r\\n'\n\
    \x20   s.sendmail('alice@a.plain', [to], text, ['REQUIRETLS'] if wish == 'require' else [])\n\
    s.quit()\n";

impl World {
    fn submit(&self) {
        let mut all: Vec<Value> = CASES
            .iter()
            .map(|case| json!([case.name, format!("bob@{}", case.domain()), case.wish]))
            .collect();
        all.push(json!(["postfix", "bob@postfix.plain", ""]));
        self.a.run("python3", &["-c", SUBMIT], &Value::from(all).to_string());
    }

    /// What the peers saw, by their addresses.
    fn seen(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.peers.dir().join("seen")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The last try to reach somebody, as the story of the message tells it, when there has been one.
    fn tried(&self, to: &str) -> Option<Value> {
        let boat = boat::binary();
        let mut command = self.a.command(boat);
        let said = command.args(["trace", "--json", to]).output().unwrap();
        let text = String::from_utf8(said.stdout).unwrap();
        let story: Value = serde_json::from_str(text.lines().next()?).unwrap();
        let mut tries = story["events"].as_array().unwrap().iter().filter(|it| it["event"] == "tried");
        tries.next_back().cloned()
    }
}

#[test]
fn nothing_goes_without_the_protection_that_is_demanded() {
    let world = world();
    world.submit();
    let mut wrong = Vec::new();
    for (place, case) in CASES.iter().enumerate() {
        let to = format!("bob@{}", case.domain());
        let tried = until(&format!("a try to reach {to}"), || world.tried(&to));
        let seen: Vec<Value> =
            world.seen().into_iter().filter(|it| it["at"] == address(place).as_str()).collect();
        let taken: Vec<&Value> = seen.iter().filter(|it| it["event"] == "taken").collect();
        let said = tried.to_string();
        let as_it_should = match case.comes {
            Secure(by) => {
                taken.len() == 1
                    && taken[0]["tls"].is_string()
                    && tried["became"] == "delivered"
                    && tried["tls"]["verified"].as_str().unwrap_or("no") == by
            }
            InClear => taken.len() == 1 && taken[0]["tls"].is_null() && tried["became"] == "delivered",
            Waits(why) => taken.is_empty() && tried["became"] == "deferred" && said.contains(why),
            Fails(why) => taken.is_empty() && tried["became"] == "failed" && said.contains(why),
        };
        let asks = taken
            .iter()
            .all(|it| it["mail"].as_str().unwrap().contains("REQUIRETLS") == (case.wish == "require"));
        if !as_it_should || !asks {
            wrong.push(format!("{}: {said}\n    {seen:?}", case.name));
        }
        // Who cannot be known is not even called.
        if case.tlsa == Tlsa::Bogus {
            assert!(seen.is_empty(), "{seen:?}");
        }
        // Why it is in the clear where it might have been otherwise.
        if matches!(case.mode, "broken" | "old") && matches!(case.comes, InClear) {
            assert!(tried["tls_failed"].as_str().is_some_and(|why| !why.is_empty()), "{}: {said}", case.name);
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
    let letter = until("Postfix takes it under TLS", || mounts::maildir(&world.postfix, "bob").pop());
    assert!(letter.contains("using TLSv1.3"), "{letter}");
}
