//! Checksums are made while files come, kept with them, and noticed to be old.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use packetboat_files::{Algorithm, Grant, How, Mount, Refusal, Rights, Rules, Space, Sync, Tree};
use support::path;

const CRC_OF_123456789: &str = "cbf43926";

fn space(root: &Path, checksums: Vec<Algorithm>) -> Space {
    let mounts = vec![Mount { at: path("/"), tree: Tree::open(root).unwrap() }];
    let grants = vec![Grant { path: path("/"), rights: Rights::ALL }];
    Space::new(mounts, grants, Sync::Never, 0o022)
        .with_rules(Arc::new(Rules { checksums, ..Rules::default() }))
}

fn put(space: &Space, at: &str, pieces: &[(&[u8], u64)], random: u64) {
    let mut upload = space.store(&path(at), How::Replace, None, random).unwrap();
    for (octets, at) in pieces {
        upload.write_at(octets, *at).unwrap();
    }
    upload.commit().unwrap();
}

fn crc(space: &Space, at: &str, start: u64, end: Option<u64>) -> Result<String, Refusal> {
    let stop = AtomicBool::new(false);
    space.checksum(&path(at), Algorithm::Crc32, start, end, &stop).map(|checksum| checksum.digits)
}

/// What is kept, if the file system keeps anything.
fn kept(file: &Path) -> Option<String> {
    let mut value = [0; 256];
    let octets = rustix::fs::getxattr(file, "user.packetboat.crc32", &mut value[..]).ok()?;
    Some(String::from_utf8_lossy(&value[..octets]).into_owned())
}

fn forge(file: &Path) -> bool {
    let value = kept(file).unwrap_or_default().replace(CRC_OF_123456789, "0badf00d");
    rustix::fs::setxattr(file, "user.packetboat.crc32", value.as_bytes(), rustix::fs::XattrFlags::empty())
        .is_ok()
}

#[test]
fn kept_while_receiving_and_valid_as_long_as_the_file_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let space = space(dir.path(), vec![Algorithm::Crc32]);
    let file = dir.path().join("f");
    put(&space, "/f", &[(b"12345", 0), (b"6789", 5)], 1);
    assert_eq!(crc(&space, "/f", 0, None).unwrap(), CRC_OF_123456789);
    if kept(&file).is_none() {
        return;
    }
    // That it is the kept one that answers shows by forging it.
    assert!(forge(&file));
    assert_eq!(crc(&space, "/f", 0, None).unwrap(), "0badf00d");
    assert_ne!(crc(&space, "/f", 0, Some(8)).unwrap(), "0badf00d", "a part is worked out");
    // Another time by MFMT, and another name: it is still the same file.
    space.set_modified(&path("/f"), 1_000_000, 5).unwrap();
    space.rename(&path("/f"), &path("/g")).unwrap();
    assert_eq!(crc(&space, "/g", 0, None).unwrap(), "0badf00d");
    // Changed past us: worked out anew, and kept again.
    let file = dir.path().join("g");
    std::fs::write(&file, "123456789").unwrap();
    assert_eq!(crc(&space, "/g", 0, None).unwrap(), CRC_OF_123456789);
    assert!(kept(&file).unwrap().ends_with(CRC_OF_123456789));
    // Something else than a checksum is none.
    let value = kept(&file).unwrap().replace(CRC_OF_123456789, "zzz");
    rustix::fs::setxattr(&file, "user.packetboat.crc32", value.as_bytes(), rustix::fs::XattrFlags::empty())
        .unwrap();
    assert_eq!(crc(&space, "/g", 0, None).unwrap(), CRC_OF_123456789);
}

#[test]
fn what_did_not_come_in_its_order_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let space = space(dir.path(), vec![Algorithm::Crc32, Algorithm::Sha256]);
    put(&space, "/header", &[(b"_____6789", 0), (b"12345", 0)], 1);
    assert_eq!(kept(&dir.path().join("header")), None);
    assert_eq!(crc(&space, "/header", 0, None).unwrap(), CRC_OF_123456789);
    put(&space, "/f", &[(b"12345", 0)], 2);
    let (mut upload, begin) = space.append(&path("/f"), None, 3).unwrap();
    upload.write_at(b"6789", begin).unwrap();
    upload.commit().unwrap();
    assert_eq!(kept(&dir.path().join("f")), None);
    assert_eq!(crc(&space, "/f", 0, None).unwrap(), CRC_OF_123456789);
}

#[test]
fn ranges_and_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let space = space(dir.path(), Vec::new());
    put(&space, "/f", &[(b"__123456789", 0)], 1);
    assert_eq!(kept(&dir.path().join("f")), None, "kept when asked first");
    assert_eq!(crc(&space, "/f", 2, None).unwrap(), CRC_OF_123456789);
    assert_eq!(crc(&space, "/f", 11, None).unwrap(), "00000000");
    for (start, end) in [(12, None), (0, Some(12)), (5, Some(4)), (u64::MAX, Some(u64::MAX))] {
        assert_eq!(crc(&space, "/f", start, end), Err(Refusal::InvalidRange), "{start} {end:?}");
    }
    assert_eq!(crc(&space, "/", 0, None), Err(Refusal::NotAFile));
    assert_eq!(crc(&space, "/none", 0, None), Err(Refusal::NotFound));
    let stop = AtomicBool::new(true);
    let stopped = space.checksum(&path("/f"), Algorithm::Sha512, 0, None, &stop);
    assert_eq!(stopped, Err(Refusal::Stopped));
    // Whoever may not read it learns nothing of what is in it.
    let grants = vec![Grant { path: path("/"), rights: Rights::DROP_BOX }];
    let mounts = vec![Mount { at: path("/"), tree: Tree::open(dir.path()).unwrap() }];
    let guest = Space::new(mounts, grants, Sync::Never, 0o022);
    assert_eq!(crc(&guest, "/f", 0, None), Err(Refusal::NoPermission));
}
