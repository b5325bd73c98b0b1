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
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
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
    let deadline = Instant::now() + Duration::from_secs(60);
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
    // Nothing is there under the name, and nothing is left behind.
    let home = demo.dir().join("data/files/alice@demo.test");
    until(|| (std::fs::read_dir(&home).unwrap().count() == 0).then_some(()));
    assert_eq!(json(&["who", "--transfers"]).len(), 0);

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
