//! DNSSEC against Debian's NSD, with zones signed by the tools of ldns: what is secure, what is not, and what is bogus.
//!
//! One name server has the root and everything below it, and answers as a resolver would.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use packetboat_server::dns::{Dnssec, Lookup, LookupError, Resolver, ResolverOptions, Security, Tlsa};

/// Debian's packages, unpacked by `cargo xtask tools`.
fn tree() -> PathBuf {
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("debian/nsd");
    assert!(tree.join("versions").exists(), "nsd is missing: run `cargo xtask tools`");
    tree
}

fn tool(name: &str, dir: &Path) -> Command {
    let tree = tree();
    let program = ["usr/sbin", "usr/bin"].map(|place| tree.join(place).join(name));
    let mut command = Command::new(program.iter().find(|it| it.exists()).unwrap());
    let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
    command.env("LD_LIBRARY_PATH", tree.join("usr/lib").join(machine)).current_dir(dir);
    command
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// How a zone is signed.
#[derive(Clone, Copy, PartialEq)]
enum Signed {
    Not,
    Nsec,
    Nsec3,
    /// With signatures that have run out.
    Late,
    /// And then changed behind the signer's back: this for that.
    Forged(&'static str, &'static str),
    /// The parent says that it is, and it is not.
    Stripped,
}

struct Server {
    process: Child,
    at: SocketAddr,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The zones, children before their parents; each is put below the one whose name its own ends with.
const ZONES: &[(&str, Signed, &str)] = &[
    (
        "signed.test.",
        Signed::Nsec,
        "@ MX 10 mx.signed.test.\n@ MX 20 away.plain.test.\n@ TXT \"v=\" \"x\"\nmx A 192.0.2.1\nmx AAAA 2001:db8::1\n\
         _25._tcp.mx CNAME keys.signed.test.\nkeys TLSA 3 1 1 \
         00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n\
         alias CNAME mx.signed.test.\nout CNAME host.plain.test.\nover CNAME mx.nsec3.test.\n*.wild A 192.0.2.9\n\
         to-forged CNAME mx.forged.test.\nmoved DNAME wild.signed.test.\nfar DNAME nsec3.test.\nfallen DNAME plain.test.\n\
         bad DNAME forged.test.\ncircle DNAME circle.circle.signed.test.\n",
    ),
    ("nsec3.test.", Signed::Nsec3, "@ MX 10 mx.nsec3.test.\nmx A 192.0.2.2\n*.wild A 192.0.2.9\n"),
    ("plain.test.", Signed::Not, "@ MX 10 host.plain.test.\nhost A 192.0.2.3\nback CNAME mx.signed.test.\n"),
    ("late.test.", Signed::Late, "@ MX 10 mx.late.test.\nmx A 192.0.2.4\n"),
    (
        "forged.test.",
        Signed::Forged("192.0.2.5", "198.51.100.5"),
        "@ MX 10 mx.forged.test.\nmx A 192.0.2.5\nother A 192.0.2.6\n",
    ),
    ("stripped.test.", Signed::Stripped, "@ MX 10 mx.stripped.test.\nmx A 192.0.2.7\n"),
    // A subdomain without signatures below a zone with NSEC3.
    ("sub.nsec3.test.", Signed::Not, "@ MX 10 mx.sub.nsec3.test.\nmx A 192.0.2.8\n"),
    ("test.", Signed::Nsec, ""),
    (".", Signed::Nsec, ""),
];

fn name_server() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path();
    let mut conf = String::from(
        "server:\n  username: \"\"\n  chroot: \"\"\n  hide-version: yes\n  rrl-ratelimit: 0\n  verbosity: 1\n  server-count: 1\n",
    );
    // Of each zone its delegations, and what makes them secure.
    let mut below: Vec<(String, String)> = Vec::new();
    let mut deepest_first = ZONES.to_vec();
    deepest_first.sort_by_key(|(name, ..)| {
        std::cmp::Reverse(if *name == "." { 0 } else { name.matches('.').count() })
    });
    let mut listed = String::new();
    for (zone, signed, records) in deepest_first {
        let mut text = format!(
            "$ORIGIN {zone}\n$TTL 60\n@ SOA ns.test. hostmaster.test. 1 3600 600 86400 60\n@ NS ns.test.\n{records}"
        );
        if zone == "test." {
            text.push_str("ns A 127.0.0.1\n");
        }
        for (child, delegation) in &below {
            let parent =
                child.split_once('.').map_or(".", |(_, rest)| if rest.is_empty() { "." } else { rest });
            if parent == zone {
                text.push_str(delegation);
            }
        }
        let file = if zone == "." { "root".to_owned() } else { zone.to_owned() };
        fs::write(place.join(&file), text).unwrap();
        let mut delegation = format!("{zone} NS ns.test.\n");
        let mut served = file.clone();
        if signed != Signed::Not {
            let key = output(tool("ldns-keygen", place).args(["-a", "ED25519", "-k", zone]));
            delegation.push_str(&output(tool("ldns-key2ds", place).args([
                "-n",
                "-2",
                &format!("{key}.key"),
            ])));
            delegation.push('\n');
            served = format!("{file}.signed");
            let mut sign = tool("ldns-signzone", place);
            sign.args(["-f", &served, "-o", zone]);
            match signed {
                Signed::Nsec3 => _ = sign.args(["-n", "-p", "-t", "1", "-s", "ab"]),
                Signed::Late => _ = sign.args(["-i", "20200101", "-e", "20200201"]),
                _ => {}
            }
            output(sign.args([&file, &key]));
            match signed {
                Signed::Forged(from, to) => {
                    let text = fs::read_to_string(place.join(&served)).unwrap();
                    assert!(text.contains(from));
                    fs::write(place.join(&served), text.replace(from, to)).unwrap();
                }
                Signed::Stripped => served.clone_from(&file),
                _ => {}
            }
            if zone == "." {
                fs::copy(place.join(format!("{key}.key")), place.join("anchor")).unwrap();
            }
        }
        below.push((zone.to_owned(), delegation));
        listed.push_str(&format!("zone:\n  name: \"{zone}\"\n  zonefile: \"{served}\"\n"));
    }
    // Free a moment ago; NSD cannot be asked which one it took.
    let at = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    conf.push_str(&format!("  ip-address: 127.0.0.1@{}\n  zonesdir: \"{}\"\n", at.port(), place.display()));
    for (key, file) in [("pidfile", "pid"), ("database", ""), ("zonelistfile", "zones"), ("xfrdfile", "xfrd")]
    {
        let path = if file.is_empty() { String::new() } else { place.join(file).display().to_string() };
        conf.push_str(&format!("  {key}: \"{path}\"\n"));
    }
    conf.push_str(&format!(
        "  xfrdir: \"{}\"\nremote-control:\n  control-enable: no\n{listed}",
        place.display()
    ));
    fs::write(place.join("nsd.conf"), conf).unwrap();
    let log = fs::File::create(place.join("log")).unwrap();
    let mut nsd = tool("nsd", place);
    nsd.arg("-d").arg("-c").arg(place.join("nsd.conf")).stdin(Stdio::null()).stdout(log.try_clone().unwrap());
    let process = nsd.stderr(log).spawn().unwrap();
    let server = Server { process, at, dir };
    server.wait();
    server
}

impl Server {
    /// Waits until it answers anything at all.
    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(120);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let question = b"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01";
        while Instant::now() < until {
            let _ = socket.send_to(question, self.at);
            if socket.recv(&mut [0; 512]).is_ok() {
                return;
            }
        }
        panic!(
            "nsd does not answer: {}",
            fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
        );
    }

    fn resolver(&self, dnssec: Dnssec) -> Resolver {
        let trust_anchor = Some(self.dir.path().join("anchor"));
        Resolver::new(&ResolverOptions { servers: vec![self.at], dnssec, trust_anchor, again: 1 }).unwrap()
    }
}

/// `secure`, `insecure` or `bogus`, and what there is, in one line.
fn told<T: std::fmt::Debug>(found: packetboat_server::dns::Found<Vec<T>>) -> String {
    match found {
        Ok(answer) => {
            let word = if answer.security == Security::Secure { "secure" } else { "insecure" };
            let alias = answer.alias.map(|it| format!(" >{it}")).unwrap_or_default();
            format!("{word} {}{alias}", answer.data.len())
        }
        Err(LookupError::Bogus(_)) => "bogus".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_signed_is_told_from_what_is_not() {
    let server = name_server();
    let resolver = server.resolver(Dnssec::Validate);

    for (name, expected) in [
        ("signed.test", "secure 2"),
        ("nsec3.test", "secure 1"),
        ("plain.test", "insecure 1"),
        ("sub.nsec3.test", "insecure 1"),
        ("late.test", "bogus"),
        // Its MX records are in order.
        ("forged.test", "secure 1"),
        ("stripped.test", "bogus"),
        // Nothing there, and that is signed or not.
        ("mx.signed.test", "secure 0"),
        ("nothing.signed.test", "secure 0"),
        ("nothing.nsec3.test", "secure 0"),
        ("mx.nsec3.test", "secure 0"),
        ("nothing.test", "secure 0"),
        ("nothing", "secure 0"),
        ("nothing.plain.test", "insecure 0"),
        ("host.plain.test", "insecure 0"),
        ("nothing.sub.nsec3.test", "insecure 0"),
        ("nothing.stripped.test", "bogus"),
    ] {
        // Twice: what is remembered is as what was asked.
        assert_eq!(told(resolver.mx(name).await), expected, "MX {name}");
        assert_eq!(told(resolver.mx(name).await), expected, "MX {name}, from memory");
    }
    for (name, expected) in [
        ("mx.signed.test", "secure 2"),
        ("mx.nsec3.test", "secure 1"),
        ("host.plain.test", "insecure 1"),
        ("mx.sub.nsec3.test", "insecure 1"),
        ("mx.forged.test", "bogus"),
        ("other.forged.test", "secure 1"),
        ("mx.late.test", "bogus"),
        ("alias.signed.test", "secure 2 >mx.signed.test"),
        ("over.signed.test", "secure 1 >mx.nsec3.test"),
        // As weak as its weakest part.
        ("out.signed.test", "insecure 1 >host.plain.test"),
        ("back.plain.test", "insecure 2 >mx.signed.test"),
        ("to-forged.signed.test", "bogus"),
        ("any.wild.signed.test", "secure 1"),
        // Whole trees that have moved.
        ("mx.far.signed.test", "secure 1 >mx.nsec3.test"),
        ("any.moved.signed.test", "secure 1 >any.wild.signed.test"),
        ("host.fallen.signed.test", "insecure 1 >host.plain.test"),
        ("mx.bad.signed.test", "bogus"),
        ("other.bad.signed.test", "secure 1 >other.forged.test"),
        ("any.wild.nsec3.test", "secure 1"),
    ] {
        assert_eq!(told(resolver.addresses(name).await), expected, "A, AAAA {name}");
        assert_eq!(told(resolver.addresses(name).await), expected, "A, AAAA {name}, from memory");
    }
    assert_ne!(told(resolver.addresses("a.circle.signed.test").await), "secure 1", "it has no end");
    let out = resolver.alias("out.signed.test").await.unwrap();
    assert_eq!((out.security, out.data.as_deref()), (Security::Secure, Some("host.plain.test")));
    let back = resolver.alias("back.plain.test").await.unwrap();
    assert_eq!((back.security, back.data.as_deref()), (Security::Insecure, Some("mx.signed.test")));
    assert_eq!(resolver.alias("mx.signed.test").await.unwrap().data, None);

    let tlsa = resolver.tlsa("_25._tcp.mx.signed.test").await.unwrap();
    assert_eq!((tlsa.security, tlsa.alias.as_deref()), (Security::Secure, Some("keys.signed.test")));
    let data: Vec<u8> = (0..=0xff).step_by(0x11).cycle().take(32).collect();
    assert_eq!(tlsa.data, [Tlsa { usage: 3, selector: 1, matching: 1, data }]);
    assert_eq!(told(resolver.tlsa("_25._tcp.mx.nsec3.test").await), "secure 0");
    assert_eq!(told(resolver.tlsa("_25._tcp.host.plain.test").await), "insecure 0");
    assert_eq!(told(resolver.tlsa("_25._tcp.mx.stripped.test").await), "bogus");
    assert_eq!(resolver.txt("signed.test").await.unwrap().data, [b"v=x".to_vec()]);

    // Without checking, all are believed and none is secure.
    let believing = server.resolver(Dnssec::Off);
    for (name, expected) in
        [("signed.test", "insecure 2"), ("late.test", "insecure 1"), ("stripped.test", "insecure 1")]
    {
        assert_eq!(told(believing.mx(name).await), expected, "{name}, not checked");
    }
    let forged = believing.addresses("mx.forged.test").await.unwrap().data;
    assert_eq!(forged, [IpAddr::from([198, 51, 100, 5])]);
}

#[tokio::test]
async fn the_roots_own_keys_vouch_for_no_other_root() {
    let server = name_server();
    let servers = vec![server.at];
    let options = ResolverOptions { servers, dnssec: Dnssec::Validate, ..ResolverOptions::default() };
    let resolver = Resolver::new(&options).unwrap();
    assert_eq!(told(resolver.mx("signed.test").await), "bogus");
    assert_eq!(told(resolver.mx("plain.test").await), "bogus");
}

#[test]
fn a_trust_anchor_that_cannot_be_read_is_told() {
    let options = |anchor: &str| ResolverOptions {
        servers: vec![SocketAddr::from(([127, 0, 0, 1], 53))],
        dnssec: Dnssec::Validate,
        trust_anchor: Some(PathBuf::from(anchor)),
        ..ResolverOptions::default()
    };
    let error = Resolver::new(&options("/nowhere")).unwrap_err().to_string();
    assert!(error.contains("/nowhere"), "{error}");
}
