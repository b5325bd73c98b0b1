//! What is kept is charged to a share, by every verb, and never more than is there.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use packetboat_files::{
    Grant, How, Limits, MemoryShare, Mount, Refusal, Rights, Share, Space, Sync, Tree, Usage,
};
use support::path;

fn space(root: &Path, octets: u64, files: u64) -> (Space, Arc<MemoryShare>) {
    let limits = Limits { octets: Some(octets), files: Some(files) };
    let share = Arc::new(MemoryShare::new(Usage { limits, ..Usage::default() }));
    let mounts = vec![Mount { at: path("/"), tree: Tree::open(root).unwrap() }];
    let grants = vec![Grant { path: path("/"), rights: Rights::ALL }];
    let kept: Arc<dyn Share> = share.clone();
    (Space::new(mounts, grants, Sync::Never, 0o022).with_share(&kept), share)
}

fn put(space: &Space, at: &str, how: How, octets: usize, random: u64) -> Result<(), Refusal> {
    let mut upload = space.store(&path(at), how, None, random)?;
    upload.write_at(&vec![b'x'; octets], 0)?;
    upload.commit().map(drop)
}

fn used(share: &MemoryShare, root: &Path) -> (u64, u64) {
    let (kept, counted) = (share.usage(), Tree::open(root).unwrap().usage().unwrap());
    assert_eq!((kept.octets, kept.files), (counted.octets, counted.files), "as it is counted anew");
    (kept.octets, kept.files)
}

#[test]
fn every_verb_is_charged() {
    let dir = tempfile::tempdir().unwrap();
    let (space, share) = space(dir.path(), 100, 10);
    let used = || used(&share, dir.path());
    put(&space, "/a", How::Create, 40, 1).unwrap();
    assert_eq!(used(), (40, 1));
    put(&space, "/a", How::Replace, 30, 2).unwrap();
    assert_eq!(used(), (30, 1));
    put(&space, "/a", How::Unique, 5, 3).unwrap();
    assert_eq!(used(), (35, 2));
    assert_eq!(put(&space, "/a", How::Create, 5, 4), Err(Refusal::Exists));
    assert_eq!(used(), (35, 2));
    let (mut upload, begin) = space.append(&path("/a"), None, 5).unwrap();
    upload.write_at(b"12345", begin).unwrap();
    assert_eq!(used(), (35, 2));
    upload.commit().unwrap();
    assert_eq!(used(), (40, 2));
    space.link(b"a", &path("/l")).unwrap();
    assert_eq!(space.link(b"a", &path("/l")), Err(Refusal::Exists));
    assert_eq!(used(), (40, 3));
    // Renamed: nothing; onto another: that one is gone; onto itself: nothing.
    space.rename(&path("/a"), &path("/b")).unwrap();
    space.rename(&path("/b"), &path("/b")).unwrap();
    assert_eq!(used(), (40, 3));
    space.rename(&path("/b"), &path("/a.1")).unwrap();
    assert_eq!(used(), (35, 2));
    put(&space, "/l", How::Replace, 7, 6).unwrap();
    assert_eq!(used(), (42, 2), "a file in the place of a link");
    space.make_directory(&path("/d")).unwrap();
    space.make_directory(&path("/d/e")).unwrap();
    put(&space, "/d/1", How::Create, 1, 7).unwrap();
    put(&space, "/d/e/2", How::Create, 2, 8).unwrap();
    assert_eq!(used(), (45, 4));
    space.remove_tree(&path("/d"), &AtomicBool::new(false)).unwrap();
    space.remove(&path("/l")).unwrap();
    assert_eq!(used(), (35, 1));
    assert_eq!(space.remove(&path("/l")), Err(Refusal::NotFound));
    assert_eq!(used(), (35, 1));
}

#[test]
fn nothing_is_kept_that_there_is_no_room_for() {
    let dir = tempfile::tempdir().unwrap();
    let (space, share) = space(dir.path(), 100, 2);
    assert_eq!(space.allocate(&path("/"), 101), Err(Refusal::QuotaExceeded));
    assert_eq!(space.allocate(&path("/"), 100), Ok(()));
    assert_eq!(put(&space, "/a", How::Create, 101, 1), Err(Refusal::QuotaExceeded));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing torn is left");
    put(&space, "/a", How::Create, 60, 2).unwrap();
    // Two at once: what one has taken the other has not, whether it says so in time or not.
    let mut one = space.store(&path("/b"), How::Create, None, 3).unwrap();
    let mut two = space.store(&path("/c"), How::Create, None, 4).unwrap();
    assert_eq!((one.expect(41), one.expect(40)), (Err(Refusal::QuotaExceeded), Ok(())));
    one.write_at(&[0; 30], 0).unwrap();
    two.write_at(&[0; 30], 0).unwrap();
    one.commit().unwrap();
    assert_eq!(two.commit(), Err(Refusal::QuotaExceeded));
    assert_eq!(used(&share, dir.path()), (90, 2));
    // What is replaced makes room; one file more does not.
    put(&space, "/a", How::Replace, 70, 5).unwrap();
    assert_eq!(put(&space, "/a", How::Replace, 71, 6), Err(Refusal::QuotaExceeded));
    assert_eq!(put(&space, "/d", How::Create, 0, 7), Err(Refusal::QuotaExceeded));
    assert_eq!(space.link(b"a", &path("/l")), Err(Refusal::QuotaExceeded));
    // Appending begins with what is there, and that is no new room.
    let (mut upload, begin) = space.append(&path("/a"), None, 8).unwrap();
    assert_eq!((begin, upload.write_at(b"x", begin)), (70, Err(Refusal::QuotaExceeded)));
    drop(upload);
    assert_eq!(used(&share, dir.path()), (100, 2));
    space.remove(&path("/b")).unwrap();
    put(&space, "/b", How::Create, 30, 9).unwrap();
    assert_eq!(used(&share, dir.path()), (100, 2));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn what_is_put_together_needs_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let (space, share) = space(dir.path(), 100, 3);
    let combine = |target: &str, sources: &[&str]| {
        let sources: Vec<_> = sources.iter().map(|source| path(source)).collect();
        space.combine(&path(target), &sources, 99, &AtomicBool::new(false))
    };
    for (name, octets) in [("/a", 20), ("/b", 30), ("/c", 50)] {
        put(&space, name, How::Create, octets, 1).unwrap();
    }
    // To a new file, though there may be no more of them, and behind one that is there.
    combine("/new", &["/a", "/b"]).unwrap();
    assert_eq!(used(&share, dir.path()), (100, 2));
    combine("/new", &["/c"]).unwrap();
    assert_eq!(used(&share, dir.path()), (100, 1));
    assert_eq!(std::fs::read(dir.path().join("new")).unwrap().len(), 100);
    // What cannot be removed makes no room, and nothing has happened then.
    std::fs::create_dir(dir.path().join("d")).unwrap();
    assert_eq!(combine("/other", &["/d"]), Err(Refusal::NotAFile));
    // Who is over the limit makes room first.
    share.set_limits(Limits { octets: Some(90), files: None });
    assert_eq!(combine("/other", &["/new"]), Err(Refusal::QuotaExceeded));
    assert_eq!(used(&share, dir.path()), (100, 1));
    // What lies elsewhere makes no room here.
    let elsewhere = tempfile::tempdir().unwrap();
    let theirs = Arc::new(MemoryShare::default());
    let mut both = space.clone();
    let tree = Tree::open(elsewhere.path()).unwrap().with_share(theirs.clone());
    both.mount(Mount { at: path("/shared"), tree });
    put(&both, "/shared/a", How::Create, 10, 2).unwrap();
    let into = |target: &str, source: &str| {
        both.combine(&path(target), &[path(source)], 98, &AtomicBool::new(false))
    };
    share.set_limits(Limits { octets: Some(109), files: None });
    assert_eq!(into("/new", "/shared/a"), Err(Refusal::QuotaExceeded));
    share.set_limits(Limits { octets: Some(110), files: None });
    into("/new", "/shared/a").unwrap();
    assert_eq!((used(&share, dir.path()), used(&theirs, elsewhere.path())), ((110, 1), (0, 0)));
    into("/shared/back", "/new").unwrap();
    assert_eq!((used(&share, dir.path()), used(&theirs, elsewhere.path())), ((0, 0), (110, 1)));
}

#[test]
fn it_runs_out_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let (space, share) = space(dir.path(), 10 << 20, 9);
    let mut upload = space.store(&path("/a"), How::Create, None, 1).unwrap();
    let piece = vec![0; 1 << 20];
    let written = (0..20).take_while(|n| upload.write_at(&piece, n << 20).is_ok()).count();
    assert_eq!((written, share.room()), (10, Some(0)), "what is on its way is charged as it grows");
    drop(upload);
    assert_eq!(used(&share, dir.path()), (0, 0));
}

#[test]
fn a_tree_with_a_share_of_its_own() {
    let (home, shared) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let theirs = Arc::new(MemoryShare::default());
    let (mut space, mine) = space(home.path(), 10, 10);
    let tree = Tree::open(shared.path()).unwrap().with_share(theirs.clone());
    space.mount(Mount { at: path("/shared"), tree });
    put(&space, "/shared/a", How::Create, 100, 1).unwrap();
    put(&space, "/a", How::Create, 10, 2).unwrap();
    assert_eq!((theirs.usage().octets, mine.usage().octets), (100, 10));
    assert_eq!(space.usage(&path("/shared")).unwrap(), Some(theirs.usage()));
    assert_eq!(put(&space, "/b", How::Create, 1, 3), Err(Refusal::QuotaExceeded));
}

#[test]
fn many_at_once_are_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let (space, share) = space(dir.path(), 1 << 20, 1000);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let space = &space;
            scope.spawn(move || {
                for round in 0..200_u64 {
                    let name = format!("/{}", round % 3);
                    let _ = put(space, &name, How::Replace, (thread + round) as usize, thread << 32 | round);
                    if round % 7 == thread {
                        let _ = space.remove(&path(&name));
                        let _ = space.rename(&path("/0"), &path("/1"));
                        let stop = AtomicBool::new(false);
                        let _ = space.combine(
                            &path("/2"),
                            &[path("/1"), path("/0")],
                            thread << 32 | round,
                            &stop,
                        );
                    }
                }
            });
        }
    });
    used(&share, dir.path());
}
