//! Mail programs that people use fetch their letters from the real server, in the clear and under TLS; what they fetched
//! is compared with what lies in the mailbox.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{AWKWARD, Demo, Letter, Pop3, Said, deliver, foreign, letter};

const BOB: &str = "bob@demo.test";

/// A server with letters for bob, and the letters as a plain POP3 client sees them.
fn with_letters() -> (Demo, Vec<Vec<u8>>) {
    let demo = Demo::start();
    let header_end = |l: &Letter| l.bytes.len() - l.body().len();
    for (name, body) in AWKWARD {
        let plain = letter(&name.replace([' ', ','], "-"));
        deliver(demo.at("smtp"), BOB, &[&plain.bytes[..header_end(&plain)], *body].concat());
    }
    deliver(demo.at("smtp"), BOB, &letter("ordinary").bytes);
    let stored = left(&demo);
    assert_eq!(stored.len(), AWKWARD.len() + 1);
    (demo, stored)
}

/// What lies in bob's mailbox now.
fn left(demo: &Demo) -> Vec<Vec<u8>> {
    let mut pop3 = Pop3::login(demo.at("pop3"), BOB);
    let all = pop3.all();
    pop3.quit();
    all
}

/// As a client writes it to a file on this system.
fn unix(message: &[u8]) -> Vec<u8> {
    message.iter().copied().filter(|&b| b != b'\r').collect()
}

/// The files of a Maildir's `new`, in the order of their delivery.
fn maildir(dir: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir.join("new")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.iter().map(|f| fs::read(f).unwrap()).collect()
}

/// A fresh Maildir beside the demo's directory.
fn make_maildir(demo: &Demo, name: &str) -> PathBuf {
    let dir = demo.dir().with_file_name(name);
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    dir
}

/// A client's settings, readable by nobody else, as they insist.
fn settings(demo: &Demo, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = demo.dir().with_file_name(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Both lists hold the same messages, whatever their order.
fn assert_same(mut got: Vec<Vec<u8>>, mut expected: Vec<Vec<u8>>) {
    got.sort();
    expected.sort();
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(String::from_utf8_lossy(got), String::from_utf8_lossy(expected));
        assert_eq!(got, expected);
    }
}

#[test]
fn curl_lists_and_fetches() {
    let (demo, stored) = with_letters();
    let (clear, tls) = (demo.port("pop3"), demo.port("pop3s"));
    let ways = [
        format!("pop3://127.0.0.1:{clear}"),
        format!("--ssl-reqd pop3://localhost:{clear}"),
        format!("--ssl-reqd --login-options AUTH=PLAIN pop3://localhost:{clear}"),
        format!("--ssl-reqd --login-options AUTH=LOGIN pop3://localhost:{clear}"),
        format!("pop3s://localhost:{tls}"),
    ];
    for way in &ways {
        let curl = || foreign("curl").args(&format!("-sS --user {BOB}:demo --cacert {}", demo.ca()));
        let listing = String::from_utf8(curl().args(&format!("{way}/")).run().out).unwrap();
        let sizes: Vec<String> =
            stored.iter().enumerate().map(|(i, m)| format!("{} {}", i + 1, m.len())).collect();
        assert_eq!(listing.lines().collect::<Vec<_>>(), sizes, "{way}");
        for (i, message) in stored.iter().enumerate() {
            let got = curl().args(&format!("{way}/{}", i + 1)).run().out;
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(message), "{way}");
        }
    }
    let wrong = foreign("curl").args(&format!("-sS --user {BOB}:wrong pop3://127.0.0.1:{clear}/")).attempt();
    assert_eq!(wrong.code, Some(67), "{}", wrong.text());
    assert_same(left(&demo), stored);
}

/// Every command of Python's client, as scripts everywhere use it.
#[test]
fn python_poplib() {
    let (demo, stored) = with_letters();
    let script = r#"
import poplib, ssl, sys
clear, tls, count = map(int, sys.argv[1:4])
trust = ssl.create_default_context(cafile=sys.argv[4])

def through(p):
    capabilities = p.capa()
    for name in "TOP UIDL RESP-CODES PIPELINING USER SASL".split():
        assert name in capabilities, (name, capabilities)
    p.user("bob@demo.test")
    p.pass_("demo")
    assert p.stat()[0] == count, p.stat()
    sizes = [int(line.split()[1]) for line in p.list()[1]]
    assert len(sizes) == count and sum(sizes) == p.stat()[1]
    ids = [line.split()[1] for line in p.uidl()[1]]
    assert len(set(ids)) == count
    assert p.uidl(2).split()[2] == ids[1]
    for n in range(1, count + 1):
        message = b"".join(line + b"\r\n" for line in p.retr(n)[1])
        assert len(message) == sizes[n - 1], (len(message), sizes[n - 1])
        head, _, body = message.partition(b"\r\n\r\n")
        top = p.top(n, 2)[1]
        assert top[:head.count(b"\r\n") + 1] == head.split(b"\r\n")
        lines = body.split(b"\r\n")[:-1]
        assert top[head.count(b"\r\n") + 2:] == lines[:2], (top, lines)
    p.dele(1)
    assert p.stat()[0] == count - 1
    try:
        p.retr(1)
        raise SystemExit("a deleted message was given")
    except poplib.error_proto:
        pass
    p.rset()
    assert p.stat()[0] == count
    p.noop()
    return ids

p = poplib.POP3("127.0.0.1", clear)
p.apop("bob@demo.test", "demo")
assert p.stat()[0] == count
p.quit()
p = poplib.POP3("127.0.0.1", clear)
first = through(p)
p.quit()
p = poplib.POP3("localhost", clear)
p.stls(trust)
second = through(p)
p.quit()
p = poplib.POP3_SSL("localhost", tls, context=trust)
third = through(p)
assert first == second == third, "unique-ids changed between sessions"
# Now for good: the second is deleted, the line drops; then again with QUIT.
p.dele(2)
p.close()
p = poplib.POP3_SSL("localhost", tls, context=trust)
p.user("bob@demo.test"); p.pass_("demo")
assert p.stat()[0] == count, "a dropped line deleted"
p.dele(2)
p.quit()
p = poplib.POP3_SSL("localhost", tls, context=trust)
p.user("bob@demo.test"); p.pass_("demo")
assert [line.split()[1] for line in p.uidl()[1]] == first[:1] + first[2:]
p.quit()
"#;
    let arguments = format!("{} {} {}", demo.port("pop3"), demo.port("pop3s"), stored.len());
    foreign("python3").arg("-c").arg(script).args(&arguments).arg(demo.ca()).run();
    assert_same(left(&demo), [&stored[..1], &stored[2..]].concat());
}

/// mpop keeps or deletes, remembers by UIDL, and pipelines when it may.
#[test]
fn mpop_keeps_and_deletes() {
    let (demo, stored) = with_letters();
    let (clear, tls) = (demo.port("pop3"), demo.port("pop3s"));
    let trust = format!("tls on\ntls_trust_file {}", demo.ca());
    let ways = [
        format!("port {clear}\ntls off\nauth user"),
        format!("port {clear}\n{trust}\nauth plain"),
        format!("port {clear}\n{trust}\nauth scram-sha-1"),
        format!("port {clear}\n{trust}\nauth scram-sha-256"),
        format!("port {tls}\n{trust}\ntls_starttls off\nauth on"),
    ];
    let expected: Vec<_> = stored.iter().map(|m| unix(m)).collect();
    for (i, way) in ways.iter().enumerate() {
        let dir = make_maildir(&demo, &format!("mpop-{i}"));
        let last = i + 1 == ways.len();
        let text = format!(
            "account default\nhost localhost\nuser {BOB}\npassword demo\n{way}\ndelivery maildir {}\n\
             received_header off\nuidls_file {}\nkeep {}\n",
            dir.display(),
            dir.join("uidls").display(),
            if last { "off" } else { "on" }
        );
        let file = settings(&demo, "mpoprc", &text);
        let fetch = || foreign("mpop").arg("--file").arg(&file).run();
        fetch();
        assert_same(maildir(&dir), expected.clone());
        if !last {
            // A second time it knows them all by their unique-ids.
            fetch();
            assert_eq!(maildir(&dir).len(), expected.len());
            assert_eq!(left(&demo).len(), expected.len());
        }
    }
    assert_same(left(&demo), Vec::new());
}

#[test]
fn fetchmail_fetches_once() {
    let (demo, stored) = with_letters();
    let home = make_maildir(&demo, "fetchmail");
    let fetch = |service: String, options: &str| {
        let text = format!(
            "poll localhost service {service} protocol POP3 uidl timeout 20\n\
             user \"{BOB}\" password \"demo\" {options} mda \"cat > {}/new/$$\"\n",
            home.display()
        );
        let file = settings(&demo, "fetchmailrc", &text);
        foreign("fetchmail")
            .arg("--fetchmailrc")
            .arg(file)
            .args("--nodetach --nosyslog --invisible --pidfile")
            .arg(home.join("pid"))
            .env("FETCHMAILHOME", &home)
            .env("HOME", &home)
            .attempt()
    };
    let trust = format!("sslcertck sslcertfile \"{}\"", demo.ca());
    let (clear, tls) = (demo.port("pop3").to_string(), demo.port("pop3s").to_string());
    let expected: Vec<_> = stored.iter().map(|m| unix(m)).collect();
    // Upgraded by STLS, and kept; a second time there is nothing new, which is its exit code 1.
    let said = fetch(clear.clone(), &format!("sslproto tls1.2+ {trust} keep"));
    assert_eq!(said.code, Some(0), "{}", said.text());
    assert_same(maildir(&home), expected.clone());
    let said = fetch(clear, &format!("sslproto tls1.2+ {trust} keep"));
    assert_eq!(said.code, Some(1), "{}", said.text());
    assert_eq!(maildir(&home).len(), expected.len());
    // Under TLS from the start, all of them again, and none left.
    fs::remove_dir_all(home.join("new")).unwrap();
    fs::create_dir(home.join("new")).unwrap();
    let said = fetch(tls, &format!("ssl {trust} fetchall nokeep"));
    assert_eq!(said.code, Some(0), "{}", said.text());
    assert_same(maildir(&home), expected);
    assert_same(left(&demo), Vec::new());
}

#[test]
fn getmail_fetches_and_deletes() {
    let (demo, stored) = with_letters();
    let (clear, tls) = (demo.port("pop3"), demo.port("pop3s"));
    let expected: Vec<_> = stored.iter().map(|m| unix(m)).collect();
    let ways = [
        format!("type = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {clear}"),
        format!("type = SimplePOP3SSLRetriever\nserver = localhost\nport = {tls}\nca_certs = {}", demo.ca()),
    ];
    // getmail misses the end of a program that delivers faster than it gets round to waiting for it, and gives up after a minute
    // ("waiting child pid ... timed out") with RSET, so that all is as it was. Then it is run again.
    let fetch = |i: usize, way: &str, attempt: u32| {
        let dir = make_maildir(&demo, &format!("getmail-{i}-{attempt}"));
        let text = format!(
            "[retriever]\n{way}\nusername = {BOB}\npassword = demo\n\
             [destination]\ntype = MDA_external\npath = /bin/sh\nallow_root_commands = true\n\
             arguments = (\"-c\", \"cat > {}/new/$$; sleep 0.1\")\n\
             [options]\ndelete = {}\nread_all = true\nverbose = 2\ndelivered_to = false\nreceived = false\n",
            dir.display(),
            i + 1 == ways.len()
        );
        let file = settings(&demo, "getmailrc", &text);
        let said = foreign("getmail").arg("--getmaildir").arg(&dir).arg("--rcfile").arg(file).attempt();
        (dir, said)
    };
    for (i, way) in ways.iter().enumerate() {
        let missed = |said: &Said| said.text().contains("waiting child pid");
        let mut attempts = (0..5).map(|attempt| fetch(i, way, attempt));
        let (dir, said) = attempts.find(|(_, said)| !missed(said)).unwrap();
        assert_eq!(said.code, Some(0), "{}", said.text());
        assert!(!said.text().to_lowercase().contains("error"), "{}", said.text());
        // It writes the Return-Path its own way, so what follows that line is compared.
        let after_first_line = |m: &Vec<u8>| m.splitn(2, |&b| b == b'\n').nth(1).unwrap().to_vec();
        let got: Vec<_> = maildir(&dir).iter().map(after_first_line).collect();
        assert_same(got, expected.iter().map(after_first_line).collect());
    }
    assert_same(left(&demo), Vec::new());
}

/// mutt opens the maildrop as a folder, shows what is in it and copies all of it into an mbox.
#[test]
fn mutt_reads_over_pop3() {
    let (demo, stored) = with_letters();
    let dir = make_maildir(&demo, "mutt");
    let (clear, tls) = (demo.port("pop3"), demo.port("pop3s"));
    let ways = [
        format!("pop://127.0.0.1:{clear}/"),
        format!("pop://localhost:{clear}/"),
        format!("pops://localhost:{tls}/"),
    ];
    for (i, url) in ways.iter().enumerate() {
        let folder = make_maildir(&demo, &format!("mutt-{i}"));
        // In the clear only where no TLS is asked for; the second is upgraded by STLS.
        let starttls = if i == 1 { "yes" } else { "no" };
        let text = format!(
            "set pop_user=\"{BOB}\" pop_pass=\"demo\" ssl_starttls={starttls} ssl_force_tls={}\n\
             set certificate_file=\"{}\" ssl_verify_host=yes tmpdir=\"{home}\" folder=\"{home}\" mbox_type=Maildir\n\
             set pop_authenticators=\"{}\"\n\
             set confirmcreate=no confirmappend=no quit=yes delete=no wait_key=no pop_delete=no header_cache=\"\"\n",
            if i == 0 { "no" } else { "yes" },
            demo.ca(),
            // Under TLS 1.3 mutt 2.2 chooses SCRAM-SHA-256-PLUS, finds that it cannot bind to the channel, cancels, and
            // never reads the answer to that: from then on it takes each reply for the next one's.
            if i == 0 { "" } else { "scram-sha-256" },
            home = dir.display(),
        );
        let file = settings(&demo, "muttrc", &text);
        let mutt = format!("mutt -n -F {} -f {url}", file.display());
        // mutt wants a terminal, and somebody who reads before typing.
        let mut terminal = foreign("script")
            .args("--quiet --return --command")
            .arg(&mutt)
            .arg("/dev/null")
            .env("TERM", "vt100")
            .env("HOME", &dir)
            .converse();
        terminal.see(&format!("Msgs:{}", stored.len()));
        terminal.press("T~A\n");
        terminal.see(&format!("Tag:{}", stored.len()));
        terminal.press(&format!(";C{}\n", folder.display()));
        terminal.press("q");
        terminal.see(&format!("{} kept, 0 deleted", stored.len()));
        terminal.end();
        let mut got = maildir(&folder);
        got.extend(fs::read_dir(folder.join("cur")).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap()));
        // It adds lines about status and length to the header, and keeps the body.
        let body = |m: &Vec<u8>| {
            let at = m.windows(2).position(|w| w == b"\n\n").unwrap();
            m[at + 2..].to_vec()
        };
        assert_same(got.iter().map(body).collect(), stored.iter().map(|m| body(&unix(m))).collect());
    }
    assert_same(left(&demo), stored);
}
