//! Carries effects out on the tables. The live path and the replay of the log both come through [`Tables::apply`], so
//! a database made again from the log has the same rows.

use rusqlite::{OptionalExtension, params};

use super::bulk::Count;
use super::effect::{Added, Effect, Side, encode_receipt};
use super::readers;
use super::tables::{Account, BodyChange, Mailbox, Place, Sql, Tables};
use crate::MailboxId;

impl Tables {
    /// A body is in the log from here on; its row is made when the part ends.
    pub(crate) fn add_body(&mut self, id: u64, place: Place) {
        self.bodies.insert(id, BodyChange { refs: 0, new: Some(place) });
    }

    /// A body lies somewhere else now.
    pub(crate) fn relocate(&mut self, id: u64, place: &Place) -> Sql<()> {
        self.conn.prepare_cached("UPDATE body SET segment = ?2, place = ?3 WHERE id = ?1")?.execute([
            id as i64,
            place.segment as i64,
            place.offset as i64,
        ])?;
        Ok(())
    }

    pub(super) fn refer(&mut self, body: u64, by: i64) {
        self.bodies.entry(body).or_default().refs += by;
    }

    /// Carries out one effect. What it names is there when it comes from the live path; from a damaged log it may not
    /// be, and then the effect does what still makes sense.
    pub(crate) fn apply(&mut self, effect: &Effect, number: u64) -> Sql<()> {
        match effect {
            Effect::Put { key, version, value } => {
                self.conn
                    .prepare_cached(
                        "INSERT INTO kv (key, version, value) VALUES (?1, ?2, ?3)
                         ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value",
                    )?
                    .execute(params![key, *version as i64, value])?;
                self.keys.push(key.clone());
            }
            Effect::Remove { key } => {
                self.conn.prepare_cached("DELETE FROM kv WHERE key = ?1")?.execute([key])?;
                self.keys.push(key.clone());
            }
            Effect::AccountMade { account } => {
                self.conn
                    .prepare_cached("INSERT INTO account VALUES (?1, 0, 0, 0) ON CONFLICT (id) DO NOTHING")?
                    .execute([*account as i64])?;
            }
            Effect::AccountRemoved { account } => self.remove_account(*account)?,
            Effect::MailboxMade(made) => {
                self.conn
                    .prepare_cached("INSERT INTO mailbox VALUES (?1, ?2, ?3, ?4, 1, ?5, 0, 0, 0, 0, 0, ?6)")?
                    .execute(params![
                        made.mailbox as i64,
                        made.account as i64,
                        made.name,
                        made.uid_validity,
                        made.modseq as i64,
                        made.special_use
                    ])?;
                self.position.next_mailbox = self.position.next_mailbox.max(made.mailbox + 1);
                self.position.uid_validity = self.position.uid_validity.max(made.uid_validity);
                self.bump_account(made.account, made.modseq, |_| ())?;
            }
            Effect::MailboxRenamed { mailbox, name, uid_validity, modseq } => {
                self.conn
                    .prepare_cached("UPDATE mailbox SET name = ?2 WHERE id = ?1")?
                    .execute(params![*mailbox as i64, name])?;
                self.position.uid_validity = self.position.uid_validity.max(*uid_validity);
                self.bump_mailbox(*mailbox, *modseq, |state| state.uid_validity = *uid_validity)?;
            }
            Effect::MailboxRemoved { mailbox, modseq } => self.remove_mailbox(*mailbox, *modseq)?,
            Effect::Purpose { mailbox, modseq, special_use } => {
                self.conn
                    .prepare_cached("UPDATE mailbox SET special_use = ?2 WHERE id = ?1")?
                    .execute(params![*mailbox as i64, special_use])?;
                self.bump_mailbox(*mailbox, *modseq, |_| ())?;
            }
            Effect::UidNext { mailbox, modseq, uid_next } => {
                self.bump_mailbox(*mailbox, *modseq, |state| state.uid_next = state.uid_next.max(*uid_next))?;
            }
            Effect::KeywordMade { mailbox, bit, name } => {
                self.conn
                    .prepare_cached("INSERT INTO keyword VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
                    .execute(params![*mailbox as i64, bit, name])?;
                let names = readers::keywords(&self.conn, MailboxId(*mailbox))?;
                self.set_keywords(*mailbox, names.into());
            }
            Effect::Added(added) => self.add(added)?,
            Effect::Copied(copied) => self.copy(copied)?,
            Effect::Flagged(flagged) => self.flag(flagged)?,
            Effect::Expunged { mailbox, modseq, runs } => self.expunge(*mailbox, *modseq, runs)?,
            Effect::Queue(effect) => self.apply_queue(effect)?,
            Effect::Receipt { id, receipt } => {
                let mut results = Vec::new();
                encode_receipt(receipt, &mut results);
                self.conn
                    .prepare_cached(
                        "INSERT INTO receipt (id, at, results) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
                    )?
                    .execute(params![id.to_be_bytes(), number as i64, results])?;
            }
        }
        Ok(())
    }

    pub(super) fn bump_account(
        &mut self,
        account: u64,
        modseq: u64,
        change: impl FnOnce(&mut Account),
    ) -> Sql<()> {
        if let Some(mut state) = self.account(account)? {
            state.modseq = state.modseq.max(modseq);
            change(&mut state);
            self.set_account(account, state);
        }
        Ok(())
    }

    /// Raises a mailbox's and its account's modification sequence; tells which account that is.
    pub(super) fn bump_mailbox(
        &mut self,
        mailbox: u64,
        modseq: u64,
        change: impl FnOnce(&mut Mailbox),
    ) -> Sql<Option<u64>> {
        let Some(mut state) = self.mailbox(mailbox)? else { return Ok(None) };
        state.modseq = state.modseq.max(modseq);
        change(&mut state);
        self.set_mailbox(mailbox, state);
        self.bump_account(state.account, modseq, |_| ())?;
        Ok(Some(state.account))
    }

    /// Makes the row of a message's prefix and card, if it has any.
    pub(super) fn new_side(&mut self, side: &Side) -> Sql<Option<u64>> {
        let Side::New { side, prefix, card } = side else { return Ok(None) };
        self.conn.prepare_cached("INSERT INTO side VALUES (?1, ?2, ?3)")?.execute(params![
            *side as i64,
            &prefix[..],
            &card[..]
        ])?;
        self.position.next_side = self.position.next_side.max(side + 1);
        Ok(Some(*side))
    }

    fn add(&mut self, added: &Added) -> Sql<()> {
        let side = self.new_side(&added.side)?;
        self.conn
            .prepare_cached("INSERT INTO message VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?
            .execute(params![
                added.mailbox as i64,
                added.uid,
                added.modseq as i64,
                added.flags as i64,
                added.size as i64,
                added.received_at,
                added.saved_at,
                side.map(|side| side as i64),
                added.body as i64
            ])?;
        self.refer(added.body, 1);
        self.journal.note(added.mailbox, added.modseq, &[(added.uid, added.uid)]);
        let mut count = Count::default();
        count.one(added.flags, added.size);
        self.came(added.mailbox, added.modseq, added.uid.saturating_add(1), count)
    }

    /// Keeps the youngest ranges of a mailbox's expunged UIDs. A row with UID 0 says up to where nothing is known.
    pub(crate) fn forget_vanished(&mut self, mailbox: i64, keep: i64) -> Sql<()> {
        let horizon: Option<i64> = self
            .conn
            .prepare_cached(
                "SELECT modseq FROM vanished WHERE mailbox = ?1 ORDER BY modseq DESC LIMIT 1 OFFSET ?2",
            )?
            .query_row([mailbox, keep], |row| row.get(0))
            .optional()?;
        if let Some(horizon) = horizon {
            self.conn
                .prepare_cached("DELETE FROM vanished WHERE mailbox = ?1 AND modseq <= ?2")?
                .execute([mailbox, horizon])?;
            self.conn
                .prepare_cached("INSERT INTO vanished VALUES (?1, ?2, 0, 0)")?
                .execute([mailbox, horizon])?;
        }
        Ok(())
    }

    /// Of an account's changes up to `modseq` nothing is known. Mailbox 0 says so.
    pub(crate) fn forget_changes(&mut self, account: u64, modseq: u64) -> Sql<()> {
        self.conn
            .prepare_cached("DELETE FROM mailbox_gone WHERE account = ?1 AND modseq <= ?2")?
            .execute([account as i64, modseq as i64])?;
        self.conn
            .prepare_cached("INSERT INTO mailbox_gone VALUES (?1, ?2, 0)")?
            .execute([account as i64, modseq as i64])?;
        Ok(())
    }

    fn remove_mailbox(&mut self, mailbox: u64, modseq: u64) -> Sql<()> {
        let Some(state) = self.mailbox(mailbox)? else { return Ok(()) };
        let gone: Vec<(Option<i64>, i64)> = {
            let mut delete =
                self.conn.prepare_cached("DELETE FROM message WHERE mailbox = ?1 RETURNING side, body")?;
            delete.query_map([mailbox as i64], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Sql<_>>()?
        };
        for (side, body) in gone {
            self.leave(side, body as u64);
        }
        self.journal.forget(mailbox);
        self.renamed.push(mailbox);
        self.conn.prepare_cached("DELETE FROM keyword WHERE mailbox = ?1")?.execute([mailbox as i64])?;
        self.conn.prepare_cached("DELETE FROM vanished WHERE mailbox = ?1")?.execute([mailbox as i64])?;
        self.conn.prepare_cached("DELETE FROM packed WHERE mailbox = ?1")?.execute([mailbox as i64])?;
        self.conn.prepare_cached("DELETE FROM mailbox WHERE id = ?1")?.execute([mailbox as i64])?;
        self.conn
            .prepare_cached("INSERT INTO mailbox_gone VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute(params![state.account as i64, modseq as i64, mailbox as i64])?;
        self.forget_mailbox(mailbox);
        self.bump_account(state.account, modseq, |account| {
            account.messages = account.messages.saturating_sub(state.messages);
            account.octets = account.octets.saturating_sub(state.octets);
        })
    }

    fn remove_account(&mut self, account: u64) -> Sql<()> {
        let mailboxes: Vec<i64> = self
            .conn
            .prepare_cached("SELECT id FROM mailbox WHERE account = ?1")?
            .query_map([account as i64], |row| row.get(0))?
            .collect::<Sql<_>>()?;
        for mailbox in mailboxes {
            self.remove_mailbox(mailbox as u64, u64::MAX >> 1)?;
        }
        self.conn.prepare_cached("DELETE FROM mailbox_gone WHERE account = ?1")?.execute([account as i64])?;
        self.conn.prepare_cached("DELETE FROM account WHERE id = ?1")?.execute([account as i64])?;
        self.forget_account(account);
        // Who watches it looks, and finds it gone.
        self.touched.push((account, u64::MAX >> 1));
        Ok(())
    }
}
