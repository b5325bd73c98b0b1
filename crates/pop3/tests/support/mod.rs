//! A post office of three accounts, for tests of POP3 sessions.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packetboat_pop3::server::{Config, Event, Expire, Login, NoBody, Refusal, Server};
use packetboat_pop3::{Language, Strictness, apop};
use packetboat_wire::sasl::{Mechanism, ScramKeys};
use packetboat_wire::transcript::{Owner, Script};
use packetboat_wire::{ChannelBinding, TlsFacts};

/// What sessions of tests are seeded with; the banner shows the first twelve octets.
pub const SEED: [u8; 32] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
    29, 30, 31,
];

const ACCOUNTS: [(&str, &str); 3] = [("mrose", "tanstaaf"), ("alice", "two words"), ("jörg", "pässwörd")];

/// Everything an owner of a server session does, in memory and at once.
#[derive(Debug, Clone)]
pub struct PostOffice {
    pub messages: Vec<Bytes>,
    /// What a client without UTF-8 mode gets instead of any message.
    pub surrogate: Option<Bytes>,
    /// Octets of each piece a message is read in.
    pub chunk: usize,
    pub login: Option<Refusal>,
    pub open: Option<Refusal>,
    pub commit_fails: bool,
    pub unique_ids_fail: bool,
    pub no_body: Option<NoBody>,
    /// Reading fails after this many octets.
    pub breaks_at: Option<usize>,
    pub deleted: Vec<usize>,
    reading: VecDeque<Bytes>,
    read: usize,
    /// How many pieces of message text the session asked for.
    pub pieces_asked: usize,
}

impl PostOffice {
    pub fn with(messages: impl IntoIterator<Item = impl AsRef<[u8]>>) -> PostOffice {
        PostOffice {
            messages: messages.into_iter().map(|message| Bytes::copy_from_slice(message.as_ref())).collect(),
            surrogate: None,
            chunk: 4096,
            login: None,
            open: None,
            commit_fails: false,
            unique_ids_fail: false,
            no_body: None,
            breaks_at: None,
            deleted: Vec::new(),
            reading: VecDeque::new(),
            read: 0,
            pieces_asked: 0,
        }
    }

    fn login(&self, login: &Login) -> Result<(), Refusal> {
        if let Some(refusal) = self.login {
            return Err(refusal);
        }
        let account = |name: &str| ACCOUNTS.iter().find(|(known, _)| *known == name);
        let right = match login {
            Login::Password { authzid: None, authcid, password } => {
                account(authcid).is_some_and(|(_, known)| password.expose() == known)
            }
            Login::Apop { authcid, timestamp, digest } => account(authcid)
                .is_some_and(|(_, known)| apop::digest(timestamp, &(*known).into()) == *digest),
            Login::Proved { authzid: None, .. } => true,
            // Nobody may act as somebody else here.
            Login::Password { .. } | Login::Proved { .. } | Login::Disproved { .. } => false,
        };
        if right { Ok(()) } else { Err(Refusal::Credentials) }
    }

    /// Answers one event.
    pub fn answer(&mut self, session: &mut Server, event: Event) {
        match event {
            Event::Login(login) => match self.login(&login) {
                Ok(()) => session.accept(),
                Err(refusal) => session.refuse(refusal),
            },
            Event::ScramKeys { authcid, hash } => {
                let known = ACCOUNTS.iter().find(|(name, _)| *name == authcid);
                session.scram_keys(vec![match known {
                    Some((_, password)) => {
                        ScramKeys::derive(hash, password, b"0123456789abcdef", 4096).unwrap()
                    }
                    None => ScramKeys::fake(hash, b"site", &authcid, 4096),
                }]);
            }
            Event::OpenMaildrop => match self.open {
                None => session.maildrop(self.messages.iter().map(|message| message.len() as u64).collect()),
                Some(refusal) => session.refuse(refusal),
            },
            Event::UniqueIds { .. } if self.unique_ids_fail => session.unique_ids_failed(),
            Event::UniqueIds { first, count } => {
                session.unique_ids((first..first + count).map(|index| format!("uid:{:04}", index + 1)));
            }
            Event::Retrieve { index, utf8, .. } => {
                let surrogate = self.surrogate.clone().filter(|_| !utf8);
                let message = surrogate.unwrap_or_else(|| self.messages[index].clone());
                self.reading.clear();
                self.read = 0;
                match self.no_body {
                    Some(reason) => session.no_body(reason),
                    None => {
                        self.reading = (0..message.len())
                            .step_by(self.chunk)
                            .map(|start| message.slice(start..message.len().min(start + self.chunk)))
                            .collect();
                        session.begin_body();
                    }
                }
            }
            Event::MoreBody => {
                self.pieces_asked += 1;
                match self.reading.pop_front() {
                    Some(_) if self.breaks_at.is_some_and(|at| self.read >= at) => session.body_failed(),
                    Some(chunk) => {
                        self.read += chunk.len();
                        session.body_chunk(chunk);
                    }
                    None => session.body_end(),
                }
            }
            Event::Commit { .. } if self.commit_fails => session.commit_failed(),
            Event::Commit { deletions } => {
                self.deleted = deletions.iter().collect();
                session.committed();
            }
            Event::Abandoned { .. } => {}
        }
    }
}

impl Owner<Server> for PostOffice {
    fn event(&mut self, session: &mut Server, event: Event) {
        self.answer(session, event);
    }

    fn order(&mut self, session: &mut Server, order: &str) -> Result<(), String> {
        match order {
            "revoke" => session.revoke(),
            _ => return Err(format!("nobody here knows how to {order:?}")),
        }
        Ok(())
    }

    fn tls(&mut self) -> TlsFacts {
        tls_facts()
    }
}

pub fn tls_facts() -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS13_AES_256_GCM_SHA384",
        server_name: None,
        bindings: vec![ChannelBinding::TlsExporter(vec![0x42; 32])],
    }
}

/// Messages 1 and 2 have the 120 and 200 octets of RFC 1939 section 10.
pub fn rfc_1939() -> Vec<Vec<u8>> {
    let fill = |start: &str, octets: usize| {
        let mut message = start.as_bytes().to_vec();
        message.resize(octets - 2, b'x');
        message.extend_from_slice(b"\r\n");
        message
    };
    vec![
        fill("From: mrose\r\nSubject: one\r\n\r\nfirst line\r\n.second line\r\n", 120),
        fill("From: mrose\r\nSubject: two\r\n\r\n.\r\n..\r\n", 200),
    ]
}

/// The session and owner that a transcript's settings ask for.
///
/// | setting | values |
/// |---|---|
/// | `stls` `plaintext` `apop` `strict` `implicit-tls` | `yes` |
/// | `mechanisms` | names |
/// | `maildrop` | `rfc1939` (unless told otherwise), `empty`, `shapes`, `many`, `international` |
/// | `chunk` | octets |
/// | `login` `open` | why it is refused |
/// | `commit` `unique-ids` | `fail` |
/// | `body` | `missing`, `utf8`, `temporary`, `permanent`, `breaks` |
pub fn from_settings(script: &Script) -> (Server, PostOffice) {
    let yes = |name: &str| script.setting(name) == Some("yes");
    let mut config = Config::new("dbc.mtview.ca.us");
    config.implementation = Some("packetboat".into());
    config.strictness = if yes("strict") { Strictness::Strict } else { Strictness::Lenient };
    config.stls = yes("stls");
    config.plaintext_logins = yes("plaintext");
    config.apop = yes("apop");
    config.mechanisms = script
        .setting("mechanisms")
        .unwrap_or("")
        .split_whitespace()
        .map(|name| Mechanism::parse(name).unwrap())
        .collect();
    config.login_delay = yes("login-delay").then(|| Duration::from_secs(300));
    config.expire = match script.setting("expire") {
        None => None,
        Some("never") => Some(Expire::Never),
        Some(days) => Some(Expire::Days(days.parse().unwrap())),
    };
    if script.setting("language") == Some("de") {
        config.language = Language::German;
    }

    let mut office = match script.setting("maildrop").unwrap_or("rfc1939") {
        "rfc1939" => PostOffice::with(rfc_1939()),
        "empty" => PostOffice::with(Vec::<Vec<u8>>::new()),
        "shapes" => PostOffice::with(shapes()),
        "many" => PostOffice::with((0..3000).map(|index| format!("Subject: {index}\r\n\r\n"))),
        "international" => PostOffice::with(["Subject: Grüße\r\n\r\nschön\r\n"]),
        other => panic!("no maildrop {other}"),
    };
    if script.setting("maildrop") == Some("international") {
        let surrogate = "Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\r\nschön\r\n";
        office.surrogate = Some(Bytes::from_static(surrogate.as_bytes()));
    }
    if let Some(chunk) = script.setting("chunk") {
        office.chunk = chunk.parse().unwrap();
    }
    let refusal = |name: &str| {
        script.setting(name).map(|reason| match reason {
            "credentials" => Refusal::Credentials,
            "in-use" => Refusal::InUse,
            "login-delay" => Refusal::LoginDelay,
            "temporary" => Refusal::Temporary,
            "permanent" => Refusal::Permanent,
            other => panic!("no refusal {other}"),
        })
    };
    office.login = refusal("login");
    office.open = refusal("open");
    office.commit_fails = script.setting("commit") == Some("fail");
    office.unique_ids_fail = script.setting("unique-ids") == Some("fail");
    match script.setting("body") {
        None => {}
        Some("missing") => office.no_body = Some(NoBody::Missing),
        Some("utf8") => office.no_body = Some(NoBody::NeedsUtf8),
        Some("temporary") => office.no_body = Some(NoBody::Temporary),
        Some("permanent") => office.no_body = Some(NoBody::Permanent),
        Some("breaks") => office.breaks_at = Some(1),
        Some(other) => panic!("no body {other}"),
    }

    let mut session = Server::new(Arc::new(config), SEED);
    if yes("implicit-tls") {
        use packetboat_wire::Session;
        session.tls_started(tls_facts());
    }
    (session, office)
}

/// Messages whose ends and lines are unusual.
fn shapes() -> Vec<&'static [u8]> {
    vec![
        b"",
        b"Subject: no body\r\n",
        b"Subject: no end\r\n\r\nno final newline",
        b".\r\n",
        b"..\r\n.\r\n\r\n.\r\n..\r\n...\r\n",
        b"Subject: bare\r\n\r\nlf\n.\n.\r\n+OK not a reply\r\ncr\r.\r\n",
        b"\r\nno header\r\n",
        b"Subject: lf at the end\n\nx\n",
    ]
}
