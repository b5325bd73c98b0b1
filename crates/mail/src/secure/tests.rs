#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use super::sts::{Mode, PATTERNS_MAX, POLICY_MAX, Policy, PolicyError, policy_id};
use super::*;

fn record(usage: u8, selector: u8, matching: u8, length: usize) -> Tlsa {
    Tlsa { usage, selector, matching, data: vec![usage; length] }
}

fn policy(mode: &str) -> Arc<Policy> {
    let text = format!("version: STSv1\nmode: {mode}\nmx: mx.example.org\nmax_age: 86400\n");
    Arc::new(Policy::parse(text.as_bytes()).unwrap())
}

fn domain(found: Found, policy: Option<Arc<Policy>>) -> DomainFacts {
    DomainFacts { name: "example.org".into(), alias: None, found, policy }
}

fn host(name: &str, tlsa: TlsaFacts) -> HostFacts {
    HostFacts { name: name.into(), tlsa }
}

fn tlsa(records: &[Tlsa]) -> TlsaFacts {
    TlsaFacts::Found { base: "mx.example.org".into(), records: records.to_vec() }
}

/// One word for what is demanded, so that a table can be read.
fn word(demand: &Demand) -> String {
    match demand {
        Demand::Opportunistic => "may".to_owned(),
        Demand::Required { verify, .. } => match verify {
            Verify::Any { .. } => "tls".to_owned(),
            Verify::Pkix { names } => format!("pkix {}", names.join(" ")),
            Verify::Dane(dane) => format!("dane {}", dane.names.join(" ")),
            Verify::Sts { host, dane: None } => format!("sts {host}"),
            Verify::Sts { host, dane: Some(_) } => format!("sts+dane {host}"),
        },
        Demand::Skip(reason) => {
            let (class, subject, detail) = reason.status;
            format!("skip {class}.{subject}.{detail}")
        }
    }
}

#[test]
fn what_is_demanded_in_every_case() {
    use Security::{Insecure, Secure};
    let (secure, insecure, itself) = (Found::Mx(Secure), Found::Mx(Insecure), Found::Itself);
    let good = || tlsa(&[record(3, 1, 1, 32)]);
    let useless = || tlsa(&[record(1, 1, 1, 32)]);
    let none = || TlsaFacts::None;
    let failed = || TlsaFacts::Failed("SERVFAIL".into());
    let (enforce, testing, gone) = (Some(policy("enforce")), Some(policy("testing")), Some(policy("none")));
    let (mx, other) = ("mx.example.org", "mx.evil.example");
    #[rustfmt::skip]
    let table = [
        // How the host was found, policy, host, TLSA: usual, REQUIRETLS.
        (insecure, &None, mx, none(), "may", "skip 5.7.10"),
        (secure, &None, mx, none(), "may", "pkix mx.example.org"),
        (itself, &None, mx, none(), "may", "pkix mx.example.org"),
        (secure, &None, mx, good(), "dane mx.example.org example.org", "dane mx.example.org example.org"),
        // The way from the domain to the host is not to be trusted, so its name alone counts.
        (insecure, &None, mx, good(), "dane mx.example.org", "skip 5.7.10"),
        (secure, &None, mx, useless(), "tls", "pkix mx.example.org"),
        (insecure, &None, mx, useless(), "tls", "skip 5.7.10"),
        (secure, &None, mx, failed(), "skip 4.4.3", "skip 4.4.3"),
        (insecure, &enforce, mx, none(), "sts mx.example.org", "sts mx.example.org"),
        (insecure, &enforce, other, none(), "skip 4.7.5", "skip 4.7.5"),
        // A forged MX record that leads to a host with TLSA records of its own.
        (insecure, &enforce, other, good(), "skip 4.7.5", "skip 4.7.5"),
        (insecure, &enforce, mx, good(), "sts+dane mx.example.org", "sts+dane mx.example.org"),
        (secure, &enforce, mx, none(), "sts mx.example.org", "sts mx.example.org"),
        (secure, &enforce, mx, good(), "dane mx.example.org example.org", "dane mx.example.org example.org"),
        (secure, &enforce, mx, useless(), "sts mx.example.org", "sts mx.example.org"),
        (insecure, &testing, other, none(), "may", "skip 5.7.10"),
        (insecure, &testing, mx, none(), "may", "pkix mx.example.org"),
        (insecure, &gone, mx, none(), "may", "skip 5.7.10"),
    ];
    for (at, (found, policy, name, tlsa, usual, require)) in table.into_iter().enumerate() {
        let (domain, host) = (domain(found, policy.clone()), host(name, tlsa));
        assert_eq!(word(&demand(&domain, &host, Wish::Usual)), usual, "row {at}");
        assert_eq!(word(&demand(&domain, &host, Wish::Require)), require, "row {at}, REQUIRETLS");
        assert_eq!(demand(&domain, &host, Wish::Forgo), Demand::Opportunistic, "row {at}, TLS-Required: No");
    }
}

#[test]
fn names_for_an_authority_named_by_dane() {
    let facts = |found| DomainFacts { alias: Some("real.example".into()), ..domain(found, None) };
    let with_base = TlsaFacts::Found { base: "box.example.net".into(), records: vec![record(2, 0, 1, 32)] };
    let at = |found| word(&demand(&facts(found), &host("mx.example.org", with_base.clone()), Wish::Usual));
    assert_eq!(at(Found::Mx(Security::Secure)), "dane box.example.net example.org real.example");
    assert_eq!(at(Found::Mx(Security::Insecure)), "dane box.example.net");
    assert_eq!(at(Found::Itself), "dane box.example.net mx.example.org");
}

#[test]
fn a_reason_says_what_is_wrong_and_with_whom() {
    let policy = Some(policy("enforce"));
    let at = |facts: DomainFacts, host: HostFacts, wish| match demand(&facts, &host, wish) {
        Demand::Skip(reason) => reason,
        other => panic!("{other:?}"),
    };
    let insecure = Found::Mx(Security::Insecure);
    let reason = at(domain(insecure, policy), host("mx.evil.example", TlsaFacts::None), Wish::Usual);
    assert_eq!(
        reason.text,
        "mx.evil.example is none of the servers that the MTA-STS policy of example.org names"
    );
    assert!(!reason.is_permanent());
    let failed = TlsaFacts::Failed("SERVFAIL".into());
    let reason = at(domain(insecure, None), host("mx.example.org", failed), Wish::Usual);
    assert_eq!(reason.text, "it cannot be found out how to know mx.example.org (TLSA): SERVFAIL");
    let reason = at(domain(insecure, None), host("mx.example.org", TlsaFacts::None), Wish::Require);
    assert!(reason.is_permanent() && reason.text.contains("REQUIRETLS"), "{reason:?}");
}

#[test]
fn records_that_can_be_used() {
    let kept = |records: &[Tlsa]| {
        let shown = |it: Association| format!("{:?} {:?} {:?}", it.usage, it.selector, it.matching);
        usable(records).into_iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(kept(&[record(3, 1, 1, 32)]), ["Server Key Sha256"]);
    assert_eq!(kept(&[record(2, 0, 2, 64)]), ["Authority Certificate Sha512"]);
    assert_eq!(kept(&[record(3, 0, 0, 700)]), ["Server Certificate Full"]);
    // RFC 7672, section 3.1.3, and values that are not assigned.
    for (usage, selector, matching, length) in
        [(0, 1, 1, 32), (1, 1, 1, 32), (4, 1, 1, 32), (255, 1, 1, 32), (3, 2, 1, 32), (3, 1, 3, 32)]
    {
        assert!(
            kept(&[record(usage, selector, matching, length)]).is_empty(),
            "{usage} {selector} {matching}"
        );
    }
    // Data of a length that no digest has.
    for (matching, length) in [(0, 0), (1, 31), (1, 33), (1, 64), (2, 32)] {
        assert!(kept(&[record(3, 1, matching, length)]).is_empty(), "{matching} {length}");
    }
    // The weaker digest of the same thing does not count; that of another does, and what stands in full does.
    let records = [
        record(3, 1, 1, 32),
        record(3, 1, 2, 64),
        record(3, 0, 1, 32),
        record(2, 1, 1, 32),
        record(3, 1, 0, 9),
    ];
    assert_eq!(
        kept(&records),
        ["Server Key Sha512", "Server Certificate Sha256", "Authority Key Sha256", "Server Key Full"]
    );
    // A digest whose length is wrong is none, and does not displace one that can be used.
    assert_eq!(kept(&[record(3, 1, 1, 32), record(3, 1, 2, 32)]), ["Server Key Sha256"]);
}

#[test]
fn records_that_announce_a_policy() {
    let id = |records: &[&str]| policy_id(records.iter().map(|it| it.as_bytes()));
    for (record, expected) in [
        ("v=STSv1; id=20160831085700Z;", Some("20160831085700Z")),
        ("v=STSv1;id=a", Some("a")),
        ("v=STSv1 ; id=a ; x=y", Some("a")),
        ("v=STSv1; x-1.y_z=!$:; id=a", Some("a")),
        ("v=STSv1; id=a; id=b", Some("a")),
        ("v=STSv1;", None),
        ("v=STSv1", None),
        ("v=STSv10; id=a", None),
        ("V=STSv1; id=a", None),
        ("id=a; v=STSv1", None),
        ("v=STSv1; ID=a", None),
        ("v=STSv1; id=", None),
        ("v=STSv1; id=a-b", None),
        ("v=STSv1; id", None),
        ("v=STSv1; id=a; x", None),
        ("v=STSv1; id=a; x=b c", None),
        ("v=STSv1; id=abcdefghijklmnopqrstuvwxyz0123456789", None),
        ("v=spf1 -all", None),
        ("", None),
    ] {
        assert_eq!(id(&[record]).as_deref(), expected, "{record}");
        assert_eq!(id(&["v=spf1 -all", record]).as_deref(), expected, "{record} and others");
    }
    assert_eq!(id(&["v=STSv1; id=a", "v=STSv1; id=a"]), None, "two are none");
    assert_eq!(policy_id([b"v=STSv1; id=\xff".as_slice()]), None);
}

#[test]
fn policies_as_written() {
    let good =
        "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n";
    let parsed = Policy::parse(good.as_bytes()).unwrap();
    assert_eq!((parsed.mode, parsed.max_age), (Mode::Enforce, Duration::from_secs(604_800)));
    let shown: Vec<String> = parsed.mx.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["mail.example.com", "*.example.net"]);

    let said = |text: &str| Policy::parse(text.as_bytes());
    for (text, mode, seconds) in [
        ("version:STSv1\nmode:testing\nmx:a.example\nmax_age:1", Mode::Testing, 1),
        ("max_age: 5 \nmx: a.example\t\nversion: STSv1\nmode: enforce", Mode::Enforce, 5),
        ("version: STSv1\nmode: none\nmax_age: 86400\n", Mode::None, 86_400),
        (
            "version: STSv1\nmode: none\nmode: enforce\nmax_age: 3\nmax_age: 4\nfuture.key: x: y \u{fc}\n",
            Mode::None,
            3,
        ),
        ("version: STSv1\nmode: none\nmax_age: 9999999999\n", Mode::None, 31_557_600),
    ] {
        let policy = said(text).unwrap();
        assert_eq!((policy.mode, policy.max_age.as_secs()), (mode, seconds), "{text}");
    }
    for (text, error) in [
        ("", PolicyError::Version),
        ("mode: none\nmax_age: 1", PolicyError::Version),
        ("version: STSv2\nmode: none\nmax_age: 1", PolicyError::Version),
        ("Version: STSv1\nmode: none\nmax_age: 1", PolicyError::Version),
        ("version: STSv1\nmax_age: 1", PolicyError::Mode),
        ("version: STSv1\nmode: Enforce\nmx: a.example\nmax_age: 1", PolicyError::Mode),
        ("version: STSv1\nmode: none", PolicyError::MaxAge),
        ("version: STSv1\nmode: none\nmax_age: ", PolicyError::MaxAge),
        ("version: STSv1\nmode: none\nmax_age: -1", PolicyError::MaxAge),
        ("version: STSv1\nmode: none\nmax_age: +1", PolicyError::MaxAge),
        ("version: STSv1\nmode: none\nmax_age: 12345678901", PolicyError::MaxAge),
        ("version: STSv1\nmode: enforce\nmax_age: 1", PolicyError::NoMx),
        ("version: STSv1\nmode: enforce\nmx: a..b\nmax_age: 1", PolicyError::Mx(3)),
        ("version: STSv1\nmode: enforce\nmx: *\nmax_age: 1", PolicyError::Mx(3)),
        ("version: STSv1\nmode: enforce\nmx: a.*.example\nmax_age: 1", PolicyError::Mx(3)),
        ("version: STSv1\nmode: enforce\nmx: b\u{fc}cher.example\nmax_age: 1", PolicyError::Mx(3)),
        ("<html>\nversion: STSv1", PolicyError::Line(1)),
        ("version: STSv1\n: x", PolicyError::Line(2)),
    ] {
        assert_eq!(said(text), Err(error), "{text}");
    }
    assert_eq!(Policy::parse(b"version: STSv1\nx: \xff"), Err(PolicyError::Line(2)));
    assert_eq!(Policy::parse(&vec![b'\n'; POLICY_MAX + 1]), Err(PolicyError::TooLong));
    let many =
        format!("version: STSv1\nmode: none\nmax_age: 1\n{}", "mx: a.example\n".repeat(PATTERNS_MAX + 1));
    assert_eq!(said(&many), Err(PolicyError::TooLong));
}

#[test]
fn hosts_that_a_policy_names() {
    let text = "version: STSv1\nmode: enforce\nmx: Mail.Example.com\nmx: *.example.net\nmax_age: 1";
    let policy = Policy::parse(text.as_bytes()).unwrap();
    for (host, allowed) in [
        ("mail.example.com", true),
        ("MAIL.example.com", true),
        ("mail.example.com.", true),
        ("a.mail.example.com", false),
        ("example.com", false),
        ("mx.example.net", true),
        ("example.net", false),
        (".example.net", false),
        ("foo.bar.example.net", false),
        ("mx.example.net.evil.example", false),
        ("", false),
    ] {
        assert_eq!(policy.allows(host), allowed, "{host}");
    }
}
