//! Files over FTP, by programs that nobody here wrote; in the clear, by AUTH TLS and under TLS from the first byte; active
//! and passive; IPv4 and IPv6. What they store and fetch is compared octet for octet.
//!
//! FileZilla is not among them: somebody has to sit before a screen, if only one that is made up.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use support::{Depot, Foreign, blob, foreign, program_path};

/// What is there of files: path from the top, and octets; `None` is a directory.
type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// Empty and large, deep, with names that need care.
fn tree() -> Tree {
    let mut tree = Tree::new();
    for dir in ["a", "a/b", "with space", "with space/äöü €"] {
        tree.insert(dir.to_owned(), None);
    }
    for (n, (file, octets)) in [
        ("empty", 0),
        ("a/one", 1),
        ("a/b/large", 1_500_000),
        ("with space/äöü €/naïve name.txt", 70_000),
        ("a/#50% & 'more' (1).bin", 3_000),
        ("with space/-dash", 300),
    ]
    .into_iter()
    .enumerate()
    {
        tree.insert(file.to_owned(), Some(blob(n as u64, octets)));
    }
    tree
}

fn write(tree: &Tree, at: &Path) {
    fs::create_dir_all(at).unwrap();
    for (path, octets) in tree {
        match octets {
            None => fs::create_dir_all(at.join(path)).unwrap(),
            Some(octets) => fs::write(at.join(path), octets).unwrap(),
        }
    }
}

fn read(at: &Path) -> Tree {
    let (mut tree, mut waiting) = (Tree::new(), vec![at.to_owned()]);
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(at).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                tree.insert(name, None);
                waiting.push(path);
            } else {
                tree.insert(name, Some(fs::read(path).unwrap()));
            }
        }
    }
    tree
}

/// Two trees are the same; what differs is named, and not shown.
#[track_caller]
fn assert_same(got: &Tree, want: &Tree, how: &str) {
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(got), names(want), "{how}");
    for (name, octets) in want {
        let (got, want) = (got[name].as_ref().map(Vec::len), octets.as_ref().map(Vec::len));
        assert_eq!(got, want, "{how}: octets of {name}");
    }
    assert!(got == want, "{how}: not the same octets");
}

/// How a client comes: `ftp` in the clear, `ftpes` by AUTH TLS, `ftps` under TLS from the first byte.
const WAYS: [&str; 3] = ["ftp", "ftpes", "ftps"];

fn port(depot: &Depot, way: &str) -> u16 {
    if way == "ftps" { depot.ftps() } else { depot.ftp() }
}

const SESSION: &str = include_str!("support/ftplib_session.py");

#[test]
fn python_ftplib() {
    let depot = Depot::start();
    for host in depot.hosts() {
        foreign("python3")
            .arg("-c")
            .arg(SESSION)
            .arg(host.trim_matches(['[', ']']))
            .args(&format!("{} {}", depot.ftp(), depot.ftps()))
            .arg(depot.ca())
            .run();
    }
    // What was stored lies as a file of this machine, and what failed left nothing.
    assert_same(&read(&depot.home("alice")), &Tree::new(), "what ftplib left");
}

#[test]
fn curl_in_every_way_it_knows() {
    let depot = Depot::start();
    let file = depot.dir().join("sent");
    let data = blob(1, 2_000_000);
    fs::write(&file, &data).unwrap();
    let curl = |more: &str| {
        let curl = foreign("curl").args("--silent --show-error --user bob@boat.test:demo --cacert");
        curl.arg(depot.ca()).args(more)
    };
    let mut number = 0;
    for host in depot.hosts() {
        for way in WAYS {
            // Active and protected at once is more than Debian 12's curl can do, with any server; Python's ftplib can.
            let options: &[&str] = match (way, host) {
                ("ftp", "localhost") => &[
                    "",
                    "--disable-epsv",
                    "--ftp-port -",
                    "--ftp-port - --disable-eprt",
                    "--ftp-method singlecwd",
                ],
                ("ftp", _) => &["", "--ftp-port -"],
                _ => &["", "--tls-max 1.2"],
            };
            for options in options {
                number += 1;
                let how = format!("curl {way} {host} {options}");
                let (scheme, tls) = match way {
                    "ftps" => ("ftps", ""),
                    "ftpes" => ("ftp", "--ssl-reqd"),
                    _ => ("ftp", ""),
                };
                let curl = || curl(options).args(tls);
                let dir = format!("{scheme}://{host}:{}/new/sub", port(&depot, way));
                let at = format!("{dir}/{number}.bin");
                curl().arg("--ftp-create-dirs").arg("--upload-file").arg(&file).arg(&at).run();
                assert!(curl().arg(&at).run().out == data, "{how}");
                assert!(curl().args("--range 1000-1999").arg(&at).run().out == data[1000..2000], "{how}");
                let listing = curl().arg(format!("{dir}/")).run().text();
                assert!(
                    listing.contains("2000000 ") && listing.contains(&format!("{number}.bin")),
                    "{listing}"
                );
                assert!(
                    fs::read(depot.home("bob").join(format!("new/sub/{number}.bin"))).unwrap() == data,
                    "{how}"
                );
            }
        }
    }
    // Taken up again, appended to, renamed, removed; text with its line ends.
    let at = format!("ftp://localhost:{}/again", depot.ftp());
    let home = depot.home("bob");
    fs::write(home.join("again"), &data[..700_000]).unwrap();
    curl("--continue-at - --upload-file").arg(&file).arg(&at).run();
    assert!(fs::read(home.join("again")).unwrap() == data);
    let part = depot.dir().join("part");
    fs::write(&part, &data[..900_000]).unwrap();
    curl("--continue-at - --output").arg(&part).arg(&at).run();
    assert!(fs::read(&part).unwrap() == data);
    curl("--append --upload-file").arg(&file).arg(&at).run();
    assert!(fs::read(home.join("again")).unwrap() == [&data[..], &data[..]].concat());
    curl("--quote")
        .arg("-RNFR again")
        .arg("--quote")
        .arg("-RNTO other")
        .arg(format!("ftp://localhost:{}/", depot.ftp()))
        .run();
    assert!(!home.join("again").exists() && home.join("other").exists());
    fs::write(home.join("text"), "one\ntwo\n").unwrap();
    let text = format!("ftp://localhost:{}/text;type=a", depot.ftp());
    assert_eq!(curl("").arg(&text).run().out, b"one\ntwo\n");
    let head = curl("--head").arg(format!("ftp://localhost:{}/text", depot.ftp())).run().text();
    assert!(head.contains("Content-Length: 8"), "{head}");
    let wrong = foreign("curl").args("--silent --show-error --user bob@boat.test:wrong");
    assert_eq!(wrong.arg(format!("ftp://127.0.0.1:{}/", depot.ftp())).attempt().code, Some(67));
}

#[test]
fn lftp_mirrors_both_ways() {
    let depot = Depot::start();
    let tree = tree();
    let here = depot.dir().join("here");
    write(&tree, &here);
    for host in depot.hosts() {
        for way in WAYS {
            // Over the loopback of IPv6, lftp says `EPRT |2|::|…`.
            for passive in ["yes", "no"] {
                let how = format!("lftp {way} {host}, passive {passive}");
                let back = depot.dir().join("back");
                let script = format!(
                    "set net:max-retries 1; set net:timeout 20; set cmd:fail-exit yes; set cmd:interactive no\n\
                     set ssl:ca-file {ca}; set ftp:ssl-allow {tls}; set ftp:ssl-force {tls}; set ftp:ssl-protect-data yes\n\
                     set ftp:passive-mode {passive}; set mirror:parallel-transfer-count 2; set xfer:clobber yes\n\
                     open -u alice@boat.test,demo {scheme}://{host}:{port}\n\
                     mirror -R {here} up\n\
                     mirror up {back}\n\
                     pget -n 3 up/a/b/large -o {back}/in-parts\n\
                     cls -l up/a; ls -la up; nlist up; du up; find up; glob -- ls up/a/o*\n\
                     mv up moved; chmod 600 moved/empty; get moved/a/one -o {back}/cat\n\
                     put {here}/a/b/large -o moved/large; reput {here}/a/b/large -o moved/large; get moved/large -o {back}/got\n\
                     rm -r moved; quote NOOP; bye\n",
                    ca = depot.ca().display(),
                    tls = if way == "ftp" { "no" } else { "yes" },
                    scheme = if way == "ftps" { "ftps" } else { "ftp" },
                    port = port(&depot, way),
                    here = here.display(),
                    back = back.display(),
                );
                let file = depot.dir().join("script");
                fs::write(&file, script).unwrap();
                let said =
                    foreign("lftp").env("HOME", depot.dir()).arg("--norc").arg("-f").arg(&file).run().text();
                let mut want = tree.clone();
                for (name, like) in [("in-parts", "a/b/large"), ("cat", "a/one"), ("got", "a/b/large")] {
                    want.insert(name.to_owned(), tree[like].clone());
                }
                assert_same(&read(&back), &want, &format!("{how}\n{said}"));
                assert_same(&read(&depot.home("alice")), &Tree::new(), &format!("{how}: what is left"));
                fs::remove_dir_all(back).unwrap();
            }
        }
    }
}

/// The old clients, which know no TLS.
#[test]
fn tnftp_inetutils_and_ncftp() {
    let depot = Depot::start();
    let dir = depot.dir().to_owned();
    let (large, text) = (blob(7, 1_000_000), "one\ntwo\n\nfour\n".repeat(1000).into_bytes());
    fs::write(dir.join("large"), &large).unwrap();
    fs::write(dir.join("text"), &text).unwrap();
    let netrc = dir.join(".netrc");
    fs::write(&netrc, "machine localhost login alice@boat.test password demo\nmachine ::1 login alice@boat.test password demo\n")
        .unwrap();
    Command::new("chmod").arg("600").arg(&netrc).status().unwrap();
    let home = depot.home("alice");
    let client = |name: &str| foreign(name).env("HOME", &dir).dir(&dir);
    let session = |client: Foreign, how: &str| {
        let script = "binary\nput large r.bin\nget r.bin back.bin\nascii\nput text r.txt\nget r.txt back.txt\n\
                      binary\nget r.txt raw.txt\nls\nnlist\nmkdir some\ncd some\npwd\nput text in.txt\ncdup\n\
                      rename r.txt s.txt\nappend text s.txt\nget s.txt twice.txt\nmodtime s.txt\nsize s.txt\n\
                      delete s.txt\ncd some\ndelete in.txt\ncdup\nrmdir some\nsystem\nrstatus\nremotehelp\nquit\n";
        let said = client.input(script).run().text();
        assert!(!said.contains("Not connected"), "{how}: {said}");
        for (file, want) in [("back.bin", &large), ("back.txt", &text), ("raw.txt", &text)] {
            assert!(fs::read(dir.join(file)).unwrap_or_default() == *want, "{how}: {file}\n{said}");
            fs::remove_file(dir.join(file)).unwrap();
        }
        assert!(fs::read(dir.join("twice.txt")).unwrap() == [&text[..], &text[..]].concat(), "{how}: {said}");
        fs::remove_file(dir.join("twice.txt")).unwrap();
        let want = Tree::from([("r.bin".to_owned(), Some(large.clone()))]);
        assert_same(&read(&home), &want, &format!("{how}\n{said}"));
        fs::remove_file(home.join("r.bin")).unwrap();
    };
    let ftp = depot.ftp().to_string();
    for host in depot.hosts() {
        let host = host.trim_matches(['[', ']']);
        for mode in ["-A", "-p"] {
            session(client("tnftp").arg(mode).arg("-v").arg(host).arg(&ftp), &format!("tnftp {mode} {host}"));
        }
        // In its later sessions inetutils' client closes descriptors that are other files by then, so each has one mode.
        for mode in ["-A", "-p"] {
            let family = if host == "::1" { "-6" } else { "-4" };
            let inetutils = client("inetutils-ftp").args(family).arg(mode).arg("-v").arg(host).arg(&ftp);
            session(inetutils, &format!("inetutils {mode} {host}"));
        }
    }
    let url = format!("ftp://alice%40boat.test:demo@localhost:{ftp}/by-url");
    client("tnftp").arg("-u").arg(&url).arg("large").run();
    client("tnftp").args("-o back.url").arg(&url).run();
    assert!(fs::read(dir.join("back.url")).unwrap() == large);
    fs::remove_file(home.join("by-url")).unwrap();

    let tree = tree();
    write(&tree, &dir.join("here"));
    // ncftp knows IPv4 only.
    for mode in ["-F", "-E"] {
        let ncftp = |name: &str| client(name).args("-u alice@boat.test -p demo -V -P").arg(&ftp).arg(mode);
        fs::create_dir_all(dir.join("nc")).unwrap();
        ncftp("ncftpput").args("-m -R 127.0.0.1 up here").run();
        ncftp("ncftpget").args("-R 127.0.0.1 nc up/here").run();
        assert_same(&read(&dir.join("nc/here")), &tree, &format!("ncftp {mode}"));
        let listed = client("ncftpls").args("-u alice@boat.test -p demo -P").arg(&ftp).arg(mode);
        let listed = listed.arg("-l").arg("ftp://127.0.0.1/up/here/a").run().text();
        assert!(listed.contains("one") && listed.contains("3000"), "{listed}");
        fs::remove_dir_all(dir.join("nc")).unwrap();
        fs::remove_dir_all(home.join("up")).unwrap();
    }
}

#[test]
fn wget_and_rclone() {
    let depot = Depot::start();
    let (dir, home, tree) = (depot.dir().to_owned(), depot.home("bob"), tree());
    // The directory is made at the first log-in.
    foreign("curl")
        .args("--silent --user bob@boat.test:demo")
        .arg(format!("ftp://localhost:{}/", depot.ftp()))
        .run();
    write(&tree, &home.join("up"));
    for host in depot.hosts() {
        let mut ways = vec![
            format!("ftp://{host}:{}", depot.ftp()),
            format!("--no-passive-ftp ftp://{host}:{}", depot.ftp()),
        ];
        // wget does not compare a certificate's addresses, only its names.
        let trust = if host == "localhost" { "" } else { "--no-check-certificate " };
        ways.extend([
            format!("{trust}ftps://{host}:{}", depot.ftp()),
            format!("{trust}--no-passive-ftp ftps://{host}:{}", depot.ftp()),
            format!("{trust}--ftps-clear-data-connection ftps://{host}:{}", depot.ftp()),
            format!("{trust}--ftps-implicit ftps://{host}:{}", depot.ftps()),
            format!("{trust}--ftps-implicit --no-passive-ftp ftps://{host}:{}", depot.ftps()),
        ]);
        for way in ways {
            let wget =
                foreign("wget").env("HOME", &dir).dir(&dir).args("--no-verbose --tries=1 -r -l 9 -nH -P w");
            let wget = wget.args("--ftp-user=bob@boat.test --ftp-password=demo --no-hsts --ca-certificate");
            let said = wget.arg(depot.ca()).args(&format!("{way}/up/")).run().text();
            assert_same(&read(&dir.join("w/up")), &tree, &format!("wget {way}\n{said}"));
            fs::remove_dir_all(dir.join("w")).unwrap();
        }
    }

    let rclone = |way: &str, host: &str| {
        let secret = foreign("rclone").args("obscure demo").run().text();
        let tls = match way {
            "ftps" => "--ftp-tls",
            "ftpes" => "--ftp-explicit-tls",
            _ => "",
        };
        let rclone = foreign("rclone").env("HOME", &dir).env("SSL_CERT_FILE", depot.ca()).dir(&dir).args(tls);
        let rclone =
            rclone.args("--config /dev/null --retries 1 --low-level-retries 1 --ftp-user bob@boat.test");
        let rclone = rclone.args(&format!("--ftp-host {host} --ftp-port {}", port(&depot, way)));
        rclone.arg("--ftp-pass").arg(secret.trim())
    };
    for host in depot.hosts() {
        for way in WAYS {
            let how = format!("rclone {way} {host}");
            let rclone = || rclone(way, host);
            rclone().args("copy --create-empty-src-dirs :ftp:up back").run();
            assert_same(&read(&dir.join("back")), &tree, &how);
            rclone().args("copy --create-empty-src-dirs back :ftp:again").run();
            assert_same(&read(&home.join("again")), &tree, &how);
            rclone().args("purge :ftp:again").run();
            assert!(!home.join("again").exists(), "{how}");
            fs::remove_dir_all(dir.join("back")).unwrap();
        }
    }
    mounted(&depot, &dir, &home, &tree);
}

/// The server's files as a file system of this machine: the place of curlftpfs, which Debian has no more.
fn mounted(depot: &Depot, dir: &Path, home: &Path, tree: &Tree) {
    if fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
        eprintln!("this machine has no /dev/fuse: mounting is not tried");
        return;
    }
    let mountpoint = dir.join("mounted");
    fs::create_dir_all(&mountpoint).unwrap();
    let secret = foreign("rclone").args("obscure demo").run().text();
    let mut mount = Mount(
        Command::new(program_path("rclone"))
            .args(["mount", "--config", "/dev/null", "--vfs-cache-mode", "writes", "--vfs-write-back", "0s"])
            .args(["--ftp-user", "bob@boat.test", "--ftp-pass", secret.trim(), "--ftp-explicit-tls"])
            .args(["--ftp-host", "localhost", "--ftp-port", &depot.ftp().to_string(), ":ftp:"])
            .arg(&mountpoint)
            .env("SSL_CERT_FILE", depot.ca())
            .env("HOME", dir)
            .stderr(fs::File::create(dir.join("mount.log")).unwrap())
            .spawn()
            .unwrap(),
        mountpoint.clone(),
    );
    let deadline = Instant::now() + Duration::from_secs(120);
    while !mountpoint.join("up").exists() {
        let log = || fs::read_to_string(dir.join("mount.log")).unwrap();
        if mount.0.try_wait().unwrap().is_some() && log().contains("fusermount") {
            // A container may have the device and not the right to mount.
            eprintln!("mounting is not allowed here: {}", log());
            return;
        }
        assert!(Instant::now() < deadline, "{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_same(&read(&mountpoint.join("up")), tree, "through the mount");
    fs::write(mountpoint.join("written"), &tree["a/b/large"].as_ref().unwrap()[..]).unwrap();
    while fs::read(home.join("written")).unwrap_or_default() != *tree["a/b/large"].as_ref().unwrap() {
        assert!(Instant::now() < deadline, "what was written did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::remove_file(mountpoint.join("written")).unwrap();
    assert!(!home.join("written").exists());
}

/// A mount that goes with the test.
struct Mount(Child, PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").args(["-u", "-z"]).arg(&self.1).status();
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A person at a terminal, with nothing but TLS.
#[test]
fn by_hand_through_openssl() {
    let depot = Depot::start();
    let (text, stored) = ("one\r\ntwo\r\n".repeat(1000), depot.home("alice").join("hand"));
    for host in depot.hosts() {
        for way in ["ftpes", "ftps"] {
            for version in ["-tls1_2", "-tls1_3"] {
                let openssl = || {
                    let trust = foreign("openssl").args("s_client -quiet -verify_return_error -verify_quiet");
                    trust.arg("-CAfile").arg(depot.ca()).arg(version)
                };
                let at = format!("{host}:{}", port(&depot, way));
                let starttls = if way == "ftpes" { "-starttls ftp" } else { "" };
                let mut control = openssl().args("-crlf -connect").arg(&at).args(starttls).converse();
                if way == "ftps" {
                    control.expect("220 ");
                }
                for (line, reply) in [
                    ("AUTH TLS", "503 "),
                    ("USER alice@boat.test", "331 "),
                    ("PASS demo", "230 "),
                    ("PBSZ 0", "200 "),
                    ("PROT P", "200 "),
                    ("PWD", "257 \"/\""),
                ] {
                    control.say(line);
                    control.expect(reply);
                }
                // The way for data, and a second openssl that goes along it.
                let mut transfer = |line: &str, data: Foreign| {
                    control.say("EPSV");
                    let said = control.expect("229 ");
                    let at = format!("{host}:{}", said.split('|').nth(3).unwrap());
                    control.say(line);
                    control.expect("150 ");
                    let got = data.arg("-connect").arg(at).run().out;
                    control.expect("226 ");
                    got
                };
                // Its end of input is the end of the file, and sent as such.
                transfer("STOR hand", openssl().arg("-no_ign_eof").input(text.clone()));
                assert_eq!(fs::read_to_string(&stored).unwrap(), text.replace('\r', ""), "{way} {host}");
                assert_eq!(transfer("RETR hand", openssl()), text.as_bytes(), "{way} {host}");
                assert!(String::from_utf8(transfer("LIST", openssl())).unwrap().ends_with(" hand\r\n"));
                control.say("QUIT");
                control.expect("221 ");
                control.end();
            }
        }
    }
}
