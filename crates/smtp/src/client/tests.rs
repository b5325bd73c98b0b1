#![allow(clippy::unwrap_used)]

use packetboat_message::Address;
use packetboat_wire::Secret;
use packetboat_wire::sasl::{Credentials, decode_base64};

use super::*;
use crate::envelope::{Recipient, Sender};

fn client(config: Config) -> Client {
    Client::new(Arc::new(config), b"eighteen octets...")
}

/// Hands the client what the server says, and returns what it sends.
fn say(client: &mut Client, text: &str) -> String {
    tell(client, text).0
}

/// Hands the client what the server says, and returns what it sends and what it tells.
fn tell(client: &mut Client, text: &str) -> (String, Vec<Event>) {
    let (mut sent, mut events) = (String::new(), Vec::new());
    client.receive(text.as_bytes());
    loop {
        match client.next(Instant::now()) {
            Step::Send(bytes) => sent += std::str::from_utf8(&bytes).unwrap(),
            Step::Event(event) => events.push(event),
            Step::StartTls | Step::Wait { .. } | Step::Close => return (sent, events),
        }
    }
}

#[test]
fn a_session_does_not_print_what_is_sent() {
    let mut client = client(Config::new(Protocol::Smtp, "client.example"));
    client.command("AUTH PLAIN AGFsaWNlAHNlY3JldA==");
    assert!(!format!("{client:?}").contains("AGFsaWNl"));
}

#[test]
fn no_more_answers_are_outstanding_than_fit_between() {
    let mut client = client(Config::new(Protocol::Smtp, "client.example"));
    say(&mut client, "220 ready\r\n");
    say(&mut client, "250-mail.example.org\r\n250 PIPELINING\r\n");
    let recipients = vec![Recipient::new(Address::parse("a@example.org").unwrap()); 1000];
    client.send(Envelope { sender: Sender::default(), recipients }).unwrap();
    assert_eq!(say(&mut client, "").lines().count(), 50);
    assert_eq!(say(&mut client, &"250 OK\r\n".repeat(7)).lines().count(), 7);
}

#[test]
fn what_was_offered_in_the_clear_is_forgotten() {
    let mut client = client(Config::new(Protocol::Smtp, "client.example"));
    say(&mut client, "220 ready\r\n");
    say(&mut client, "250-mail.example.org\r\n250 STARTTLS\r\n");
    assert!(client.capabilities().starttls);
    say(&mut client, "220 go on\r\n");
    client.tls_started(TlsFacts::default());
    assert_eq!(*client.capabilities(), Capabilities::default());
}

#[test]
fn each_login_has_a_nonce_of_its_own() {
    let mut config = Config::new(Protocol::Smtp, "client.example");
    config.credentials =
        Some(Credentials { username: "alice".into(), password: Secret::from("secret"), authzid: None });
    let mut client = client(config);
    say(&mut client, "220 ready\r\n");
    let nonce = |sent: &str| {
        let message = decode_base64(sent.trim_end().rsplit(' ').next().unwrap().as_bytes()).unwrap();
        String::from_utf8(message.expose().clone()).unwrap().rsplit(',').next().unwrap().to_owned()
    };
    let first = say(&mut client, "250-mail.example.org\r\n250 AUTH SCRAM-SHA-1 SCRAM-SHA-256\r\n");
    let second = say(&mut client, "534 5.7.9 no\r\n");
    assert!(first.starts_with("AUTH SCRAM-SHA-256 ") && second.starts_with("AUTH SCRAM-SHA-1 "));
    assert_ne!(nonce(&first), nonce(&second));
}

#[test]
fn behind_a_refused_sender_nothing_is_told_of_recipients() {
    let mut client = client(Config::new(Protocol::Smtp, "client.example"));
    say(&mut client, "220 ready\r\n");
    say(&mut client, "250-mail.example.org\r\n250 PIPELINING\r\n");
    let recipients = vec![Recipient::new(Address::parse("a@example.org").unwrap()); 2];
    client.send(Envelope { sender: Sender::default(), recipients }).unwrap();
    say(&mut client, "");
    let (_, events) = tell(&mut client, "550 no\r\n503 what?\r\n503 what?\r\n503 what?\r\n");
    assert!(
        matches!(events[..], [Event::Done(Outcome::Refused { stage: Stage::Mail, .. }), Event::Ready]),
        "{events:?}"
    );
}
