//! Watching what goes on with files: who is there, how far a transfer is, and ending it.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use support::{Boat, Demo, foreign};

/// A control connection.
struct Control(BufReader<TcpStream>);

impl Control {
    /// Of `user@demo.test`, or who it is in full.
    fn login(port: u16, user: &str) -> Control {
        let user = if user.contains('@') { user.to_owned() } else { format!("{user}@demo.test") };
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let mut control = Control(BufReader::new(socket));
        control.reply();
        control.says(&format!("USER {user}"), "331");
        control.says("PASS demo", "230");
        control
    }

    /// The whole reply that comes next.
    fn reply(&mut self) -> String {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the connection has ended after {text:?}");
            text.push_str(&line);
            if line.as_bytes().get(3) == Some(&b' ') && line.as_bytes()[..3].iter().all(u8::is_ascii_digit) {
                return text;
            }
        }
    }

    fn send(&mut self, command: &str) {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
    }

    fn says(&mut self, command: &str, code: &str) -> String {
        self.send(command);
        let reply = self.reply();
        assert!(reply.starts_with(code), "{command}: {reply}");
        reply
    }

    /// A passive data connection.
    fn data(&mut self) -> TcpStream {
        let reply = self.says("EPSV", "229");
        let port = reply.split("|||").nth(1).unwrap().split('|').next().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port.parse::<u16>().unwrap())).unwrap()
    }
}

/// Runs a command on the server of a demo.
fn run(demo: &Demo, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packetboat"));
    let output = command.args(arguments).arg("--data").arg(demo.dir().join("data")).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(Instant::now() < deadline, "it does not come"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn who_is_there_how_far_and_no_further() {
    let demo = Demo::start();
    let json = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let said = run(&demo, &[arguments, &["--json"]].concat());
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let mut alice = Control::login(demo.port("ftp"), "alice");
    alice.says("ACCT harbour-7", "2");
    alice.says("TYPE I", "200");
    alice.says("ALLO 4000000", "200");
    let mut data = alice.data();
    alice.says("STOR big", "150");
    data.write_all(&vec![b'x'; 1_000_000]).unwrap();
    let told = until(|| {
        let mut told = json(&["who", "--transfers"]);
        told.retain(|told| told["files"]["transfer"]["octets"] == 1_000_000);
        told.pop()
    });
    assert_eq!((&told["login"], &told["peer"]), (&"alice@demo.test".into(), &"127.0.0.1".into()));
    assert_eq!(told["files"]["tls"], false);
    assert_eq!(told["files"]["cost_centre"], "harbour-7");
    let transfer = &told["files"]["transfer"];
    assert_eq!((&transfer["verb"], &transfer["direction"]), (&"STOR".into(), &"upload".into()));
    assert_eq!((&transfer["path"], &transfer["percent"]), (&"/big".into(), &25.into()));
    assert_eq!((&transfer["size"], &transfer["representation"]), (&4_000_000.into(), &"I F S".into()));
    let text = run(&demo, &["who", "--transfers"]);
    assert!(text.contains("STOR /big 1000000 octets of 4000000 (25 %), "), "{text}");

    // Meanwhile the client itself may ask; others see nothing of it.
    let status = alice.says("STAT", "211");
    assert!(status.contains("STOR /big 1000000 octets of 4000000 (25 %), "), "{status}");
    let own = alice.says("SITE WHO", "200");
    assert!(own.contains("(this one): STOR /big"), "{own}");
    let mut bob = Control::login(demo.port("ftp"), "bob");
    let other = bob.says("SITE WHO", "200");
    assert!(!other.contains("alice") && !other.contains("big"), "{other}");
    assert_eq!(json(&["who", "--transfers"]).len(), 1);

    let ended = json(&["disconnect", "alice@demo.test"]);
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert!(alice.reply().starts_with("421"));
    assert_eq!(alice.0.read(&mut [0]).unwrap(), 0);
    // Nothing is there under the name; a part may be kept out of sight.
    let home = demo.dir().join("data/files/alice@demo.test");
    let seen = || {
        let names = std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| !name.to_string_lossy().starts_with(".packetboat-parts")).count()
    };
    until(|| (seen() == 0).then_some(()));
    until(|| json(&["who", "--transfers"]).is_empty().then_some(()));

    // Others go on, until it is their turn.
    bob.says("NOOP", "200");
    let sessions = json(&["who"]);
    let bobs = sessions.iter().find(|told| told["login"] == "bob@demo.test").unwrap();
    let number = bobs["connection"].to_string();
    assert_eq!(json(&["disconnect", &number]).len(), 1);
    assert!(bob.reply().starts_with("421"));
    until(|| json(&["who"]).is_empty().then_some(()));

    // The same for mail, by address.
    let mail = TcpStream::connect((Ipv4Addr::LOCALHOST, demo.port("smtp"))).unwrap();
    let mut mail = Control(BufReader::new(mail));
    mail.reply();
    assert_eq!(json(&["disconnect", "127.0.0.0/8"]).len(), 1);
    assert!(mail.reply().starts_with("421"));
}

/// Reads a log as the man page of xferlog(5) has it, and tells what it finds.
const READ_XFERLOG: &str = r#"
import sys, time
for line in open(sys.argv[1], encoding='utf-8'):
    date, rest = line[:24], line[24:].split()
    assert time.strptime(date, '%a %b %d %H:%M:%S %Y'), line
    seconds, host, octets, name, kind, special, direction, mode, user, service, method, ident, status = rest
    assert int(seconds) >= 1 and special == '_' and service == 'ftp' and (method, ident) == ('0', '*'), line
    assert kind in 'ab' and direction in 'oid' and mode in 'agr' and status in 'ci', line
    print(host, octets, name, kind, direction, mode, user, status)
"#;

#[test]
fn the_log_of_transfers_in_both_forms() {
    let settings =
        "[transfer_log]\nxferlog = \"logs/xferlog\"\njson = \"logs/transfers.jsonl\"\nlogins = true\n";
    let mut boat = Boat::start(settings);
    let file = boat.dir().join("sent");
    std::fs::write(&file, vec![b'y'; 5000]).unwrap();
    let url = format!("ftp://127.0.0.1:{}", boat.port("ftp"));
    let curl = || foreign("curl").args("--silent --show-error --user alice@boat.test:demo");
    curl().arg("-T").arg(&file).arg(format!("{url}/a%20b")).run();
    curl().arg("--use-ascii").arg(format!("{url}/a%20b")).run();
    curl().arg("--list-only").arg(format!("{url}/")).run();
    let mut alice = Control::login(boat.port("ftp"), "alice@boat.test");
    alice.says("ACCT harbour-7", "2");
    alice.says("TYPE I", "200");
    let mut data = alice.data();
    alice.says("STOR torn", "150");
    data.write_all(&[b'z'; 100]).unwrap();
    let progress = || boat.run(&["who", "--transfers", "--json"], "").contains("\"octets\":100,");
    until(|| progress().then_some(()));
    alice.says("ABOR", "426");
    assert!(alice.reply().starts_with("226"));
    alice.says("MKD d", "257");
    alice.says("RNFR a b", "350");
    alice.says("RNTO d/c", "250");
    alice.says("DELE d/c", "250");
    alice.says("DELE d/c", "550");
    alice.says("RMD d", "250");

    let logs = boat.dir().join("data/logs");
    let xferlog = logs.join("xferlog");
    let read = until(|| {
        let text = std::fs::read_to_string(&xferlog).unwrap_or_default();
        (text.lines().count() == 3)
            .then(|| foreign("python3").arg("-c").arg(READ_XFERLOG).arg(&xferlog).run().text())
    });
    assert_eq!(
        read.lines().collect::<Vec<_>>(),
        [
            "127.0.0.1 5000 /a_b b i r alice@boat.test c",
            "127.0.0.1 5000 /a_b a o r alice@boat.test c",
            "127.0.0.1 100 /torn b i r alice@boat.test i",
        ]
    );
    let json = logs.join("transfers.jsonl");
    let told = until(|| {
        let text = std::fs::read_to_string(&json).unwrap();
        text.contains("rmdir").then_some(text)
    });
    let told: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> = told
        .iter()
        .filter(|it| it["event"] != "login")
        .map(|it| {
            let word = |key: &str| it[key].as_str().unwrap_or("-").to_owned();
            [word("event"), word("path"), word("outcome"), word("reason"), word("to"), word("cost_centre")]
                .join(" ")
        })
        .collect();
    assert_eq!(
        events,
        [
            "transfer /a b complete - - -",
            "transfer /a b complete - - -",
            "transfer /torn incomplete aborted - harbour-7",
            "mkdir /d complete - - harbour-7",
            "rename /a b complete - /d/c harbour-7",
            "delete /d/c complete - - harbour-7",
            "delete /d/c incomplete no such file or directory - harbour-7",
            "rmdir /d complete - - harbour-7",
        ]
    );
    assert_eq!(
        told.iter().filter(|it| it["event"] == "login" && it["account"] == "alice@boat.test").count(),
        4
    );
    let upload = told.iter().find(|it| it["direction"] == "upload").unwrap();
    assert_eq!(
        (&upload["octets"], &upload["verb"], &upload["tls"]),
        (&5000.into(), &"STOR".into(), &false.into())
    );
    assert_eq!((&upload["address"], &upload["representation"]), (&"127.0.0.1".into(), &"I F S".into()));

    // As logrotate does it: the file is put aside, and the server told by SIGHUP.
    std::fs::rename(&xferlog, logs.join("xferlog.old")).unwrap();
    boat.signal("HUP");
    until(|| xferlog.exists().then_some(()));
    curl().arg(format!("{url}/none")).attempt();
    curl().arg("-T").arg(&file).arg(format!("{url}/again")).run();
    until(|| std::fs::read_to_string(&xferlog).unwrap().contains(" /again ").then_some(()));
    boat.stop();
}

/// A program of another server's package, which `cargo xtask tools` unpacks.
fn of_package(program: &str) -> Command {
    let trees = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("debian");
    let places = ["proftpd", "pure-ftpd", "db"].map(|package| trees.join(package));
    let places =
        places.iter().flat_map(|tree| ["usr/bin", "usr/sbin"].map(|place| tree.join(place).join(program)));
    let places: Vec<_> = places.collect();
    let found = places.into_iter().find(|place| place.is_file());
    let found = found.unwrap_or_else(|| panic!("{program} is missing: run `cargo xtask tools`"));
    // Libraries that this machine has not are unpacked beside it.
    let libraries =
        found.ancestors().nth(2).unwrap().join("lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let mut command = Command::new(found);
    command.env("LD_LIBRARY_PATH", libraries);
    command
}

fn fed(mut command: Command, input: &str) -> String {
    use std::process::Stdio;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn users_of_other_servers_move_in_with_their_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    // pure-ftpd: its own tool makes the file, and the database of it.
    let mut pure = of_package("pure-pw");
    pure.args([
        "useradd",
        "joe",
        "-f",
        &at("pure.passwd"),
        "-u",
        "1000",
        "-g",
        "1000",
        "-d",
        &at("homes/joe"),
    ]);
    fed(
        {
            pure.args(["-n", "100", "-N", "50", "-t", "20", "-y", "5", "-r", "127.0.0.0/8"]);
            pure
        },
        "secret1\nsecret1\n",
    );
    let mut second = of_package("pure-pw");
    second.args([
        "useradd",
        "amy",
        "-f",
        &at("pure.passwd"),
        "-u",
        "1000",
        "-g",
        "1000",
        "-d",
        &at("homes/amy"),
    ]);
    fed(second, "secret2\nsecret2\n");
    let mut compile = of_package("pure-pw");
    compile.args(["mkdb", &at("pure.pdb"), "-f", &at("pure.passwd")]);
    fed(compile, "");
    // ProFTPD: the same.
    for (user, kind) in [("md5", "--md5"), ("sha", "--sha512"), ("des", "--des")] {
        let mut tool = of_package("ftpasswd");
        tool.args(["--passwd", "--stdin", "--uid=1001", "--gid=1001", "--shell=/bin/sh"]);
        tool.args([
            &format!("--home={}", dir.path().display()),
            &format!("--name=pro-{user}"),
            &format!("--file={}", at("pro.passwd")),
        ]);
        // DES is what it makes when nothing else is asked for, in some of its versions.
        if user != "des" {
            tool.arg(kind);
            fed(tool, "secret3\n");
        }
    }
    let mut lines = std::fs::read_to_string(at("pro.passwd")).unwrap();
    lines.push_str("pro-des:abSQqR3lgjqok:1001:1001::/tmp:/bin/sh\n");
    std::fs::write(at("pro.passwd"), lines).unwrap();
    // vsftpd: the text from which its database is made, and what another program says of that.
    std::fs::write(at("users.txt"), "vera\nsecret4\nvictor\nsecret5\n").unwrap();
    let mut load = of_package("db5.3_load");
    load.args(["-T", "-t", "hash", "-f", &at("users.txt"), &at("users.db")]);
    fed(load, "");
    let mut dump = of_package("db5.3_dump");
    dump.arg(at("users.db"));
    std::fs::write(at("users.dump"), fed(dump, "")).unwrap();
    std::fs::write(at("refused"), "victor\n").unwrap();

    let mut boat = Boat::start("");
    let import = |more: &[&str]| -> Vec<serde_json::Value> {
        let arguments = [&["account", "import", "--domain", "boat.test", "--json"], more].concat();
        boat.run(&arguments, "").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let outcomes = |told: &[serde_json::Value]| -> Vec<String> {
        told.iter()
            .map(|it| format!("{} {}", it["account"].as_str().unwrap(), it["outcome"].as_str().unwrap()))
            .collect()
    };
    let text = import(&["--from", "pure-ftpd", &at("pure.passwd"), "--dry-run"]);
    assert_eq!(outcomes(&text), ["joe@boat.test added", "amy@boat.test added"]);
    // Nothing was done, and the database says the same.
    let settings = at("more.toml");
    let pdb = import(&["--from", "pure-ftpd", &at("pure.pdb"), "--settings", &settings]);
    assert_eq!(pdb, text);
    let settings = std::fs::read_to_string(settings).unwrap();
    for line in [
        "quota = \"52428800\"",
        "quota_files = 100",
        "download_rate = \"20480\"",
        "connections = 5",
        "networks = [\"127.0.0.0/8\"]",
        &format!("home = \"{}\"", at("homes/joe")),
    ] {
        assert!(settings.lines().any(|it| it == line), "{line} in\n{settings}");
    }
    let pro = import(&["--from", "proftpd", &at("pro.passwd")]);
    assert_eq!(
        outcomes(&pro),
        ["pro-md5@boat.test added", "pro-sha@boat.test added", "pro-des@boat.test not taken"]
    );
    assert!(pro[2]["reason"].as_str().unwrap().contains("DES"), "{pro:?}");
    let vs = import(&["--from", "vsftpd", &at("users.dump"), "--userlist", &at("refused")]);
    assert_eq!(vs.len(), 2);
    // Once more: everybody is here already.
    let again = import(&["--from", "vsftpd", &at("users.txt")]);
    assert_eq!(outcomes(&again), ["vera@boat.test there already", "victor@boat.test there already"]);

    std::fs::create_dir_all(dir.path().join("homes")).unwrap();
    boat.write_settings(&settings);
    // Wrong passwords are tried of each, and nobody waits for that.
    let file = boat.dir().join("packetboat.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("hash_passes = 1\n", "hash_passes = 1\ndelay_after = 100\n")).unwrap();
    boat.stop();
    boat.serve();
    let url = format!("ftp://127.0.0.1:{}/hello", boat.port("ftp"));
    let file = at("hello");
    std::fs::write(&file, "hello\n").unwrap();
    let curl = |user: &str, secret: &str| {
        let user = format!("{user}@boat.test:{secret}");
        foreign("curl").args("--silent --show-error --max-time 60 --user").arg(user)
    };
    for (user, secret) in [
        ("joe", "secret1"),
        ("amy", "secret2"),
        ("pro-md5", "secret3"),
        ("pro-sha", "secret3"),
        ("vera", "secret4"),
    ] {
        assert_eq!(curl(user, "wrong").arg(&url).attempt().code, Some(67), "{user}");
        // The second time by a hash of our own.
        for _ in 0..2 {
            curl(user, secret).arg("-T").arg(&file).arg(&url).run();
        }
        assert_eq!(curl(user, secret).arg(&url).run().out, b"hello\n", "{user}");
    }
    assert!(dir.path().join("homes/joe/hello").is_file(), "his home is where it was");
    assert_eq!(curl("victor", "secret5").arg(&url).attempt().code, Some(67), "he may not log in, as before");
    assert_eq!(curl("pro-des", "demo").arg(&url).attempt().code, Some(67));
    boat.stop();
}
