//! Client sessions against dialogues: see `tests/transcripts/imap-client` at the top of the repository.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use packetboat_imap::client::{Client, Config, Event, RemoteName, Request, TlsPolicy};
use packetboat_imap::command::{FetchItem, Section, SectionItem, SectionText};
use packetboat_imap::response::StatusItem;
use packetboat_imap::value::Flag;
use packetboat_wire::sasl::Credentials;
use packetboat_wire::transcript::{Owner, Role, Script, check_folder};
use packetboat_wire::{ChannelBinding, Session, TlsFacts};

/// Takes orders, and appends messages of `x`.
struct User {
    /// Octets given at a time.
    chunk: u64,
    /// Octets given of a message before there are no more.
    breaks_at: Option<u64>,
    given: u64,
}

impl Owner<Client> for User {
    fn event(&mut self, session: &mut Client, event: Event) {
        if let Event::Append { left } = event {
            let most = self.breaks_at.map_or(u64::MAX, |at| at - self.given);
            let octets = left.min(self.chunk).min(most);
            self.given += octets;
            session.append_chunk(&vec![b'x'; octets as usize]);
        }
    }

    fn order(&mut self, session: &mut Client, order: &str) -> Result<(), String> {
        if order == "done" {
            session.idle_done();
            return Ok(());
        }
        session.request(request(order)?).map_err(|request| format!("{request:?} was not taken"))
    }

    fn tls(&mut self) -> TlsFacts {
        tls_facts()
    }
}

fn tls_facts() -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS13_AES_256_GCM_SHA384",
        server_name: None,
        bindings: vec![ChannelBinding::TlsExporter(vec![0x42; 32])],
    }
}

fn name(text: &str) -> RemoteName {
    RemoteName::new(text.replace("\\n", "\n").into_bytes())
}

/// The orders of transcripts; words are parted by spaces, names have none.
fn request(order: &str) -> Result<Request, String> {
    let words: Vec<&str> = order.split(' ').collect();
    let body = Section {
        item: SectionItem::Body,
        peek: true,
        path: vec![],
        text: SectionText::Whole,
        partial: None,
    };
    Ok(match words.as_slice() {
        ["noop"] => Request::Noop,
        ["list", pattern] | ["list", pattern, "status"] => Request::List {
            lsub: false,
            reference: name(""),
            pattern: name(pattern),
            status: if words.len() == 3 { vec![StatusItem::Messages, StatusItem::Size] } else { vec![] },
        },
        ["lsub", pattern] => {
            Request::List { lsub: true, reference: name(""), pattern: name(pattern), status: vec![] }
        }
        ["status", mailbox] => Request::Status {
            mailbox: name(mailbox),
            items: vec![StatusItem::Messages, StatusItem::UidValidity],
        },
        ["select", mailbox] => Request::Select { mailbox: name(mailbox), examine: false, condstore: false },
        ["examine", mailbox] => Request::Select { mailbox: name(mailbox), examine: true, condstore: true },
        ["fetch", uids] | ["fetch", uids, _] => Request::Fetch {
            uids: uids.parse().unwrap(),
            items: vec![
                FetchItem::Uid,
                FetchItem::Flags,
                FetchItem::InternalDate,
                FetchItem::Size,
                FetchItem::Section(body),
            ],
            changed_since: words.get(2).map(|modseq| modseq.parse().unwrap()),
        },
        ["headers", uids] => Request::Fetch {
            uids: uids.parse().unwrap(),
            items: vec![
                FetchItem::Envelope,
                FetchItem::Section(Section {
                    path: vec![1, 2],
                    text: SectionText::Fields(vec!["From".into(), "To".into()]),
                    partial: Some((0, 1024)),
                    ..body
                }),
                FetchItem::BinarySize(vec![1]),
                FetchItem::Preview { lazy: true },
            ],
            changed_since: None,
        },
        ["append", mailbox, octets] => Request::Append {
            mailbox: name(mailbox),
            flags: vec![],
            date: None,
            octets: octets.parse().unwrap(),
        },
        ["append", mailbox, octets, "flagged"] => Request::Append {
            mailbox: name(mailbox),
            flags: vec![Flag::Seen, Flag::Recent, Flag::Keyword("$x".into())],
            date: Some(837_571_465_000_000),
            octets: octets.parse().unwrap(),
        },
        ["idle"] => Request::Idle,
        ["unselect"] => Request::Unselect,
        ["logout"] => Request::Logout,
        ["say", rest @ ..] => Request::Other(rest.join(" ")),
        _ => return Err(format!("no order {order}")),
    })
}

/// | setting | values |
/// |---|---|
/// | `tls` | `require`, `if-offered`, `never`, `implicit` (unless told otherwise) |
/// | `user` `password` | `mrose` and `tanstaaf`, unless told otherwise; user `-` logs nobody in |
/// | `clear` | `yes` |
/// | `id` | `yes`: name and version |
/// | `enable` | names |
/// | `window` `chunk` `breaks-at` | a number |
fn from_settings(script: &Script) -> (Client, User) {
    let yes = |name: &str| script.setting(name) == Some("yes");
    let username = script.setting("user").unwrap_or("mrose");
    let credentials = Credentials {
        username: username.into(),
        password: script.setting("password").unwrap_or("tanstaaf").into(),
        authzid: None,
    };
    let mut config = Config::new((username != "-").then_some(credentials));
    let tls = script.setting("tls").unwrap_or("implicit");
    config.tls = match tls {
        "require" | "implicit" => TlsPolicy::Require,
        "if-offered" => TlsPolicy::IfOffered,
        "never" => TlsPolicy::Never,
        other => panic!("no policy {other}"),
    };
    config.password_in_clear = yes("clear");
    if yes("id") {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        config.id = vec![field("name", "packetboat"), field("note", "ä"), field("version", "\"1\"")];
    }
    config.enable = script.setting("enable").unwrap_or("").split_whitespace().map(str::to_owned).collect();
    let number = |name: &str| script.setting(name).map(|number| number.parse::<u64>().unwrap());
    config.window = number("window").unwrap_or(1) as usize;
    config.timeout = Duration::from_secs(60);
    let mut client = Client::new(config, [7; 24]);
    if tls == "implicit" {
        client.tls_started(tls_facts());
    }
    (client, User { chunk: number("chunk").unwrap_or(4096), breaks_at: number("breaks-at"), given: 0 })
}

#[test]
fn transcripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/transcripts/imap-client");
    check_folder(folder, Role::Client, from_settings);
}

#[test]
fn what_cannot_be_said_is_not_taken() {
    let mut client = Client::new(Config::new(None), [7; 24]);
    for request in [
        Request::Other("NOOP\r\nA9 DELETE x".into()),
        Request::Other(String::new()),
        Request::Other("a\0".into()),
        Request::Fetch { uids: "1".parse().unwrap(), items: vec![], changed_since: None },
    ] {
        assert_eq!(client.request(request.clone()), Err(request));
    }
    assert_eq!(client.pending(), 0);
}
