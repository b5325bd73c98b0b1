//! Who gets in, to which files, and on what terms: rules as an administrator writes them, tried with curl, lftp and
//! Python's ftplib.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use support::{Boat, Demo, foreign};

/// What every script begins with.
const PRELUDE: &str = r#"
import ftplib, io, sys
port = int(sys.argv[1])

def connect():
    f = ftplib.FTP()
    f.connect('127.0.0.1', port)
    return f

def login(user='alice@boat.test', password='demo'):
    f = connect()
    f.login(user, password)
    return f

def says(f, command, *codes):
    try:
        reply = f.sendcmd(command)
    except ftplib.all_errors as error:
        reply = str(error)
    assert reply[:3] in codes, (command, reply)
    return reply

def get(f, name):
    out = io.BytesIO()
    f.retrbinary('RETR ' + name, out.write)
    return out.getvalue()

def put(f, name, data, how='STOR '):
    try:
        return f.storbinary(how + name, io.BytesIO(data))
    except (BrokenPipeError, ConnectionResetError):
        # The rest was not wanted; the reply says why.
        return f.voidresp()

def refused(what, *codes):
    try:
        what()
    except ftplib.all_errors as error:
        assert str(error)[:3] in codes, error
        return str(error)
    raise AssertionError('it was allowed')
"#;

fn python(boat: &Boat, script: &str) -> String {
    let said =
        foreign("python3").arg("-c").arg(format!("{PRELUDE}{script}")).arg(boat.port("ftp").to_string());
    said.dir(boat.dir()).run().text()
}

fn make(dir: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// The names in a directory.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

const ANONYMOUS: &str = r#"
[anonymous]
enabled = true
path = "public"
incoming = "/incoming"
connections_per_address = 3
"#;

#[test]
fn anybody_reads_and_leaves_something_and_no_more() {
    let mut boat = Boat::prepare(ANONYMOUS);
    make(&boat.dir().join("data/public"), &[("readme", "hello\n"), ("sub/deep", "deep\n")]);
    boat.serve();
    let url = format!("ftp://127.0.0.1:{}", boat.port("ftp"));
    let curl = || foreign("curl").args("--silent --show-error");
    assert_eq!(curl().arg(format!("{url}/readme")).run().text(), "hello\n");
    let listing = curl().arg(format!("{url}/")).run().text();
    assert!(
        listing.contains("readme") && listing.contains("sub") && listing.contains("incoming"),
        "{listing}"
    );
    // lftp as it is: with a password of its own making.
    let lftp = foreign("lftp").env("HOME", boat.dir()).dir(boat.dir());
    lftp.arg("-c").arg(format!("open {url}; mirror --exclude incoming / got")).run();
    assert_eq!(std::fs::read_to_string(boat.dir().join("got/sub/deep")).unwrap(), "deep\n");

    python(
        &boat,
        r#"
f = login('anonymous', 'me@here.example')
assert get(f, 'readme') == b'hello\n'
for wrong in ['DELE readme', 'RNFR readme', 'MKD new', 'RMD sub', 'SITE CHMOD 777 readme', 'MFMT 20200101000000 readme',
              'SITE SYMLINK / way', 'SITE MKDIR x/y', 'SITE RMDIR sub', 'SITE COPY readme x', 'CWD ../../etc']:
    says(f, wrong, '550', '553', '504', '502', '350')
refused(lambda: put(f, 'new', b'x'), '550', '553')
refused(lambda: put(f, 'readme', b'x'), '550', '553')
refused(lambda: put(f, 'readme', b'x', 'APPE '), '550', '553')
# Something is left in the box, and the box is shut.
put(f, 'incoming/gift', b'for you')
f.cwd('incoming')
put(f, 'second', b'too')
for how in ['STOR ', 'APPE ']:
    refused(lambda: put(f, 'gift', b'other', how), '550', '553')
refused(lambda: f.storbinary('STOR gift', io.BytesIO(b'x'), rest=3), '550', '553', '554')
assert '226' in put(f, 'gift', b'own name', 'STOU ')
refused(lambda: get(f, 'gift'), '550')
for command in ['LIST', 'NLST', 'MLSD', 'LIST /incoming', 'NLST g*']:
    lines = []
    try:
        f.retrlines(command, lines.append)
    except ftplib.all_errors as error:
        assert str(error)[:3] in ('550', '450', '501'), error
    assert not lines, (command, lines)
for wrong in ['DELE gift', 'RNFR gift', 'SIZE gift', 'MDTM gift', 'MLST gift', 'HASH gift', 'XCRC gift', 'MKD dir', 'STAT gift',
              'SITE COPY gift /x']:
    says(f, wrong, '550', '553', '504', '502')
f.quit()
g = login('FTP', 'guest')
g.quit()
refused(lambda: login('anonymous', 'nobody'), '530')
"#,
    );
    let incoming = boat.dir().join("data/public/incoming");
    assert_eq!(names(&incoming), ["gift", "gift.1", "second"]);
    assert_eq!(std::fs::read(incoming.join("gift")).unwrap(), b"for you");
    assert_eq!(names(&boat.dir().join("data/public")), ["incoming", "readme", "sub"]);
    boat.logs("logged in without an account");
    boat.logs("me@here.example");
}

#[test]
fn anonymous_users_are_not_let_in_unasked_and_may_be_left_with_one_command() {
    let mut boat = Boat::start("");
    // It is no guess at anything: whoever tries it is not banned, and no account waits for it.
    python(
        &boat,
        r#"
for n in range(30):
    refused(lambda: login('anonymous', 'me@here.example'), '530')
login().quit()
"#,
    );
    boat.stop();
    boat.write_settings("[anonymous]\nenabled = true\ncommands = [\"RETR\"]\npassword = \"any\"\n");
    make(&boat.dir().join("data/public"), &[("readme", "hello\n")]);
    boat.serve();
    python(
        &boat,
        r#"
f = login('anonymous', '')
assert get(f, 'readme') == b'hello\n'
for off in ['CWD /', 'XCWD /', 'CDUP', 'PWD', 'LIST', 'NLST', 'MLSD', 'MLST readme', 'SIZE readme', 'SITE WHO', 'STOR x', 'STAT /', 'STAT readme']:
    says(f, off, '502')
for n in range(5):
    says(f, 'NOOP', '200')
"#,
    );
}

#[test]
fn folders_and_rights_and_smnt() {
    let settings = r#"
[[folder]]
name = "press"
path = "press"
at = "/press"
users = "*@boat.test"
[[folder]]
name = "archive"
path = "archive/{user}"
users = "alice@boat.test"
rights = "all"
[[rights]]
path = "/press/drafts"
users = "alice@boat.test"
rights = "all"
[[rights]]
path = "/press/drafts"
users = "*"
rights = "none"
[[files_for]]
users = "alice@boat.test"
disabled = ["SITE CHMOD", "RMD"]
"#;
    let mut boat = Boat::prepare(settings);
    let data = boat.dir().join("data");
    make(
        &data,
        &[("press/today", "news\n"), ("press/drafts/secret", "draft\n"), ("archive/bob/x", "bob's\n")],
    );
    boat.serve();
    python(
        &boat,
        r#"
f = login()
assert sorted(f.nlst()) == ['press'], f.nlst()
put(f, 'own', b'mine')
assert get(f, 'press/today') == b'news\n'
refused(lambda: put(f, 'press/today', b'x'), '550', '553')
refused(lambda: put(f, 'press/new', b'x'), '550', '553')
for wrong in ['DELE press/today', 'RNFR press/today', 'MKD press/dir', 'RNFR press', 'DELE press', 'SITE RMDIR press']:
    says(f, wrong, '550', '502')
put(f, 'press/drafts/more', b'more')
says(f, 'SITE CHMOD 600 own', '502')
says(f, 'XRMD x', '502')

# A tree that is there for whoever mounts it.
says(f, 'CWD /archive', '550')
says(f, 'SMNT nothing', '550')
says(f, 'SMNT ../../etc', '550')
says(f, 'SMNT archive', '250')
says(f, 'SMNT archive', '250')
assert sorted(f.nlst()) == ['archive', 'own', 'press'], f.nlst()
f.cwd('archive')
assert f.nlst() == []
put(f, 'old', b'old')
assert f.pwd() == '/archive'
f.rename('old', 'older')
refused(lambda: f.rename('older', '/older'), '550', '553')

g = login('bob@boat.test')
refused(lambda: get(g, 'press/drafts/secret'), '550')
says(g, 'CWD press/drafts', '550')
lines = []
refused(lambda: g.retrlines('LIST press/drafts', lines.append), '550', '450')
says(g, 'SMNT archive', '550')
# What is off for one is not for another.
g.mkd('x'); g.rmd('x')
"#,
    );
    assert_eq!(names(&data.join("archive/alice")), ["older"]);
    assert_eq!(names(&data.join("archive/bob")), ["x"]);
    assert_eq!(names(&data.join("press/drafts")), ["more", "secret"]);
    assert_eq!(names(&data.join("files/alice@boat.test")), ["own"]);
}

#[test]
fn cost_centres() {
    let settings = r#"
[[files_for]]
users = "alice@boat.test"
account_required = "login"
cost_centres = ["4711", "press"]
[[files_for]]
users = "bob@boat.test"
account_required = "store"
"#;
    let boat = Boat::start(settings);
    python(
        &boat,
        r#"
f = connect()
f.login('alice@boat.test', 'demo', '4711')
put(f, 'x', b'x')
f = connect()
says(f, 'USER alice@boat.test', '331')
says(f, 'PASS demo', '332')
says(f, 'PWD', '530')
says(f, 'ACCT 0815', '530')
says(f, 'PWD', '530')
says(f, 'ACCT 4711', '503')
f = connect()
says(f, 'USER alice@boat.test', '331')
says(f, 'PASS demo', '332')
says(f, 'ACCT press', '230')
says(f, 'PWD', '257')
# Another one, later; what there is not changes nothing.
says(f, 'ACCT 4711', '230', '202')
says(f, 'ACCT 0815', '530')
says(f, 'PWD', '257')

g = login('bob@boat.test')
refused(lambda: put(g, 'x', b'x'), '532')
assert g.nlst() == []
says(g, 'ACCT anything', '230')
put(g, 'x', b'x')
says(g, 'REIN', '220')
says(g, 'PWD', '530')
"#,
    );
    boat.logs("transferred");
    boat.logs("4711");
}

#[test]
fn doors_that_stay_closed() {
    let settings = r#"
[[files_for]]
users = "alice@boat.test"
denied_networks = "127.0.0.0/8"
[[files_for]]
users = "bob@boat.test"
connections = 2
[anonymous]
enabled = true
connections_per_address = 1
denied_networks = "192.0.2.0/24"
"#;
    let boat = Boat::start(settings);
    python(
        &boat,
        r#"
refused(login, '530')
one, two = login('bob@boat.test'), login('bob@boat.test')
assert 'Too many' in refused(lambda: login('bob@boat.test'), '421')
one.quit()
login('bob@boat.test').quit()
two.sendcmd('REIN')
three, four = login('bob@boat.test'), login('bob@boat.test')
a = login('anonymous', 'a@b.example')
refused(lambda: login('anonymous', 'a@b.example'), '421')
a.quit()
login('anonymous', 'a@b.example').quit()
"#,
    );
}

#[test]
fn some_users_need_tls() {
    let settings = "[[files_for]]\nusers = \"alice@boat.test\"\nrequire_tls = true\n";
    let boat = Boat::start(settings);
    python(
        &boat,
        r#"
import ssl
f = connect()
says(f, 'USER alice@boat.test', '530')
says(f, 'PASS demo', '503')
login('bob@boat.test').quit()
tls = ssl._create_unverified_context()
f = ftplib.FTP_TLS(context=tls)
f.connect('127.0.0.1', port)
f.login('alice@boat.test', 'demo')
refused(lambda: f.nlst(), '521')
f.prot_p()
assert f.nlst() == []
says(f, 'PROT C', '534')
"#,
    );
}

#[test]
fn quotas() {
    let settings = r#"
[files]
quota = "100 KiB"
quota_files = 5
[[folder]]
name = "press"
path = "press"
at = "/press"
users = "*"
rights = "all"
[anonymous]
enabled = true
incoming = "/incoming"
quota = "1 KiB"
"#;
    let mut boat = Boat::prepare(settings);
    let data = boat.dir().join("data");
    // What lay there before counts, and of what anybody may get only what was left.
    make(
        &data,
        &[
            ("files/alice@boat.test/old", &"x".repeat(40 * 1024)),
            ("press/x", "y"),
            ("public/big", &"z".repeat(9999)),
        ],
    );
    boat.serve();
    let script = r#"
f = login()
assert '40960 of 102400 octets' in says(f, 'SITE QUOTA', '200'), says(f, 'SITE QUOTA', '200')
assert says(f, 'AVBL', '213') == '213 61440'
put(f, 'one', b'1' * 50000)
refused(lambda: put(f, 'two', b'2' * 20000), '552')
refused(lambda: put(f, 'old', b'2' * 60000), '552')
assert get(f, 'old') == b'x' * 40960
refused(lambda: put(f, 'old', b'2' * 60000, 'APPE '), '552')
assert get(f, 'old') == b'x' * 40960
refused(lambda: says(f, 'ALLO 20000', '200') and put(f, 'three', b'2' * 20000), '552') if says(f, 'ALLO 20000', '200', '552', '452')[0] == '2' else None
assert sorted(f.nlst()) == ['old', 'one', 'press'], f.nlst()
# What is replaced makes room, and what is removed too.
put(f, 'one', b'1' * 61000)
f.delete('one')
put(f, 'one', b'1' * 61000)
# A folder is not one's own.
put(f, 'press/large', b'1' * 200000)
for n in range(3):
    put(f, str(n), b'')
refused(lambda: put(f, 'sixth', b''), '552')
put(f, '0', b'again')
g = login('bob@boat.test')
put(g, 'large', b'1' * 90000)
h = login('anonymous', 'a@b.example')
put(h, 'incoming/a', b'1' * 1000)
refused(lambda: put(h, 'incoming/b', b'1' * 100), '552')
"#;
    python(&boat, script);
    let home = data.join("files/alice@boat.test");
    assert_eq!(names(&home), ["0", "1", "2", "old", "one"]);
    assert_eq!(names(&data.join("public/incoming")), ["a"]);
    // After a clean stop it goes on with what was written down, and after any other end it is counted again.
    let used = |boat: &Boat, octets: &str| {
        let check = format!(
            "f = login()\nsays(f, 'PWD', '257')\nreply = says(f, 'SITE QUOTA', '200')\nassert '{octets} of 102400' in reply, reply\n"
        );
        python(boat, &check);
    };
    boat.stop();
    std::fs::write(home.join("2"), "unseen").unwrap();
    boat.serve();
    used(&boat, "101965");
    let shown = boat.run(&["account", "show", "alice@boat.test"], "");
    assert!(shown.contains("of 100.0 KiB"), "{shown}");
    boat.kill();
    boat.serve();
    used(&boat, "101971");
    // Or when that is asked for.
    std::fs::write(home.join("2"), "unseen again").unwrap();
    used(&boat, "101971");
    boat.run(&["account", "recount", "alice@boat.test"], "");
    used(&boat, "101977");
    let metrics =
        foreign("curl").arg("-s").arg(format!("http://{}/metrics", boat.at("metrics"))).run().text();
    assert!(metrics.contains("file_quota_refusals_total"), "{metrics}");
}

#[test]
fn guesses_wait_and_end_in_a_ban() {
    let settings = r#"
[limits]
trusted_networks = []
[anonymous]
enabled = true
"#;
    let mut boat = Boat::prepare(settings);
    // Into the section that every test has.
    let file = boat.dir().join("packetboat.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let rules = "hash_passes = 1\nfailures = 3\ndelay_after = 2\nban_after = 6\n";
    std::fs::write(&file, text.replace("hash_passes = 1\n", rules)).unwrap();
    boat.serve();
    python(
        &boat,
        r#"
import time
def guess(f, password):
    begun = time.monotonic()
    says(f, 'USER alice@boat.test', '331')
    reply = says(f, 'PASS ' + password, '530')
    return time.monotonic() - begun, reply
f = connect()
for n in range(3):
    guess(f, 'wrong%d' % n)
assert refused(f.getresp, '421')
try:
    assert f.sock.recv(1) == b''
except OSError:
    pass
# Two were free. Another connection makes it no faster.
for n, least in [(4, 0.9), (5, 1.9), (6, 3.9)]:
    f = connect()
    took, reply = guess(f, 'wrong%d' % n)
    assert least <= took, (n, took)
    f.close()
# The right password is not looked at any more, whoever's it is; it is said at once, and that it is for now.
f = connect()
says(f, 'USER bob@boat.test', '331')
assert 'try again later' in says(f, 'PASS demo', '530')
# Who needs no password guesses nothing.
login('anonymous', 'a@b.example').quit()
"#,
    );
}

#[test]
fn rates_are_kept() {
    let settings = r#"
[files]
upload_rate = "500 KB"
[[files_for]]
users = "alice@boat.test"
download_rate = "1 MB"
[anonymous]
enabled = true
download_rate = "400 KB"
"#;
    let mut boat = Boat::prepare(settings);
    make(&boat.dir().join("data"), &[("public/file", &"x".repeat(400_000))]);
    boat.serve();
    let file = boat.dir().join("file");
    std::fs::write(&file, vec![7; 1_500_000]).unwrap();
    let url = format!("ftp://127.0.0.1:{}", boat.port("ftp"));
    // Octets a second as curl measures them, which is what its user gets.
    let curl = |arguments: &str| {
        let curl = foreign("curl").args("--silent --show-error --output /dev/null --write-out %{time_total}");
        let seconds: f64 = curl.dir(boat.dir()).args(arguments).run().text().trim().parse().unwrap();
        seconds
    };
    // Nobody is faster than that. How much slower is a matter of the machine, and what is fair is tested without a clock.
    let takes = |seconds: f64, wanted: f64, what: &str| {
        assert!(seconds >= wanted * 0.9, "{what}: {seconds} s, and not {wanted}");
    };
    takes(curl(&format!("-u alice@boat.test:demo -T file {url}/file")), 3.0, "up");
    takes(curl(&format!("-u alice@boat.test:demo {url}/file")), 1.5, "down");
    takes(curl(&format!("-u alice@boat.test:demo --ssl-reqd --insecure {url}/file")), 1.5, "down under TLS");
    takes(curl(&format!("{url}/file")), 1.0, "anonymous");
    // Two at once share it.
    let started = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| takes(curl(&format!("-u alice@boat.test:demo {url}/file")), 1.5, "one of two"));
        }
    });
    takes(started.elapsed().as_secs_f64(), 3.0, "two");
    // Who waits for his turn hears ABOR.
    python(
        &boat,
        r#"
import time
f = login()
conn = f.transfercmd('RETR file')
conn.recv(1000)
f.sock.sendall(b'ABOR\r\n')
assert f.getmultiline()[:3] in ('426', '226')
assert f.getmultiline()[:3] in ('226', '225')
says(f, 'PWD', '257')
# Nobody said anything of how fast Bob gets things.
g = login('bob@boat.test')
begun = time.monotonic()
put(g, 'x', b'x' * 500000)
took = time.monotonic() - begun
assert took > 0.85, took
def fetched():
    begun = time.monotonic()
    get(g, 'x')
    return time.monotonic() - begun
assert min(fetched() for n in range(10)) < 0.4
"#,
    );
}

#[test]
fn a_demo_has_a_file_for_everybody() {
    let demo = Demo::start();
    let url = format!("ftp://127.0.0.1:{}/welcome.txt", demo.port("ftp"));
    assert!(foreign("curl").arg("--silent").arg(url).run().text().starts_with("Ahoy!"));
}
