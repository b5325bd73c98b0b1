//! Mail from programs of this machine, by `sendmail`: with the server and without, and by real mail programs.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Demo, Pop3, foreign};

const PROGRAM: &str = env!("CARGO_BIN_EXE_packetboat");
/// Who may do nothing.
const NOBODY: u32 = 65534;

/// A machine with a server on it.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::Builder::new().prefix("packetboat-sendmail-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        symlink(PROGRAM, dir.path().join("sendmail")).unwrap();
        symlink(PROGRAM, dir.path().join("mailq")).unwrap();
        Machine { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("demo").join("data")
    }

    fn start(&self) -> Demo {
        Demo::start_on(&self.path("demo"), &[])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("sendmail"));
        command.args(arguments).env("PACKETBOAT_DATA", self.data());
        command
    }

    fn sendmail(&self, arguments: &[&str], input: &str) -> (i32, String) {
        said_by(self.command(arguments), input)
    }

    /// As a user who has no right to anything. Only root can become that.
    fn sendmail_as_nobody(&self, arguments: &[&str], input: &str) -> Option<(i32, String)> {
        let program = self.path("for-everybody");
        if !rustix_is_root() {
            return None;
        }
        if !program.exists() {
            fs::copy(PROGRAM, &program).unwrap();
        }
        let mut command = Command::new(&program);
        command.arg("sendmail").args(arguments).env("PACKETBOAT_DATA", self.data()).uid(NOBODY).gid(NOBODY);
        Some(said_by(command, input))
    }

    /// A shell script that other programs call as sendmail.
    fn script(&self) -> PathBuf {
        let path = self.path("script");
        let program = self.path("sendmail");
        let text = format!(
            "#!/bin/sh\nPACKETBOAT_DATA={} exec {} \"$@\"\n",
            self.data().display(),
            program.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

fn rustix_is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn said_by(mut command: Command, input: &str) -> (i32, String) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What does not want its input is refused before it has read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().unwrap(), text)
}

/// Waits until there are so many messages, and gives them.
fn mail(demo: &Demo, login: &str, count: usize) -> Vec<String> {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let mut pop3 = Pop3::login(demo.at("pop3"), login);
        if pop3.count() >= count {
            let all = pop3.all();
            assert_eq!(all.len(), count);
            return all.into_iter().map(|octets| String::from_utf8(octets).unwrap()).collect();
        }
        pop3.quit();
        assert!(Instant::now() < until, "{login} has not got {count} messages: {}", demo.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn scripts_send_while_the_server_runs() {
    let machine = Machine::new();
    let demo = machine.start();
    // As PHP does.
    let php = "To: bob, Alice <alice@demo.test>\nBcc: bob@demo.test\nSubject: by PHP\n\nline\n.\nmore\n";
    assert_eq!(machine.sendmail(&["-t", "-i", "-fwww@demo.test"], php), (0, String::new()));
    // As cron does.
    let cron = "From: root (Cron Daemon)\nTo: bob\nSubject: Cron <root@demo> true\n\noutput\n";
    let arguments = ["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "bob"];
    assert_eq!(machine.sendmail(&arguments, cron), (0, String::new()));
    let bob = mail(&demo, "bob@demo.test", 2);
    assert!(
        bob[0].starts_with("Return-Path: <www@demo.test>\r\nDelivered-To: bob@demo.test\r\n"),
        "{}",
        bob[0]
    );
    assert!(bob[0].contains("\r\nReceived: by demo.test (from user "), "{}", bob[0]);
    assert!(bob[0].contains("\r\nTo: bob@demo.test, Alice <alice@demo.test>\r\n") && !bob[0].contains("Bcc"));
    assert!(bob[0].contains("\r\nFrom: www@demo.test\r\n") && bob[0].contains("\r\nMessage-ID: <"));
    assert!(bob[0].ends_with("\r\n\r\nline\r\n.\r\nmore\r\n"), "{}", bob[0]);
    assert!(bob[1].contains("\r\nFrom: root@demo.test (Cron Daemon)\r\nTo: bob@demo.test\r\n"), "{}", bob[1]);
    assert_eq!(mail(&demo, "alice@demo.test", 1).len(), 1);

    // Nothing is sent to find out where it would go.
    for (arguments, code, words) in [
        (&["-bv", "bob"][..], 0, "bob@demo.test (account bob@demo.test)\n"),
        (
            &["-bv", "bob@demo.test", "someone@elsewhere.example"],
            0,
            "someone@elsewhere.example (elsewhere)\n",
        ),
        (&["-bv", "nobody", "bob"], 67, "bob@demo.test (account bob@demo.test)\n"),
    ] {
        let (ended, said) = machine.sendmail(arguments, "");
        assert!(ended == code && said.contains(words), "{arguments:?}: {ended} {said}");
    }

    for (arguments, input, code, words) in [
        (&["nobody@demo.test"][..], "x\n", 67, "no such user here"),
        (&["nobody@demo.test", "bob"], "x\n", 67, "nobody@demo.test: no such user here"),
        (&["someone@elsewhere.example"], "x\n", 68, "no way to deliver mail"),
        (&["-t"], "Subject: to nobody\n\n", 65, "nobody is named"),
        (&[], "x\n", 64, "nobody is named"),
        (&["a@b@"], "x\n", 65, "a@b@"),
        (&["-Z", "bob"], "x\n", 64, "there is no option -Z"),
        (&["-bd"], "", 69, "packetboat serve"),
        (&["-bi"], "", 0, ""),
        (&["-q"], "", 0, ""),
    ] {
        let (got, said) = machine.sendmail(arguments, input);
        assert!(got == code && said.contains(words), "{arguments:?}: {got} {said}");
    }
    // One of two got it.
    assert_eq!(mail(&demo, "bob@demo.test", 3).len(), 3);
    let mut mailq = Command::new(machine.path("mailq"));
    mailq.env("PACKETBOAT_DATA", machine.data());
    assert_eq!(said_by(mailq, ""), (0, "Mail queue is empty\n".to_owned()));
}

#[test]
fn mail_is_taken_while_the_server_is_down() {
    let machine = Machine::new();
    assert!(machine.start().terminate().success());
    let settings = machine.path("packetboat.toml");
    fs::write(&settings, "hostname = \"demo.test\"\ndata = \"demo/data\"\n").unwrap();
    let config = settings.to_str().unwrap();
    let (code, said) = machine.sendmail(&["--config", config, "-v", "bob"], "Subject: into the store\n\nx\n");
    assert!(code == 0 && said.starts_with("taken as "), "{code} {said}");
    // Mail for others waits in the queue, where it can be seen and held.
    let (code, said) =
        machine.sendmail(&["--config", config, "bob@elsewhere.example"], "Subject: away\n\nx\n");
    assert_eq!(code, 0, "{said}");
    let queue = |arguments: &str| {
        let mut command = Command::new(PROGRAM);
        command.arg("queue").args(arguments.split(' ')).args(["--json", "--config", config]);
        let (code, text) = said_by(command, "");
        assert_eq!(code, 0, "{arguments}: {text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let listed = queue("list");
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["recipient"], "bob@elsewhere.example");
    assert_eq!(
        (&listed[0]["destination"], &listed[0]["state"]),
        (&"mx:elsewhere.example".into(), &"waiting".into())
    );
    assert_eq!(queue("hold --recipient elsewhere.example")[0]["entries"], 1);
    assert_eq!(queue("list --held").len(), 1);
    assert_eq!(queue("list --not-held").len(), 0);
    assert_eq!(queue("reroute --all --to host:127.0.0.1:1")[0]["entries"], 1);
    let id = listed[0]["message"].as_str().unwrap();
    assert_eq!(queue(&format!("show {id}"))[0]["destination"], "host:127.0.0.1:1");
    assert_eq!(queue("destinations")[0]["entries"], 1);
    assert_eq!(queue(&format!("release {}", listed[0]["id"]))[0]["done"], "released");
    assert_eq!(queue(&format!("cancel {id} --silently"))[0]["entries"], 1);
    assert_eq!(queue("list").len(), 0);
    let everybody = machine.sendmail_as_nobody(
        &["-f", "alice@demo.test", "bob", "nobody-there"],
        "Subject: into the folder\n\nfor two, of whom one is not there\n",
    );
    if let Some((code, said)) = &everybody {
        assert_eq!((*code, said.as_str()), (0, ""));
    }
    // As a crash would leave it that falls between taking it and taking it away.
    let folder = machine.data().join("drop");
    let left: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let kept = machine.path("kept");
    let put_back = |path: &Path| {
        let unfinished = folder.join("new-again");
        fs::copy(&kept, &unfinished).unwrap();
        fs::rename(&unfinished, path).unwrap();
    };
    if let [one] = left.as_slice() {
        fs::copy(one, &kept).unwrap();
    }
    let demo = machine.start();
    let Some(_) = everybody else {
        assert_eq!(mail(&demo, "bob@demo.test", 1).len(), 1);
        return;
    };
    let bob = mail(&demo, "bob@demo.test", 2);
    assert!(bob[0].contains("Subject: into the store"));
    assert!(bob[1].contains("\r\nReceived: by demo.test (from user nobody)\r\n"), "{}", bob[1]);
    // The sender hears of the other one.
    let alice = mail(&demo, "alice@demo.test", 1);
    assert!(alice[0].starts_with("Return-Path: <>\r\n"));
    let notice = read_by_python(&alice[0], machine.dir.path());
    assert_eq!(notice["type"], "multipart/report");
    assert_eq!(notice["report-type"], "delivery-status");
    assert_eq!(
        notice["parts"],
        serde_json::json!(["text/plain", "message/delivery-status", "text/rfc822-headers"])
    );
    assert_eq!(notice["defects"], 0);
    assert_eq!(notice["auto-submitted"], "auto-replied");
    assert_eq!(notice["subject"], "Not delivered: your message to nobody-there@demo.test");
    let text: Vec<&str> = notice["text"].as_str().unwrap().split_whitespace().collect();
    let text = text.join(" ");
    assert!(text.contains("could not be delivered to: nobody-there@demo.test No such user here."), "{text}");
    let fields = &notice["status"];
    assert_eq!(fields[0]["Reporting-MTA"], "dns; demo.test");
    assert_eq!(fields[1]["Final-Recipient"], "rfc822; nobody-there@demo.test");
    assert_eq!((&fields[1]["Action"], &fields[1]["Status"]), (&"failed".into(), &"5.1.1".into()));

    // What was taken is not taken again, nor is its sender told again, also after another start.
    let [one] = left.as_slice() else { panic!("{left:?}") };
    put_back(one);
    let deadline = Instant::now() + Duration::from_secs(300);
    while one.exists() {
        assert!(Instant::now() < deadline, "it lies there");
        std::thread::sleep(Duration::from_millis(20));
    }
    demo.terminate();
    put_back(one);
    let demo = machine.start();
    while one.exists() {
        assert!(Instant::now() < deadline, "it lies there");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((mail(&demo, "bob@demo.test", 2).len(), mail(&demo, "alice@demo.test", 1).len()), (2, 1));

    // While it runs it takes at once what is left.
    let message = "Subject: again\n\nx\n";
    let _ = machine.sendmail_as_nobody(&["-f", "alice@demo.test", "bob"], message);
    assert!(mail(&demo, "bob@demo.test", 3)[2].contains("Subject: again"));
    // It is delivered first, and taken away then.
    while fs::read_dir(machine.data().join("drop")).unwrap().count() > 0 {
        assert!(Instant::now() < deadline, "it lies there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What Python's own parser makes of a notice.
fn read_by_python(notice: &str, dir: &Path) -> Value {
    let script = dir.join("notice.py");
    fs::write(
        &script,
        r#"
import sys, json, email, email.policy
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
parts = list(message.iter_parts())
print(json.dumps({
    "type": message.get_content_type(),
    "report-type": message.get_param("report-type"),
    "auto-submitted": message["Auto-Submitted"],
    "subject": message["Subject"],
    "parts": [part.get_content_type() for part in parts],
    "defects": sum(len(part.defects) for part in message.walk()),
    "text": parts[0].get_content(),
    "status": [dict(group.items()) for group in parts[1].get_payload()],
}))
"#,
    )
    .unwrap();
    let said = foreign("python3").arg(&script).input(notice).run();
    serde_json::from_slice(&said.out).unwrap()
}

#[test]
fn smtp_is_spoken_on_standard_input() {
    let machine = Machine::new();
    let dialogue = "EHLO here\r\nMAIL FROM:<alice@demo.test> BODY=8BITMIME RET=HDRS ENVID=1\r\n\
        RCPT TO:<bob@demo.test> NOTIFY=SUCCESS,FAILURE\r\nRCPT TO:<nobody@demo.test>\r\nDATA\r\n\
        Subject: by -bs\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
    let demo = machine.start();
    let (code, said) = machine.sendmail(&["-bs"], dialogue);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("220 demo.test ") && said.contains("\r\n550 5.1.1 "), "{said}");
    assert!(
        said.contains("\r\n354 ") && said.contains("\r\n250 2.0.0 OK ") && said.ends_with("Bye\r\n"),
        "{said}"
    );
    assert!(mail(&demo, "bob@demo.test", 1)[0].ends_with("\r\nSubject: by -bs\r\n\r\n.dot\r\n"));
    // Told of the success, as was asked.
    assert!(
        mail(&demo, "alice@demo.test", 1)[0]
            .contains("\r\nSubject: Delivered: your message to bob@demo.test")
    );
    assert!(demo.terminate().success());
    // Without a server nobody knows yet who is there.
    let (code, said) = machine.sendmail(&["-bs"], dialogue);
    assert!(code == 0 && said.contains("\r\n250 2.0.0 OK left for the server\r\n"), "{code} {said}");
    let demo = machine.start();
    assert_eq!(mail(&demo, "bob@demo.test", 2).len(), 2);
    assert_eq!(mail(&demo, "alice@demo.test", 3).len(), 3);
}

#[test]
fn mail_programs_take_it_for_sendmail() {
    let machine = Machine::new();
    let demo = machine.start();
    let script = machine.script();
    let sendmail = script.display();
    foreign("mutt")
        .args("-n -F /dev/null -e")
        .arg(format!(
            "set sendmail=\"{sendmail} -oem -oi\" from=alice@demo.test use_envelope_from dsn_notify=failure"
        ))
        .args("-e")
        .arg("set copy=no record=")
        .args("-e")
        .arg("set send_charset=utf-8 charset=utf-8")
        .args("-s by-mutt -- bob@demo.test")
        .env("HOME", machine.dir.path())
        .input("Grüße\n")
        .run();
    foreign("s-nail")
        .args("-:/ -S v15-compat=yes -S")
        .arg(format!("mta={sendmail}"))
        .args("-S from=alice@demo.test -s by-mail bob@demo.test")
        .env("HOME", machine.dir.path())
        .input("text\n.\n")
        .run();
    let python = format!(
        "import subprocess, email.message\n\
         m = email.message.EmailMessage(); m['To'] = 'bob'; m['Subject'] = 'by-python'; m.set_content('x\\n')\n\
         subprocess.run(['{sendmail}', '-t', '-oi'], input=m.as_bytes(), check=True)"
    );
    foreign("python3").args("-c").arg(python).run();
    let bob = mail(&demo, "bob@demo.test", 3);
    for (message, subject) in bob.iter().zip(["by-mutt", "by-mail", "by-python"]) {
        assert!(message.contains(&format!("\r\nSubject: {subject}\r\n")), "{message}");
    }
    assert!(
        bob[0].starts_with("Return-Path: <alice@demo.test>\r\n") && bob[0].contains("Grüße"),
        "{}",
        bob[0]
    );
    assert!(bob[1].contains("\r\n\r\ntext\r\n"), "{}", bob[1]);
}
