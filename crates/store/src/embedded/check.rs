//! Looks through a store that nobody has open, and repairs what can be repaired.
//!
//! The database is compared with itself (its pages, its counters, its references), and every row with the octets it
//! names. What is lost is named, message by message; nothing that is still there is thrown away: octets that do not
//! match their checksum go to `DIR/lost`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::{Connection, params};

use super::effect::Effect;
use super::readers::place_row;
use super::record::{HEAD, Head};
use super::runs;
use super::segment::path_of;
use super::tables::Place;
use super::writer::{Fail, Writer};
use super::{Assembled, rebuild};
use crate::check::{Check, Outcome, Report};
use crate::{OpenError, Options};

/// Messages removed in one transaction.
const STEP: usize = 1_000;
/// Bodies or messages looked at at a time.
const PAGE: i64 = 20_000;

/// Whatever has bodies and sides.
macro_rules! holders {
    () => {
        "(SELECT side, body FROM message UNION ALL SELECT side, body FROM queue)"
    };
}
pub(crate) fn check(dir: &Path, how: Check) -> Result<Report, OpenError> {
    if !dir.join("store.db").exists() && !dir.join("segments").exists() {
        return Err(OpenError::Damaged(format!("there is no store in {}", dir.display())));
    }
    let mut report = Report::default();
    look(dir, how, &mut report)?;
    Ok(report)
}

/// Makes the database again, whatever it looks like, and checks the outcome.
pub(crate) fn rebuild(dir: &Path) -> Result<Report, OpenError> {
    if !dir.join("segments").exists() {
        return Err(OpenError::Damaged(format!("there is no log in {}", dir.display())));
    }
    let mut report = Report::default();
    rebuild::rebuild(dir, rebuild::Base::Snapshot, &mut report)?;
    look(dir, Check { deep: true, repair: true }, &mut report)?;
    Ok(report)
}

fn look(dir: &Path, how: Check, report: &mut Report) -> Result<(), OpenError> {
    let assembled = match assemble(dir).and_then(|assembled| pages(assembled, report)) {
        Ok(assembled) => assembled,
        Err(error @ (OpenError::Damaged(_) | OpenError::Database(_))) => {
            if !how.repair {
                report.add(Outcome::Found, error.to_string());
                return Ok(());
            }
            report.add(Outcome::Repaired, error.to_string());
            rebuild::rebuild(dir, rebuild::Base::Database, report)?;
            pages(assemble(dir)?, report)?
        }
        Err(error) => return Err(error),
    };
    let Assembled { shared: _, mut writer, lock } = assembled;
    let done = Checker { writer: &mut writer, how, report }.run();
    writer.finish();
    drop(lock);
    match done {
        Ok(()) => Ok(()),
        Err(Fail::Full) => Err(OpenError::io(dir)(io::ErrorKind::StorageFull.into())),
        Err(Fail::Broken(reason)) => Err(OpenError::Damaged(reason)),
    }
}

fn assemble(dir: &Path) -> Result<Assembled, OpenError> {
    let options = Options { disk_floor: 0, maintenance: false, ..Options::new(dir) };
    Assembled::new(options, super::disk::Disk::default(), None)
}

/// Whether the database's pages are what SQLite says they must be.
fn pages(assembled: Assembled, report: &mut Report) -> Result<Assembled, OpenError> {
    let conn = &assembled.writer.tables.conn;
    let answers: Vec<String> = conn
        .prepare("PRAGMA integrity_check(10)")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if answers != ["ok"] {
        return Err(OpenError::Damaged(format!("the database's pages: {}", answers.join("; "))));
    }
    report.messages = conn.query_row("SELECT count(*) FROM message", [], |row| row.get::<_, i64>(0))? as u64;
    Ok(assembled)
}

pub(super) struct Checker<'a> {
    pub(super) writer: &'a mut Writer,
    pub(super) how: Check,
    pub(super) report: &'a mut Report,
}

/// A message that cannot be read any more.
struct Lost {
    mailbox: u64,
    uid: u32,
    text: String,
}

impl Checker<'_> {
    fn run(mut self) -> Result<(), Fail> {
        if self.how.repair {
            // What is put right does not always have a modification sequence of its own.
            self.conn().execute("DELETE FROM packed", [])?;
        }
        self.homes()?;
        self.bodies()?;
        self.remove("WHERE message.body NOT IN (SELECT id FROM body)", "'its body is not known'")?;
        self.unqueue("WHERE queue.body NOT IN (SELECT id FROM body)", "'its body is not known'")?;
        self.sides()?;
        self.counters()
    }

    pub(super) fn conn(&self) -> &Connection {
        &self.writer.tables.conn
    }

    /// What becomes of a problem that can be put right.
    fn fixable(&mut self, what: String) -> bool {
        let outcome = if self.how.repair { Outcome::Repaired } else { Outcome::Found };
        self.report.add(outcome, what);
        self.how.repair
    }

    /// Every message has a mailbox, every mailbox an account.
    fn homes(&mut self) -> Result<(), Fail> {
        let homeless = self.pairs(
            "SELECT mailbox, count(*) FROM message WHERE mailbox NOT IN (SELECT id FROM mailbox) GROUP BY mailbox",
        )?;
        for (mailbox, count) in homeless {
            let name = format!("Recovered-{mailbox}");
            if self.fixable(format!(
                "mailbox {mailbox} is missing; its {count} messages go to {name} of account 0"
            )) {
                let validity = (self.writer.shared.options.clock)() / 1_000_000;
                self.conn().execute(
                    "INSERT INTO mailbox VALUES (?1, 0, ?2, ?3, 1, 0, 0, 0, 0, 0, 0, NULL)",
                    params![mailbox, name, validity as i64],
                )?;
            }
        }
        let orphans = self
            .pairs("SELECT account, count(*) FROM mailbox WHERE account NOT IN (SELECT id FROM account) GROUP BY account")?;
        for (account, count) in orphans {
            if self
                .fixable(format!("account {account} is missing; it is made again for its {count} mailboxes"))
            {
                self.conn().execute("INSERT INTO account VALUES (?1, 0, 0, 0)", [account])?;
            }
        }
        Ok(())
    }

    fn pairs(&self, sql: &str) -> Result<Vec<(i64, i64)>, Fail> {
        let mut select = self.conn().prepare(sql)?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every body lies where its row says.
    fn bodies(&mut self) -> Result<(), Fail> {
        let mut after = i64::MIN;
        loop {
            let page: Vec<(u64, Place)> = {
                let mut select = self.conn().prepare_cached(
                    "SELECT segment, place, octets, crc, file, id FROM body WHERE id > ?1 ORDER BY id LIMIT ?2",
                )?;
                let rows = select
                    .query_map([after, PAGE], |row| Ok((row.get::<_, i64>(5)? as u64, place_row(row)?)))?;
                rows.collect::<Result<_, _>>()?
            };
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = *last as i64;
            let bad = self.bad_bodies(page);
            self.lost_bodies(&bad)?;
        }
    }

    /// Those of some bodies that do not lie where their rows say, with what is wrong.
    fn bad_bodies(&mut self, places: Vec<(u64, Place)>) -> BTreeMap<u64, String> {
        let mut bad = BTreeMap::new();
        let mut open: Option<(u64, File)> = None;
        for (id, place) in places {
            self.report.bodies += 1;
            self.report.octets += place.octets;
            let seen = match &place.file {
                Some(name) => {
                    let path = self.writer.shared.bodies().join(name);
                    File::open(path).and_then(|file| self.own_file(&file, &place))
                }
                None => {
                    if open.as_ref().is_none_or(|(segment, _)| *segment != place.segment) {
                        let path = path_of(&self.writer.shared.segments_dir(), place.segment);
                        open = File::open(path).ok().map(|file| (place.segment, file));
                    }
                    match &open {
                        Some((_, file)) => self.in_segment(file, id, &place),
                        None => Err(io::Error::other(format!("segment {} is missing", place.segment))),
                    }
                }
            };
            if let Err(error) = seen {
                bad.insert(id, error.to_string());
            }
        }
        bad
    }

    fn own_file(&self, file: &File, place: &Place) -> io::Result<()> {
        let len = file.metadata()?.len();
        if len != place.octets {
            return Err(io::Error::other(format!("its file has {len} of {} octets", place.octets)));
        }
        self.checksum(file, 0, place)
    }

    fn in_segment(&self, file: &File, id: u64, place: &Place) -> io::Result<()> {
        let mut head = [0; HEAD];
        let start = place.offset.checked_sub(HEAD as u64).ok_or(io::ErrorKind::InvalidData)?;
        file.read_exact_at(&mut head, start)?;
        match Head::decode(&head) {
            Some(found)
                if found.number == id && found.body_len == place.octets && Head::verify(&head, &[]) => {}
            _ => return Err(io::Error::other("its record is not where the row says")),
        }
        if file.metadata()?.len() < place.offset + place.octets {
            return Err(io::Error::other("the segment ends before it does"));
        }
        self.checksum(file, place.offset, place)
    }

    fn checksum(&self, file: &File, offset: u64, place: &Place) -> io::Result<()> {
        if !self.how.deep {
            return Ok(());
        }
        let mut buffer = vec![0; 256 << 10];
        let (mut at, mut crc) = (0, 0);
        while at < place.octets {
            let len = usize::try_from(place.octets - at).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..len).unwrap_or_default();
            file.read_exact_at(piece, offset + at)?;
            crc = crc32c::crc32c_append(crc, piece);
            at += len as u64;
        }
        if crc == place.crc {
            Ok(())
        } else {
            Err(io::Error::other("its octets do not match their checksum"))
        }
    }

    /// Messages whose body is lost go; each is named, and what is left of its octets is kept aside.
    fn lost_bodies(&mut self, bad: &BTreeMap<u64, String>) -> Result<(), Fail> {
        if bad.is_empty() {
            return Ok(());
        }
        self.conn().execute_batch(
            "CREATE TEMP TABLE IF NOT EXISTS bad (id INTEGER PRIMARY KEY, what TEXT NOT NULL); DELETE FROM bad",
        )?;
        for (id, what) in bad {
            self.conn()
                .prepare_cached("INSERT INTO bad VALUES (?1, ?2)")?
                .execute(params![*id as i64, what])?;
            let held: i64 =
                self.conn()
                    .query_row("SELECT refs FROM body WHERE id = ?1", [*id as i64], |row| row.get(0))?;
            if held == 0 {
                self.fixable(format!("body {id}, which no message has: {what}"));
            } else if self.how.repair
                && let Err(error) = self.set_aside(*id)
            {
                tracing::debug!(id, %error, "nothing of a lost body could be kept");
            }
        }
        self.remove("JOIN bad ON bad.id = message.body", "bad.what")?;
        self.unqueue("JOIN bad ON bad.id = queue.body", "bad.what")?;
        if self.how.repair {
            self.conn().execute("DELETE FROM body WHERE id IN (SELECT id FROM bad)", [])?;
        }
        Ok(())
    }

    /// Names the messages that a join or condition finds, and takes them out of their mailboxes.
    fn remove(&mut self, which: &str, what: &str) -> Result<(), Fail> {
        loop {
            let lost = self.messages(which, what)?;
            let more = lost.len() == PAGE as usize && self.how.repair;
            let mut by_mailbox: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
            for message in lost {
                let outcome = if self.how.repair { Outcome::Lost } else { Outcome::Found };
                self.report.add(outcome, message.text);
                by_mailbox.entry(message.mailbox).or_default().push(message.uid);
            }
            if self.how.repair {
                for (mailbox, uids) in by_mailbox {
                    self.expunge(mailbox, uids)?;
                }
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn expunge(&mut self, mailbox: u64, mut uids: Vec<u32>) -> Result<(), Fail> {
        uids.sort_unstable();
        for uids in uids.chunks(STEP) {
            let Some(state) = self.writer.tables.mailbox(mailbox)? else { continue };
            let modseq = self.writer.tables.account(state.account)?.map_or(1, |account| account.modseq + 1);
            let runs = runs::gapless(uids.iter().copied());
            self.writer.effects(&[Effect::Expunged { mailbox, modseq, runs }])?;
        }
        Ok(())
    }

    /// Messages that a join or condition finds, at most a page, with what is wrong with them.
    fn messages(&self, which: &str, what: &str) -> Result<Vec<Lost>, Fail> {
        let mut select = self.conn().prepare(&format!(
            "SELECT message.mailbox, message.uid, message.size, mailbox.name, mailbox.account, {what}
             FROM message LEFT JOIN mailbox ON mailbox.id = message.mailbox {which} LIMIT {PAGE}"
        ))?;
        let rows = select.query_map([], |row| {
            let (mailbox, uid, size) = (row.get::<_, i64>(0)? as u64, row.get(1)?, row.get::<_, i64>(2)?);
            let (name, account) = (row.get::<_, Option<String>>(3)?, row.get::<_, Option<i64>>(4)?);
            let (name, account) = (name.unwrap_or_default(), account.unwrap_or_default());
            let what: String = row.get(5)?;
            let text = format!(
                "message {uid} of {size} octets in {name} (mailbox {mailbox}, account {account}): {what}"
            );
            Ok(Lost { mailbox, uid, text })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Copies what can be read of a body to the lost things.
    fn set_aside(&self, id: u64) -> io::Result<()> {
        let shared = &self.writer.shared;
        let place = self
            .conn()
            .query_row(
                "SELECT segment, place, octets, crc, file FROM body WHERE id = ?1",
                [id as i64],
                place_row,
            )
            .map_err(io::Error::other)?;
        let (file, offset) = shared.file(&place)?;
        let lost = shared.options.dir.join("lost");
        super::disk::create_dir(&lost)?;
        let out = File::create(lost.join(format!("body-{id}.eml")))?;
        let mut at = 0;
        let mut buffer = vec![0; 64 << 10];
        while at < place.octets {
            let len = usize::try_from(place.octets - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read_at(buffer.get_mut(..len).unwrap_or_default(), offset + at)?;
            if read == 0 {
                break;
            }
            out.write_all_at(buffer.get(..read).unwrap_or_default(), at)?;
            at += read as u64;
        }
        out.sync_all()
    }

    /// Prefixes and cards that messages name are there, and no others.
    fn sides(&mut self) -> Result<(), Fail> {
        let missing = "side IS NOT NULL AND side NOT IN (SELECT id FROM side)";
        loop {
            let lost =
                self.messages(&format!("WHERE message.{missing}"), "'what stands before its body is lost'")?;
            let more = lost.len() == PAGE as usize && self.how.repair;
            for message in lost {
                let outcome = if self.how.repair { Outcome::Lost } else { Outcome::Found };
                self.report.add(outcome, message.text);
                if self.how.repair {
                    self.conn()
                        .prepare_cached(
                            "UPDATE message SET side = NULL, size = (SELECT octets FROM body WHERE id = message.body)
                             WHERE mailbox = ?1 AND uid = ?2",
                        )?
                        .execute(params![message.mailbox as i64, message.uid])?;
                }
            }
            if !more {
                break;
            }
        }
        self.queued_sides()?;
        let unused =
            concat!("FROM side WHERE id NOT IN (SELECT side FROM ", holders!(), " WHERE side IS NOT NULL)");
        let count: i64 = self.conn().query_row(&format!("SELECT count(*) {unused}"), [], |row| row.get(0))?;
        if count > 0 && self.fixable(format!("{count} prefixes or cards that no message has")) {
            self.conn().execute(&format!("DELETE {unused}"), [])?;
        }
        Ok(())
    }

    /// Counters say what rows say.
    fn counters(&mut self) -> Result<(), Fail> {
        let now = (self.writer.shared.options.clock)() as i64;
        for (what, rows, repair) in COUNTERS.iter().chain(super::queue::check::COUNTERS) {
            let count: i64 =
                self.conn().query_row(&format!("SELECT count(*) {rows}"), [], |row| row.get(0))?;
            if count > 0 && self.fixable(format!("{count} {what}")) {
                self.conn().execute(&repair.replace(":now", &now.to_string()), [])?;
            }
        }
        Ok(())
    }
}

/// The flags of a message that mean something.
macro_rules! known {
    () => {
        "(31 | coalesce((SELECT sum(1 << bit) FROM keyword WHERE keyword.mailbox = message.mailbox), 0))"
    };
}

/// How many have a body: messages that share prefix and card are one.
macro_rules! held {
    () => {
        concat!(
            "(SELECT body, count(DISTINCT side) + sum(side IS NULL) AS held FROM ",
            holders!(),
            " GROUP BY body)"
        )
    };
}

/// What a mailbox's counters must be.
macro_rules! counted {
    () => {
        "(SELECT mailbox AS this, count(*) AS held, sum(size) AS sum, sum(flags & 1 = 0) AS fresh,
                 sum(flags & 8 <> 0) AS doomed, sum(CASE WHEN flags & 8 THEN size ELSE 0 END) AS doomed_sum,
                 max(uid) AS last, max(modseq) AS latest FROM message GROUP BY mailbox)"
    };
}

/// What is wrong, the rows where it is, what puts it right.
const COUNTERS: &[(&str, &str, &str)] = &[
    (
        "bodies whose number of messages is wrong",
        concat!(
            "FROM body LEFT JOIN ",
            held!(),
            " ON body = id WHERE refs <> coalesce(held, 0) OR (refs = 0) <> (zero_since IS NOT NULL)"
        ),
        concat!(
            "UPDATE body SET refs = coalesce(held, 0),
         zero_since = CASE WHEN coalesce(held, 0) = 0 THEN coalesce(zero_since, :now) ELSE NULL END
         FROM (SELECT id AS this, held FROM body LEFT JOIN ",
            held!(),
            " ON body = id) WHERE id = this AND (refs <> coalesce(held, 0) OR (refs = 0) <> (zero_since IS NOT NULL))"
        ),
    ),
    (
        "prefixes and cards whose number of messages is wrong",
        concat!(
            "FROM side LEFT JOIN side_shared USING (id)
                  LEFT JOIN (SELECT side AS this, count(*) AS held FROM ",
            holders!(),
            " GROUP BY side) ON this = id WHERE coalesce(extra, 0) <> held - 1"
        ),
        concat!(
            "WITH held (id, extra) AS (SELECT side, count(*) - 1 FROM ",
            holders!(),
            " WHERE side IS NOT NULL GROUP BY side HAVING count(*) > 1)
         INSERT OR REPLACE INTO side_shared
         SELECT id, coalesce((SELECT extra FROM held WHERE held.id = side.id), 0) FROM side
         WHERE id IN (SELECT id FROM side_shared UNION SELECT id FROM held)"
        ),
    ),
    (
        "counts of prefixes and cards that count nothing",
        "FROM side_shared WHERE extra < 1 OR id NOT IN (SELECT id FROM side)",
        "DELETE FROM side_shared WHERE extra < 1 OR id NOT IN (SELECT id FROM side)",
    ),
    (
        "keywords of no mailbox",
        "FROM keyword WHERE mailbox NOT IN (SELECT id FROM mailbox)",
        "DELETE FROM keyword WHERE mailbox NOT IN (SELECT id FROM mailbox)",
    ),
    (
        "messages with keywords that have no name",
        concat!("FROM message WHERE (flags > 31 OR flags < 0) AND flags & ~", known!(), " <> 0"),
        concat!("UPDATE message SET flags = flags & ", known!(), " WHERE flags & ~", known!(), " <> 0"),
    ),
    (
        "mailboxes whose counters are wrong",
        concat!(
            "FROM mailbox LEFT JOIN ",
            counted!(),
            " ON this = id
         WHERE messages <> coalesce(held, 0) OR octets <> coalesce(sum, 0) OR uid_next <= coalesce(last, 0)
            OR unseen <> coalesce(fresh, 0) OR deleted <> coalesce(doomed, 0)
            OR deleted_octets <> coalesce(doomed_sum, 0) OR modseq < coalesce(latest, 0)
            OR uid_next <= (SELECT coalesce(max(vanished.last), 0) FROM vanished WHERE mailbox = id)"
        ),
        concat!(
            "UPDATE mailbox SET messages = coalesce(held, 0), octets = coalesce(sum, 0),
                            unseen = coalesce(fresh, 0), deleted = coalesce(doomed, 0),
                            deleted_octets = coalesce(doomed_sum, 0),
                            modseq = max(modseq, coalesce(latest, 0)), uid_next = max(uid_next, coalesce(last, 0) + 1,
                                (SELECT coalesce(max(vanished.last), 0) + 1 FROM vanished WHERE mailbox = mailbox.id))
         FROM (SELECT id AS which, held, sum, fresh, doomed, doomed_sum, last, latest FROM mailbox LEFT JOIN ",
            counted!(),
            " ON this = id) WHERE id = which"
        ),
    ),
    (
        "accounts whose counters are wrong",
        "FROM account LEFT JOIN (SELECT account AS this, sum(messages) AS held, sum(octets) AS sum,
                                        max(modseq) AS latest FROM mailbox GROUP BY account) ON this = id
         WHERE account.messages <> coalesce(held, 0) OR account.octets <> coalesce(sum, 0)
            OR account.modseq < coalesce(latest, 0)",
        "UPDATE account SET messages = coalesce(held, 0), octets = coalesce(sum, 0),
                            modseq = max(modseq, coalesce(latest, 0))
         FROM (SELECT id AS which, held, sum, latest FROM account
               LEFT JOIN (SELECT account AS this, sum(messages) AS held, sum(octets) AS sum,
                                 max(modseq) AS latest FROM mailbox GROUP BY account) ON this = id)
         WHERE id = which",
    ),
];
