//! Server sessions against dialogues: see `tests/transcripts/ftp` at the top of the repository.

#![allow(clippy::unwrap_used)]

use packetboat_wire::transcript::{Role, check_folder};

mod support;

#[test]
fn transcripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/transcripts/ftp");
    check_folder(folder, Role::Server, support::from_settings);
}
