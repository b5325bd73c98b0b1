//! What became of the selected mailbox, told where IMAP lets it be told.

use packetboat_imap::response::{Code, FlagsOf, Response};
use packetboat_imap::server::Server;
use packetboat_mail::mailbox::{Cursor, Refusal, Selected};
use packetboat_store::Flags;

use super::{BACKLOG_HIGH, Ending, Imap, Work, convert, end, say_ok};

/// Messages whose flags are told before it is looked whether the client takes them.
const PAGE: usize = 512;

impl Imap {
    /// Says what is gone and what came; the flags that changed are to be said with what is returned.
    pub(super) async fn say_news(&mut self, session: &mut Server, expunges: bool) -> Option<Cursor> {
        let selected = self.selected.as_deref_mut()?;
        let news = match selected.sync(expunges).await {
            Ok(news) => news,
            Err(error) => {
                // Nothing is known; the next command tries again.
                if error != Refusal::Temporary {
                    tracing::debug!(connection = self.peer.id, %error, "no news of a mailbox");
                }
                return None;
            }
        };
        if let Some(gone) = &news.gone {
            if session.qresync() {
                session.say(&Response::Vanished { earlier: false, uids: gone.uids.clone() });
            } else {
                gone.expunges().for_each(|number| session.say(&Response::Expunge(number)));
            }
        }
        if let Some(exists) = news.exists {
            session.say(&Response::Exists(exists));
        }
        if let Some(recent) = news.recent {
            session.say(&Response::Recent(recent));
        }
        if news.keywords {
            say_flags(session, selected);
        }
        if news.flags.is_empty() {
            return None;
        }
        selected.pick_numbers(&convert::ranges(&news.flags)).ok().map(|picked| picked.cursor())
    }

    /// Says changed flags as long as the client takes them, and then what comes behind them.
    pub(super) async fn go_on_with_flags(&mut self, session: &mut Server, mut changed: ChangedFlags) {
        loop {
            if let Some(selected) = self.selected.as_deref_mut() {
                while !changed.cursor.is_done() {
                    if session.backlog() > BACKLOG_HIGH {
                        self.work = Some(Work::Flags(Box::new(changed)));
                        return;
                    }
                    say_changed(session, selected, &mut changed.cursor, changed.how);
                }
            }
            let (ending, news) = match changed.then {
                Then::Nothing => return,
                Then::End(ending) => (ending, None),
                Then::News { expunges, ending } => (ending, self.say_news(session, expunges).await),
            };
            let Some(cursor) = news else { return end(session, ending) };
            changed = ChangedFlags { cursor, how: Told::default(), then: Then::End(ending) };
        }
    }

    /// Says news to an idling client.
    pub(super) async fn tell_news(&mut self, session: &mut Server) {
        if let Some(cursor) = self.say_news(session, true).await {
            let changed = ChangedFlags { cursor, how: Told::default(), then: Then::Nothing };
            self.go_on_with_flags(session, changed).await;
        }
    }
}

/// Says which flags there are and which can be kept.
pub(super) fn say_flags(session: &mut Server, selected: &Selected) {
    let keywords = selected.keywords();
    let known = convert::known_flags(&keywords);
    session.say(&Response::Flags(known.clone()));
    let (kept, more) = match selected.is_writable() {
        true => (known, keywords.len() < Flags::KEYWORDS_MAX),
        false => (Vec::new(), false),
    };
    say_ok(session, Code::PermanentFlags(kept, more), "Flags that are kept");
}

/// Changed flags that are still to be said.
#[derive(Debug)]
pub(super) struct ChangedFlags {
    /// Of these messages.
    pub(super) cursor: Cursor,
    pub(super) how: Told,
    pub(super) then: Then,
}

/// What comes when they are said.
#[derive(Debug)]
pub(super) enum Then {
    /// Nothing: no command is in hand.
    Nothing,
    /// The end of the command.
    End(Ending),
    /// What is new, and then the end of the command.
    News { expunges: bool, ending: Ending },
}

/// How changed flags are told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// With the UID, as whatever a UID command causes (RFC 9051 section 6.4.9).
    pub(super) uid: bool,
    /// By the MODSEQ alone: the client knows the flags.
    pub(super) silent: bool,
}

/// Says the flags of the next messages of a cursor.
fn say_changed(session: &mut Server, selected: &mut Selected, flags: &mut Cursor, told: Told) {
    let messages = selected.rows(flags, PAGE);
    // They may carry keywords that were made since.
    if selected.learn_keywords() {
        say_flags(session, selected);
    }
    let names = selected.keywords();
    let mut keywords = Vec::new();
    let (with_uid, with_modseq) = (session.qresync() || told.uid, session.condstore());
    for message in messages {
        convert::keywords(message.flags(), &names, &mut keywords);
        let mut fetch = session.fetch(message.number);
        if with_uid {
            fetch.uid(message.uid);
        }
        if !told.silent {
            fetch.flags(FlagsOf {
                system: convert::system(message.flags()),
                recent: message.recent,
                keywords: &keywords,
            });
        }
        if with_modseq {
            fetch.mod_seq(message.modseq());
        }
        fetch.finish();
    }
}
