//! Spaces to try things in.

#![allow(dead_code, clippy::unwrap_used)] // Not every test needs all of it.

use std::path::Path;

use packetboat_files::{Grant, Mount, Rights, Space, Sync, Tree, VirtualPath};

pub(crate) fn path(text: &str) -> VirtualPath {
    VirtualPath::root().resolve(text.as_bytes()).unwrap()
}

/// A tree at the root, and these rights.
pub(crate) fn space_with(root: &Path, grants: &[(&str, Rights)]) -> Space {
    let mounts = vec![Mount { at: path("/"), tree: Tree::open(root).unwrap() }];
    let grants = grants.iter().map(|(at, rights)| Grant { path: path(at), rights: *rights }).collect();
    Space::new(mounts, grants, Sync::Never, 0o022)
}

/// A tree at the root, and all rights.
pub(crate) fn space(root: &Path) -> Space {
    space_with(root, &[("/", Rights::ALL)])
}
