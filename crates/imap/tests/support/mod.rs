//! A post office with a toy mailbox, for tests of IMAP sessions. It knows only what the dialogues need.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use packetboat_imap::command::{Append, FetchItem, FlagChange, Request, Search, SearchKey, Section};
use packetboat_imap::response::{Code, Completion, FlagsOf, Listed, Response, StatusItem, StatusValue};
use packetboat_imap::server::{BACKLOG_HIGH, Config, Event, Extension, Login, Refusal, Server};
use packetboat_imap::value::{Flag, MailboxName, Messages, SystemFlags, Target};
use packetboat_wire::sasl::{Mechanism, ScramKeys};
use packetboat_wire::transcript::{Owner, Script};
use packetboat_wire::{ChannelBinding, Session, TlsFacts};

/// What sessions of tests are seeded with.
pub const SEED: [u8; 32] = [7; 32];

const ACCOUNTS: [(&str, &str); 2] = [("mrose", "tanstaaf"), ("jörg", "pässwörd")];

#[derive(Debug, Clone)]
pub struct Message {
    pub uid: u32,
    pub flags: SystemFlags,
    pub keywords: Vec<String>,
    pub body: Vec<u8>,
    pub modseq: u64,
}

#[derive(Debug, Clone)]
pub struct Mailbox {
    pub name: String,
    pub messages: Vec<Message>,
    pub uid_next: u32,
}

/// Everything an owner of a server session does, in memory and at once.
#[derive(Debug, Clone)]
pub struct PostOffice {
    pub mailboxes: Vec<Mailbox>,
    pub selected: Option<usize>,
    pub modseq: u64,
    pub login: Option<Refusal>,
    /// Refuses an APPEND at this event.
    pub append_refused: Option<String>,
    append: Option<Append>,
    incoming: Vec<Message>,
    /// The request in hand and how far it is.
    fetching: Option<(packetboat_imap::command::Fetch, usize)>,
}

impl PostOffice {
    pub fn new() -> PostOffice {
        let message = |uid, subject: &str, text: &str| Message {
            uid,
            flags: SystemFlags(0),
            keywords: Vec::new(),
            body: format!("Subject: {subject}\r\n\r\n{text}\r\n").into_bytes(),
            modseq: u64::from(uid),
        };
        let mailbox = |name: &str| Mailbox { name: name.to_owned(), messages: Vec::new(), uid_next: 1 };
        let mut inbox = mailbox("INBOX");
        inbox.messages =
            vec![message(1, "one", "first"), message(3, "two", "second"), message(4, "Grüße", "third")];
        inbox.uid_next = 5;
        PostOffice {
            mailboxes: vec![inbox, mailbox("Drafts"), mailbox("Entwürfe")],
            selected: None,
            modseq: 4,
            login: None,
            append_refused: None,
            append: None,
            incoming: Vec::new(),
            fetching: None,
        }
    }

    fn login(&self, login: &Login) -> Result<(), Refusal> {
        if let Some(refusal) = self.login {
            return Err(refusal);
        }
        let right = match login {
            Login::Password { authzid: None, authcid, password } => {
                ACCOUNTS.iter().any(|(name, known)| name == authcid && password.expose() == known)
            }
            Login::Proved { authzid: None, .. } => true,
            Login::Password { .. } | Login::Proved { .. } => return Err(Refusal::NotAllowed),
            Login::Disproved { .. } => false,
        };
        if right { Ok(()) } else { Err(Refusal::Credentials) }
    }

    fn find(&self, name: &MailboxName) -> Option<usize> {
        self.mailboxes.iter().position(|mailbox| mailbox.name == name.as_str())
    }

    /// Places in the selected mailbox.
    fn targets(&self, target: &Target) -> Vec<usize> {
        let mailbox = &self.mailboxes[self.selected.unwrap()];
        let Messages::Set(set) = &target.messages else { return (0..mailbox.messages.len()).collect() };
        let last = match mailbox.messages.last() {
            Some(message) if target.uid => message.uid,
            _ => mailbox.messages.len() as u32,
        };
        let ranges = set.resolve(last);
        let within = |number: u32| ranges.iter().any(|(first, last)| (*first..=*last).contains(&number));
        (0..mailbox.messages.len())
            .filter(|&at| within(if target.uid { mailbox.messages[at].uid } else { at as u32 + 1 }))
            .collect()
    }

    fn found(&self, key: &SearchKey) -> Vec<usize> {
        let messages = &self.mailboxes[self.selected.unwrap()].messages;
        (0..messages.len())
            .filter(|&at| {
                let message = &messages[at];
                let text = String::from_utf8_lossy(&message.body).into_owned();
                self.matches(key, at, message, &text)
            })
            .collect()
    }

    fn matches(&self, key: &SearchKey, at: usize, message: &Message, text: &str) -> bool {
        match key {
            SearchKey::All => true,
            SearchKey::And(keys) => keys.iter().all(|key| self.matches(key, at, message, text)),
            SearchKey::Or(a, b) => self.matches(a, at, message, text) || self.matches(b, at, message, text),
            SearchKey::Not(key) => !self.matches(key, at, message, text),
            SearchKey::Flag(flag) => flag.system().is_some_and(|flag| message.flags.contains(flag)),
            SearchKey::Header { text: wanted, .. } | SearchKey::Text(wanted) | SearchKey::Body(wanted) => {
                text.contains(wanted.as_str())
            }
            SearchKey::Messages(target) => self.targets(target).contains(&at),
            SearchKey::ModSeq(modseq) => message.modseq >= *modseq,
            _ => false,
        }
    }

    /// Answers one event.
    pub fn answer(&mut self, session: &mut Server, event: Event) {
        let refuses = |name: &str| self.append_refused.as_deref() == Some(name);
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
            Event::Request(request) => self.request(session, *request),
            Event::Resume => self.fetch_on(session),
            Event::AppendBegin(append) => {
                if self.find(&append.mailbox).is_none() {
                    session.append_refuse(Completion::no(Code::TryCreate, "There is no such mailbox"));
                    return;
                }
                self.append = Some(append);
                self.incoming.clear();
                session.append_ready();
            }
            Event::AppendMessage { .. } if refuses("message") => {
                session.append_refuse(Completion::no(Code::OverQuota, "Full"));
            }
            Event::AppendMessage { flags, .. } => {
                let flags = flags.iter().filter_map(Flag::system).fold(SystemFlags(0), SystemFlags::with);
                let (keywords, body) = (Vec::new(), Vec::new());
                self.incoming.push(Message { uid: 0, flags, keywords, body, modseq: 0 });
                session.append_ready();
            }
            Event::AppendChunk(_) if refuses("chunk") => {
                session.append_refuse(Completion::no(Code::OverQuota, "Full"));
            }
            Event::AppendChunk(octets) => {
                self.incoming.last_mut().unwrap().body.extend_from_slice(&octets);
                session.append_ready();
            }
            Event::AppendMessageEnd if refuses("end") => {
                session.append_refuse(Completion::no(None, "No"));
            }
            Event::AppendMessageEnd => session.append_ready(),
            Event::AppendCommit => self.commit(session),
            Event::AppendAborted => self.incoming.clear(),
            Event::Ended => {}
        }
    }

    fn commit(&mut self, session: &mut Server) {
        let append = self.append.take().unwrap();
        let at = self.find(&append.mailbox).unwrap();
        let incoming = std::mem::take(&mut self.incoming);
        let mailbox = &mut self.mailboxes[at];
        let first = mailbox.uid_next;
        for mut message in incoming {
            self.modseq += 1;
            message.modseq = self.modseq;
            message.uid = mailbox.uid_next;
            mailbox.uid_next += 1;
            mailbox.messages.push(message);
        }
        let count = mailbox.messages.len() as u32;
        let code = Code::AppendUid(7, vec![(first, mailbox.uid_next - 1)]);
        if self.selected == Some(at) {
            session.say(&Response::Exists(count));
        }
        session.complete(Completion::ok("Appended").with(code));
    }

    fn request(&mut self, session: &mut Server, request: Request) {
        let none = || Completion::no(Code::NonExistent, "There is no such mailbox");
        match request {
            Request::Select(select) => {
                self.selected = self.find(&select.mailbox);
                let Some(at) = self.selected else { return session.complete(none()) };
                let mailbox = &self.mailboxes[at];
                session.say(&Response::Flags(vec![Flag::Seen, Flag::Deleted]));
                session.say(&Response::Exists(mailbox.messages.len() as u32));
                session.say(&Response::Recent(0));
                let validity = Completion::ok("Valid").with(Code::UidValidity(7));
                session.say(&Response::Condition(validity));
                session.selected(true, Completion::ok("Selected"));
            }
            Request::Status { mailbox, items } => {
                let Some(at) = self.find(&mailbox) else { return session.complete(none()) };
                let value = |item| match item {
                    StatusItem::Messages => StatusValue::Number(self.mailboxes[at].messages.len() as u64),
                    StatusItem::UidNext => StatusValue::Number(self.mailboxes[at].uid_next.into()),
                    StatusItem::HighestModSeq => StatusValue::Number(self.modseq),
                    _ => StatusValue::Nil,
                };
                let items = items.iter().map(|item| (*item, value(*item))).collect();
                session.say(&Response::Status(mailbox, items));
                session.complete(Completion::ok("Done"));
            }
            Request::List(list) => {
                for mailbox in &self.mailboxes {
                    let name = MailboxName::new(&mailbox.name).unwrap();
                    if list.patterns.iter().any(|pattern| pattern == "*" || *pattern == mailbox.name) {
                        let listed = Listed {
                            mailbox: name,
                            attributes: Vec::new(),
                            child_info: Vec::new(),
                            old_name: None,
                        };
                        session.say(&if list.lsub { Response::Lsub(listed) } else { Response::List(listed) });
                    }
                }
                session.complete(Completion::ok("Listed"));
            }
            Request::Create { mailbox, .. } => {
                let name = mailbox.as_str().to_owned();
                self.mailboxes.push(Mailbox { name, messages: Vec::new(), uid_next: 1 });
                session.complete(Completion::ok("Created"));
            }
            Request::Fetch(fetch) => {
                self.fetching = Some((fetch, 0));
                self.fetch_on(session);
            }
            Request::Store(store) => {
                let targets = self.targets(&store.target);
                let bits =
                    store.flags.iter().filter_map(Flag::system).fold(SystemFlags(0), SystemFlags::with);
                for at in targets {
                    self.modseq += 1;
                    let message = &mut self.mailboxes[self.selected.unwrap()].messages[at];
                    message.modseq = self.modseq;
                    message.flags = match store.change {
                        FlagChange::Replace => bits,
                        FlagChange::Add => message.flags.with(bits),
                        FlagChange::Remove => message.flags.without(bits),
                    };
                    if !store.silent || session.condstore() {
                        let (condstore, message) = (session.condstore(), message.clone());
                        let mut writer = session.fetch(at as u32 + 1);
                        if store.target.uid {
                            writer.uid(message.uid);
                        }
                        if !store.silent {
                            let system = message.flags;
                            writer.flags(FlagsOf { system, recent: false, keywords: &[] });
                        }
                        if condstore {
                            writer.mod_seq(message.modseq);
                        }
                        writer.finish();
                    }
                }
                session.complete(Completion::ok("Stored"));
            }
            Request::Search(Search { uid, key, returns: None }) => {
                let mailbox = &self.mailboxes[self.selected.unwrap()];
                let found = self.found(&key);
                let modseq = found.iter().map(|at| mailbox.messages[*at].modseq).max();
                let number = |at: &usize| if uid { mailbox.messages[*at].uid } else { *at as u32 + 1 };
                let modseq = modseq.filter(|_| key.uses_modseq());
                session.say(&Response::Search(found.iter().map(number).collect(), modseq));
                session.complete(Completion::ok("Found"));
            }
            Request::Expunge(_) => {
                let messages = &mut self.mailboxes[self.selected.unwrap()].messages;
                let mut at = 0;
                while at < messages.len() {
                    if messages[at].flags.contains(SystemFlags::DELETED) {
                        session.say(&if session.qresync() {
                            Response::Vanished {
                                earlier: false,
                                uids: vec![(messages[at].uid, messages[at].uid)],
                            }
                        } else {
                            Response::Expunge(at as u32 + 1)
                        });
                        messages.remove(at);
                    } else {
                        at += 1;
                    }
                }
                session.complete(Completion::ok("Expunged"));
            }
            Request::Close | Request::Unselect => {
                self.selected = None;
                session.complete(Completion::ok("Closed"));
            }
            Request::Idle => {}
            other => {
                session.complete(Completion::ok("Taken").with(Code::Cannot));
                let _ = other;
            }
        }
    }

    /// Says one message after the other, until there is enough to send.
    fn fetch_on(&mut self, session: &mut Server) {
        let Some((fetch, mut from)) = self.fetching.take() else { return };
        for at in self.targets(&fetch.target) {
            if at < from {
                continue;
            }
            if session.backlog() > BACKLOG_HIGH {
                self.fetching = Some((fetch, from));
                return;
            }
            from = at + 1;
            let message = self.mailboxes[self.selected.unwrap()].messages[at].clone();
            let mut writer = session.fetch(at as u32 + 1);
            for item in &fetch.items {
                match item {
                    FetchItem::Uid => _ = writer.uid(message.uid),
                    FetchItem::Flags => {
                        let system = message.flags;
                        writer.flags(FlagsOf { system, recent: false, keywords: &[] });
                    }
                    FetchItem::Size => _ = writer.size(message.body.len() as u64),
                    FetchItem::ModSeq => _ = writer.mod_seq(message.modseq),
                    FetchItem::InternalDate => _ = writer.internal_date(0),
                    FetchItem::Section(section @ Section { partial, .. }) => {
                        let body = message.body.as_slice();
                        let (first, count) = partial.unwrap_or((0, u64::MAX));
                        let body = body.get(first as usize..).unwrap_or_default();
                        writer.section(section, &body[..body.len().min(count as usize)]);
                    }
                    _ => {}
                }
            }
            writer.finish();
        }
        session.complete(Completion::ok("Fetched"));
    }
}

impl Owner<Server> for PostOffice {
    fn event(&mut self, session: &mut Server, event: Event) {
        self.answer(session, event);
    }

    /// `deliver`: a message arrives in the selected mailbox; `end`: the account is gone.
    fn order(&mut self, session: &mut Server, order: &str) -> Result<(), String> {
        match order {
            "deliver" => {
                let mailbox = &mut self.mailboxes[0];
                let mut message = mailbox.messages[0].clone();
                message.uid = mailbox.uid_next;
                mailbox.uid_next += 1;
                mailbox.messages.push(message);
                if session.is_idling() {
                    session.say(&Response::Exists(self.mailboxes[0].messages.len() as u32));
                }
            }
            "alert" => session.alert("Message from böse@example.org: come!\r\n* BYE".to_owned()),
            "end" => session.end(Some(Code::Unavailable), "The account is gone"),
            other => return Err(format!("no order {other}")),
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

/// The session and owner that a transcript's settings ask for.
///
/// | setting | values |
/// |---|---|
/// | `starttls` `plaintext` `implicit-tls` | `yes` |
/// | `mechanisms` | names |
/// | `login` | why it is refused |
/// | `append` | the event at which it is refused |
/// | `append-limit` | octets |
/// | `off` | extensions |
/// | `off-for` | part of a client's name, extensions |
/// | `messages` | so many more in the inbox |
pub fn from_settings(script: &Script) -> (Server, PostOffice) {
    let yes = |name: &str| script.setting(name) == Some("yes");
    let words = |name: &str| script.setting(name).unwrap_or("").split_whitespace();
    let extension = |name: &str| name.parse::<Extension>().unwrap();
    let mut config = Config::new("imap.example.org");
    config.implementation = Some(("packetboat".into(), "1.0".into()));
    config.starttls = yes("starttls");
    config.plaintext_logins = script.setting("plaintext") != Some("no");
    config.mechanisms = words("mechanisms").map(|name| Mechanism::parse(name).unwrap()).collect();
    config.disabled = words("off").map(extension).collect();
    if let Some(part) = words("off-for").next() {
        config.disabled_for = vec![(part.to_owned(), words("off-for").skip(1).map(extension).collect())];
    }
    if let Some(limit) = script.setting("append-limit") {
        config.append_limit = limit.parse().unwrap();
    }
    let mut office = PostOffice::new();
    office.login = script.setting("login").map(|reason| match reason {
        "credentials" => Refusal::Credentials,
        "not-allowed" => Refusal::NotAllowed,
        "temporary" => Refusal::Temporary,
        other => panic!("no refusal {other}"),
    });
    office.append_refused = script.setting("append").map(str::to_owned);
    if let Some(more) = script.setting("messages") {
        let message = office.mailboxes[0].messages[0].clone();
        for uid in 5..5 + more.parse::<u32>().unwrap() {
            office.mailboxes[0].messages.push(Message { uid, ..message.clone() });
        }
    }
    let mut session = Server::new(Arc::new(config), SEED);
    if yes("implicit-tls") {
        session.tls_started(tls_facts());
    }
    (session, office)
}
