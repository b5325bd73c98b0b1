#![allow(clippy::unwrap_used)]

use super::*;
use crate::command::PathName;

fn facts<'a>(name: &'a [u8], kind: Kind<'a>) -> Facts<'a> {
    Facts {
        name,
        kind,
        size: 1234,
        modified: FileTime::parse("20260704123456").unwrap(),
        created: None,
        mode: 0o644,
        links: 1,
        owner: "anna",
        group: "lab",
        unique: (0xfd00, 0x1f),
        allowed: Allowed {
            read: true,
            write: true,
            append: true,
            delete: true,
            rename: true,
            list: true,
            make: true,
            create: true,
        },
    }
}

fn line(facts: &Facts<'_>, now: &str, flags: &Flags) -> String {
    let mut out = Vec::new();
    unix_line(facts, FileTime::parse(now).unwrap().seconds, flags, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn lines_as_ls_writes_them() {
    let plain = Flags::default();
    let file = facts(b"a file", Kind::File);
    let want = "-rw-r--r--   1 anna     lab              1234 Jul  4 12:34 a file\n";
    assert_eq!(line(&file, "20260801000000", &plain), want);
    let want = "-rw-r--r--   1 anna     lab              1234 Jul  4  2026 a file\n";
    assert_eq!(line(&file, "20270801000000", &plain), want);
    // A clock that is wrong: what lies in the future has its year.
    assert_eq!(line(&file, "20260601000000", &plain), want);
    let directory = Facts { mode: 0o1777, owner: "domain users", ..facts("ö".as_bytes(), Kind::Directory) };
    let want = "drwxrwxrwt   1 domainusers lab              1234 Jul  4 12:34 ö/\n";
    assert_eq!(line(&directory, "20260801000000", &Flags { classify: true, ..plain }), want);
    let link = Facts { mode: 0o777, ..facts(b"two\nlines", Kind::Link(b"../target")) };
    let want = "lrwxrwxrwx   1 anna     lab              1234 Jul  4 12:34 two?lines -> ../target\n";
    assert_eq!(line(&link, "20260801000000", &plain), want);
    let special = Facts { mode: 0o4711, ..facts(b"x", Kind::File) };
    assert!(line(&special, "20260801000000", &plain).starts_with("-rws--x--x "));
}

#[test]
fn facts_as_they_were_chosen() {
    let mut out = Vec::new();
    let all = ["Type", "Size", "Modify", "Create", "Perm", "Unique", "UNIX.mode", "UNIX.owner", "UNIX.group"];
    facts_line(&facts(b" name", Kind::File), &all, &mut out);
    facts_line(&facts(b"sub", Kind::Directory), &["Type", "Size", "Perm"], &mut out);
    facts_line(&facts(b".", Kind::Current), &["Type"], &mut out);
    // Files can be left there, and none be seen.
    let drop_box = Allowed { create: true, ..Allowed::default() };
    let drop_box = Facts { allowed: drop_box, ..facts(b"drop", Kind::Directory) };
    facts_line(&drop_box, &["Perm"], &mut out);
    facts_line(&facts(b"bare", Kind::File), &[], &mut out);
    let want = "Type=file;Size=1234;Modify=20260704123456;Perm=adfrw;Unique=fd00g1f;UNIX.mode=0644;UNIX.owner=anna;\
                UNIX.group=lab;  name\nType=dir;Perm=cdeflmp; sub\nType=cdir; .\nPerm=ce; drop\n bare\n";
    assert_eq!(String::from_utf8_lossy(&out), want);
}

#[test]
fn what_stands_before_the_path() {
    let parse = |text: &str| Flags::parse(PathName::new(text).as_ref());
    let path = |text: &str| PathName::new(text);
    assert_eq!(parse("-la"), (Flags { all: true, long: Some(true), ..Flags::default() }, None));
    assert_eq!(parse("-a -t some where").1, path("some where"));
    assert_eq!(parse("-a -t some where").0.order, Order::Time);
    assert_eq!(parse("-- -dash"), (Flags::default(), path("-dash")));
    assert_eq!(parse("-rt").0, Flags { order: Order::Time, reverse: true, ..Flags::default() });
    assert_eq!(parse("-r").0.order, Order::Name);
    assert_eq!(parse("-?.txt"), (Flags::default(), path("-?.txt")));
    assert_eq!(parse("-"), (Flags::default(), path("-")));
    assert_eq!(Flags::parse(None), (Flags::default(), None));
}
