//! Programs and libraries that speak IMAP work with the real server, in the clear, after STARTTLS and under TLS: curl and
//! the two clients that Python scripts use. Those that synchronise are in `imap_sync.rs`, those that people read with in
//! `imap_readers.rs`.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Boat, Demo, Imap, Said, deliver, foreign, letter};

const BOB: &str = "bob@demo.test";

/// A message with a large part that a client can pass over.
fn with_a_video() -> Vec<u8> {
    let video = "AAAAIGZ0eXBpc29tAAACAGlzb21pc28yYXZjMW1wNDE=\r\n".repeat(2000);
    format!(
        "From: Alice <alice@demo.test>\r\nTo: Bob <bob@demo.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe_vom_Kai?=\r\n\
         Date: Tue, 01 Jul 2025 10:00:00 +0000\r\nMessage-ID: <kai@tests.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=kai\r\n\r\n\
         --kai\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         Das Schiff lief p=C3=BCnktlich aus.\r\n\
         --kai\r\nContent-Type: video/mp4; name=ship.mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n{video}\
         --kai--\r\n"
    )
    .into_bytes()
}

/// Starts a script of Python's with the ports, the authority's certificate and the names of everybody.
fn python(program: &str, demo: &Demo, script: &str) -> Said {
    let arguments = format!("{} {} {}", demo.port("imap"), demo.port("imaps"), demo.port("smtp"));
    foreign(program).arg("-c").arg(script).args(&arguments).arg(demo.ca()).run()
}

#[test]
fn curl_lists_fetches_appends_and_searches() {
    let demo = Demo::start();
    let (clear, tls) = (demo.port("imap"), demo.port("imaps"));
    let letters = [letter("ordinary").bytes, with_a_video()];
    let mut imap = Imap::login(demo.at("imap"), BOB);
    imap.ok("CREATE INBOX/Kiel");
    for letter in &letters {
        imap.append("INBOX", letter);
    }
    let ways = [
        format!("imap://127.0.0.1:{clear}"),
        format!("--ssl-reqd imap://localhost:{clear}"),
        format!("--ssl-reqd --login-options AUTH=PLAIN imap://localhost:{clear}"),
        format!("--login-options AUTH=LOGIN imaps://localhost:{tls}"),
        format!("imaps://localhost:{tls}"),
    ];
    let mut count = letters.len();
    for way in &ways {
        let curl = |rest: &str| {
            let common = format!("-sS --user {BOB}:demo --cacert {}", demo.ca());
            foreign("curl").args(&common).args(&format!("{way}{rest}")).run().out
        };
        let text = |rest: &str| String::from_utf8(curl(rest)).unwrap();
        let listing = text("/");
        for mailbox in ["INBOX", "INBOX/Kiel", "Drafts", "Sent", "Junk", "Trash", "Archive"] {
            assert!(listing.lines().any(|line| line.ends_with(&format!(" {mailbox}"))), "{way}: {listing}");
        }
        for (uid, letter) in (1..).zip(&letters) {
            assert!(curl(&format!("/INBOX;UID={uid}")) == *letter, "{way}: message {uid}");
            assert!(curl(&format!("/INBOX;MAILINDEX={uid}")) == *letter, "{way}: message {uid}");
        }
        let subject = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_vom_Kai?=\r\n\r\n";
        assert_eq!(text("/INBOX;UID=2;SECTION=HEADER.FIELDS%20(SUBJECT)"), subject);
        assert_eq!(text("/INBOX;UID=2;SECTION=1"), "Das Schiff lief p=C3=BCnktlich aus.");
        let header = text("/INBOX;UID=1;SECTION=HEADER");
        assert!(letters[0].starts_with(header.as_bytes()) && header.ends_with("\r\n\r\n"), "{header}");
        assert_eq!(text("/INBOX;UID=1;SECTION=TEXT").as_bytes(), &letters[0][header.len()..]);
        let flags = text("/INBOX -X FETCH%201:2%20FLAGS");
        assert!(flags.contains("* 1 FETCH (FLAGS (\\Seen"), "{flags}");

        assert_eq!(text("/INBOX?SUBJECT%20ordinary"), "* SEARCH 1\r\n", "{way}");
        let found = text("/INBOX?BODY%20punctual%20UID%201:2");
        assert_eq!(found, "* SEARCH\r\n", "{way}");

        let sent = letter(&format!("appended-{count}")).bytes;
        let file = demo.dir().with_file_name("letter");
        std::fs::write(&file, &sent).unwrap();
        curl(&format!("/INBOX -T {}", file.display()));
        count += 1;
        assert!(curl(&format!("/INBOX;UID={count}")) == sent, "{way}");
    }
    let wrong = foreign("curl").args(&format!("-sS --user {BOB}:wrong imap://127.0.0.1:{clear}/")).attempt();
    assert_eq!(wrong.code, Some(67), "{}", wrong.text());
}

/// Every command of Python's own client, as scripts everywhere use it.
const IMAPLIB: &str = r#"
import imaplib, re, socket, ssl, sys, time
clear, tls, smtp = map(int, sys.argv[1:4])
trust = ssl.create_default_context(cafile=sys.argv[4])
LETTER = b"From: a@b.test\r\nTo: bob@demo.test\r\nSubject: %s\r\nMessage-ID: <%s@b.test>\r\n\r\nDear Bob\r\n"

def ok(answer, want="OK"):
    assert answer[0] == want, answer
    return answer[1]

def refused(call, *arguments):
    try:
        status, data = call(*arguments)
    except imaplib.IMAP4.error as e:
        return str(e)
    assert status in ("NO", "BAD"), (status, data)
    return data

def through(m, home):
    ok(m.noop())
    capabilities = ok(m.capability())[0].split()
    for name in b"IMAP4rev1 IDLE UIDPLUS MOVE NAMESPACE UNSELECT SORT QUOTA ENABLE".split():
        assert name in capabilities, (name, capabilities)
    ok(m.namespace())
    # A hierarchy of its own, with a name that is not ASCII in modified UTF-7.
    for name in (home, home + "/a", home + "/a/b", home + "/&AMQ-rger"):
        ok(m.create(name)); ok(m.subscribe(name))
    assert "EXISTS" in str(refused(m.create, home)), "created twice"
    names = [l.decode() for l in ok(m.list('""', home + "*"))]
    assert len(names) == 4 and any(n.endswith("/&AMQ-rger") for n in names), names
    assert len(ok(m.lsub('""', home + "*"))) == 4
    assert len(ok(m.list('""', home + "/%"))) == 2
    ok(m.rename(home + "/a", home + "/z"))
    assert [n for n in ok(m.list('""', home + "/z/b"))][0], "children are renamed, too"
    assert ok(m.list('""', home + "/a/b")) == [None]
    ok(m.unsubscribe(home + "/a"))
    # Literals, dates, flags.
    when = imaplib.Time2Internaldate(1751364000)
    for n in range(5):
        letter = LETTER % (b"number %d" % n, b"%s-%d" % (home.encode(), n))
        data = ok(m.append(home, r"(\Flagged $Label1)" if n == 0 else None, when, letter))
        assert b"APPENDUID" in data[0], data
    assert ok(m.select(home)) == [b"5"]
    assert m.response("UIDVALIDITY")[1][0] and m.response("UIDNEXT")[1] == [b"6"], m.untagged_responses
    ok(m.recent()); ok(m.check())
    data = ok(m.fetch("1", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY.PEEK[])"))
    assert data[0][1] == LETTER % (b"number 0", home.encode() + b"-0"), data
    assert b"\\Flagged" in data[0][0] and b"$Label1" in data[0][0], data
    assert imaplib.Internaldate2tuple(data[0][0]) == time.localtime(1751364000), data
    assert b'"number 0"' in data[0][0]
    assert ok(m.status(home, "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)"))[0].startswith(home.encode() + b" (MESSAGES 5 UNSEEN 5")
    data = ok(m.store("1:3", "+FLAGS", r"(\Seen Wichtig)"))
    assert len(data) == 3 and all(b"Wichtig" in d for d in data), data
    ok(m.store("1", "-FLAGS.SILENT", r"(\Flagged)"))
    assert ok(m.search(None, "KEYWORD", "Wichtig")) == [b"1 2 3"]
    assert ok(m.search(None, "UNSEEN")) == [b"4 5"]
    assert ok(m.search("UTF-8", "SUBJECT", '"number 4"')) == [b"5"]
    m.literal = "number 3".encode()
    assert ok(m.search("UTF-8", "SUBJECT")) == [b"4"]
    assert ok(m.sort("(REVERSE SUBJECT)", "UTF-8", "ALL")) == [b"5 4 3 2 1"]
    assert ok(m.thread("REFERENCES", "UTF-8", "ALL")) == [b"(1)(2)(3)(4)(5)"]
    assert ok(m.uid("SEARCH", "SUBJECT", "number")) == [b"1 2 3 4 5"]
    ok(m.copy("1:2", home + "/z"))
    ok(m.uid("COPY", "3", home + "/z"))
    ok(m.uid("MOVE", "5", home + "/z/b"))
    assert ok(m.status(home + "/z/b", "(MESSAGES)"))[0].endswith(b"(MESSAGES 1)")
    ok(m.uid("STORE", "2", "+FLAGS", r"(\Deleted)"))
    ok(m.store("1", "+FLAGS", r"(\Deleted)"))
    ok(m.uid("EXPUNGE", "2"))
    assert ok(m.uid("FETCH", "1:*", "(UID)")) == [b"1 (UID 1)", b"2 (UID 3)", b"3 (UID 4)"]
    assert ok(m.expunge())[-1] == b"1"
    ok(m.store("1", "+FLAGS", r"(\Deleted)"))
    ok(m.unselect())
    assert ok(m.select(home, readonly=True)) == [b"2"]
    refused(m.store, "1", "+FLAGS", r"(\Seen)")
    ok(m.close())
    ok(m.select(home)); ok(m.close())
    assert ok(m.select(home)) == [b"1"], "CLOSE expunges"
    ok(m.getquotaroot("INBOX")); ok(m.getquota('""'))
    refused(m.setquota, '""', "(STORAGE 512)")
    for call, arguments in ((m.setacl, ("INBOX", "bob", "lr")), (m.getacl, ("INBOX",)), (m.myrights, ("INBOX",)),
                            (m.deleteacl, ("INBOX", "bob")), (m.getannotation, ("INBOX", "/a", "b")),
                            (m.partial, ("1", "RFC822", "1", "2")), (m.proxyauth, ("alice",))):
        refused(call, *arguments)
    # IDLE by hand: a delivery by SMTP is announced while nothing is asked.
    ok(m.select("INBOX"))
    tag = m._new_tag()
    m.send(tag + b" IDLE\r\n")
    assert m.readline().startswith(b"+ ")
    with socket.create_connection(("127.0.0.1", smtp)) as s:
        s.sendall(b"EHLO x.test\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<bob@demo.test>\r\nDATA\r\n")
        f = s.makefile("rb")
        while not f.readline().startswith(b"354"): pass
        s.sendall(b"Subject: now\r\n\r\nnow\r\n.\r\n")
        assert f.readline().startswith(b"250")
    line = m.readline()
    assert line.endswith(b" EXISTS\r\n"), line
    while line.startswith(b"*"):
        if line.endswith(b" RECENT\r\n") or b"FETCH" in line: break
        line = m.readline()
    m.send(b"DONE\r\n")
    while not line.startswith(tag): line = m.readline()
    assert b" OK " in line, line
    ok(m.close())
    for name in (home + "/z/b", home + "/z", home + "/&AMQ-rger", home):
        ok(m.delete(name))
    assert ok(m.list('""', home + "*")) == [None]
    m.logout()

m = imaplib.IMAP4("127.0.0.1", clear)
refused(m.login, "bob@demo.test", "wrong")
ok(m.login("bob@demo.test", "demo"))
through(m, "Clear")

m = imaplib.IMAP4("localhost", clear)
ok(m.starttls(trust))
ok(m.authenticate("PLAIN", lambda _: b"\0bob@demo.test\0demo"))
through(m, "Upgraded")

with imaplib.IMAP4_SSL("localhost", tls, ssl_context=trust) as m:
    ok(m.login("bob@demo.test", "demo"))
    through(m, "Tls")

# UTF-8 as such, when it is asked for: names, subjects, and a message whose header is in it.
m = imaplib.IMAP4_SSL("localhost", tls, ssl_context=trust)
ok(m.login("bob@demo.test", "demo"))
ok(m.enable("UTF8=ACCEPT"))
ok(m.create('"Übersee/日本"'))
assert any("Übersee/日本".encode() in l for l in ok(m.list('""', '"Übersee*"'))), m.list()
letter = "From: zoë@bücher.test\r\nSubject: Grüße\r\n\r\nschön\r\n".encode()
# From here on imaplib writes RFC 6855's `UTF8 (...)` into the literal instead of around it.
other = imaplib.IMAP4_SSL("localhost", tls, ssl_context=trust)
ok(other.login("bob@demo.test", "demo"))
ok(other.append("&ANw-bersee/&ZeVnLA-", None, None, letter))
other.logout()
assert ok(m.select('"Übersee/日本"')) == [b"1"]
data = ok(m.fetch("1", "(ENVELOPE BODY[])"))
assert data[0][1] == letter, data
assert ok(m.search(None, "SUBJECT", '"grüße"')) == [b"1"]
ok(m.close())
ok(m.delete('"Übersee/日本"'))
m.logout()
"#;

#[test]
fn python_imaplib() {
    python("python3", &Demo::start(), IMAPLIB);
}

/// Python's larger client, which parses every response and shouts where one is not to its liking.
const IMAPCLIENT: &str = r#"
import ssl, sys, threading, time, zlib
from imapclient import IMAPClient, SEEN, FLAGGED, DELETED
from imapclient.exceptions import IMAPClientError, LoginError
clear, tls, smtp = map(int, sys.argv[1:4])
trust = ssl.create_default_context(cafile=sys.argv[4])
LETTER = "From: {0} <{0}@b.test>\r\nTo: bob@demo.test\r\nSubject: {1}\r\nDate: Tue, 0{2} Jul 2025 10:00:00 +0000\r\n" \
         "Message-ID: <{2}.{3}@b.test>\r\n{4}\r\nDear Bob, {1}\r\n"

def through(m, home):
    for name in b"CONDSTORE MOVE SORT THREAD=REFERENCES IDLE NAMESPACE QUOTA COMPRESS=DEFLATE QRESYNC".split():
        assert m.has_capability(name.decode()), (name, m.capabilities())
    assert m.id_({"name": "imapclient"})
    assert m.namespace().personal == (("", "/"),), m.namespace()
    assert m.find_special_folder(b"\\Sent") == "Sent" and m.find_special_folder(b"\\Trash") == "Trash"
    # Names in any script travel in modified UTF-7 and come back as they were.
    names = [home, home + "/Entwürfe", home + "/日本語/台北", home + "/a&b \"c\" \\d (e) %f"[:-3]]
    for name in names:
        m.create_folder(name); m.subscribe_folder(name)
        assert m.folder_exists(name), name
    assert {n for _, _, n in m.list_folders(home, "*")} >= set(names), m.list_folders(home, "*")
    assert {n for _, _, n in m.list_sub_folders(home, "*")} == set(names)
    m.rename_folder(home + "/日本語", home + "/Καλημέρα")
    assert m.folder_exists(home + "/Καλημέρα/台北")
    m.unsubscribe_folder(home + "/日本語/台北")
    subjects = ["pears", "Re: apples", "apples", "Grüße"]
    for n, subject in enumerate(subjects):
        more = "References: <3.%s@b.test>\r\n" % home if n == 1 else ""
        letter = LETTER.format("zyxw"[n], subject, n + 1, home, more).encode()
        assert b"APPENDUID" in m.append(home, letter, (FLAGGED,) if n == 0 else ())
    opened = m.select_folder(home)
    assert opened[b"EXISTS"] == 4 and opened[b"UIDNEXT"] == 5 and opened[b"HIGHESTMODSEQ"] > 0, opened
    got = m.fetch([1, 2, 3, 4], ["FLAGS", "ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "INTERNALDATE", "BODY.PEEK[]", "MODSEQ"])
    assert [got[u][b"ENVELOPE"].subject for u in (1, 2, 3)] == [b"pears", b"Re: apples", b"apples"]
    assert all(got[u][b"RFC822.SIZE"] == len(got[u][b"BODY[]"]) for u in got)
    assert got[1][b"FLAGS"][0] == FLAGGED and not got[1][b"BODYSTRUCTURE"].is_multipart
    assert str(got[1][b"ENVELOPE"].from_[0]) == "z <z@b.test>"
    # CONDSTORE
    since = max(got[u][b"MODSEQ"][0] for u in got)
    m.add_flags([2], [SEEN, "$Label2"])
    assert m.fetch([1, 2, 3, 4], ["FLAGS"], ["CHANGEDSINCE %d" % since]).keys() == {2}
    assert m.get_flags([2])[2][:2] and b"$Label2" in m.get_flags([2])[2]
    m.remove_flags([2], ["$Label2"])
    m.set_flags([3], [DELETED])
    assert m.folder_status(home, ["MESSAGES", "UNSEEN", "HIGHESTMODSEQ"])[b"MESSAGES"] == 4
    # SEARCH, SORT and THREAD
    assert m.search(["SUBJECT", "apples"]) == [2, 3]
    assert m.search(["SUBJECT", "grüße"], charset="UTF-8") == [4]
    assert m.search(["NOT", "DELETED", "UNSEEN"]) == [1, 4]
    assert m.search("MODSEQ %d" % since).modseq
    assert m.sort(["SUBJECT"]) in ([3, 2, 4, 1], [2, 3, 4, 1]), m.sort(["SUBJECT"])
    assert m.sort(["REVERSE DATE"]) == [4, 3, 2, 1]
    assert m.thread() == ((1,), (3, 2), (4,)), m.thread()
    assert m.thread("ORDEREDSUBJECT") == ((1,), (2, 3), (4,)), m.thread("ORDEREDSUBJECT")
    # COPY, MOVE, EXPUNGE
    m.copy([1, 2], home + "/Entwürfe")
    m.move([4], home + "/Entwürfe")
    assert m.folder_status(home + "/Entwürfe", ["MESSAGES"])[b"MESSAGES"] == 3
    m.delete_messages([1])
    m.uid_expunge([1])
    assert m.search() == [2, 3]
    m.expunge()
    assert m.search() == [2]
    m.close_folder()
    roots, quotas = m.get_quota_root("INBOX")
    assert roots and m.get_quota() == quotas, (roots, quotas)
    # IDLE: another session's changes.
    m.select_folder(home)
    m.idle()
    other = connect()
    other.append(home, b"Subject: news\r\n\r\nnews\r\n")
    seen = wait(m, lambda r: (2, b"EXISTS") in r)
    other.select_folder(home)
    other.set_flags([2], [FLAGGED], silent=True)
    wait(m, lambda r: any(x[0] == 1 and x[1] == b"FETCH" and FLAGGED in str(x[2]).encode() or x[1] == b"FETCH" for x in r))
    other.delete_messages([2]); other.expunge([2])
    wait(m, lambda r: (1, b"EXPUNGE") in r)
    other.logout()
    text, responses = m.idle_done()
    assert b"OK" in text or text, text
    m.unselect_folder()
    for name in (home + "/Καλημέρα/台北", home + "/Entwürfe"):
        m.delete_folder(name)
    m.logout()

def wait(m, done):
    seen = []
    until = time.time() + 20
    while not done(seen):
        assert time.time() < until, seen
        seen += m.idle_check(timeout=1)
    return seen

def connect():
    m = IMAPClient("127.0.0.1", clear, ssl=False)
    m.login("bob@demo.test", "demo")
    return m

m = IMAPClient("127.0.0.1", clear, ssl=False)
try:
    m.login("bob@demo.test", "wrong")
    raise SystemExit("a wrong password was taken")
except LoginError:
    pass
m.login("bob@demo.test", "demo")
through(m, "Clear")
m = IMAPClient("localhost", clear, ssl=False)
m.starttls(trust)
m.plain_login("bob@demo.test", "demo")
through(m, "Upgraded")
m = IMAPClient("localhost", tls, ssl_context=trust)
m.login("bob@demo.test", "demo")
through(m, "Tls")

# COMPRESS=DEFLATE by hand: from the tagged OK on everything is one deflate stream each way (RFC 4978).
m = IMAPClient("localhost", tls, ssl_context=trust)
m.login("bob@demo.test", "demo")
tag = m._imap._new_tag()
m._imap.send(tag + b" COMPRESS DEFLATE\r\n")
line = m._imap.readline()
assert line.startswith(tag + b" OK"), line
sock = m.socket()
deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
inflate = zlib.decompressobj(-15)
letter = b"Subject: large\r\n\r\n" + b"all work and no play makes Jack a dull boy\r\n" * 20000
commands = b"".join([b"1 APPEND INBOX {%d+}\r\n" % len(letter), letter, b"\r\n2 SELECT INBOX\r\n3 FETCH * BODY.PEEK[]\r\n4 LOGOUT\r\n"])
packed = deflate.compress(commands) + deflate.flush(zlib.Z_SYNC_FLUSH)
assert len(packed) < len(commands) / 20
sock.sendall(packed)
plain, wire = b"", 0
while True:
    octets = sock.recv(65536)
    if not octets: break
    wire += len(octets)
    plain += inflate.decompress(octets)
assert letter in plain and b"\r\n4 OK" in plain, plain[-200:]
assert wire < len(plain) / 20, (wire, len(plain))
"#;

#[test]
fn python_imapclient() {
    python("imapclient-python", &Demo::start(), IMAPCLIENT);
}

/// A client that is known by its name does without what it stumbles over, and finds its way; another one has it.
const SPARED: &str = r#"
import sys
from imapclient import IMAPClient
from imapclient.exceptions import CapabilityError, IMAPClientError

def connect(name):
    m = IMAPClient("127.0.0.1", int(sys.argv[1]), ssl=False)
    m.login("bob@boat.test", "demo")
    if name:
        m.id_({"name": name, "version": "1"})
        m._cached_capabilities = None
    return m

other = connect("Other")
spared = connect("The BadMail Program")
for name in ("MOVE", "CONDSTORE", "IDLE"):
    assert other.has_capability(name), name
    assert spared.has_capability(name) == (name == "IDLE"), (name, spared.capabilities())
for n in range(3):
    other.append("INBOX", b"Subject: %d\r\n\r\n" % n)
assert "HIGHESTMODSEQ" in str(other.select_folder("INBOX"))
assert "HIGHESTMODSEQ" not in str(spared.select_folder("INBOX"))
other.move([1], "Archive")
try:
    spared.move([2], "Archive")
    raise SystemExit("it moved")
except CapabilityError:
    pass
try:
    spared._imap._simple_command("NOOP")
    spared._imap._simple_command("FETCH", "1", "(MODSEQ)")
    raise SystemExit("a modseq was told")
except spared._imap.error as e:
    assert "BAD" in str(e), e
# As it was done before there was MOVE.
spared.copy([2], "Archive"); spared.delete_messages([2]); spared.expunge()
assert spared.search() == [3] and other.noop() and other.search() == [3]
assert other.folder_status("Archive", ["MESSAGES"])[b"MESSAGES"] == 2
"#;

#[test]
fn a_client_that_names_itself_is_spared_extensions() {
    let boat = Boat::start("[imap]\ndisabled_for = [\"badmail: MOVE CONDSTORE QRESYNC\"]");
    foreign("imapclient-python").arg("-c").arg(SPARED).arg(boat.port("imap").to_string()).run();
}

/// The same mailbox is there for every door: what SMTP brought, IMAP marks and POP3 takes away.
#[test]
fn all_doors_lead_to_the_same_mailbox() {
    let demo = Demo::start();
    deliver(demo.at("smtp"), BOB, &letter("first").bytes);
    deliver(demo.at("smtp"), BOB, &letter("second").bytes);
    let mut imap = Imap::login(demo.at("imap"), BOB);
    assert_eq!(imap.select("INBOX"), 2);
    let fetched = imap.ok("FETCH 1:2 BODY.PEEK[]").fetched();
    let mut pop3 = support::Pop3::login(demo.at("pop3"), BOB);
    let all = pop3.all();
    for ((_, items), message) in fetched.iter().zip(&all) {
        assert_eq!(items[0].1.octets(), message);
    }
    pop3.command("DELE 1");
    pop3.quit();
    let answer = imap.ok("NOOP");
    assert!(answer.lines().contains(&"* 1 EXPUNGE".to_owned()), "{}", answer.text());
    imap.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    imap.ok("EXPUNGE");
    assert_eq!(support::Pop3::login(demo.at("pop3"), BOB).count(), 0);
}

/// A message and its answers have one THREADID (RFC 8474), wherever they lie, and are found by it.
#[test]
fn a_conversation_has_one_name_in_every_mailbox() {
    let demo = Demo::start();
    let mut imap = Imap::login(demo.at("imap"), BOB);
    let message = |fields: &str| format!("From: a@b.test\r\n{fields}Subject: x\r\n\r\nx\r\n");
    imap.append("INBOX", message("Message-ID: <1@x>\r\n").as_bytes());
    imap.append("INBOX", message("Message-ID: <2@x>\r\nReferences: <1@x>\r\n").as_bytes());
    imap.append("INBOX", message("Message-ID: <3@x>\r\nReferences: <1@x> <2@x>\r\n").as_bytes());
    imap.append("INBOX", message("Message-ID: <4@x>\r\n").as_bytes());
    imap.append("INBOX", message("").as_bytes());
    let mut ids = |mailbox: &str| {
        imap.select(mailbox);
        let lines = imap.ok("FETCH 1:* THREADID").lines();
        let id =
            |line: &String| Some(line.split_once("(THREADID ")?.1.trim_end_matches(')').to_owned() + ")");
        lines.iter().filter_map(id).collect::<Vec<_>>()
    };
    let here = ids("INBOX");
    assert_eq!(here.len(), 5, "{here:?}");
    assert!(here[0].starts_with("(T"), "{here:?}");
    assert_eq!((&here[1], &here[2]), (&here[0], &here[0]));
    assert_ne!(here[3], here[0]);
    assert_eq!(here[4], "NIL)");
    let found = imap.ok(&format!("SEARCH THREADID {}", here[0].trim_matches(['(', ')'])));
    assert!(found.lines().contains(&"* SEARCH 1 2 3".to_owned()), "{}", found.text());
    imap.ok("MOVE 3 Archive");
    imap.select("Archive");
    let moved = imap.ok("FETCH 1 THREADID");
    assert!(moved.text().contains(&format!("THREADID {}", here[0])), "{}", moved.text());
}

/// Where the replacement lies is told before the message that it replaces goes (RFC 8508 section 4.3).
#[test]
fn a_replacement_is_told_before_its_predecessor_goes() {
    let demo = Demo::start();
    let mut imap = Imap::login(demo.at("imap"), BOB);
    imap.append("Drafts", b"Subject: first\r\n\r\n");
    imap.select("Drafts");
    let lines = imap.ok("REPLACE 1 Drafts (\\Draft) {19+}\r\nSubject: second\r\n\r\n").lines();
    let at = |found: &str| lines.iter().position(|line| line.contains(found));
    assert!(at("* OK [APPENDUID ").is_some_and(|told| Some(told) < at("* 1 EXPUNGE")), "{lines:?}");
}
