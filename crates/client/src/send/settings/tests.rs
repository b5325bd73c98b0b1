#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;
use crate::send::testing::around;

const FILE: &str = "default = 'work'
[profile.work]
server = ['one.example', 'two.example:587']
tls = 'starttls'
ca = 'ca.pem'
user = 'alice'
password_file = 'secret'
from = 'Alice <alice@example.org>'
[profile.other]
server = 'three.example'
insecure = true
lmtp = true
password_command = 'echo typed; echo more'
user = 'bob'
";

/// Surroundings with a configuration folder; the folder is gone when the second value is dropped.
fn configured(file: &str) -> (Surroundings, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("packetboat")).unwrap();
    fs::write(dir.path().join("packetboat/send.toml"), file).unwrap();
    fs::write(dir.path().join("packetboat/secret"), "from the file\r\nnext\n").unwrap();
    let mut around = around("from stdin\nrest\n");
    around.config_dir = Some(dir.path().to_owned());
    (around, dir)
}

fn servers(settings: &Settings) -> Vec<String> {
    settings.servers.iter().map(ToString::to_string).collect()
}

fn login(settings: &Settings) -> (String, String) {
    let login = settings.login.as_ref().unwrap();
    (login.user.clone(), login.password.expose().clone())
}

#[test]
fn the_default_profile_says_what_the_command_line_does_not() {
    let (mut around, dir) = configured(FILE);
    let settings = Settings::resolve(&Request::default(), &mut around).unwrap();
    assert_eq!(servers(&settings), ["one.example", "two.example:587"]);
    assert_eq!(settings.tls, TlsMode::StartTls);
    assert_eq!(settings.trust, Some(Trust::Ca(dir.path().join("packetboat/ca.pem"))));
    assert_eq!(login(&settings), ("alice".to_owned(), "from the file".to_owned()));
    assert_eq!(settings.from.as_deref(), Some("Alice <alice@example.org>"));

    let request = Request {
        profile: Some("other".to_owned()),
        tls: Some(TlsMode::None),
        trust: Some(Trust::System),
        ..Request::default()
    };
    let settings = Settings::resolve(&request, &mut around).unwrap();
    assert_eq!(servers(&settings), ["three.example"]);
    assert_eq!(
        (settings.tls, settings.trust.clone(), settings.lmtp),
        (TlsMode::None, Some(Trust::System), true)
    );
    assert_eq!(login(&settings), ("bob".to_owned(), "typed".to_owned()));
}

#[test]
fn a_password_goes_to_no_server_it_was_not_written_down_for() {
    let (mut around, _dir) = configured(FILE);
    let request = Request { servers: vec!["evil.example".to_owned()], ..Request::default() };
    let settings = Settings::resolve(&request, &mut around).unwrap();
    assert!(settings.login.is_none());
    assert_eq!(settings.trust, None);
}

#[test]
fn the_password_comes_from_the_nearest_place() {
    let request = Request {
        servers: vec!["x.example".to_owned()],
        user: Some("alice".to_owned()),
        ..Request::default()
    };
    let from = |request: &Request, around: &mut Surroundings| {
        Settings::resolve(request, around).map(|settings| login(&settings).1)
    };
    let (mut around, dir) = configured("");
    assert_eq!(from(&request, &mut around).unwrap_err().kind, FailureKind::Usage);

    around.stdin_is_terminal = true;
    around.ask_password = Box::new(|prompt| Ok(Secret::new(format!("asked {prompt}"))));
    assert_eq!(from(&request, &mut around).unwrap(), "asked Password of alice: ");

    around.env_password = Some("from the environment".into());
    assert_eq!(from(&request, &mut around).unwrap(), "from the environment");

    let stdin = Request { password: Some(PasswordFrom::Stdin), ..request.clone() };
    assert_eq!(from(&stdin, &mut around).unwrap(), "from stdin");
    let mut rest = String::new();
    around.stdin.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "rest\n");

    for (source, kind) in [
        (PasswordFrom::File(dir.path().join("none")), FailureKind::NoInput),
        (PasswordFrom::Command("exit 3".to_owned()), FailureKind::Config),
        (PasswordFrom::Command("true".to_owned()), FailureKind::Config),
        (PasswordFrom::Stdin, FailureKind::Io),
    ] {
        let request = Request { password: Some(source), ..request.clone() };
        assert_eq!(from(&request, &mut around).unwrap_err().kind, kind);
    }
    let nobody = Request { password: Some(PasswordFrom::Stdin), user: None, ..request };
    assert_eq!(Settings::resolve(&nobody, &mut around).unwrap_err().kind, FailureKind::Usage);
}

#[test]
fn a_wrong_file_is_named_with_the_place_in_it() {
    let (mut around, _dir) = configured("[profile.a]\nserver = 'x'\ncolour = 'red'\n");
    let failure = Settings::resolve(&Request::default(), &mut around).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Config);
    assert!(failure.message.contains("send.toml") && failure.message.contains("line 3"), "{failure}");

    let (mut around, _dir) = configured(super::tests::FILE);
    let request = Request { profile: Some("wrok".to_owned()), ..Request::default() };
    let failure = Settings::resolve(&request, &mut around).unwrap_err();
    assert_eq!(failure.hint.as_deref(), Some("There are: other, work."));

    let request = Request { config: Some("/nonexistent".into()), ..Request::default() };
    assert_eq!(Settings::resolve(&request, &mut around).unwrap_err().kind, FailureKind::Config);

    let (mut around, _dir) = configured("");
    assert_eq!(Settings::resolve(&Request::default(), &mut around).unwrap_err().kind, FailureKind::Usage);
}
