//! What can go wrong in the middle of a transfer: the disk is full, the quota is, the server is killed, the line is cut in
//! every phase. No torn file is ever seen, the client is told what it was, and the server goes on.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use packetboat_ftp::client::{ConnectionPolicy, Transfer, What};
use packetboat_ftp::command::{Command, parse};
use packetboat_ftp::data::{Mode, Representation, Structure, Type};
use support::{Depot, Ended, Ftp, Raw, blob, foreign, free_port, reset};

const IMAGE: Representation =
    Representation { ty: Type::Image, structure: Structure::File, mode: Mode::Stream };
/// What the small disk and the small quota hold.
const ROOM: usize = 4 << 20;

fn transfer(line: &str) -> Transfer {
    let what = match parse(line.as_bytes()).unwrap() {
        Command::Retr(path) => What::Retrieve(path),
        Command::Stor(path) => What::Store(path),
        Command::Stou(path) => What::StoreUnique(path),
        Command::Appe(path) => What::Append(path),
        Command::List(path) => What::List(path),
        Command::Nlst(path) => What::Names(path),
        other => panic!("{other:?}"),
    };
    Transfer::new(what, IMAGE)
}

fn fetch(ftp: &mut Ftp, name: &str) -> Option<Vec<u8>> {
    let Ended { reply, data, .. } = ftp.fetch(transfer(&format!("RETR {name}")));
    (reply.code() == 226).then_some(data)
}

fn names(ftp: &mut Ftp) -> Vec<String> {
    let listed = ftp.fetch(transfer("NLST -a"));
    assert_eq!(listed.code(), 226, "{}", listed.reply);
    let text = String::from_utf8(listed.data).unwrap();
    let mut names: Vec<String> =
        text.lines().map(str::to_owned).filter(|name| !matches!(&name[..], "." | "..")).collect();
    names.sort();
    names
}

/// Nothing is kept of what found no room, `code` says why, and what is there stays as it is.
fn no_room(depot: &Depot, code: u16) {
    let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
    let (small, large) = (blob(1, 10_000), blob(2, 2 * ROOM));
    assert_eq!(ftp.send(transfer("STOR small"), &small).code(), 226);
    for line in ["STOR large", "STOR small", "APPE small", "APPE other", "STOU unique"] {
        let ended = ftp.send(transfer(line), &large);
        assert_eq!(ended.code(), code, "{line}: {}", ended.reply);
        assert_eq!(names(&mut ftp), ["small"], "after {line}");
        assert!(fetch(&mut ftp, "small").unwrap() == small, "after {line}");
    }
    // In blocks and in records it is the same.
    let mut blocks = transfer("STOR blocks");
    blocks.representation = Representation { mode: Mode::Block, ..IMAGE };
    let wire = [&in_blocks(&large)[..], &[64, 0, 0]].concat();
    assert_eq!(ftp.send(blocks, &wire).code(), code);
    // 64 MB of nothing, in 64 kB: what it is inflated to counts.
    let mut bomb = transfer("STOR bomb");
    bomb.deflate = true;
    let before = depot.memory_kib();
    assert_eq!(ftp.send(bomb, &deflated_zeros(64_000_000)).code(), code);
    let grown = depot.memory_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "a bomb of MODE Z takes {grown} KiB of memory");
    // It is said before anything is sent, to who asks.
    assert_eq!(ftp.command(&format!("ALLO {}", 4 * ROOM)).code(), code);
    assert_eq!(names(&mut ftp), ["small"]);
    // There is room again for what fits, though not twice; and others have it too.
    assert_eq!(ftp.send(transfer("STOR fits"), &large[..ROOM / 8 * 5]).code(), 226);
    assert!(fetch(&mut ftp, "fits").unwrap() == large[..ROOM / 8 * 5]);
    for line in ["SITE COPY fits copy", "SITE COPY fits small"] {
        let reply = ftp.command(line);
        assert_eq!(reply.code(), code, "{line}: {reply}");
        assert_eq!(names(&mut ftp), ["fits", "small"], "after {line}");
        assert!(fetch(&mut ftp, "small").unwrap() == small, "after {line}");
    }
    // What is put together is on the disk twice for a while; in the quota it is not.
    let reply = ftp.command("COMB whole small fits");
    if code == 552 {
        assert_eq!((reply.code(), names(&mut ftp)), (250, vec!["whole".to_owned()]));
        assert!(fetch(&mut ftp, "whole").unwrap() == [&small, &large[..ROOM / 8 * 5]].concat());
        assert_eq!(ftp.command("DELE whole").code(), 250);
    } else {
        assert_eq!((reply.code(), names(&mut ftp)), (code, vec!["fits".to_owned(), "small".to_owned()]));
        assert_eq!(ftp.command("DELE fits").code(), 250);
    }
    let mut other = Ftp::login_as(depot.at(), ConnectionPolicy::PlainActive, "bob@boat.test");
    assert_eq!(other.send(transfer("STOR fits"), &large[..ROOM / 2]).code(), 226);
}

fn deflated_zeros(octets: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 16];
    for _ in 0..octets / zeros.len() {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn the_disk_is_full() {
    no_room(&Depot::start_on_disk_of(ROOM), 452);
}

#[test]
fn the_quota_is_full() {
    no_room(&Depot::start_with("", &format!("[files]\nquota = \"{ROOM} B\"\n")), 552);
}

/// Octets of the file that is being stored, under whatever name it has until it is whole.
fn hidden_octets(home: &Path) -> u64 {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name() != "there")
        .map(|entry| entry.metadata().map_or(0, |it| it.len()))
        .max()
        .unwrap_or(0)
}

fn wait(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What lies in a directory, hidden or not.
fn on_disk(home: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(home)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A file in blocks, without the end that says that it is whole.
fn in_blocks(data: &[u8]) -> Vec<u8> {
    let pieces = data.chunks(60_000);
    pieces.flat_map(|piece| [&[0], &(piece.len() as u16).to_be_bytes()[..], piece].concat()).collect()
}

#[test]
fn the_server_is_killed_in_the_middle() {
    let mut depot = Depot::start();
    let (there, large) = (blob(3, 50_000), blob(4, 3_000_000));
    let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
    assert_eq!(ftp.send(transfer("STOR there"), &there).code(), 226);
    for (line, mode) in [
        ("STOR new", Mode::Stream),
        ("STOR there", Mode::Stream),
        ("APPE there", Mode::Stream),
        ("STOU", Mode::Stream),
        ("STOR new", Mode::Block),
        ("STOR there", Mode::Block),
    ] {
        let how = format!("{line} in {mode:?}");
        let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
        let mut held = transfer(line);
        held.representation.mode = mode;
        let wire = if mode == Mode::Block { in_blocks(&large) } else { large.clone() };
        ftp.send_and_hold(held, &wire);
        wait("what was sent is on disk", || hidden_octets(&depot.home("alice")) >= large.len() as u64);
        depot.boat().kill();
        assert!(std::fs::read(depot.home("alice").join("there")).unwrap() == there, "{how}");
        let left = on_disk(&depot.home("alice"));
        assert!(
            left.iter().all(|name| name == "there" || name.starts_with(".packetboat-")),
            "{how}: half a file is seen: {left:?}"
        );
        depot.serve();
        let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
        assert_eq!(names(&mut ftp), ["there"], "after {how}");
        assert!(fetch(&mut ftp, "there").unwrap() == there, "{how}");
        // What was left is swept out, and in nobody's way before.
        assert_eq!(ftp.send(transfer("STOR new"), &large).code(), 226);
        assert!(fetch(&mut ftp, "new").unwrap() == large);
        assert_eq!(ftp.command("DELE new").code(), 250);
        assert_eq!(names(&mut ftp), ["there"], "after {how}");
        wait("what was left is swept out", || on_disk(&depot.home("alice")) == ["there"]);
    }
}

/// What was kept of an upload that broke is still there, for who sent it, when the server was killed since.
#[test]
fn what_is_kept_outlives_the_server() {
    let mut depot = Depot::start();
    let (large, home) = (blob(8, 3_000_000), depot.home("alice"));
    let mut raw = Raw::login(depot.at());
    raw.expect(200, "TYPE I");
    let mut data = raw.data();
    assert!(matches!(raw.say("STOR new").0, 150 | 125));
    data.write_all(&large[..2_000_000]).unwrap();
    wait("what was sent is on disk", || hidden_octets(&home) >= 2_000_000);
    reset(data);
    assert_eq!(raw.reply().0, 426);
    assert_eq!(on_disk(&home), [".packetboat-parts"]);
    depot.boat().kill();
    depot.serve();
    let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
    ftp.expect(200, "TYPE I");
    let at: usize = ftp.expect(213, "SIZE new").parse().unwrap();
    assert_eq!(at, 2_000_000);
    assert_eq!(names(&mut ftp), [""; 0]);
    assert_eq!(fetch(&mut ftp, "new"), None);
    // Nobody else has a part of it.
    let mut other = Ftp::login_as(depot.at(), ConnectionPolicy::Passive, "bob@boat.test");
    other.expect(550, "SIZE new");
    let mut rest = transfer("STOR new");
    rest.restart = Some(at.to_string());
    assert_eq!(ftp.send(rest, &large[at..]).code(), 226);
    assert!(fetch(&mut ftp, "new").unwrap() == large);
    wait("the last part takes its place along", || on_disk(&home) == ["new"]);
}

/// The verbs with what each would do to `there`, and to nothing else.
const VERBS: [&str; 6] = ["STOR there", "STOR new", "APPE there", "STOU", "RETR there", "LIST"];

/// What there may be after a line was cut.
fn check(depot: &Depot, there: &[u8], may_be: &[u8], how: &str) {
    let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
    let now = fetch(&mut ftp, "there").unwrap();
    let appended = [there, may_be].concat();
    assert!(
        now == there || (!may_be.is_empty() && (now == may_be || now == appended)),
        "{how}: there is torn"
    );
    for name in names(&mut ftp) {
        if name != "there" {
            assert!(!may_be.is_empty() && fetch(&mut ftp, &name).unwrap() == may_be, "{how}: {name} is torn");
            assert_eq!(ftp.command(&format!("DELE {name}")).code(), 250);
        }
    }
    assert_eq!(ftp.send(transfer("STOR there"), there).code(), 226, "{how}");
}

#[test]
fn the_line_is_cut_in_every_phase() {
    let depot = Depot::start();
    let (there, sent) = (blob(5, 8_000_000), blob(6, 2_000_000));
    let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
    assert_eq!(ftp.send(transfer("STOR there"), &there).code(), 226);
    let before = depot.descriptors();
    for verb in VERBS {
        let stores = !verb.starts_with("RETR") && !verb.starts_with("LIST");

        // The control connection, before anything was answered.
        let mut raw = Raw::login(depot.at());
        raw.expect(200, "TYPE I");
        let data = raw.data();
        raw.send(format!("{verb}\r\n").as_bytes());
        drop((raw, data));
        check(&depot, &there, b"", &format!("{verb}, cut before 150"));

        // Nobody listens where the data connection has to go.
        let mut raw = Raw::login(depot.at());
        raw.expect(200, &format!("EPRT |1|127.0.0.1|{}|", free_port()));
        let (code, text) = raw.say(verb);
        let code = if code == 150 { raw.reply().0 } else { code };
        assert_eq!(code, 425, "{verb}, nobody listens: {text}");
        raw.expect(200, "NOOP");
        drop(raw);
        check(&depot, &there, b"", &format!("{verb}, nobody listens"));

        // The data connection, in the middle.
        let mut raw = Raw::login(depot.at());
        raw.expect(200, "TYPE I");
        let mut data = raw.data();
        let (code, text) = raw.say(verb);
        assert!(matches!(code, 150 | 125), "{text}");
        if stores {
            data.write_all(&sent).unwrap();
            // A reset overtakes what nobody has read yet, and the connection itself if nobody has taken it yet.
            wait("all is read", || raw.expect(211, "STAT").contains(&format!(" {} octets", sent.len())));
        } else {
            data.read_exact(&mut [0; 10]).unwrap();
        }
        reset(data);
        let (code, text) = raw.reply();
        // A listing may have been on its way before.
        assert!(code == 426 || (verb == "LIST" && code == 226), "{verb}, data cut: {text}");
        raw.expect(200, "NOOP");
        drop(raw);
        check(&depot, &there, b"", &format!("{verb}, data cut"));

        // The control connection, in the middle.
        let mut raw = Raw::login(depot.at());
        raw.expect(200, "TYPE I");
        let mut data = raw.data();
        assert!(matches!(raw.say(verb).0, 150 | 125));
        if stores {
            data.write_all(&sent).unwrap();
        }
        drop(raw);
        // The transfer is given up, and the data connection with it.
        data.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let mut rest = Vec::new();
        let _ = data.read_to_end(&mut rest);
        assert!(rest.len() <= there.len());
        drop(data);
        check(&depot, &there, b"", &format!("{verb}, control cut in the middle"));

        // Both, after the data and before the answer.
        let mut raw = Raw::login(depot.at());
        raw.expect(200, "TYPE I");
        let mut data = raw.data();
        assert!(matches!(raw.say(verb).0, 150 | 125));
        if stores {
            data.write_all(&sent).unwrap();
            data.shutdown(Shutdown::Write).unwrap();
        } else {
            data.read_to_end(&mut Vec::new()).unwrap();
        }
        drop((raw, data));
        wait("the session has ended", || depot.descriptors() <= before);
        check(&depot, &there, &sent, &format!("{verb}, cut before 226"));
    }
    drop(ftp);
    wait("descriptors are given back", || depot.descriptors() <= before);
}

/// What is begun and not ended, or is none, in the place of a handshake.
const HANDSHAKES: &str = r#"
import concurrent.futures, ftplib, ssl, socket, sys
port, ca = int(sys.argv[1]), sys.argv[2]
tls = ssl.create_default_context(cafile=ca)
HELLO = bytes.fromhex('1603010200010001fc0303') + bytes(20)
def cut(how, verb):
    f = ftplib.FTP_TLS(context=tls)
    f.connect('localhost', port)
    f.login('alice@boat.test', 'demo')
    f.prot_p()
    f.voidcmd('TYPE I')
    host, at = f.makepasv()
    data = socket.create_connection((host, at))
    assert f.sendcmd(verb).startswith('150')
    if how == 'nonsense': data.sendall(b'GET / HTTP/1.1\r\n\r\n')
    if how == 'half': data.sendall(HELLO)
    if how == 'untrusting':
        try: ssl.create_default_context().wrap_socket(data, server_hostname='localhost')
        except ssl.SSLError: pass
    else: data.shutdown(socket.SHUT_WR)
    try: code = f.voidresp()
    except ftplib.all_errors as error: code = str(error)
    assert code[:3] in ('425', '426', '522'), (how, verb, code)
    data.close()
    assert f.voidcmd('NOOP').startswith('200')
    assert f.nlst() == ['there'], (how, verb)
    f.quit()
def cut_control(how):
    c = socket.create_connection(('localhost', port))
    c.recv(1000)
    c.sendall(b'AUTH TLS\r\n')
    assert c.recv(1000).startswith(b'234')
    if how == 'nonsense': c.sendall(b'USER mallory\r\n')
    if how == 'half': c.sendall(HELLO)
    c.close()
# The right connection may come for a while after a wrong one, so all of them wait at the same time.
with concurrent.futures.ThreadPoolExecutor(20) as pool:
    ways = ['close', 'nonsense', 'half', 'untrusting']
    tries = [pool.submit(cut, how, verb) for how in ways for verb in ['STOR new', 'APPE there', 'STOU', 'RETR there', 'LIST']]
    tries += [pool.submit(cut_control, how) for how in ways]
    for it in tries: it.result()
"#;

#[test]
fn the_line_is_cut_during_the_handshake() {
    let depot = Depot::start();
    let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
    let there = blob(7, 20_000);
    assert_eq!(ftp.send(transfer("STOR there"), &there).code(), 226);
    foreign("python3").arg("-c").arg(HANDSHAKES).arg(depot.ftp().to_string()).arg(depot.ca()).run();
    assert!(fetch(&mut ftp, "there").unwrap() == there);
    assert_eq!(names(&mut ftp), ["there"]);
}

/// Who opens data connections and lets them be.
#[test]
fn silence_on_the_data_connection_holds_nobody_else_up() {
    let depot = Depot::start();
    let mut held: Vec<(Raw, TcpStream)> = Vec::new();
    for n in 0..20 {
        let mut raw = Raw::login(depot.at());
        let data = raw.data();
        assert!(matches!(raw.say(&format!("STOR held{n}")).0, 150 | 125));
        held.push((raw, data));
    }
    let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
    assert_eq!(ftp.send(transfer("STOR there"), b"octets").code(), 226);
    assert_eq!(names(&mut ftp), ["there"]);
    // Each is heard meanwhile.
    for (raw, _) in &mut held {
        raw.send(b"\xff\xf4\xff\xf2ABOR\r\n");
        assert_eq!(raw.reply().0, 426);
        assert_eq!(raw.reply().0, 226);
    }
    assert_eq!(names(&mut ftp), ["there"]);
}

/// Where the data themselves say where they end, an end of the connection before that is none of the file.
#[test]
fn what_has_no_end_is_no_file() {
    let depot = Depot::start();
    let mut ftp = Ftp::login(depot.at(), ConnectionPolicy::Passive);
    assert_eq!(ftp.send(transfer("STOR there"), b"as it was").code(), 226);
    for (parameters, wire) in [
        (["STRU F", "MODE B"], in_blocks(&blob(9, 100_000))),
        (["STRU F", "MODE B"], b"\0\xff\xffin the middle of a block".to_vec()),
        (["STRU F", "MODE B"], b"\x40".to_vec()),
        (["STRU F", "MODE C"], b"\x07octets\x7f".to_vec()),
        (["STRU R", "MODE S"], b"a record\xff\x01and half of one".to_vec()),
        (["STRU R", "MODE S"], b"a record\xff\x01".to_vec()),
        (["STRU R", "MODE S"], b"a record\xff".to_vec()),
        (["STRU R", "MODE B"], b"\x80\0\x08a record".to_vec()),
        (["STRU P", "MODE S"], b"\x04\0\xc8\x01half a page".to_vec()),
    ] {
        for verb in ["STOR new", "STOR there", "APPE there", "STOU"] {
            let mut raw = Raw::login(depot.at());
            for line in ["TYPE I", parameters[0], parameters[1]] {
                raw.expect(200, line);
            }
            let how = format!("{verb}, {parameters:?}, {}", wire[..wire.len().min(20)].escape_ascii());
            let mut data = raw.data();
            assert!(matches!(raw.say(verb).0, 150 | 125), "{how}");
            data.write_all(&wire).unwrap();
            drop(data);
            let (code, text) = raw.reply();
            assert!(matches!(code, 426 | 451 | 551), "{how}: {text}");
            raw.expect(200, "NOOP");
            assert_eq!(names(&mut ftp), ["there"], "{how}");
            assert_eq!(fetch(&mut ftp, "there").unwrap(), b"as it was", "{how}");
        }
    }
}

/// Each end of a connection under TLS, at each moment, that is not the end of the file.
const CUTS: &str = r#"
import ftplib, io, os, socket, ssl, struct, sys
port, ca = int(sys.argv[1]), sys.argv[2]
THERE, SENT = os.urandom(4_000_000), os.urandom(1_000_000)

def enter(version):
    tls = ssl.create_default_context(cafile=ca)
    tls.minimum_version = tls.maximum_version = version
    f = ftplib.FTP_TLS(context=tls)
    f.connect('localhost', port, timeout=60)
    f.login('alice@boat.test', 'demo')
    f.prot_p()
    f.voidcmd('TYPE I')
    return f

def cut(line, how):
    # The descriptor without TLS: closed by a reset, or by an end without a farewell.
    line = socket.socket(fileno=line.detach())
    if how == 'reset': line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    line.close()

def is_as_it_was(how):
    f = enter(ssl.TLSVersion.TLSv1_3)
    out = io.BytesIO()
    f.retrbinary('RETR there', out.write)
    assert out.getvalue() == THERE and sorted(f.nlst()) == ['huge', 'there'], (how, f.nlst())
    # What was kept of it is in nobody's way.
    f.storbinary('STOR there', io.BytesIO(THERE))
    f.quit()

f = enter(ssl.TLSVersion.TLSv1_3)
f.storbinary('STOR there', io.BytesIO(THERE))
f.quit()
for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
    for verb in ['STOR new', 'STOR there', 'APPE there', 'STOU', 'RETR huge']:
        for end in ['reset', 'no farewell']:
            for whose in ['data', 'control']:
                how = (version, verb, end, whose)
                f = enter(version)
                line = f.transfercmd(verb)
                if verb.startswith('RETR'): assert line.recv(1000)
                else: line.sendall(SENT)
                if whose == 'data':
                    cut(line, end)
                    try: reply = f.voidresp()
                    except ftplib.all_errors as error: reply = str(error)
                    assert reply.startswith('426'), (how, reply)
                    assert f.voidcmd('NOOP').startswith('200'), how
                    f.close()
                else:
                    cut(f.sock, end)
                    f.close()
                    # It is given up: nothing waits for what this one would still send.
                    try:
                        while line.recv(1 << 16): pass
                    except OSError: pass
                    line.close()
                is_as_it_was(how)
"#;

#[test]
fn the_line_is_cut_under_tls() {
    let depot = Depot::start();
    drop(Ftp::login(depot.at(), ConnectionPolicy::Passive));
    wait("the session is gone", || depot.log().contains("connection ended"));
    // More than fits between the two: it cannot have been sent before the line is cut.
    std::fs::File::create(depot.home("alice").join("huge")).unwrap().set_len(200 << 20).unwrap();
    let before = depot.descriptors();
    foreign("python3").arg("-c").arg(CUTS).arg(depot.ftp().to_string()).arg(depot.ca()).run();
    wait("descriptors are given back", || depot.descriptors() <= before);
}

/// The way is prepared, and nobody comes along it; or the command never comes.
#[test]
fn what_was_prepared_goes_with_the_session() {
    let depot = Depot::start();
    drop(Raw::login(depot.at()));
    wait("the session is gone", || depot.log().contains("connection ended"));
    let before = depot.descriptors();
    for verb in ["", "STOR new\r\n", "RETR there\r\n", "LIST\r\n", "STOU\r\nABOR\r\n"] {
        for way in ["PASV", "EPSV", "LPSV", "PORT 127,0,0,1,255,1"] {
            let mut raw = Raw::login(depot.at());
            let (code, text) = raw.say(way);
            assert!((200..300).contains(&code), "{text}");
            raw.send(verb.as_bytes());
            drop(raw);
        }
    }
    wait("descriptors are given back", || depot.descriptors() <= before);
    assert_eq!(on_disk(&depot.home("alice")), [""; 0]);
}
