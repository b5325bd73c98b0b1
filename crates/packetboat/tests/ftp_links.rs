//! Data connections: whose they are, how they end, where they come from; by programs of others, and by hand.
//!
//! The classes of old failures that are tried here again: bounce (CVE-1999-0017, RFC 2577), theft of passive connections
//! (CVE-1999-0351, "Pizza Thief"), commands injected before TLS and other protocols led here (CVE-2011-1575, CVE-2021-3618,
//! "ALPACA"), ports that run out (CVE-2021-47865, CVE-2021-30047), and EPSV ALL that is forgotten after an abort.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use support::{Depot, foreign, free_port, free_ports};

/// ftplib, which can be told to resume the TLS session of the control connection.
const PYTHON: &str = r#"
import ftplib, io, os, socket, ssl, sys
port, ca = int(sys.argv[1]), sys.argv[2]

class Bound(ftplib.FTP_TLS):
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session)
            assert conn.session_reused
        return conn, size

def context(version, alpn=None):
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = context.maximum_version = version
    if alpn: context.set_alpn_protocols(alpn)
    return context

def enter(kind, context, user='alice'):
    f = kind(context=context)
    f.connect('localhost', port)
    f.login(user + '@boat.test', 'demo')
    f.prot_p()
    return f

def get(f, name):
    out = io.BytesIO()
    f.retrbinary('RETR ' + name, out.write)
    return out.getvalue()

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
"#;

fn python(depot: &Depot, script: &str) {
    let program = format!("{PYTHON}{script}");
    let python = foreign("python3").arg("-c").arg(program).arg(depot.ftp().to_string());
    python.arg(depot.dir().join("cert.pem")).run();
}

/// A control connection, by hand.
struct Control(BufReader<TcpStream>);

impl Control {
    fn connect(at: SocketAddr) -> Control {
        let socket = TcpStream::connect(at).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let mut control = Control(BufReader::new(socket));
        control.reply("220");
        control
    }

    fn login(at: SocketAddr) -> Control {
        let mut control = Control::connect(at);
        control.says("USER alice@boat.test", "331");
        control.says("PASS demo", "230");
        control
    }

    fn reply(&mut self, code: &str) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.starts_with(code), "{code} was expected: {line}");
        line
    }

    fn says(&mut self, command: &str, code: &str) -> String {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        self.reply(code)
    }

    fn epsv(&mut self) -> u16 {
        let reply = self.says("EPSV", "229");
        reply.split('|').nth(3).unwrap().parse().unwrap()
    }
}

fn eventually(mut look: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while !look() {
        assert!(std::time::Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn all(mut socket: TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    socket.read_to_end(&mut got).unwrap();
    got
}

#[test]
fn data_connections_have_to_be_the_clients_own() {
    let depot = Depot::start_with("data_tls_binding = \"require\"\n", "");
    python(
        &depot,
        r#"
data = os.urandom(100_000)
for version in VERSIONS:
    f = enter(Bound, context(version))
    for n in range(25):
        f.storbinary('STOR x', io.BytesIO(data))
        assert get(f, 'x') == data
    f.quit()
    # A client that makes a session of its own is refused, and told why; its control connection goes on.
    f = enter(ftplib.FTP_TLS, context(version))
    for attempt in range(2):
        try:
            f.retrbinary('RETR x', lambda piece: None)
            raise AssertionError('it was taken')
        except ftplib.error_perm as error:
            assert str(error).startswith('522'), error
        except (ssl.SSLError, OSError):
            assert f.getresp().startswith('5')
    f.voidcmd('NOOP')
    f.quit()
    # So is one that comes with somebody else's.
    alice, bob = enter(Bound, context(version)), enter(Bound, context(version), 'bob')
    class Thief(Bound):
        def ntransfercmd(self, cmd, rest=None):
            conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
            return bob.context.wrap_socket(conn, server_hostname=self.host, session=bob.sock.session), size
    alice.__class__, alice.context = Thief, bob.context
    try:
        alice.retrbinary('RETR x', lambda piece: None)
        raise AssertionError('it was taken')
    except ftplib.error_perm as error:
        assert str(error).startswith('522'), error
    except (ssl.SSLError, OSError):
        assert alice.sock.recv(100).startswith(b'522')
"#,
    );
    depot.logs("it resumes no TLS session");
    depot.logs("it resumes a TLS session of somebody else");
}

#[test]
fn one_ticket_serves_again_and_again() {
    let mut depot = Depot::start_with("data_tls_binding = \"require\"\n", "");
    // A program that presents the ticket it was given first for all it does, on two control connections of one user at
    // once, which are other TLS sessions. OpenSSL does so unless it keeps sessions itself, as it does for curl.
    python(
        &depot,
        r#"
class Keeper(Bound):
    kept = None
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        Keeper.kept = Keeper.kept or self.sock.session
        conn = self.context.wrap_socket(conn, server_hostname=self.host, session=Keeper.kept)
        assert conn.session_reused
        return conn, size
for version in VERSIONS:
    Keeper.kept, shared = None, context(version)
    both = [enter(Keeper, shared), enter(Keeper, shared)]
    for n in range(10):
        for f in both:
            f.storbinary('STOR x', io.BytesIO(b'%d' % n))
            assert get(f, 'x') == b'%d' % n
    for f in both: f.quit()
"#,
    );
    // When it has ended, its log is whole.
    depot.boat().stop();
    assert!(!depot.log().contains("data connection refused"), "{}", depot.log());
}

#[test]
fn curl_and_lftp_never_run_out_of_tickets() {
    let mut depot = Depot::start_with("data_tls_binding = \"require\"\n", "");
    let dir = depot.dir().join("work");
    std::fs::create_dir_all(dir.join("many")).unwrap();
    for n in 0..50 {
        std::fs::write(dir.join(format!("many/{n}")), support::blob(n, 5_000)).unwrap();
    }
    let ca = depot.dir().join("cert.pem");
    let url = format!("ftp://localhost:{}", depot.ftp());
    for version in ["1.2", "1.3"] {
        let curl = || {
            let curl = foreign("curl")
                .dir(&dir)
                .args("--silent --show-error --ssl-reqd --user alice@boat.test:demo");
            curl.arg("--cacert").arg(&ca).arg("--tls-max").arg(version).arg(format!("--tlsv{version}"))
        };
        curl()
            .arg("-T")
            .arg("many/{0,1,2,3,4,5,6,7,8,9}")
            .arg(format!("{url}/curl{version}/"))
            .arg("--ftp-create-dirs")
            .run();
        curl().arg(format!("{url}/curl{version}/[0-9]")).arg("-o").arg("got-#1").run();
        for n in 0..10 {
            assert_eq!(
                std::fs::read(dir.join(format!("got-{n}"))).unwrap(),
                support::blob(n, 5_000),
                "{version}"
            );
        }
    }
    let script = format!(
        "set ssl:ca-file {}; set ftp:ssl-force true; set ftp:ssl-protect-data true; set net:max-retries 2; \
         open -u alice@boat.test,demo {url}; mirror -R many there; mirror --parallel=3 there back",
        ca.display()
    );
    foreign("lftp").env("HOME", &dir).dir(&dir).arg("-c").arg(script).run();
    for n in 0..50 {
        assert_eq!(std::fs::read(dir.join(format!("back/{n}"))).unwrap(), support::blob(n, 5_000));
    }
    // When it has ended, its log is whole.
    depot.boat().stop();
    assert!(!depot.log().contains("data connection refused"), "{}", depot.log());
}

#[test]
fn what_is_cut_off_under_tls_is_no_file() {
    let depot = Depot::start();
    // RFC 8446 section 6.1: an end without close_notify may be somebody's who is in between.
    let script = r#"
import time
for version in VERSIONS:
    for farewell in [True, False]:
        f = enter(ftplib.FTP_TLS, context(version))
        conn = f.transfercmd('STOR cut')
        conn.sendall(b'half of it')
        if farewell: conn.unwrap().close()
        else: socket.socket(fileno=conn.detach()).close()
        reply = f.getmultiline()
        whole = farewell or TOLERANT
        assert reply.startswith('226' if whole else '426'), reply
        assert ('cut' in f.nlst()) == whole
        if whole: f.delete('cut')
        f.quit()
"#;
    python(&depot, &format!("TOLERANT = False\n{script}"));
    let tolerant = Depot::start_with("data_tls_unclosed = true\n", "");
    python(&tolerant, &format!("TOLERANT = True\n{script}"));
}

#[test]
fn only_ftp_is_spoken_here() {
    let depot = Depot::start();
    python(
        &depot,
        r#"
for version in VERSIONS:
    for offered, taken in [(['ftp'], True), (['h2', 'ftp'], True), (['h2', 'http/1.1'], False), (['imap'], False)]:
        f = ftplib.FTP_TLS(context=context(version, offered))
        f.connect('localhost', port)
        try:
            f.auth()
            assert taken and f.sock.selected_alpn_protocol() == 'ftp', offered
            f.close()
        except ssl.SSLError as error:
            assert not taken and 'no application protocol' in str(error).lower().replace('_', ' '), (offered, error)
"#,
    );
    // What came before the handshake is not taken for a command after it (CVE-2011-1575).
    let mut control = Control::connect(depot.at());
    control.0.get_mut().write_all(b"AUTH TLS\r\nUSER injected\r\n").unwrap();
    control.reply("234");
    control.0.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    let _ = control.0.read_to_string(&mut rest);
    assert!(!rest.contains("331"), "{rest}");
}

#[test]
fn a_stranger_who_comes_first_gets_nothing() {
    let depot = Depot::start();
    std::fs::create_dir_all(depot.dir().join("data/files/alice@boat.test")).unwrap();
    std::fs::write(depot.dir().join("data/files/alice@boat.test/pizza"), "hot").unwrap();
    let mut alice = Control::login(depot.at());
    let port = alice.epsv();
    // CVE-1999-0351: somebody else finds the port before its client does.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    let thief: TcpStream = socket.into();
    alice.says("RETR pizza", "150");
    assert_eq!(all(thief), b"");
    let own = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(all(own), b"hot");
    alice.reply("226");
    depot.logs("it comes from another address");
    // The port is for one connection.
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn nothing_is_sent_where_the_client_is_not() {
    let depot = Depot::start();
    let mut alice = Control::login(depot.at());
    // CVE-1999-0017, RFC 2577 section 3: others, and ports of services.
    for command in [
        "PORT 127,0,0,2,200,10",
        "PORT 192,0,2,1,200,10",
        "PORT 127,0,0,1,0,25",
        "EPRT |1|192.0.2.1|5000|",
        "EPRT |1|127.0.0.1|25|",
        "LPRT 4,4,192,0,2,1,2,200,10",
    ] {
        let reply = alice.says(command, "5");
        assert!(reply.starts_with("50") || reply.starts_with("52"), "{command}: {reply}");
    }
    // Class 15: an abort does not take EPSV ALL back.
    alice.says("EPSV ALL", "200");
    alice.says("ABOR", "22");
    let port = alice.epsv();
    alice.says("ABOR", "22");
    for command in ["PASV", "LPSV", "PORT 127,0,0,1,200,10", "EPRT |1|127.0.0.1|5000|"] {
        alice.says(command, "501");
    }
    let _ = TcpStream::connect(("127.0.0.1", port));
}

#[test]
fn ports_do_not_run_out_for_others() {
    // CVE-2021-47865, CVE-2021-30047.
    let first = free_ports(21);
    let settings =
        format!("passive_first = {first}\npassive_last = {}\npassive_per_address = 3\n", first + 20);
    let depot = Depot::start_with(&settings, "");
    let mut sessions: Vec<Control> = (0..4).map(|_| Control::login(depot.at())).collect();
    let (last, greedy) = sessions.split_last_mut().unwrap();
    for session in greedy.iter_mut() {
        // However often it asks, a session has one.
        let ports: Vec<u16> = (0..5).map(|_| session.epsv()).collect();
        assert!(ports.iter().all(|port| (first..=first + 20).contains(port)), "{ports:?}");
    }
    last.says("EPSV", "4");
    drop(sessions.remove(0));
    let mut again = Control::login(depot.at());
    eventually(|| {
        again.0.get_mut().write_all(b"EPSV\r\n").unwrap();
        let mut line = String::new();
        again.0.read_line(&mut line).unwrap();
        line.starts_with("229")
    });
}

#[test]
fn active_connections_come_from_the_port_before() {
    for (setting, before) in [("default-data-port", true), ("any", false)] {
        let depot = Depot::start_with(&format!("active_source = \"{setting}\"\n"), "");
        let mut alice = Control::login(depot.at());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        alice.says(&format!("EPRT |1|127.0.0.1|{port}|"), "200");
        alice.says("LIST", "150");
        let (_, from) = listener.accept().unwrap();
        alice.reply("226");
        let as_asked = from.port() == depot.ftp() - 1;
        if before && !as_asked {
            depot.logs("cannot come from this port");
        }
        assert!(before || !as_asked, "{from}");
    }
}

#[test]
fn data_connections_stay_open_where_the_mode_says_the_end() {
    let depot = Depot::start();
    let mut alice = Control::login(depot.at());
    alice.says("TYPE I", "200");
    alice.says("MODE B", "200");
    let mut data = TcpStream::connect(("127.0.0.1", alice.epsv())).unwrap();
    data.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    alice.says("STOR one", "150");
    // Two files in one piece: the second one waits for its command.
    data.write_all(b"\x40\x00\x05first\x40\x00\x06second").unwrap();
    alice.reply("250");
    alice.says("STOR two", "125");
    alice.reply("250");
    let mut piece = [0; 9];
    for (name, text) in [("one", &b"\x40\x00\x05first"[..]), ("two", b"\x40\x00\x06second")] {
        alice.says(&format!("RETR {name}"), "125");
        alice.reply("250");
        let piece = &mut piece[..text.len()];
        data.read_exact(piece).unwrap();
        assert_eq!(piece, text);
    }
    alice.says("ABOR", "226");
    assert_eq!(data.read(&mut piece).unwrap(), 0);
    // An open one that the client has closed is none.
    let data = TcpStream::connect(("127.0.0.1", alice.epsv())).unwrap();
    alice.says("RETR one", "150");
    alice.reply("250");
    drop(data);
    eventually(|| {
        alice.0.get_mut().write_all(b"RETR one\r\n").unwrap();
        let mut line = String::new();
        alice.0.read_line(&mut line).unwrap();
        if line.starts_with("125") {
            alice.0.read_line(&mut line).unwrap();
        }
        line.starts_with("425")
    });
    // In stream mode it is closed at the end.
    let data = TcpStream::connect(("127.0.0.1", alice.epsv())).unwrap();
    alice.says("MODE S", "200");
    alice.says("RETR one", "150");
    assert_eq!(all(data), b"first");
    alice.reply("226");
}

#[test]
fn one_port_serves_all() {
    let port = free_port();
    for (binding, clear) in [("require", false), ("prefer", true)] {
        let settings = format!("passive_port = {port}\ndata_tls_binding = \"{binding}\"\n");
        let depot = Depot::start_with(&settings, "");
        let dir = depot.dir().join("work");
        std::fs::create_dir_all(&dir).unwrap();
        let ca = depot.dir().join("cert.pem");
        let runs: Vec<_> = (0..4u64)
            .map(|n| {
                let user = ["alice", "bob"][n as usize % 2];
                let (dir, ca) = (dir.clone(), ca.clone());
                let url = format!("ftp://localhost:{}/f{n}-", depot.ftp());
                std::thread::spawn(move || {
                    std::fs::write(dir.join(format!("sent-{n}")), support::blob(n, 300_000)).unwrap();
                    for round in 0..3 {
                        let curl = || {
                            let curl =
                                foreign("curl").dir(&dir).args("--silent --show-error --cacert").arg(&ca);
                            let curl = curl.arg("--user").arg(format!("{user}@boat.test:demo"));
                            if clear { curl } else { curl.arg("--ssl-reqd") }
                        };
                        curl().arg("-T").arg(format!("sent-{n}")).arg(format!("{url}{round}")).run();
                        assert_eq!(curl().arg(format!("{url}{round}")).run().out, support::blob(n, 300_000));
                    }
                })
            })
            .collect();
        for run in runs {
            run.join().unwrap();
        }
        // Nobody waits: nobody is let in.
        let stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(all(stranger), b"");
        depot.logs("nobody waits for this address");
    }
}

#[test]
fn certificates_log_in() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

    let mut depot = Depot::prepare("client_authorities = \"clients.pem\"\n", "");
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other) = (authority("ours"), authority("other"));
    let dir = depot.dir().to_owned();
    std::fs::write(dir.join("clients.pem"), ours.pem()).unwrap();
    for (name, address, issuer) in [
        ("alice", "alice@boat.test", &ours),
        ("nobody", "nobody@boat.test", &ours),
        ("forged", "alice@boat.test", &other),
    ] {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::Rfc822Name(address.try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, issuer).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), format!("{}{}", made.pem(), key.serialize_pem()))
            .unwrap();
    }
    depot.serve();
    python(
        &depot,
        r#"
def shown(version, name):
    c = context(version)
    c.load_cert_chain(os.path.join(os.path.dirname(ca), name + '.pem'))
    f = Bound(context=c)
    f.connect('localhost', port)
    f.auth()
    return f
for version in VERSIONS:
    f = shown(version, 'alice')
    assert f.sendcmd('USER alice@boat.test').startswith('232')
    f.prot_p()
    f.storbinary('STOR mine', io.BytesIO(b'by certificate'))
    assert get(f, 'mine') == b'by certificate'
    f.quit()
    # It opens no other account, and is good for nothing without one.
    for name, user in [('alice', 'bob@boat.test'), ('nobody', 'nobody@boat.test'), ('nobody', 'alice@boat.test')]:
        f = shown(version, name)
        assert f.sendcmd('USER ' + user).startswith('331'), (name, user)
        f.close()
    try:
        f = shown(version, 'forged')
        f.sendcmd('NOOP')
        raise AssertionError('a forged certificate was taken')
    except (ssl.SSLError, OSError, EOFError): pass
    # None is needed.
    f = enter(Bound, context(version))
    f.quit()
"#,
    );
}

#[test]
fn routers_are_told_of_in_the_settings() {
    let depot =
        Depot::start_with("announce = \"203.0.113.7\"\nannounce_to = [\"127.0.0.2/32 -> own\"]\n", "");
    let mut outside = Control::login(depot.at());
    assert!(outside.says("PASV", "227").contains("(203,0,113,7,"));
    // EPSV names no address, so there is nothing to tell.
    outside.epsv();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&depot.at().into()).unwrap();
    let mut inside = Control(BufReader::new(socket.into()));
    inside.reply("220");
    inside.says("USER alice@boat.test", "331");
    inside.says("PASS demo", "230");
    assert!(inside.says("PASV", "227").contains("(127,0,0,1,"));
}
