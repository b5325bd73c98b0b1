//! Programs that keep a Maildir and a mailbox the same synchronise with the real server, both ways, until both sides are
//! equal and a further run changes nothing.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use support::{Demo, Imap, Value, foreign, letter};

const BOB: &str = "bob@demo.test";

/// Messages with their Maildir flags, in order; line ends are bare LF.
type Mailbox = Vec<(Vec<u8>, String)>;
/// Mailboxes by their path, in modified UTF-7.
type Side = BTreeMap<String, Mailbox>;

/// As it lies in a file; a synchroniser's own mark is no part of the message.
fn unix(message: &[u8]) -> Vec<u8> {
    let text: Vec<u8> = message.iter().copied().filter(|&octet| octet != b'\r').collect();
    let lines = text.split_inclusive(|&octet| octet == b'\n');
    let ours = |line: &&[u8]| !line.starts_with(b"X-TUID: ") && !line.starts_with(b"X-OfflineIMAP: ");
    lines.filter(ours).flatten().copied().collect()
}

/// What the server has in one mailbox.
fn far_mailbox(imap: &mut Imap, name: &str) -> Mailbox {
    let mut messages = Mailbox::new();
    if imap.select(&format!("\"{name}\"")) > 0 {
        for (_, items) in imap.ok("FETCH 1:* (FLAGS BODY.PEEK[])").fetched() {
            let flag = |flag: &&Value| matches!(flag, Value::Atom(name) if letter_of(name).is_some());
            let mut flags: Vec<char> = Vec::new();
            for atom in items[0].1.list().iter().filter(flag) {
                if let Value::Atom(name) = atom {
                    flags.extend(letter_of(name));
                }
            }
            flags.sort_unstable();
            messages.push((unix(items[1].1.octets()), flags.into_iter().collect()));
        }
    }
    messages.sort();
    messages
}

fn letter_of(flag: &str) -> Option<char> {
    Some(match flag {
        "\\Answered" => 'R',
        "\\Deleted" => 'T',
        "\\Draft" => 'D',
        "\\Flagged" => 'F',
        "\\Seen" => 'S',
        _ => return None,
    })
}

/// All that the server has for bob.
fn far(demo: &Demo) -> Side {
    let mut imap = Imap::login(demo.at("imap"), BOB);
    let listing = imap.ok("LIST \"\" *");
    let names = listing.lines().into_iter().map(|line| {
        assert!(line.starts_with("* LIST ("), "{line}");
        line.split_once(") \"/\" ").unwrap().1.trim_matches('"').to_owned()
    });
    names.collect::<Vec<_>>().into_iter().map(|name| (name.clone(), far_mailbox(&mut imap, &name))).collect()
}

/// A Maildir's files, whether they were looked at or not.
fn files(maildir: &Path) -> Vec<PathBuf> {
    let list = |sub: &str| fs::read_dir(maildir.join(sub)).unwrap().map(|entry| entry.unwrap().path());
    list("cur").chain(list("new")).collect()
}

fn near_mailbox(maildir: &Path) -> Mailbox {
    let message = |file: PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        let flags = name.split_once(":2,").map_or("", |(_, flags)| flags);
        (unix(&fs::read(&file).unwrap()), flags.to_owned())
    };
    let mut messages: Mailbox = files(maildir).into_iter().map(message).collect();
    messages.sort();
    messages
}

/// Every Maildir under a directory by its path.
fn near(top: &Path) -> Side {
    fn look(dir: &Path, name: &str, side: &mut Side) {
        if dir.join("cur").is_dir() {
            side.insert(name.to_owned(), near_mailbox(dir));
        }
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let last = entry.file_name().into_string().unwrap();
            let inner = if name.is_empty() { last.clone() } else { format!("{name}/{last}") };
            if entry.path().is_dir() && !["cur", "new", "tmp"].contains(&last.as_str()) {
                look(&entry.path(), &inner, side);
            }
        }
    }
    let mut side = Side::new();
    look(top, "", &mut side);
    side
}

/// Both sides are equal; a difference is shown by what it is about.
fn assert_equal(far: &Side, near: &Side) {
    assert_eq!(far.keys().collect::<Vec<_>>(), near.keys().collect::<Vec<_>>());
    for (name, messages) in far {
        let other = &near[name];
        assert_eq!(messages.len(), other.len(), "messages in {name}");
        for (one, other) in messages.iter().zip(other) {
            assert_eq!(String::from_utf8_lossy(&one.0), String::from_utf8_lossy(&other.0), "{name}");
            assert_eq!(one, other, "{name}");
        }
    }
}

/// What would show that something was done: files and their times here, and the server's counter there.
fn traces(demo: &Demo, top: &Path) -> (Vec<(PathBuf, SystemTime)>, Vec<String>) {
    let mut here: Vec<_> = near(top)
        .keys()
        .flat_map(|name| files(&top.join(name)))
        .map(|file| (file.clone(), fs::metadata(&file).unwrap().modified().unwrap()))
        .collect();
    here.sort();
    let mut imap = Imap::login(demo.at("imap"), BOB);
    (here, imap.ok("LIST \"\" * RETURN (STATUS (MESSAGES UIDNEXT HIGHESTMODSEQ))").lines())
}

/// Puts a message into a Maildir as a mail program would, with these flags.
fn put(maildir: &Path, name: &str, flags: &str, message: &[u8]) {
    let place = if flags.is_empty() {
        maildir.join("new").join(name)
    } else {
        maildir.join("cur").join(format!("{name}:2,{flags}"))
    };
    fs::write(place, unix(message)).unwrap();
}

/// Changes the flags of the message with this subject.
fn flag(maildir: &Path, subject: &str, flags: &str) {
    let has = |file: &PathBuf| {
        String::from_utf8_lossy(&fs::read(file).unwrap()).contains(&format!("Subject: {subject}\n"))
    };
    let file = files(maildir).into_iter().find(has).unwrap_or_else(|| panic!("no {subject}"));
    let name = file.file_name().unwrap().to_str().unwrap();
    let name = name.split_once(":2,").map_or(name, |(name, _)| name);
    fs::rename(&file, maildir.join("cur").join(format!("{name}:2,{flags}"))).unwrap();
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A directory of this name beside the demo's.
fn beside(demo: &Demo, name: &str) -> PathBuf {
    let dir = demo.dir().with_file_name(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// mbsync's settings for one way to the server; its Maildirs are below `mail`.
fn mbsync(home: &Path, way: &str) -> impl Fn() + use<> {
    let rc = home.join("mbsyncrc");
    let top = home.join("mail");
    fs::create_dir_all(&top).unwrap();
    let text = format!(
        "IMAPAccount boat\nHost localhost\nUser {BOB}\nPass demo\n{way}\nTimeout 60\n\n\
         IMAPStore far\nAccount boat\n\n\
         MaildirStore near\nPath {top}/\nInbox {top}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nRemove Both\nExpunge Both\nSyncState *\n",
        top = top.display()
    );
    private(&rc, &text);
    let home = home.to_owned();
    move || {
        let said = foreign("mbsync").arg("-c").arg(&rc).args("-a").env("HOME", &home).run();
        assert!(!said.text().contains("rror"), "{}", said.text());
    }
}

#[test]
fn mbsync_keeps_both_sides_equal() {
    let demo = Demo::start();
    let trust = format!("SystemCertificates no\nCertificateFile {}", demo.ca());
    let ways = [
        format!("Port {}\nSSLType None\nAuthMechs LOGIN", demo.port("imap")),
        format!("Port {}\nSSLType STARTTLS\nAuthMechs PLAIN\n{trust}", demo.port("imap")),
        format!("Port {}\nSSLType IMAPS\n{trust}", demo.port("imaps")),
    ];
    for (round, way) in (0..).zip(&ways) {
        let home = beside(&demo, &format!("mbsync-{round}"));
        let top = home.join("mail");
        let sync = mbsync(&home, way);
        let name = |n: &str| format!("{n}-{round}");
        let mut imap = Imap::login(demo.at("imap"), BOB);
        if round == 0 {
            // Übersee, 日本語 and Entwürfe & mehr
            for mailbox in ["&ANw-bersee/&ZeVnLIqe-", "Entw&APw-rfe &- mehr"] {
                imap.ok(&format!("CREATE \"{mailbox}\""));
            }
        }
        for n in 0..9 {
            imap.append("INBOX", &letter(&name(&format!("far-{n}"))).bytes);
        }
        imap.append("&ANw-bersee/&ZeVnLIqe-", &letter(&name("far-away")).bytes);
        sync();
        assert_equal(&far(&demo), &near(&top));

        // Changes on both sides: mail, flags, and what goes.
        let inbox = top.join("INBOX");
        put(&inbox, &format!("{round}1.new"), "", &letter(&name("near-new")).bytes);
        put(&inbox, &format!("{round}2.cur"), "FRS", &letter(&name("near-cur")).bytes);
        flag(&inbox, &name("far-1"), "S");
        flag(&inbox, &name("far-2"), "DFRS");
        flag(&inbox, &name("far-3"), "ST");
        let exists = imap.select("INBOX");
        let newest = |back: u32| exists - 8 + back;
        imap.ok(&format!("STORE {} +FLAGS (\\Answered $Label1)", newest(4)));
        imap.ok(&format!("STORE {},{} +FLAGS (\\Deleted)", newest(5), newest(6)));
        imap.append("Drafts", &letter(&name("far-draft")).bytes);
        if round == 1 {
            imap.ok("EXPUNGE");
            imap.ok("CREATE Far/Away");
            for dir in ["Near", "Near/&ZeVnLIqe-"]
                .iter()
                .flat_map(|d| ["cur", "new", "tmp"].map(|s| top.join(d).join(s)))
            {
                fs::create_dir_all(dir).unwrap();
            }
            put(&top.join("Near/&ZeVnLIqe-"), "9.new", "", &letter("in-a-new-mailbox").bytes);
        }
        sync();
        let (there, here) = (far(&demo), near(&top));
        assert_equal(&there, &here);
        let subjects = |n: &str| {
            there["INBOX"]
                .iter()
                .filter(|m| String::from_utf8_lossy(&m.0).contains(&format!("Subject: {}\n", name(n))))
                .count()
        };
        for (gone, n) in [
            (false, "near-new"),
            (false, "near-cur"),
            (false, "far-1"),
            (true, "far-3"),
            (true, "far-5"),
            (true, "far-6"),
        ] {
            assert_eq!(subjects(n), usize::from(!gone), "{n}");
        }
        if round == 1 {
            assert_eq!(there["Near/&ZeVnLIqe-"].len(), 1);
            assert!(here.contains_key("Far/Away"));
        }
        // A second time there is nothing to do, and nothing is done.
        let before = traces(&demo, &top);
        sync();
        assert_eq!(traces(&demo, &top), before);
    }
}

/// As many messages as somebody has who never tidies up, half of them on each side, and changes all over.
#[test]
fn mbsync_with_thousands_of_messages() {
    let count = if std::env::var_os("PACKETBOAT_LONG").is_some() { 20_000 } else { 2000 };
    let demo = Demo::start();
    let home = beside(&demo, "mbsync");
    let top = home.join("mail");
    let inbox = top.join("INBOX");
    let trust = format!("SystemCertificates no\nCertificateFile {}", demo.ca());
    let sync = mbsync(&home, &format!("Port {}\nSSLType IMAPS\n{trust}", demo.port("imaps")));
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(inbox.join(sub)).unwrap();
    }
    let mut imap = Imap::login(demo.at("imap"), BOB);
    for n in 0..count / 2 {
        let flags = ["", "S", "F", "FS", "RS"][n % 5];
        put(&inbox, &format!("{n}.near"), flags, &letter(&format!("near-{n}")).bytes);
    }
    // Many at a time: what is measured is synchronising.
    let numbers: Vec<usize> = (0..count / 2).collect();
    for some in numbers.chunks(500) {
        let mut append = b"APPEND INBOX".to_vec();
        for n in some {
            let octets = letter(&format!("far-{n}")).bytes;
            append.extend_from_slice(format!(" {{{}+}}\r\n", octets.len()).as_bytes());
            append.extend_from_slice(&octets);
        }
        let tag = imap.begin(&append);
        let answer = imap.end(&tag);
        assert!(answer.tagged.starts_with("OK"), "{}", answer.text());
    }
    sync();
    let (there, here) = (far(&demo), near(&top));
    assert_eq!(there["INBOX"].len(), count);
    assert_equal(&there, &here);

    let exists = imap.select("INBOX");
    assert_eq!(exists as usize, count);
    imap.ok(&format!("STORE 1:{} +FLAGS.SILENT (\\Flagged)", exists / 3));
    imap.ok("STORE 7:50,60:70 +FLAGS.SILENT (\\Deleted)");
    for (n, file) in files(&inbox).into_iter().enumerate() {
        let name = file.file_name().unwrap().to_str().unwrap();
        let (name, flags) = name.split_once(":2,").unwrap_or((name, ""));
        if n % 7 == 0 && !flags.contains('R') {
            let flags: String = if flags.contains('F') { "FR" } else { "R" }.into();
            fs::rename(&file, inbox.join("cur").join(format!("{name}:2,{flags}"))).unwrap();
        } else if n % 31 == 0 {
            fs::remove_file(&file).unwrap();
        }
    }
    sync();
    let (there, here) = (far(&demo), near(&top));
    assert!(there["INBOX"].len() < count - 55, "{}", there["INBOX"].len());
    assert_equal(&there, &here);
    let before = traces(&demo, &top);
    sync();
    assert_eq!(traces(&demo, &top), before);
}

#[test]
fn offlineimap_keeps_both_sides_equal() {
    let demo = Demo::start();
    let ways = [
        format!("remoteport = {}\nssl = no\nstarttls = no\nauth_mechanisms = LOGIN", demo.port("imap")),
        format!(
            "remoteport = {}\nssl = no\nstarttls = yes\nsslcacertfile = {}",
            demo.port("imap"),
            demo.ca()
        ),
        format!("remoteport = {}\nssl = yes\nsslcacertfile = {}", demo.port("imaps"), demo.ca()),
    ];
    let mut imap = Imap::login(demo.at("imap"), BOB);
    imap.ok("CREATE \"&ANw-bersee/&ZeVnLIqe-\"");
    for (round, way) in (0..).zip(&ways) {
        let home = beside(&demo, &format!("offlineimap-{round}"));
        let top = home.join("mail");
        let rc = home.join("offlineimaprc");
        let text = format!(
            "[general]\naccounts = boat\nmetadata = {home}/state\n\
             [Account boat]\nlocalrepository = near\nremoterepository = far\n\
             [Repository near]\ntype = Maildir\nlocalfolders = {top}\nsep = /\n\
             [Repository far]\ntype = IMAP\nremotehost = localhost\nremoteuser = {BOB}\nremotepass = demo\n{way}\n",
            home = home.display(),
            top = top.display(),
        );
        private(&rc, &text);
        let sync = || {
            let said =
                foreign("offlineimap").arg("-c").arg(&rc).args("-o -u basic").env("HOME", &home).attempt();
            assert!(said.code == Some(0) && !said.text().contains("ERROR"), "{}", said.text());
        };
        let name = |n: &str| format!("{n}-{round}");
        for n in 0..6 {
            imap.append("INBOX", &letter(&name(&format!("far-{n}"))).bytes);
        }
        imap.append("\"&ANw-bersee/&ZeVnLIqe-\"", &letter(&name("far-away")).bytes);
        sync();
        assert_equal(&far(&demo), &near(&top));
        let inbox = top.join("INBOX");
        put(&inbox, &format!("{round}1.new"), "", &letter(&name("near-new")).bytes);
        flag(&inbox, &name("far-1"), "FS");
        flag(&inbox, &name("far-2"), "RST");
        let exists = imap.select("INBOX");
        imap.ok(&format!("STORE {} +FLAGS (\\Answered)", exists - 1));
        imap.ok(&format!("STORE {exists} +FLAGS (\\Deleted)"));
        imap.ok("EXPUNGE");
        sync();
        let there = far(&demo);
        assert_equal(&there, &near(&top));
        let before = traces(&demo, &top);
        sync();
        assert_eq!(traces(&demo, &top), before);
    }
}
