//! Folders that have a quota of their own, and what is counted of files: with Python's ftplib, curl and lftp.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Boat, foreign};

const SETTINGS: &str = r#"
[files]
quota = "100 KiB"
[[folder]]
name = "press"
path = "press"
at = "/press"
users = "alice@boat.test"
rights = "all"
quota = "60 KiB"
quota_files = 6
[[folder]]
name = "same"
path = "press"
at = "/same"
users = "bob@boat.test"
rights = "all"
quota = "60 KiB"
quota_files = 6
[[folder]]
name = "own"
path = "own/{account}"
users = "*"
rights = "all"
quota = "10 KiB"
[[folder]]
name = "box"
path = "box"
at = "/box"
users = "anonymous"
rights = "drop-box"
quota = "1 KiB"
[anonymous]
enabled = true
incoming = "/incoming"
quota = "2 KiB"
"#;

/// What every script begins with: `f` is alice's session, `g` bob's.
const PRELUDE: &str = r#"
import ftplib, io, sys, time
port = int(sys.argv[1])

def login(user='alice@boat.test', password='demo'):
    f = ftplib.FTP()
    f.connect('127.0.0.1', port)
    f.login(user, password)
    f.voidcmd('TYPE I')
    return f

def says(f, command, *codes):
    try: reply = f.sendcmd(command)
    except ftplib.all_errors as error: reply = str(error)
    assert reply[:3] in codes, (command, reply)
    return reply

def get(f, name):
    out = io.BytesIO()
    f.retrbinary('RETR ' + name, out.write)
    return out.getvalue()

def put(f, name, octets, how='STOR ', rest=None):
    f.storbinary(how + name, io.BytesIO(name[-1:].encode() * octets), rest=rest)

def full(f, name, octets, how='STOR ', rest=None):
    try: put(f, name, octets, how, rest)
    except ftplib.error_perm as error:
        assert str(error).startswith('552'), error
    else: raise AssertionError((how, name, octets, 'was stored'))

def used(f, octets, files):
    reply = says(f, 'SITE QUOTA', '200')
    assert f'{octets} of ' in reply and f'{files} of ' in reply, (octets, files, reply)

f = login()
g = login('bob@boat.test')
"#;

fn python(boat: &Boat, script: &str) {
    let program = format!("{PRELUDE}{script}");
    foreign("python3").arg("-c").arg(program).arg(boat.port("ftp").to_string()).run();
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A server, and its data directory; `old` lay in the folder before.
fn start() -> (Boat, PathBuf) {
    let mut boat = Boat::prepare(SETTINGS);
    let data = boat.dir().join("data");
    for directory in ["press", "own", "box", "public"] {
        fs::create_dir_all(data.join(directory)).unwrap();
    }
    fs::write(data.join("press/old"), "o".repeat(10 * 1024)).unwrap();
    boat.serve();
    (boat, data)
}

#[test]
fn a_folder_has_a_quota_for_all_who_write_there() {
    let (boat, data) = start();
    python(
        &boat,
        r#"
f.cwd('/press'); g.cwd('/same')
used(f, 10240, 1); used(g, 10240, 1)
assert says(f, 'AVBL', '213') == '213 51200'
put(f, 'a', 30000)
used(g, 40240, 2)
put(g, 'b', 21200)
used(f, 61440, 3)
# It is full, for both of them and by every verb, and what was there stays.
for session in [f, g]:
    full(session, 'c', 1)
    full(session, 'a', 1, 'APPE ')
    full(session, 'a', 2, rest=29999)
    full(session, 'a', 30001)
    full(session, 'u', 1, 'STOU ')
    says(session, 'SITE COPY a c', '552')
    says(session, 'ALLO 1', '552')
    assert says(session, 'AVBL', '213') == '213 0'
    assert sorted(session.nlst()) == ['a', 'b', 'old'], session.nlst()
    assert get(session, 'a') == b'a' * 30000
used(f, 61440, 3)
# What takes no more room is done.
put(f, 'a', 1, rest=29999)
put(g, 'a', 29000)
put(g, 'a', 1000, 'APPE ')
used(f, 61440, 3)
says(g, 'COMB whole a b', '250')
used(f, 61440, 2)
f.rename('whole', 'a')
# Their own files are another matter.
f.cwd('/')
put(f, 'mine', 90000)
assert '90000 of 102400' in says(f, 'SITE QUOTA', '200')
# From one into the other: nothing is moved, and a copy needs room there.
for command in ['RNFR mine', 'RNFR /press/a']: says(f, command, '350')
says(f, 'RNTO /mine2', '550', '553')
says(f, 'RNFR mine', '350'); says(f, 'RNTO /press/mine', '550', '553')
says(f, 'SITE COPY mine /press/mine', '552')
says(f, 'COMB /press/old mine', '552')
says(f, 'SITE COPY /press/old old', '200', '250')
assert '100240 of 102400' in says(f, 'SITE QUOTA', '200')
full(f, 'more', 3000)
# What is removed makes room for the other, and what is replaced by RNTO.
g.delete('old')
used(g, 51200, 1)
put(f, '/press/new', 10240)
g.rename('new', 'a')
used(g, 10240, 1)
# Into the folder by COMB: room is needed there, and made here.
says(f, 'COMB /press/a old', '250')
used(g, 20480, 1)
assert '90000 of 102400' in says(f, 'SITE QUOTA', '200')
# No more files than there may be.
for n in range(5): put(f, f'/press/{n}', 0)
full(g, 'seventh', 0)
says(g, 'SITE SYMLINK a link', '552', '500', '502')
g.mkd('d')
g.rename('1', 'd/1')
says(g, 'SITE RMDIR d', '200', '250')
put(g, 'sixth', 0)
"#,
    );
    assert_eq!(names(&data.join("press")), ["0", "2", "3", "4", "a", "sixth"]);
    assert_eq!(names(&data.join("files/alice@boat.test")), ["mine"]);
    let url = format!("ftp://127.0.0.1:{}/press/curl", boat.port("ftp"));
    fs::write(boat.dir().join("large"), vec![b'l'; 50_000]).unwrap();
    let curl = |file: &str| {
        let curl =
            foreign("curl").dir(boat.dir()).args("--silent --show-error --user alice@boat.test:demo -T");
        curl.arg(file).arg(&url).attempt()
    };
    assert_ne!(curl("large").code, Some(0));
    let script = format!(
        "set net:max-retries 1; set ftp:ssl-allow false\nopen -u bob@boat.test,demo ftp://127.0.0.1:{}/same\n\
         rm 0\nput large\n",
        boat.port("ftp"),
    );
    fs::write(boat.dir().join("script"), script).unwrap();
    let lftp = foreign("lftp").dir(boat.dir()).env("HOME", boat.dir()).arg("--norc").arg("-f").arg("script");
    let said = lftp.attempt();
    assert!(said.code != Some(0) && said.err.contains("552"), "{said:?}");
    assert_eq!(names(&data.join("press")), ["2", "3", "4", "a", "sixth"]);
    fs::write(boat.dir().join("small"), vec![b's'; 40_960]).unwrap();
    assert_eq!(curl("small").code, Some(0));
    assert_ne!(curl("large").code, Some(0));
    assert_eq!(fs::read(data.join("press/curl")).unwrap(), vec![b's'; 40_960]);
}

#[test]
fn folders_of_each_and_of_strangers() {
    let (boat, data) = start();
    python(
        &boat,
        r#"
# Mounted by SMNT, each has their own part of it.
for session in [f, g]:
    says(session, 'SMNT own', '250')
    session.cwd('/own')
    assert '0 of 10240' in says(session, 'SITE QUOTA', '200')
    put(session, 'x', 10240)
    full(session, 'y', 1)
    session.delete('x')
    put(session, 'y', 10240)
# What broke off in a folder counts there, and goes on.
f.delete('y')
line = f.transfercmd('STOR part')
line.sendall(b'p' * 6000)
watch = login()
for _ in range(2400):
    if '6000 octets' in watch.sendcmd('SITE WHO'): break
    time.sleep(0.05)
f.putcmd('ABOR')
assert [f.getline()[:3], f.getline()[:3]] == ['426', '226']
line.close()
assert f.size('part') == 6000
assert '6000 of 10240' in says(f, 'SITE QUOTA', '200')
full(f, 'part', 4241, rest=6000)
# From the beginning there is room again.
put(f, 'part', 10240)
# Who comes without an account leaves things in two places.
h = login('anonymous', 'a@b.example')
put(h, '/box/a', 1000)
full(h, '/box/b', 100)
put(h, '/incoming/a', 2000)
full(h, '/incoming/b', 100)
put(h, '/incoming/b', 48)
"#,
    );
    assert_eq!(names(&data.join("box")), ["a"]);
    assert_eq!(names(&data.join("public/incoming")), ["a", "b"]);
    assert_eq!(names(&data.join("own/alice@boat.test")), ["part"]);
}

#[test]
fn counts_are_checked_while_the_server_is_down() {
    let (mut boat, data) = start();
    let holds = |boat: &Boat, folder: &str, own: &str| {
        let script = format!(
            "reply = says(f, 'SITE QUOTA', '200')\nassert '{own} of ' in reply, reply\n\
             f.cwd('/press')\nreply = says(f, 'SITE QUOTA', '200')\nassert '{folder} of 61440' in reply, reply\n"
        );
        python(boat, &script);
    };
    let check = |boat: &Boat, arguments: &str| {
        let program = std::env::var_os("PACKETBOAT_BINARY")
            .map_or_else(|| env!("CARGO_BIN_EXE_packetboat").into(), PathBuf::from);
        let check = std::process::Command::new(program)
            .args(["check", "--no-dns", "--config"])
            .arg(boat.dir().join("packetboat.toml"))
            .args(arguments.split_whitespace())
            .output()
            .unwrap();
        let said = String::from_utf8(check.stdout).unwrap() + &String::from_utf8_lossy(&check.stderr);
        (check.status.code(), said)
    };
    python(
        &boat,
        "put(f, 'mine', 500); put(f, '/press/a', 1000)\nput(login('anonymous', 'a@b.c'), '/incoming/a', 9)\n",
    );
    boat.stop();
    let (code, said) = check(&boat, "");
    assert!(code == Some(0) && said.contains(" 0 of them wrong"), "{said}");
    // Somebody else has put something there, and taken something away.
    fs::write(data.join("press/unseen"), "123").unwrap();
    fs::remove_file(data.join("files/alice@boat.test/mine")).unwrap();
    fs::write(data.join("public/incoming/b"), "1").unwrap();
    let (code, said) = check(&boat, "");
    assert_eq!(code, Some(65), "{said}");
    let press = format!("folder press ({})", data.join("press").display());
    for line in [
        "files: alice@boat.test: 500 octets in 1 files were counted, there are 0 in 0\n",
        &format!("files: {press}: 11240 octets in 2 files were counted, there are 11243 in 3\n"),
        "files: anonymous users: 9 octets in 1 files were counted, there are 10 in 2\n",
        " 3 of them wrong\n",
        "packetboat check --repair",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let (_, said) = check(&boat, "--json");
    let json: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(json["files"]["wrong"].as_array().unwrap().len(), 3, "{said}");
    // Nothing was changed by looking.
    boat.serve();
    holds(&boat, "11240", "500");
    boat.stop();
    let (code, said) = check(&boat, "--repair");
    assert!(code == Some(0) && said.contains("there are 11243 in 3; mended\n"), "{said}");
    let (code, said) = check(&boat, "");
    assert!(code == Some(0) && said.contains(" 0 of them wrong"), "{said}");
    boat.serve();
    holds(&boat, "11243", "0");
    // What was not written down in order is counted anew, and nothing is said of it.
    boat.kill();
    fs::write(data.join("press/unseen"), "1234").unwrap();
    let (code, said) = check(&boat, "");
    assert!(code == Some(0) && said.contains("files: the server did not stop in order"), "{said}");
    boat.serve();
    holds(&boat, "11244", "0");
}
