//! Days of bad luck in a few seconds: other servers that put off, refuse, hang up before and after the final dot, are slow or
//! not there at all, and a queue that is dropped and begun again in the middle of it.
//!
//! At the end every recipient has the message, once, or the sender has a notice that says why not; nothing is missing,
//! nothing is left, and there is no notice about a notice.

use std::collections::HashMap;

use packetboat_mail::Role;
use packetboat_mail::queue::{
    Asked, Attempt, Errand, Picked, Queue, RcptAsked, Settings, Slot, Stage, Verdict,
};
use packetboat_message::dsn::Kind;

use crate::support::*;

const MESSAGES: usize = 1000;
const DESTINATIONS: u64 = 25;
const CONNECTIONS: usize = 30;

/// What happens to one attempt for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Luck {
    Taken,
    PutOff,
    Refused,
    /// The connection ends before the final dot is answered, and the server has not taken it.
    LostBefore,
    /// It has.
    LostAfter,
}

/// A connection under way.
struct Connection {
    slot: Slot,
    work: Option<Errand>,
    ends_at: i64,
}

/// What the other servers have got, and what may be expected of them.
#[derive(Default)]
struct Elsewhere {
    /// How often each recipient got each message.
    got: HashMap<(String, String), usize>,
    /// How often the answer to a message that was taken did not come through.
    unheard: HashMap<(String, String), usize>,
    refused: HashMap<(String, String), usize>,
}

struct Chaos {
    town: Town,
    elsewhere: Elsewhere,
    open: Vec<Connection>,
    most_open: usize,
    restarts: usize,
}

impl Chaos {
    fn luck(&self) -> Luck {
        match self.town.clock.below(100) {
            0..55 => Luck::Taken,
            55..80 => Luck::PutOff,
            80..88 => Luck::Refused,
            88..95 => Luck::LostBefore,
            _ => Luck::LostAfter,
        }
    }

    /// Whether a destination answers at all: some never do, some are away for days.
    fn answers(&self, destination: &str) -> bool {
        let number: u64 =
            destination.trim_start_matches("mx:d").trim_end_matches(".test").parse().unwrap_or(0);
        let day = (self.town.clock.now() - START) / DAY;
        match number {
            0 => true,
            1 | 2 => false,
            3 => day >= 2,
            4 => day % 2 == 0,
            _ => self.town.clock.below(20) > 0,
        }
    }

    async fn begin_what_can_begin(&mut self) -> Option<i64> {
        loop {
            match self.town.queue.pick().await {
                Picked::Slot(slot) => {
                    let ends_at = self.town.clock.now() + 30 * SECOND;
                    self.open.push(Connection { slot, work: None, ends_at });
                    self.most_open = self.most_open.max(self.open.len());
                }
                Picked::Nothing(next) => return next,
            }
        }
    }

    /// Goes on with the connection that is at its end first.
    async fn go_on(&mut self) {
        let first = (0..self.open.len()).min_by_key(|place| self.open[*place].ends_at).unwrap();
        let mut connection = self.open.swap_remove(first);
        let clock = self.town.clock.clone();
        clock.set(clock.now().max(connection.ends_at));
        let name = connection.slot.next_hop().to_string();
        if connection.work.is_none() && !self.answers(&name) {
            let mut silence = Attempt::new(clock.now(), Stage::Connect);
            silence.text = "nobody answered there".into();
            return self.town.queue.unreachable(connection.slot, silence).await;
        }
        if let Some(errand) = connection.work.take() {
            let tag = errand.envelope.tag.to_string();
            let verdicts: Vec<Verdict> = errand
                .recipients
                .iter()
                .map(|to| {
                    let key = (tag.clone(), to.address.to_string());
                    self.deliver(key)
                })
                .collect();
            self.town.queue.settle(&mut connection.slot, errand, verdicts).await;
        }
        match self.town.queue.errand(&mut connection.slot).await {
            Some(errand) => {
                // A second mostly, minutes sometimes.
                let slow = if clock.below(30) == 0 { 5 * MINUTE } else { SECOND };
                connection.ends_at = clock.now() + slow;
                connection.work = Some(errand);
                self.open.push(connection);
            }
            None => self.town.queue.finished(connection.slot).await,
        }
    }

    fn deliver(&mut self, key: (String, String)) -> Verdict {
        match self.luck() {
            Luck::Taken => {
                *self.elsewhere.got.entry(key).or_default() += 1;
                self.town.delivered()
            }
            Luck::PutOff => self.town.deferred(),
            Luck::Refused => {
                *self.elsewhere.refused.entry(key).or_default() += 1;
                self.town.failed()
            }
            Luck::LostBefore => Verdict::Deferred(Attempt::new(self.town.clock.now(), Stage::Data)),
            Luck::LostAfter => {
                *self.elsewhere.got.entry(key.clone()).or_default() += 1;
                *self.elsewhere.unheard.entry(key).or_default() += 1;
                Verdict::Deferred(Attempt::new(self.town.clock.now(), Stage::End))
            }
        }
    }

    /// All that memory holds is gone.
    fn restart(&mut self) {
        self.open.clear();
        self.town.queue = Queue::new(self.town.office.clone(), self.town.clock.world());
        self.restarts += 1;
    }
}

#[tokio::test]
async fn every_letter_arrives_or_its_sender_hears_why() {
    let settings = Settings { connections_max: CONNECTIONS, ..Settings::default() };
    let mut chaos = Chaos {
        town: town_with(settings).await,
        elsewhere: Elsewhere::default(),
        open: Vec::new(),
        most_open: 0,
        restarts: 0,
    };
    // Who has to get what; those without a sender on their own.
    let mut sent: Vec<(String, String, bool)> = Vec::new();
    let mut to_send = MESSAGES;
    while chaos.town.clock.now() < START + 7 * DAY {
        if to_send > 0 {
            to_send -= 1;
            let town = &chaos.town;
            let count = 1 + town.clock.below(3);
            let to: Vec<String> =
                (0..count).map(|n| format!("u{n}@d{}.test", town.clock.below(DESTINATIONS))).collect();
            let recipients: Vec<(&str, RcptAsked)> =
                to.iter().map(|to| (to.as_str(), RcptAsked::default())).collect();
            let sender = match town.clock.below(10) {
                0 => None,
                _ => Some("alice@example.org"),
            };
            let origin = if sender.is_some() { town.alice() } else { origin(Role::Exchange) };
            let accepted = town.send_as(origin, sender, Asked::default(), &recipients, LETTER).await.unwrap();
            let mut seen = to.clone();
            seen.sort();
            seen.dedup();
            sent.extend(seen.into_iter().map(|to| (accepted.tag.to_string(), to, sender.is_some())));
            town.clock.forward(20 * SECOND);
        }
        chaos.town.queue.expire().await;
        let next = chaos.begin_what_can_begin().await;
        assert!(chaos.open.len() <= CONNECTIONS);
        match chaos.open.is_empty() {
            false => chaos.go_on().await,
            true if to_send == 0 && chaos.town.queued().await == 0 => break,
            true => {
                let now = chaos.town.clock.now();
                let soon = now + if to_send > 0 { SECOND } else { HOUR };
                chaos.town.clock.set(next.unwrap_or(soon).clamp(now + 1, soon));
            }
        }
        if chaos.town.clock.below(100) == 0 {
            chaos.restart();
        }
    }
    let Chaos { town, elsewhere, most_open, restarts, .. } = chaos;
    assert_eq!(town.queued().await, 0, "nothing is left");
    assert!(restarts > 3 && most_open > 5, "{restarts} {most_open}");

    let mut failures: HashMap<(String, String), usize> = HashMap::new();
    let mut delays: HashMap<(String, String), usize> = HashMap::new();
    for notice in town.inbox(town.alice).await {
        let log_id = notice.split("Final-Log-ID: ").nth(1).unwrap().get(..20).unwrap().to_owned();
        for told in status_of(&notice).recipients {
            let key = (log_id.clone(), told.address.1);
            match told.action {
                Kind::Failed => *failures.entry(key).or_default() += 1,
                Kind::Delayed => *delays.entry(key).or_default() += 1,
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }
    let count =
        |of: &HashMap<(String, String), usize>, key: &(String, String)| of.get(key).copied().unwrap_or(0);
    let (mut arrived, mut returned) = (0, 0);
    for (tag, to, answered) in sent {
        let key = (tag, to);
        let (got, unheard) = (count(&elsewhere.got, &key), count(&elsewhere.unheard, &key));
        let (failed, refused) = (count(&failures, &key), count(&elsewhere.refused, &key));
        assert!(got <= 1 + unheard, "{key:?} came {got} times, {unheard} of them unheard of");
        assert!(refused <= 1, "{key:?} was refused for good {refused} times");
        assert!(count(&delays, &key) <= 1);
        if answered {
            assert!(got > unheard || failed == 1, "{key:?} vanished: {got} {unheard} {failed}");
            assert!(got == unheard || failed == 0, "{key:?} arrived and came back");
            assert!(failed <= 1, "{key:?} was told of {failed} times");
        } else {
            assert_eq!((failed, count(&delays, &key)), (0, 0), "{key:?} has nobody to hear of it");
        }
        arrived += usize::from(got > 0);
        returned += usize::from(failed > 0);
    }
    assert!(arrived > MESSAGES && returned > 100 && !delays.is_empty(), "{arrived} {returned}");
}
