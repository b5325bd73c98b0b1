//! Watching what goes on with files: who is there, how far a transfer is, and ending it.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use support::Demo;

/// A control connection.
struct Control(BufReader<TcpStream>);

impl Control {
    fn login(port: u16, user: &str) -> Control {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut control = Control(BufReader::new(socket));
        control.reply();
        control.says(&format!("USER {user}@demo.test"), "331");
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
