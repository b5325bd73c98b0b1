//! What few clients ask for and some cannot do without: the end of TLS on the control connection (CCC), replies to uploads
//! that are refused in the middle, addresses of all zeros, revoked certificates, an administrator's SITE WHO, MODE Z
//! in the middle of a file, webhooks over HTTPS.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use support::{Depot, Raw, foreign};

/// ftplib, whose data connections resume the TLS session of the control connection, also when that has ended.
const PYTHON: &str = r#"
import ftplib, io, os, socket, ssl, sys
port, ca, dir = int(sys.argv[1]), sys.argv[2], sys.argv[3]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]

class Bound(ftplib.FTP_TLS):
    kept = None
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.kept or self.sock.session)
        return conn, size

def secure(version, certificate=None):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = version
    if certificate: context.load_cert_chain(os.path.join(dir, certificate))
    f = Bound(context=context)
    f.connect('localhost', port)
    return f

def enter(version):
    f = secure(version)
    f.login('alice@boat.test', 'demo')
    f.prot_p()
    return f

def refused(f, line, code):
    try: said = f.sendcmd(line)
    except ftplib.Error as error: said = str(error)
    assert said.startswith(code), (line, said)
"#;

fn python(depot: &Depot, script: &str) {
    let program = format!("{PYTHON}{script}");
    let python = foreign("python3").arg("-c").arg(program).arg(depot.ftp().to_string());
    python.arg(depot.ca()).arg(depot.dir()).run();
}

#[test]
fn tls_ends_and_the_session_goes_on() {
    let depot = Depot::start_with("allow_ccc = true\n", "");
    python(
        &depot,
        r#"
for version in VERSIONS:
    f = enter(version)
    f.storbinary('STOR x', io.BytesIO(b'under TLS'))
    f.kept = f.sock.session
    # What comes with it in the same breath is of before the answer, and is not heard after it.
    f.sock.sendall(b'CCC\r\nDELE x\r\n')
    assert f.getresp().startswith('200')
    f.sock = f.sock.unwrap()
    f.file = f.sock.makefile('r', encoding='utf-8')
    assert f.sendcmd('SIZE x') == '213 9'
    for line, code in [('PROT C', '503'), ('PBSZ 0', '503'), ('CCC', '533')]: refused(f, line, code)
    # Data connections are as PROT has said.
    got = io.BytesIO()
    f.retrbinary('RETR x', got.write)
    assert got.getvalue() == b'under TLS'
    # AUTH begins anew, and nobody is logged in.
    refused(f, 'AUTH TLS', '234')
    f.sock = f.context.wrap_socket(f.sock, server_hostname='localhost')
    f.file = f.sock.makefile('r', encoding='utf-8')
    refused(f, 'SIZE x', '530')
    f.kept = None
    f.login('alice@boat.test', 'demo', secure=False)
    f.prot_p()
    f.storbinary('STOR y', io.BytesIO(b'again'))
    f.quit()

# Not before the log-in, and nothing in the clear without a farewell that looks like TLS.
f = secure(VERSIONS[1])
f.auth()
refused(f, 'CCC', '534')
f.close()
"#,
    );
    let dir = depot.dir();
    fs::write(dir.join("sent"), "by curl").unwrap();
    for mode in ["active", "passive"] {
        let curl = || {
            let curl = foreign("curl").dir(dir).args("--silent --show-error --ssl-reqd --ftp-ssl-ccc");
            let curl = curl.arg("--ftp-ssl-ccc-mode").arg(mode).arg("--cacert").arg(depot.ca());
            curl.args("--user alice@boat.test:demo")
        };
        let url = format!("ftp://localhost:{}/by-{mode}", depot.ftp());
        curl().args("-T sent").arg(&url).run();
        assert_eq!(curl().arg(&url).run().out, b"by curl");
    }
}

#[test]
fn refusals_in_the_middle_are_read() {
    let depot = Depot::start_with("", "[files]\nquota = \"1 MiB\"\n");
    let dir = depot.dir();
    // Much more than the sockets hold.
    fs::write(dir.join("large"), vec![0x42; 12_000_000]).unwrap();
    python(
        &depot,
        r#"
large = open(os.path.join(dir, 'large'), 'rb').read()
def fill(f):
    for line in ['STOR x', 'APPE x', 'STOU']:
        try:
            f.storbinary(line, io.BytesIO(large))
            raise AssertionError('more than there is room for was stored')
        except ftplib.error_perm as error:
            assert str(error).startswith('552'), error
        # The session goes on.
        assert f.sendcmd('NOOP').startswith('200')
        assert f.nlst() == []
    f.quit()
f = ftplib.FTP()
f.connect('localhost', port)
f.login('alice@boat.test', 'demo')
fill(f)
for version in VERSIONS: fill(enter(version))
"#,
    );
    let url = format!("ftp://localhost:{}/x", depot.ftp());
    for tls in [false, true] {
        let curl =
            foreign("curl").dir(dir).args("--silent --show-error --user alice@boat.test:demo -T large");
        let curl = if tls { curl.arg("--ssl-reqd").arg("--cacert").arg(depot.ca()) } else { curl };
        let said = curl.arg(&url).attempt();
        // "Remote disk full. Operation aborted", which it takes from the reply.
        assert_eq!(said.code, Some(70), "{said:?}");
        let lftp = format!(
            "set net:max-retries 1; set ssl:ca-file {}; set ftp:ssl-allow {tls}; set ftp:ssl-force {tls}\n\
             open -u alice@boat.test,demo ftp://localhost:{}\nput {}\n",
            depot.ca().display(),
            depot.ftp(),
            dir.join("large").display(),
        );
        fs::write(dir.join("script"), lftp).unwrap();
        let lftp = foreign("lftp").env("HOME", dir).arg("--norc").arg("-f").arg(dir.join("script"));
        let said = lftp.attempt();
        assert!(said.code != Some(0) && said.err.contains("552"), "{said:?}");
    }
    assert!(fs::read_dir(depot.home("alice")).unwrap().next().is_none());
}

#[test]
fn refusals_that_are_not_read_hold_nobody_else_up() {
    // Uploads that are refused in the middle, of a client that never looks, and sends no end.
    const REFUSED: usize = 120;
    // What else comes and goes with sessions, and a data connection that is just being closed.
    const SLACK: usize = 40;
    let depot = Depot::start_with("", "[files]\nquota = \"1 KiB\"\n");
    let (mut raw, mut kept) = (Raw::login(depot.at()), Vec::new());
    raw.expect(200, "TYPE I");
    let before = (depot.descriptors(), depot.threads());
    for _ in 0..REFUSED {
        let mut data = raw.data();
        raw.send(b"STOR x\r\n");
        assert_eq!(raw.reply().0, 150);
        data.write_all(&[0x42; 4096]).unwrap();
        assert_eq!(raw.reply().0, 552);
        kept.push(data);
    }
    let after = (depot.descriptors(), depot.threads());
    assert!(
        after.0 < before.0 + SLACK && after.1 < before.1 + SLACK,
        "descriptors, threads: {before:?} {after:?}"
    );
    // Others store what there is room for.
    let mut other = Raw::connect(depot.at());
    other.expect(331, "USER bob@boat.test");
    other.expect(230, "PASS demo");
    let mut data = other.data();
    other.send(b"STOR x\r\n");
    assert_eq!(other.reply().0, 150);
    data.write_all(b"small").unwrap();
    drop(data);
    assert_eq!(other.reply().0, 226);
}

#[test]
fn zeros_are_the_client_itself() {
    let depot = Depot::start();
    let mut alice = Raw::login(depot.at());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    for line in [
        format!("EPRT |1|0.0.0.0|{port}|"),
        format!("PORT 0,0,0,0,{},{}", port / 256, port % 256),
        format!("LPRT 4,4,0,0,0,0,2,{},{}", port / 256, port % 256),
    ] {
        alice.expect(200, &line);
        alice.expect(150, "LIST");
        drop(listener.accept().unwrap());
        let (code, text) = alice.reply();
        assert!([226, 426].contains(&code), "{line}: {text}");
    }
    // Another family is not that of the client, and low ports are nobody's.
    for line in ["EPRT |2|::|5000|", "EPRT |1|0.0.0.0|25|", "PORT 0,0,0,0,0,25"] {
        let (code, text) = alice.say(line);
        assert!((500..600).contains(&code), "{line}: {text}");
    }
}

#[test]
fn an_address_in_host_has_to_be_ours() {
    let depot = Depot::start();
    let mut raw = Raw::connect(depot.at());
    for other in ["192.0.2.1", "[::1]", "[2001:db8::1]"] {
        raw.expect(504, &format!("HOST {other}"));
    }
    for ours in [depot.at().ip().to_string(), "files.example".to_owned()] {
        raw.expect(220, &format!("HOST {ours}"));
    }
    raw.expect(331, "USER alice@boat.test");
}

#[test]
fn an_administrator_sees_everybody() {
    let more = "[[files_for]]\nusers = [\"bob@boat.test\"]\nsees_all = true\n";
    let depot = Depot::start_with("", more);
    let mut alice = Raw::login(depot.at());
    let mut bob = Raw::connect(depot.at());
    bob.expect(331, "USER bob@boat.test");
    bob.expect(230, "PASS demo");
    let all = bob.expect(200, "SITE WHO");
    assert!(all.contains(" alice@boat.test from "), "{all}");
    assert!(all.contains(" bob@boat.test from ") && all.contains("(this one)"), "{all}");
    let own = alice.expect(200, "SITE WHO");
    assert!(!own.contains("bob"), "{own}");
}

#[test]
fn revoked_certificates_are_refused() {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
        KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
    };

    let mut depot =
        Depot::prepare("client_authorities = \"clients.pem\"\nclient_revocations = \"revoked.pem\"\n", "");
    let dir = depot.dir().to_owned();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "ours");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(dir.join("clients.pem"), issuer.pem()).unwrap();
    for (serial, user) in [(7_u64, "alice"), (8, "bob")] {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        let address = format!("{user}@boat.test");
        params.subject_alt_names = vec![SanType::Rfc822Name(address.as_str().try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &issuer).unwrap();
        fs::write(dir.join(format!("{user}.pem")), format!("{}{}", made.pem(), key.serialize_pem())).unwrap();
    }
    let revoke = |serials: &[u64], number: u64| {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: serials
                .iter()
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from(*serial),
                    revocation_time: date_time_ymd(2021, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        fs::write(dir.join("revoked.pem"), list.signed_by(&issuer).unwrap().pem().unwrap()).unwrap();
    };
    let tried = |depot: &Depot, user: &str, comes_in: bool| {
        let comes_in = if comes_in { "True" } else { "False" };
        python(
            depot,
            &format!(
                r#"
for version in VERSIONS:
    try:
        f = secure(version, '{user}.pem')
        f.auth()
        came_in = f.sendcmd('USER {user}@boat.test').startswith('232')
        f.close()
    except (ssl.SSLError, OSError, EOFError): came_in = False
    assert came_in == {comes_in}, version
"#
            ),
        );
    };
    revoke(&[7], 1);
    depot.serve();
    tried(&depot, "alice", false);
    tried(&depot, "bob", true);
    // A new list is in force after a reload; one that cannot be read changes nothing.
    revoke(&[8], 2);
    depot.boat().run(&["reload"], "");
    tried(&depot, "alice", true);
    tried(&depot, "bob", false);
    fs::write(dir.join("revoked.pem"), "nothing").unwrap();
    depot.boat().run(&["reload"], "");
    depot.logs("clients' certificates are checked as before");
    tried(&depot, "bob", false);
    assert!(said_by_check(&depot, &dir).contains("ftp.client_revocations"));
}

/// What `packetboat check` says, which finds something wrong.
fn said_by_check(depot: &Depot, dir: &Path) -> String {
    let program = std::env::var_os("PACKETBOAT_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_packetboat").into(), std::path::PathBuf::from);
    let said = std::process::Command::new(program)
        .args(["check", "--no-dns", "--config"])
        .arg(dir.join("packetboat.toml"))
        .output()
        .unwrap();
    assert!(!said.status.success(), "{}", depot.log());
    String::from_utf8_lossy(&said.stderr).into_owned()
}

/// The draft of MODE Z (draft-preston-ftpext-deflate) deflates what stream mode would send: a place in the file is one
/// in what is inflated, and the end of the deflated stream, or of the connection, is the end of the file.
#[test]
fn mode_z_goes_on_in_the_middle() {
    let depot = Depot::start();
    python(
        &depot,
        r#"
import zlib
text = bytes(range(256)) * 2000
f = ftplib.FTP()
f.connect('localhost', port)
f.login('alice@boat.test', 'demo')
f.voidcmd('TYPE I')
f.voidcmd('MODE Z')
def store(line, octets, rest=None):
    data = f.transfercmd(line, rest)
    data.sendall(zlib.compress(octets))
    data.close()
    return f.voidresp()
def fetch(line, rest=None):
    data = f.transfercmd(line, rest)
    got = b''
    while piece := data.recv(65536): got += piece
    data.close()
    # Deflated anew from there: a whole stream, and the connection ends behind it.
    assert f.voidresp().startswith('226')
    inflate = zlib.decompressobj()
    out = inflate.decompress(got)
    assert inflate.eof and not inflate.unused_data
    return out
store('STOR z', text)
assert fetch('RETR z') == text
for at in (1, 77_777, len(text) - 1, len(text)): assert fetch('RETR z', at) == text[at:], at
store('STOR z', b'end', rest=100_000)
assert fetch('RETR z') == text[:100_000] + b'end'
store('APPE z', b' of it')
assert fetch('RETR z') == text[:100_000] + b'end of it'
store('STOR empty', b'')
assert fetch('RETR empty') == b''

# What is cut off is no whole file, and goes on where it was cut.
data = f.transfercmd('STOR cut')
packed = zlib.compressobj()
data.sendall(packed.compress(text) + packed.flush(zlib.Z_SYNC_FLUSH))
data.close()
try:
    f.voidresp()
    raise AssertionError('half a stream was taken for a file')
except ftplib.error_temp as error: assert str(error).startswith('426'), error
f.voidcmd('MODE S')
assert f.size('cut') == len(text)
f.voidcmd('MODE Z')
store('STOR cut', b'!', rest=len(text))
assert fetch('RETR cut') == text + b'!'
"#,
    );
}

/// A server of HTTPS whose certificate is of an authority of its own: what it hears, each request or how its handshake failed.
struct Https {
    port: u16,
    authority: String,
    heard: mpsc::Receiver<Result<String, String>>,
}

impl Https {
    fn start() -> Https {
        use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let made = params.signed_by(&key, &issuer).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.der().clone()], key.into())
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let tls = rustls::ServerConnection::new(Arc::new(config.clone())).unwrap();
                let request = answer(rustls::StreamOwned::new(tls, stream.unwrap()));
                if tell.send(request.map_err(|error| error.to_string())).is_err() {
                    return;
                }
            }
        });
        Https { port, authority: issuer.pem(), heard }
    }
}

/// Reads a request to the end of its JSON, and takes it.
fn answer(
    mut stream: rustls::StreamOwned<rustls::ServerConnection, std::net::TcpStream>,
) -> std::io::Result<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        let mut piece = [0; 4096];
        match stream.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            octets => request.extend_from_slice(&piece[..octets]),
        }
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(String::from_utf8(request).unwrap())
}

#[test]
fn webhooks_are_posted_to_whom_the_authority_vouches_for() {
    let (known, unknown) = (Https::start(), Https::start());
    let rule = |name: &str, to: &Https| {
        let port = to.port;
        format!(
            "[[file_event]]\nname = \"{name}\"\non = [\"upload\"]\nwebhook = \"https://localhost:{port}/hook\"\n"
        )
    };
    let more = format!(
        "[outbound_tls]\nauthorities = \"known.pem\"\n{}{}",
        rule("known", &known),
        rule("unknown", &unknown)
    );
    let mut depot = Depot::prepare("", &more);
    fs::write(depot.dir().join("known.pem"), &known.authority).unwrap();
    depot.serve();
    python(&depot, "f = enter(VERSIONS[1])\nf.storbinary('STOR report', io.BytesIO(b'whole'))\nf.quit()\n");
    let patience = Duration::from_secs(60);
    let request = known.heard.recv_timeout(patience).unwrap().unwrap();
    assert!(
        request.starts_with("POST /hook HTTP/1.1\r\n") && request.contains("\"path\":\"/report\""),
        "{request}"
    );
    depot.logs("an event of a file is told");
    // The other one is told nothing: the client ends the handshake, and says why in the log.
    assert!(unknown.heard.recv_timeout(patience).unwrap().is_err());
    depot.logs("invalid peer certificate: ");
    depot.logs("an event of a file is told later");
    assert!(unknown.heard.try_iter().all(|heard| heard.is_err()));
}
