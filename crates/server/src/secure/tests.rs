#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use packetboat_mail::secure::sts::Mode;
use packetboat_mail::secure::{Dane, Tlsa, Verify, usable};
use packetboat_store::{Options as StoreOptions, Store};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use super::fetch::{Fetch, FetchError};
use super::sts::Policies;
use super::*;
use crate::dns::{Answer, Found as Asked, LookupError, Mx, Srv};

/// In 2030, between the dates of what is valid below.
const NOW: Duration = Duration::from_secs(1_900_000_000);

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server's certificate, and its public key.
fn server(
    names: &[&str],
    common: &str,
    until: i32,
    issuer: &Issuer<'static, KeyPair>,
) -> (CertificateDer<'static>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    (params.signed_by(&key, issuer).unwrap().der().clone(), key.subject_public_key_info())
}

fn sha256(part: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, part).as_ref().to_vec()
}

fn sha512(part: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, part).as_ref().to_vec()
}

fn tlsa(usage: u8, selector: u8, matching: u8, data: impl Into<Vec<u8>>) -> Tlsa {
    Tlsa { usage, selector, matching, data: data.into() }
}

fn dane(names: &[&str], records: &[Tlsa]) -> Verify {
    Verify::Dane(wanted(names, records))
}

fn wanted(names: &[&str], records: &[Tlsa]) -> Dane {
    let associations = usable(records);
    assert!(!associations.is_empty());
    Dane { names: names.iter().map(|it| (*it).to_owned()).collect(), associations }
}

/// Those in a file with the certificate of one authority.
fn trusting(authority: &Authority) -> Authorities {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    Authorities::of_file(file.path()).unwrap()
}

/// What is said of a chain; the name asked for is another's, as it must not matter.
fn judged(
    authorities: &Authorities,
    verify: &Verify,
    chain: &[&CertificateDer<'static>],
) -> Result<(), String> {
    let others: Vec<CertificateDer<'_>> = chain[1..].iter().map(|it| (*it).clone()).collect();
    let asked = ServerName::try_from("asked.example").unwrap();
    let now = UnixTime::since_unix_epoch(NOW);
    let verdict = authorities.judge(verify.clone()).verify_server_cert(chain[0], &others, &asked, &[], now);
    verdict.map(|_| ()).map_err(|error| explain(&error))
}

#[test]
fn certificates_are_judged_as_demanded() {
    let (root, other) = (authority("root"), authority("other"));
    let authorities = trusting(&root);
    let (good, key) = server(&["mx.example.org"], "x", 2040, &root);
    let (expired, _) = server(&["mx.example.org"], "x", 2025, &root);
    let (elsewhere, elsewhere_key) = server(&["mx.example.com"], "x", 2040, &root);
    let (foreign, _) = server(&["mx.example.org"], "x", 2040, &other);
    let (common, _) = server(&[], "mx.example.org", 2040, &root);
    let (starred, _) = server(&["*.example.org"], "mx.example.com", 2040, &root);
    let (root_der, other_der) = (root.der().clone(), other.der().clone());
    let spki = |authority: &Authority| authority.key().subject_public_key_info();

    let name = || vec!["mx.example.org".to_owned()];
    let pkix = Verify::Pkix { names: name() };
    let sts = |dane| Verify::Sts { host: "mx.example.org".to_owned(), dane };
    let server_key = |key: &[u8]| tlsa(3, 1, 1, sha256(key));
    let root_is =
        |selector, matching, data: Vec<u8>| dane(&["mx.example.org"], &[tlsa(2, selector, matching, data)]);

    let at_all = Verify::Any { host: "mx.example.org".to_owned() };
    let ok = "";
    #[rustfmt::skip]
    let table: &[(Verify, &[&CertificateDer<'static>], &str)] = &[
        (at_all, &[&foreign], ok),
        (pkix.clone(), &[&good], ok),
        (pkix.clone(), &[&starred], ok),
        (Verify::Pkix { names: vec!["a.example".into(), "mx.example.org".into()] }, &[&good], ok),
        (pkix.clone(), &[&expired], "expired"),
        (pkix.clone(), &[&elsewhere], "another name"),
        (pkix.clone(), &[&foreign], "not trusted here"),
        (pkix.clone(), &[&foreign, &other_der], "not trusted here"),
        (sts(None), &[&good], ok),
        (sts(None), &[&foreign], "not trusted here"),
        (sts(None), &[&expired], "expired"),
        (sts(Some(wanted(&["mx.example.org"], &[server_key(&key)]))), &[&good], ok),
        (sts(Some(wanted(&["mx.example.org"], &[server_key(&elsewhere_key)]))), &[&good], "none of the TLSA"),
        (sts(Some(wanted(&["mx.example.org"], &[tlsa(3, 0, 1, sha256(&foreign))]))), &[&foreign], "not trusted here"),

        // DANE-EE: the certificate and nothing else.
        (dane(&["mx.example.org"], &[server_key(&key)]), &[&good], ok),
        (dane(&["mx.example.org"], &[tlsa(3, 1, 2, sha512(&key))]), &[&good], ok),
        (dane(&["mx.example.org"], &[tlsa(3, 1, 0, key.clone())]), &[&good], ok),
        (dane(&["mx.example.org"], &[tlsa(3, 0, 1, sha256(&good))]), &[&good], ok),
        (dane(&["mx.example.org"], &[tlsa(3, 0, 2, sha512(&good))]), &[&good], ok),
        (dane(&["mx.example.org"], &[tlsa(3, 0, 0, good.to_vec())]), &[&good], ok),
        (dane(&["mx.example.org"], &[tlsa(3, 0, 1, sha256(&expired))]), &[&expired], ok),
        (dane(&["mx.example.org"], &[tlsa(3, 0, 1, sha256(&elsewhere))]), &[&elsewhere], ok),
        (dane(&["mx.example.org"], &[tlsa(3, 0, 1, sha256(&foreign))]), &[&foreign], ok),
        (dane(&["mx.example.org"], &[server_key(&elsewhere_key), server_key(&key)]), &[&good], ok),
        (dane(&["mx.example.org"], &[server_key(&elsewhere_key)]), &[&good], "none of the TLSA"),
        (dane(&["mx.example.org"], &[tlsa(3, 1, 1, sha256(&good))]), &[&good], "none of the TLSA"),
        // The authority's certificate is not the server's.
        (dane(&["mx.example.org"], &[tlsa(3, 0, 1, sha256(&root_der))]), &[&good, &root_der], "none of the TLSA"),
        // A trusted authority does not help.
        (dane(&["mx.example.org"], &[server_key(&elsewhere_key)]), &[&good, &root_der], "none of the TLSA"),

        // DANE-TA: a chain to that authority, the names and the dates.
        (root_is(0, 1, sha256(&other_der)), &[&foreign, &other_der], ok),
        (root_is(0, 2, sha512(&other_der)), &[&foreign, &other_der], ok),
        (root_is(1, 1, sha256(&spki(&other))), &[&foreign, &other_der], ok),
        (root_is(1, 0, spki(&other)), &[&foreign, &other_der], ok),
        (root_is(0, 0, other_der.to_vec()), &[&foreign, &other_der], ok),
        (root_is(0, 0, other_der.to_vec()), &[&foreign], ok),
        (root_is(0, 1, sha256(&other_der)), &[&foreign], "none of the TLSA"),
        (root_is(0, 1, sha256(&other_der)), &[&good, &other_der], "name an authority (DANE), and its certificate"),
        (root_is(0, 1, sha256(&root_der)), &[&expired, &root_der], "name an authority (DANE), and its certificate"),
        (root_is(0, 1, sha256(&root_der)), &[&elsewhere, &root_der], "another name"),
        (root_is(0, 1, sha256(&root_der)), &[&starred, &root_der], ok),
        (root_is(0, 1, sha256(&root_der)), &[&common, &root_der], ok),
        (root_is(0, 0, b"no certificate".to_vec()), &[&good], "none of the TLSA"),
        (dane(&["box.example.net", "mx.example.com"], &[tlsa(2, 0, 1, sha256(&root_der))]), &[&elsewhere, &root_der], ok),
        // Where there is a DNS name, the common name does not count.
        (dane(&["mx.example.com"], &[tlsa(2, 0, 1, sha256(&root_der))]), &[&starred, &root_der], "another name"),
    ];
    for (at, (verify, chain, expected)) in table.iter().enumerate() {
        match (judged(&authorities, verify, chain), *expected) {
            (Ok(()), "") => {}
            (Err(error), expected) if !expected.is_empty() && error.contains(expected) => {}
            (verdict, expected) => panic!("row {at}: {verdict:?} and not {expected:?}"),
        }
    }
}

#[test]
fn an_authority_may_stand_in_the_middle_of_the_chain() {
    let root = authority("root");
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "middle");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    let key = KeyPair::generate().unwrap();
    let middle = params.signed_by(&key, &root).unwrap();
    let (leaf, _) = server(&["mx.example.org"], "x", 2040, &Issuer::new(params, key));
    let nobody = trusting(&authority("another"));
    for anchor in [middle.der(), root.der()] {
        let verify = dane(&["mx.example.org"], &[tlsa(2, 0, 1, sha256(anchor))]);
        assert_eq!(judged(&nobody, &verify, &[&leaf, middle.der(), root.der()]), Ok(()));
    }
    let verify = dane(&["mx.example.org"], &[tlsa(2, 0, 1, sha256(root.der()))]);
    let verdict = judged(&nobody, &verify, &[&leaf, root.der()]);
    assert!(
        verdict.as_ref().is_err_and(|error| error.contains("name an authority (DANE), and its certificate")),
        "{verdict:?}"
    );
}

#[test]
fn a_file_of_authorities_is_looked_at_before_it_is_used() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Authorities::of_file(file.path()).unwrap_err().to_string();
    assert!(error.ends_with("there is no certificate in it"), "{error}");
    assert!(Authorities::of_file(std::path::Path::new("/nowhere")).is_err());
}

/// A zone as `name TYPE` and values; those of names that begin with `!` in `secure` are signed.
#[derive(Debug, Clone, Default)]
struct Zone(Arc<Mutex<HashMap<String, String>>>);

impl Zone {
    fn of(lines: &[(&str, &str)]) -> Zone {
        let zone = Zone::default();
        lines.iter().for_each(|(key, value)| zone.set(key, value));
        zone
    }

    fn set(&self, key: &str, value: &str) {
        self.0.lock().insert(key.to_owned(), value.to_owned());
    }

    /// A value is `[!][>ALIAS ]RECORD|RECORD`: signed if it begins with `!`, BOGUS is an error.
    fn ask(&self, name: &str, kind: &str) -> Asked<Vec<String>> {
        let zone = self.0.lock();
        let value = zone.get(&format!("{name} {kind}")).map_or("", String::as_str);
        if value == "BOGUS" {
            return Err(LookupError::Bogus(name.to_owned()));
        }
        let (security, value) = match value.strip_prefix('!') {
            Some(value) => (Security::Secure, value),
            None => (Security::Insecure, value),
        };
        let (alias, value) = match value.strip_prefix('>').map(|it| it.split_once(' ').unwrap_or((it, ""))) {
            Some((alias, value)) => (Some(alias.to_owned()), value),
            None => (None, value),
        };
        let data = value.split('|').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        Ok(Answer { data, alias, security })
    }
}

fn each<T>(answer: Answer<Vec<String>>, read: impl Fn(String) -> T) -> Answer<Vec<T>> {
    let Answer { data, alias, security } = answer;
    Answer { data: data.into_iter().map(read).collect(), alias, security }
}

impl Lookup for Zone {
    async fn mx(&self, name: &str) -> Asked<Vec<Mx>> {
        Ok(each(self.ask(name, "MX")?, |exchange| Mx { preference: 10, exchange }))
    }
    async fn addresses(&self, name: &str) -> Asked<Vec<IpAddr>> {
        Ok(each(self.ask(name, "A")?, |it| it.parse().unwrap()))
    }
    async fn ptr(&self, address: IpAddr) -> Asked<Vec<String>> {
        self.ask(&address.to_string(), "PTR")
    }
    async fn txt(&self, name: &str) -> Asked<Vec<Vec<u8>>> {
        Ok(each(self.ask(name, "TXT")?, String::into_bytes))
    }
    async fn srv(&self, _name: &str) -> Asked<Vec<Srv>> {
        Err(LookupError::Failed("no SRV here".to_owned()))
    }
    async fn tlsa(&self, name: &str) -> Asked<Vec<Tlsa>> {
        Ok(each(self.ask(name, "TLSA")?, |it| tlsa(it.parse().unwrap(), 1, 1, [0; 32])))
    }
    async fn alias(&self, name: &str) -> Asked<Option<String>> {
        let Answer { mut data, alias, security } = self.ask(name, "CNAME")?;
        Ok(Answer { data: data.pop(), alias, security })
    }
}

fn store() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Store::open(StoreOptions::new(dir.path().join("store"))).unwrap(), dir)
}

/// What is demanded of mx.example.org, which takes mail for example.org, in one word.
async fn asked(guard: &Guard<Zone>, wish: Wish) -> String {
    match guard.demand("example.org", "mx.example.org", 25, wish).await {
        Ok(Demand::Opportunistic) => "may".to_owned(),
        Ok(Demand::Required { verify: Verify::Dane(dane), .. }) => format!("dane {}", dane.names.join(" ")),
        Ok(Demand::Required { verify: Verify::Pkix { .. }, .. }) => "pkix".to_owned(),
        Ok(Demand::Required { verify, .. }) => format!("{verify:?}"),
        Ok(Demand::Skip(reason)) => format!("skip: {reason}"),
        Err(reason) => format!("defer: {reason}"),
    }
}

#[tokio::test]
async fn where_tlsa_records_are_looked_for() {
    let (store, _dir) = store();
    let options = Options { mta_sts: false, ..Options::default() };
    let mx = ("example.org MX", "!mx.example.org");
    let at_mx = ("_25._tcp.mx.example.org TLSA", "!3");
    let at_box = ("_25._tcp.box.example.net TLSA", "!3");
    #[rustfmt::skip]
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[mx, ("mx.example.org A", "!192.0.2.1"), at_mx], "dane mx.example.org example.org"),
        (&[mx, ("mx.example.org A", "!192.0.2.1")], "may"),
        (&[("example.org MX", "mx.example.org"), ("mx.example.org A", "!192.0.2.1"), at_mx], "dane mx.example.org"),
        (&[mx, ("mx.example.org A", "!192.0.2.1"), ("_25._tcp.mx.example.org TLSA", "3")], "may"),
        (&[mx, ("mx.example.org A", "!192.0.2.1"), ("_25._tcp.mx.example.org TLSA", "BOGUS")],
            "skip: it cannot be found out how to know mx.example.org (TLSA): the answer about _25._tcp.mx.example.org is \
             not signed as it should be (DNSSEC)"),
        // In a zone without signatures nobody asks, and so an error there is none.
        (&[mx, ("mx.example.org A", "192.0.2.1"), ("_25._tcp.mx.example.org TLSA", "BOGUS")], "may"),
        (&[mx, ("mx.example.org A", "BOGUS")],
            "skip: it cannot be found out how to know mx.example.org (TLSA): the answer about mx.example.org is not signed \
             as it should be (DNSSEC)"),
        // Aliases that are signed all the way: where they lead to, and then the name itself.
        (&[mx, ("mx.example.org A", "!>box.example.net 192.0.2.1"), at_box, at_mx],
            "dane box.example.net example.org"),
        (&[mx, ("mx.example.org A", "!>box.example.net 192.0.2.1"), at_mx], "dane mx.example.org example.org"),
        // Aliases whose end is not signed: the name itself, if it is.
        (&[mx, ("mx.example.org A", ">box.example.net 192.0.2.1"), ("mx.example.org CNAME", "!box.example.net"), at_box, at_mx],
            "dane mx.example.org example.org"),
        (&[mx, ("mx.example.org A", ">box.example.net 192.0.2.1"), ("mx.example.org CNAME", "box.example.net"), at_mx], "may"),
        (&[mx, ("mx.example.org A", ">box.example.net 192.0.2.1"), ("mx.example.org CNAME", "BOGUS"), at_mx],
            "skip: it cannot be found out how to know mx.example.org (TLSA): the answer about mx.example.org is not signed \
             as it should be (DNSSEC)"),
        (&[("example.org MX", "BOGUS")],
            "defer: the mail servers of example.org cannot be found out: the answer about example.org is not signed as it \
             should be (DNSSEC)"),
        (&[("example.org MX", "!other.example.org")], "defer: mx.example.org is not a mail server of example.org any more"),
    ];
    for (lines, expected) in table {
        let guard = Guard::new(Zone::of(lines), store.clone(), &options).unwrap();
        assert_eq!(asked(&guard, Wish::Usual).await, *expected, "{lines:?}");
        assert_eq!(asked(&guard, Wish::Forgo).await, "may", "{lines:?}");
    }
    let zone = Zone::of(&[mx, ("mx.example.org A", "!192.0.2.1"), at_mx]);
    let guard = Guard::new(zone, store.clone(), &Options { dane: false, ..options }).unwrap();
    assert_eq!(asked(&guard, Wish::Usual).await, "may", "switched off");
    assert_eq!(asked(&guard, Wish::Require).await, "pkix");
    store.stop().await;
}

#[tokio::test]
async fn a_host_that_settings_name_stands_for_itself() {
    let (store, _dir) = store();
    let lines = [("mx.example.org A", "!192.0.2.1"), ("_2525._tcp.mx.example.org TLSA", "!3")];
    let guard =
        Guard::new(Zone::of(&lines), store, &Options { mta_sts: false, ..Options::default() }).unwrap();
    let demand = guard.demand("mx.example.org", "mx.example.org", 2525, Wish::Usual).await.unwrap();
    let Demand::Required { verify, .. } = demand else { panic!("{demand:?}") };
    assert_eq!(verify.server_name(), "mx.example.org");
}

/// A web server in a few words: what stands there now, and how often it was asked.
#[derive(Debug, Clone, Default)]
struct Web(Arc<Mutex<(Option<String>, usize)>>);

impl Web {
    fn has(&self, mode: &str, max_age: u32) {
        let text = format!("version: STSv1\nmode: {mode}\nmx: mx.example.org\nmax_age: {max_age}\n");
        self.0.lock().0 = Some(text);
    }
    fn says(&self, text: Option<&str>) {
        self.0.lock().0 = text.map(str::to_owned);
    }
    fn asked(&self) -> usize {
        self.0.lock().1
    }
}

impl Fetch for Web {
    async fn fetch(&self, _lookup: &impl Lookup, _domain: &str) -> Result<Vec<u8>, FetchError> {
        let mut web = self.0.lock();
        web.1 += 1;
        web.0.clone().map(String::into_bytes).ok_or(FetchError::Late)
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_900_000_000 + seconds).unwrap()
}

const DAY: i64 = 24 * 60 * 60;
const TXT: &str = "_mta-sts.example.org TXT";

#[tokio::test]
async fn policies_are_found_kept_and_renewed() {
    let (store, _dir) = store();
    let (zone, web) = (Zone::default(), Web::default());
    let mut policies = Policies::new(web.clone(), store.clone());
    let mode = async |policies: &Policies<Web>, now: i64| {
        policies.policy(&zone, "example.org", at(now)).await.map(|policy| policy.mode)
    };
    // Nothing is announced: nothing is fetched.
    web.has("enforce", 1000);
    assert_eq!((mode(&policies, 0).await, web.asked()), (None, 0));
    // Announced, and then remembered.
    zone.set(TXT, "v=STSv1; id=a");
    assert_eq!((mode(&policies, 0).await, web.asked()), (Some(Mode::Enforce), 1));
    assert_eq!((mode(&policies, 999).await, web.asked()), (Some(Mode::Enforce), 1));
    // Neither a missing record nor one that is forged takes it away before its time.
    for record in ["", "BOGUS", "v=STSv1; id=b|v=STSv1; id=c"] {
        zone.set(TXT, record);
        assert_eq!((mode(&policies, 999).await, web.asked()), (Some(Mode::Enforce), 1), "{record}");
    }
    assert_eq!((mode(&policies, 1000).await, web.asked()), (None, 1), "run out");
    // A new one, while the web server is away: the old one holds, and is not asked for at once again.
    zone.set(TXT, "v=STSv1; id=b");
    web.says(None);
    assert_eq!((mode(&policies, 500).await, web.asked()), (Some(Mode::Enforce), 2));
    assert_eq!((mode(&policies, 799).await, web.asked()), (Some(Mode::Enforce), 2));
    web.has("none", 100_000);
    assert_eq!((mode(&policies, 800).await, web.asked()), (Some(Mode::None), 3));
    // A new server knows what the old one knew.
    policies = Policies::new(web.clone(), store.clone());
    zone.set(TXT, "");
    assert_eq!((mode(&policies, 900).await, web.asked()), (Some(Mode::None), 3));
    // What is no policy does not displace one.
    zone.set(TXT, "v=STSv1; id=c");
    web.says(Some("<html>"));
    assert_eq!((mode(&policies, 900).await, web.asked()), (Some(Mode::None), 4));
    store.stop().await;
}

#[tokio::test]
async fn policies_are_refreshed_daily_and_go_when_they_have_run_out() {
    let (store, _dir) = store();
    let (zone, web) = (Zone::default(), Web::default());
    let policies = Policies::new(web.clone(), store.clone());
    let names: Vec<String> = (0..10).map(|n| format!("d{n}.example")).collect();
    web.has("enforce", 3 * 86_400);
    for name in &names {
        zone.set(&format!("_mta-sts.{name} TXT"), "v=STSv1; id=a");
        assert!(policies.policy(&zone, name, at(0)).await.is_some());
    }
    let kept = async || store.scan("mta-sts/", None, 100).await.unwrap().len();
    assert_eq!((web.asked(), kept().await), (10, 10));
    policies.refresh(&zone, at(DAY - 1)).await;
    assert_eq!(web.asked(), 10, "too young");
    policies.refresh(&zone, at(DAY)).await;
    assert_eq!(web.asked(), 20, "each once");
    // From then on the web server is away: they hold for three days from the last time.
    web.says(None);
    policies.refresh(&zone, at(2 * DAY)).await;
    assert_eq!(web.asked(), 30);
    assert!(policies.policy(&zone, "d3.example", at(4 * DAY - 1)).await.is_some());
    policies.refresh(&zone, at(4 * DAY)).await;
    assert_eq!((web.asked(), kept().await), (30, 0));
    store.stop().await;
}

#[tokio::test]
async fn a_policy_of_short_life_is_refreshed_before_it_ends() {
    let (store, _dir) = store();
    let (zone, web) = (Zone::of(&[(TXT, "v=STSv1; id=a")]), Web::default());
    let policies = Policies::new(web.clone(), store.clone());
    web.has("enforce", 7200);
    assert!(policies.policy(&zone, "example.org", at(0)).await.is_some());
    policies.refresh(&zone, at(3599)).await;
    assert_eq!(web.asked(), 1);
    policies.refresh(&zone, at(3600)).await;
    assert_eq!(web.asked(), 2);
    // It holds on, though the domain's announcement cannot be seen at the moment.
    zone.set(TXT, "BOGUS");
    assert!(policies.policy(&zone, "example.org", at(10_000)).await.is_some());
    store.stop().await;
}

#[tokio::test]
async fn many_who_ask_at_a_time_cause_one_fetch() {
    let (store, _dir) = store();
    let (zone, web) = (Zone::of(&[(TXT, "v=STSv1; id=a")]), Web::default());
    let policies = Policies::new(web.clone(), store.clone());
    web.has("testing", 86_400);
    let ask = || policies.policy(&zone, "example.org", at(0));
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    assert!([a, b, c].iter().all(|it| it.as_ref().is_some_and(|it| it.mode == Mode::Testing)));
    assert_eq!(web.asked(), 1);
    store.stop().await;
}

/// A web server that answers everybody with the same octets, under TLS.
async fn web_server(issuer: &Authority, names: &[&str], response: Vec<u8>) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let (mut request, mut piece) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece).await {
                    Ok(read @ 1..) => request.extend_from_slice(&piece[..read]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&request);
            assert!(request.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\n"), "{request}");
            assert!(request.to_ascii_lowercase().contains("\r\nhost: mta-sts.example.org"), "{request}");
            let _ = stream.write_all(&response).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn policies_come_over_https_from_their_own_host_only() {
    let (root, other) = (authority("root"), authority("other"));
    let authorities = trusting(&root);
    let zone = Zone::of(&[("mta-sts.example.org A", "127.0.0.1")]);
    let ok = |more: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{more}\r\n{body}").into_bytes();
    let long = "x".repeat(70_000);
    let table: Vec<(&Authority, &[&str], Vec<u8>, &str)> = vec![
        (&root, &["mta-sts.example.org"], ok("Content-Type: text/plain\r\nContent-Length: 2\r\n", "ab"), "ab"),
        (&root, &["*.example.org"], ok("content-type: Text/Plain; charset=utf-8\r\n", "to the end"), "to the end"),
        (
            &root,
            &["mta-sts.example.org"],
            ok("Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"),
            "abc",
        ),
        (&other, &["mta-sts.example.org"], ok("Content-Type: text/plain\r\n", "ab"), "no connection: "),
        (&root, &["example.org"], ok("Content-Type: text/plain\r\n", "ab"), "no connection: "),
        (&root, &["mta-sts.example.org"], ok("Content-Type: text/html\r\n", "ab"), "the answer is not of type"),
        (&root, &["mta-sts.example.org"], ok("", "ab"), "the answer is not of type"),
        (
            &root,
            &["mta-sts.example.org"],
            b"HTTP/1.1 301 Moved\r\nLocation: https://mta-sts.example.org/\r\nContent-Type: text/plain\r\n\r\n".to_vec(),
            "the answer is 301",
        ),
        (&root, &["mta-sts.example.org"], b"HTTP/1.1 404 Gone\r\n\r\n".to_vec(), "the answer is 404"),
        (&root, &["mta-sts.example.org"], b"220 mail.example.org ESMTP\r\n".to_vec(), "HTTP: "),
        (&root, &["mta-sts.example.org"], ok(&format!("X: {long}\r\n"), ""), "HTTP: "),
        (&root, &["mta-sts.example.org"], ok("Content-Type: text/plain\r\n", &long), "the policy does not come whole"),
        (
            &root,
            &["mta-sts.example.org"],
            ok("Content-Type: text/plain\r\nContent-Length: 10\r\n", "ab"),
            "the policy does not come whole",
        ),
    ];
    for (issuer, names, response, expected) in table {
        let shown = String::from_utf8_lossy(&response[..response.len().min(80)]).into_owned();
        let https = super::fetch::Https::new(&authorities, web_server(issuer, names, response).await);
        let said = match https.fetch(&zone, "example.org").await {
            Ok(text) => String::from_utf8(text).unwrap(),
            Err(error) => error.to_string(),
        };
        assert!(said.starts_with(expected), "{names:?} {shown}: {said}");
    }
    let nowhere = super::fetch::Https::new(&authorities, 1).fetch(&zone, "elsewhere.example").await;
    assert_eq!(
        nowhere.unwrap_err().to_string(),
        "mta-sts.elsewhere.example has no address (none is published)"
    );
}
