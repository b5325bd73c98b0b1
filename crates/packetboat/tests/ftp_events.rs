//! What is told when files have changed: nothing is lost and nothing told twice, however often the server is killed.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use support::{Boat, Pop3, foreign};

const PATIENCE: Duration = Duration::from_secs(120);

/// A request that came: its header fields, lower-cased, and its body.
type Posted = (BTreeMap<String, String>, serde_json::Value, Vec<u8>);

/// Whoever webhooks are posted to. The first so many are answered with an error.
struct Receiver {
    port: u16,
    posted: Arc<Mutex<Vec<Posted>>>,
    errors: Arc<AtomicU32>,
}

impl Receiver {
    fn start(errors: u32) -> Receiver {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let posted: Arc<Mutex<Vec<Posted>>> = Arc::default();
        let errors = Arc::new(AtomicU32::new(errors));
        let (all, left) = (Arc::clone(&posted), Arc::clone(&errors));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (all, left) = (Arc::clone(&all), Arc::clone(&left));
                // Whoever is killed leaves half a request.
                std::thread::spawn(move || answer(stream.unwrap(), &all, &left));
            }
        });
        Receiver { port, posted, errors }
    }

    fn all(&self) -> Vec<Posted> {
        self.posted.lock().unwrap().clone()
    }
}

fn answer(stream: TcpStream, all: &Mutex<Vec<Posted>>, left: &AtomicU32) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut fields = BTreeMap::new();
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    if line != "POST /hook?of=files HTTP/1.1\r\n" {
        return None;
    }
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => fields.insert(name.to_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let mut body = vec![0; fields.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        stream.get_mut().write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").ok()?;
        return None;
    }
    all.lock().unwrap().push((fields, serde_json::from_slice(&body).ok()?, body));
    stream.get_mut().write_all(b"HTTP/1.1 204 Taken\r\n\r\n").ok()
}

/// A control connection that may be cut at any moment.
struct Control(BufReader<TcpStream>);

impl Control {
    fn login(port: u16, user: &str) -> Option<Control> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut control = Control(BufReader::new(socket));
        control.reply()?;
        control.ask(&format!("USER {user}"))?;
        control.ask("PASS demo").filter(|reply| reply.starts_with("230"))?;
        control.ask("TYPE I")?;
        Some(control)
    }

    fn reply(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if line.as_bytes().get(3) == Some(&b' ') {
                return Some(line);
            }
        }
    }

    fn ask(&mut self, command: &str) -> Option<String> {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).ok()?;
        self.reply()
    }

    /// Whether it was said that it is stored.
    fn store(&mut self, name: &str, octets: &[u8]) -> Option<bool> {
        let reply = self.ask("EPSV")?;
        let port = reply.split("|||").nth(1)?.split('|').next()?.parse::<u16>().ok()?;
        let mut data = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        self.ask(&format!("STOR {name}")).filter(|reply| reply.starts_with("150"))?;
        data.write_all(octets).ok()?;
        drop(data);
        Some(self.reply()?.starts_with("226"))
    }
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(Instant::now() < deadline, "it does not come"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Checks a signature as a receiver would, after the text of the Standard Webhooks specification.
const VERIFY: &str = r#"
import base64, hashlib, hmac, sys
key, ident, stamp, signature, body = sys.argv[1:]
made = hmac.new(base64.b64decode(key), f'{ident}.{stamp}.{body}'.encode(), hashlib.sha256).digest()
assert signature == 'v1,' + base64.b64encode(made).decode(), (signature, made)
"#;

#[test]
fn receivers_hear_of_what_they_asked_for() {
    let receiver = Receiver::start(2);
    let dir = tempfile::tempdir().unwrap();
    let (script, out, secret) =
        (dir.path().join("arrived"), dir.path().join("out"), dir.path().join("secret"));
    std::fs::write(&script, format!("#!/bin/sh\nenv | grep ^PACKETBOAT_ | sort >> {}\n", out.display()))
        .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let boat = Boat::start(&format!(
        "[[file_event]]\nname = \"all\"\non = [\"upload\", \"download\", \"delete\", \"rename\", \"mkdir\", \"rmdir\"]\n\
         webhook = \"http://127.0.0.1:{}/hook?of=files\"\nsecret_file = \"{}\"\nat_once = 1\n\
         [[file_event]]\nname = \"some\"\npaths = [\"/in/**\"]\nusers = [\"*@boat.test\"]\n\
         command = [\"{}\"]\nmail_to = [\"bob@boat.test\"]\n",
        receiver.port,
        secret.display(),
        script.display()
    ));
    let mut alice = Control::login(boat.port("ftp"), "alice@boat.test").unwrap();
    for (command, code) in [("MKD in", "257"), ("MKD in", "550"), ("ACCT 4711", "230")] {
        let reply = alice.ask(command).unwrap();
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    assert_eq!(alice.store("in/a", b"first"), Some(true));
    assert_eq!(alice.store("elsewhere", b"second"), Some(true));
    for (command, code) in [
        ("RNFR elsewhere", "350"),
        ("RNTO in/b", "250"),
        ("DELE in/a", "250"),
        ("DELE in/a", "550"),
        ("DELE in/b", "250"),
        ("RMD in", "250"),
    ] {
        let reply = alice.ask(command).unwrap();
        assert!(reply.starts_with(code), "{command}: {reply}");
    }
    assert_eq!(alice.store("last", b"third"), Some(true));
    let url = format!("ftp://127.0.0.1:{}/last", boat.port("ftp"));
    foreign("curl").args("--silent --show-error --user alice@boat.test:demo").arg(url).run();

    let all = until(|| Some(receiver.all()).filter(|all| all.len() >= 9));
    let told: BTreeSet<String> = all
        .iter()
        .map(|(_, event, _)| {
            let word = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {} {} {}",
                word("event"),
                word("path"),
                word("to"),
                event["octets"],
                word("account")
            )
        })
        .collect();
    let wanted = [
        "delete /in/a - null alice@boat.test",
        "delete /in/b - null alice@boat.test",
        "download /last - 5 alice@boat.test",
        "mkdir /in - null alice@boat.test",
        "rename /elsewhere /in/b 6 alice@boat.test",
        "rmdir /in - null alice@boat.test",
        "upload /elsewhere - 6 alice@boat.test",
        "upload /in/a - 5 alice@boat.test",
        "upload /last - 5 alice@boat.test",
    ];
    assert_eq!(told.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    assert_eq!(all.len(), wanted.len());
    assert_eq!(receiver.errors.load(Ordering::SeqCst), 0, "what was refused is posted again");
    for (fields, event, body) in &all {
        assert_eq!(event["id"], fields["webhook-id"]);
        assert_eq!(event["server"], "boat.test");
        foreign("python3")
            .arg("-c")
            .arg(VERIFY)
            .arg("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .arg(&fields["webhook-id"])
            .arg(&fields["webhook-timestamp"])
            .arg(&fields["webhook-signature"])
            .arg(std::str::from_utf8(body).unwrap())
            .run();
    }
    // The second rule is for one of them.
    let environment =
        until(|| std::fs::read_to_string(&out).ok().filter(|text| text.contains("PACKETBOAT_TLS")));
    let file = boat.dir().join("data/files/alice@boat.test/in/a");
    for line in [
        "PACKETBOAT_EVENT=upload",
        "PACKETBOAT_PATH=/in/a",
        "PACKETBOAT_OCTETS=5",
        "PACKETBOAT_ACCOUNT=alice@boat.test",
        "PACKETBOAT_COST_CENTRE=4711",
        &format!("PACKETBOAT_FILE={}", file.display()),
    ] {
        assert!(environment.lines().any(|it| it == line), "{line} in\n{environment}");
    }
    assert_eq!(environment.matches("PACKETBOAT_ID").count(), 1);
    let mut mail = until(|| Some(Pop3::login(boat.at("pop3"), "bob")).filter_map_count(1));
    let message = String::from_utf8(mail.retrieve(1)).unwrap();
    assert!(message.contains("Subject: Uploaded: /in/a\r\n"), "{message}");
    assert!(message.contains("Auto-Submitted: auto-generated\r\n"), "{message}");
    mail.quit();
}

trait Counted {
    fn filter_map_count(self, least: usize) -> Option<Pop3>;
}

impl Counted for Option<Pop3> {
    /// The session, if there are so many messages.
    fn filter_map_count(self, least: usize) -> Option<Pop3> {
        let mut pop3 = self?;
        if pop3.count() >= least {
            return Some(pop3);
        }
        pop3.quit();
        None
    }
}

#[test]
fn killed_at_any_moment_nothing_is_lost_or_told_twice() {
    let receiver = Receiver::start(0);
    let settings = format!(
        "[[file_event]]\nname = \"kept\"\nwebhook = \"http://127.0.0.1:{}/hook?of=files\"\nmail_to = [\"bob@boat.test\"]\n\
         [[file_event]]\nname = \"gone\"\non = \"delete\"\nwebhook = \"http://127.0.0.1:{}/hook?of=files\"\n",
        receiver.port, receiver.port
    );
    let mut boat = Boat::start(&settings);
    // Of those that the server said yes to, and those that it may have.
    let (said, deleted) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(Mutex::new(BTreeSet::new())));
    let rounds: u64 = std::env::var("PACKETBOAT_ROUNDS").ok().and_then(|it| it.parse().ok()).unwrap_or(6);
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    eprintln!("seed {seed}");
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let users: Vec<_> = (0..3)
            .map(|user| {
                let (said, deleted, stop) = (Arc::clone(&said), Arc::clone(&deleted), Arc::clone(&stop));
                let port = boat.port("ftp");
                std::thread::spawn(move || {
                    let Some(mut control) = Control::login(port, "alice@boat.test") else { return };
                    for number in 0.. {
                        if stop.load(Ordering::SeqCst) {
                            return;
                        }
                        let name = format!("f-{round}-{user}-{number}");
                        match control.store(&name, name.as_bytes()) {
                            Some(true) => said.lock().unwrap().insert(name.clone()),
                            _ => return,
                        };
                        if number % 4 == 3 {
                            deleted.lock().unwrap().insert(name.clone());
                            if control.ask(&format!("DELE {name}")).is_none() {
                                return;
                            }
                        }
                    }
                })
            })
            .collect();
        // However slow the machine is, something is under way; and then at any moment.
        let before = said.lock().unwrap().len();
        until(|| (said.lock().unwrap().len() >= before + 5).then_some(()));
        let wait = (u64::from(seed) / (round + 1)).wrapping_mul(2_654_435_761) % 400;
        std::thread::sleep(Duration::from_millis(wait));
        boat.kill();
        stop.store(true, Ordering::SeqCst);
        users.into_iter().for_each(|user| user.join().unwrap());
        boat.serve();
    }
    let home = boat.dir().join("data/files/alice@boat.test");
    let there: BTreeSet<String> = std::fs::read_dir(home)
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .filter(|it| it.starts_with("f-"))
        .collect();
    let (said, deleted) = (said.lock().unwrap().clone(), deleted.lock().unwrap().clone());
    assert!(said.len() > 20, "only {} were stored", said.len());
    for name in &said {
        assert!(there.contains(name) || deleted.contains(name), "{name} was stored, and is not there");
    }
    // What is not there any more was, and is told of as well: stored once, deleted once.
    let stored: BTreeSet<String> = there.union(&deleted).cloned().collect();
    let removed: BTreeSet<String> = deleted.difference(&there).cloned().collect();
    let told = |kind: &str| {
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (fields, event, _) in receiver.all() {
            if event["event"] == kind {
                let name = event["path"].as_str().unwrap().trim_start_matches('/').to_owned();
                ids.entry(name).or_default().insert(fields["webhook-id"].clone());
            }
        }
        ids
    };
    until(|| (told("upload").len() >= stored.len() && told("delete").len() >= removed.len()).then_some(()));
    for (kind, names) in [("upload", &stored), ("delete", &removed)] {
        let told = told(kind);
        assert_eq!(told.keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>(), "{kind}");
        for (name, ids) in told {
            assert_eq!(ids.len(), 1, "{kind} of {name} by more than one name");
        }
    }
    // Mail goes once, by itself.
    let mut mail = until(|| Some(Pop3::login(boat.at("pop3"), "bob")).filter_map_count(stored.len()));
    let subjects: Vec<String> = mail
        .all()
        .into_iter()
        .map(|message| {
            let text = String::from_utf8(message).unwrap();
            text.lines().find_map(|line| line.strip_prefix("Subject: Uploaded: /")).unwrap().to_owned()
        })
        .collect();
    assert_eq!(subjects.len(), stored.len());
    assert_eq!(subjects.into_iter().collect::<BTreeSet<_>>(), stored);
    mail.quit();
    eprintln!("{} stored, {} deleted, {} posts", stored.len(), removed.len(), receiver.all().len());
}
