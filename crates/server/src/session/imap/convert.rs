//! From IMAP's words to the post office's and back.

use packetboat_imap::response::{Code, Completion};
use packetboat_imap::value::{self, Flag, MailboxName, NumberSet, SystemFlags};
use packetboat_mail::mailbox::{Bound, Name, Refusal};
use packetboat_store::Flags;

pub(super) fn unavailable() -> Completion {
    Completion::no(Code::Unavailable, "Local problem, try again later")
}

pub(super) fn no_such_message() -> Completion {
    Completion { status: packetboat_imap::response::Status::Bad, code: None, text: "No such message".into() }
}

/// What the client is told of a refusal.
pub(super) fn refused(refusal: &Refusal) -> Completion {
    let code = match refusal {
        Refusal::NoSuchMailbox | Refusal::MailboxGone => Some(Code::NonExistent),
        Refusal::AlreadyExists => Some(Code::AlreadyExists),
        Refusal::HasChildren => Some(Code::HasChildren),
        Refusal::Name(_) | Refusal::Cannot(_) => Some(Code::Cannot),
        Refusal::NotAllowed => Some(Code::NoPerm),
        Refusal::ReadOnly => None,
        Refusal::SpecialUse(_) => Some(Code::UseAttr),
        Refusal::Limit(_) => Some(Code::Limit),
        Refusal::OverQuota => Some(Code::OverQuota),
        Refusal::TooLarge(_) => Some(Code::TooBig),
        Refusal::Expunged => Some(Code::ExpungeIssued),
        Refusal::DiskFull | Refusal::Temporary => Some(Code::Unavailable),
    };
    let mut text = refusal.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Completion::no(code, text)
}

/// The same where the mailbox is the one something goes to: the client may make it and try again.
pub(super) fn refused_target(refusal: &Refusal) -> Completion {
    match refusal {
        Refusal::NoSuchMailbox => refused(refusal).with(Code::TryCreate),
        _ => refused(refusal),
    }
}

pub(super) fn name(mailbox: &MailboxName) -> Result<Name, Completion> {
    Name::new(mailbox.as_str()).map_err(|error| refused(&error.into()))
}

pub(super) fn bounds(set: &NumberSet) -> Vec<(Bound, Bound)> {
    let bound = |bound: &value::Bound| match bound {
        value::Bound::Number(number) => Some(number.get()),
        value::Bound::Last => None,
    };
    set.ranges().iter().map(|(first, last)| (bound(first), bound(last))).collect()
}

/// Ascending ranges as bounds.
pub(super) fn ranges(ranges: &[(u32, u32)]) -> Vec<(Bound, Bound)> {
    ranges.iter().map(|&(first, last)| (Some(first), Some(last))).collect()
}

/// Flags as a client names them, as bits and keywords.
pub(super) fn flags(flags: &[Flag]) -> (Flags, Vec<String>) {
    let mut system = SystemFlags::default();
    let mut keywords = Vec::new();
    for flag in flags {
        match (flag, flag.system()) {
            (_, Some(bit)) => system = system.with(bit),
            (Flag::Keyword(keyword), None) => keywords.push(keyword.clone()),
            _ => {}
        }
    }
    (Flags(u64::from(system.0)), keywords)
}

/// The system flags among bits.
pub(super) fn system(flags: Flags) -> SystemFlags {
    SystemFlags((flags.0 & Flags::SYSTEM.0) as u8)
}

/// The keywords among bits.
pub(super) fn keywords<'k>(flags: Flags, names: &'k [(u8, String)], out: &mut Vec<&'k str>) {
    out.clear();
    if flags.0 & !Flags::SYSTEM.0 != 0 {
        let set = |bit: u8| flags.0 >> (bit & 63) & 1 == 1;
        out.extend(names.iter().filter(|(bit, _)| set(*bit)).map(|(_, name)| name.as_str()));
    }
}

/// All flags a mailbox knows.
pub(super) fn known_flags(names: &[(u8, String)]) -> Vec<Flag> {
    let system = [Flag::Answered, Flag::Flagged, Flag::Deleted, Flag::Seen, Flag::Draft];
    system.into_iter().chain(names.iter().map(|(_, name)| Flag::Keyword(name.clone()))).collect()
}
