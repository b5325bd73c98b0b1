//! When a message is tried, told of and given up: pure functions of what happened so far.

use std::time::Duration;

use super::{Envelope, Rcpt, Settings};

/// A moment, microseconds since the epoch.
pub type Moment = i64;

/// What the next attempt depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// When the message came, or was first to be sent where that is later.
    pub since: Moment,
    /// How often it has been tried.
    pub attempts: u32,
}

/// When a recipient is tried next; `None`: its time is over.
///
/// `random` spreads what came in together over a tenth of the interval, so that it does not come back together.
pub fn next_attempt(settings: &Settings, history: History, now: Moment, random: u64) -> Option<Moment> {
    let end = after(history.since, settings.lifetime);
    if now >= end {
        return None;
    }
    let place = usize::try_from(history.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let last = settings.retries.last().copied().unwrap_or(Settings::RETRY_LAST);
    let interval = settings.retries.get(place).copied().unwrap_or(last);
    let next = after(now, spread(interval, random));
    // One last attempt falls before the end, if only just.
    Some(if next >= end { now.max(before(end, Settings::LAST_CHANCE)) } else { next })
}

/// What is to be done with a recipient at its deadline, and when the deadline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// The sender is told that it takes long.
    Tell,
    /// It is given up: its time is over.
    GiveUp,
    /// It is given up: the sender set the time (RFC 2852, by-mode R).
    TooLate,
}

/// The next deadline of a recipient.
pub fn deadline(settings: &Settings, envelope: &Envelope, rcpt: &Rcpt) -> (Moment, Due) {
    let since = since(envelope);
    let mut first = (after(since, settings.lifetime), Due::GiveUp);
    let mut or = |moment: Moment, due: Due| {
        if moment < first.0 {
            first = (moment, due);
        }
    };
    if let Some(by) = envelope.asked.by
        && !by.notify_only
    {
        or(by.at, Due::TooLate);
    }
    if !rcpt.delay_told && is_answered(envelope) {
        if rcpt.asked.wants_delay() {
            or(after(since, settings.delay_notice), Due::Tell);
        }
        // Where the time has passed in by-mode N a notice says so unless the sender wants to hear of nothing at all
        // (RFC 2852 section 4.1.4.2).
        let never = rcpt.asked.notify.is_some_and(|notify| notify == super::Notify::default());
        if let Some(by) = envelope.asked.by.filter(|by| by.notify_only && !never) {
            or(by.at, Due::Tell);
        }
    }
    first
}

/// Whether anybody is told what becomes of a message: never of a notice, nor of what has no sender (RFC 5321 sections 4.5.5
/// and 6.1).
pub fn is_answered(envelope: &Envelope) -> bool {
    envelope.sender.is_some() && !envelope.notice
}

/// From when on a message's time counts.
pub fn since(envelope: &Envelope) -> Moment {
    envelope.arrived_at.max(envelope.asked.hold_until.unwrap_or(i64::MIN))
}

/// How long a destination that could not be reached `streak` times in a row is left alone.
pub fn rest(settings: &Settings, streak: u32, random: u64) -> Duration {
    let doubled = settings.rest_first.saturating_mul(1u32 << streak.saturating_sub(1).min(20));
    spread(doubled.min(settings.rest_max), random)
}

/// `interval`, up to a tenth longer or shorter.
fn spread(interval: Duration, random: u64) -> Duration {
    let tenth = interval / 10;
    // The upper bits, as a fraction of two tenths.
    let part = (u128::from(random) * (tenth * 2).as_nanos()) >> 64;
    interval - tenth + Duration::from_nanos(u64::try_from(part).unwrap_or(0))
}

/// `moment` plus `time`.
pub fn after(moment: Moment, time: Duration) -> Moment {
    moment.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

/// `moment` minus `time`.
fn before(moment: Moment, time: Duration) -> Moment {
    moment.saturating_sub(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::MessageTag;
    use crate::queue::{Asked, DeliverBy, Notify, RcptAsked};

    const MINUTE: i64 = 60_000_000;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    /// The middle of all randomness: intervals as they are written.
    const EVEN: u64 = 1 << 63;

    #[test]
    fn first_retries_come_within_minutes_and_the_last_one_before_the_end() {
        let settings = Settings::default();
        let (mut now, mut attempts, mut at) = (0, 0, Vec::new());
        loop {
            attempts += 1;
            match next_attempt(&settings, History { since: 0, attempts }, now, EVEN) {
                Some(next) if next > now => now = next,
                _ => break,
            }
            at.push(now);
        }
        let minutes: Vec<i64> = at.iter().take(8).map(|at| at / MINUTE).collect();
        assert_eq!(minutes, [1, 3, 7, 15, 30, 60, 120, 180]);
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] <= 4 * HOUR));
        assert_eq!(*at.last().unwrap(), 5 * DAY - MINUTE);
        assert_eq!(next_attempt(&settings, History { since: 0, attempts: 1 }, 5 * DAY, EVEN), None);
    }

    #[test]
    fn what_came_together_does_not_come_back_together() {
        let settings = Settings::default();
        let next = |random| next_attempt(&settings, History { since: 0, attempts: 7 }, 0, random).unwrap();
        assert_eq!(next(0), 54 * MINUTE);
        assert_eq!(next(EVEN), 60 * MINUTE);
        assert!(next(u64::MAX) > 65 * MINUTE && next(u64::MAX) <= 66 * MINUTE);
    }

    #[test]
    fn an_unreachable_destination_rests_longer_each_time_up_to_a_limit() {
        let settings = Settings::default();
        let minutes = |streak| rest(&settings, streak, EVEN).as_secs() / 60;
        assert_eq!([1, 2, 3, 4, 7, 100].map(minutes), [1, 2, 4, 8, 60, 60]);
        assert_eq!(rest(&settings, u32::MAX, 0), Duration::from_secs(54 * 60));
    }

    #[test]
    fn deadlines_come_in_their_order() {
        let settings = Settings::default();
        let envelope = |asked| {
            let sender = Some("a@b.example".parse().unwrap());
            Envelope::new(MessageTag::new(0, 0), sender, 0, 1, asked)
        };
        let rcpt = Rcpt::new("c@d.example".parse().unwrap(), RcptAsked::default());
        let plain = envelope(Asked::default());
        assert_eq!(deadline(&settings, &plain, &rcpt), (4 * HOUR, Due::Tell));
        let told = Rcpt { delay_told: true, ..rcpt.clone() };
        assert_eq!(deadline(&settings, &plain, &told), (5 * DAY, Due::GiveUp));
        let never = RcptAsked { notify: Some(Notify::default()), original: None };
        let never = Rcpt { asked: never, ..rcpt.clone() };
        assert_eq!(deadline(&settings, &plain, &never), (5 * DAY, Due::GiveUp));
        let null = Envelope { sender: None, ..plain.clone() };
        assert_eq!(deadline(&settings, &null, &rcpt), (5 * DAY, Due::GiveUp));
        let notice = Envelope { notice: true, ..plain.clone() };
        assert_eq!(deadline(&settings, &notice, &rcpt), (5 * DAY, Due::GiveUp));

        let by = |notify_only| Some(DeliverBy { at: HOUR, notify_only, trace: false });
        let returned = envelope(Asked { by: by(false), ..Asked::default() });
        assert_eq!(deadline(&settings, &returned, &rcpt), (HOUR, Due::TooLate));
        let told_of = envelope(Asked { by: by(true), ..Asked::default() });
        assert_eq!(deadline(&settings, &told_of, &rcpt), (HOUR, Due::Tell));
        assert_eq!(deadline(&settings, &told_of, &never), (5 * DAY, Due::GiveUp));
        let held = envelope(Asked { hold_until: Some(2 * DAY), ..Asked::default() });
        assert_eq!(deadline(&settings, &held, &rcpt), (2 * DAY + 4 * HOUR, Due::Tell));
    }
}
