//! What a session does, at random, and what must come of it.

use std::collections::BTreeSet;

use super::session::{Entry, Reply, Session};
use super::wire::{Flags, Outcome, Trouble, numbers, wrong};
use super::world::{is_kept, message};

/// Mailboxes that come and go.
const SIDE: [&str; 4] = ["Side/0", "Side/1", "Side/2", "Side/2/deep"];
pub(super) const FLAGS: [&str; 8] =
    ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "$Work", "blue", "$Forwarded", "Stress-Key"];
/// With more messages than this, nothing is added but by delivery.
const FULL: usize = 150;

/// How a STORE changes flags.
#[derive(Debug, Clone)]
struct Edit {
    sign: &'static str,
    flags: Vec<&'static str>,
}

impl Edit {
    fn apply(&self, to: &Flags) -> Flags {
        let named: Flags = self.flags.iter().map(|flag| flag.to_lowercase()).collect();
        match self.sign {
            "+" => to.union(&named).cloned().collect(),
            "-" => to.difference(&named).cloned().collect(),
            _ => named,
        }
    }
}

impl Session {
    /// Does something.
    pub fn act(&mut self) -> Outcome {
        let Some(view) = &self.view else { return self.select_any() };
        let (stays, crowded) = (view.stays, view.entries.len() > FULL);
        if view.unknown() > 0 && self.random.percent(85) {
            return self.learn();
        }
        match self.random.below(100) {
            0..12 if !crowded => self.append(),
            0..32 => self.store(),
            32..42 => self.fetch(),
            42..48 => self.search(),
            48..52 => self.order(),
            52..59 if !crowded => self.copy(false),
            52..66 => self.copy(true),
            66..74 => self.expunge(),
            74..82 => self.noop(),
            82..85 => self.idle(),
            85..87 => self.replace(),
            87..90 => self.status(),
            90..94 => self.side(),
            _ if !stays => self.select_any(),
            94..97 => self.close().and_then(|()| self.select_any()),
            _ => self.select_any(),
        }
    }

    pub(super) fn any_mailbox(&mut self) -> &'static str {
        let world = self.world.clone();
        let names = if self.random.percent(12) { &SIDE[..] } else { &world.mailboxes[..] };
        self.random.one_of::<&'static str>(names)
    }

    pub(super) fn stays(&self, name: &str) -> bool {
        self.world.mailboxes.contains(&name)
    }

    /// What is refused although the mailbox stays.
    pub(super) fn allowed_to_fail(&self, reply: &Reply, what: &str) -> Outcome {
        let gone = self.view.as_ref().is_some_and(|view| !view.stays);
        if reply.is_ok() || reply.is_refused(&["EXPUNGEISSUED"]) || gone && reply.is_refused(&["NONEXISTENT"])
        {
            return Ok(());
        }
        wrong(format!("{what} was answered {:?}", reply.end))
    }

    pub(super) fn append(&mut self) -> Outcome {
        let name = self.any_mailbox();
        let stays = self.stays(name);
        let count = if self.random.percent(10) { 2 } else { 1 };
        let mut command = format!("APPEND {name}").into_bytes();
        let (mut tokens, mut flags) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let token = self.world.new_token();
            self.world.state().may_arrive(&token);
            let some: BTreeSet<&str> =
                (0..self.random.below(4)).map(|_| *self.random.one_of(&FLAGS)).collect();
            let listed: Vec<&str> = some.iter().copied().collect();
            let text = message(&self.world.login, &token);
            let day = 10 + self.random.below(19);
            let head =
                format!(" ({}) \"{day}-Mar-2024 11:22:33 +0100\" {{{}+}}\r\n", listed.join(" "), text.len());
            command.extend_from_slice(head.as_bytes());
            command.extend_from_slice(&text);
            flags.push(some.iter().map(|flag| flag.to_lowercase()).collect::<Flags>());
            tokens.push(token);
        }
        let reply = self.run(&command, true)?;
        let mut state = self.world.state();
        tokens.iter().for_each(|token| state.will_not_arrive(token));
        if !reply.is_ok() {
            let refused = !stays && reply.is_refused(&["TRYCREATE"]);
            return if refused { Ok(()) } else { wrong(format!("APPEND was answered {:?}", reply.end)) };
        }
        let Some((validity, uids)) = reply.end.code("APPENDUID").and_then(|code| code.split_once(' ')) else {
            return wrong(format!("no APPENDUID: {:?}", reply.end));
        };
        let (validity, uids) = (numbers(validity)?[0], numbers(uids)?);
        if uids.len() != tokens.len() {
            return wrong(format!("{} messages and UIDs {uids:?}", tokens.len()));
        }
        if stays {
            state.validity(name, validity)?;
            for ((uid, token), flags) in uids.iter().zip(&tokens).zip(&flags) {
                state.added(validity, *uid, token)?;
                let now = state.now();
                if self.owner(*uid).is_some() {
                    state.mailbox(validity).begins_with(*uid, flags, now);
                }
            }
        }
        Ok(())
    }

    /// Up to so many messages that are known, as places in the view.
    pub(super) fn some(&mut self, most: usize, wanted: impl Fn(&Session, u32) -> bool) -> Vec<usize> {
        let Some(view) = &self.view else { return Vec::new() };
        let known: Vec<usize> = (0..view.entries.len())
            .filter(|&place| view.entries[place].uid.is_some_and(|uid| wanted(self, uid)))
            .collect();
        if known.is_empty() {
            return known;
        }
        let some: BTreeSet<usize> =
            (0..1 + self.random.below(most)).map(|_| *self.random.one_of(&known)).collect();
        some.into_iter().collect()
    }

    pub(super) fn uid_at(&self, place: usize) -> u32 {
        self.view.as_ref().and_then(|view| view.entries.get(place)?.uid).unwrap_or(0)
    }

    pub(super) fn token_of(&self, uid: u32) -> Option<String> {
        let validity = self.view.as_ref()?.validity;
        self.world.state().token(validity, uid).map(str::to_owned)
    }

    /// Messages as a set, by number or by UID.
    pub(super) fn named(&self, places: &[usize], uid: bool) -> String {
        let each = places.iter().map(|&place| if uid { self.uid_at(place) } else { place as u32 + 1 });
        set_of(&each.collect::<Vec<u32>>())
    }

    /// Somebody tries to remove these.
    pub(super) fn doom(&self, uids: &[u32]) {
        if let Some(view) = &self.view {
            self.world.state().mailbox(view.validity).doomed.extend(uids);
        }
    }

    pub(super) fn may_remove(&self, uid: u32) -> bool {
        self.token_of(uid).is_some_and(|token| !is_kept(&token))
    }

    /// A message in the place of another (RFC 8508), in the same mailbox or elsewhere.
    pub(super) fn replace(&mut self) -> Outcome {
        let places = self.some(1, |session, uid| session.may_remove(uid));
        let Some(view) = self.view.as_ref().filter(|view| view.writable && !places.is_empty()) else {
            return self.noop();
        };
        let (validity, from_stays, old) = (view.validity, view.stays, self.uid_at(places[0]));
        let name = self.any_mailbox();
        let stays = self.stays(name);
        let token = self.world.new_token();
        self.doom(&[old]);
        self.world.state().may_arrive(&token);
        let (uid, text) = (self.random.percent(50), message(&self.world.login, &token));
        let head = format!(
            "{}REPLACE {} {name} (\\Seen) \"12-Mar-2024 11:22:33 +0100\" {{{}+}}\r\n",
            if uid { "UID " } else { "" },
            self.named(&places, uid),
            text.len()
        );
        let reply = self.run(&[head.as_bytes(), &text].concat(), true)?;
        let mut state = self.world.state();
        state.will_not_arrive(&token);
        if !reply.is_ok() {
            drop(state);
            let no_target = !stays && reply.is_refused(&["TRYCREATE"]);
            return if no_target { Ok(()) } else { self.allowed_to_fail(&reply, &head) };
        }
        // Before the message that is replaced goes (RFC 8508 section 4.3).
        let told = reply.said.iter().find_map(|said| said.code("APPENDUID"));
        let Some((to, new)) = told.and_then(|code| code.split_once(' ')) else {
            return wrong(format!("no APPENDUID before {:?}", reply.end));
        };
        let (to, new) = (numbers(to)?[0], numbers(new)?[0]);
        let now = state.now();
        if stays {
            state.validity(name, to)?;
            state.added(to, new, &token)?;
            if self.owner(new).is_some() {
                state.mailbox(to).begins_with(new, &Flags::from(["\\seen".to_owned()]), now);
            }
        }
        if from_stays {
            state.mailbox(validity).gone.entry(old).or_insert(now);
            if self.view.as_ref().is_some_and(|view| view.by_uid(old).is_some()) {
                return wrong(format!("UID {old} was replaced and is still there"));
            }
        }
        Ok(())
    }

    pub(super) fn store(&mut self) -> Outcome {
        let Some(view) = self.view.as_ref().filter(|view| view.writable) else { return self.noop() };
        let (validity, stays, settled) = (view.validity, view.stays, view.settled);
        let allowed = |session: &Session, uid: u32| {
            !stays || session.owner(uid).is_none_or(|owner| owner == session.index)
        };
        let places = if self.random.percent(45) {
            self.some(6, |session, uid| session.is_mine(uid))
        } else {
            self.some(6, allowed)
        };
        if places.is_empty() {
            return self.noop();
        }
        let uids: Vec<u32> = places.iter().map(|&place| self.uid_at(place)).collect();
        let mut flags: Vec<&str> = (0..self.random.below(4)).map(|_| *self.random.one_of(&FLAGS)).collect();
        let sign = *self.random.one_of(&["+", "+", "-", ""]);
        if !sign.is_empty() && flags.is_empty() {
            flags.push("\\Flagged");
        }
        if self.random.percent(30) && (sign == "-" || uids.iter().all(|uid| self.may_remove(*uid))) {
            flags.push("\\Deleted");
        }
        flags.sort_unstable();
        flags.dedup();
        if flags.contains(&"\\Deleted") && sign != "-" {
            self.doom(&uids);
        }
        let edit = Edit { sign, flags };
        let (uid, silent) = (self.random.percent(50), self.random.percent(45));
        let Some(view) = &self.view else { return Ok(()) };
        let old: Vec<Entry> = places.iter().map(|&place| view.entries[place].clone()).collect();
        let modseqs: Vec<u64> = old.iter().filter_map(|entry| entry.modseq).collect();
        let mut since = None;
        if self.has_modseq() && self.random.percent(40) && !modseqs.is_empty() {
            let (least, most) = (modseqs.iter().min(), modseqs.iter().max());
            let choices = [least.copied(), most.copied(), Some(settled), most.map(|m| m.saturating_sub(1))];
            since = *self.random.one_of(&choices);
        }
        let command = format!(
            "{}STORE {} {}{sign}FLAGS{} ({})",
            if uid { "UID " } else { "" },
            self.named(&places, uid),
            since.map(|since| format!("(UNCHANGEDSINCE {since}) ")).unwrap_or_default(),
            if silent { ".SILENT" } else { "" },
            edit.flags.join(" ")
        );
        let mut changing = BTreeSet::new();
        {
            let mut state = self.world.state();
            let mailbox = state.mailbox(validity);
            for uid in uids.iter().filter(|uid| self.is_mine(**uid)) {
                if mailbox.owner_knows(*uid).is_some() {
                    mailbox.owner_changes(*uid, |flags| edit.apply(flags));
                    changing.insert(*uid);
                } else {
                    mailbox.owner_forgets(*uid);
                }
            }
        }
        if silent && let Some(view) = &mut self.view {
            for &place in &places {
                let entry = &mut view.entries[place];
                entry.flags = entry.flags.as_ref().map(|flags| edit.apply(flags));
            }
        }
        self.storing = true;
        let reply = self.run(command.as_bytes(), uid)?;
        self.storing = false;
        self.allowed_to_fail(&reply, &command)?;
        let refused = !reply.is_ok() && !reply.is_refused(&["EXPUNGEISSUED"]);
        let modified = numbers(reply.end.code("MODIFIED").unwrap_or_default())?;
        let modified: BTreeSet<u32> = match uid {
            true => modified.into_iter().collect(),
            false => {
                let uid_of = |n: &u32| places.iter().position(|&p| p as u32 + 1 == *n).map(|at| uids[at]);
                let found: Option<BTreeSet<u32>> = modified.iter().map(uid_of).collect();
                match found {
                    Some(found) => found,
                    None => return wrong(format!("MODIFIED {modified:?} of {places:?}")),
                }
            }
        };
        if since.is_none() && !modified.is_empty() || modified.iter().any(|uid| !uids.contains(uid)) {
            return wrong(format!("MODIFIED {modified:?}, not asked for"));
        }
        let mut state = self.world.state();
        let now = state.now();
        let Some(view) = &mut self.view else { return Ok(()) };
        for (uid, old) in uids.iter().zip(&old) {
            let left = refused || modified.contains(uid);
            let mine = changing.contains(uid);
            // Where some are gone it is not said which.
            // With MODIFIED it is not said that some are gone.
            let unclear = reply.is_refused(&["EXPUNGEISSUED"]) || !modified.is_empty() && !left;
            match unclear {
                true if mine => state.mailbox(validity).owner_forgets(*uid),
                false if mine => state.mailbox(validity).owner_changed(*uid, !left, now),
                _ => {}
            }
            let place = view.by_uid(*uid);
            if left
                && silent
                && let Some(entry) = place.map(|place| &mut view.entries[place]).filter(|entry| !entry.told)
            {
                entry.flags = old.flags.clone();
            }
            let (Some(since), Some(modseq), Some(flags), true) = (since, old.modseq, &old.flags, stays)
            else {
                continue;
            };
            // A message that is gone is neither changed nor told as modified.
            if place.is_none() || !reply.is_ok() || !modified.is_empty() && !left && !mine {
                continue;
            }
            let effective = edit.apply(flags) != *flags;
            if !left && modseq == since && effective {
                let entry = place.map(|place| &view.entries[place]);
                if entry.and_then(|entry| entry.modseq).is_some_and(|now| now > modseq) {
                    state.mailbox(validity).won(*uid, modseq, self.index)?;
                }
            }
            // What is gone is not told as modified.
            let changed = place.is_some_and(|place| view.entries[place].modseq != Some(modseq));
            if mine && (left || changed) && left != (modseq > since) {
                return wrong(format!(
                    "UID {uid}, only changed here, is at {modseq}; UNCHANGEDSINCE {since}, MODIFIED: {left}"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn copy(&mut self, and_remove: bool) -> Outcome {
        let Some(view) = self.view.as_ref().filter(|view| view.writable || !and_remove) else {
            return self.noop();
        };
        let (validity, from_stays) = (view.validity, view.stays);
        let places = match and_remove {
            true => self.some(4, |session, uid| session.may_remove(uid)),
            false => self.some(4, |session, uid| session.token_of(uid).is_some()),
        };
        if places.is_empty() {
            return self.noop();
        }
        let uids: Vec<u32> = places.iter().map(|&place| self.uid_at(place)).collect();
        let tokens: Vec<String> = uids.iter().filter_map(|uid| self.token_of(*uid)).collect();
        let name = self.any_mailbox();
        let stays = self.stays(name);
        if and_remove {
            self.doom(&uids);
        }
        tokens.iter().for_each(|token| self.world.state().may_arrive(token));
        let uid = self.random.percent(50);
        let verb = if and_remove { "MOVE" } else { "COPY" };
        let command = format!("{}{verb} {} {name}", if uid { "UID " } else { "" }, self.named(&places, uid));
        let reply = match self.run(command.as_bytes(), true) {
            Err(Trouble::Lost(why)) => {
                self.world.state().blurred.extend(tokens);
                return Err(Trouble::Lost(why));
            }
            other => other?,
        };
        let mut state = self.world.state();
        tokens.iter().for_each(|token| state.will_not_arrive(token));
        let untagged = || reply.said.iter().find_map(|said| said.code("COPYUID"));
        let Some(code) = reply.end.code("COPYUID").or_else(untagged) else {
            if reply.is_ok() {
                return wrong(format!("{command}: no COPYUID"));
            }
            let no_target = !stays && reply.is_refused(&["TRYCREATE"]);
            drop(state);
            return if no_target { Ok(()) } else { self.allowed_to_fail(&reply, &command) };
        };
        let words: Vec<&str> = code.split(' ').collect();
        let [to, old, new] = words[..] else { return wrong(format!("COPYUID {code}")) };
        let (to, old, new) = (numbers(to)?[0], numbers(old)?, numbers(new)?);
        if old != uids || old.len() != new.len() || new.windows(2).any(|w| w[0] >= w[1]) {
            return wrong(format!("COPYUID {code}, asked for {uids:?}"));
        }
        let now = state.now();
        for ((old, new), token) in old.iter().zip(&new).zip(&tokens) {
            if stays {
                state.validity(name, to)?;
                // Copies are deleted when what they were made of is. Mailboxes that come and go have other UIDs then.
                if !from_stays || state.mailbox(validity).doomed.contains(old) {
                    state.mailbox(to).doomed.insert(*new);
                }
                state.added(to, *new, token)?;
            }
            if and_remove && from_stays {
                state.mailbox(validity).gone.entry(*old).or_insert(now);
                if self.view.as_ref().is_some_and(|view| view.by_uid(*old).is_some()) {
                    return wrong(format!("UID {old} was moved and is still there"));
                }
            }
        }
        Ok(())
    }

    /// Those that only this session changes, and that are deleted.
    pub(super) fn my_deleted(&self, among: Option<&[u32]>) -> Vec<u32> {
        let Some(view) = self.view.as_ref().filter(|view| view.stays) else { return Vec::new() };
        let mut state = self.world.state();
        let mailbox = state.mailbox(view.validity);
        let mut uids = view.uids();
        uids.retain(|uid| self.owner(*uid) == Some(self.index));
        uids.retain(|uid| among.is_none_or(|among| among.contains(uid)));
        uids.retain(|uid| mailbox.owner_knows(*uid).is_some_and(|flags| flags.contains("\\deleted")));
        uids
    }

    pub(super) fn expunge(&mut self) -> Outcome {
        if !self.view.as_ref().is_some_and(|view| view.writable) {
            return self.noop();
        }
        let mut command = "EXPUNGE".to_owned();
        let mut among = None;
        if self.random.percent(60) {
            let places = self.some(12, |_, _| true);
            if places.is_empty() {
                return self.noop();
            }
            command = format!("UID EXPUNGE {}", self.named(&places, true));
            among = Some(places.iter().map(|&place| self.uid_at(place)).collect::<Vec<u32>>());
        }
        let expected = self.my_deleted(among.as_deref());
        let reply = self.run(command.as_bytes(), true)?;
        self.allowed_to_fail(&reply, &command)?;
        let Some(view) = &self.view else { return Ok(()) };
        match expected.iter().find(|uid| reply.is_ok() && view.by_uid(**uid).is_some()) {
            Some(uid) => wrong(format!("UID {uid} was deleted, and is there after {command}")),
            None => Ok(()),
        }
    }

    pub(super) fn close(&mut self) -> Outcome {
        let Some(view) = &self.view else { return Ok(()) };
        let (validity, writable) = (view.validity, view.writable);
        let expected = if writable { self.my_deleted(None) } else { Vec::new() };
        // Nothing is told of what is removed.
        let reply = self.run(b"CLOSE", false)?;
        self.allowed_to_fail(&reply, "CLOSE")?;
        self.leave();
        let mut state = self.world.state();
        let now = state.now();
        for uid in expected {
            state.mailbox(validity).gone.entry(uid).or_insert(now);
        }
        Ok(())
    }

    pub(super) fn side(&mut self) -> Outcome {
        let (one, other) = (*self.random.one_of(&SIDE), *self.random.one_of(&SIDE));
        let (command, codes): (String, &[&str]) = match self.random.below(5) {
            0..3 => (format!("CREATE {one}"), &["ALREADYEXISTS"]),
            3 => (format!("DELETE {one}"), &["NONEXISTENT", "HASCHILDREN"]),
            _ => (format!("RENAME {one} {other}"), &["NONEXISTENT", "ALREADYEXISTS", "CANNOT"]),
        };
        let reply = self.run(command.as_bytes(), true)?;
        if reply.is_ok() || reply.is_refused(codes) {
            return Ok(());
        }
        wrong(format!("{command} was answered {:?}", reply.end))
    }
}

/// Ascending numbers as a set, runs as ranges.
pub fn set_of(numbers: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let text = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}:{last}") }
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}
