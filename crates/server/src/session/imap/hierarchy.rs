//! LIST and what changes the hierarchy, STATUS, quotas.

use packetboat_imap::command::List;
use packetboat_imap::response::{Code, Completion, Listed as Said, Response, StatusItem, StatusValue};
use packetboat_imap::server::{Extension, Server};
use packetboat_imap::value::MailboxName;
use packetboat_mail::mailbox::{ListQuery, Listed, Name, Names, Refusal, SpecialUse, Status};
use packetboat_store::MailboxId;

use super::convert::{name, refused};
use super::{Imap, Refused};

/// The one quota root an account has.
const ROOT: &str = "";

impl Imap {
    pub(super) async fn create(&mut self, mailbox: &MailboxName, uses: &[String]) -> Refused<Completion> {
        let name = name(mailbox)?;
        let uses: Option<Vec<SpecialUse>> = uses.iter().map(|text| SpecialUse::parse(text)).collect();
        let unknown = Refusal::SpecialUse("no mailbox can have this special use here");
        let uses = uses.ok_or_else(|| refused(&unknown))?;
        let id = self.mailboxes().await?.create(&name, &uses).await.map_err(|e| refused(&e))?;
        Ok(Completion::ok("Created").with(Code::MailboxId(mailbox_id(id))))
    }

    pub(super) async fn delete(&mut self, mailbox: &MailboxName) -> Refused<Completion> {
        let name = name(mailbox)?;
        self.mailboxes().await?.delete(&name).await.map_err(|e| refused(&e))?;
        Ok(Completion::ok("Deleted"))
    }

    pub(super) async fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> Refused<Completion> {
        let (from, to) = (name(from)?, name(to)?);
        self.mailboxes().await?.rename(&from, &to).await.map_err(|e| refused(&e))?;
        Ok(Completion::ok("Renamed"))
    }

    pub(super) async fn subscribe(&mut self, mailbox: &MailboxName, subscribed: bool) -> Refused<Completion> {
        let name = name(mailbox)?;
        self.mailboxes().await?.subscribe(&name, subscribed).await.map_err(|e| refused(&e))?;
        Ok(Completion::ok(if subscribed { "Subscribed" } else { "Unsubscribed" }))
    }

    pub(super) async fn list(&mut self, session: &mut Server, list: List) -> Refused<Completion> {
        let done = Completion::ok("Listed");
        if list.patterns.iter().all(String::is_empty) {
            session.say(&Response::Separator { lsub: list.lsub });
            return Ok(done);
        }
        let limit = self.append_limit;
        let mailboxes = self.mailboxes().await?;
        let names = mailboxes.names().await.map_err(|e| refused(&e))?;
        let query = ListQuery {
            reference: list.reference,
            patterns: list.patterns,
            subscribed: list.select.subscribed || list.lsub,
            special_use: list.select.special_use,
            recursive: list.select.recursive_match || list.lsub,
        };
        let rev2 = session.rev2();
        for listed in names.list(&query) {
            let Ok(mailbox) = MailboxName::new(&listed.name) else { continue };
            if list.lsub {
                let attributes = if listed.parent_only { vec!["\\Noselect"] } else { Vec::new() };
                session.say(&Response::Lsub(Said {
                    mailbox,
                    attributes,
                    child_info: Vec::new(),
                    old_name: None,
                }));
                continue;
            }
            let subscribed = list.returns.subscribed || list.select.subscribed;
            let mut about = said(&listed, mailbox.clone(), subscribed, rev2);
            if !session.offers(Extension::SpecialUse) {
                let uses: Vec<&str> = listed.special_uses().map(SpecialUse::as_str).collect();
                about.attributes.retain(|attribute| !uses.contains(attribute));
            }
            session.say(&Response::List(about));
            if let Some(row) = listed.mailbox.filter(|_| !list.returns.status.is_empty()) {
                // RFC 5819 section 2: a STATUS that cannot be had is left out.
                if let Ok(status) = mailboxes.status_of(row).await {
                    let items = values(&status, &list.returns.status, limit);
                    session.say(&Response::Status(mailbox, items));
                }
            }
        }
        Ok(done)
    }

    pub(super) async fn status(
        &mut self,
        session: &mut Server,
        mailbox: MailboxName,
        items: &[StatusItem],
    ) -> Refused<Completion> {
        let limit = self.append_limit;
        let name = name(&mailbox)?;
        let status = self.mailboxes().await?.status(&name).await.map_err(|e| refused(&e))?;
        session.say(&Response::Status(mailbox, values(&status, items, limit)));
        Ok(Completion::ok("Status told"))
    }

    pub(super) async fn quota(&mut self, session: &mut Server, root: &str) -> Refused<Completion> {
        if root != ROOT {
            return Err(Completion::no(Code::NonExistent, "There is no such quota root"));
        }
        self.say_quota(session).await?;
        Ok(Completion::ok("Quota told"))
    }

    pub(super) async fn quota_root(
        &mut self,
        session: &mut Server,
        mailbox: MailboxName,
    ) -> Refused<Completion> {
        name(&mailbox)?;
        session.say(&Response::QuotaRoot(mailbox, vec![ROOT.to_owned()]));
        self.say_quota(session).await?;
        Ok(Completion::ok("Quota told"))
    }

    async fn say_quota(&mut self, session: &mut Server) -> Refused {
        let usage = self.mailboxes().await?.usage().await.map_err(|e| refused(&e))?;
        let mut resources = Vec::new();
        // Storage is counted in units of 1,024 octets (RFC 9208 section 5.1).
        if let Some(limit) = usage.quota.octets {
            resources.push(("STORAGE", usage.octets.div_ceil(1024), limit / 1024));
        }
        if let Some(limit) = usage.quota.messages {
            resources.push(("MESSAGE", usage.messages, limit));
        }
        session.say(&Response::Quota(ROOT.to_owned(), resources));
        Ok(())
    }
}

/// The object id of a mailbox (RFC 8474).
pub(super) fn mailbox_id(id: MailboxId) -> String {
    format!("F{id}")
}

/// What LIST says of one mailbox alone: SELECT says so to IMAP4rev2 clients (RFC 9051 section 6.3.2).
pub(super) fn listed_alone(names: Names, name: &Name) -> Option<Said> {
    let query = ListQuery { patterns: vec![name.as_str().to_owned()], ..ListQuery::default() };
    let listed = names.list(&query).into_iter().find(|listed| listed.name == name.as_str())?;
    Some(said(&listed, MailboxName::new(&listed.name).ok()?, true, true))
}

fn said(listed: &Listed, mailbox: MailboxName, subscribed: bool, rev2: bool) -> Said {
    let mut attributes = Vec::new();
    if listed.mailbox.is_none() {
        attributes.push("\\NonExistent");
        // A client of IMAP4rev1 knows this word only.
        if !rev2 {
            attributes.push("\\Noselect");
        }
    }
    attributes.push(if listed.has_children { "\\HasChildren" } else { "\\HasNoChildren" });
    if subscribed && listed.subscribed {
        attributes.push("\\Subscribed");
    }
    attributes.extend(listed.special_uses().map(SpecialUse::as_str));
    let child_info = if listed.child_info { vec!["SUBSCRIBED"] } else { Vec::new() };
    Said { mailbox, attributes, child_info, old_name: None }
}

fn values(status: &Status, items: &[StatusItem], append_limit: u64) -> Vec<(StatusItem, StatusValue)> {
    let row = &status.row;
    let value = |item: &StatusItem| {
        let number = match item {
            StatusItem::Messages => u64::from(row.messages),
            StatusItem::Recent => u64::from(status.recent),
            StatusItem::UidNext => u64::from(row.uid_next.0),
            StatusItem::UidValidity => u64::from(row.uid_validity.0),
            StatusItem::Unseen => u64::from(row.unseen),
            StatusItem::Deleted => u64::from(row.deleted),
            StatusItem::Size => row.octets,
            StatusItem::HighestModSeq => row.highest_modseq.0,
            StatusItem::MailboxId => return StatusValue::Id(mailbox_id(row.id)),
            StatusItem::AppendLimit => append_limit,
            StatusItem::DeletedStorage => row.deleted_octets,
        };
        StatusValue::Number(number)
    };
    items.iter().map(|item| (*item, value(item))).collect()
}
