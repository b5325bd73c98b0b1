//! Status codes in plain words (RFC 3463 section 3): what has happened, and what a person can do about it.

use super::{RemoteReply, Status};

/// What a status says to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    /// What has happened: a whole sentence.
    pub(super) what: &'static str,
    /// What the reader can do.
    pub(super) advice: &'static str,
}

const fn meaning(what: &'static str, advice: &'static str) -> Meaning {
    Meaning { what, advice }
}

const CHECK_ADDRESS: &str =
    "Check the address for a typing mistake, and ask the person for their present address if it looks right.";
const ASK_THEM: &str =
    "Try to reach the person another way and tell them; only their mail system can change this.";
const SMALLER: &str = "Send less at once, or put large files where they can be fetched and send a link.";
const LATER: &str = "Send your message again later.";
const POSTMASTER: &str = "Send this notice to whoever looks after your mail; they can find the cause in it.";

/// The words for a status, and for the answer it came with, which may say more than the status does.
pub(super) fn of(status: Status, reply: Option<&RemoteReply>) -> Meaning {
    let code = reply.map_or(0, |reply| reply.code);
    match (status.1, status.2) {
        (1, 0 | 1 | 3) => meaning("There is no such address at the receiving system.", CHECK_ADDRESS),
        (1, 2) => {
            meaning("The part of the address after the @ cannot be found or takes no mail.", CHECK_ADDRESS)
        }
        (1, 4) => meaning(
            "The address stands for several people, and the receiving system cannot tell whom.",
            CHECK_ADDRESS,
        ),
        (1, 6) => meaning("The person has moved, and has left no new address.", CHECK_ADDRESS),
        (1, 7 | 8) => meaning(
            "The receiving system does not take mail from your address.",
            "Check that your own address is set up rightly in your mail program.",
        ),
        (1, 10) => meaning("The domain says that it takes no mail at all.", CHECK_ADDRESS),
        (2, 1) => meaning("The mailbox is switched off.", ASK_THEM),
        (2, 2) => meaning("The mailbox is full.", "Try again later, or reach the person another way."),
        (2, 3) => meaning("The message is larger than this mailbox takes.", SMALLER),
        (2, 4) => meaning("The address is a list that could not be spread to its members.", ASK_THEM),
        (3, 1) => meaning("The receiving system has no room left.", LATER),
        (3, 4) => meaning("The message is larger than the receiving system takes.", SMALLER),
        (3, _) => meaning("The receiving system cannot take mail just now.", LATER),
        (4, 1) => meaning("The receiving system does not answer.", LATER),
        (4, 2) => meaning("The connection to the receiving system broke off.", LATER),
        (4, 3) => meaning("The address of the receiving system could not be looked up.", LATER),
        (4, 4) => meaning("There is no way known to the receiving system.", CHECK_ADDRESS),
        (4, 5) => meaning("The receiving system has too much to do.", LATER),
        (4, 6) => meaning("The message went round in circles between mail systems.", POSTMASTER),
        (4, 7) => meaning("The message could not be delivered in the time allowed for it.", LATER),
        (5, 3) => meaning(
            "The message has more recipients than the receiving system takes at once.",
            "Send it to fewer people at a time.",
        ),
        (5, _) => meaning("The two mail systems did not understand each other.", POSTMASTER),
        (6, 7) => meaning(
            "The address has characters that the receiving system does not understand.",
            "Ask the person for an address in plain letters.",
        ),
        (6, 9) => meaning(
            "The message needs internationalised mail, which the receiving system does not have.",
            "Send it again with an address and subject in plain letters.",
        ),
        (6, _) => meaning(
            "The receiving system cannot take a message of this form.",
            "Send it in another form, for example as plain text without attachments.",
        ),
        (7, 1) => meaning("The receiving system does not let this message in.", ASK_THEM),
        (7, 4 | 10 | 11 | 30) => meaning(
            "The message asks for encryption on its way, which the receiving system does not offer.",
            "Send it without that demand, if what is in it may travel unprotected.",
        ),
        (7, 20..=29) => meaning(
            "The receiving system could not make sure that the message comes from your domain.",
            POSTMASTER,
        ),
        (7, _) => meaning("The receiving system refused the message by its rules.", ASK_THEM),
        _ => by_code(status, code),
    }
}

/// RFC 5321 section 4.2.3, for servers that give three digits only.
fn by_code(status: Status, code: u16) -> Meaning {
    match code {
        550 | 551 | 553 => {
            meaning("The receiving system does not take mail for this address.", CHECK_ADDRESS)
        }
        552 => meaning("The mailbox is full, or the message too large for it.", SMALLER),
        421 | 450..=452 => meaning("The receiving system cannot take the message just now.", LATER),
        _ if status.0 == 4 => meaning("The receiving system could not be reached or was not ready.", LATER),
        _ => meaning("The receiving system did not take the message.", POSTMASTER),
    }
}
