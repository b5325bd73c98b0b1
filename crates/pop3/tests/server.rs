//! Server sessions against dialogues: see `tests/transcripts/pop3` at the top of the repository.

use packetboat_wire::transcript::{Role, check_folder};

mod support;

#[test]
fn transcripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/transcripts/pop3");
    check_folder(folder, Role::Server, support::from_settings);
}
