//! Copies, files put together, names of their own, and when something was made.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::AtomicBool;

use packetboat_files::{Algorithm, How, Refusal, Rights, VirtualPath};
use support::{path, space, space_with};

fn on() -> AtomicBool {
    AtomicBool::new(false)
}

#[test]
fn a_copy_is_whole_and_asks_for_both_rights() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // Longer than a piece, and with a hole.
    std::fs::write(at("a"), vec![b'a'; 700_000]).unwrap();
    std::fs::File::options().write(true).open(at("a")).unwrap().set_len(3 << 20).unwrap();
    let space = space(dir.path());
    let crc = |name: &str| space.checksum(&path(name), Algorithm::Crc32, 0, None, &on()).unwrap();
    let whole = crc("/a");
    space.copy(&path("/a"), &path("/b"), 1, &on()).unwrap();
    assert_eq!(std::fs::read(at("a")).unwrap(), std::fs::read(at("b")).unwrap());
    assert_eq!(crc("/b"), whole);
    std::fs::write(at("c"), "there").unwrap();
    space.copy(&path("/c"), &path("/b"), 2, &on()).unwrap();
    space.copy(&path("/c"), &path("/c"), 3, &on()).unwrap();
    assert_eq!(std::fs::read(at("b")).unwrap(), b"there");
    let stopped = space.copy(&path("/a"), &path("/b"), 4, &AtomicBool::new(true));
    assert_eq!((stopped, std::fs::read(at("b")).unwrap()), (Err(Refusal::Stopped), b"there".to_vec()));
    space.make_directory(&path("/d")).unwrap();
    for (from, to, want) in [
        ("/none", "/x", Refusal::NotFound),
        ("/d", "/x", Refusal::NotAFile),
        ("/a", "/d", Refusal::NotAFile),
        ("/a", "/none/x", Refusal::NotFound),
        ("/a", "/.packetboat-x", Refusal::NameNotAllowed),
    ] {
        assert_eq!(space.copy(&path(from), &path(to), 5, &on()), Err(want), "{from} {to}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4, "nothing torn is left");

    // CVE-2015-3306, CVE-2019-12815: a copy is a way to read and a way to write.
    let grants = [("/", Rights::READ_ONLY), ("/in", Rights::DROP_BOX), ("/own", Rights::ALL)];
    let guest = space_with(dir.path(), &grants);
    for name in ["in", "own"] {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::write(at(name).join("f"), "secret").unwrap();
    }
    let no = Err(Refusal::NoPermission);
    assert_eq!(guest.copy(&path("/a"), &path("/x"), 6, &on()), no);
    assert_eq!(guest.copy(&path("/in/f"), &path("/own/x"), 6, &on()), no);
    assert_eq!(guest.may_copy(&path("/in/f")), no);
    assert_eq!(guest.copy(&path("/own/f"), &path("/in/f"), 6, &on()), no, "what is there is not replaced");
    assert_eq!(guest.copy(&path("/c"), &path("/own/x"), 6, &on()), Ok(()));
    assert_eq!(guest.copy(&path("/c"), &path("/in/new"), 6, &on()), Ok(()));
    assert_eq!(guest.combine(&path("/own/x"), &[path("/c")], 7, &on()), no, "its parts are removed");
    assert_eq!(guest.combine(&path("/own/x"), &[path("/in/f")], 7, &on()), no);
    assert_eq!(guest.combine(&path("/y"), &[path("/own/f")], 7, &on()), no);
    assert!(at("own/f").exists());
}

#[test]
fn parts_become_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let parts = ["one ", "two ", "three"];
    let write = || {
        for (n, part) in parts.iter().enumerate() {
            std::fs::write(at(&format!("p{n}")), part).unwrap();
        }
    };
    write();
    let space = space(dir.path());
    let sources: Vec<VirtualPath> = (0..3).map(|n| path(&format!("/p{n}"))).collect();
    space.combine(&path("/all"), &sources, 1, &on()).unwrap();
    assert_eq!(std::fs::read(at("all")).unwrap(), b"one two three");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    write();
    space.combine(&path("/all"), &sources[..1], 2, &on()).unwrap();
    assert_eq!(std::fs::read(at("all")).unwrap(), b"one two threeone ");
    write();
    std::fs::hard_link(at("all"), at("other")).unwrap();
    for (sources, want) in [
        (vec![path("/p0"), path("/none")], Refusal::NotFound),
        (vec![path("/p0"), path("/p0")], Refusal::InvalidPath),
        (vec![path("/all")], Refusal::InvalidPath),
        (vec![path("/other")], Refusal::InvalidPath),
        (vec![path("/")], Refusal::NotAFile),
        ((0..2000).map(|n| path(&format!("/{n}"))).collect(), Refusal::TooMany),
    ] {
        assert_eq!(space.combine(&path("/all"), &sources, 3, &on()), Err(want));
    }
    let stopped = space.combine(&path("/all"), &sources, 3, &AtomicBool::new(true));
    assert_eq!(stopped, Err(Refusal::Stopped));
    assert_eq!(std::fs::read(at("all")).unwrap(), b"one two threeone ");
    assert!(at("p0").exists() && at("p1").exists() && at("p2").exists());
}

#[test]
fn names_of_their_own_are_promised() {
    let dir = tempfile::tempdir().unwrap();
    let space = space(dir.path());
    std::fs::write(dir.path().join("f"), "").unwrap();
    let begin = |random| space.store_unique(&path("/f"), None, random).unwrap();
    let (first, at) = begin(1);
    let (second, other) = begin(2);
    assert_eq!((at.to_string(), other.to_string()), ("/f.1".to_owned(), "/f.2".to_owned()));
    drop(first);
    let (third, again) = begin(3);
    assert_eq!(again.to_string(), "/f.1", "a name that was given up is free again");
    // A stranger took it meanwhile.
    std::fs::write(dir.path().join("f.1"), "theirs").unwrap();
    assert_eq!(third.commit().unwrap(), b"f.1.1");
    assert_eq!(second.commit().unwrap(), b"f.2");
    assert_eq!(std::fs::read(dir.path().join("f.1")).unwrap(), b"theirs");
    // Many of one name do not cost more and more.
    let held: Vec<_> = (0..40).map(|random| begin(random * 7_919)).collect();
    let names: std::collections::BTreeSet<String> = held.iter().map(|(_, at)| at.to_string()).collect();
    assert_eq!(names.len(), held.len());
    let guest = space_with(dir.path(), &[("/", Rights::READ_ONLY)]);
    assert_eq!(guest.store_unique(&path("/f"), None, 1).err(), Some(Refusal::NoPermission));
    // An incoming folder takes them, and whoever puts something in still sees nothing.
    let guest = space_with(dir.path(), &[("/", Rights::DROP_BOX)]);
    assert!(guest.store_unique(&path("/f"), None, 1).is_ok());
    assert_eq!(space.store_unique(&path("/"), None, 1).err(), Some(Refusal::InvalidPath));
}

#[test]
fn directories_that_are_missing_are_made() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("own")).unwrap();
    let guest = space_with(dir.path(), &[("/", Rights::READ_ONLY), ("/own", Rights::ALL)]);
    guest.make_directories(&path("/own/a/b/c")).unwrap();
    guest.make_directories(&path("/own/a/b/c")).unwrap();
    assert!(dir.path().join("own/a/b/c").is_dir());
    assert_eq!(guest.make_directories(&path("/x/y")), Err(Refusal::NoPermission));
    std::fs::write(dir.path().join("own/f"), "").unwrap();
    assert_eq!(guest.make_directories(&path("/own/f")), Err(Refusal::NotADirectory));
    assert_eq!(guest.make_directories(&path("/own/f/g")), Err(Refusal::NotADirectory));
}

#[test]
fn when_it_was_made_is_kept_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let space = space(dir.path());
    for name in ["f", "g"] {
        let upload = space.store(&path(&format!("/{name}")), How::Create, None, 1).unwrap();
        upload.commit().unwrap();
    }
    space.make_directory(&path("/d")).unwrap();
    match space.set_created(&path("/f"), 951_868_799, 5) {
        Err(Refusal::NotSupported) => return,
        other => other.unwrap(),
    }
    space.set_created(&path("/d"), -1, 0).unwrap();
    let listed = |at: &str, name: &str| {
        let mut entries = space.list(&path(at)).unwrap().map(Result::unwrap);
        entries.find(|entry| entry.name == name.as_bytes()).unwrap().created
    };
    let told = |at: &str| space.all_facts(&path(at)).unwrap().created;
    assert_eq!((told("/f"), listed("/", "f")), (Some((951_868_799, 5)), Some((951_868_799, 5))));
    assert_eq!(told("/d"), Some((-1, 0)));
    assert_eq!(told("/g"), space.facts(&path("/g")).unwrap().created, "the file system's own");
    // Elsewhere it is told too.
    space.rename(&path("/f"), &path("/d/f")).unwrap();
    assert_eq!(listed("/d", "f"), Some((951_868_799, 5)));
    assert_eq!(space.set_created(&path("/none"), 0, 0), Err(Refusal::NotFound));
    std::os::unix::fs::symlink("g", dir.path().join("l")).unwrap();
    assert!(space.set_created(&path("/l"), 0, 0).is_err());
    let guest = space_with(dir.path(), &[("/", Rights::READ_ONLY)]);
    assert_eq!(guest.set_created(&path("/g"), 0, 0), Err(Refusal::NoPermission));
}
