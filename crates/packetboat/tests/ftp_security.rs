//! Classes of old failures of FTP servers, each tried on the real binary. `docs/ftp-conformance.md` has all of them.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use packetboat_ftp::client::ConnectionPolicy;
use support::{Depot, Ftp, Raw, blob};

/// What the server may grow by, whatever is thrown at it, in KiB.
const GROWTH_KIB: u64 = 24 * 1024;
/// The same where a flood has been before: of the first one the allocator keeps some huge pages.
const GROWTH_AGAIN_KIB: u64 = 12 * 1024;

/// It is there, and answers somebody else.
#[track_caller]
fn serves(depot: &Depot) {
    let mut ftp = Ftp::login_as(depot.at(), ConnectionPolicy::Passive, "bob@boat.test");
    ftp.expect(257, "PWD");
    ftp.expect(221, "QUIT");
}

/// Takes all that can be written without anything being read, up to `most` octets; how many that were.
fn flood(stream: &mut TcpStream, piece: &[u8], most: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(700))).unwrap();
    let mut written = 0;
    while written < most {
        match stream.write(piece) {
            Ok(octets) => written += octets,
            Err(_) => break,
        }
    }
    written
}

#[test]
fn a_browser_that_posts_commands_is_shown_out() {
    let depot = Depot::start();
    for verb in ["POST", "GET", "PUT", "OPTIONS", "CONNECT"] {
        let mut raw = Raw::connect(depot.at());
        let body = "USER alice@boat.test\r\nPASS demo\r\nMKD smuggled\r\nQUIT\r\n";
        let request = format!(
            "{verb} / HTTP/1.1\r\nHost: localhost:{}\r\nContent-Length: {}\r\n\r\n{body}",
            depot.ftp(),
            body.len()
        );
        raw.send(request.as_bytes());
        assert_eq!(raw.reply().0, 421, "{verb}");
        assert!(raw.is_closed(), "{verb}");
    }
    // Mail, by a mail program that was told the wrong port.
    let mut raw = Raw::connect(depot.at());
    raw.send(b"EHLO client.example\r\nMAIL FROM:<>\r\n");
    assert_eq!(raw.reply().0, 421);
    assert!(!depot.home("alice").exists(), "nobody has logged in");
    serves(&depot);
}

#[test]
fn ten_thousand_passive_ports_are_one() {
    let depot = Depot::start();
    let mut raw = Raw::login(depot.at());
    raw.expect(227, "PASV");
    let (before, memory) = (depot.descriptors(), depot.memory_kib());
    for _ in 0..100 {
        raw.send("PASV\r\n".repeat(100).as_bytes());
        for _ in 0..100 {
            assert_eq!(raw.reply().0, 227);
        }
    }
    assert!(depot.descriptors() <= before + 2, "{} descriptors, and {before} before", depot.descriptors());
    assert!(depot.memory_kib() < memory + GROWTH_KIB);
    serves(&depot);
}

#[test]
fn lines_without_end_cost_nothing() {
    let depot = Depot::start();
    serves(&depot);
    drop(Raw::login(depot.at()));
    let memory = depot.memory_kib();
    // Before the log-in: a line of 64 MB, and a verb and a path of 20 kB.
    let mut raw = Raw::connect(depot.at());
    let written = flood(raw.stream(), &[b'A'; 1 << 16], 64 << 20);
    assert_eq!(raw.reply().0, 500, "after {written} octets");
    raw.send(b"\r\n");
    raw.expect(500, &format!("{} x", "A".repeat(5000)));
    raw.expect(500, &format!("USER {}", "a".repeat(20_000)));
    raw.expect(200, "NOOP");
    // After it: paths that are too long for any disk, or too deep.
    let mut raw = Raw::login(depot.at());
    let long = "n".repeat(7_000);
    let deep = "d/".repeat(3_000);
    for verb in [
        "CWD", "RETR", "STOR", "LIST", "MLSD", "MLST", "NLST", "MKD", "RMD", "DELE", "SIZE", "MDTM", "RNFR",
        "STAT", "XSHA256",
    ] {
        for path in [&long, &deep] {
            let (code, text) = raw.say(&format!("{verb} {path}"));
            assert!(matches!(code, 425 | 501 | 550 | 553), "{verb}: {text}");
        }
    }
    raw.expect(200, "NOOP");
    assert!(depot.memory_kib() < memory + GROWTH_KIB, "{} KiB more", depot.memory_kib() - memory);
    serves(&depot);
}

#[test]
fn who_does_not_read_is_not_read() {
    let depot = Depot::start();
    serves(&depot);
    // The memory of a password's first check, and of a first flood, is not what this is about.
    let mut raw = Raw::login(depot.at());
    flood(raw.stream(), &b"NOOP\r\n".repeat(10_000), 256 << 20);
    drop(raw);
    for line in ["NOOP\r\n", "HELP\r\n", "FEAT\r\n", "FROB\r\n", "STAT\r\n", "MLST /\r\n"] {
        let memory = depot.memory_kib();
        let mut raw = Raw::login(depot.at());
        let written = flood(raw.stream(), &line.repeat(10_000).into_bytes(), 256 << 20);
        assert!(written < 64 << 20, "{line:?}: {written} octets were taken");
        assert!(
            depot.memory_kib() < memory + GROWTH_AGAIN_KIB,
            "{line:?}: {} KiB more",
            depot.memory_kib() - memory
        );
        serves(&depot);
    }
}

#[test]
fn status_during_transfers_is_answered_and_bounded() {
    let depot = Depot::start();
    let data = blob(1, 16 << 20);
    serves(&depot);
    std::fs::create_dir_all(depot.home("alice")).unwrap();
    std::fs::write(depot.home("alice").join("large"), &data).unwrap();
    let mut raw = Raw::login(depot.at());
    let memory = depot.memory_kib();
    raw.expect(200, "TYPE I");
    let mut stream = raw.data();
    assert!(matches!(raw.say("RETR large").0, 150 | 125));
    let mut got = vec![0; 1 << 20];
    stream.read_exact(&mut got).unwrap();
    for _ in 0..20 {
        raw.send("STAT\r\nNOOP\r\n".repeat(50).as_bytes());
        for _ in 0..50 {
            let (code, text) = raw.reply();
            assert!(code == 211 && text.contains("octets"), "{text}");
            assert_eq!(raw.reply().0, 200);
        }
    }
    // As many as go in, and nobody reads the answers; the transfer goes on all the same.
    flood(raw.stream(), &"STAT\r\n".repeat(10_000).into_bytes(), 32 << 20);
    stream.read_to_end(&mut got).unwrap();
    assert!(got == data, "{} octets", got.len());
    assert!(depot.memory_kib() < memory + GROWTH_KIB, "{} KiB more", depot.memory_kib() - memory);
    serves(&depot);
}

/// What has to wait for the end of a transfer is not read for ever.
#[test]
fn commands_that_wait_are_bounded() {
    let depot = Depot::start();
    serves(&depot);
    std::fs::create_dir_all(depot.home("alice")).unwrap();
    std::fs::write(depot.home("alice").join("large"), blob(1, 64 << 20)).unwrap();
    let mut raw = Raw::login(depot.at());
    let memory = depot.memory_kib();
    raw.expect(200, "TYPE I");
    let stream = raw.data();
    assert!(matches!(raw.say("RETR large").0, 150 | 125));
    let written = flood(raw.stream(), &b"PWD\r\n".repeat(10_000), 256 << 20);
    assert!(written < 64 << 20, "{written} octets were taken");
    assert!(depot.memory_kib() < memory + GROWTH_KIB, "{} KiB more", depot.memory_kib() - memory);
    drop(stream);
    assert_eq!(raw.reply().0, 426);
    assert_eq!(raw.reply().0, 257);
    serves(&depot);
}

/// CVE-2020-9273 was a transfer that was aborted while it still ran.
#[test]
fn aborting_again_and_again() {
    let depot = Depot::start();
    let data = blob(2, 4 << 20);
    serves(&depot);
    std::fs::create_dir_all(depot.home("alice")).unwrap();
    std::fs::write(depot.home("alice").join("large"), &data).unwrap();
    let mut raw = Raw::login(depot.at());
    raw.expect(200, "TYPE I");
    let before = depot.descriptors();
    for n in 0..150 {
        let verb = ["RETR large", "STOR new", "APPE new", "LIST", "STOU", "MLSD"][n % 6];
        let stream = raw.data();
        // In one piece, in two, and with the Synch of Telnet.
        match n % 3 {
            0 => raw.send(format!("{verb}\r\nABOR\r\n").as_bytes()),
            1 => {
                raw.send(format!("{verb}\r\n").as_bytes());
                raw.send(b"ABOR\r\n");
            }
            _ => {
                raw.send(format!("{verb}\r\n").as_bytes());
                raw.send(b"\xff\xf4");
                rustix::net::send(raw.stream(), b"\xff", rustix::net::SendFlags::OOB).unwrap();
                raw.send(b"\xf2ABOR\r\n");
            }
        }
        // 150, the end of the transfer, and the answer to ABOR; what came first decides which they are.
        let (code, text) = raw.reply();
        assert!(matches!(code, 150 | 125), "{verb}: {text}");
        let (code, text) = raw.reply();
        assert!(matches!(code, 226 | 426), "{verb}: {text}");
        let (code, text) = raw.reply();
        assert!(matches!(code, 225 | 226), "{verb}: {text}");
        drop(stream);
        raw.expect(200, "NOOP");
    }
    let deadline = Instant::now() + Duration::from_secs(120);
    while depot.descriptors() > before {
        assert!(Instant::now() < deadline, "{} descriptors, and {before} before", depot.descriptors());
        std::thread::sleep(Duration::from_millis(10));
    }
    serves(&depot);
}

/// Nothing tells whether a name exists, and guessing ends.
#[test]
fn names_are_not_told_and_guesses_are_counted() {
    let depot = Depot::start();
    let answers = |name: &str| {
        let mut raw = Raw::connect(depot.at());
        let said = [raw.say(&format!("USER {name}")), raw.say("PASS wrong")];
        raw.expect(530, "PWD");
        said
    };
    assert_eq!(answers("alice@boat.test"), answers("nobody@boat.test"));
    // An empty password is none (ProFTPD took it for the right one), and what is wrong five times in a session ends it.
    let mut raw = Raw::connect(depot.at());
    raw.expect(331, "USER bob@boat.test");
    raw.expect(530, "PASS");
    for name in ["root", "admin", "test"] {
        raw.expect(331, &format!("USER {name}"));
        raw.expect(530, "PASS wrong");
    }
    raw.expect(331, "USER guest");
    raw.send(b"PASS wrong\r\n");
    assert_eq!(raw.reply().0, 530);
    assert_eq!(raw.reply().0, 421);
    assert!(raw.is_closed());
}

/// State that one command leaves and another forgets: EPSV ALL after ABOR, REST and RANG out of bounds, RNTO alone.
#[test]
fn no_state_slips() {
    let depot = Depot::start();
    let mut raw = Raw::login(depot.at());
    let mut data = raw.data();
    assert!(matches!(raw.say("STOR file").0, 150 | 125));
    data.write_all(b"0123456789").unwrap();
    drop(data);
    assert_eq!(raw.reply().0, 226);
    raw.expect(200, "TYPE I");
    for (code, line) in [
        (501, "REST -1"),
        (501, "REST 99999999999999999999999"),
        (501, "RANG -5 2"),
        (501, "RANG 1"),
        (503, "RNTO other"),
        (503, "SITE CPTO other"),
        (501, "ALLO -1"),
        (500, "SIZ file"),
        (504, "EPSV 3 4"),
    ] {
        let (got, text) = raw.say(line);
        assert!(got == code || (line.starts_with("EPSV") && matches!(got, 501 | 522)), "{line}: {text}");
    }
    // A place beyond the end is no place.
    let _data = raw.data();
    raw.expect(350, "REST 18446744073709551615");
    let (code, text) = raw.say("RETR file");
    assert!(matches!(code, 554 | 551 | 501), "{text}");
    // EPSV ALL holds over ABOR, and until REIN.
    raw.expect(200, "EPSV ALL");
    raw.expect(225, "ABOR");
    for line in ["PASV", "PORT 127,0,0,1,200,200", "EPRT |1|127.0.0.1|51400|", "LPSV"] {
        raw.expect(501, line);
    }
    raw.expect(220, "REIN");
    raw.expect(530, "RETR file");
    raw.expect(530, "PASV");
    raw.expect(331, "USER alice@boat.test");
    raw.expect(230, "PASS demo");
    raw.expect(227, "PASV");
}

/// Names that somebody else's program would take for something to carry out, or to write elsewhere: a shell's, SQL's, LDAP's,
/// C's, a terminal's, a log's (CVE-2026-42167, CVE-2026-44331, CVE-2024-52309).
#[test]
fn names_are_no_code() {
    let names: &[&str] = &[
        "$(touch pwned)",
        "`touch pwned`",
        "; touch pwned;",
        "| touch pwned",
        "a' OR '1'='1' --",
        "a\"); DROP TABLE accounts;--",
        "*)(uid=*",
        "%n%n%s%x%p",
        "${HOME}{account}",
        "-rf",
        "\u{1b}]0;pwned\u{7}",
        "a\tb\u{8}c 226 Transfer complete",
        "\u{202e}txt.exe",
        "b _ i r root ftp 0 * c",
    ];
    let mut depot = Depot::prepare("", "");
    let (script, out) = (depot.dir().join("arrived"), depot.dir().join("out"));
    let text = format!("#!/bin/sh\nprintf '%s\\n' \"$PACKETBOAT_PATH\" >> {}\n", out.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    depot.boat().write_settings(&format!(
        "[transfer_log]\nxferlog = \"logs/xferlog\"\njson = \"logs/json\"\n\
         [[file_event]]\nname = \"all\"\non = [\"upload\"]\ncommand = [\"{}\"]\n",
        script.display()
    ));
    depot.serve();
    // As names of users they are nobody's.
    for name in names {
        let mut raw = Raw::connect(depot.at());
        let (code, text) = raw.say(&format!("USER {name}"));
        assert!(matches!(code, 331 | 501 | 530), "{name:?}: {text}");
        raw.expect(if code == 331 { 530 } else { 503 }, "PASS demo");
        raw.expect(530, "PWD");
    }
    // As names of files they are names, here and wherever they are told of.
    let mut raw = Raw::login(depot.at());
    for (n, name) in names.iter().enumerate() {
        let mut data = raw.data();
        assert!(matches!(raw.say(&format!("STOR {name}")).0, 150 | 125), "{name:?}");
        data.write_all(&[n as u8; 10]).unwrap();
        drop(data);
        assert_eq!(raw.reply().0, 226, "{name:?}");
        assert_eq!(std::fs::read(depot.home("alice").join(name)).unwrap(), [n as u8; 10], "{name:?}");
    }
    let until = |what: &str, so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !so() {
            assert!(Instant::now() < deadline, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let lines = |file: &std::path::Path| -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let paths: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    let logs = depot.dir().join("data/logs");
    until("commands have run", &|| lines(&out).len() >= names.len());
    assert_eq!(sorted(lines(&out)), sorted(paths.clone()), "as the command was told");
    until("the log is written", &|| {
        lines(&logs.join("xferlog")).len() >= names.len() && lines(&logs.join("json")).len() >= names.len()
    });
    // A line for each, with as many words as it has to have, and nothing in it that a terminal would act on.
    let xferlog = lines(&logs.join("xferlog"));
    assert_eq!(xferlog.len(), names.len(), "{xferlog:?}");
    for line in &xferlog {
        assert_eq!(line.split(' ').filter(|word| !word.is_empty()).count(), 18, "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    let told = lines(&logs.join("json"));
    let told = told.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let told: Vec<String> = told.map(|it| it["path"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(sorted(told), sorted(paths), "as the log in JSON tells");
    assert!(!depot.log().contains(['\u{1b}', '\u{7}', '\u{8}']), "the log can be shown on a terminal");
    for place in [depot.dir().to_owned(), depot.dir().join("data"), depot.home("alice")] {
        assert!(!place.join("pwned").exists(), "{}", place.display());
    }
    serves(&depot);
}

/// The longest names that a disk has, as deep as they go (ProFTPD #2146 was MLSD of such).
#[test]
fn the_longest_names_are_names() {
    let depot = Depot::start();
    let mut raw = Raw::login(depot.at());
    let name = "n".repeat(255);
    let mut depth = 0;
    // Until a path is longer than the system takes in one piece.
    while depth < 40 && raw.say(&format!("MKD {name}")).0 == 257 && raw.say(&format!("CWD {name}")).0 == 250 {
        depth += 1;
    }
    assert!((10..40).contains(&depth), "{depth} deep");
    for verb in ["LIST", "LIST -R /", "NLST", "NLST -R /", "MLSD", "MLSD /", "LIST *", "NLST */*"] {
        let mut data = raw.data();
        let (code, text) = raw.say(verb);
        if matches!(code, 150 | 125) {
            let mut got = Vec::new();
            data.read_to_end(&mut got).unwrap();
            let (code, text) = raw.reply();
            assert_eq!(code, 226, "{verb}: {text}");
            assert!(!got.is_empty() || !verb.ends_with('/'), "{verb}: nothing is listed");
        } else {
            assert!(matches!(code, 450 | 501 | 550), "{verb}: {text}");
        }
    }
    for verb in ["PWD", "MLST", "STAT -R /", "STAT ."] {
        let (code, text) = raw.say(verb);
        assert!(matches!(code, 212 | 213 | 250 | 257 | 501 | 550), "{verb}: {text}");
    }
    for _ in 0..depth {
        raw.expect(250, "CDUP");
        let (code, text) = raw.say(&format!("RMD {name}"));
        assert!(matches!(code, 250 | 550), "{text}");
    }
    raw.expect(257, "PWD");
    serves(&depot);
}
