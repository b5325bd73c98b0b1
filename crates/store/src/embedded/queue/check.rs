//! Whether the queue's rows have what they name, and its counters say what its rows say.

use super::super::check::Checker;
use super::super::effect::Effect;
use super::super::tables::Sql;
use super::super::writer::Fail;
use super::effect::QueueEffect;
use crate::check::Outcome;

/// Rows looked at at a time.
const PAGE: usize = 1_000;

impl Checker<'_> {
    /// Names the queue rows that a join or condition finds, and takes them out of the queue.
    pub(in super::super) fn unqueue(&mut self, which: &str, what: &str) -> Result<(), Fail> {
        self.each_queued(which, what, |checker, ids| {
            checker.writer.effects(&[Effect::Queue(QueueEffect::Dequeued { ids })])
        })
    }

    /// Queue rows whose prefix and card are lost go on without.
    pub(in super::super) fn queued_sides(&mut self) -> Result<(), Fail> {
        let missing = "WHERE queue.side IS NOT NULL AND queue.side NOT IN (SELECT id FROM side)";
        self.each_queued(missing, "'what is known of the message is lost'", |checker, ids| {
            for id in ids {
                checker
                    .conn()
                    .prepare_cached(
                        "UPDATE queue SET side = NULL, size = (SELECT octets FROM body WHERE id = queue.body)
                         WHERE id = ?1",
                    )?
                    .execute([id as i64])?;
            }
            Ok(())
        })
    }

    fn each_queued(
        &mut self,
        which: &str,
        what: &str,
        mut repair: impl FnMut(&mut Self, Vec<u64>) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        let mut after = i64::MIN;
        loop {
            let lost: Vec<(i64, String)> = {
                let join = if which.starts_with("WHERE") { "AND" } else { "WHERE" };
                let mut select = self.conn().prepare_cached(&format!(
                    "SELECT queue.id, queue.size, queue.destination, {what} FROM queue {which}
                     {join} queue.id > ?1 ORDER BY queue.id LIMIT {PAGE}"
                ))?;
                let rows = select.query_map([after], |row| {
                    let (id, size): (i64, i64) = (row.get(0)?, row.get(1)?);
                    let (destination, what): (String, String) = (row.get(2)?, row.get(3)?);
                    Ok((id, format!("queue row {id} of {size} octets for {destination:?}: {what}")))
                })?;
                rows.collect::<Sql<_>>()?
            };
            let Some((last, _)) = lost.last() else { return Ok(()) };
            after = *last;
            let mut ids = Vec::with_capacity(lost.len());
            for (id, text) in lost {
                self.report.add(if self.how.repair { Outcome::Lost } else { Outcome::Found }, text);
                ids.push(id as u64);
            }
            if self.how.repair {
                repair(self, ids)?;
            }
        }
    }
}

/// What the destinations must be, as the rows say.
macro_rules! wanted {
    () => {
        "(SELECT this, count, first, coalesce(resting_until, -9223372036854775808) AS resting,
                 CASE WHEN first = 9223372036854775807 THEN first
                      ELSE max(first, coalesce(resting_until, first)) END AS wake
          FROM (SELECT destination AS this, count(*) AS count,
                       min(CASE WHEN held THEN 9223372036854775807 ELSE due_at END) AS first
                FROM queue GROUP BY destination)
          LEFT JOIN queue_destination ON name = this)"
    };
}

/// What the counters of the whole must be.
macro_rules! total {
    () => {
        "(SELECT count(*) AS count, coalesce(sum(size), 0) AS octets, coalesce(sum(held), 0) AS held,
                 count(DISTINCT destination) AS destinations, coalesce(max(id), 0) AS last FROM queue)"
    };
}

/// What is wrong, the rows where it is, what puts it right.
pub(crate) const COUNTERS: &[(&str, &str, &str)] = &[
    (
        "destinations of the queue whose counters are wrong",
        concat!(
            "FROM ",
            wanted!(),
            " LEFT JOIN queue_destination ON name = this
             WHERE name IS NULL OR rows <> count OR due <> first OR wake_at <> wake"
        ),
        concat!(
            "INSERT OR REPLACE INTO queue_destination SELECT this, count, resting, first, wake FROM ",
            wanted!()
        ),
    ),
    (
        "destinations of the queue that have no rows",
        "FROM queue_destination WHERE name NOT IN (SELECT destination FROM queue)
         AND (rows <> 0 OR due <> 9223372036854775807 OR wake_at <> 9223372036854775807)",
        "UPDATE queue_destination SET rows = 0, due = 9223372036854775807, wake_at = 9223372036854775807
         WHERE name NOT IN (SELECT destination FROM queue)",
    ),
    (
        "counters of the queue that are wrong",
        concat!(
            "FROM log, ",
            total!(),
            " WHERE queue_rows <> count OR queue_octets <> octets OR queue_held <> held
              OR queue_destinations <> destinations OR next_queue <= last"
        ),
        concat!(
            "UPDATE log SET queue_rows = count, queue_octets = octets, queue_held = held,
                            queue_destinations = destinations, next_queue = max(next_queue, last + 1) FROM ",
            total!()
        ),
    ),
];
