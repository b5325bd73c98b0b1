//! Server sessions against dialogues: see `tests/transcripts/imap` at the top of the repository.

use packetboat_wire::transcript::{Role, check_folder};

mod support;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/transcripts/imap");

#[test]
fn transcripts() {
    check_folder(FOLDER, Role::Server, support::from_settings);
}

#[test]
fn hostile() {
    check_folder(format!("{FOLDER}/hostile"), Role::Server, support::from_settings);
}
