//! A file space on a real file system: what is stored and seen, and that there is no way out.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use packetboat_files::{How, Kind, Mount, Refusal, Right, Rights, Space, Tree};
use support::{path, space, space_with};

fn put(space: &Space, at: &str, how: How, data: &[u8], random: u64) -> Result<Vec<u8>, Refusal> {
    let upload = space.store(&path(at), how, None, random)?;
    upload.file().write_all(data).unwrap();
    upload.commit()
}

fn get(space: &Space, at: &str) -> Result<Vec<u8>, Refusal> {
    let (mut file, entry) = space.read(&path(at))?;
    let mut data = Vec::new();
    file.read_to_end(&mut data).unwrap();
    assert_eq!(data.len() as u64, entry.size);
    Ok(data)
}

fn names(space: &Space, at: &str) -> BTreeSet<String> {
    let entries = space.list(&path(at)).unwrap().map(|entry| entry.unwrap().name);
    entries.map(|name| String::from_utf8(name).unwrap()).collect()
}

#[test]
fn a_file_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let space = space(dir.path());
    let upload = space.store(&path("/x"), How::Create, None, 1).unwrap();
    upload.file().write_all(b"half").unwrap();
    assert_eq!(get(&space, "/x"), Err(Refusal::NotFound));
    assert!(names(&space, "/").is_empty());
    drop(upload);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing stays behind");

    assert_eq!(put(&space, "/x", How::Create, b"one", 2).unwrap(), b"x");
    assert_eq!(put(&space, "/x", How::Create, b"two", 3), Err(Refusal::Exists));
    assert_eq!(get(&space, "/x").unwrap(), b"one");
    // Who reads the old one goes on reading the old one.
    let (mut reading, _) = space.read(&path("/x")).unwrap();
    assert_eq!(put(&space, "/x", How::Replace, b"three", 4).unwrap(), b"x");
    let mut old = String::new();
    reading.read_to_string(&mut old).unwrap();
    assert_eq!((&old[..], &get(&space, "/x").unwrap()[..]), ("one", &b"three"[..]));
    assert_eq!(put(&space, "/x", How::Unique, b"four", 5).unwrap(), b"x.1");
    assert_eq!(put(&space, "/new", How::Unique, b"five", 6).unwrap(), b"new");
    assert_eq!(names(&space, "/"), BTreeSet::from(["x", "x.1", "new"].map(str::to_owned)));
}

#[test]
fn appending_begins_with_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let space = space(dir.path());
    put(&space, "/log", How::Create, b"one ", 1).unwrap();
    let (upload, octets) = space.append(&path("/log"), None, 2).unwrap();
    assert_eq!(octets, 4);
    std::os::unix::fs::FileExt::write_all_at(upload.file(), b"two", octets).unwrap();
    assert_eq!(get(&space, "/log").unwrap(), b"one ");
    upload.commit().unwrap();
    assert_eq!(get(&space, "/log").unwrap(), b"one two");
    assert_eq!(space.append(&path("/fresh"), None, 3).unwrap().1, 0);
}

#[test]
fn directories_and_names() {
    let dir = tempfile::tempdir().unwrap();
    let space = space(dir.path());
    space.make_directory(&path("/a")).unwrap();
    assert_eq!(space.make_directory(&path("/a")), Err(Refusal::Exists));
    assert_eq!(space.make_directory(&path("/b/c")), Err(Refusal::NotFound));
    put(&space, "/a/f", How::Create, b"1", 1).unwrap();
    assert_eq!(space.remove_directory(&path("/a")), Err(Refusal::NotEmpty));
    assert_eq!(space.remove(&path("/a")), Err(Refusal::NotAFile));
    assert_eq!(space.read(&path("/a")).err(), Some(Refusal::NotAFile));
    assert_eq!(space.enter(&path("/a/f")), Err(Refusal::NotADirectory));
    assert_eq!(space.facts(&path("/a/f/x")), Err(Refusal::NotADirectory));
    space.rename(&path("/a/f"), &path("/g")).unwrap();
    put(&space, "/a/f", How::Create, b"22", 2).unwrap();
    space.rename(&path("/a/f"), &path("/g")).unwrap();
    assert_eq!(get(&space, "/g").unwrap(), b"22");
    space.make_directory(&path("/d")).unwrap();
    assert_eq!(space.rename(&path("/d"), &path("/a")), Err(Refusal::Exists));
    put(&space, "/a/f", How::Create, b"", 3).unwrap();
    space.remove_tree(&path("/a"), &AtomicBool::new(false)).unwrap();
    assert_eq!(names(&space, "/"), BTreeSet::from(["d", "g"].map(str::to_owned)));
    space.set_modified(&path("/g"), 951_868_799, 5).unwrap();
    space.set_mode(&path("/g"), 0o4755).unwrap();
    let facts = space.facts(&path("/g")).unwrap();
    assert_eq!((facts.modified, facts.mode, &facts.kind), ((951_868_799, 5), 0o755, &Kind::File));
    assert!(space.free(&path("/")).unwrap() > 0);
    assert_eq!(space.remove_directory(&path("/")), Err(Refusal::NoPermission), "the root stays");
}

#[test]
fn every_verb_asks_for_its_right() {
    let dir = tempfile::tempdir().unwrap();
    let owner = space(dir.path());
    put(&owner, "/f", How::Create, b"", 1).unwrap();
    owner.make_directory(&path("/incoming")).unwrap();
    let guest = space_with(dir.path(), &[("/", Rights::READ_ONLY), ("/incoming", Rights::DROP_BOX)]);
    let no = Some(Refusal::NoPermission);
    assert_eq!(put(&guest, "/x", How::Create, b"", 2).err(), no);
    assert_eq!(put(&guest, "/f", How::Replace, b"", 2).err(), no);
    assert_eq!(guest.append(&path("/f"), None, 2).err(), no);
    assert_eq!(guest.remove(&path("/f")).err(), no);
    assert_eq!(guest.rename(&path("/f"), &path("/incoming/f")).err(), no);
    assert_eq!(guest.may_rename(&path("/f")).err(), no);
    assert_eq!(guest.make_directory(&path("/d")).err(), no);
    assert_eq!(guest.remove_directory(&path("/incoming")).err(), no);
    assert_eq!(guest.set_modified(&path("/f"), 0, 0).err(), no);
    assert_eq!(guest.set_mode(&path("/f"), 0).err(), no);
    assert_eq!(guest.link(b"f", &path("/l")).err(), no);
    assert!(get(&guest, "/f").is_ok());
    // Incoming: put in, and neither seen nor replaced nor fetched.
    guest.enter(&path("/incoming")).unwrap();
    put(&guest, "/incoming/gift", How::Replace, b"1", 3).unwrap();
    assert_eq!(put(&guest, "/incoming/gift", How::Replace, b"2", 4).err(), no);
    assert_eq!(guest.link(b"/etc/passwd", &path("/incoming/way")).err(), no);
    assert_eq!(guest.list(&path("/incoming")).err(), no);
    assert_eq!(guest.facts(&path("/incoming/gift")).err(), no);
    assert_eq!(get(&guest, "/incoming/gift").err(), no);
    assert_eq!(get(&owner, "/incoming/gift").unwrap(), b"1");
    let nobody = space_with(dir.path(), &[]);
    assert_eq!(nobody.enter(&path("/")), Err(Refusal::NotFound));
    assert!(nobody.permits(&path("/"), Right::List).is_err());
}

#[test]
fn trees_within_trees() {
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(home.path().join("own"), "own").unwrap();
    std::fs::write(shared.path().join("theirs"), "theirs").unwrap();
    // What lies below the place is covered.
    std::fs::create_dir(home.path().join("shared")).unwrap();
    std::fs::write(home.path().join("shared/hidden"), "").unwrap();
    let mut space = space_with(home.path(), &[("/", Rights::ALL), ("/shared", Rights::READ_ONLY)]);
    space.mount(Mount { at: path("/shared"), tree: Tree::open(shared.path()).unwrap() });
    assert_eq!(names(&space, "/"), BTreeSet::from(["own", "shared"].map(str::to_owned)));
    assert_eq!(names(&space, "/shared"), BTreeSet::from(["theirs".to_owned()]));
    assert_eq!(get(&space, "/shared/theirs").unwrap(), b"theirs");
    assert_eq!(put(&space, "/shared/x", How::Create, b"", 1), Err(Refusal::NoPermission));
    space.mount(Mount { at: path("/more"), tree: Tree::open(shared.path()).unwrap() });
    assert!(names(&space, "/").contains("more"));
    assert_eq!(space.rename(&path("/own"), &path("/more/own")), Err(Refusal::OtherTree));
    assert_eq!(space.remove_directory(&path("/more")), Err(Refusal::NoPermission));
}

#[test]
fn no_path_leads_out() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    std::fs::create_dir_all(&root).unwrap();
    std::fs::create_dir_all(outside.join("sub")).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    std::fs::create_dir(root.join("in")).unwrap();
    std::fs::write(root.join("in/f"), "inside").unwrap();
    symlink(&outside, root.join("absolute")).unwrap();
    symlink("../outside", root.join("relative")).unwrap();
    symlink("../outside/secret", root.join("file")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink("in", root.join("within")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    let space = space(&root);
    for way in ["/absolute", "/relative", "/magic", "/../outside", "/in/../../outside"] {
        assert!(get(&space, &format!("{way}/secret")).is_err(), "{way}");
        assert!(space.list(&path(way)).is_err(), "{way}");
        assert!(put(&space, &format!("{way}/new"), How::Create, b"", 1).is_err(), "{way}");
        assert!(space.make_directory(&path(&format!("{way}/new"))).is_err(), "{way}");
        assert!(space.remove(&path(&format!("{way}/secret"))).is_err(), "{way}");
        assert!(space.remove_directory(&path(&format!("{way}/sub"))).is_err(), "{way}");
        assert!(space.rename(&path(&format!("{way}/secret")), &path("/stolen")).is_err(), "{way}");
        assert!(space.rename(&path("/in/f"), &path(&format!("{way}/f"))).is_err(), "{way}");
        assert!(space.set_mode(&path(&format!("{way}/secret")), 0o777).is_err(), "{way}");
        assert!(space.link(b"x", &path(&format!("{way}/l"))).is_err(), "{way}");
    }
    assert!(get(&space, "/file").is_err() && get(&space, "/loop").is_err());
    assert!(space.set_mode(&path("/file"), 0).is_err());
    assert_eq!(get(&space, "/within/f").unwrap(), b"inside");
    // A link as such may be removed and renamed, and what it points to stays.
    space.rename(&path("/file"), &path("/other")).unwrap();
    space.remove(&path("/other")).unwrap();
    // Storing over a link that leads out replaces the link.
    put(&space, "/absolute", How::Replace, b"new", 2).unwrap();
    assert_eq!(get(&space, "/absolute").unwrap(), b"new");
    // The server's own names are nobody else's.
    assert_eq!(put(&space, "/.packetboat-x", How::Create, b"", 3), Err(Refusal::NameNotAllowed));
    assert_eq!(get(&space, "/.packetboat-x"), Err(Refusal::NameNotAllowed));
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 2);
}

#[test]
fn a_link_that_changes_while_we_look_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    for (at, text) in [(&root, "inside"), (&outside, "outside")] {
        std::fs::create_dir_all(at.join("d")).unwrap();
        std::fs::write(at.join("d/f"), text).unwrap();
    }
    symlink(&outside, root.join("out")).unwrap();
    let space = space(&root);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The directory `x` is one of the tree in one moment, and a link to outside in the next.
            let (x, aside) = (root.join("x"), root.join("aside"));
            while !stop.load(Ordering::Relaxed) {
                std::fs::rename(root.join("d"), &x).unwrap();
                std::fs::rename(&x, root.join("d")).unwrap();
                std::fs::rename(root.join("out"), &x).unwrap();
                std::fs::rename(&x, &aside).unwrap();
                std::fs::rename(&aside, root.join("out")).unwrap();
            }
        });
        let mut seen = 0;
        for round in 0..20_000 {
            if let Ok(text) = get(&space, "/x/f") {
                assert_eq!(text, b"inside");
                seen += 1;
            }
            let _ = space.make_directory(&path("/x/planted"));
            let _ = space.remove_directory(&path("/x/planted"));
            if seen > 20 && round > 2_000 {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(!outside.join("d/planted").exists() && !outside.join("planted").exists());
    assert_eq!(std::fs::read_to_string(outside.join("d/f")).unwrap(), "outside");
}

#[test]
fn a_listing_of_many_begins_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..2_000 {
        std::fs::write(dir.path().join(format!("file {n}")), "").unwrap();
    }
    let space = space(dir.path());
    let mut lister = space.list(&path("/")).unwrap();
    assert!(lister.next().unwrap().is_ok());
    // What vanishes meanwhile is no error.
    for n in 0..2_000 {
        std::fs::remove_file(dir.path().join(format!("file {n}"))).unwrap();
    }
    assert!(lister.all(|entry| entry.is_ok()));
}
