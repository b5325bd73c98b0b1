//! Programs in which people read their mail open the real server's mailboxes, and file, mark and delete there: mutt, neomutt
//! and alpine.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use support::{Demo, Imap, Terminal, foreign, letter};

const BOB: &str = "bob@demo.test";
const SUBJECTS: [&str; 6] = ["ahoy", "ballast", "capstan", "davit", "ensign", "fathom"];

/// A server on which bob has a few letters.
fn with_letters() -> Demo {
    let demo = Demo::start();
    let mut imap = Imap::login(demo.at("imap"), BOB);
    for subject in SUBJECTS {
        imap.append("INBOX", &letter(subject).bytes);
    }
    demo
}

/// A mailbox's subjects, each with its flags.
fn mailbox(demo: &Demo, name: &str) -> Vec<(String, String)> {
    let mut imap = Imap::login(demo.at("imap"), BOB);
    if imap.select(&format!("\"{name}\"")) == 0 {
        return Vec::new();
    }
    let fetched = imap.ok("FETCH 1:* (FLAGS ENVELOPE)").fetched();
    let one = |items: &[(String, support::Value)]| {
        let subject = String::from_utf8_lossy(items[1].1.list()[1].octets()).into_owned();
        (subject, format!("{:?}", items[0].1))
    };
    fetched.iter().map(|(_, items)| one(items)).collect()
}

fn subjects(demo: &Demo, name: &str) -> Vec<String> {
    mailbox(demo, name).into_iter().map(|(subject, _)| subject).collect()
}

/// A directory of this name beside the demo's.
fn beside(demo: &Demo, name: &str) -> PathBuf {
    let dir = demo.dir().with_file_name(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Starts a program that wants a terminal, and somebody who reads before typing.
fn terminal(home: &Path, command: &str) -> Terminal {
    foreign("script")
        .args("--quiet --return --command")
        .arg(command)
        .arg("/dev/null")
        .env("TERM", "vt100")
        .env("HOME", home)
        .converse()
}

/// Opens, files, flags, deletes, purges, writes a mailbox of its own, and finds all of it on the server.
fn like_mutt(program: &str) {
    let demo = with_letters();
    let (clear, tls) = (demo.port("imap"), demo.port("imaps"));
    let ways = [
        (format!("imap://127.0.0.1:{clear}/"), "no", "no", "login"),
        (format!("imap://localhost:{clear}/"), "yes", "yes", "plain"),
        (format!("imaps://localhost:{tls}/"), "no", "yes", "login"),
    ];
    for (round, (url, starttls, tls, method)) in (0..).zip(&ways) {
        let home = beside(&demo, &format!("{program}-{round}"));
        let rc = home.join("rc");
        let text = format!(
            "set imap_user=\"{BOB}\" imap_pass=\"demo\" ssl_starttls={starttls} ssl_force_tls={tls}\n\
             set certificate_file=\"{ca}\" ssl_verify_host=yes ssl_ca_certificates_file=\"{ca}\"\n\
             set tmpdir=\"{home}\" folder=\"{url}\" imap_authenticators=\"{method}\" header_cache=\"\"\n\
             set confirmcreate=no confirmappend=no quit=yes delete=yes wait_key=no move=no mark_old=no\n",
            ca = demo.ca(),
            home = home.display(),
        );
        fs::write(&rc, text).unwrap();
        fs::set_permissions(&rc, fs::Permissions::from_mode(0o600)).unwrap();
        let before = subjects(&demo, "INBOX");
        let mut screen = terminal(&home, &format!("{program} -n -F {} -f {url}INBOX", rc.display()));
        screen.see(&format!("Msgs:{}", before.len()));
        // The first goes into the archive, the second into a mailbox that is made for it, the third is copied.
        screen.press("1\ns=Archive\n");
        screen.see("to Archive...");
        screen.press(&format!("2\ns=Hold/{program}-{round}\n"));
        screen.see(&format!("to Hold/{program}-{round}..."));
        if round == 0 {
            screen.press("3\nC=Drafts\n");
            screen.see("to Drafts...");
            screen.press("4\nF5\nN");
        }
        screen.press("$");
        screen.see("deleted.");
        screen.press("q");
        screen.end();
        assert_eq!(subjects(&demo, "INBOX"), before[2..]);
        assert_eq!(subjects(&demo, &format!("Hold/{program}-{round}")), before[1..2]);
        assert_eq!(subjects(&demo, "Archive").last(), Some(&before[0]));
        if round == 0 {
            assert_eq!(subjects(&demo, "Drafts"), before[2..3]);
            let inbox = mailbox(&demo, "INBOX");
            assert!(inbox[1].1.contains("Flagged"), "{inbox:?}");
        }
    }
    assert!(subjects(&demo, "INBOX").is_empty());
}

#[test]
fn mutt_files_marks_and_purges() {
    like_mutt("mutt");
}

#[test]
fn neomutt_files_marks_and_purges() {
    like_mutt("neomutt");
}

#[test]
fn alpine_reads_marks_and_expunges() {
    let demo = with_letters();
    let (clear, tls) = (demo.port("imap"), demo.port("imaps"));
    // It believes the system's authorities only; whom it speaks to is not what is tried here.
    let ways = [
        format!("127.0.0.1:{clear}/notls/user={BOB}"),
        format!("127.0.0.1:{clear}/tls/novalidate-cert/user={BOB}"),
        format!("127.0.0.1:{tls}/ssl/novalidate-cert/user={BOB}"),
    ];
    for (round, server) in (0..).zip(&ways) {
        let home = beside(&demo, &format!("alpine-{round}"));
        let rc = home.join("pinerc");
        let text = format!(
            "inbox-path={{{server}}}INBOX\nfolder-collections=Mail {{{server}}}[]\npersonal-name=Bob\n\
             user-domain=demo.test\nlast-version-used=6.9\n\
             feature-list=quit-without-confirm,expunge-without-confirm\n"
        );
        fs::write(&rc, text).unwrap();
        let before = subjects(&demo, "INBOX");
        let mut screen = terminal(&home, &format!("alpine -p {} -i", rc.display()));
        screen.see("PASSWORD: ");
        screen.press("demo\r");
        screen.see("Preserve password");
        screen.press("N");
        screen.see(&before[0]);
        // The first is deleted, the second read.
        screen.press("J1\r");
        screen.press("D");
        screen.press("J2\r\r");
        screen.see(&format!("this is about {}", before[1]));
        screen.press("Q");
        screen.end();
        assert_eq!(subjects(&demo, "INBOX"), before[1..]);
        assert!(mailbox(&demo, "INBOX")[0].1.contains("Seen"));
    }
}
