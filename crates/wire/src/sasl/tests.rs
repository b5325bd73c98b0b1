#![allow(clippy::unwrap_used)]

use super::*;
use crate::session::ChannelBinding;

fn credentials(username: &str, password: &str, authzid: Option<&str>) -> Credentials {
    Credentials {
        username: username.to_owned(),
        password: password.into(),
        authzid: authzid.map(str::to_owned),
    }
}

fn exporter() -> ChannelBinding {
    ChannelBinding::TlsExporter(vec![0xe5; 32])
}

/// How an exchange ended, on both sides.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    server: Result<Done, Failure>,
    client: Result<(), ClientError>,
}

/// Lets a client and a server talk. The only account is `user` with the password `pencil`.
fn talk(mut client: Client, mut server: Server, speaks_first: bool) -> Outcome {
    let initial = if speaks_first { client.initial() } else { None };
    let mut step = server.initial(initial.as_ref().map(|message| message.expose().as_slice()));
    for _ in 0..10 {
        step = match step {
            ServerStep::Challenge(challenge) => match client.step(&challenge) {
                Ok(response) => server.step(response.expose()),
                Err(error) => return Outcome { server: Err(Failure::Rejected), client: Err(error) },
            },
            ServerStep::Ask(Ask::Password { authcid, password, .. }) => {
                if authcid == "us,=er" && password.expose() == "pencil" {
                    server.accept()
                } else {
                    server.reject()
                }
            }
            ServerStep::Ask(Ask::ScramKeys { authcid, hash, .. }) => {
                server.scram_keys(vec![if authcid == "us,=er" {
                    ScramKeys::derive(hash, "pencil", b"salt of some length", 4096).unwrap()
                } else {
                    ScramKeys::fake(hash, b"site", &authcid, 4096)
                }])
            }
            ServerStep::Ask(Ask::SharedSecret { .. }) => server.reject(),
            ServerStep::Done(done) => return Outcome { server: Ok(done), client: client.success() },
            ServerStep::Failed(failure) => {
                return Outcome { server: Err(failure), client: client.success() };
            }
        }
    }
    panic!("no end");
}

fn bindings_for(mechanism: Mechanism) -> Vec<ChannelBinding> {
    if mechanism.binds_channel() { vec![exporter()] } else { Vec::new() }
}

fn exchange(mechanism: Mechanism, credentials: Credentials, speaks_first: bool) -> Outcome {
    let bindings = bindings_for(mechanism);
    let client = Client::new(mechanism, credentials, &bindings, b"client nonce").unwrap();
    talk(client, Server::start(mechanism, &bindings, b"server nonce"), speaks_first)
}

#[test]
fn every_mechanism_lets_the_right_one_in() {
    for mechanism in Mechanism::ALL {
        for speaks_first in [true, false] {
            let outcome = exchange(mechanism, credentials("us,=er", "pencil", None), speaks_first);
            let done = Done { authcid: "us,=er".into(), authzid: None, key: 0 };
            assert_eq!(outcome, Outcome { server: Ok(done), client: Ok(()) }, "{mechanism:?}");
        }
    }
}

#[test]
fn the_authorization_identity_arrives() {
    for mechanism in Mechanism::ALL.into_iter().filter(|m| *m != Mechanism::Login) {
        let outcome = exchange(mechanism, credentials("us,=er", "pencil", Some("bo,ss=")), true);
        let done = Done { authcid: "us,=er".into(), authzid: Some("bo,ss=".into()), key: 0 };
        assert_eq!(outcome.server, Ok(done), "{mechanism:?}");
    }
}

#[test]
fn no_mechanism_lets_the_wrong_one_in() {
    for mechanism in Mechanism::ALL {
        for (name, password) in [("us,=er", "pencils"), ("nobody", "pencil")] {
            let outcome = exchange(mechanism, credentials(name, password, None), true);
            assert_eq!(outcome.server, Err(Failure::Rejected), "{mechanism:?} {name}");
        }
    }
}

#[test]
fn names_and_passwords_are_prepared() {
    // RFC 4013 section 3: I<U+00AD>X is IX, U+00AA is a.
    assert_eq!(prepare("I\u{ad}X").as_deref(), Some("IX"));
    assert_eq!(prepare("\u{aa}").as_deref(), Some("a"));
    assert_eq!(prepare("\u{7}"), None);
    assert_eq!(prepare("\u{ad}"), None);
    let keys = |password| ScramKeys::derive(ScramHash::Sha1, password, b"salt", 1);
    assert_eq!(keys("I\u{ad}X"), keys("IX"));
    assert_ne!(keys("IX"), keys("ix"));
    assert_eq!(keys("\u{7}"), None);
}

/// An example exchange out of an RFC: user `user`, password `pencil`.
struct Vector {
    mechanism: Mechanism,
    client_first: &'static str,
    server_first: &'static str,
    client_final: &'static str,
    server_final: &'static str,
}

const VECTORS: [Vector; 2] = [
    // RFC 5802 section 5
    Vector {
        mechanism: Mechanism::ScramSha1,
        client_first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        server_first: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        client_final: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        server_final: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    },
    // RFC 7677 section 3
    Vector {
        mechanism: Mechanism::ScramSha256,
        client_first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        server_final: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    },
];

impl Vector {
    /// The nonce of the client, and what the server added to it.
    fn nonces(&self) -> (&'static str, &'static str) {
        let client = self.client_first.rsplit_once("r=").unwrap().1;
        let both = self.server_first.split(',').next().unwrap().strip_prefix("r=").unwrap();
        (client, both.strip_prefix(client).unwrap())
    }

    fn keys(&self) -> ScramKeys {
        let salt = self.server_first.split(',').nth(1).unwrap().strip_prefix("s=").unwrap();
        let salt = decode_base64(salt.as_bytes()).unwrap();
        ScramKeys::derive(self.mechanism.scram_hash().unwrap(), "pencil", salt.expose(), 4096).unwrap()
    }
}

fn challenge(text: &str) -> ServerStep {
    ServerStep::Challenge(text.as_bytes().to_vec())
}

#[test]
fn the_examples_of_the_rfcs_as_a_client() {
    for vector in VECTORS {
        let mut client =
            Client::new(vector.mechanism, credentials("user", "pencil", None), &[], b"").unwrap();
        client.set_nonce_for_test(vector.nonces().0);
        assert_eq!(client.initial().unwrap().expose(), vector.client_first.as_bytes());
        let last = client.step(vector.server_first.as_bytes()).unwrap();
        assert_eq!(last.expose(), vector.client_final.as_bytes());
        assert_eq!(client.step(vector.server_final.as_bytes()).unwrap().expose(), b"");
        client.success().unwrap();
    }
}

#[test]
fn the_examples_of_the_rfcs_as_a_server() {
    for vector in VECTORS {
        let mut server = Server::start(vector.mechanism, &[], b"");
        server.set_nonce_for_test(vector.nonces().1);
        let ServerStep::Ask(Ask::ScramKeys { authcid, .. }) = server.step(vector.client_first.as_bytes())
        else {
            panic!("asks for nothing");
        };
        assert_eq!(authcid, "user");
        assert_eq!(server.scram_keys(vec![vector.keys()]), challenge(vector.server_first));
        assert_eq!(server.step(vector.client_final.as_bytes()), challenge(vector.server_final));
        assert_eq!(
            server.step(b""),
            ServerStep::Done(Done { authcid: "user".into(), authzid: None, key: 0 })
        );
    }
}

#[test]
fn each_changed_octet_of_a_proof_is_refused() {
    let vector = &VECTORS[1];
    for at in 0..vector.client_final.len() {
        let mut server = Server::start(vector.mechanism, &[], b"");
        server.set_nonce_for_test(vector.nonces().1);
        let _ask = server.step(vector.client_first.as_bytes());
        let _challenge = server.scram_keys(vec![vector.keys()]);
        let mut changed = vector.client_final.as_bytes().to_vec();
        changed[at] ^= 1;
        assert!(matches!(server.step(&changed), ServerStep::Failed(_)), "octet {at}");
    }
}

#[test]
fn a_false_server_is_found_out() {
    let vector = &VECTORS[1];
    let start = || {
        let mut client =
            Client::new(vector.mechanism, credentials("user", "pencil", None), &[], b"").unwrap();
        client.set_nonce_for_test(vector.nonces().0);
        client.initial().unwrap();
        client
    };
    let salt = "s=W22ZaJ0SNY7soEsUEjb6gQ==";
    let first = [
        (format!("r=other,{salt},i=4096"), ClientError::Malformed),
        (format!("r=rOprNGfwEbeRWgbNEkqO,{salt},i=4096"), ClientError::Malformed),
        (format!("m=ext,r=rOprNGfwEbeRWgbNEkqOx,{salt},i=4096"), ClientError::Malformed),
        (format!("r=rOprNGfwEbeRWgbNEkqOx,{salt},i=4095"), ClientError::Iterations(4095)),
        (format!("r=rOprNGfwEbeRWgbNEkqOx,{salt},i=1000001"), ClientError::Iterations(1_000_001)),
        (format!("r=rOprNGfwEbeRWgbNEkqOx,{salt}"), ClientError::Malformed),
        ("r=rOprNGfwEbeRWgbNEkqOx,s=*,i=4096".to_owned(), ClientError::Malformed),
        (String::new(), ClientError::Malformed),
    ];
    for (message, error) in first {
        assert_eq!(start().step(message.as_bytes()).unwrap_err(), error, "{message}");
    }
    let last = [
        ("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=", ClientError::Malformed),
        ("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", ClientError::ServerSignature),
        ("v=", ClientError::ServerSignature),
        ("e=other-error", ClientError::Refused("other-error".into())),
        ("", ClientError::Malformed),
    ];
    for (message, error) in last {
        let mut client = start();
        client.step(vector.server_first.as_bytes()).unwrap();
        assert_eq!(client.step(message.as_bytes()).unwrap_err(), error, "{message}");
        assert_eq!(client.success(), Err(ClientError::Early));
    }
    let mut client = start();
    client.step(vector.server_first.as_bytes()).unwrap();
    assert_eq!(client.success(), Err(ClientError::Early), "success without a signature");
}

#[test]
fn channel_binding() {
    use Mechanism::{ScramSha256 as Clear, ScramSha256Plus as Plus};
    let end_point = ChannelBinding::TlsServerEndPoint(vec![1; 32]);
    let other = ChannelBinding::TlsExporter(vec![0xee; 32]);
    let both = [exporter(), end_point.clone()];
    type Case<'a> = (Mechanism, &'a [ChannelBinding], &'a [ChannelBinding], Option<Failure>);
    let table: [Case; 8] = [
        (Plus, &[exporter()], &both, None),
        (Plus, std::slice::from_ref(&end_point), &both, None),
        // somebody in the middle has two TLS connections
        (Plus, &[exporter()], std::slice::from_ref(&other), Some(Failure::ChannelBinding)),
        (Plus, &[exporter()], std::slice::from_ref(&end_point), Some(Failure::ChannelBinding)),
        (Plus, &[exporter()], &[], Some(Failure::ChannelBinding)),
        (Clear, &[], &both, None),
        (Clear, &[exporter()], &[], None),
        // somebody in the middle has struck -PLUS from the offer
        (Clear, &[exporter()], &both, Some(Failure::Downgrade)),
    ];
    for (i, (mechanism, ours, theirs, failure)) in table.into_iter().enumerate() {
        let client = Client::new(mechanism, credentials("us,=er", "pencil", None), ours, b"c").unwrap();
        let outcome = talk(client, Server::start(mechanism, theirs, b"s"), true);
        assert_eq!(outcome.server.err(), failure, "row {i}");
    }
    let nothing_to_bind = Client::new(Plus, credentials("u", "p", None), &[], b"c");
    assert_eq!(nothing_to_bind.unwrap_err(), ClientError::NoChannel);
}

#[test]
fn what_a_server_does_not_accept() {
    use Mechanism::{Login, Plain, ScramSha256 as Scram, ScramSha256Plus as Plus};
    let table: &[(Mechanism, &[u8], Failure)] = &[
        (Plain, b"", Failure::Malformed),
        (Plain, b"a\0b", Failure::Malformed),
        (Plain, b"\0\0password", Failure::Malformed),
        (Plain, b"\0name\0", Failure::Malformed),
        (Plain, b"\0name\0pass\0", Failure::Malformed),
        (Plain, b"\0na\x07me\0pass", Failure::Malformed),
        (Plain, b"\0name\0\xff", Failure::Malformed),
        (Plain, &[b'x'; MESSAGE_MAX + 1], Failure::TooLong),
        (Login, b"", Failure::Malformed),
        (Scram, b"", Failure::Malformed),
        (Scram, b"n,,", Failure::Malformed),
        (Scram, b"n,,n=,r=x", Failure::Malformed),
        (Scram, b"n,,n=u,r=", Failure::Malformed),
        (Scram, b"n,,n=u,r=\xc3\xa4", Failure::Malformed),
        (Scram, b"n,,n=u=2D,r=x", Failure::Malformed),
        (Scram, b"n,,n=u=2,r=x", Failure::Malformed),
        (Scram, b"n,,m=ext,n=u,r=x", Failure::Malformed),
        (Scram, b"n,b,n=u,r=x", Failure::Malformed),
        (Scram, b"n,a=,n=u,r=x", Failure::Malformed),
        (Scram, b"x,,n=u,r=x", Failure::Malformed),
        (Scram, b"p=tls-exporter,,n=u,r=x", Failure::ChannelBinding),
        (Plus, b"p=tls-unique,,n=u,r=x", Failure::ChannelBinding),
        (Plus, b"n,,n=u,r=x", Failure::ChannelBinding),
        (Plus, b"y,,n=u,r=x", Failure::ChannelBinding),
    ];
    for (mechanism, message, failure) in table {
        let mut server = Server::start(*mechanism, &bindings_for(*mechanism), b"s");
        assert_eq!(server.step(message), ServerStep::Failed(*failure), "{}", message.escape_ascii());
    }
}

#[test]
fn a_server_driven_out_of_turn_fails() {
    let out_of_turn = ServerStep::Failed(Failure::OutOfTurn);
    let keys = || ScramKeys::fake(ScramHash::Sha256, b"site", "user", 4096);
    let mut server = Server::start(Mechanism::Plain, &[], b"s");
    assert_eq!(server.accept(), out_of_turn);
    assert_eq!(server.step(b"\0user\0pencil"), out_of_turn, "it has ended");
    let mut server = Server::start(Mechanism::Plain, &[], b"s");
    let _ask = server.step(b"\0user\0pencil");
    assert_eq!(server.scram_keys(vec![keys()]), out_of_turn);
    let mut server = Server::start(Mechanism::ScramSha256, &[], b"s");
    let _ask = server.step(b"n,,n=u,r=x");
    assert_eq!(server.accept(), out_of_turn);
    assert_eq!(server.scram_keys(vec![keys()]), out_of_turn, "it has ended");
}

#[test]
fn fake_keys_are_steady_and_differ_by_name() {
    let keys = |name| ScramKeys::fake(ScramHash::Sha256, b"site", name, 4096);
    assert_eq!(keys("a"), keys("a"));
    assert_ne!(keys("a").salt, keys("b").salt);
    assert_ne!(keys("a").salt, ScramKeys::fake(ScramHash::Sha256, b"other", "a", 4096).salt);
    assert_eq!((keys("a").salt.len(), keys("a").stored_key.expose().len()), (16, 32));
}

#[test]
fn the_password_does_not_print() {
    for mechanism in Mechanism::ALL {
        let client =
            Client::new(mechanism, credentials("user", "pencil", None), &[exporter()], b"c").unwrap();
        assert!(!format!("{client:?}").contains("pencil"));
    }
    let mut server = Server::start(Mechanism::Plain, &[], b"s");
    assert!(!format!("{:?}", server.step(b"\0user\0pencil")).contains("pencil"));
}

#[test]
fn picking() {
    use Mechanism::*;
    let bare = TlsFacts::default();
    let bound = TlsFacts { bindings: vec![exporter()], ..TlsFacts::default() };
    let all = Mechanism::ALL;
    let table = [
        (&all[..], Some(&bound), false, Some(ScramSha256Plus)),
        (&all[..], Some(&bare), false, Some(ScramSha256)),
        (&all[..], None, false, Some(ScramSha256)),
        (&[Login, Plain], Some(&bare), false, Some(Plain)),
        (&[Login], None, true, Some(Login)),
        (&[Login, Plain], None, false, None),
        (&[ScramSha1Plus], None, true, None),
        (&[], Some(&bound), true, None),
    ];
    for (offered, tls, password_in_clear, expected) in table {
        assert_eq!(pick(offered, tls, password_in_clear), expected, "{offered:?}");
    }
}

#[test]
fn names_of_mechanisms() {
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::parse(&mechanism.name().to_lowercase()), Some(mechanism));
    }
    assert_eq!(Mechanism::parse("CRAM-MD5"), None);
}

#[test]
fn base64() {
    assert_eq!(decode_base64(b"AHVzZXIAcGVuY2ls").unwrap().expose(), b"\0user\0pencil");
    assert_eq!(encode_base64(b"\0user\0pencil"), "AHVzZXIAcGVuY2ls");
    assert_eq!(decode_initial_response(b"=").unwrap().expose(), b"");
    for wrong in ["=", "AHV", "AHV=x", "A HV", "AHV-", "AHV=\r\n", "*", "AB=="] {
        assert_eq!(decode_base64(wrong.as_bytes()), Err(Base64Error::Invalid), "{wrong}");
    }
    assert_eq!(decode_base64(&[b'A'; MESSAGE_MAX + 4]), Err(Base64Error::TooLong));
    assert!(decode_base64(&[b'A'; MESSAGE_MAX]).is_ok());
}

#[test]
fn the_proof_tells_which_of_several_passwords_it_was_made_with() {
    let keys = |password| ScramKeys::derive(ScramHash::Sha256, password, b"one salt for all", 4096).unwrap();
    for (password, expected) in [("main", Ok(0)), ("app", Ok(1)), ("none", Err(Failure::Rejected))] {
        let mut server = Server::start(Mechanism::ScramSha256, &[], b"nonce of the server");
        let credentials =
            Credentials { username: "user".into(), password: Secret::new(password.into()), authzid: None };
        let mut client =
            Client::new(Mechanism::ScramSha256, credentials, &[], b"nonce of the client").unwrap();
        let mut step = server.initial(client.initial().as_ref().map(|first| &first.expose()[..]));
        let outcome = loop {
            step = match step {
                ServerStep::Challenge(challenge) => server.step(client.step(&challenge).unwrap().expose()),
                ServerStep::Ask(_) => server.scram_keys(vec![keys("main"), keys("app")]),
                ServerStep::Done(done) => break Ok(done.key),
                ServerStep::Failed(failure) => break Err(failure),
            };
        };
        assert_eq!(outcome, expected, "{password}");
    }
}
