//! What hostile or merely large things cost: memory stays below stated numbers, and the server goes on answering.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::{Demo, Pop3, deliver, smtp_dialogue};

/// Octets of the large message.
const LARGE: usize = 200_000_000;
/// What the server's memory may grow by while it takes or hands out the large message. A small one makes it grow too,
/// by the thread-local buffers it is the first to use.
const LARGE_MEMORY_KIB: u64 = 16 * 1024;
/// What an idle connection may cost, in KiB of the server's memory.
const IDLE_KIB: u64 = 16;

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    stream
}

/// A number of `/proc/PID/status` in KiB.
fn memory_kib(demo: &Demo, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", demo.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

/// So many octets of text in lines, a piece at a time.
fn large_text(mut each: impl FnMut(&[u8])) {
    let mut lines = Vec::new();
    for number in 0..1000 {
        lines.extend_from_slice(format!("{number:04} {}\r\n", "all work and no play ".repeat(9)).as_bytes());
    }
    for _ in 0..LARGE.div_ceil(lines.len()) {
        each(&lines);
    }
}

#[test]
fn a_large_message_costs_no_more_memory_than_a_small_one() {
    let demo = Demo::start();
    for _ in 0..20 {
        deliver(demo.at("smtp"), "bob@demo.test", b"Subject: small\r\n\r\nsmall\r\n");
    }
    let mut pop3 = Pop3::login(demo.at("pop3"), "bob@demo.test");
    pop3.all();
    pop3.quit();
    // Hashing a password takes its 19 MiB at each first login; that is not what is measured here.
    Pop3::login(demo.at("pop3"), "alice@demo.test").quit();
    let before = memory_kib(&demo, "VmHWM");

    let mut smtp = BufReader::new(connect(demo.at("smtp")));
    line(&mut smtp);
    for command in ["HELO tests.example", "MAIL FROM:<a@tests.example>", "RCPT TO:<alice@demo.test>", "DATA"]
    {
        smtp.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        assert!(line(&mut smtp).starts_with(['2', '3']), "{command}");
    }
    let mut sent = 0;
    large_text(|piece| {
        smtp.get_mut().write_all(piece).unwrap();
        sent += piece.len();
    });
    smtp.get_mut().write_all(b".\r\n").unwrap();
    let reply = line(&mut smtp);
    assert!(reply.starts_with("250"), "{reply}");

    let mut pop3 = BufReader::new(connect(demo.at("pop3")));
    line(&mut pop3);
    for command in ["USER alice@demo.test", "PASS demo", "RETR 1"] {
        pop3.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let reply = line(&mut pop3);
        assert!(reply.starts_with("+OK"), "{command}: {reply}");
    }
    // The trace fields end where the message begins, which has no header of its own.
    while line(&mut pop3) != "\r\n" {}
    let mut received = 0;
    let mut got = Vec::new();
    large_text(|piece| {
        got.resize(piece.len(), 0);
        pop3.read_exact(&mut got).unwrap();
        assert!(got == piece, "after {received} octets something else came");
        received += piece.len();
    });
    assert_eq!(line(&mut pop3), ".\r\n");
    assert_eq!(received, sent);
    let grown = memory_kib(&demo, "VmHWM").saturating_sub(before);
    assert!(grown <= LARGE_MEMORY_KIB, "{grown} KiB for a message of {LARGE} octets");
}

#[test]
fn idle_connections_cost_little_and_nobody_else_waits() {
    let count = if std::env::var_os("PACKETBOAT_LONG").is_some() { 10_000 } else { 2000 };
    let demo = Demo::start();
    let open = |count: usize| -> Vec<BufReader<TcpStream>> {
        let services = ["smtp", "pop3"].into_iter().cycle();
        let connected = services.take(count).map(|service| {
            let mut stream = BufReader::with_capacity(128, connect(demo.at(service)));
            let greeting = line(&mut stream);
            assert!(greeting.starts_with("220") || greeting.starts_with("+OK"), "{greeting}");
            stream
        });
        connected.collect()
    };
    drop(open(100));
    let before = memory_kib(&demo, "VmRSS");
    let mut idle = open(count);
    let grown = memory_kib(&demo, "VmRSS").saturating_sub(before);
    assert!(grown <= IDLE_KIB * count as u64, "{grown} KiB for {count} connections");
    deliver(demo.at("smtp"), "bob@demo.test", b"Subject: hello\r\n\r\nstill there?\r\n");
    assert_eq!(Pop3::login(demo.at("pop3"), "bob@demo.test").all().len(), 1);
    for stream in &mut idle {
        stream.get_mut().write_all(b"NOOP\r\n").unwrap();
        let reply = line(stream);
        assert!(reply.starts_with("250") || reply.starts_with("-ERR"), "{reply}");
    }
}

#[test]
fn lines_without_end_are_answered_and_cost_nothing() {
    let demo = Demo::start();
    let before = memory_kib(&demo, "VmHWM");
    for (service, refusal) in [("smtp", "500"), ("pop3", "-ERR")] {
        let mut stream = BufReader::new(connect(demo.at(service)));
        line(&mut stream);
        let piece = [b'x'; 64 * 1024];
        for _ in 0..512 {
            // Being cut off is an answer, too.
            if stream.get_mut().write_all(&piece).is_err() {
                break;
            }
        }
        let _ = stream.get_mut().write_all(b"\r\n");
        let mut reply = Vec::new();
        let _ = stream.read_until(b'\n', &mut reply);
        let reply = String::from_utf8(reply).unwrap();
        assert!(reply.starts_with(refusal) || reply.is_empty(), "{service}: {reply}");
    }
    let grown = memory_kib(&demo, "VmHWM").saturating_sub(before);
    assert!(grown <= LARGE_MEMORY_KIB, "{grown} KiB for lines of 32 MiB");
    let replies = smtp_dialogue(demo.at("smtp"), &[b"HELO tests.example", b"QUIT"]);
    assert!(replies.iter().all(|reply| reply.starts_with('2')), "{replies:?}");
}

#[test]
fn a_reader_that_does_not_read_costs_little_and_stops_nobody() {
    let demo = Demo::start();
    let text = format!("Subject: large\r\n\r\n{}", format!("{}\r\n", "x".repeat(70)).repeat(100_000));
    deliver(demo.at("smtp"), "bob@demo.test", text.as_bytes());
    // Hashing a password takes its 19 MiB at each first login; that is not what is measured here.
    for login in ["alice@demo.test", "bob@demo.test"] {
        Pop3::login(demo.at("pop3"), login).quit();
    }
    let before = memory_kib(&demo, "VmHWM");
    let mut lazy = BufReader::new(connect(demo.at("pop3")));
    line(&mut lazy);
    for command in ["USER bob@demo.test", "PASS demo"] {
        lazy.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        assert!(line(&mut lazy).starts_with("+OK"));
    }
    // Four gigabytes of answers asked for at once, and none of them read.
    lazy.get_mut().write_all("RETR 1\r\n".repeat(600).as_bytes()).unwrap();
    for _ in 0..3 {
        deliver(demo.at("smtp"), "alice@demo.test", b"Subject: hello\r\n\r\nstill there?\r\n");
    }
    assert_eq!(Pop3::login(demo.at("pop3"), "alice@demo.test").all().len(), 3);
    let grown = memory_kib(&demo, "VmHWM").saturating_sub(before);
    assert!(grown <= LARGE_MEMORY_KIB, "{grown} KiB for a reader that does not read");
}

#[test]
fn an_address_cannot_write_the_log() {
    let demo = Demo::start_with(&["--log", "info"]);
    let lines = [
        "EHLO tests.example",
        "MAIL FROM:<a\u{2028}b@tests.example> SMTPUTF8",
        "RCPT TO:<alice+x\u{2028}INFO\u{202e}y@demo.test>",
        "DATA",
        "Subject: x\r\n\r\n.",
        "QUIT",
    ];
    let replies = smtp_dialogue(demo.at("smtp"), &lines.map(str::as_bytes));
    assert!(replies[5].starts_with("250"), "{replies:?}");
    // The log is written by a thread of its own, a moment later.
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut log = demo.log();
    while !log.contains("delivered") && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
        log = demo.log();
    }
    let delivered = log.lines().find(|line| line.contains("delivered")).unwrap();
    assert!(delivered.contains(r#"recipient="alice+x\u{2028}INFO\u{202e}y@demo.test""#), "{delivered}");
    assert!(!log.contains(['\u{2028}', '\u{202e}']), "{log}");
}
