//! The classes of failure of file servers before this one that have to do with paths: no way out, and no way round.

#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use packetboat_files::{Algorithm, How, Kind, Refusal, Rights, Space, VirtualPath};
use support::path;

fn space_with(root: &Path, grants: &[(&str, Rights)]) -> Space {
    support::space_with(root, grants).resumed_by("anna")
}

fn space(root: &Path) -> Space {
    space_with(root, &[("/", Rights::ALL)])
}

fn on() -> AtomicBool {
    AtomicBool::new(false)
}

fn found(space: &Space, here: &str, text: &str) -> Result<Vec<String>, Refusal> {
    let matches = space.matching(&path(here), text.as_bytes())?;
    let mut names = matches
        .map(|entry| entry.map(|entry| String::from_utf8_lossy(&entry.name).into_owned()))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort();
    Ok(names)
}

/// Every verb with a path, so that a new one is not forgotten; the first that did something is told.
fn every_verb(space: &Space, at: &VirtualPath, own: &VirtualPath, number: u64) -> Option<&'static str> {
    let did = |verb, done: bool| done.then_some(verb);
    let upload = |upload: Result<packetboat_files::Upload, Refusal>| {
        upload.is_ok_and(|mut upload| upload.write_at(b"planted", 0).is_ok() && upload.commit().is_ok())
    };
    did("read", space.read(at).is_ok())
        .or_else(|| did("read_known", space.read_known(at).is_ok()))
        .or_else(|| did("checksum", space.checksum(at, Algorithm::Crc32, 0, None, &on()).is_ok()))
        .or_else(|| did("list", space.list(at).is_ok_and(|mut list| list.next().is_some())))
        .or_else(|| did("copy out", space.copy(at, own, number, &on()).is_ok()))
        .or_else(|| did("copy in", space.copy(own, at, number, &on()).is_ok()))
        .or_else(|| did("combine out", space.combine(own, std::slice::from_ref(at), number, &on()).is_ok()))
        .or_else(|| did("combine in", space.combine(at, std::slice::from_ref(own), number, &on()).is_ok()))
        .or_else(|| did("store", upload(space.store(at, How::Replace, None, number))))
        .or_else(|| did("store_unique", upload(space.store_unique(at, None, number).map(|made| made.0))))
        .or_else(|| did("append", upload(space.append(at, None, number).map(|made| made.0))))
        .or_else(|| did("resume", upload(space.resume(at, None, number, |_| Some(0)).map(|made| made.0))))
        .or_else(|| did("make_directory", space.make_directory(at).is_ok()))
        .or_else(|| did("set_modified", space.set_modified(at, 1, 0).is_ok()))
        .or_else(|| did("set_created", space.set_created(at, 1, 0).is_ok()))
        .or_else(|| did("set_mode", space.set_mode(at, 0o600).is_ok()))
        .or_else(|| did("link", space.link(b"x", at).is_ok()))
        .or_else(|| did("rename out", space.rename(at, &own.join(b"x").unwrap()).is_ok()))
        .or_else(|| did("rename in", space.rename(own, at).is_ok()))
        .or_else(|| did("remove", space.remove(at).is_ok()))
        .or_else(|| did("remove_directory", space.remove_directory(at).is_ok()))
        .or_else(|| did("remove_tree", space.remove_tree(at, &on()).is_ok()))
}

/// Row 4: path traversal and two ideas of one path (CVE-2026-30914, CVE-2026-30915, GHSA-h64p-8h4r-6gfh).
#[test]
fn paths_that_go_up_or_nearly_fit() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("own")).unwrap();
    std::fs::create_dir_all(root.join("own-not")).unwrap();
    std::fs::write(root.join("own/mine"), "mine").unwrap();
    std::fs::write(root.join("own-not/f"), "theirs").unwrap();
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    let guest = space_with(&root, &[("/own", Rights::ALL)]);
    for way in [
        "/../secret",
        "/own/../../secret",
        "/own/../own-not/f",
        "/own-not/f",
        "/own//../own-not/f",
        "/own/./../own-not/./f",
        "/own/..//../root/own-not/f",
        "/OWN-NOT/f",
        "/own\\..\\own-not\\f",
        "/..\\secret",
        "/%2e%2e/secret",
        "/own-not/../own-not/f",
    ] {
        assert_eq!(every_verb(&guest, &path(way), &path("/own/mine"), 1), None, "{way}");
    }
    assert!(VirtualPath::root().resolve(b"/own\0/../../secret").is_err());
    assert_eq!(std::fs::read(root.join("own-not/f")).unwrap(), b"theirs");
    assert_eq!(std::fs::read(dir.path().join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read(root.join("own/mine")).unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 2);
    assert_eq!(std::fs::read_dir(root.join("own-not")).unwrap().count(), 1);
    // In wildcards too.
    for way in ["/../*", "../*", "*/../../*", "/own*/f", "own/../own-*/*", "../../../*"] {
        let told = found(&guest, "/own", way).unwrap_or_default();
        assert!(!told.iter().any(|name| name.contains("secret") || name.ends_with("/f")), "{way} {told:?}");
    }
}

/// Row 5: links that lead out, and RNTO, SITE CPTO, MFMT over them (CVE-2017-7418, ProFTPD #2256, procfs).
#[test]
fn links_that_lead_out() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    std::fs::create_dir_all(&root).unwrap();
    std::fs::create_dir_all(outside.join("d")).unwrap();
    std::fs::write(outside.join("f"), "outside").unwrap();
    std::fs::write(root.join("mine"), "mine").unwrap();
    symlink(&outside, root.join("absolute")).unwrap();
    symlink("../outside", root.join("relative")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink(format!("/proc/self/cwd/{}", outside.display()), root.join("cwd")).unwrap();
    symlink("absolute", root.join("twice")).unwrap();
    symlink("/dev/fd", root.join("fd")).unwrap();
    let space = space(&root);
    for way in ["absolute", "relative", "twice", "cwd"] {
        for name in ["f", "d", "new"] {
            let at = path(&format!("/{way}/{name}"));
            assert_eq!(every_verb(&space, &at, &path("/mine"), 1), None, "{at}");
        }
    }
    let magic = path(&format!("/magic{}/f", outside.display()));
    assert_eq!(every_verb(&space, &magic, &path("/mine"), 1), None);
    assert!((0..10).all(|n| space.read(&path(&format!("/fd/{n}"))).is_err()));
    // A link in the last place: what is put there replaces the link, and not what it points to.
    for (n, name) in ["a", "b", "c", "d"].iter().enumerate() {
        symlink(outside.join("f"), root.join(name)).unwrap();
        let at = path(&format!("/{name}"));
        std::fs::write(root.join("source"), "new").unwrap();
        match n {
            0 => space.rename(&path("/source"), &at).unwrap(),
            1 => space.copy(&path("/source"), &at, 2, &on()).unwrap(),
            2 => space.combine(&at, &[path("/source")], 3, &on()).unwrap(),
            _ => space.set_modified(&at, 1, 0).unwrap(),
        }
    }
    let facts = std::fs::metadata(outside.join("f")).unwrap();
    assert!(facts.modified().unwrap().elapsed().unwrap().as_secs() < 3_600);
    assert_eq!(std::fs::read(outside.join("f")).unwrap(), b"outside");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 2);
    assert_eq!(std::fs::read(root.join("mine")).unwrap(), b"mine");
    assert!(found(&space, "/", "*/*").unwrap().is_empty(), "wildcards follow no link");
    // The place where parts are kept, in the hands of somebody who has a shell.
    symlink(&outside, root.join(".packetboat-parts")).unwrap();
    let mut upload = space.store(&path("/part"), How::Replace, None, 4).unwrap();
    upload.write_at(b"half", 0).unwrap();
    assert_eq!(upload.break_off(), None);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 2);
}

/// Row 5 again, while somebody changes what lies there.
#[test]
fn links_that_are_swapped_in_while_verbs_run() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    for (at, text) in [(&root, "inside"), (&outside, "outside")] {
        std::fs::create_dir_all(at.join("d")).unwrap();
        std::fs::write(at.join("d/f"), text).unwrap();
    }
    std::fs::write(root.join("mine"), "mine").unwrap();
    symlink(outside.join("d"), root.join("out")).unwrap();
    let space = space(&root);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // `x` is a directory of the tree in one moment, and a link to outside in the next.
            let x = root.join("x");
            while !stop.load(Ordering::Relaxed) {
                for from in ["d", "out"] {
                    if std::fs::rename(root.join(from), &x).is_ok() {
                        let _ = std::fs::rename(&x, root.join(from));
                    }
                }
            }
        });
        for round in 0..3_000_u64 {
            let at = path(if round % 2 == 0 { "/x/f" } else { "/x/new" });
            if let Ok((mut file, _)) = space.read(&at) {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut file, &mut text).unwrap();
                assert_ne!(text, "outside");
            }
            // Whatever it does, it does inside.
            let _ = every_verb(&space, &at, &path("/mine"), round);
            for (name, text) in [("mine", "mine"), ("d/f", "inside")] {
                if !root.join(name).exists() {
                    let _ = std::fs::write(root.join(name), text);
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(std::fs::read(outside.join("d/f")).unwrap(), b"outside");
    assert_eq!(std::fs::metadata(outside.join("d/f")).unwrap().len(), 7);
    let left: Vec<_> = std::fs::read_dir(outside.join("d")).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing was planted outside: {left:?}");
}

/// Row 6: wildcards and recursion that never end (CVE-2011-0762, CVE-2019-20176, CVE-2010-2632).
#[test]
fn bombs() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..300 {
        std::fs::create_dir(dir.path().join(format!("d{n}"))).unwrap();
    }
    std::fs::write(dir.path().join("d1/f"), "").unwrap();
    std::fs::write(dir.path().join("a.txt"), "").unwrap();
    std::fs::write(dir.path().join(".hidden"), "").unwrap();
    let space = space(dir.path());
    assert_eq!(found(&space, "/", "*.txt").unwrap(), ["a.txt"]);
    assert_eq!(found(&space, "/d1", "/*.txt").unwrap(), ["/a.txt"]);
    assert_eq!(found(&space, "/d1", "../*.t?t").unwrap(), ["../a.txt"]);
    assert_eq!(found(&space, "/", "d1*/f").unwrap(), ["d1/f"]);
    assert_eq!(found(&space, "/", "d[1]/[a-f]").unwrap(), ["d1/f"]);
    assert_eq!(found(&space, "/", ".*").unwrap(), [".hidden"]);
    assert_eq!(found(&space, "/", "*.zip").unwrap(), Vec::<String>::new());
    assert_eq!(found(&space, "/", "none/*").err(), Some(Refusal::NotFound));
    assert_eq!(found(&space, "/", "*/*").err(), Some(Refusal::TooMany), "300 directories are too many");
    assert_eq!(found(&space, "/", &"*/../".repeat(200)).err(), Some(Refusal::TooMany));
    assert_eq!(found(&space, "/", &("d1/../".repeat(100) + "*.txt")).map(|names| names.len()), Ok(1));
    // A tree that is deeper than anybody needs is not removed for ever, and nothing overflows.
    let mut deep = dir.path().join("deep");
    for _ in 0..100 {
        deep.push("x");
    }
    std::fs::create_dir_all(&deep).unwrap();
    assert_eq!(space.remove_tree(&path("/deep"), &on()), Err(Refusal::NotEmpty));
    // Links in a circle have no end, and are no way.
    symlink(".", dir.path().join("circle")).unwrap();
    assert!(found(&space, "/", "circle/circle/*.txt").is_ok_and(|names| names.len() == 1));
    assert!(found(&space, "/", "circl*/circl*/*.txt").unwrap().is_empty());
}

/// Row 14: a verb that does not ask (CVE-2015-3306, CVE-2019-12815, ProFTPD #2095, #2175, #2180). Nobody can do anything without
/// a right, and each right opens what it is for.
#[test]
fn no_verb_goes_round_the_rights() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir_all(root.join("closed/d")).unwrap();
    std::fs::create_dir_all(root.join("own")).unwrap();
    std::fs::write(root.join("closed/f"), "secret").unwrap();
    std::fs::write(root.join("own/mine"), "mine").unwrap();
    let guest =
        space_with(root, &[("/", Rights::READ_ONLY), ("/closed", Rights::NONE), ("/own", Rights::ALL)]);
    for at in ["/closed/f", "/closed/d", "/closed/new", "/closed"] {
        assert_eq!(every_verb(&guest, &path(at), &path("/own/mine"), 1), None, "{at}");
        assert!(guest.facts(&path(at)).is_err() && guest.all_facts(&path(at)).is_err(), "{at}");
        assert!(guest.known(&path(at)).is_err() && guest.enter(&path(at)).is_err(), "{at}");
        assert!(guest.may_copy(&path(at)).is_err() && guest.may_rename(&path(at)).is_err(), "{at}");
    }
    assert!(found(&guest, "/", "closed/*").is_err());
    assert!(found(&guest, "/", "cl*/*").unwrap().is_empty());
    for (right, verbs) in
        [("list", &["list"][..]), ("read", &["read"]), ("create", &["copy in"]), ("delete", &["remove"])]
    {
        let guest =
            space_with(root, &[("/closed", Rights::parse(right).unwrap()), ("/own", Rights::READ_ONLY)]);
        let at = if right == "create" { "/closed/new" } else { "/closed/f" };
        let at = path(if right == "list" { "/closed" } else { at });
        let did = every_verb(&guest, &at, &path("/own/mine"), 1).unwrap_or("nothing");
        assert!(verbs.contains(&did), "{right}: {did}");
    }
    assert!(root.join("closed/new").exists() && !root.join("closed/f").exists());
    assert_eq!(guest.facts(&path("/own/mine")).unwrap().kind, Kind::File);
}
