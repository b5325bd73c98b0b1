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

/// What a program with a memory asks when it comes back, and what it is told: only what has changed (RFC 7162 section
/// 3.2.6). `debug` makes it write down what is said, into a file of its choice.
fn comes_back_with_qresync(program: &str, debug: &str, written: &str) {
    let demo = with_letters();
    let home = beside(&demo, program);
    let rc = home.join("rc");
    let url = format!("imap://127.0.0.1:{}/", demo.port("imap"));
    let text = format!(
        "set imap_user=\"{BOB}\" imap_pass=\"demo\" ssl_starttls=no ssl_force_tls=no tmpdir=\"{home}\" folder=\"{url}\"\n\
         set imap_authenticators=\"login\" imap_qresync=yes imap_condstore=yes header_cache=\"{home}/cache\"\n\
         set quit=yes wait_key=no move=no mark_old=no sort=mailbox-order timeout=1 imap_keepalive=1\n",
        home = home.display(),
    );
    fs::create_dir_all(home.join("cache")).unwrap();
    fs::write(&rc, text).unwrap();
    fs::set_permissions(&rc, fs::Permissions::from_mode(0o600)).unwrap();
    let start = || terminal(&home, &format!("{program} -n -F {} {debug} -f {url}INBOX", rc.display()));
    let said = || fs::read_to_string(home.join(written)).unwrap();

    let mut screen = start();
    screen.see("Msgs:6");
    screen.press("q");
    screen.end();
    assert!(said().contains("ENABLE QRESYNC") && !said().contains("VANISHED"), "{}", said());

    // What happens while nobody looks: two go, one is marked, one comes.
    let mut imap = Imap::login(demo.at("imap"), BOB);
    imap.select("INBOX");
    imap.ok("STORE 2,4 +FLAGS.SILENT (\\Deleted)");
    imap.ok("EXPUNGE");
    imap.ok("STORE 1 +FLAGS.SILENT (\\Flagged)");
    imap.append("INBOX", &letter("gunwale").bytes);

    let mut screen = start();
    screen.see("Msgs:5");
    // And while it does: the next look tells it.
    imap.ok("UID STORE 3 +FLAGS.SILENT (\\Deleted)");
    imap.ok("EXPUNGE");
    screen.press("j");
    screen.see("externally modified");
    screen.press("1\n ");
    screen.see("this is about ahoy");
    screen.press("qq");
    screen.end();
    let said = said();
    let asked = said.find("(CHANGEDSINCE ").unwrap_or_else(|| panic!("it did not ask\n{said}"));
    let (told, after) = said[asked..].split_at(said[asked..].find("OK Fetched").unwrap());
    assert!(told.contains("* VANISHED (EARLIER) 2,4"), "{told}");
    assert_eq!(told.matches(" FETCH (").count(), 1, "more than what changed\n{told}");
    assert!(after.contains("* VANISHED 3"), "{after}");
    assert!(!after.contains(" EXPUNGE"), "{after}");
    // Of the rest only what is new; NeoMutt of 2022 does not move its numbers up, and reads the flags once more.
    let new = after.contains("FETCH 5 (UID FLAGS ") && !after.contains("FETCH 1:6 (UID FLAGS");
    assert!(new || program == "neomutt", "{after}");
}

#[test]
fn mutt_comes_back_with_qresync() {
    comes_back_with_qresync("mutt", "-d 3", ".muttdebug0");
}

#[test]
fn neomutt_comes_back_with_qresync() {
    comes_back_with_qresync("neomutt", "-d 5", ".neomuttdebug0");
}
