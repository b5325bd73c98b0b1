//! APPEND, MULTIAPPEND and REPLACE.

use bytes::Bytes;
use packetboat_imap::command::Append;
use packetboat_imap::response::{Code, Completion};
use packetboat_imap::server::Server;
use packetboat_imap::value::Flag;
use packetboat_mail::mailbox::NewMessage;

use super::convert::{self, refused, refused_target};
use super::{Imap, Refused, Replacing, say_ok};

impl Imap {
    pub(super) async fn append_begin(&mut self, append: Append) -> Refused {
        let name = convert::name(&append.mailbox)?;
        let replaces = match &append.replaces {
            Some(target) => {
                let picked = self.pick(target)?;
                Some(picked.each_uid().next().ok_or_else(convert::no_such_message)?)
            }
            None => None,
        };
        let messages = self.mailboxes().await?.append(&name).await.map_err(|e| refused_target(&e))?;
        self.appending = Some(Box::new(Replacing { messages, replaces }));
        Ok(())
    }

    fn appending(&mut self) -> Refused<&mut Replacing> {
        self.appending.as_deref_mut().ok_or_else(convert::unavailable)
    }

    pub(super) async fn append_message(
        &mut self,
        flags: Vec<Flag>,
        date: Option<i64>,
        octets: u64,
    ) -> Refused {
        let (flags, keywords) = convert::flags(&flags);
        let received_at = date.unwrap_or_else(|| jiff::Timestamp::now().as_microsecond());
        let new = NewMessage { flags, keywords, received_at, octets };
        let begun = self.appending()?.messages.begin(new).await;
        self.keep_or_forget(begun.map_err(|e| refused(&e)))
    }

    pub(super) async fn append_chunk(&mut self, chunk: Bytes) -> Refused {
        let written = self.appending()?.messages.write(chunk).await;
        self.keep_or_forget(written.map_err(|e| refused(&e)))
    }

    pub(super) fn append_message_end(&mut self) -> Refused {
        let ended = self.appending()?.messages.end();
        self.keep_or_forget(ended.map_err(|e| refused(&e)))
    }

    fn keep_or_forget(&mut self, outcome: Refused) -> Refused {
        if outcome.is_err() {
            self.appending = None;
        }
        outcome
    }

    pub(super) async fn append_commit(&mut self, session: &mut Server) -> Refused<Completion> {
        let Some(appending) = self.appending.take() else { return Err(convert::unavailable()) };
        let Replacing { messages, replaces } = *appending;
        let appended = match replaces {
            Some(uid) => messages.commit_replacing(self.selected()?, uid).await,
            None => messages.commit().await,
        };
        let appended = appended.map_err(|e| refused_target(&e))?;
        let code = Code::AppendUid(appended.uid_validity.0, appended.uids);
        if replaces.is_some() {
            // RFC 8508 section 4.3: before the EXPUNGE, in an untagged OK.
            say_ok(session, code, "Replacement is in its mailbox");
            return Ok(Completion::ok("Replaced"));
        }
        Ok(Completion::ok("Appended").with(code))
    }
}
