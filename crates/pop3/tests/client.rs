//! Client sessions against dialogues: see `tests/transcripts/pop3-client` at the top of the repository.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use packetboat_pop3::client::{Client, Config, Event, TlsPolicy};
use packetboat_pop3::{Command, Strictness};
use packetboat_wire::sasl::Credentials;
use packetboat_wire::transcript::{Owner, Role, Script, check_folder};
use packetboat_wire::{Session, TlsFacts};

mod support;

/// Takes commands as orders: `O: RETR 1`.
struct User;

impl Owner<Client> for User {
    fn event(&mut self, _: &mut Client, _: Event) {}

    fn order(&mut self, session: &mut Client, order: &str) -> Result<(), String> {
        let command =
            Command::parse(order.as_bytes(), Strictness::Strict).map_err(|error| error.to_string())?;
        session.request(command).map_err(|command| format!("{command:?} was not taken"))
    }

    fn tls(&mut self) -> TlsFacts {
        support::tls_facts()
    }
}

/// | setting | values |
/// |---|---|
/// | `tls` | `require` (unless told otherwise), `if-offered`, `never`, `implicit` |
/// | `user` `password` | `mrose` and `tanstaaf`, unless told otherwise; user `-` logs nobody in |
/// | `clear` `apop` `no-utf8` | `yes` |
/// | `window` | a number |
fn from_settings(script: &Script) -> (Client, User) {
    let yes = |name: &str| script.setting(name) == Some("yes");
    let username = script.setting("user").unwrap_or("mrose");
    let credentials = Credentials {
        username: username.into(),
        password: script.setting("password").unwrap_or("tanstaaf").into(),
        authzid: None,
    };
    let mut config = Config::new((username != "-").then_some(credentials));
    config.tls = match script.setting("tls") {
        None | Some("require" | "implicit") => TlsPolicy::Require,
        Some("if-offered") => TlsPolicy::IfOffered,
        Some("never") => TlsPolicy::Never,
        Some(other) => panic!("no policy {other}"),
    };
    config.password_in_clear = yes("clear");
    config.apop = yes("apop");
    config.utf8 = !yes("no-utf8");
    if let Some(window) = script.setting("window") {
        config.window = window.parse().unwrap();
    }
    config.timeout = Duration::from_secs(60);
    let mut client = Client::new(config, [7; 24]);
    if script.setting("tls") == Some("implicit") {
        client.tls_started(support::tls_facts());
    }
    (client, User)
}

#[test]
fn transcripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/transcripts/pop3-client");
    check_folder(folder, Role::Client, from_settings);
}

#[test]
fn what_the_session_does_itself_is_not_taken() {
    let mut client = Client::new(Config::new(None), [7; 24]);
    for command in [
        Command::Stls,
        Command::Utf8,
        Command::User("a".into()),
        Command::Pass("b".into()),
        Command::AuthList,
    ] {
        assert_eq!(client.request(command.clone()), Err(command));
    }
    assert_eq!(client.pending(), 0);
}
