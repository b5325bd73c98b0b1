//! How many connections each destination gets: a small number at first, more where it goes well, fewer where it does not,
//! none for a while where nobody answers. It is memory alone and may be forgotten; what must outlast a restart stands in the
//! queue's rows.

use std::collections::HashMap;

use super::{Attempt, Settings};

/// Destinations remembered; beyond it those that nobody is talking to are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// Successes between two attempts to give more connections to a destination that has refused one: at first, and at most.
const CAUTION_MIN: u32 = 10;
const CAUTION_MAX: u32 = 1000;

/// What is known of all destinations.
#[derive(Debug, Default)]
pub(crate) struct Destinations {
    known: HashMap<String, Destination>,
    open: usize,
}

/// What is known of a destination.
#[derive(Debug)]
pub(crate) struct Destination {
    /// Connections it may have.
    limit: usize,
    /// Connections it has.
    open: usize,
    /// Successes it takes before it gets one more, since it did not want as many as it had; and those it has shown.
    caution: u32,
    shown: u32,
    /// How often in a row it could not be reached.
    streak: u32,
    /// Why not, the last time.
    trouble: Option<Attempt>,
}

/// What an unreachable destination gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Other connections to it stand: it gets fewer, and what this one had goes to them.
    Fewer,
    /// It is left alone; it is the n-th time in a row.
    Rest(u32),
}

impl Destinations {
    /// Whether there may be one more connection to anybody.
    pub(crate) fn has_room(&self, settings: &Settings) -> bool {
        self.open < settings.connections_max
    }

    /// Whether a destination may have one more connection.
    pub(crate) fn may_open(&self, name: &str, settings: &Settings) -> bool {
        if !self.has_room(settings) {
            return false;
        }
        match self.known.get(name) {
            // Whoever did not answer last time is asked by one.
            Some(known) if known.streak > 0 => known.open == 0,
            Some(known) => known.open < known.limit,
            None => true,
        }
    }

    /// A connection to it is begun.
    pub(crate) fn open(&mut self, name: &str, settings: &Settings) {
        if self.known.len() >= REMEMBERED_MAX && !self.known.contains_key(name) {
            self.known.retain(|_, known| known.open > 0);
        }
        let limit = settings.connections_at_first.clamp(1, settings.connections_per_destination.max(1));
        let fresh = Destination { limit, open: 0, caution: 0, shown: 0, streak: 0, trouble: None };
        let known = self.known.entry(name.to_owned()).or_insert(fresh);
        known.open += 1;
        self.open += 1;
    }

    /// It took something: next time it may be asked for more at once.
    pub(crate) fn went_well(&mut self, name: &str, settings: &Settings) {
        let Some(known) = self.known.get_mut(name) else { return };
        (known.streak, known.trouble) = (0, None);
        // One more with each success doubles the number with each round, as long as it is used at all.
        known.shown = known.shown.saturating_add(1);
        if known.limit < known.open.saturating_mul(2) && known.shown > known.caution {
            known.shown = 0;
            known.limit = (known.limit + 1).min(settings.connections_per_destination.max(1));
        }
    }

    /// No connection could be made. `tries` is how often what was to be sent has been tried before, which tells of
    /// troubles that memory has forgotten.
    pub(crate) fn unreachable(&mut self, name: &str, attempt: Attempt, tries: u32) -> Consequence {
        let Some(known) = self.known.get_mut(name) else { return Consequence::Rest(tries.saturating_add(1)) };
        known.limit = (known.limit / 2).max(1);
        if known.open > 1 && known.streak == 0 {
            (known.caution, known.shown) =
                (known.caution.saturating_mul(2).clamp(CAUTION_MIN, CAUTION_MAX), 0);
            return Consequence::Fewer;
        }
        known.streak = known.streak.max(tries).saturating_add(1);
        known.trouble = Some(attempt);
        Consequence::Rest(known.streak)
    }

    /// A connection has ended. Whether it was the last one.
    pub(crate) fn close(&mut self, name: &str) -> bool {
        let Some(known) = self.known.get_mut(name).filter(|known| known.open > 0) else { return true };
        known.open = known.open.saturating_sub(1);
        self.open = self.open.saturating_sub(1);
        known.open == 0
    }

    /// Connections to a destination.
    pub(crate) fn open_to(&self, name: &str) -> usize {
        self.known.get(name).map_or(0, |known| known.open)
    }

    /// Why a destination could not be reached, if it could not be the last time.
    pub(crate) fn trouble(&self, name: &str) -> Option<&Attempt> {
        self.known.get(name)?.trouble.as_ref()
    }

    /// What happened so far is no reason to wait any more.
    pub(crate) fn forgive(&mut self, name: &str) {
        if let Some(known) = self.known.get_mut(name) {
            known.streak = 0;
        }
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Stage;

    fn open_all(destinations: &mut Destinations, name: &str, settings: &Settings) -> usize {
        let mut opened = 0;
        while destinations.may_open(name, settings) {
            destinations.open(name, settings);
            opened += 1;
        }
        opened
    }

    fn trouble() -> Attempt {
        Attempt::new(0, Stage::Connect)
    }

    #[test]
    fn a_destination_gets_two_connections_and_more_with_each_success() {
        let settings = Settings::default();
        let mut all = Destinations::default();
        assert_eq!(open_all(&mut all, "a", &settings), 2);
        for _ in 0..9 {
            all.went_well("a", &settings);
        }
        assert_eq!(open_all(&mut all, "a", &settings), 2, "more only where all it may have are in use");
        for _ in 0..100 {
            all.went_well("a", &settings);
            open_all(&mut all, "a", &settings);
        }
        assert!(!all.may_open("a", &settings));
        let mut closed = 1;
        while !all.close("a") {
            closed += 1;
        }
        assert_eq!(closed, settings.connections_per_destination);
    }

    #[test]
    fn trouble_halves_and_the_last_connection_lost_means_rest() {
        let settings = Settings::default();
        let mut all = Destinations::default();
        open_all(&mut all, "a", &settings);
        for _ in 0..8 {
            all.went_well("a", &settings);
            open_all(&mut all, "a", &settings);
        }
        assert_eq!(all.unreachable("a", trouble(), 0), Consequence::Fewer);
        assert!(!all.close("a") && !all.may_open("a", &settings));
        while all.open_to("a") > all.known["a"].limit {
            all.close("a");
        }
        all.went_well("a", &settings);
        assert!(!all.may_open("a", &settings), "not at once again");
        (0..CAUTION_MIN).for_each(|_| all.went_well("a", &settings));
        assert_eq!(open_all(&mut all, "a", &settings), 1);
        assert!(all.trouble("a").is_none());

        let mut one = Destinations::default();
        one.open("b", &settings);
        assert_eq!(one.unreachable("b", trouble(), 0), Consequence::Rest(1));
        assert!(one.close("b") && one.trouble("b").is_some());
        assert_eq!(open_all(&mut one, "b", &settings), 1, "whoever did not answer is asked by one");
        assert_eq!(one.unreachable("b", trouble(), 0), Consequence::Rest(2));
        one.close("b");
        one.open("b", &settings);
        one.went_well("b", &settings);
        assert!(one.trouble("b").is_none());
        assert_eq!(one.unreachable("b", trouble(), 0), Consequence::Rest(1));
        assert_eq!(one.unreachable("never heard of", trouble(), 6), Consequence::Rest(7));
    }

    #[test]
    fn there_is_a_limit_for_all_together() {
        let settings = Settings { connections_max: 3, ..Settings::default() };
        let mut all = Destinations::default();
        assert_eq!(["x", "y", "z"].map(|name| open_all(&mut all, name, &settings)), [2, 1, 0]);
        assert!(!all.has_room(&settings));
        for name in ["x", "z", "never heard of"] {
            all.close(name);
        }
        assert_eq!((all.open, all.open_to("x"), all.open_to("z")), (2, 1, 0));
    }

    #[test]
    fn memory_is_bounded_and_forgets_only_who_is_not_talked_to() {
        let settings = Settings::default();
        let mut all = Destinations::default();
        all.open("stays", &settings);
        for name in 0..3 * REMEMBERED_MAX {
            let name = name.to_string();
            all.open(&name, &settings);
            all.unreachable(&name, trouble(), 4);
            all.close(&name);
            assert!(all.remembered() <= REMEMBERED_MAX);
        }
        assert!(all.known.contains_key("stays"));
        assert_eq!(all.open, 1);
    }
}
