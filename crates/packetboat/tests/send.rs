//! `packetboat send` as people and scripts run it: against our own server, and against servers that follow a script.

#![allow(clippy::unwrap_used)]

#[path = "../../client/tests/support/mod.rs"]
mod scripted;
mod support;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use scripted::{OPENING, PATIENCE, Scripted, TAKEN};
use serde_json::Value;
use support::{AWKWARD, Demo, Pop3};

/// The resident memory a sending process may need, whatever it sends.
const MEMORY_MAX_KIB: u64 = 48 * 1024;

/// What a run of the command came to.
#[derive(Debug)]
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

fn spawn(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_packetboat"))
        .arg("send")
        .args(arguments)
        .env_remove("HOME")
        .env_remove("XDG_CONFIG_HOME")
        .env("PACKETBOAT_PASSWORD", "demo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn finish(mut child: Child, stdin: &[u8]) -> Run {
    match child.stdin.take().unwrap().write_all(stdin) {
        // It need not read what it has no use for.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => panic!("{error}"),
        _ => {}
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn send(arguments: &[&str], stdin: &[u8]) -> Run {
    finish(spawn(arguments), stdin)
}

/// The one message in a maildrop.
fn only_message(demo: &Demo, login: &str) -> String {
    let mut pop3 = Pop3::login(demo.at("pop3"), login);
    let mut all = pop3.all();
    pop3.quit();
    assert_eq!(all.len(), 1, "messages of {login}");
    String::from_utf8(all.remove(0)).unwrap()
}

#[test]
fn a_letter_is_submitted_with_tls_and_login_and_arrives() {
    let demo = Demo::start();
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("naïve.png");
    fs::write(&picture, b"\x89PNG\r\n.\r\n\0").unwrap();
    let server = format!("localhost:{}", demo.port("submission"));
    let run = send(
        &[
            "--server",
            &server,
            "--tls",
            "starttls",
            "--ca",
            demo.ca(),
            "-u",
            "alice@demo.test",
            "--from",
            "Älice <alice@demo.test>",
            "--to",
            "Bob <bob@demo.test>",
            "--bcc",
            "alice@demo.test",
            "-s",
            "Tee & Grüße",
            "-a",
            picture.to_str().unwrap(),
            "--json",
        ],
        "Um fünf?\n.\n".as_bytes(),
    );
    assert_eq!(run.code, 0, "{run:?}");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["server"]["tls"]["verified"], true, "{report}");
    assert_eq!(report["server"]["login"]["user"], "alice@demo.test");
    assert_eq!(report["server"]["login"]["mechanism"], "SCRAM-SHA-256-PLUS");
    assert_eq!(report["recipients"].as_array().unwrap().len(), 2);
    for login in ["alice@demo.test", "bob@demo.test"] {
        let message = only_message(&demo, login);
        for part in [
            "with ESMTPSA",
            "From: =?utf-8?Q?=C3=84lice?= <alice@demo.test>\r\n",
            "To: Bob <bob@demo.test>\r\n",
            "Subject: =?utf-8?Q?Tee_=26_Gr=C3=BC=C3=9Fe?=\r\n",
            "\r\n\r\nUm f=C3=BCnf?\r\n.\r\n",
            "Content-Type: image/png\r\nContent-Disposition: attachment;\r\n filename*=utf-8''na%C3%AFve.png\r\n",
            "\r\n\r\niVBORw0KLg0KAA==\r\n",
            report["message_id"].as_str().unwrap(),
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
        assert!(!message.contains("Bcc"), "{message}");
    }
}

/// Stands before a server with its certificate and key, and speaks TLS 1.2 to both sides: arguments are certificate, key
/// and port. Says its own port.
const ONLY_TLS_1_2: &str = r#"
import socket, ssl, sys, threading
certificate, key, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
inside = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
inside.check_hostname, inside.verify_mode = False, ssl.CERT_NONE
outside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
outside.load_cert_chain(certificate, key)
for context in inside, outside:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
client = outside.wrap_socket(listener.accept()[0], server_side=True)
server = inside.wrap_socket(socket.create_connection(("127.0.0.1", port)))
assert client.version() == server.version() == "TLSv1.2"
def pump(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
threading.Thread(target=pump, args=(server, client), daemon=True).start()
pump(client, server)
"#;

#[test]
fn under_tls_1_2_the_login_is_bound_to_the_certificate() {
    let demo = Demo::start();
    let file = |name: &str| demo.dir().join(name).to_str().unwrap().to_owned();
    let port = demo.port("submissions").to_string();
    let mut between = Command::new("python3")
        .args(["-c", ONLY_TLS_1_2, &file("cert.pem"), &file("key.pem"), &port])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(between.stdout.take().unwrap()), &mut line).unwrap();
    let server = format!("localhost:{}", line.trim());
    let mut arguments =
        vec!["--server", &server, "--tls", "implicit", "--ca", demo.ca(), "-u", "alice@demo.test"];
    arguments.extend(["--to", "bob@demo.test", "-s", "x", "--json"]);
    let run = send(&arguments, b"hello\n");
    between.kill().unwrap();
    between.wait().unwrap();
    assert_eq!(run.code, 0, "{run:?}");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["server"]["tls"]["version"], "TLSv1.2", "{report}");
    assert_eq!(report["server"]["login"]["mechanism"], "SCRAM-SHA-256-PLUS", "{report}");
    assert!(only_message(&demo, "bob@demo.test").contains("TLSv1.2"));
}

#[test]
fn ready_messages_arrive_as_they_are() {
    let demo = Demo::start();
    let server = format!("localhost:{}", demo.port("smtp"));
    for (number, (name, body)) in (1..).zip(AWKWARD) {
        let message = [b"From: alice@demo.test\r\nX: \r\n\r\n", *body].concat();
        let run = send(&["--server", &server, "--raw", "bob@demo.test"], &message);
        assert_eq!(run.code, 0, "{name}: {run:?}");
        let mut pop3 = Pop3::login(demo.at("pop3"), "bob@demo.test");
        let got = pop3.retrieve(number);
        pop3.quit();
        assert!(got.ends_with(&message), "{name}: {}", String::from_utf8_lossy(&got));
    }
}

#[test]
fn a_pipe_of_unix_lines_with_its_recipients_inside_is_sent() {
    let demo = Demo::start();
    let server = format!("localhost:{}", demo.port("submissions"));
    let long = "0123456789\n".repeat(200_000);
    let message =
        format!("From alice Sat Nov 21\nTo: bob@demo.test\nBcc: alice@demo.test\nSubject: x\n\n.\n{long}");
    let run = send(
        &[
            "--server",
            &server,
            "--tls",
            "implicit",
            "--ca",
            demo.ca(),
            "-u",
            "alice@demo.test",
            "-t",
            "-f",
            "alice@demo.test",
        ],
        message.as_bytes(),
    );
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.starts_with("Sent to 2 recipients by localhost:"), "{run:?}");
    assert!(run.stderr.is_empty(), "{run:?}");
    let got = only_message(&demo, "bob@demo.test");
    let (header, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(body == format!(".\n{long}").replace('\n', "\r\n"), "{header}");
    for field in
        ["\r\nDate: ", "\r\nMessage-ID: <", "\r\nFrom: alice@demo.test\r\n", "\r\nTo: bob@demo.test\r\n"]
    {
        assert!(header.contains(field), "{field} in {header}");
    }
    assert!(!header.contains("Bcc") && !header.contains("From alice"), "{header}");
}

#[test]
fn a_mailbox_is_handed_over_by_lmtp_for_each_recipient() {
    let demo = Demo::start();
    let server = format!("localhost:{}", demo.port("lmtp"));
    let run = send(
        &[
            "--server",
            &server,
            "--lmtp",
            "-f",
            "x@elsewhere.example",
            "bob@demo.test",
            "nobody@demo.test",
            "-q",
        ],
        b"Hello\n",
    );
    assert_eq!(run.code, 79, "{run:?}");
    assert!(run.stdout.is_empty() && run.stderr.contains("\n  nobody@demo.test: 550 5.1.1 "), "{run:?}");
    assert!(only_message(&demo, "bob@demo.test").ends_with("\r\n\r\nHello\r\n"));
}

#[test]
fn addresses_in_utf8_pass_where_the_server_takes_them() {
    let demo = Demo::start();
    let server = format!("localhost:{}", demo.port("smtp"));
    let run = send(&["--server", &server, "-f", "zoë@bücher.example", "bob@demo.test"], b"Hello\n");
    assert_eq!(run.code, 0, "{run:?}");
    let message = only_message(&demo, "bob@demo.test");
    assert!(message.starts_with("Return-Path: <zoë@bücher.example>\r\n"), "{message}");
    assert!(message.contains("with UTF8SMTP"), "{message}");
}

#[test]
fn strangers_are_not_trusted_and_refusals_are_told_apart() {
    let demo = Demo::start();
    let other = Demo::start();
    let submission = format!("localhost:{}", demo.port("submission"));
    let smtp = format!("localhost:{}", demo.port("smtp"));
    let alice = ["-f", "alice@demo.test", "bob@demo.test"];
    let run = |arguments: &[&str]| send(&[arguments, &alice].concat(), b"x\n");
    let login = ["--server", &submission, "-u", "alice@demo.test"];

    let stranger = run(&[&login[..], &["--ca", other.ca(), "--tls", "starttls"]].concat());
    assert_eq!(stranger.code, 76, "{stranger:?}");
    assert!(stranger.stderr.contains("is not trusted") && stranger.stderr.contains("--ca"), "{stranger:?}");

    let believing = run(&[&login[..], &["--insecure", "--tls", "starttls", "--json"]].concat());
    assert_eq!(believing.code, 0, "{believing:?}");
    let report: Value = serde_json::from_str(&believing.stdout).unwrap();
    assert_eq!(report["server"]["tls"]["verified"], false);

    let no_login = run(&["--server", &submission]);
    assert_eq!(no_login.code, 77, "{no_login:?}");
    assert!(no_login.stderr.contains("--user"), "{no_login:?}");

    let dir = tempfile::tempdir().unwrap();
    let wrong = dir.path().join("password");
    fs::write(&wrong, "wrong\n").unwrap();
    let wrong = run(&[&login[..], &["--password-file", wrong.to_str().unwrap(), "-v"]].concat());
    assert_eq!(wrong.code, 77, "{wrong:?}");
    assert!(wrong.stderr.contains("C: AUTH SCRAM-SHA-256-PLUS ***"), "{wrong:?}");

    let relay = send(&["--server", &smtp, "-f", "x@elsewhere.example", "y@elsewhere.example"], b"x\n");
    assert_eq!(relay.code, 77, "{relay:?}");
    let unknown = send(&["--server", &smtp, "-f", "alice@demo.test", "nobody@demo.test"], b"x\n");
    assert_eq!(unknown.code, 67, "{unknown:?}");
}

#[test]
fn a_wrong_command_line_never_reaches_a_server() {
    for (arguments, code, said) in [
        (&["--nonsense"][..], 64, "--nonsense"),
        (&["-f", "a@b", "c@d"], 64, "--server"),
        (&["--server", "x", "-f", "a@b"], 64, "--to"),
        (&["--server", "x", "c@d"], 64, "--from"),
        (&["--server", "x", "-f", "a@b", "Carol <<c@d>>"], 64, "Carol"),
        (&["--server", "x:y", "-f", "a@b", "c@d"], 64, "x:y"),
        (&["--server", "x", "-f", "a@b", "c@d", "-a", "/nonexistent"], 66, "/nonexistent"),
        (&["--server", "x", "-f", "a@b", "c@d", "--raw"], 65, "--raw"),
        (&["--server", "x", "-f", "a@b", "c@d", "--raw", "-s", "x"], 64, "--raw"),
        (&["--config", "/nonexistent", "-f", "a@b", "c@d"], 78, "/nonexistent"),
        (&["--server", "x", "-f", "a@b", "c@d", "--notify", "perhaps"], 64, "--notify"),
    ] {
        let run = send(arguments, b"no header here\n");
        assert_eq!(run.code, code, "{arguments:?}: {run:?}");
        assert!(run.stderr.contains(said), "{arguments:?}: {run:?}");
        assert!(run.stdout.is_empty(), "{run:?}");
    }
}

#[test]
fn json_is_one_object_whatever_happens() {
    for (arguments, code, kind) in [
        (&["--json", "--server", "nowhere.invalid", "-f", "a@b", "c@d"][..], 68, "no-host"),
        (&["--json", "-f", "a@b", "c@d"], 64, "usage"),
    ] {
        let run = send(arguments, b"x\n");
        assert_eq!(run.code, code, "{run:?}");
        let report: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(
            (&report["failure"]["kind"], &report["exit_code"]),
            (&kind.into(), &code.into()),
            "{report}"
        );
        assert!(run.stderr.is_empty(), "{run:?}");
    }
}

#[test]
fn help_and_handbook_tell_every_exit_code() {
    let handbook = include_str!("../../../docs/recipes/sending.md");
    let run = send(&["--help"], b"");
    assert_eq!(run.code, 0);
    let (_, codes) = run.stdout.split_once("Exit codes:\n").unwrap();
    let codes: Vec<_> = codes.lines().filter_map(|line| line.trim().split_once("  ")).collect();
    assert_eq!(codes.len(), 15, "{}", run.stdout);
    for (code, meaning) in codes {
        let row = format!("\n| {code} | {meaning} |\n");
        assert!(handbook.contains(&row), "{row}");
    }
}

#[test]
fn a_profile_carries_server_and_login() {
    let server = Scripted::start(
        "S: 220 x\nC: EHLO me.example\nS: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AGFsaWNlAGRlbW8=\nS: 235 ok\n\
         C: MAIL FROM:<alice@example.org>\nS: 250 ok\nC: RCPT TO:<bob@example.org>\nS: 250 ok\nC: DATA\nS: 354 go\n\
         MESSAGE\nS: 250 ok\nC: QUIT\nS: 221 bye",
    );
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("send.toml");
    let text = format!(
        "[profile.home]\nserver = '{}'\nuser = 'alice'\nhelo = 'me.example'\nfrom = 'alice@example.org'\ntls = 'none'\n",
        server.place()
    );
    fs::write(&config, text).unwrap();
    let run = send(&["--config", config.to_str().unwrap(), "bob@example.org"], b"Hello\n");
    assert_eq!(run.code, 0, "{run:?}");
    server.finish();
}

#[test]
fn memory_does_not_grow_with_what_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let big = dir.path().join("big.bin");
    File::create(&big).unwrap().set_len(100 << 20).unwrap();
    let held = TAKEN.replace("MESSAGE", "MESSAGE\nHOLD");
    let sending = |server: &Scripted, arguments: &[&str]| {
        let place = server.place();
        spawn(&[&["--server", &place, "-f", "alice@example.org", "bob@example.org"], arguments].concat())
    };
    let attached = Scripted::start(&format!("{OPENING}{held}"));
    let attachment = big.to_str().unwrap().to_owned();
    let child = sending(&attached, &["--attach", &attachment, "--body", "x"]);
    let peak = peak_of(&child, &attached);
    assert_eq!(finish(child, b"").code, 0);
    attached.finish();
    assert!(peak < MEMORY_MAX_KIB, "{peak} KiB for an attachment of 100 MiB");

    let piped = Scripted::start(&format!("{OPENING}{held}"));
    let mut child = sending(&piped, &["--raw"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"Subject: x\n\n").unwrap();
    let line = [&[b'x'; 76][..], b"\n"].concat().repeat(1000);
    for _ in 0..1000 {
        stdin.write_all(&line).unwrap();
    }
    drop(stdin);
    let peak = peak_of(&child, &piped);
    assert!(child.wait().unwrap().success());
    piped.finish();
    assert!(peak < MEMORY_MAX_KIB, "{peak} KiB for a pipe of 77 MB");
}

/// The most memory the process has had, when the server has its message. Lets the server go on.
fn peak_of(child: &Child, server: &Scripted) -> u64 {
    server.reached.recv_timeout(PATIENCE * 2).unwrap();
    let status = fs::read_to_string(Path::new("/proc").join(child.id().to_string()).join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    server.go_on.send(()).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}
