//! Messages for screens, by the three rules of RFC 821 section 3.4.

use std::sync::Arc;

use packetboat_message::Address;
use packetboat_message::card::Draft;
use packetboat_store::AccountId;

use super::{Intake, LEGS_MAX, LegPlace, Place, Recipient};
use crate::queue::RcptAsked;
use crate::{Addressee, LegTo, Note, Reach, Refusal, Route};

/// A recipient with an open terminal.
#[derive(Debug, Clone)]
pub(super) struct Called {
    accounts: Vec<AccountId>,
    address: Address,
    asked: RcptAsked,
}

impl Intake {
    /// Whether the message is for screens alone, so that nothing of it is stored.
    pub(super) fn is_only_called(&self) -> bool {
        self.asked.reach == Reach::Terminal
    }

    /// Whether a recipient gets the message on the screen instead of in a mailbox. Behind an address with several people
    /// that is so where each of them is here; for [`Reach::Terminal`] those who are not do not count.
    pub(super) fn call(&mut self, to: &Addressee, asked: &RcptAsked) -> Result<bool, Refusal> {
        let only = match self.asked.reach {
            Reach::Mailbox | Reach::TerminalAndMailbox => return Ok(false),
            Reach::Terminal => true,
            Reach::TerminalOrMailbox => false,
        };
        let (accounts, everybody_is_here) = match self.office.route(to, self.sender.as_ref())? {
            Route::Local(account) => (vec![account.id], true),
            Route::Expanded(expansion) => {
                let local = |to: &LegTo| match to {
                    LegTo::Local(account) => Some(account.id),
                    LegTo::Remote { .. } => None,
                };
                let accounts: Vec<_> = expansion.legs.iter().filter_map(|leg| local(&leg.to)).collect();
                let all = accounts.len() == expansion.legs.len() && expansion.dead.is_empty();
                (accounts, all)
            }
            Route::UnknownUser if only => return Err(Refusal::UnknownUser),
            Route::Moved(address) if only => return Err(Refusal::Moved(address)),
            Route::Elsewhere if only => return Err(Refusal::RelayDenied(to.to_string())),
            // Mail finds out the same.
            Route::UnknownUser | Route::Moved(_) | Route::Elsewhere => return Ok(false),
        };
        let terminals = self.office.terminals();
        let named = accounts.len();
        let here: Vec<_> = accounts.into_iter().filter(|account| terminals.is_open(*account)).collect();
        if here.is_empty() && only {
            return Err(Refusal::NotHere);
        }
        let each_of_them = everybody_is_here && here.len() == named;
        if here.is_empty() || !(only || each_of_them) {
            return Ok(false);
        }
        let address = match to {
            Addressee::Mailbox(address) => address.clone(),
            Addressee::Postmaster => match self.office.shared.directory.find_postmaster() {
                Ok(packetboat_account::Found::Account(account)) => account.login.clone(),
                _ => return Ok(false),
            },
        };
        self.legs += named;
        if self.legs > LEGS_MAX {
            return Err(Refusal::TooManyRecipients);
        }
        self.called.push(Called { accounts: here, address, asked: asked.clone() });
        Ok(true)
    }

    /// A recipient who gets the message in a mailbox gets it on the screen too, if that is asked for.
    pub(super) fn call_too(&mut self, recipient: &Recipient) {
        if self.asked.reach != Reach::TerminalAndMailbox {
            return;
        }
        let accounts: Vec<AccountId> = match &recipient.place {
            Place::Here(inbox) => vec![inbox.account],
            Place::Queue(_) => Vec::new(),
            Place::Several(several) => {
                let here = several.places.iter().filter_map(|place| match place {
                    LegPlace::Here(inbox) => Some(inbox.account),
                    LegPlace::Queue(_) | LegPlace::Nowhere(_) => None,
                });
                here.collect()
            }
        };
        let (address, asked) = (recipient.address.clone(), recipient.asked.clone());
        self.called.push(Called { accounts, address, asked });
    }

    /// Shows the message to those who get it on the screen alone, and gives their addresses. Who has left since they were
    /// named gets it in the mailbox, or else the sender hears of it.
    pub(super) async fn call_out(&mut self, card: &Draft) -> Result<Vec<Address>, Refusal> {
        let mut shown = Vec::new();
        let only = match self.asked.reach {
            Reach::Mailbox | Reach::TerminalAndMailbox => return Ok(shown),
            Reach::Terminal => true,
            Reach::TerminalOrMailbox => false,
        };
        let called = std::mem::take(&mut self.called);
        if called.is_empty() {
            return Ok(shown);
        }
        let note = self.note(card);
        let (mut gone, mut left) = (Vec::new(), false);
        for Called { accounts, address, asked } in called {
            let seen = accounts.iter().filter(|account| self.show(**account, &note)).count();
            if seen == accounts.len() || (only && seen > 0) {
                shown.push(address);
            } else if only {
                left = true;
            } else {
                gone.push((address, asked));
            }
        }
        // Nothing would tell the sender later: what was shown to the others is shown again if they try again.
        if left {
            return Err(Refusal::NotHere);
        }
        self.asked.reach = Reach::Mailbox;
        for (address, asked) in gone {
            let named = self.recipient(Addressee::Mailbox(address), asked).await;
            named.map_err(|_| Refusal::RecipientsChanged)?;
        }
        Ok(shown)
    }

    /// The message is in the mailboxes; those who are here see it.
    pub(super) fn call_those_with_mail(&self, card: &Draft) {
        if self.called.is_empty() {
            return;
        }
        let note = self.note(card);
        for account in self.called.iter().flat_map(|called| &called.accounts) {
            self.show(*account, &note);
        }
    }

    fn note(&self, card: &Draft) -> Arc<Note> {
        Arc::new(Note::of(self.sender.as_ref(), &card.card(b"")))
    }

    fn show(&self, account: AccountId, note: &Arc<Note>) -> bool {
        self.office.terminals().show(account, Arc::clone(note))
    }
}
