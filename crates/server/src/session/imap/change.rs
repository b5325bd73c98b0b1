//! STORE, EXPUNGE, COPY and MOVE.

use packetboat_imap::command::{FlagChange, Store};
use packetboat_imap::response::{Code, Completion};
use packetboat_imap::server::Server;
use packetboat_imap::value::{MailboxName, Target};
use packetboat_mail::mailbox::{Change, FlagEdit};

use super::convert::{self, refused, refused_target};
use super::news::{ChangedFlags, Then, Told, say_flags};
use super::{Ending, Imap, Refused, say_ok};

impl Imap {
    pub(super) async fn store(&mut self, session: &mut Server, store: &Store) -> Refused<Option<Ending>> {
        let picked = self.pick(&store.target)?;
        let (system, keywords) = convert::flags(&store.flags);
        let edit = FlagEdit {
            change: match store.change {
                FlagChange::Add => Change::Add,
                FlagChange::Remove => Change::Remove,
                FlagChange::Replace => Change::Replace,
            },
            system,
            keywords,
            unchanged_since: store.unchanged_since,
            silent: store.silent,
        };
        let selected = self.selected()?;
        let stored = selected.store_flags(&picked, &edit).await.map_err(|e| refused(&e))?;
        if stored.new_keywords {
            say_flags(session, selected);
        }
        // Flags that are as they were are told, too: the client asked. Those of silent changes are told with their
        // MODSEQ to whom that matters (RFC 7162 section 3.1.3).
        let told = match (store.silent, store.unchanged_since.is_some() || session.condstore()) {
            (false, _) if stored.modified.is_empty() => Some(picked.clone()),
            (false, _) | (true, true) => Some(stored.changed.clone()),
            (true, false) => None,
        };
        let completion = if !stored.modified.is_empty() {
            let modified = match store.target.uid {
                true => stored.modified.uids(),
                false => stored.modified.numbers().to_vec(),
            };
            Completion::ok("Some messages had changed meanwhile").with(Code::Modified(modified))
        } else if stored.gone && !store.target.uid {
            let text = "Some of the messages are not there any more";
            Completion::no(Code::ExpungeIssued, text)
        } else {
            Completion::ok("Stored")
        };
        let Some(told) = told else { return Ok(Some(completion.into())) };
        let changed = ChangedFlags {
            cursor: told.cursor(),
            how: Told { uid: store.target.uid, silent: store.silent },
            then: Then::News { expunges: store.target.uid, ending: completion.into() },
        };
        self.go_on_with_flags(session, changed).await;
        Ok(None)
    }

    pub(super) async fn expunge(&mut self, target: Option<&Target>) -> Refused<Completion> {
        let picked = target.map(|target| self.pick(target)).transpose()?;
        let selected = self.selected()?;
        selected.expunge(picked.as_ref()).await.map_err(|e| refused(&e))?;
        Ok(Completion::ok("Expunged"))
    }

    pub(super) async fn copy(
        &mut self,
        session: &mut Server,
        target: &Target,
        mailbox: &MailboxName,
        and_remove: bool,
    ) -> Refused<Completion> {
        let to = convert::name(mailbox)?;
        let picked = self.pick(target)?;
        self.mailboxes().await?;
        let (Some(mailboxes), Some(selected)) = (&self.mailboxes, &mut self.selected) else {
            return Err(convert::unavailable());
        };
        let copied =
            selected.copy(&picked, mailboxes, &to, and_remove).await.map_err(|e| refused_target(&e))?;
        let done = Completion::ok(if and_remove { "Moved" } else { "Copied" });
        if copied.uids.is_empty() {
            return Ok(done);
        }
        let (from, to) = copied.ranges();
        let code = Code::CopyUid(copied.uid_validity.0, from, to);
        if and_remove {
            // RFC 6851 section 4.3: before the EXPUNGEs, in an untagged OK.
            say_ok(session, code, "Moved");
            return Ok(done);
        }
        Ok(done.with(code))
    }
}
