use super::*;
use crate::data::{ByteSize, Format};

fn path(text: &str) -> PathName {
    PathName::new(text).unwrap()
}

fn ok(line: &str) -> Command {
    parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn lines_that_are_commands() {
    let v4 = |port| SocketAddr::from(([192, 0, 2, 7], port));
    let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 5282));
    let time = FileTime { seconds: 951_868_799, nanoseconds: 0 };
    for (line, want) in [
        ("USER anna", Command::User("anna".into())),
        ("user anna ", Command::User("anna".into())),
        ("PASS  two  spaces ", Command::Pass(Secret::from(" two  spaces "))),
        ("PASS", Command::Pass(Secret::from(""))),
        ("XCUP", Command::Cdup),
        ("CWD  leading space", Command::Cwd(path(" leading space"))),
        ("PORT 192,0,2,7,20,162", Command::Port(v4(5282))),
        ("EPRT |1|192.0.2.7|5282|", Command::Eprt(v4(5282))),
        ("EPRT !2!2001:db8::1!5282!", Command::Eprt(v6)),
        ("LPRT 4,4,192,0,2,7,2,20,162", Command::Lprt(v4(5282))),
        ("LPRT 6,16,32,1,13,184,0,0,0,0,0,0,0,0,0,0,0,1,2,20,162", Command::Lprt(v6)),
        ("EPSV", Command::Epsv(None)),
        ("EPSV 2", Command::Epsv(Some(AddressFamily::V6))),
        ("EPSV all", Command::EpsvAll),
        ("TYPE A", Command::Type(Type::Ascii(Format::NonPrint))),
        ("TYPE a t", Command::Type(Type::Ascii(Format::Telnet))),
        ("TYPE E C", Command::Type(Type::Ebcdic(Format::CarriageControl))),
        ("TYPE I", Command::Type(Type::Image)),
        ("TYPE L 36", Command::Type(Type::Local(ByteSize::new(36).unwrap()))),
        ("TYPE L8", Command::Type(Type::Local(ByteSize::OCTET))),
        ("STRU p", Command::Stru(Structure::Page)),
        ("MODE C", Command::Mode(TransferMode::Standard(Mode::Compressed))),
        ("MODE Z", Command::Mode(TransferMode::Deflate)),
        ("ALLO 1000", Command::Allo { bytes: 1000, record: None }),
        ("ALLO 1000 R 80", Command::Allo { bytes: 1000, record: Some(80) }),
        ("REST 42", Command::Rest("42".into())),
        ("RANG 0 99", Command::Rang(0, 99)),
        ("NLIST", Command::Nlst(None)),
        ("LIST -la some where", Command::List(Some(path("-la some where")))),
        ("STAT", Command::Stat(None)),
        ("MDTM a file", Command::Mdtm(path("a file"))),
        ("MDTM 20000229235959 a file", Command::Mfmt(time, path("a file"))),
        ("MFMT 20000229235959 a file", Command::Mfmt(time, path("a file"))),
        (
            "MFF Modify=20000229235959;UNIX.mode=0644; x y",
            Command::Mff(vec![NewFact::Modify(time), NewFact::Mode(0o644)], path("x y")),
        ),
        (
            "XCRC a b",
            Command::Checksum { algorithm: Algorithm::Crc32, path: path("a b"), start: None, end: None },
        ),
        (
            "XSHA256 \"a \"\"b\"\"\" 1 20",
            Command::Checksum {
                algorithm: Algorithm::Sha256,
                path: path("a \"b\""),
                start: Some(1),
                end: Some(20),
            },
        ),
        ("COMB whole \"part 1\" part2", Command::Comb(path("whole"), vec![path("part 1"), path("part2")])),
        ("OPTS UTF8 ON", Command::Opts("UTF8".into(), Some("ON".into()))),
        ("AUTH tls", Command::Auth("TLS".into())),
        ("PROT p", Command::Prot(Protection::Private)),
        ("SITE CHMOD 755 a b", Command::Site(Site::Chmod(0o755, path("a b")))),
        ("SITE UMASK", Command::Site(Site::Umask(None))),
        ("site utime 20000229235959 x", Command::Site(Site::Utime(time, path("x")))),
        (
            "SITE UTIME a b 20000101000000 20000229235959 20000101000000 UTC",
            Command::Site(Site::Utime(time, path("a b"))),
        ),
        ("SITE SYMLINK \"a b\" c", Command::Site(Site::Symlink(path("a b"), path("c")))),
        ("HELP retr", Command::Help(Some("RETR".into()))),
        ("NOOP whatever", Command::Noop),
    ] {
        assert_eq!(ok(line), want, "{line}");
    }
}

#[test]
fn lines_that_are_none() {
    use InvalidCommand::{Argument, Family, Foreign, LongFamily, Parameter, Unknown};
    let kind = |error: InvalidCommand| match error {
        Argument(_) => Argument(""),
        Parameter(_) => Parameter(""),
        other => other,
    };
    for (line, want) in [
        ("", Unknown),
        ("FROB", Unknown),
        ("FROB x", Unknown),
        ("RETR", Argument("")),
        ("QUIT now", Argument("")),
        ("PORT 1,2,3,4,5", Argument("")),
        ("PORT 1,2,3,4,5,256", Argument("")),
        ("EPRT |3|x|1|", Family),
        ("EPRT |1|2001:db8::1|1|", Argument("")),
        ("EPRT |1|192.0.2.7|65536|", Argument("")),
        ("LPRT 16,1,1,2,1,1", LongFamily),
        ("LPRT 4,200,1", Argument("")),
        ("EPSV 3", Family),
        ("TYPE A X", Parameter("")),
        ("TYPE L 0", Parameter("")),
        ("TYPE L 256", Parameter("")),
        ("TYPE L", Argument("")),
        ("TYPE U", Parameter("")),
        ("STRU X", Parameter("")),
        ("MODE X", Parameter("")),
        ("RANG -1 5", Argument("")),
        ("ALLO -1", Argument("")),
        ("SITE", Argument("")),
        ("SITE EXEC x", Parameter("")),
        ("SITE CHMOD 999 x", Argument("")),
        ("SITE CHMOD 644", Argument("")),
        ("MFMT 2000 x", Argument("")),
        ("MFF Modify=1 x", Argument("")),
        ("MFF Modify=1; x", Argument("")),
        ("MFF UNIX.mode=+44; x", Argument("")),
        ("MFF UNIX.mode=10000; x", Argument("")),
        ("MFF Size=1; x", Parameter("")),
        ("RETR a\0b", Argument("")),
        ("GET / HTTP/1.1", Foreign),
        ("Host: example.org", Foreign),
        ("EHLO x", Foreign),
    ] {
        assert_eq!(parse(line.as_bytes()).map_err(kind), Err(want), "{line:?}");
    }
}

#[test]
fn addresses_as_they_are_announced() {
    let v4 = SocketAddr::from(([192, 0, 2, 7], 5282));
    let mapped: SocketAddr = "[::ffff:192.0.2.7]:5282".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::1]:5282".parse().unwrap();
    assert_eq!(pasv_answer(v4).as_deref(), Some("(192,0,2,7,20,162)"));
    assert_eq!(pasv_answer(mapped).as_deref(), Some("(192,0,2,7,20,162)"));
    assert_eq!(pasv_answer(v6), None);
    assert_eq!(epsv_answer(5282), "(|||5282|)");
    assert_eq!(lpsv_answer(v4), "(4,4,192,0,2,7,2,20,162)");
    assert_eq!(lpsv_answer(v6), "(6,16,32,1,13,184,0,0,0,0,0,0,0,0,0,0,0,1,2,20,162)");
}

#[test]
fn passwords_are_not_shown() {
    assert!(!format!("{:?}", ok("PASS tell nobody")).contains("nobody"));
}
