use std::sync::Arc;

use super::*;

#[test]
fn a_session_is_small() {
    assert!(size_of::<Server>() < 512, "{} octets", size_of::<Server>());
    let server = Server::new(Arc::new(Config::new("a")), [0; SEED_LENGTH]);
    assert_eq!(server.output.capacity(), 0);
}
