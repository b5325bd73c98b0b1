use super::*;

#[test]
fn a_session_does_not_print_what_is_sent() {
    let mut client = Client::new(Arc::new(Config::new(Protocol::Smtp, "client.example")), &[7; 18]);
    client.command("AUTH PLAIN AGFsaWNlAHNlY3JldA==");
    assert!(!format!("{client:?}").contains("AGFsaWNl"));
}
