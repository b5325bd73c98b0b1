//! Telling of a message that was taken over.

use std::borrow::Cow;

use packetboat_store::{OpResult, Receipt};

use super::{Intake, LegPlace, Outcome, Place, Recipient, Several};
use crate::Role;
use crate::queue::HERE;
use crate::story::{self, Event, RECIPIENTS_MAX, Taken, What, shortened};

impl Intake {
    /// The event of having taken it over.
    pub(super) fn story(&self, outcomes: &[(Recipient, Outcome)], receipt: &Receipt) -> Event {
        let taken = |(recipient, outcome): &(Recipient, Outcome)| {
            let (place, behind) = match (&recipient.place, outcome) {
                (_, Err(refusal)) => (story::Place::Nowhere { why: refusal.to_string() }, Vec::new()),
                (Place::Here(_), Ok(())) if self.comes_later() => {
                    (story::Place::Queue { hop: HERE.to_owned() }, Vec::new())
                }
                (Place::Here(_), Ok(())) => (story::Place::Mailbox, Vec::new()),
                (Place::Queue(hop), Ok(())) => (story::Place::Queue { hop: hop.to_string() }, Vec::new()),
                (Place::Several(several), Ok(())) => (story::Place::Alias, behind(several)),
            };
            story::Recipient { to: recipient.address.clone(), place, behind }
        };
        let rows = receipt.results.iter().filter_map(|result| match result {
            OpResult::Queued(ids) => Some(ids),
            _ => None,
        });
        let own = |text: &'static str| Cow::Borrowed(text);
        Event {
            at: self.began.timestamp().as_microsecond(),
            tag: Some(self.tag),
            what: What::Accepted(Box::new(Taken {
                from: self.sender.clone(),
                login: match &self.origin.role {
                    Role::Submission(identity) => Some(identity.login.clone()),
                    Role::Exchange | Role::Lmtp => None,
                },
                peer: self.origin.peer,
                helo: self.origin.helo.clone().map(shortened),
                with: own(self.origin.with.keyword()),
                tls: self.origin.tls.map(|(version, cipher)| (own(version), own(cipher))),
                octets: self.octets,
                message_id: self.message_id().map(shortened),
                recipients: outcomes.iter().take(RECIPIENTS_MAX).map(taken).collect(),
                more: outcomes.len().saturating_sub(RECIPIENTS_MAX),
                queue: rows.flatten().take(RECIPIENTS_MAX).map(|id| id.0).collect(),
            })),
        }
    }
}

fn behind(several: &Several) -> Vec<story::Recipient> {
    let legs = several.expansion.legs.iter().zip(&several.places).map(|(leg, place)| story::Recipient {
        to: leg.address.clone(),
        place: match place {
            LegPlace::Here(_) => story::Place::Mailbox,
            LegPlace::Queue(hop) => story::Place::Queue { hop: hop.to_string() },
            LegPlace::Nowhere(why) => story::Place::Nowhere { why: why.to_string() },
        },
        behind: Vec::new(),
    });
    let dead = several.expansion.dead.iter().map(|dead| story::Recipient {
        to: dead.address.clone(),
        place: story::Place::Nowhere { why: dead.why.clone() },
        behind: Vec::new(),
    });
    legs.chain(dead).take(RECIPIENTS_MAX).collect()
}
