//! When all is quiet: everybody must have been told the same, and nothing is lost, doubled or made up.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::session::{Entry, Kind, Session};
use super::stream::Doors;
use super::wire::{Outcome, wrong};
use super::world::World;

/// The truth about a mailbox, as a fresh session is told it.
type Truth = BTreeMap<u32, Entry>;

/// Compares what the sessions of an account know with each other and with what was acknowledged. The sessions lie in
/// `all`, those of other accounts are passed over; the index of the one that is wrong is told.
pub fn settle(
    all: &mut [Session],
    world: &std::sync::Arc<World>,
    doors: &Doors,
    fresh: &mut Session,
) -> Result<(), (Option<usize>, super::Trouble)> {
    let own = |session: &Session| std::sync::Arc::ptr_eq(&session.world, world);
    for session in all.iter_mut().filter(|session| own(session)) {
        bring_up_to_date(session, doors).map_err(|trouble| (Some(session.index), trouble))?;
    }
    let truths = look(world, doors, fresh).map_err(|trouble| (None, trouble))?;
    for session in all.iter_mut().filter(|session| own(session)) {
        // Another one's first look may have been the last news.
        bring_up_to_date(session, doors).map_err(|trouble| (Some(session.index), trouble))?;
        compare(session, &truths).map_err(|trouble| (Some(session.index), trouble))?;
    }
    account_for_all(world, &truths).map_err(|trouble| (None, trouble))
}

fn bring_up_to_date(session: &mut Session, doors: &Doors) -> Outcome {
    if !session.is_connected() {
        session.connect(doors)?;
    }
    while !session.view.as_ref().is_some_and(|view| view.stays) {
        session.select_any()?;
    }
    session.noop()?;
    session.learn()?;
    session.noop()?;
    match &session.view {
        Some(view) if view.unknown() > 0 => wrong(format!("{} messages cannot be read", view.unknown())),
        _ => Ok(()),
    }
}

/// Reads everything anew.
fn look(world: &World, doors: &Doors, fresh: &mut Session) -> Outcome<HashMap<&'static str, Truth>> {
    fresh.caches.clear();
    fresh.connect(doors)?;
    let mut truths = HashMap::new();
    for &name in &world.mailboxes {
        fresh.select(name)?;
        let command =
            "UID FETCH 1:* (UID FLAGS MODSEQ INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])";
        fresh.must(command)?;
        let status = format!("STATUS {name} (MESSAGES UNSEEN DELETED SIZE HIGHESTMODSEQ)");
        let reply = fresh.must(&status)?;
        let Some(view) = &fresh.view else { return wrong("nothing is selected") };
        let truth: Truth = view.entries.iter().filter_map(|e| Some((e.uid?, e.clone()))).collect();
        let with = |flag: &str| {
            truth.values().filter(|e| e.flags.as_ref().is_some_and(|flags| flags.contains(flag))).count()
                as u64
        };
        let mut state = world.state();
        let mailbox = state.mailbox(view.validity);
        let octets: u64 = truth.keys().filter_map(|uid| mailbox.facts.get(uid)).map(|fact| fact.size).sum();
        let counted = [
            ("MESSAGES", truth.len() as u64),
            ("UNSEEN", truth.len() as u64 - with("\\seen")),
            ("DELETED", with("\\deleted")),
            ("SIZE", octets),
        ];
        let said = reply.said.iter().find(|said| said.name == "STATUS");
        let items = said.and_then(|said| said.values.get(1)).map_or(&[][..], |value| value.list());
        for (item, expected) in counted {
            let told = items.chunks(2).find(|pair| pair[0].word() == item).map(|pair| pair[1].number());
            if told.transpose()? != Some(expected) {
                return wrong(format!("{name} has {item} {expected}; STATUS tells {items:?}"));
            }
        }
        truths.insert(name, truth);
    }
    Ok(truths)
}

/// What a session was told, bit by bit, is the truth.
fn compare(session: &Session, truths: &HashMap<&'static str, Truth>) -> Outcome {
    let Some(view) = &session.view else { return Ok(()) };
    let Some(truth) = truths.get(&*view.name) else { return Ok(()) };
    let expected: Vec<u32> = truth.keys().copied().collect();
    if view.uids() != expected {
        return wrong(format!("{} has UIDs {expected:?}; told {:?}", view.name, view.uids()));
    }
    for (entry, (uid, real)) in view.entries.iter().zip(truth) {
        let stale = session.kind != Kind::Plain && entry.modseq.is_some() && entry.modseq != real.modseq;
        if entry.flags.is_some() && entry.flags != real.flags || stale {
            return wrong(format!("UID {uid} of {} is {real:?}; told {entry:?}", view.name));
        }
    }
    Ok(())
}

/// Each message is there as often as was acknowledged.
fn account_for_all(world: &World, truths: &HashMap<&'static str, Truth>) -> Outcome {
    let state = world.state();
    let mut unexplained: BTreeMap<&str, Vec<(&str, u32)>> = BTreeMap::new();
    for (name, truth) in truths {
        let Some(mailbox) = state.validity_of(name).and_then(|validity| state.mailboxes.get(&validity))
        else {
            continue;
        };
        let popped: HashSet<&str> = match *name {
            "INBOX" => state.popped.iter().map(String::as_str).collect(),
            _ => HashSet::new(),
        };
        let token =
            |uid: &u32| state.validity_of(name).and_then(|v| state.token(v, *uid)).unwrap_or_default();
        for uid in mailbox.added.keys().chain(mailbox.facts.keys()) {
            let doomed = mailbox.doomed.contains(uid)
                || popped.contains(token(uid))
                || state.blurred.contains(token(uid));
            match (truth.contains_key(uid), mailbox.gone.contains_key(uid)) {
                (true, true) => return wrong(format!("UID {uid} of {name} ({}) is there again", token(uid))),
                (false, _) if !doomed => {
                    return wrong(format!("UID {uid} of {name} ({}) is lost; nobody removed it", token(uid)));
                }
                _ => {}
            }
        }
        for uid in mailbox.facts.keys().filter(|uid| !mailbox.added.contains_key(uid)) {
            unexplained.entry(token(uid)).or_default().push((name, *uid));
        }
    }
    for (token, places) in &unexplained {
        let (certain, perhaps) = state.arrived.get(*token).copied().unwrap_or_default();
        if places.len() as u32 > certain + perhaps {
            return wrong(format!(
                "{token} came {certain} times, perhaps {perhaps} more; it is at {places:?}"
            ));
        }
    }
    for (token, (certain, _)) in &state.arrived {
        let there = unexplained.get(&**token).map_or(0, Vec::len) as u32;
        if there < *certain && !state.popped.contains(token) {
            return wrong(format!("{token} was delivered {certain} times, and is there {there} times"));
        }
    }
    Ok(())
}
