//! CREATE, DELETE, RENAME, subscriptions and STATUS.

use packetboat_store::{MailboxId, MailboxRow, Op, OpResult, Require, Tx, TxError, Uid};

use super::listing::Names;
use super::refusal::failed;
use super::rights::{Verb, rights};
use super::{Mailboxes, Name, Refusal, SpecialUse};

/// Mailboxes of an account.
pub const MAILBOXES_MAX: usize = 10_000;
/// Names an account is subscribed to.
pub const SUBSCRIPTIONS_MAX: usize = 10_000;
/// Octets of all names an account is subscribed to.
const SUBSCRIPTIONS_OCTETS_MAX: usize = 1_000_000;
/// A change of subscriptions is tried so often against others at the same moment.
const TRIES: usize = 20;

/// What STATUS tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The mailbox with its counters.
    pub row: MailboxRow,
    /// How many messages no session has been told of.
    pub recent: u32,
}

impl Mailboxes {
    pub(super) fn tx(require: Vec<Require>, ops: Vec<Op>) -> Tx {
        Tx { id: None, require, ops }
    }

    /// The mailbox of this name, if there is one that whoever asks may know of.
    pub(super) async fn row(&self, name: &Name) -> Result<MailboxRow, Refusal> {
        rights(self.who, self.owner, Verb::Look)?;
        self.store().mailbox_named(self.owner, name.as_str()).await?.ok_or(Refusal::NoSuchMailbox)
    }

    /// All names, to be listed.
    pub async fn names(&self) -> Result<Names, Refusal> {
        rights(self.who, self.owner, Verb::Look)?;
        let rows = self.store().mailboxes(self.owner).await?;
        let (subscriptions, _) = self.subscriptions()?;
        Ok(Names::new(rows, &subscriptions))
    }

    /// Counters of a mailbox, without looking through it.
    pub async fn status(&self, name: &Name) -> Result<Status, Refusal> {
        let row = self.row(name).await?;
        self.status_of(row).await
    }

    /// The same of one that was listed.
    pub async fn status_of(&self, row: MailboxRow) -> Result<Status, Refusal> {
        /// Only so many UIDs back is looked for recent messages.
        const RECENT_MAX: u32 = 1000;
        rights(self.who, row.account, Verb::Read)?;
        let views = &self.office.shared.views;
        let next = row.uid_next.0;
        let known = views.watermark(row.id);
        let first = known.unwrap_or(1).max(next.saturating_sub(RECENT_MAX));
        let mut recent = 0;
        if row.messages > 0 && first < next {
            let after = Some(Uid(first.saturating_sub(1)));
            let rows = self.store().messages(row.id, after, RECENT_MAX as usize).await?;
            let fresh = |saved_at: i64| saved_at.div_euclid(1_000_000) >= i64::from(views.began());
            recent = rows.iter().filter(|row| known.is_some() || fresh(row.saved_at)).count() as u32;
        }
        Ok(Status { row, recent })
    }

    /// Makes a mailbox and the names above it.
    pub async fn create(&self, name: &Name, uses: &[SpecialUse]) -> Result<MailboxId, Refusal> {
        rights(self.who, self.owner, Verb::Create)?;
        if name.is_inbox() {
            return Err(Refusal::AlreadyExists);
        }
        let _one = self.reshape().await;
        let rows = self.store().mailboxes(self.owner).await?;
        let has = |name: &str| rows.iter().any(|row| row.name == name);
        if has(name.as_str()) {
            return Err(Refusal::AlreadyExists);
        }
        if uses.iter().any(|special| {
            let texts = rows.iter().filter_map(|row| row.special_use.as_deref());
            texts.flat_map(SpecialUse::parse_all).any(|taken| taken == *special)
        }) {
            return Err(Refusal::SpecialUse("another mailbox has this special use"));
        }
        let create = |name: &str, special_use| Op::CreateMailbox {
            account: self.owner,
            name: name.to_owned(),
            special_use,
            uid_validity: None,
        };
        // RFC 9051 section 6.3.4: "the server SHOULD create any superior hierarchical names that are needed".
        let mut ops: Vec<Op> =
            name.superiors().filter(|name| !has(name)).map(|name| create(name, None)).collect();
        ops.push(create(name.as_str(), SpecialUse::text(uses)));
        if rows.len() + ops.len() > MAILBOXES_MAX {
            return Err(Refusal::Limit("mailboxes in this account"));
        }
        let receipt = self.store().commit(Self::tx(Vec::new(), ops), Vec::new()).await.map_err(failed)?;
        match receipt.results.last() {
            Some(OpResult::Mailbox(id, _)) => Ok(*id),
            _ => Err(Refusal::Temporary),
        }
    }

    /// Removes a mailbox and its messages. What is below it stays, as RFC 9051 section 6.3.5 lets it, and its name is
    /// `\NonExistent` then; deleting it once more is refused as long as there is something below.
    pub async fn delete(&self, name: &Name) -> Result<(), Refusal> {
        rights(self.who, self.owner, Verb::Look)?;
        if name.is_inbox() {
            return Err(Refusal::Cannot("the inbox cannot be deleted"));
        }
        let _one = self.reshape().await;
        let Some(row) = self.store().mailbox_named(self.owner, name.as_str()).await? else {
            let rows = self.store().mailboxes(self.owner).await?;
            let below = |row: &MailboxRow| {
                row.name.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(super::SEPARATOR))
            };
            return Err(match rows.iter().any(below) {
                true => Refusal::HasChildren,
                false => Refusal::NoSuchMailbox,
            });
        };
        rights(self.who, row.account, Verb::Remove)?;
        self.store()
            .commit(Self::tx(Vec::new(), vec![Op::RemoveMailbox(row.id)]), Vec::new())
            .await
            .map_err(|error| {
                if matches!(error, TxError::Gone(_)) { Refusal::NoSuchMailbox } else { failed(error) }
            })?;
        Ok(())
    }

    /// Gives a mailbox and all below it another name. The inbox stays and is emptied into the new mailbox (RFC 9051
    /// section 6.3.6).
    pub async fn rename(&self, from: &Name, to: &Name) -> Result<(), Refusal> {
        rights(self.who, self.owner, Verb::Remove)?;
        rights(self.who, self.owner, Verb::Create)?;
        if to.is_inbox() || from == to {
            return Err(Refusal::AlreadyExists);
        }
        let _one = self.reshape().await;
        let rows = self.store().mailboxes(self.owner).await?;
        let has = |name: &str| rows.iter().any(|row| row.name == name);
        if has(to.as_str()) {
            return Err(Refusal::AlreadyExists);
        }
        let create = |name: &str| Op::CreateMailbox {
            account: self.owner,
            name: name.to_owned(),
            special_use: None,
            uid_validity: None,
        };
        let moved: Vec<(&MailboxRow, Name)> = if from.is_inbox() {
            Vec::new()
        } else {
            if to.moved(from, to).is_some() {
                return Err(Refusal::Cannot("a mailbox cannot be moved below itself"));
            }
            let mut moved = Vec::new();
            for row in &rows {
                // A row's name is in form.
                if let Some(new) = Name::new(&row.name).ok().and_then(|name| name.moved(from, to)) {
                    moved.push((row, new?));
                }
            }
            if moved.is_empty() {
                return Err(Refusal::NoSuchMailbox);
            }
            if moved.iter().any(|(_, new)| has(new.as_str())) {
                return Err(Refusal::AlreadyExists);
            }
            moved
        };
        let mut ops: Vec<Op> = to.superiors().filter(|name| !has(name)).map(create).collect();
        if rows.len() + ops.len() + usize::from(from.is_inbox()) > MAILBOXES_MAX {
            return Err(Refusal::Limit("mailboxes in this account"));
        }
        if from.is_inbox() {
            ops.push(create(to.as_str()));
            return self.empty_inbox(ops).await;
        }
        ops.extend(
            moved.iter().map(|(row, new)| Op::RenameMailbox { mailbox: row.id, name: new.to_string() }),
        );
        self.store().commit(Self::tx(Vec::new(), ops), Vec::new()).await.map_err(failed)?;
        Ok(())
    }

    /// Makes a mailbox and moves everything that is in the inbox there, in one step.
    async fn empty_inbox(&self, mut ops: Vec<Op>) -> Result<(), Refusal> {
        /// Messages in one operation.
        const STEP: usize = 100_000;
        let inbox = self.row(&Name::inbox()).await?;
        let mut after = None;
        loop {
            let rows = self.store().messages(inbox.id, after, STEP).await?;
            let uids: Vec<Uid> = rows.iter().map(|row| row.uid).collect();
            after = uids.last().copied();
            if uids.is_empty() {
                break;
            }
            ops.push(Op::Copy { from: inbox.id, uids: uids.clone(), to: MailboxId::MADE });
            ops.push(Op::Expunge { mailbox: inbox.id, uids });
        }
        self.store().commit(Self::tx(Vec::new(), ops), Vec::new()).await.map_err(failed)?;
        Ok(())
    }

    /// Says what a mailbox is for.
    pub async fn set_special_uses(&self, name: &Name, uses: &[SpecialUse]) -> Result<(), Refusal> {
        rights(self.who, self.owner, Verb::Create)?;
        let row = self.row(name).await?;
        let ops = vec![Op::SetSpecialUse { mailbox: row.id, special_use: SpecialUse::text(uses) }];
        self.store().commit(Self::tx(Vec::new(), ops), Vec::new()).await.map_err(failed)?;
        Ok(())
    }

    /// Subscribes to a name, whether there is such a mailbox or not (RFC 9051 section 6.3.7), or not to it any more.
    pub async fn subscribe(&self, name: &Name, subscribed: bool) -> Result<(), Refusal> {
        for _ in 0..TRIES {
            let (mut names, version) = self.subscriptions()?;
            let place = names.iter().position(|other| other == name.as_str());
            match (place, subscribed) {
                (None, true) => names.push(name.to_string()),
                (Some(place), false) => {
                    names.remove(place);
                }
                _ => return Ok(()),
            }
            let value = names.join("\n");
            if names.len() > SUBSCRIPTIONS_MAX || value.len() > SUBSCRIPTIONS_OCTETS_MAX {
                return Err(Refusal::Limit("subscriptions"));
            }
            let key = self.subscriptions_key();
            let require = vec![Require::KeyVersion { key: key.clone(), version }];
            let ops = vec![Op::Put { key, value: value.into_bytes() }];
            match self.store().commit(Self::tx(require, ops), Vec::new()).await {
                Err(TxError::Failed(_)) => {}
                Err(error) => return Err(failed(error)),
                Ok(_) => return Ok(()),
            }
        }
        Err(Refusal::Temporary)
    }

    fn subscriptions_key(&self) -> String {
        format!("{}mailbox/subscriptions", packetboat_account::account_data(self.owner))
    }

    /// The names subscribed to, and the version of the list. As long as nobody changed it, the first mailboxes are.
    pub(super) fn subscriptions(&self) -> Result<(Vec<String>, Option<u64>), Refusal> {
        Ok(match self.store().get(&self.subscriptions_key())? {
            None => (packetboat_account::FIRST_MAILBOXES.map(str::to_owned).to_vec(), None),
            Some(entry) => {
                let text = String::from_utf8_lossy(&entry.value);
                (text.lines().map(str::to_owned).collect(), Some(entry.version))
            }
        })
    }

    /// Gives an account that was made before there were special uses what new ones have from birth: the first mailboxes
    /// that are missing, and what they are for. Once; what the owner removes later stays removed.
    pub(super) async fn complete(&self) -> Result<(), Refusal> {
        let key = format!("{}mailbox/complete", packetboat_account::account_data(self.owner));
        if self.store().get(&key)?.is_some() {
            return Ok(());
        }
        let _one = self.reshape().await;
        let rows = self.store().mailboxes(self.owner).await?;
        let taken = |special: SpecialUse| {
            let texts = rows.iter().filter_map(|row| row.special_use.as_deref());
            texts.flat_map(SpecialUse::parse_all).any(|other| other == special)
        };
        let mut ops = Vec::new();
        for name in packetboat_account::FIRST_MAILBOXES {
            let special_use = SpecialUse::of_first(name)
                .filter(|special| !taken(*special))
                .and_then(|special| SpecialUse::text(&[special]));
            match rows.iter().find(|row| row.name == name) {
                Some(row) if row.special_use.is_none() && special_use.is_some() => {
                    ops.push(Op::SetSpecialUse { mailbox: row.id, special_use });
                }
                Some(_) => {}
                None => ops.push(Op::CreateMailbox {
                    account: self.owner,
                    name: name.to_owned(),
                    special_use,
                    uid_validity: None,
                }),
            }
        }
        ops.push(Op::Put { key, value: b"1".to_vec() });
        match self.store().commit(Self::tx(vec![Require::Account(self.owner)], ops), Vec::new()).await {
            Ok(_) => Ok(()),
            Err(TxError::Failed(_)) => Err(Refusal::NoSuchMailbox),
            Err(error) => Err(failed(error)),
        }
    }
}
