//! Moving in and out with the real program: Maildir, mbox and a live IMAP server, with a server running and without, and
//! broken off in the middle.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use support::Demo;

const PROGRAM: &str = env!("CARGO_BIN_EXE_packetboat");

fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).arg("--data").arg(data).env("PACKETBOAT_PASSWORD", "secret").stdin(Stdio::null());
    command
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    command(data, arguments).output().unwrap()
}

/// What a command says with --json, first line, and its exit code.
fn json(data: &Path, arguments: &[&str]) -> (Value, i32) {
    let output = command(data, arguments).arg("--json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().next().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (serde_json::from_str(line).unwrap(), output.status.code().unwrap())
}

fn must(data: &Path, arguments: &[&str]) -> Value {
    let (value, code) = json(data, arguments);
    assert_eq!(code, 0, "{arguments:?}: {value}");
    value
}

/// A store with two accounts and no server.
fn store() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for arguments in [
        &["domain", "add", "d.test"][..],
        &["account", "add", "a@d.test", "--no-password"],
        &["account", "add", "b@d.test", "--no-password"],
    ] {
        assert!(run(&data, arguments).status.success());
    }
    (dir, data)
}

/// A file with its time.
fn put(path: &Path, text: &[u8], seconds: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

fn letter(number: usize) -> String {
    format!(
        "From: c@example.org\nSubject: letter {number}\n\nText of {number}.\n\nFrom here on\n>From there\n"
    )
}

/// A Maildir with so many messages, their UIDs with gaps between.
fn maildir(root: &Path, count: usize) {
    let mut list = format!("3 V77 N{} G00\n", count * 3 + 9);
    for number in 0..count {
        let name = format!("{}.M{number}.host", 1_000_000_000 + number);
        let flags = ["", "S", "FRS", "Sa", "DTb"][number % 5];
        let path = root.join(format!("cur/{name}:2,{flags}"));
        put(&path, letter(number).as_bytes(), 1_100_000_000 + number as u64);
        list += &format!("{} :{name}\n", number * 3 + 2);
    }
    fs::create_dir_all(root.join("cur")).unwrap();
    fs::write(root.join("dovecot-uidlist"), list).unwrap();
    fs::write(root.join("dovecot-keywords"), "0 $Work\n1 $Label1\n").unwrap();
}

/// Everything in a directory: names, times and texts.
fn tree(root: &Path) -> BTreeMap<String, (u128, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            // The times of the files beside the messages say nothing.
            let message = name.contains("cur/");
            let at = fs::metadata(&path).unwrap().modified().unwrap();
            let at = if message { at.duration_since(UNIX_EPOCH).unwrap().as_micros() } else { 0 };
            all.insert(name, (at, fs::read(path).unwrap()));
        }
    }
    all
}

/// What an account has, as a Maildir.
fn exported(data: &Path, account: &str) -> BTreeMap<String, (u128, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    must(data, &["export", account, &format!("maildir:{}", dir.path().display())]);
    tree(dir.path())
}

#[test]
fn a_maildir_moves_in_and_nothing_comes_twice() {
    let (dir, data) = store();
    let root = dir.path().join("Maildir");
    maildir(&root, 25);
    put(&root.join(".Sent.2024/cur/5.a.b:2,S"), b"Subject: sent\r\n\r\nCRLF\r\n", 5);
    put(&root.join(".Entw&APw-rfe/new/6.a.b"), b"Subject: draft\n\n\xe4\n", 6);
    symlink("/nonexistent", root.join("cur/1.broken.link:2,")).unwrap();
    let source = format!("maildir:{}", root.display());

    let told = must(&data, &["import", "a@d.test", &source, "--dry-run", "--folder", "Sent/2024"]);
    assert_eq!((&told["messages"], &told["mailboxes"][0]["messages"]), (&0.into(), &1.into()));
    let (told, code) = json(&data, &["import", "a@d.test", &source]);
    assert_eq!(
        (code, told["messages"].as_u64(), told["uids_kept"].as_u64()),
        (65, Some(27), Some(25)),
        "{told}"
    );
    let failure = &told["failures"][0];
    assert!(failure["message"].as_str().unwrap().contains("1.broken.link"), "{failure}");
    fs::remove_file(root.join("cur/1.broken.link:2,")).unwrap();
    let again = must(&data, &["import", "a@d.test", &source]);
    assert_eq!((again["messages"].as_u64(), again["there_already"].as_u64()), (Some(0), Some(27)));
    // What is new comes, at its UID.
    put(&root.join("cur/9.late:2,"), letter(99).as_bytes(), 9);
    fs::write(
        root.join("dovecot-uidlist"),
        fs::read_to_string(root.join("dovecot-uidlist")).unwrap() + "500 :9.late\n",
    )
    .unwrap();
    let again = must(&data, &["import", "a@d.test", &source]);
    assert_eq!((again["messages"].as_u64(), again["uids_kept"].as_u64()), (Some(1), Some(1)));

    let out = exported(&data, "a@d.test");
    let list = String::from_utf8(out["dovecot-uidlist"].1.clone()).unwrap();
    assert!(list.starts_with("3 V77 N501 G"), "{list}");
    let uids: Vec<u32> =
        list.lines().skip(1).map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(uids, (0..25).map(|n| n * 3 + 2).chain([500]).collect::<Vec<u32>>());
    // Flags, keywords, dates and texts.
    let (at, text) = &out["cur/1100000004.U14.packetboat:2,DTb"];
    assert_eq!((*at, text.as_slice()), (1_100_000_004_000_000, letter(4).as_bytes()));
    assert_eq!(out["dovecot-keywords"].1, b"0 $Work\n1 $Label1\n");
    assert_eq!(out[".Sent.2024/cur/5.U1.packetboat:2,S"].1, b"Subject: sent\n\nCRLF\n");
    assert_eq!(out[".Entw&APw-rfe/cur/6.U1.packetboat:2,"].1, b"Subject: draft\n\n\xe4\n");
    let checked = run(&data, &["check", "--no-dns", "--deep"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn what_goes_out_comes_in_as_it_was() {
    let (dir, data) = store();
    let root = dir.path().join("Maildir");
    maildir(&root, 12);
    // Neither LF nor CRLF throughout, and larger than what is put together in memory.
    put(&root.join(".Odd/cur/5.a.b:2,S"), b"Subject: odd\r\n\r\nbare\nbare\r\r\n", 5);
    put(
        &root.join(".Odd/cur/6.a.b:2,S"),
        &[b"Subject: big\n\n".to_vec(), b"0123456\n".repeat(300_000)].concat(),
        6,
    );
    must(&data, &["import", "a@d.test", &format!("maildir:{}", root.display())]);
    let first = exported(&data, "a@d.test");

    for (kind, account) in [("maildir", "b@d.test"), ("mbox", "c@d.test")] {
        assert!(run(&data, &["account", "add", "c@d.test", "--no-password"]).status.code().is_some());
        let way = format!("{kind}:{}", dir.path().join(kind).display());
        must(&data, &["export", "a@d.test", &way]);
        let told = must(&data, &["import", account, &way]);
        assert_eq!((told["messages"].as_u64(), told["uids_kept"].as_u64()), (Some(14), Some(14)), "{told}");
        let second = exported(&data, account);
        let messages = |tree: &BTreeMap<String, (u128, Vec<u8>)>| {
            tree.iter()
                .filter(|(name, _)| name.contains("cur/"))
                .map(|(n, m)| (n.clone(), m.clone()))
                .collect::<Vec<_>>()
        };
        for (one, other) in messages(&first).iter().zip(&messages(&second)) {
            assert_eq!((&one.0, one.1.0), (&other.0, other.1.0), "{kind}");
            assert!(one.1.1 == other.1.1, "{kind}: {} differs", one.0);
        }
        assert_eq!(first.len(), second.len());
        assert_eq!(first["dovecot-uidlist"], second["dovecot-uidlist"]);
        // Not over what is there.
        assert_eq!(json(&data, &["export", "a@d.test", &way]).1, 74);
    }
    let (_, code) = json(&data, &["export", "a@d.test", "mbox:x", "--mailbox", "None"]);
    assert_eq!(code, 65);
}

#[test]
fn an_import_killed_at_any_moment_goes_on() {
    let (dir, data) = store();
    let root = dir.path().join("Maildir");
    maildir(&root, 6_000);
    let source = format!("maildir:{}", root.display());
    let mut cut = 0;
    for pause in [0, 30, 100, 200, 300, 400, 500, 700] {
        let mut child =
            command(&data, &["import", "a@d.test", &source]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        cut += usize::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(cut > 0, "all of them were done before");
    let told = must(&data, &["import", "a@d.test", &source]);
    let there = told["messages"].as_u64().unwrap() + told["there_already"].as_u64().unwrap();
    assert_eq!(there, 6_000, "{told}");
    let out = exported(&data, "a@d.test");
    let list = String::from_utf8(out["dovecot-uidlist"].1.clone()).unwrap();
    let uids: Vec<usize> =
        list.lines().skip(1).map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(uids, (0..6_000).map(|number| number * 3 + 2).collect::<Vec<_>>());
}

#[test]
fn mail_moves_while_the_server_runs_and_when_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("demo");
    let demo = Demo::start_on(&place, &[]);
    let data = place.join("data");
    let root = dir.path().join("Maildir");
    maildir(&root, 6_000);
    let source = format!("maildir:{}", root.display());
    let kept = |data: &Path| {
        let shown = must(data, &["account", "show", "alice@demo.test"]);
        shown["messages"]["used"].as_u64().unwrap()
    };
    let child = command(&data, &["import", "alice@demo.test", &source, "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while kept(&data) == 0 {}
    demo.kill();
    let output = child.wait_with_output().unwrap();
    assert!(
        !output.status.success() || output.stdout.windows(7).any(|text| text == b"\"6000\""),
        "{output:?}"
    );

    let demo = Demo::start_on(&place, &[]);
    let told = must(&data, &["import", "alice@demo.test", &source]);
    assert!(told["there_already"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(kept(&data), 6_000);
    let (told, code) = json(&data, &["import", "nobody@demo.test", &source]);
    assert_eq!((code, told["error"]["kind"].as_str()), (67, Some("no-user")));
    let online = exported(&data, "alice@demo.test");
    assert!(demo.terminate().success());
    assert!(online == exported(&data, "alice@demo.test"), "the same with a server and without");
}

#[test]
fn one_of_our_servers_moves_into_another_store() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("demo");
    let demo = Demo::start_on(&place, &[]);
    let root = dir.path().join("Maildir");
    maildir(&root, 300);
    put(&root.join(".Sent/cur/5.a.b:2,S"), b"Subject: sent\n\n", 5);
    put(&root.join(".Pl&AOQ-ne.2024/cur/5.a.b:2,S"), b"Subject: plans\n\n", 5);
    must(&place.join("data"), &["import", "alice@demo.test", &format!("maildir:{}", root.display())]);
    let there = exported(&place.join("data"), "alice@demo.test");

    let (_dir, data) = store();
    let password = dir.path().join("password");
    fs::write(&password, "demo\n").unwrap();
    let more = ["--tls-ca", demo.ca(), "--password-file", password.to_str().unwrap()];
    for (scheme, account) in [("imaps", "a@d.test"), ("imap", "b@d.test")] {
        let source = format!("{scheme}://alice@demo.test@localhost:{}", demo.port(scheme));
        let told = must(&data, &[&["import", account, &source][..], &more].concat());
        assert_eq!((told["messages"].as_u64(), told["failed"].as_u64()), (Some(302), Some(0)), "{told}");
        let here = exported(&data, account);
        let all = |tree: &BTreeMap<String, (u128, Vec<u8>)>| {
            // UIDVALIDITY is kept of mailboxes without messages, too.
            tree.iter().map(|(name, it)| (name.clone(), it.clone())).collect::<Vec<_>>()
        };
        for (one, other) in all(&there).iter().zip(&all(&here)) {
            // IMAP tells seconds.
            assert_eq!((&one.0, one.1.0 / 1_000_000), (&other.0, other.1.0 / 1_000_000));
            assert_eq!(one.1.1.escape_ascii().to_string(), other.1.1.escape_ascii().to_string(), "{}", one.0);
        }
        assert_eq!(there.len(), here.len());
    }
    fs::write(&password, "wrong\n").unwrap();
    let source = format!("imaps://alice@demo.test@localhost:{}", demo.port("imaps"));
    let (told, code) = json(&data, &[&["import", "a@d.test", &source][..], &more].concat());
    assert!(code == 69 && told["error"]["message"].as_str().unwrap().contains("login"), "{told}");
}

#[test]
fn a_taken_uid_makes_all_uids_new() {
    let (dir, data) = store();
    let root = dir.path().join("Maildir");
    maildir(&root, 3);
    let source = format!("maildir:{}", root.display());
    must(&data, &["import", "a@d.test", &source]);
    // From elsewhere comes a message, and takes the UID that the source's next one has.
    let other = dir.path().join("other");
    put(&other.join("cur/1.x.y:2,"), b"Subject: other\n\n", 1);
    must(&data, &["import", "a@d.test", &format!("maildir:{}", other.display())]);
    let taken = exported(&data, "a@d.test");
    let list = String::from_utf8(taken["dovecot-uidlist"].1.clone()).unwrap();
    let uid = list.lines().last().unwrap().split(' ').next().unwrap().to_owned();
    put(&root.join("cur/9.late:2,"), letter(99).as_bytes(), 9);
    let list = fs::read_to_string(root.join("dovecot-uidlist")).unwrap();
    fs::write(root.join("dovecot-uidlist"), list + &format!("{uid} :9.late\n")).unwrap();
    let told = must(&data, &["import", "a@d.test", &source]);
    assert_eq!((&told["messages"], &told["mailboxes"][0]["renumbered"]), (&1.into(), &true.into()), "{told}");
    let out = exported(&data, "a@d.test");
    assert!(!String::from_utf8_lossy(&out["dovecot-uidlist"].1).starts_with("3 V77 "));
}

/// An IMAP server that has one mailbox and special uses, and loses every connection after some messages.
struct Remote {
    listener: TcpListener,
    messages: usize,
    /// Bodies a connection gives.
    patience: usize,
    connections: AtomicUsize,
}

impl Remote {
    fn start(messages: usize, patience: usize) -> Arc<Remote> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = Arc::new(Remote { listener, messages, patience, connections: AtomicUsize::new(0) });
        let serving = Arc::clone(&remote);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = serving.listener.accept() {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                let serving = Arc::clone(&serving);
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        remote
    }

    fn serve(&self, mut out: TcpStream) -> Option<()> {
        let mut lines = BufReader::new(out.try_clone().ok()?).lines();
        let mut left = self.patience;
        write!(out, "* OK hello\r\n").ok()?;
        while let Some(Ok(line)) = lines.next() {
            let (tag, command) = line.split_once(' ')?;
            let folders = [
                "* LIST (\\HasNoChildren) \".\" INBOX",
                "* LIST (\\Sent) \".\" \"INBOX.Gesendet\"",
                "* LIST (\\Noselect) \".\" \"INBOX.shut\"",
                "* LIST (\\All) \".\" \"INBOX.all\"",
                "* LSUB () \".\" INBOX",
            ];
            match command.split(' ').next()? {
                "CAPABILITY" => write!(out, "* CAPABILITY IMAP4rev1 NAMESPACE\r\n").ok()?,
                "NAMESPACE" => write!(out, "* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n").ok()?,
                kind @ ("LIST" | "LSUB") => {
                    for folder in folders.iter().filter(|line| line.contains(kind)) {
                        write!(out, "{folder}\r\n").ok()?;
                    }
                }
                "EXAMINE" => {
                    let count = if command.contains("Gesendet") { 1 } else { self.messages };
                    write!(
                        out,
                        "* {count} EXISTS\r\n* OK [UIDVALIDITY 4711] .\r\n* OK [UIDNEXT 99999] .\r\n"
                    )
                    .ok()?;
                }
                "UID" if command.contains("BODY") => {
                    let set = command.split(' ').nth(2)?;
                    for range in set.split(',') {
                        let (first, last) = range.split_once(':').unwrap_or((range, range));
                        for uid in first.parse::<usize>().ok()?..=last.parse().ok()? {
                            let text = letter(uid).replace('\n', "\r\n");
                            let half = text.len() / 2;
                            write!(
                                out,
                                "* {uid} FETCH (UID {uid} BODY[] {{{}}}\r\n{}",
                                text.len(),
                                &text[..half]
                            )
                            .ok()?;
                            left = left.checked_sub(1)?;
                            write!(out, "{})\r\n", &text[half..]).ok()?;
                        }
                    }
                }
                "UID" => {
                    for uid in 1..=self.messages {
                        let flags = if uid % 2 == 0 { "\\Seen $Junk" } else { "\\Answered \\Recent" };
                        write!(
                            out,
                            "* {uid} FETCH (UID {uid} FLAGS ({flags}) INTERNALDATE \"01-Jan-1990 00:00:00 +0000\" RFC822.SIZE 90)\r\n"
                        )
                        .ok()?;
                    }
                }
                _ => {}
            }
            write!(out, "{tag} OK done\r\n").ok()?;
        }
        Some(())
    }
}

#[test]
fn a_live_server_is_emptied_over_a_bad_line() {
    let (_dir, data) = store();
    let remote = Remote::start(300, 70);
    let source = format!("imap://a@old.example@127.0.0.1:{}", remote.listener.local_addr().unwrap().port());
    let folder = ["--folder", "INBOX", "--no-tls"];
    let told = must(&data, &[&["import", "a@d.test", &source][..], &folder].concat());
    assert_eq!((told["messages"].as_u64(), told["uids_kept"].as_u64()), (Some(300), Some(300)), "{told}");
    assert!(remote.connections.load(Ordering::Relaxed) >= 5);
    let out = exported(&data, "a@d.test");
    assert!(String::from_utf8_lossy(&out["dovecot-uidlist"].1).starts_with("3 V4711 N99999 "));
    let (at, text) = &out["cur/631152000.U8.packetboat:2,Sa"];
    assert_eq!((*at, text.as_slice()), (631_152_000_000_000, letter(8).as_bytes()));
    let again = must(&data, &[&["import", "a@d.test", &source][..], &folder].concat());
    assert_eq!((again["messages"].as_u64(), again["there_already"].as_u64()), (Some(0), Some(300)));

    // All mailboxes: what is sent comes to what is sent here, and no view of others comes.
    let remote = Remote::start(1, 70);
    let source = format!("imap://a@127.0.0.1:{}", remote.listener.local_addr().unwrap().port());
    let told = must(&data, &["import", "b@d.test", &source, "--no-tls"]);
    let pairs: Vec<_> =
        told["mailboxes"].as_array().unwrap().iter().map(|it| (&it["from"], &it["into"])).collect();
    assert_eq!(pairs, [(&"INBOX".into(), &"INBOX".into()), (&"Gesendet".into(), &"Sent".into())]);

    let (told, code) = json(&data, &["import", "b@d.test", &source]);
    assert_eq!(
        (code, told["error"]["kind"].as_str()),
        (69, Some("unavailable")),
        "no TLS, no password: {told}"
    );
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(json(&data, &["import", "b@d.test", &format!("imaps://a@127.0.0.1:{closed}")]).1, 69);
    for source in ["pop3://a@b", "imaps://host", "somewhere"] {
        assert_eq!(json(&data, &["import", "b@d.test", source]).1, 64);
    }
}
