//! Moving out: all of a mailbox, message by message.

use packetboat_store::{Flags, MailboxId, MessageReader, MessageRow, Uid};

use super::rights::{Verb, rights};
use super::{Mailboxes, Refusal, SpecialUse};

/// Messages listed at a time.
const PAGE: usize = 500;

/// A mailbox that can be taken along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portable {
    /// Which.
    pub id: MailboxId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub special_uses: Vec<SpecialUse>,
    /// Its UIDVALIDITY.
    pub uid_validity: u32,
    /// Its UIDNEXT.
    pub uid_next: u32,
    /// How many messages are in it.
    pub messages: u32,
    /// Whether its owner is subscribed to it.
    pub subscribed: bool,
}

/// A message that can be taken along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Its UID.
    pub uid: u32,
    /// System flags.
    pub flags: Flags,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Internal date, microseconds since 1970.
    pub received_at: i64,
    /// How large it is.
    pub octets: u64,
    row: MessageRow,
}

impl Mailboxes {
    /// All mailboxes, by name.
    pub async fn portable(&self) -> Result<Vec<Portable>, Refusal> {
        rights(self.who, self.owner, Verb::Read)?;
        let (subscriptions, _) = self.subscriptions()?;
        let rows = self.store().mailboxes(self.owner).await?;
        let portable = rows.into_iter().map(|row| Portable {
            id: row.id,
            special_uses: row
                .special_use
                .as_deref()
                .map(|text| SpecialUse::parse_all(text).collect())
                .unwrap_or_default(),
            uid_validity: row.uid_validity.0,
            uid_next: row.uid_next.0,
            messages: row.messages,
            subscribed: subscriptions.contains(&row.name),
            name: row.name,
        });
        Ok(portable.collect())
    }

    /// The next messages of a mailbox, behind this UID; none at the end.
    pub async fn outgoing(&self, mailbox: MailboxId, after: u32) -> Result<Vec<Outgoing>, Refusal> {
        let row = self.store().mailbox(mailbox).await?.ok_or(Refusal::MailboxGone)?;
        rights(self.who, row.account, Verb::Read)?;
        let rows = self.store().messages(mailbox, Some(Uid(after)), PAGE).await?;
        let names = self.store().keywords(mailbox)?;
        let outgoing = rows.into_iter().map(|row| Outgoing {
            uid: row.uid.0,
            flags: Flags(row.flags.0 & Flags::SYSTEM.0),
            keywords: names
                .iter()
                .filter(|(bit, _)| row.flags.0 >> bit & 1 == 1)
                .map(|(_, name)| name.clone())
                .collect(),
            received_at: row.received_at,
            octets: row.size,
            row,
        });
        Ok(outgoing.collect())
    }

    /// Opens one of them.
    pub async fn take_out(&self, outgoing: &Outgoing) -> Result<MessageReader, Refusal> {
        Ok(self.store().open_message(&outgoing.row).await?)
    }
}
