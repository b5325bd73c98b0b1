//! What checking a store says.

use std::fmt;

/// How a store is checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Check {
    /// Every body is read and compared with its checksum, not only looked for.
    pub deep: bool,
    /// What is wrong is put right.
    pub repair: bool,
}

/// What became of something that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was left as it is.
    Found,
    /// It is right again.
    Repaired,
    /// It could not be saved; the rest is right again without it.
    Lost,
}

/// What checking found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages looked at.
    pub messages: u64,
    /// Bodies looked at.
    pub bodies: u64,
    /// Octets of them.
    pub octets: u64,
    /// What was wrong, each with what became of it.
    pub problems: Vec<(Outcome, String)>,
    /// Problems beyond those listed.
    pub more: u64,
}

impl Report {
    /// So many problems are listed.
    const LISTED: usize = 10_000;

    /// Whether nothing was wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether something was lost.
    pub fn has_losses(&self) -> bool {
        self.problems.iter().any(|(outcome, _)| *outcome == Outcome::Lost)
    }

    pub(crate) fn add(&mut self, outcome: Outcome, what: String) {
        if self.problems.len() < Report::LISTED {
            self.problems.push((outcome, what));
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (outcome, what) in &self.problems {
            let outcome = match outcome {
                Outcome::Found => "wrong",
                Outcome::Repaired => "repaired",
                Outcome::Lost => "LOST",
            };
            writeln!(f, "{outcome}: {what}")?;
        }
        if self.more > 0 {
            writeln!(f, "and {} more", self.more)?;
        }
        write!(f, "{} messages, {} bodies of {} octets", self.messages, self.bodies, self.octets)
    }
}
