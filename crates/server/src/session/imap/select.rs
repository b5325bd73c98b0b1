//! SELECT, EXAMINE, CLOSE and UNSELECT.

use packetboat_imap::command::{Qresync, Select};
use packetboat_imap::response::{Code, Completion, Response};
use packetboat_imap::server::{Extension, Server};
use packetboat_mail::mailbox::{Access, Cursor, Known, Name, Ranges, Refusal, Selected};

use super::convert::{self, refused};
use super::news::{ChangedFlags, Then, Told, say_flags};
use super::{Ending, Imap, Refused, hierarchy, say_ok};

impl Imap {
    pub(super) async fn select(&mut self, session: &mut Server, select: Select) -> Refused<Option<Ending>> {
        self.selected = None;
        self.saved.clear();
        let name = convert::name(&select.mailbox)?;
        let access = if select.examine { Access::Read } else { Access::Write };
        let mailboxes = self.mailboxes().await?;
        let mut selected = mailboxes.select(&name, access).await.map_err(|e| refused(&e))?;
        let listed = match session.rev2() {
            true => mailboxes.names().await.ok().and_then(|names| hierarchy::listed_alone(names, &name)),
            false => None,
        };
        self.describe(session, &selected, &name);
        if let Some(listed) = listed {
            session.say(&Response::List(listed));
        }
        let changed = match select.qresync {
            Some(known) => resynchronise(session, &mut selected, &known).await?,
            None => None,
        };
        let read_write = selected.is_writable();
        self.selected = Some(Box::new(selected));
        let code = if read_write { Code::ReadWrite } else { Code::ReadOnly };
        let text = if select.examine { "Examined" } else { "Selected" };
        let ending = Ending::Selected { read_write, completion: Completion::ok(text).with(code) };
        let Some(cursor) = changed else { return Ok(Some(ending)) };
        let then = Then::News { expunges: true, ending };
        self.go_on_with_flags(session, ChangedFlags { cursor, how: Told::default(), then }).await;
        Ok(None)
    }

    fn describe(&self, session: &mut Server, selected: &Selected, name: &Name) {
        say_flags(session, selected);
        session.say(&Response::Exists(selected.exists()));
        session.say(&Response::Recent(selected.recent()));
        if !session.rev2()
            && let Some(number) = selected.first_unseen()
        {
            say_ok(session, Code::Unseen(number), "First unseen message");
        }
        say_ok(session, Code::UidValidity(selected.uid_validity().0), "UIDs are valid");
        say_ok(session, Code::UidNext(selected.uid_next()), "Predicted next UID");
        if session.offers(Extension::CondStore) {
            say_ok(session, Code::HighestModSeq(selected.highest_modseq()), "Highest");
        }
        if session.offers(Extension::ObjectId) {
            say_ok(session, Code::MailboxId(hierarchy::mailbox_id(selected.mailbox())), "Mailbox id");
        }
        tracing::debug!(connection = self.peer.id, mailbox = name.as_str(), "mailbox selected");
    }

    pub(super) async fn close(&mut self, expunge: bool) -> Refused<Completion> {
        self.saved.clear();
        let Some(mut selected) = self.selected.take() else { return Ok(Completion::ok("Closed")) };
        if expunge && selected.is_writable() {
            // Who may not expunge closes all the same (RFC 9051 section 6.4.1), and so does who had open what is gone.
            match selected.expunge(None).await {
                Ok(()) | Err(Refusal::NotAllowed | Refusal::MailboxGone) => {}
                Err(error) => return Err(refused(&error)),
            }
        }
        Ok(Completion::ok("Closed"))
    }
}

/// Tells what is gone that a client knew before (RFC 7162 section 3.2.5), and gives the messages whose flags changed
/// since.
async fn resynchronise(
    session: &mut Server,
    selected: &mut Selected,
    client: &Qresync,
) -> Refused<Option<Cursor>> {
    if client.uid_validity.get() != selected.uid_validity().0 {
        return Ok(None);
    }
    let last = selected.uid_next().saturating_sub(1).max(1);
    let uids: Ranges = client.known_uids.as_ref().map(|set| set.resolve(last)).unwrap_or_default();
    let matches = match &client.sequence_match {
        Some((numbers, uids)) => {
            let each = |ranges: Vec<(u32, u32)>| ranges.into_iter().flat_map(|(first, last)| first..=last);
            /// Pairs looked at; clients send a handful, spread out.
            const PAIRS_MAX: usize = 10_000;
            each(numbers.resolve(u32::MAX)).zip(each(uids.resolve(u32::MAX))).take(PAIRS_MAX).collect()
        }
        None => Vec::new(),
    };
    let known = Known { modseq: client.modseq, uids, matches };
    let vanished = selected.vanished(&known).await.map_err(|e| refused(&e))?;
    session.say(&Response::Vanished { earlier: true, uids: vanished });
    let all = match known.uids.is_empty() {
        true => selected.pick_all(),
        false => selected.pick_uids(&convert::ranges(&known.uids)),
    };
    Ok(Some(selected.pick_changed(&all, client.modseq).cursor()))
}
