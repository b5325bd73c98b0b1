//! Runs `tests/transcripts/smtp-client` against the client half.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use packetboat_message::Address;
use packetboat_smtp::client::{Config, Envelope, Event, Protocol, TlsPolicy};
use packetboat_smtp::envelope::{DeliverBy, Hold, Late, Notify, OriginalRecipient, Ret};
use packetboat_smtp::{BodyKind, Client, Recipient, Sender};
use packetboat_wire::sasl::Credentials;
use packetboat_wire::transcript::{self, Owner, Script};
use packetboat_wire::{ChannelBinding, TlsFacts};

const TRANSCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/transcripts/smtp-client");

/// Sends the same message as often as `@ messages` says, then quits.
struct Letters {
    envelope: Envelope,
    /// What `@ body` says, in the pieces that `|` makes of it.
    body: Vec<Bytes>,
    given: usize,
    left: u32,
    stays: bool,
    bindings: Vec<ChannelBinding>,
}

impl Owner<Client> for Letters {
    fn event(&mut self, client: &mut Client, event: Event) {
        match event {
            Event::Ready if self.left > 0 => {
                self.left -= 1;
                self.given = 0;
                client.send(self.envelope.clone()).unwrap();
            }
            Event::Ready if !self.stays => client.quit(),
            Event::WantBody => {
                assert!(client.wants_body());
                match self.body.get(self.given) {
                    Some(piece) if piece.as_ref() == b"ABANDON" => client.abandon(),
                    Some(piece) => client.body(piece.clone()),
                    None => client.end_body(),
                }
                self.given += 1;
            }
            Event::Failed(error) => {
                // So that a transcript can say what the owner will make of it.
                let _ = (error.fault(), error.is_permanent(), error.is_in_doubt());
            }
            Event::Ready | Event::Recipient { .. } | Event::Delivery { .. } | Event::Done(_) => {}
        }
    }

    fn tls(&mut self) -> TlsFacts {
        TlsFacts { version: "TLSv1.3", bindings: self.bindings.clone(), ..TlsFacts::default() }
    }

    fn order(&mut self, client: &mut Client, order: &str) -> Result<(), String> {
        match order {
            "quit" => client.quit(),
            "send" => client.send(self.envelope.clone()).map_err(|error| error.to_string())?,
            _ => return Err(format!("nobody here knows how to {order:?}")),
        }
        Ok(())
    }
}

fn make(script: &Script) -> (Client, Letters) {
    let set = |name| script.setting(name);
    let protocol = if set("lmtp").is_some() { Protocol::Lmtp } else { Protocol::Smtp };
    let mut config = Config::new(protocol, "client.example");
    config.tls = match set("tls") {
        None | Some("opportunistic") => TlsPolicy::Opportunistic,
        Some("never") => TlsPolicy::Never,
        Some("required") => TlsPolicy::Required,
        Some(other) => panic!("{other} is no policy"),
    };
    config.credentials = set("login").map(|login| {
        let (username, password) = login.split_once(' ').unwrap();
        Credentials { username: username.into(), password: password.into(), authzid: None }
    });
    config.password_in_clear = set("password-in-clear").is_some();
    config.chunking = set("chunking").is_some();
    config.eight_bit_anyway = set("eight-bit-strictly").is_none();
    let mut sender = Sender::new(match set("from") {
        Some("<>") => None,
        from => Some(Address::parse(from.unwrap_or("a@b.example")).unwrap()),
    });
    sender.size = set("size").map(|size| size.parse().unwrap());
    sender.body = match set("kind") {
        None => BodyKind::SevenBit,
        Some("8bit") => BodyKind::EightBit,
        Some("binary") => BodyKind::Binary,
        Some(other) => panic!("{other} is no kind"),
    };
    sender.deliver_by = set("by").map(|by| {
        let (seconds, rest) = by.split_once(';').unwrap();
        let late = if rest.starts_with('R') { Late::Return } else { Late::Notify };
        DeliverBy { seconds: seconds.parse().unwrap(), late, trace: rest.ends_with('T') }
    });
    sender.hold = set("hold-for").map(|seconds| Hold::For(seconds.parse().unwrap()));
    sender.require_tls = set("require-tls").is_some();
    let to = set("to").unwrap_or("alice@example.org").split_whitespace();
    let mut recipients: Vec<_> = to.map(|to| Recipient::new(Address::parse(to).unwrap())).collect();
    if set("notify").is_some() {
        (sender.ret, sender.envid) = (Some(Ret::Headers), Some("QQ+314".into()));
        for recipient in &mut recipients {
            recipient.notify = Some(Notify { success: true, failure: false, delay: true });
            recipient.original =
                Some(OriginalRecipient { kind: "rfc822".into(), address: "e+x@example.org".into() });
        }
    }
    let body =
        set("body").unwrap_or(r"Hello\r\n").replace(r"\r", "\r").replace(r"\n", "\n").replace(r"\0", "\0");
    let letters = Letters {
        envelope: Envelope { sender, recipients },
        body: body.split('|').map(|piece| Bytes::copy_from_slice(piece.as_bytes())).collect(),
        given: 0,
        left: set("messages").map_or(1, |n| n.parse().unwrap()),
        stays: set("stays").is_some(),
        bindings: set("binding").map(|data| ChannelBinding::TlsExporter(data.into())).into_iter().collect(),
    };
    (Client::new(Arc::new(config), b"nonce of eighteen octets"), letters)
}

#[test]
fn transcripts() {
    transcript::check_folder(TRANSCRIPTS, transcript::Role::Client, make);
}
