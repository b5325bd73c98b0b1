use std::mem::size_of;

use super::*;

#[test]
fn an_idle_session_is_small() {
    // With the connection's own state around it, a thousand idle clients shall not cost a megabyte.
    assert!(size_of::<Server>() <= 256, "{}", size_of::<Server>());
}

#[test]
fn a_session_does_not_print_what_was_sent() {
    let mut server = Server::new(Arc::new(Config::new(Role::Submission, "mail.example.org")));
    server.receive(b"AUTH PLAIN AGFsaWNlAHNlY3JldA==");
    assert!(!format!("{server:?}").contains("AGFsaWNl"));
}
