//! What large, many and slow things cost over IMAP: memory stays below stated numbers, and who waits for news has it at
//! once.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use support::{Demo, Imap, Pop3, deliver};

/// Octets of the large message.
const LARGE: usize = 200_000_000;
/// What the server's memory may grow by for it, and for whoever does not read. A small message makes it grow too, by the
/// thread-local buffers it is the first to use.
const LARGE_MEMORY_KIB: u64 = 16 * 1024;
/// What an idling session that has selected a mailbox may cost, in KiB of the server's memory.
const IDLE_KIB: u64 = 10;
/// How late an idling client may hear of a change, on a machine that is busy with other things: less than who asks now and
/// then would need.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A number of `/proc/PID/status` in KiB.
fn memory_kib(demo: &Demo, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", demo.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The server's memory when what it gave back, such as that for hashing a password, has gone back to the system.
fn settled_kib(demo: &Demo) -> u64 {
    let samples = (0..20).map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        memory_kib(demo, "VmRSS")
    });
    samples.min().unwrap()
}

/// A thousand lines of text, of which the large message is made.
fn lines() -> Vec<u8> {
    let line = |number| format!("{number:04} {}\r\n", "all work and no play ".repeat(9));
    (0..1000).map(line).collect::<String>().into_bytes()
}

/// Logs in whoever a test needs and uses what the server makes only once, such as memory for hashing a password.
fn warm(demo: &Demo) {
    for login in ["alice@demo.test", "bob@demo.test"] {
        let mut imap = Imap::login(demo.at("imap"), login);
        for _ in 0..20 {
            imap.append("Drafts", b"Subject: small\r\n\r\nsmall\r\n");
        }
        imap.select("Drafts");
        imap.ok("FETCH 1:* (FLAGS ENVELOPE BODY[])");
        imap.ok("LOGOUT");
    }
}

#[test]
fn a_large_message_costs_no_more_memory_than_a_small_one() {
    let demo = Demo::start();
    warm(&demo);
    let before = memory_kib(&demo, "VmHWM");
    let mut imap = Imap::login(demo.at("imap"), "bob@demo.test");
    let piece = lines();
    let pieces = LARGE.div_ceil(piece.len());
    let size = pieces * piece.len() + 2;
    imap.send(format!("large APPEND INBOX {{{size}}}\r\n").as_bytes());
    assert!(imap.line().starts_with("+ "));
    imap.send(b"\r\n");
    for _ in 0..pieces {
        imap.send(&piece);
    }
    imap.send(b"\r\n");
    let answer = imap.end("large");
    assert!(answer.tagged.starts_with("OK [APPENDUID "), "{}", answer.text());

    assert_eq!(imap.select("INBOX"), 1);
    let told = imap.ok("FETCH 1 (RFC822.SIZE BODYSTRUCTURE BODY.PEEK[]<100000000.40>)").text();
    assert!(told.contains(&format!("RFC822.SIZE {size} ")), "{told}");
    for what in ["BODY.PEEK[]", "BODY.PEEK[TEXT]", "BINARY.PEEK[1]"] {
        imap.send(format!("{what} FETCH 1 {what}\r\n").as_bytes());
        let announced = imap.line();
        let skipped = usize::from(what == "BODY.PEEK[]") * 2;
        assert!(announced.ends_with(&format!("{{{}}}\r\n", size - 2 + skipped)), "{what}: {announced}");
        imap.read_exact(&mut vec![0; skipped]);
        let mut got = vec![0; piece.len()];
        for number in 0..pieces {
            imap.read_exact(&mut got);
            assert!(got == piece, "{what}: after {number} pieces something else came");
        }
        assert_eq!(imap.line(), ")\r\n");
        assert!(imap.end(what).tagged.starts_with("OK"));
    }
    let grown = memory_kib(&demo, "VmHWM").saturating_sub(before);
    assert!(grown <= LARGE_MEMORY_KIB, "{grown} KiB for a message of {size} octets");
}

#[test]
fn a_reader_that_does_not_read_costs_little_and_stops_nobody() {
    let demo = Demo::start();
    warm(&demo);
    let mut imap = Imap::login(demo.at("imap"), "bob@demo.test");
    let large = [b"Subject: large\r\n\r\n".as_slice(), &lines()].concat();
    for _ in 0..100 {
        imap.append("INBOX", &large);
    }
    let before = memory_kib(&demo, "VmHWM");
    let mut lazy = Imap::login(demo.at("imap"), "bob@demo.test");
    lazy.select("INBOX");
    // Four gigabytes of answers asked for at once, and none of them read.
    for tag in 0..200 {
        lazy.send(format!("l{tag} FETCH 1:* BODY[]\r\n").as_bytes());
    }
    for _ in 0..3 {
        deliver(demo.at("smtp"), "bob@demo.test", b"Subject: hello\r\n\r\nstill there?\r\n");
    }
    // The same mailbox is read and changed by somebody else.
    assert_eq!(imap.select("INBOX"), 103);
    imap.ok("STORE 1:* +FLAGS.SILENT (\\Flagged)");
    assert_eq!(imap.ok("FETCH 1:* (FLAGS ENVELOPE)").untagged.len(), 103);
    let grown = memory_kib(&demo, "VmHWM").saturating_sub(before);
    assert!(grown <= LARGE_MEMORY_KIB, "{grown} KiB for a reader that does not read");
    // It begins to read, and has everything from the first octet on.
    let first = lazy.end("l0");
    assert!(first.tagged.starts_with("OK"), "{}", first.tagged);
    let fetched = first.fetched();
    let bodies: Vec<_> =
        fetched.iter().flat_map(|(_, items)| items.iter().filter(|(name, _)| name == "BODY[]")).collect();
    assert_eq!(bodies.len(), 100);
    assert!(bodies.iter().all(|(_, body)| body.octets() == large));
}

/// STORE and SELECT with QRESYNC say the flags of each message; here that is a kilobyte and a half each.
#[test]
fn flags_wait_for_who_does_not_read_them() {
    const MESSAGES: usize = 16_000;
    let demo = Demo::start();
    warm(&demo);
    let mut imap = Imap::login(demo.at("imap"), "bob@demo.test");
    for _ in 0..MESSAGES / 32 {
        imap.append("INBOX", b"Subject: small\r\n\r\nsmall\r\n");
    }
    imap.select("INBOX");
    for _ in 0..5 {
        imap.ok("COPY 1:* INBOX");
        imap.ok("NOOP");
    }
    let keywords: Vec<String> = (0..30).map(|n| format!("{n:02}{}", "k".repeat(48))).collect();
    imap.ok(&format!("STORE 1:* +FLAGS.SILENT ({})", keywords.join(" ")));
    let status = imap.ok("STATUS INBOX (UIDVALIDITY)").text();
    let validity: String =
        status.split("UIDVALIDITY ").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let before = memory_kib(&demo, "VmHWM");

    let mut storing = Imap::login(demo.at("imap"), "bob@demo.test");
    assert_eq!(storing.select("INBOX"), MESSAGES as u32);
    storing.send(b"s STORE 1:* +FLAGS (\\Flagged)\r\n");
    let mut late = Imap::login(demo.at("imap"), "bob@demo.test");
    late.ok("ENABLE QRESYNC");
    late.send(format!("q SELECT INBOX (QRESYNC ({validity} 1))\r\n").as_bytes());
    settled_kib(&demo);
    let grown = memory_kib(&demo, "VmHWM").saturating_sub(before);
    // All of them are 24 MB for each of the two sessions.
    assert!(grown <= LARGE_MEMORY_KIB * 3 / 2, "{grown} KiB for flags that nobody reads");

    for (tag, session) in [("s", &mut storing), ("q", &mut late)] {
        let answer = session.end(tag);
        assert!(answer.tagged.starts_with("OK"), "{}", answer.tagged);
        let told =
            answer.untagged.iter().filter(|said| said.windows(7).any(|part| part == b" FETCH ")).count();
        assert!(told >= MESSAGES, "{tag}: {told} told");
    }
}

#[test]
fn idling_sessions_on_one_mailbox_cost_little() {
    let count = if std::env::var_os("PACKETBOAT_LONG").is_some() { 10_000 } else { 3000 };
    let demo = Demo::start();
    warm(&demo);
    let mut imap = Imap::login(demo.at("imap"), "bob@demo.test");
    for _ in 0..50 {
        imap.append("INBOX", b"Subject: small\r\n\r\nsmall\r\n");
    }
    let open = |count: usize| -> Vec<Imap> {
        let one = |_| {
            let mut imap = Imap::login(demo.at("imap"), "bob@demo.test");
            assert_eq!(imap.select("INBOX"), 50);
            imap.send(b"i IDLE\r\n");
            assert!(imap.line().starts_with("+ "));
            imap
        };
        (0..count).map(one).collect()
    };
    // Some are there already when counting begins, and with them what is made only once.
    let _first = open(200);
    let before = settled_kib(&demo);
    let mut idle = open(count);
    let grown = settled_kib(&demo).saturating_sub(before);
    assert!(grown <= IDLE_KIB * count as u64, "{grown} KiB for {count} sessions");
    // One change, told to all.
    deliver(demo.at("smtp"), "bob@demo.test", b"Subject: hello\r\n\r\nall of you\r\n");
    for session in &mut idle {
        assert_eq!(session.line(), "* 51 EXISTS\r\n");
    }
    let after = settled_kib(&demo).saturating_sub(before);
    assert!(after <= IDLE_KIB * count as u64, "{after} KiB for {count} sessions that were told something");
}

/// Does something and waits until the idling client has heard this; how long it took from the moment it was done.
fn heard(idle: &mut Imap, what: &str, done: impl FnOnce()) -> Duration {
    done();
    let start = Instant::now();
    let mut seen = String::new();
    loop {
        let line = idle.line();
        seen += &line;
        assert!(line.starts_with("* "), "{seen}");
        if line.trim_end() == what {
            return start.elapsed();
        }
    }
}

#[test]
fn changes_are_told_to_who_idles_at_once_through_every_door() {
    let demo = Demo::start();
    let mut other = Imap::login(demo.at("imap"), "bob@demo.test");
    deliver(demo.at("smtp"), "bob@demo.test", b"Subject: one\r\n\r\none\r\n");
    other.select("INBOX");
    // The first to look takes away that messages are recent.
    let mut idle = Imap::login(demo.at("imap"), "bob@demo.test");
    assert_eq!(idle.select("INBOX"), 1);
    idle.send(b"i IDLE\r\n");
    assert!(idle.line().starts_with("+ "));
    // A busy machine may be late once; the server may not.
    let mut slowest = Vec::new();
    for round in 0..5 {
        let mut took = Vec::new();
        took.push(heard(&mut idle, "* 2 EXISTS", || {
            deliver(demo.at("smtp"), "bob@demo.test", b"Subject: two\r\n\r\ntwo\r\n");
        }));
        took.push(heard(&mut idle, "* 3 EXISTS", || {
            other.append("INBOX", b"Subject: three\r\n\r\nthree\r\n");
        }));
        let flags = format!("* 1 FETCH (FLAGS (\\Seen $Round{round}))");
        took.push(heard(&mut idle, &flags, || {
            other.ok(&format!("STORE 1 FLAGS.SILENT (\\Seen $Round{round})"));
        }));
        took.push(heard(&mut idle, "* 2 EXPUNGE", || {
            let mut pop3 = Pop3::login(demo.at("pop3"), "bob@demo.test");
            pop3.command("DELE 2");
            pop3.quit();
        }));
        other.ok("NOOP");
        other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)");
        took.push(heard(&mut idle, "* 2 EXPUNGE", || drop(other.ok("EXPUNGE"))));
        slowest.push(took);
    }
    for door in 0..5 {
        let best = slowest.iter().map(|took| took[door]).min().unwrap();
        assert!(best < AT_ONCE, "{slowest:?}");
    }
    idle.send(b"DONE\r\n");
    let answer = idle.end("i");
    assert!(answer.tagged.starts_with("OK"), "{}", answer.text());
}

/// Lists, literals and lines without end are refused before they cost anything.
#[test]
fn bombs_are_answered_and_cost_nothing() {
    let demo = Demo::start();
    warm(&demo);
    let before = memory_kib(&demo, "VmHWM");
    let deep = format!("s SEARCH {}ALL{}\r\n", "(".repeat(100_000), ")".repeat(100_000));
    let long = format!("f FETCH {} FLAGS\r\n", "1,".repeat(2_000_000) + "1");
    let endless = "x".repeat(8 << 20) + " NOOP\r\n";
    let many = format!("o SEARCH {}ALL\r\n", "OR SUBJECT a ".repeat(50_000));
    let literal = "l SEARCH SUBJECT {4294967295+}\r\n".to_owned() + &"x".repeat(1 << 20);
    for bomb in [&deep, &long, &endless, &many, &literal] {
        let mut imap = Imap::login(demo.at("imap"), "bob@demo.test");
        imap.select("Drafts");
        let mut writer = imap.writer();
        // Being cut off is an answer, too.
        if writer.write_all(bomb.as_bytes()).is_err() {
            continue;
        }
        let _ = writer.write_all(b"n NOOP\r\n");
        let _ = writer.shutdown(std::net::Shutdown::Write);
        writer.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let mut answer = Vec::new();
        let _ = writer.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let refused =
            answer.contains("BAD") || answer.contains("NO ") || answer.contains("BYE") || answer.is_empty();
        assert!(refused, "{}: {answer}", &bomb[..20]);
    }
    let grown = memory_kib(&demo, "VmHWM").saturating_sub(before);
    assert!(grown <= LARGE_MEMORY_KIB, "{grown} KiB for bombs");
    Imap::login(demo.at("imap"), "bob@demo.test").ok("NOOP");
}
