//! What all sessions of an account together know: what was acknowledged, and when, and what anybody has seen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use super::wire::{Flags, Outcome, wrong};

/// Counts what happens; what is acknowledged before a command begins has a lower number than the command.
pub type Clock = u64;

/// What never changes about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub token: String,
    pub size: u64,
    pub date: String,
}

/// Flags of a message that only one session changes.
#[derive(Debug, Default)]
pub struct History {
    states: Vec<(Flags, Option<Clock>)>,
}

#[derive(Debug, Default)]
pub struct Mailbox {
    pub facts: HashMap<u32, Fact>,
    /// Copies whose token is known though nobody has read them yet.
    tokens: HashMap<u32, String>,
    /// UIDs that APPENDUID or COPYUID told, and when.
    pub added: BTreeMap<u32, Clock>,
    /// UIDs that are gone for certain, and since when.
    pub gone: BTreeMap<u32, Clock>,
    /// UIDs that somebody tried to remove.
    pub doomed: HashSet<u32>,
    flags_at: HashMap<(u32, u64), Flags>,
    /// The latest modification sequence seen of each message, and when.
    pub modseqs: HashMap<u32, (u64, Clock)>,
    /// The highest one seen of the mailbox.
    pub highest: (u64, Clock),
    owned: HashMap<u32, History>,
    /// Who changed a message on condition that it is as at a modification sequence.
    won: HashMap<(u32, u64), usize>,
}

#[derive(Debug, Default)]
pub struct State {
    clock: Clock,
    tokens: u32,
    pub mailboxes: BTreeMap<u32, Mailbox>,
    /// UIDVALIDITY by name, of mailboxes that stay.
    validities: HashMap<String, u32>,
    /// Tokens delivered, or appended without an answer: certainly, and perhaps.
    pub arrived: BTreeMap<String, (u32, u32)>,
    /// Tokens that POP3 removed, or perhaps removed, from INBOX.
    pub popped: HashSet<String>,
    /// Tokens of messages that perhaps were copied by a command without an answer.
    pub blurred: HashSet<String>,
}

/// An account.
#[derive(Debug)]
pub struct World {
    pub login: String,
    pub mailboxes: Vec<&'static str>,
    state: Mutex<State>,
}

/// A message that says which it is; everything in it follows from its token.
pub fn message(login: &str, token: &str) -> Vec<u8> {
    let number: usize =
        token.bytes().filter(u8::is_ascii_digit).fold(0, |n, b| n * 10 + usize::from(b - b'0'));
    let mut text = format!(
        "From: Alice <alice@tests.example>\r\nTo: <{login}>\r\nSubject: {token}\r\n\
         Date: Tue, 01 Jul 2025 10:00:00 +0000\r\nMessage-ID: <{token}@tests.example>\r\n\r\n"
    );
    for line in 0..number % 17 {
        text += &format!("Line {line} about {token}.\r\n{}\r\n", "x".repeat(number * (line + 1) % 71));
    }
    text.into_bytes()
}

/// Nobody removes messages with such a token.
pub fn is_kept(token: &str) -> bool {
    token.ends_with('8')
}

impl History {
    fn allows(&self, flags: &Flags, from: usize) -> bool {
        self.states[from..].iter().any(|(state, _)| state == flags)
    }

    fn last_acknowledged(&self, before: Clock) -> Option<usize> {
        self.states.iter().rposition(|(_, at)| at.is_some_and(|at| at < before))
    }
}

impl World {
    pub fn new(login: &str, mailboxes: &[&'static str]) -> World {
        World { login: login.to_owned(), mailboxes: mailboxes.to_vec(), state: Mutex::default() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn new_token(&self) -> String {
        let mut state = self.state();
        state.tokens += 1;
        let name = self.login.split('@').next().unwrap_or_default();
        format!("tok{name}{:06}", state.tokens)
    }
}

impl State {
    pub fn now(&mut self) -> Clock {
        self.clock += 1;
        self.clock
    }

    pub fn mailbox(&mut self, validity: u32) -> &mut Mailbox {
        self.mailboxes.entry(validity).or_default()
    }

    /// A mailbox that stays has this UIDVALIDITY.
    pub fn validity(&mut self, name: &str, validity: u32) -> Outcome {
        let known = *self.validities.entry(name.to_owned()).or_insert(validity);
        if known == validity {
            Ok(())
        } else {
            wrong(format!("UIDVALIDITY of {name} was {known} and is {validity}"))
        }
    }

    pub fn validity_of(&self, name: &str) -> Option<u32> {
        self.validities.get(name).copied()
    }

    /// A message is going to be made, perhaps.
    pub fn may_arrive(&mut self, token: &str) {
        self.arrived.entry(token.to_owned()).or_default().1 += 1;
    }

    /// It was refused.
    pub fn will_not_arrive(&mut self, token: &str) {
        self.arrived.entry(token.to_owned()).or_default().1 -= 1;
    }

    /// It was made, nobody says under which UID.
    pub fn delivered(&mut self, token: &str) {
        let (certain, perhaps) = self.arrived.entry(token.to_owned()).or_default();
        *perhaps -= 1;
        *certain += 1;
    }

    /// It was made under this UID.
    pub fn added(&mut self, validity: u32, uid: u32, token: &str) -> Outcome {
        let now = self.now();
        let mailbox = self.mailbox(validity);
        if mailbox.added.insert(uid, now).is_some() {
            return wrong(format!(
                "UID {uid} of {validity} was given to two messages, {token} is the second"
            ));
        }
        if let Some(fact) = mailbox.facts.get(&uid).filter(|fact| fact.token != token) {
            return wrong(format!("UID {uid} of {validity} is {} and should be {token}", fact.token));
        }
        mailbox.tokens.insert(uid, token.to_owned());
        Ok(())
    }

    /// The token of a message, if it is known.
    pub fn token(&self, validity: u32, uid: u32) -> Option<&str> {
        let mailbox = self.mailboxes.get(&validity)?;
        mailbox
            .facts
            .get(&uid)
            .map(|fact| &fact.token)
            .or_else(|| mailbox.tokens.get(&uid))
            .map(String::as_str)
    }
}

impl Mailbox {
    pub fn fact(&mut self, uid: u32, fact: Fact) -> Outcome {
        if let Some(token) = self.tokens.get(&uid).filter(|token| **token != fact.token) {
            return wrong(format!("UID {uid} should be {token} and is {fact:?}"));
        }
        match self.facts.get(&uid) {
            Some(known) if *known != fact => wrong(format!("UID {uid} was {known:?} and is {fact:?}")),
            Some(_) => Ok(()),
            None => {
                self.facts.insert(uid, fact);
                Ok(())
            }
        }
    }

    /// A message had these flags at this modification sequence.
    pub fn flags_at(&mut self, uid: u32, modseq: u64, flags: &Flags, now: Clock) -> Outcome {
        let known = self.flags_at.entry((uid, modseq)).or_insert_with(|| flags.clone());
        if known != flags {
            return wrong(format!("UID {uid} has flags {flags:?} at modseq {modseq}, others saw {known:?}"));
        }
        self.modseq(uid, modseq, now);
        Ok(())
    }

    pub fn modseq(&mut self, uid: u32, modseq: u64, now: Clock) {
        let latest = self.modseqs.entry(uid).or_insert((modseq, now));
        if modseq > latest.0 {
            *latest = (modseq, now);
        }
        if modseq > self.highest.0 {
            self.highest = (modseq, now);
        }
    }

    /// Is going to have these flags: `change` of what its owner last knew.
    pub fn owner_changes(&mut self, uid: u32, change: impl Fn(&Flags) -> Flags) {
        if let Some(history) = self.owned.get_mut(&uid)
            && let Some((last, _)) = history.states.last()
        {
            let next = change(last);
            history.states.push((next, None));
        }
    }

    /// The change its owner asked for is acknowledged, or was not made.
    pub fn owner_changed(&mut self, uid: u32, made: bool, now: Clock) {
        let Some(history) = self.owned.get_mut(&uid) else { return };
        if !made {
            history.states.pop();
        } else if let Some((_, at)) = history.states.last_mut() {
            *at = Some(now);
        }
    }

    /// It is not known what came of a change.
    pub fn owner_forgets(&mut self, uid: u32) {
        self.owned.remove(&uid);
    }

    /// What its owner knows.
    pub fn owner_knows(&self, uid: u32) -> Option<&Flags> {
        self.owned
            .get(&uid)
            .and_then(|history| history.states.last())
            .filter(|(_, at)| at.is_some())
            .map(|(f, _)| f)
    }

    /// The one who alone changes its flags sees them. `settled`: no change is under way.
    pub fn seen_by_owner(&mut self, uid: u32, flags: &Flags, settled: bool, now: Clock) -> Outcome {
        let history = self.owned.entry(uid).or_default();
        let from = history.last_acknowledged(now).unwrap_or(0);
        if !history.states.is_empty() && !history.allows(flags, from) {
            let states = &history.states[from..];
            return wrong(format!("UID {uid} has flags {flags:?}, its only writer made {states:?}"));
        }
        if history.states.last().is_none_or(|(_, at)| at.is_none() && settled) {
            history.states.push((flags.clone(), Some(now)));
        }
        Ok(())
    }

    /// Somebody else, who asked at that time, sees it.
    pub fn seen_by_stranger(&mut self, uid: u32, flags: &Flags, since: Clock) -> Outcome {
        let Some(history) = self.owned.get(&uid) else { return Ok(()) };
        let Some(from) = history.last_acknowledged(since) else { return Ok(()) };
        if history.allows(flags, from) {
            return Ok(());
        }
        let states = &history.states[from..];
        wrong(format!("UID {uid} has flags {flags:?} after NOOP, its only writer made {states:?}"))
    }

    /// It was appended with these flags.
    pub fn begins_with(&mut self, uid: u32, flags: &Flags, now: Clock) {
        let history = self.owned.entry(uid).or_default();
        if history.states.is_empty() {
            history.states.push((flags.clone(), Some(now)));
        }
    }

    /// A change on condition that the message is as it was at `modseq` was made. Only one such can be.
    pub fn won(&mut self, uid: u32, modseq: u64, by: usize) -> Outcome {
        match self.won.insert((uid, modseq), by) {
            None => Ok(()),
            Some(other) => wrong(format!(
                "UID {uid} was changed twice on condition that it is as at {modseq}: by {other} and {by}"
            )),
        }
    }
}
