//! Uploads whose line broke: kept for whoever sent them, seen by nobody else, and gone on with.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use packetboat_files::{
    Grant, How, Keeping, Limits, MemoryShare, Mount, Refusal, Rights, Rules, Share, Space, Sweep, Swept,
    Sync, Tree, Usage,
};
use support::path;

fn space_of(root: &Path, user: &str, rights: Rights, rules: Rules) -> Space {
    let mounts = vec![Mount { at: path("/"), tree: Tree::open(root).unwrap() }];
    let grants = vec![Grant { path: path("/"), rights }];
    Space::new(mounts, grants, Sync::Never, 0o022).resumed_by(user).with_rules(Arc::new(rules))
}

fn space(root: &Path, user: &str) -> Space {
    space_of(root, user, Rights::ALL, Rules::default())
}

/// Stores, and loses the line.
fn lose(space: &Space, at: &str, octets: &[u8], random: u64) -> Option<u64> {
    let mut upload = space.store(&path(at), How::Replace, None, random).unwrap();
    upload.write_at(octets, 0).unwrap();
    upload.break_off()
}

fn put(space: &Space, at: &str, octets: &[u8], random: u64) {
    let mut upload = space.store(&path(at), How::Replace, None, random).unwrap();
    upload.write_at(octets, 0).unwrap();
    upload.commit().unwrap();
}

fn size(space: &Space, at: &str) -> Result<u64, Refusal> {
    space.known(&path(at)).map(|facts| facts.size)
}

fn names(root: &Path) -> Vec<String> {
    let names = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn whoever_sent_it_goes_on_and_nobody_else_sees_it() {
    let dir = tempfile::tempdir().unwrap();
    let (anna, bert) = (space(dir.path(), "anna"), space(dir.path(), "bert"));
    assert_eq!(lose(&anna, "/f", b"one two", 1), Some(7));
    // SIZE is answered to one, and to the other as if there were nothing; listings and RETR know nothing.
    assert_eq!((size(&anna, "/f"), size(&bert, "/f")), (Ok(7), Err(Refusal::NotFound)));
    assert_eq!(anna.list(&path("/")).unwrap().count(), 0);
    assert_eq!(anna.facts(&path("/f")).err(), Some(Refusal::NotFound));
    assert_eq!(anna.read(&path("/f")).err(), Some(Refusal::NotFound));
    assert_eq!(anna.read(&path("/.packetboat-parts")).err(), Some(Refusal::NameNotAllowed));
    assert_eq!(anna.list(&path("/.packetboat-parts")).err(), Some(Refusal::NameNotAllowed));
    // As curl does it: SIZE, APPE. The line breaks once more.
    let (mut upload, begin) = anna.append(&path("/f"), None, 2).unwrap();
    assert_eq!(begin, 7);
    upload.write_at(b" three", begin).unwrap();
    assert_eq!(upload.break_off(), Some(13));
    // As lftp does it: SIZE, REST, STOR.
    let (mut upload, begin) = anna.resume(&path("/f"), None, 3, |_| Some(8)).unwrap();
    assert_eq!((begin, upload.file().metadata().unwrap().len()), (8, 8));
    upload.write_at(b"and all", begin).unwrap();
    upload.commit().unwrap();
    assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"one two and all");
    assert_eq!(names(dir.path()), ["f"], "and nothing else is left");
    // One who has nothing begun cannot go on.
    assert_eq!(bert.resume(&path("/g"), None, 4, |_| Some(1)).err(), Some(Refusal::InvalidRange));
    // Nothing came: nothing is kept.
    assert_eq!(lose(&anna, "/g", b"", 5), None);
    assert_eq!(names(dir.path()), ["f"]);
}

#[test]
fn what_did_not_go_on_is_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let anna = space(dir.path(), "anna");
    lose(&anna, "/f", b"12345", 1);
    // The data connection could not be made.
    drop(anna.append(&path("/f"), None, 2).unwrap());
    drop(anna.resume(&path("/f"), None, 3, |_| Some(5)).unwrap());
    assert_eq!(size(&anna, "/f"), Ok(5));
    // Beyond its end there is nothing to go on from.
    assert_eq!(anna.resume(&path("/f"), None, 4, |_| Some(6)).err(), Some(Refusal::InvalidRange));
    assert_eq!(size(&anna, "/f"), Ok(5));
    // Whoever begins anew begins anew, and DELE takes it away.
    lose(&anna, "/f", b"123", 5);
    assert_eq!(size(&anna, "/f"), Ok(3));
    anna.remove(&path("/f")).unwrap();
    assert_eq!(
        (size(&anna, "/f"), anna.remove(&path("/f"))),
        (Err(Refusal::NotFound), Err(Refusal::NotFound))
    );
    assert!(names(dir.path()).is_empty());
}

#[test]
fn an_old_file_is_not_mixed_with_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let anna = space(dir.path(), "anna");
    let file = dir.path().join("f");
    put(&anna, "/f", b"the old one, which is long", 1);
    anna.set_modified(&path("/f"), 1_000_000, 0).unwrap();
    assert_eq!(lose(&anna, "/f", b"the new", 2), Some(7));
    // There is a file: its size is told, and it is what RETR sends.
    assert_eq!(size(&anna, "/f"), Ok(26));
    assert_eq!(anna.append(&path("/f"), None, 3).err(), Some(Refusal::BrokenOff(7)));
    assert_eq!(anna.resume(&path("/f"), None, 4, |_| Some(26)).err(), Some(Refusal::BrokenOff(7)));
    assert_eq!(std::fs::read(&file).unwrap(), b"the old one, which is long");
    // Who knows where it broke goes on there.
    let (mut upload, begin) = anna.resume(&path("/f"), None, 5, |_| Some(7)).unwrap();
    upload.write_at(b" one", begin).unwrap();
    upload.commit().unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"the new one");
    // What others have stored since makes a part old, and then it is gone.
    anna.set_modified(&path("/f"), 1_000_000, 0).unwrap();
    lose(&anna, "/f", b"xx", 6);
    put(&space(dir.path(), "bert"), "/f", b"by bert", 7);
    anna.set_modified(&path("/f"), 4_000_000_000, 0).unwrap();
    let (mut upload, begin) = anna.append(&path("/f"), None, 8).unwrap();
    upload.write_at(b"!", begin).unwrap();
    // Behind a file, what is lost is lost: the file is as it was.
    assert_eq!(upload.break_off(), None);
    assert_eq!(
        (std::fs::read(&file).unwrap(), names(dir.path())),
        (b"by bert".to_vec(), vec!["f".to_owned()])
    );
}

#[test]
fn it_is_charged_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { octets: Some(100), files: Some(4) };
    let share = Arc::new(MemoryShare::new(Usage { limits, ..Usage::default() }));
    let kept: Arc<dyn Share> = share.clone();
    let rules = Rules { keeping: Some(Keeping { per_user: 2, ..Keeping::default() }), ..Rules::default() };
    let anna = space_of(dir.path(), "anna", Rights::ALL, rules).with_share(&kept);
    let used = || {
        let (kept, counted) = (share.usage(), Tree::open(dir.path()).unwrap().usage().unwrap());
        assert_eq!((kept.octets, kept.files), (counted.octets, counted.files));
        (kept.octets, kept.files)
    };
    lose(&anna, "/a", &[1; 40], 1);
    assert_eq!(used(), (40, 1));
    lose(&anna, "/a", &[1; 30], 2);
    assert_eq!(used(), (30, 1));
    lose(&anna, "/b", &[1; 20], 3);
    assert_eq!(used(), (50, 2));
    // The oldest goes.
    lose(&anna, "/c", &[1; 10], 4);
    assert_eq!((used(), size(&anna, "/a").is_err()), ((30, 2), true));
    // To go on costs what comes, and the end costs nothing.
    let (mut upload, begin) = anna.append(&path("/b"), None, 5).unwrap();
    assert_eq!((upload.expect(90), upload.expect(91)), (Ok(()), Err(Refusal::QuotaExceeded)));
    upload.write_at(&[2; 70], begin).unwrap();
    assert_eq!(upload.write_at(&[2; 1], 90), Err(Refusal::QuotaExceeded));
    upload.commit().unwrap();
    assert_eq!(used(), (100, 2));
    // In the place of a file.
    let (upload, _) = anna.append(&path("/c"), None, 6).unwrap();
    upload.commit().unwrap();
    assert_eq!(used(), (100, 2));
    anna.remove(&path("/b")).unwrap();
    anna.set_modified(&path("/c"), 1_000_000, 0).unwrap();
    lose(&anna, "/c", &[1; 50], 7);
    assert_eq!(used(), (60, 2));
    let (mut upload, begin) = anna.resume(&path("/c"), None, 8, |_| Some(50)).unwrap();
    upload.write_at(&[3; 5], begin).unwrap();
    upload.commit().unwrap();
    assert_eq!(used(), (55, 1));
    // Too many files: not kept, and nothing is charged.
    for n in 0..3 {
        put(&anna, &format!("/{n}"), b"", n);
    }
    let (upload, _) = (anna.store(&path("/c"), How::Replace, None, 9).unwrap(), ());
    upload.file().set_len(1).unwrap();
    assert_eq!(upload.break_off(), None);
    assert_eq!(used(), (55, 4));
}

#[test]
fn not_for_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let off = Rules { keeping: None, ..Rules::default() };
    assert_eq!(lose(&space_of(dir.path(), "anna", Rights::ALL, off), "/f", b"1", 1), None);
    let mounts = vec![Mount { at: path("/"), tree: Tree::open(dir.path()).unwrap() }];
    let grants = vec![Grant { path: path("/"), rights: Rights::ALL }];
    let stranger = Space::new(mounts, grants, Sync::Never, 0o022);
    assert_eq!(lose(&stranger, "/f", b"1", 2), None);
    assert!(names(dir.path()).is_empty());
    // An incoming folder: one's own part is told, and no file that is there.
    let guest = space_of(dir.path(), "guest", Rights::DROP_BOX, Rules::default());
    lose(&guest, "/f", b"12", 3);
    assert_eq!(size(&guest, "/f"), Ok(2));
    put(&space(dir.path(), "anna"), "/f", b"1234", 4);
    assert_eq!(size(&guest, "/f"), Err(Refusal::NoPermission));
    assert_eq!(guest.append(&path("/f"), None, 5).err(), Some(Refusal::NoPermission));
    assert_eq!(guest.resume(&path("/f"), None, 6, |_| Some(2)).err(), Some(Refusal::NoPermission));
    let reader = space_of(dir.path(), "guest", Rights::READ_ONLY, Rules::default());
    assert_eq!(reader.resume(&path("/f"), None, 7, |_| Some(2)).err(), Some(Refusal::NoPermission));
}

#[test]
fn what_is_old_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("homes/anna/deep")).unwrap();
    let home = dir.path().join("homes/anna");
    let anna = space(&home, "anna");
    lose(&anna, "/deep/f", b"123", 1);
    put(&anna, "/file", b"stays", 2);
    // Left behind by a server that was killed.
    std::fs::write(home.join("deep/.packetboat-0000000000000001"), "12").unwrap();
    let under_way = anna.store(&path("/now"), How::Create, None, 3).unwrap();
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
    let homes = Tree::open(&dir.path().join("homes")).unwrap();
    let mut freed = Vec::new();
    let mut sweep = |parts_before, uploads_before| {
        homes.sweep(Sweep { parts_before, uploads_before }, &mut |place, octets| {
            freed.push((String::from_utf8_lossy(&place[0]).into_owned(), octets));
        })
    };
    assert_eq!(sweep(now - hour, now - hour), Ok(Swept::default()));
    assert_eq!(size(&anna, "/deep/f"), Ok(3));
    assert_eq!(sweep(now + hour, now - hour), Ok(Swept { files: 1, octets: 3 }));
    assert_eq!(size(&anna, "/deep/f"), Err(Refusal::NotFound));
    under_way.commit().unwrap();
    assert_eq!(sweep(now + hour, now + hour), Ok(Swept { files: 1, octets: 2 }));
    assert_eq!(freed, [("anna".to_owned(), 3)]);
    let mut left = names(&home);
    left.sort();
    assert_eq!(left, ["deep", "file", "now"]);
}
