//! How a session looks at mailboxes, and what it must see.

use std::collections::BTreeSet;
use std::time::Duration;

use super::acts::{FLAGS, set_of};
use super::session::{Cache, Entry, Kind, Session, Told, View};
use super::wire::{Outcome, Value, numbers, wrong};
use super::world::message;

impl Session {
    pub fn select_any(&mut self) -> Outcome {
        let name = self.any_mailbox();
        if self.random.percent(20) && self.view.is_some() {
            self.run(b"UNSELECT", false)?;
            self.leave();
        }
        self.select(name)
    }

    pub fn select(&mut self, name: &str) -> Outcome {
        self.leave();
        let stays = self.stays(name);
        let (since, validity) = {
            let mut state = self.world.state();
            (state.now(), state.validity_of(name))
        };
        let cache = validity.and_then(|validity| self.caches.remove(&validity));
        let cache = cache.filter(|_| self.kind == Kind::Qresync && stays);
        let verb = if self.random.percent(12) { "EXAMINE" } else { "SELECT" };
        let mut command = format!("{verb} {name}");
        let mut partly = false;
        if let (Some(cache), Some(validity)) = (&cache, validity) {
            let known: Vec<u32> = cache.messages.keys().copied().collect();
            let mut known_set = String::new();
            let mut matches = String::new();
            if !known.is_empty() && self.random.percent(50) {
                partly = true;
                known_set = format!(" {}", set_of(&known));
                if self.random.percent(50) {
                    let some: Vec<usize> = (0..known.len()).step_by(3).collect();
                    let join = |all: Vec<String>| all.join(",");
                    let places = join(some.iter().map(|n| (n + 1).to_string()).collect());
                    let uids = join(some.iter().map(|n| known[*n].to_string()).collect());
                    matches = format!(" ({places} {uids})");
                }
            }
            command += &format!(" (QRESYNC ({validity} {}{known_set}{matches}))", cache.modseq.max(1));
            self.begin_resync();
        } else if self.kind == Kind::Condstore && self.random.percent(50) {
            command += " (CONDSTORE)";
        }
        self.view = Some(View { name: name.to_owned(), stays, ..View::default() });
        let outcome = self.run(command.as_bytes(), true);
        let resync = self.end_resync();
        let reply = outcome?;
        if !reply.is_ok() {
            self.view = None;
            if !stays && reply.is_refused(&["NONEXISTENT"]) {
                return Ok(());
            }
            return wrong(format!("{command} was answered {:?}", reply.end));
        }
        let code = |name: &str| reply.said.iter().find_map(|said| said.code(name)?.parse::<u64>().ok());
        let told = (code("UIDVALIDITY"), code("UIDNEXT"), code("HIGHESTMODSEQ"));
        let (Some(validity), Some(next), Some(highest)) = told else {
            return wrong(format!("SELECT told {told:?}"));
        };
        let validity = validity as u32;
        let Some(view) = &mut self.view else { return Ok(()) };
        (view.validity, view.settled, view.writable) = (validity, highest, reply.end.code == "READ-WRITE");
        if stays {
            let mut state = self.world.state();
            state.validity(name, validity)?;
            let mailbox = state.mailbox(validity);
            let floor = mailbox.highest;
            if floor.1 < since && highest < floor.0 {
                return wrong(format!("HIGHESTMODSEQ is {highest}; {} was seen before", floor.0));
            }
            let known = mailbox.added.iter().filter(|(_, at)| **at < since).map(|(uid, _)| *uid).max();
            if known.is_some_and(|known| u64::from(known) >= next) {
                return wrong(format!("UIDNEXT is {next}, and there was {known:?}"));
            }
        }
        if let Some(cache) = cache {
            self.apply_resync(cache, &resync, partly, highest)?;
        }
        self.learn()?;
        self.check_since(since)
    }

    /// The old knowledge and what was told now must be the whole truth.
    pub(super) fn apply_resync(
        &mut self,
        mut cache: Cache,
        resync: &[super::wire::Said],
        partly: bool,
        highest: u64,
    ) -> Outcome {
        let (mut placed, mut exists, mut came) = (Vec::new(), None, 0);
        for said in resync {
            let number = said.number.unwrap_or(0) as usize;
            if said.name == "EXISTS" {
                if exists.is_some_and(|exists| exists > number) {
                    return wrong(format!("{number} EXISTS after {exists:?}"));
                }
                came += exists.map_or(0, |exists| number - exists);
                exists = Some(number);
                continue;
            }
            if said.name == "VANISHED" {
                let earlier = said.values.len() > 1;
                for uid in numbers(said.values.last().map_or("", |value| value.word()))? {
                    cache.messages.remove(&uid);
                    // What is gone since the mailbox was opened was counted then.
                    if !earlier {
                        exists = exists.map(|exists| exists.saturating_sub(1));
                        placed.clear();
                    }
                }
                continue;
            }
            let told = Told::new(said.values.first().map_or(&[], |value| value.list()))?;
            let Some(uid) = told.uid else { return wrong("FETCH without UID") };
            placed.push((uid, number));
            let known = cache.messages.get_mut(&uid);
            // What came after what the client asked about stands behind messages that it does not know.
            match known {
                Some(known) => *known = (told.flags, told.modseq),
                None if partly => _ = placed.pop(),
                None => _ = cache.messages.insert(uid, (told.flags, told.modseq)),
            }
        }
        let Some(view) = &mut self.view else { return Ok(()) };
        let (exists, known) = (exists.unwrap_or(0), cache.messages.len());
        if known > exists || !partly && known + came < exists {
            let uids: Vec<u32> = cache.messages.keys().copied().collect();
            let origin = std::mem::take(&mut cache.origin);
            let _ = self.run(b"UID SEARCH ALL", true);
            return wrong(format!(
                "{exists} exist; after resynchronisation {known} are known: {uids:?}\nIt was left:\n{origin}"
            ));
        }
        view.entries = vec![Entry::default(); exists];
        for (entry, (uid, (flags, modseq))) in view.entries.iter_mut().zip(cache.messages) {
            *entry = Entry { uid: Some(uid), flags, modseq, told: false };
        }
        for (uid, number) in placed {
            if view.entries.get(number - 1).and_then(|entry| entry.uid) != Some(uid) {
                return wrong(format!("resynchronisation: {number} is not UID {uid}"));
            }
        }
        let before = view.entries.clone();
        if before.is_empty() {
            return Ok(());
        }
        let reply = self.run(b"FETCH 1:* (UID FLAGS MODSEQ)", false)?;
        for said in reply.said.iter().filter(|said| said.name == "FETCH") {
            let Some(old) = said.number.and_then(|n| before.get(n as usize - 1)) else { continue };
            let told = Told::new(said.values.first().map_or(&[], |value| value.list()))?;
            let since = told.modseq.is_some_and(|modseq| modseq > highest);
            if old.uid.is_some() && old.uid != told.uid
                || old.flags.is_some() && old.flags != told.flags && !since
            {
                return wrong(format!("resynchronised up to {highest} to {old:?}; in truth {told:?}"));
            }
        }
        Ok(())
    }

    /// Asks what the messages are that have come.
    pub fn learn(&mut self) -> Outcome {
        let Some(view) = &self.view else { return Ok(()) };
        let Some(first) = view.entries.iter().position(|entry| entry.uid.is_none()) else { return Ok(()) };
        let modseq = if self.has_modseq() { " MODSEQ" } else { "" };
        let command = format!(
            "FETCH {}:* (UID FLAGS{modseq} INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
            first + 1
        );
        let reply = self.run(command.as_bytes(), false)?;
        self.allowed_to_fail(&reply, "FETCH")
    }

    pub fn noop(&mut self) -> Outcome {
        let since = self.world.state().now();
        let command = *self.random.one_of(&["NOOP", "NOOP", "CHECK"]);
        // IMAP4rev2 has no CHECK.
        self.must(if self.kind == Kind::Rev2 { "NOOP" } else { command })?;
        self.check_since(since)
    }

    pub(super) fn idle(&mut self) -> Outcome {
        *self.counts.entry("IDLE".to_owned()).or_default() += 1;
        let since = self.world.state().now();
        let tag = self.wire()?.send(b"IDLE")?;
        loop {
            let said = self.wire()?.read()?;
            if said.tag == "+" {
                break;
            }
            self.take(&said, true)?;
        }
        let patience = Duration::from_millis(1 + self.random.below(150) as u64);
        for _ in 0..20 {
            if !self.wire()?.is_ready(patience)? {
                break;
            }
            let said = self.wire()?.read()?;
            self.take(&said, true)?;
        }
        self.wire()?.send_raw(b"DONE\r\n")?;
        self.finish(&tag, true)?;
        self.check_since(since)
    }

    pub(super) fn fetch(&mut self) -> Outcome {
        let places = self.some(8, |_, _| true);
        let Some(view) = self.view.as_ref().filter(|_| !places.is_empty()) else { return self.noop() };
        let (validity, settled) = (view.validity, view.settled);
        let uid = self.random.percent(50);
        let modseq = if self.has_modseq() { " MODSEQ" } else { "" };
        let set = if self.random.percent(20) { "1:*".to_owned() } else { self.named(&places, uid) };
        let prefix = if uid { "UID " } else { "" };
        let command = match self.random.below(10) {
            0..3 => format!("{prefix}FETCH {} (UID BODY.PEEK[] RFC822.SIZE)", self.named(&places, uid)),
            3..5 if self.kind == Kind::Qresync => {
                let since = settled.saturating_sub(self.random.below(200) as u64).max(1);
                format!("UID FETCH 1:* (UID FLAGS MODSEQ) (CHANGEDSINCE {since} VANISHED)")
            }
            3..5 if self.has_modseq() => {
                let since = settled.saturating_sub(self.random.below(50) as u64).max(1);
                format!("{prefix}FETCH 1:* (UID FLAGS MODSEQ) (CHANGEDSINCE {since})")
            }
            5 => format!(
                "{prefix}FETCH {set} (UID FLAGS{modseq} INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])"
            ),
            _ => format!("{prefix}FETCH {set} (UID FLAGS{modseq})"),
        };
        let reply = self.run(command.as_bytes(), command.starts_with("UID"))?;
        self.allowed_to_fail(&reply, &command)?;
        for said in reply.said.iter().filter(|said| said.name == "FETCH") {
            let told = Told::new(said.values.first().map_or(&[], |value| value.list()))?;
            if let (Some(uid), Some(body)) = (told.uid, told.body) {
                self.check_body(validity, uid, &body)?;
            }
        }
        Ok(())
    }

    pub(super) fn check_body(&self, validity: u32, uid: u32, body: &[u8]) -> Outcome {
        let state = self.world.state();
        let Some(token) = state.token(validity, uid) else { return Ok(()) };
        let size = state.mailboxes.get(&validity).and_then(|mailbox| mailbox.facts.get(&uid)).map(|f| f.size);
        if !body.ends_with(&message(&self.world.login, token)) || size.is_some_and(|s| s != body.len() as u64)
        {
            let text = String::from_utf8_lossy(body);
            return wrong(format!("UID {uid} is {token} of {size:?} octets, and its body is {text:?}"));
        }
        Ok(())
    }

    pub(super) fn search(&mut self) -> Outcome {
        let some = self.some(1, |session, uid| session.token_of(uid).is_some());
        let (Some(&place), Some(view)) = (some.first(), &self.view) else { return self.noop() };
        let (validity, entries) = (view.validity, view.entries.clone());
        let token = self.token_of(self.uid_at(place)).unwrap_or_default();
        let flag = *self.random.one_of(&FLAGS);
        let since = view.settled.saturating_sub(self.random.below(60) as u64).max(1);
        let by_modseq = self.has_modseq() && self.random.percent(25);
        let by_token = !by_modseq && self.random.percent(60);
        let criteria = match (by_modseq, by_token) {
            (true, _) => format!("MODSEQ {since}"),
            (_, true) => format!("{} {token}", self.random.one_of(&["TEXT", "SUBJECT"])),
            _ => match flag {
                "\\Seen" | "\\Flagged" | "\\Answered" | "\\Draft" => flag[1..].to_uppercase(),
                keyword => format!("KEYWORD {keyword}"),
            },
        };
        let uid = self.random.percent(50);
        let returning = *self.random.one_of(&["", "", "RETURN () ", "RETURN (ALL COUNT MIN) "]);
        let command = format!("{}SEARCH {returning}{criteria}", if uid { "UID " } else { "" });
        let reply = self.run(command.as_bytes(), uid)?;
        self.allowed_to_fail(&reply, &command)?;
        if !reply.is_ok() {
            return Ok(());
        }
        let found: BTreeSet<u32> = match reply.found {
            Some(found) => found.into_iter().collect(),
            None => return wrong(format!("{command}: nothing was answered")),
        };
        let mut missing = Vec::new();
        {
            let mut state = self.world.state();
            for (uid, entry) in entries.iter().filter_map(|entry| Some((entry.uid?, entry))) {
                let mine = self.is_mine(uid);
                let expected = if by_token {
                    state.token(validity, uid).map(|known| known == token)
                } else if by_modseq {
                    // What others changed meanwhile is found, too.
                    entry.modseq.map(|modseq| modseq >= since).filter(|found| *found || mine)
                } else if mine {
                    let known = state.mailbox(validity).owner_knows(uid);
                    known.map(|flags| flags.contains(&flag.to_lowercase()))
                } else {
                    None
                };
                match expected {
                    Some(false) if found.contains(&uid) => {
                        return wrong(format!("{command} found UID {uid}, which is not so"));
                    }
                    Some(true) if !found.contains(&uid) => missing.push(uid),
                    _ => {}
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        // They may be gone; then NOOP tells so.
        let reply = self.must("NOOP")?;
        let here = |uid: &&u32| self.view.as_ref().is_some_and(|view| view.by_uid(**uid).is_some());
        match missing.iter().find(here) {
            Some(uid) if self.view.as_ref().is_some_and(|view| view.stays) => {
                wrong(format!("{command} did not find UID {uid}; {:?}", reply.end))
            }
            _ => Ok(()),
        }
    }

    /// SORT or THREAD of all: each message once, and those of known sizes in their order.
    pub(super) fn order(&mut self) -> Outcome {
        let Some(view) = self.view.as_ref().filter(|view| view.unknown() == 0) else { return self.noop() };
        let (validity, known) = (view.validity, view.uids());
        let uid = self.random.percent(50);
        let how = *self.random.one_of(&[
            "SORT (SIZE) UTF-8 ALL",
            "SORT (REVERSE DATE) UTF-8 ALL",
            "SORT (SUBJECT ARRIVAL) UTF-8 ALL",
            "THREAD REFERENCES UTF-8 ALL",
            "THREAD ORDEREDSUBJECT UTF-8 ALL",
        ]);
        let command = format!("{}{how}", if uid { "UID " } else { "" });
        let before = known.clone();
        let reply = self.run(command.as_bytes(), uid)?;
        self.allowed_to_fail(&reply, &command)?;
        if !reply.is_ok() {
            return Ok(());
        }
        let Some(said) = reply.said.iter().find(|said| matches!(&*said.name, "SORT" | "THREAD")) else {
            return wrong(format!("{command}: nothing was answered"));
        };
        let mut found = Vec::new();
        let mut rest: Vec<&Value> = said.values.iter().rev().collect();
        while let Some(value) = rest.pop() {
            match value {
                Value::List(list) => rest.extend(list.iter().rev()),
                value => found.push(value.number()? as u32),
            }
        }
        if !uid {
            let uids = found.iter().map(|n| before.get((*n as usize).wrapping_sub(1)).copied());
            let Some(uids) = uids.collect::<Option<Vec<u32>>>() else {
                return wrong(format!("{command} found {found:?} of {}", before.len()));
            };
            found = uids;
        }
        let each: BTreeSet<u32> = found.iter().copied().collect();
        if each.len() != found.len() {
            return wrong(format!("{command} found one twice: {found:?}"));
        }
        {
            let state = self.world.state();
            let sizes = state.mailboxes.get(&validity).map(|mailbox| {
                found
                    .iter()
                    .filter_map(|uid| mailbox.facts.get(uid))
                    .map(|fact| fact.size)
                    .collect::<Vec<_>>()
            });
            if how.contains("SIZE") && !sizes.unwrap_or_default().is_sorted() {
                return wrong(format!("{command}: not in the order of their sizes: {found:?}"));
            }
        }
        // What is missing is gone; then NOOP tells so. What is more came meanwhile.
        let reply = self.must("NOOP")?;
        let Some(view) = self.view.as_ref().filter(|view| view.stays) else { return Ok(()) };
        match known.iter().find(|uid| !each.contains(uid) && view.by_uid(**uid).is_some()) {
            Some(uid) => wrong(format!("{command} did not find UID {uid}; {:?}", reply.end)),
            None => Ok(()),
        }
    }

    pub(super) fn status(&mut self) -> Outcome {
        let world = self.world.clone();
        let name = *self.random.one_of(&world.mailboxes);
        let since = world.state().now();
        let command = format!("STATUS {name} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)");
        let reply = self.must(&command)?;
        let Some(said) = reply.said.iter().find(|said| said.name == "STATUS") else {
            return wrong("no STATUS");
        };
        let items = said.values.get(1).map_or(&[][..], |value| value.list());
        let item = |name: &str| {
            let pair = items.chunks(2).find(|pair| pair[0].word() == name);
            pair.map_or_else(|| wrong(format!("no {name}")), |pair| pair[1].number())
        };
        let mut state = world.state();
        let validity = item("UIDVALIDITY")? as u32;
        state.validity(name, validity)?;
        let mailbox = state.mailbox(validity);
        let (next, highest) = (item("UIDNEXT")?, item("HIGHESTMODSEQ")?);
        let known = mailbox.added.iter().filter(|(_, at)| **at < since).map(|(uid, _)| *uid).max();
        if known.is_some_and(|known| u64::from(known) >= next) || item("MESSAGES")? >= next {
            return wrong(format!("STATUS tells UIDNEXT {next}, and there was {known:?}"));
        }
        if mailbox.highest.1 < since && mailbox.highest.0 > highest || item("UNSEEN")? > item("MESSAGES")? {
            return wrong(format!("STATUS tells HIGHESTMODSEQ {highest}, {:?} was seen", mailbox.highest));
        }
        Ok(())
    }
}
