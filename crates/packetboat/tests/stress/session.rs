//! One IMAP session, what it was told, and whether that can be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::stream::Doors;
use super::wire::{Flags, Outcome, Random, Said, Trouble, Value, Wire, numbers, wrong};
use super::world::{Clock, Fact, World};

/// What a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Condstore,
    Qresync,
    /// IMAP4rev2 with CONDSTORE.
    Rev2,
}

/// A message as the session was told of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    pub uid: Option<u32>,
    pub flags: Option<Flags>,
    pub modseq: Option<u64>,
    /// Its flags were told during the command in hand.
    pub told: bool,
}

/// The selected mailbox.
#[derive(Debug, Default)]
pub struct View {
    pub name: String,
    pub validity: u32,
    /// It is one of those that are never deleted.
    pub stays: bool,
    pub writable: bool,
    pub entries: Vec<Entry>,
    /// Everything up to this modification sequence has been told.
    pub settled: u64,
    /// The highest one seen.
    pub seen: u64,
}

impl View {
    pub fn by_uid(&self, uid: u32) -> Option<usize> {
        self.entries.iter().position(|entry| entry.uid == Some(uid))
    }

    /// A message not asked about yet that may have this UID.
    fn place_for(&self, uid: u32) -> Option<usize> {
        let after = self.entries.iter().rposition(|entry| entry.uid.is_some_and(|other| other < uid));
        let first = after.map_or(0, |after| after + 1);
        self.entries.get(first).filter(|entry| entry.uid.is_none()).map(|_| first)
    }

    pub fn unknown(&self) -> usize {
        self.entries.iter().filter(|entry| entry.uid.is_none()).count()
    }

    pub fn uids(&self) -> Vec<u32> {
        self.entries.iter().filter_map(|entry| entry.uid).collect()
    }
}

/// What a session remembers of a mailbox it has left.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    pub modseq: u64,
    pub messages: BTreeMap<u32, (Option<Flags>, Option<u64>)>,
    /// The last that was said before it was left.
    pub origin: String,
}

/// The end of a command and what was said before.
#[derive(Debug)]
pub struct Reply {
    pub end: Said,
    pub said: Vec<Said>,
    /// UIDs that SEARCH found.
    pub found: Option<Vec<u32>>,
}

impl Reply {
    pub fn is_ok(&self) -> bool {
        self.end.name == "OK"
    }

    /// Refused with one of these codes.
    pub fn is_refused(&self, codes: &[&str]) -> bool {
        self.end.name == "NO" && codes.contains(&self.end.code.as_str())
    }
}

#[derive(Debug)]
pub struct Session {
    pub index: usize,
    pub sessions: usize,
    pub kind: Kind,
    pub random: Random,
    pub world: Arc<World>,
    pub view: Option<View>,
    pub caches: HashMap<u32, Cache>,
    pub counts: BTreeMap<String, u32>,
    pub storing: bool,
    wire: Option<Wire>,
    pub last_dialogue: Vec<String>,
    /// FETCH and VANISHED of a resynchronisation, in order.
    resync: Option<Vec<Said>>,
}

impl Session {
    pub fn new(index: usize, sessions: usize, kind: Kind, seed: u64, world: &Arc<World>) -> Session {
        Session {
            index,
            sessions,
            kind,
            random: Random(seed.wrapping_mul(1_000_003).wrapping_add(index as u64)),
            world: world.clone(),
            view: None,
            caches: HashMap::new(),
            counts: BTreeMap::new(),
            storing: false,
            wire: None,
            last_dialogue: Vec::new(),
            resync: None,
        }
    }

    pub fn is_connected(&self) -> bool {
        self.wire.is_some()
    }

    pub fn has_modseq(&self) -> bool {
        self.kind != Kind::Plain
    }

    pub fn dialogue(&self) -> String {
        let lines: Vec<&str> = match &self.wire {
            Some(wire) => wire.dialogue.iter().map(String::as_str).collect(),
            None => self.last_dialogue.iter().map(String::as_str).collect(),
        };
        lines.join("\n")
    }

    /// The connection is gone; the mailbox is remembered as it was known for certain.
    pub fn disconnect(&mut self) {
        if let Some(wire) = self.wire.take() {
            self.last_dialogue = wire.dialogue.into();
        }
        self.leave();
        self.storing = false;
    }

    /// Each session has a way of its own: in the clear or not, compressed or not.
    pub fn connect(&mut self, doors: &Doors) -> Outcome {
        self.disconnect();
        let (tls, compressed) = (self.index % 4 % 2 == 1, self.index % 4 >= 2);
        self.wire = Some(Wire::connect(doors, tls)?);
        let login = format!("LOGIN {} demo", self.world.login);
        self.must(&login)?;
        if compressed {
            self.must("COMPRESS DEFLATE")?;
            self.wire()?.compress()?;
        }
        match self.kind {
            Kind::Plain => {}
            Kind::Condstore => self.must("ENABLE CONDSTORE").map(drop)?,
            Kind::Qresync => self.must("ENABLE QRESYNC").map(drop)?,
            Kind::Rev2 => self.must("ENABLE CONDSTORE IMAP4rev2").map(drop)?,
        }
        Ok(())
    }

    /// Lets the selected mailbox go, and remembers it for a resynchronisation.
    pub fn leave(&mut self) {
        let Some(view) = self.view.take() else { return };
        // Without messages not asked about, and flags of which it is not known whether they were changed.
        if self.kind == Kind::Qresync
            && view.stays
            && view.settled > 0
            && view.unknown() == 0
            && !self.storing
        {
            let known = view.entries.into_iter().filter_map(|e| Some((e.uid?, (e.flags, e.modseq))));
            let messages = known.collect();
            let origin = self.dialogue();
            self.caches.insert(view.validity, Cache { modseq: view.settled, messages, origin });
        }
    }

    pub fn wire(&mut self) -> Outcome<&mut Wire> {
        self.wire.as_mut().ok_or_else(|| Trouble::Lost("not connected".to_owned()))
    }

    pub fn must(&mut self, command: &str) -> Outcome<Reply> {
        let reply = self.run(command.as_bytes(), true)?;
        if reply.is_ok() { Ok(reply) } else { wrong(format!("{command} was answered {:?}", reply.end)) }
    }

    /// A command from its first to its last octet.
    pub fn run(&mut self, command: &[u8], expunges: bool) -> Outcome<Reply> {
        let name: Vec<&[u8]> = command.split(|&b| b == b' ' || b == b'\r').take(2).collect();
        let words = if name.first() == Some(&&b"UID"[..]) { 2 } else { 1 };
        let name = String::from_utf8_lossy(&name[..words.min(name.len())].join(&b' ')).into_owned();
        *self.counts.entry(name).or_default() += 1;
        let tag = self.wire()?.send(command)?;
        self.finish(&tag, expunges)
    }

    pub fn finish(&mut self, tag: &str, expunges: bool) -> Outcome<Reply> {
        if let Some(view) = &mut self.view {
            view.entries.iter_mut().for_each(|entry| entry.told = false);
        }
        let (mut all, mut found) = (Vec::new(), None);
        loop {
            let said = self.wire()?.read()?;
            if said.tag == tag {
                if said.name == "BAD" || said.code == "UNAVAILABLE" {
                    return wrong(format!("it was answered {said:?}"));
                }
                if let Some(view) = self.view.as_mut().filter(|_| expunges) {
                    view.settled = view.settled.max(view.seen);
                }
                return Ok(Reply { end: said, said: all, found });
            }
            if said.tag != "*" {
                return wrong(format!("not awaited: {said:?}"));
            }
            if let Some(uids) = self.take(&said, expunges)? {
                found = Some(uids);
            }
            all.push(said);
        }
    }

    /// Takes in what is said, if it can be; the UIDs that were found, if it is that.
    pub fn take(&mut self, said: &Said, expunges: bool) -> Outcome<Option<Vec<u32>>> {
        if said.name == "BYE" {
            return Err(Trouble::Lost(format!("{said:?}")));
        }
        let earlier = said.values.first().is_some_and(|value| matches!(value, Value::List(_)));
        if let Some(resync) = &mut self.resync
            && matches!(&*said.name, "FETCH" | "VANISHED" | "EXISTS")
        {
            resync.push(said.clone());
            return Ok(None);
        }
        let kind = self.kind;
        let Some(view) = &mut self.view else {
            return match &*said.name {
                "FETCH" | "EXISTS" | "EXPUNGE" | "VANISHED" => {
                    wrong(format!("nothing is selected: {said:?}"))
                }
                _ => Ok(None),
            };
        };
        let number = said.number.unwrap_or(0) as usize;
        match &*said.name {
            "EXISTS" => {
                if number < view.entries.len() {
                    return wrong(format!("{number} EXISTS after {} without EXPUNGE", view.entries.len()));
                }
                view.entries.resize(number, Entry::default());
            }
            "EXPUNGE" => {
                if !expunges || kind == Kind::Qresync {
                    return wrong(format!("EXPUNGE where there may be none ({kind:?})"));
                }
                if number == 0 || number > view.entries.len() {
                    return wrong(format!("{number} EXPUNGE of {}", view.entries.len()));
                }
                let uid = view.entries.remove(number - 1).uid;
                let validity = view.validity;
                self.told_gone(validity, uid.into_iter().collect());
            }
            "VANISHED" => {
                if kind != Kind::Qresync || !earlier && !expunges {
                    return wrong(format!("VANISHED where there may be none ({kind:?})"));
                }
                let uids = numbers(said.values.get(usize::from(earlier)).map_or("", Value::word))?;
                if earlier {
                    if let Some(uid) = uids.iter().find(|uid| view.by_uid(**uid).is_some()) {
                        return wrong(format!("VANISHED (EARLIER) {uid} has a number in this session"));
                    }
                    return Ok(None);
                }
                for uid in &uids {
                    let place = view.by_uid(*uid).or_else(|| view.place_for(*uid));
                    let Some(place) = place else { return wrong(format!("VANISHED {uid} was not there")) };
                    view.entries.remove(place);
                }
                let validity = view.validity;
                self.told_gone(validity, uids);
            }
            "FETCH" => self.take_fetch(number, &said.values)?,
            "SEARCH" | "ESEARCH" => return self.take_found(said).map(Some),
            _ => {}
        }
        Ok(None)
    }

    fn told_gone(&self, validity: u32, uids: Vec<u32>) {
        let mut state = self.world.state();
        let now = state.now();
        for uid in uids {
            state.mailbox(validity).gone.entry(uid).or_insert(now);
        }
    }

    fn take_found(&mut self, said: &Said) -> Outcome<Vec<u32>> {
        let Some(view) = &self.view else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut uid = self.searching_uids();
        if said.name == "SEARCH" {
            for value in said.values.iter().filter(|value| matches!(value, Value::Word(_))) {
                found.push(value.number()? as u32);
            }
        } else {
            uid = said.values.iter().any(|value| value.word() == "UID");
            let after = |name: &str| {
                let at = said.values.iter().position(|value| value.word() == name)?;
                said.values.get(at + 1)
            };
            found = numbers(after("ALL").map_or("", Value::word))?;
            if let Some(count) = after("COUNT")
                && count.number()? != found.len() as u64
            {
                return wrong(format!("COUNT {count:?} and {} found", found.len()));
            }
        }
        if !uid {
            if let Some(number) = found.iter().find(|n| **n == 0 || **n as usize > view.entries.len()) {
                return wrong(format!("SEARCH found {number} of {}", view.entries.len()));
            }
            return Ok(found.iter().filter_map(|n| view.entries[*n as usize - 1].uid).collect());
        }
        let strangers = found.iter().filter(|uid| view.by_uid(**uid).is_none()).count();
        if strangers > view.unknown() {
            return wrong(format!("SEARCH found UIDs that are not here: {found:?} of {:?}", view.uids()));
        }
        Ok(found)
    }

    fn searching_uids(&self) -> bool {
        let sent =
            self.wire.as_ref().and_then(|w| w.dialogue.iter().rev().find(|line| line.contains(" C: ")));
        sent.is_some_and(|line| line.contains(" UID SEARCH "))
    }

    /// Whose flags only this session changes.
    pub fn owner(&self, uid: u32) -> Option<usize> {
        let place = uid as usize % (2 * self.sessions);
        (place < self.sessions).then_some(place)
    }

    pub fn is_mine(&self, uid: u32) -> bool {
        self.view.as_ref().is_some_and(|view| view.stays) && self.owner(uid) == Some(self.index)
    }

    fn take_fetch(&mut self, number: usize, values: &[Value]) -> Outcome {
        let (kind, storing) = (self.kind, self.storing);
        let Some(view) = &mut self.view else { return Ok(()) };
        if number == 0 || number > view.entries.len() {
            return wrong(format!("FETCH {number} of {}", view.entries.len()));
        }
        let told = Told::new(values.first().map_or(&[], Value::list))?;
        let before = view.entries[..number - 1].iter().rev().find_map(|e| e.uid).unwrap_or(0);
        let after = view.entries[number..].iter().find_map(|e| e.uid).unwrap_or(u32::MAX);
        let entry = &mut view.entries[number - 1];
        if let Some(uid) = told.uid {
            if entry.uid.is_some_and(|known| known != uid) {
                return wrong(format!("message {number} has UID {uid}, and had {:?}", entry.uid));
            }
            if uid <= before || uid >= after {
                return wrong(format!("message {number} has UID {uid} between {before} and {after}"));
            }
            entry.uid = Some(uid);
        } else if kind == Kind::Qresync {
            return wrong("FETCH without UID, though QRESYNC is enabled");
        }
        if told.flags.is_some() && told.modseq.is_none() && kind != Kind::Plain {
            return wrong("FETCH with FLAGS and without MODSEQ, though CONDSTORE is enabled");
        }
        if let Some(modseq) = told.modseq {
            if entry.modseq.is_some_and(|known| known > modseq) {
                return wrong(format!("MODSEQ of message {number} was {:?} and is {modseq}", entry.modseq));
            }
            entry.modseq = Some(modseq);
            view.seen = view.seen.max(modseq);
        }
        if let Some(flags) = &told.flags {
            entry.flags = Some(flags.clone());
            entry.told = true;
        }
        let Some(uid) = entry.uid else { return Ok(()) };
        let (validity, stays) = (view.validity, view.stays);
        let mine = self.is_mine(uid);
        let mut state = self.world.state();
        let now = state.now();
        let mailbox = state.mailbox(validity);
        if let (Some(flags), Some(modseq)) = (&told.flags, told.modseq) {
            mailbox.flags_at(uid, modseq, flags, now)?;
        }
        if let Some(flags) = told.flags.as_ref().filter(|_| mine && stays) {
            mailbox.seen_by_owner(uid, flags, !storing, now)?;
        }
        if let Some(fact) = told.fact {
            mailbox.fact(uid, fact)?;
        }
        Ok(())
    }

    /// What was acknowledged before this time is known after NOOP.
    pub fn check_since(&mut self, since: Clock) -> Outcome {
        let Some(view) = self.view.as_ref().filter(|view| view.stays) else { return Ok(()) };
        let known: HashMap<u32, &Entry> = view.entries.iter().filter_map(|e| Some((e.uid?, e))).collect();
        let mut state = self.world.state();
        let popped = if view.name == "INBOX" { state.popped.clone() } else { Default::default() };
        let unexplained: Vec<u32> = {
            let mailbox = state.mailbox(view.validity);
            if let Some((uid, at)) =
                mailbox.gone.iter().find(|(uid, at)| **at < since && known.contains_key(uid))
            {
                return wrong(format!("UID {uid} is still there; it was gone at {at}, before {since}"));
            }
            let here = |uid: &u32| known.contains_key(uid) || mailbox.doomed.contains(uid);
            let missing = mailbox.added.iter().filter(|(uid, at)| **at < since && !here(uid));
            missing.map(|(uid, _)| *uid).collect()
        };
        if view.unknown() == 0 {
            for uid in unexplained {
                let token = state.token(view.validity, uid).unwrap_or_default();
                if !popped.contains(token) {
                    return wrong(format!("UID {uid} ({token}) was added before {since} and is not there"));
                }
            }
        }
        let mailbox = state.mailbox(view.validity);
        for (uid, entry) in known {
            let others = self.owner(uid).is_some_and(|owner| owner != self.index);
            if let Some(flags) = entry.flags.as_ref().filter(|_| others) {
                mailbox.seen_by_stranger(uid, flags, since)?;
            }
            if let (Some(modseq), Some(&(latest, at))) = (entry.modseq, mailbox.modseqs.get(&uid))
                && at < since
                && modseq < latest
            {
                return wrong(format!(
                    "UID {uid}: told of modseq {modseq}, but {latest} was seen before {since}"
                ));
            }
        }
        Ok(())
    }

    pub fn begin_resync(&mut self) {
        self.resync = Some(Vec::new());
    }

    pub fn end_resync(&mut self) -> Vec<Said> {
        self.resync.take().unwrap_or_default()
    }
}

/// What a FETCH response tells.
#[derive(Debug, Default)]
pub struct Told {
    pub uid: Option<u32>,
    pub flags: Option<Flags>,
    pub modseq: Option<u64>,
    pub body: Option<Vec<u8>>,
    pub fact: Option<Fact>,
}

impl Told {
    pub fn new(items: &[Value]) -> Outcome<Told> {
        let mut told = Told::default();
        let (mut size, mut date, mut token) = (None, None, None);
        for pair in items.chunks(2) {
            let [name, value] = pair else { return wrong(format!("odd items: {items:?}")) };
            match name.word() {
                "UID" => told.uid = Some(value.number()? as u32),
                "FLAGS" => told.flags = Some(flags(value.list())),
                "MODSEQ" => told.modseq = value.list().first().map(Value::number).transpose()?,
                "RFC822.SIZE" => size = Some(value.number()?),
                "INTERNALDATE" => date = Some(String::from_utf8_lossy(value.octets()).into_owned()),
                "BODY[]" => told.body = Some(value.octets().to_vec()),
                name if name.starts_with("BODY[HEADER.FIELDS") => {
                    let text = String::from_utf8_lossy(value.octets()).into_owned();
                    token = text.trim().strip_prefix("Subject: ").map(str::to_owned);
                    if token.is_none() {
                        return wrong(format!("no subject: {text:?}"));
                    }
                }
                _ => {}
            }
        }
        if let (Some(token), Some(size), Some(date)) = (token, size, date) {
            told.fact = Some(Fact { token, size, date });
        }
        Ok(told)
    }
}

fn flags(values: &[Value]) -> Flags {
    values.iter().map(|flag| flag.word().to_lowercase()).filter(|flag| flag != "\\recent").collect()
}
