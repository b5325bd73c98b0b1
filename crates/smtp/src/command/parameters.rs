//! The parameters of MAIL and RCPT (RFC 5321 section 4.1.2, `esmtp-param`).

use jiff::Timestamp;
use packetboat_message::Address;

use super::{CommandError, Offered, xtext};
use crate::envelope::{
    BodyKind, DeliverBy, Hold, Late, Notify, OriginalRecipient, Recipient, Ret, Sender, Submitter,
};

/// Octets of an ENVID value at most (RFC 3461 section 4.4).
const ENVID_MAX: usize = 100;
/// Octets of an ORCPT parameter at most (RFC 3461 section 4.2).
const ORCPT_MAX: usize = 500;
/// Digits of a SIZE value at most (RFC 1870 section 3).
const SIZE_DIGITS_MAX: usize = 20;
/// Digits of the seconds of BY and HOLDFOR at most (RFC 2852 section 4, RFC 4865 section 3).
const SECONDS_DIGITS_MAX: usize = 9;
/// Octets of a HOLDUNTIL value at most: down to nanoseconds.
const MOMENT_MAX: usize = 30;

/// Puts the parameters of MAIL into `sender`.
pub(super) fn of_mail(text: &str, offered: &Offered, sender: &mut Sender) -> Result<(), CommandError> {
    let mut seen = Seen::default();
    for parameter in text.split_ascii_whitespace() {
        let (keyword, value) = split(parameter)?;
        let is = |name: &str| keyword.eq_ignore_ascii_case(name);
        if is("SIZE") {
            seen.once(0)?;
            sender.size = Some(size(value.ok_or(BAD)?)?);
        } else if is("BODY") {
            seen.once(1)?;
            sender.body = body(value.ok_or(BAD)?)?;
        } else if is("SMTPUTF8") {
            seen.once(2)?;
            // "does not take any parameters" (RFC 6531 section 3.4).
            sender.smtputf8 = value.is_none().then_some(true).ok_or(BAD)?;
        } else if is("AUTH") && offered.auth {
            seen.once(3)?;
            sender.submitter = submitter(value.ok_or(BAD)?)?;
        } else if is("RET") && offered.dsn {
            seen.once(4)?;
            sender.ret = Some(ret(value.ok_or(BAD)?)?);
        } else if is("ENVID") && offered.dsn {
            seen.once(5)?;
            let value = value.filter(|value| value.len() <= ENVID_MAX).ok_or(BAD)?;
            sender.envid = Some(xtext::decode(value).filter(|id| id.is_ascii()).ok_or(BAD)?);
        } else if is("BY") && offered.deliver_by {
            seen.once(6)?;
            sender.deliver_by = Some(deliver_by(value.ok_or(BAD)?)?);
        } else if is("HOLDFOR") && offered.future_release {
            // "MUST reject a MAIL command containing more than one hold-param" (RFC 4865 section 4.2).
            seen.once(7)?;
            sender.hold = value.and_then(seconds).filter(|&n| n > 0).map(Hold::For);
            sender.hold.ok_or(BAD)?;
        } else if is("HOLDUNTIL") && offered.future_release {
            seen.once(7)?;
            sender.hold = Some(Hold::Until(value.and_then(moment).ok_or(BAD)?));
        } else if is("REQUIRETLS") && offered.require_tls {
            seen.once(8)?;
            sender.require_tls = value.is_none().then_some(true).ok_or(BAD)?;
        } else {
            return Err(CommandError::UnknownParameter);
        }
    }
    Ok(())
}

/// Puts the parameters of RCPT into `recipient`.
pub(super) fn of_rcpt(text: &str, offered: &Offered, recipient: &mut Recipient) -> Result<(), CommandError> {
    let mut seen = Seen::default();
    for parameter in text.split_ascii_whitespace() {
        let (keyword, value) = split(parameter)?;
        let is = |name: &str| keyword.eq_ignore_ascii_case(name);
        if is("NOTIFY") && offered.dsn {
            seen.once(0)?;
            recipient.notify = Some(notify(value.ok_or(BAD)?)?);
        } else if is("ORCPT") && offered.dsn {
            seen.once(1)?;
            let value = value.filter(|value| value.len() <= ORCPT_MAX).ok_or(BAD)?;
            recipient.original = Some(original(value)?);
        } else {
            return Err(CommandError::UnknownParameter);
        }
    }
    Ok(())
}

const BAD: CommandError = CommandError::ParameterSyntax;

/// Which parameters were there: each may come once (RFC 3461 section 4.5 says so for its own; the others make no
/// sense twice).
#[derive(Default)]
struct Seen(u16);

impl Seen {
    fn once(&mut self, index: u8) -> Result<(), CommandError> {
        let bit = 1 << index;
        if self.0 & bit != 0 {
            return Err(BAD);
        }
        self.0 |= bit;
        Ok(())
    }
}

fn split(parameter: &str) -> Result<(&str, Option<&str>), CommandError> {
    let (keyword, value) = match parameter.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (parameter, None),
    };
    let is_keyword = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
        && keyword.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let is_value = value.is_none_or(|value| !value.is_empty() && !value.contains('='));
    if is_keyword && is_value { Ok((keyword, value)) } else { Err(BAD) }
}

fn size(value: &str) -> Result<u64, CommandError> {
    if value.len() > SIZE_DIGITS_MAX || !value.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(BAD);
    }
    // Twenty digits may be more than 64 bits hold; as a size that is all the same: too big.
    Ok(value.parse().unwrap_or(u64::MAX))
}

fn body(value: &str) -> Result<BodyKind, CommandError> {
    [BodyKind::SevenBit, BodyKind::EightBit, BodyKind::Binary]
        .into_iter()
        .find(|kind| value.eq_ignore_ascii_case(kind.as_str()))
        .ok_or(CommandError::UnknownParameterValue)
}

fn submitter(value: &str) -> Result<Submitter, CommandError> {
    if value == "<>" {
        return Ok(Submitter::Unknown);
    }
    let address = xtext::decode(value).and_then(|text| Address::parse(&text).ok());
    address.map(Submitter::Mailbox).ok_or(BAD)
}

fn ret(value: &str) -> Result<Ret, CommandError> {
    match value {
        _ if value.eq_ignore_ascii_case("FULL") => Ok(Ret::Full),
        _ if value.eq_ignore_ascii_case("HDRS") => Ok(Ret::Headers),
        _ => Err(BAD),
    }
}

fn notify(value: &str) -> Result<Notify, CommandError> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    for word in value.split(',') {
        match word {
            _ if word.eq_ignore_ascii_case("SUCCESS") => notify.success = true,
            _ if word.eq_ignore_ascii_case("FAILURE") => notify.failure = true,
            _ if word.eq_ignore_ascii_case("DELAY") => notify.delay = true,
            _ => return Err(BAD),
        }
    }
    Ok(notify)
}

fn original(value: &str) -> Result<OriginalRecipient, CommandError> {
    let (kind, address) = value.split_once(';').ok_or(BAD)?;
    let is_atom = !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let address = xtext::decode(address).filter(|address| !address.is_empty()).ok_or(BAD)?;
    if is_atom { Ok(OriginalRecipient { kind: kind.to_owned(), address }) } else { Err(BAD) }
}

/// `by-time ";" by-mode [by-trace]` (RFC 2852 section 4).
fn deliver_by(value: &str) -> Result<DeliverBy, CommandError> {
    let (time, mode) = value.split_once(';').ok_or(BAD)?;
    let (negative, digits) = match time.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, time.strip_prefix('+').unwrap_or(time)),
    };
    let magnitude = seconds(digits).and_then(|n| i32::try_from(n).ok()).ok_or(BAD)?;
    let (late, trace) = match mode.to_ascii_uppercase().as_str() {
        "N" => (Late::Notify, false),
        "NT" => (Late::Notify, true),
        "R" => (Late::Return, false),
        "RT" => (Late::Return, true),
        _ => return Err(BAD),
    };
    let seconds = if negative { -magnitude } else { magnitude };
    // "In the case of a by-mode of "R", a zero or negative by-time is a syntax error".
    if late == Late::Return && seconds <= 0 { Err(BAD) } else { Ok(DeliverBy { seconds, late, trace }) }
}

fn seconds(digits: &str) -> Option<u32> {
    let right = digits.len() <= SECONDS_DIGITS_MAX && digits.bytes().all(|octet| octet.is_ascii_digit());
    digits.parse().ok().filter(|_| right)
}

/// A date and time in UTC (RFC 3339 section 5.6, with `Z` alone as RFC 4865 section 3 has it).
fn moment(value: &str) -> Option<Timestamp> {
    let right = value.len() <= MOMENT_MAX
        && value.ends_with(['Z', 'z'])
        && value.bytes().all(|octet| octet.is_ascii_digit() || b"-:.TtZz".contains(&octet));
    value.parse().ok().filter(|_| right)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ALL: Offered =
        Offered { auth: true, dsn: true, deliver_by: true, future_release: true, require_tls: true };
    const PLAIN: Offered =
        Offered { auth: false, dsn: false, deliver_by: false, future_release: false, require_tls: false };

    fn mail(text: &str, offered: &Offered) -> Result<Sender, CommandError> {
        let mut sender = Sender::default();
        of_mail(text, offered, &mut sender).map(|()| sender)
    }

    fn rcpt(text: &str, offered: &Offered) -> Result<Recipient, CommandError> {
        let mut recipient = Recipient::new(Address::parse("a@b.example").unwrap());
        of_rcpt(text, offered, &mut recipient).map(|()| recipient)
    }

    #[test]
    fn parameters_of_mail() {
        let sender =
            mail("SIZE=1000 body=8BitMime SMTPUTF8 AUTH=e+3Dmc2@b.example RET=hdrs ENVID=QQ314+2B1", &ALL);
        let sender = sender.unwrap();
        assert_eq!(sender.size, Some(1000));
        assert_eq!(sender.body, BodyKind::EightBit);
        assert!(sender.smtputf8);
        assert_eq!(sender.submitter, Submitter::Mailbox(Address::parse("e=mc2@b.example").unwrap()));
        assert_eq!(sender.ret, Some(Ret::Headers));
        assert_eq!(sender.envid.as_deref(), Some("QQ314+1"));
        assert_eq!(mail("AUTH=<>", &ALL).unwrap().submitter, Submitter::Unknown);
        assert_eq!(mail("SIZE=99999999999999999999", &ALL).unwrap().size, Some(u64::MAX));
        assert_eq!(mail("  ", &ALL), Ok(Sender::default()));
        assert!(mail("requiretls", &ALL).unwrap().require_tls);
    }

    #[test]
    fn times_of_delivery() {
        for (text, seconds, late, trace) in [
            ("BY=120;R", 120, Late::Return, false),
            ("by=+120;rt", 120, Late::Return, true),
            ("BY=0;N", 0, Late::Notify, false),
            ("BY=-999999999;NT", -999_999_999, Late::Notify, true),
        ] {
            assert_eq!(
                mail(text, &ALL).unwrap().deliver_by,
                Some(DeliverBy { seconds, late, trace }),
                "{text}"
            );
        }
        let until = |text: &str| Some(Hold::Until(text.parse().unwrap()));
        for (text, hold) in [
            ("HOLDFOR=1", Some(Hold::For(1))),
            ("holdfor=999999999", Some(Hold::For(999_999_999))),
            ("HOLDUNTIL=2026-12-24T18:00:00Z", until("2026-12-24T18:00:00Z")),
            ("HOLDUNTIL=2026-12-24t18:00:00.5z", until("2026-12-24T18:00:00.5Z")),
        ] {
            assert_eq!(mail(text, &ALL).unwrap().hold, hold, "{text}");
        }
    }

    #[test]
    fn wrong_times_of_delivery_are_refused() {
        for text in [
            "BY",
            "BY=120",
            "BY=;R",
            "BY=-;N",
            "BY=120;",
            "BY=120;X",
            "BY=120;TR",
            "BY=0;R",
            "BY=-1;R",
            "BY=1000000000;N",
            "BY=+-1;N",
            "BY=1;N BY=1;N",
            "HOLDFOR",
            "HOLDFOR=0",
            "HOLDFOR=-1",
            "HOLDFOR=+1",
            "HOLDFOR=1000000000",
            "HOLDUNTIL=tomorrow",
            "HOLDUNTIL=2026-12-24",
            "HOLDUNTIL=2026-12-24T18:00:00",
            "HOLDUNTIL=2026-12-24T18:00:00+01:00",
            "HOLDUNTIL=2026-13-24T18:00:00Z",
            "HOLDUNTIL=2026-12-24T18:00:00[UTC]Z",
            "HOLDFOR=1 HOLDUNTIL=2026-12-24T18:00:00Z",
            "REQUIRETLS=yes",
            "REQUIRETLS REQUIRETLS",
        ] {
            assert_eq!(mail(text, &ALL), Err(BAD), "{text}");
        }
        for text in ["BY=1;N", "HOLDFOR=1", "HOLDUNTIL=2026-12-24T18:00:00Z", "REQUIRETLS"] {
            assert_eq!(mail(text, &PLAIN), Err(CommandError::UnknownParameter), "{text}");
        }
    }

    #[test]
    fn parameters_of_rcpt() {
        let recipient = rcpt("NOTIFY=success,DELAY ORCPT=rfc822;Bob+40b.example", &ALL).unwrap();
        assert_eq!(recipient.notify, Some(Notify { success: true, failure: false, delay: true }));
        let original = recipient.original.unwrap();
        assert_eq!((original.kind.as_str(), original.address.as_str()), ("rfc822", "Bob@b.example"));
        assert_eq!(rcpt("NOTIFY=NEVER", &ALL).unwrap().notify, Some(Notify::default()));
    }

    #[test]
    fn wrong_parameters_of_mail_are_refused() {
        let unknown = CommandError::UnknownParameter;
        for (text, error) in [
            ("SIZE", BAD),
            ("SIZE=", BAD),
            ("SIZE=-1", BAD),
            ("SIZE=1k", BAD),
            ("SIZE=999999999999999999999", BAD),
            ("SIZE=1 SIZE=1", BAD),
            ("BODY=9BIT", CommandError::UnknownParameterValue),
            ("SMTPUTF8=yes", BAD),
            ("AUTH=nobody", BAD),
            ("RET=NONE", BAD),
            ("ENVID=a+0Ab", BAD),
            ("=5", BAD),
            ("SI_ZE=5", BAD),
            ("SIZE=5=5", BAD),
            ("XYZZY", unknown),
            ("NOTIFY=NEVER", unknown),
        ] {
            assert_eq!(mail(text, &ALL), Err(error), "{text}");
        }
        assert_eq!(mail(&format!("ENVID={}", "x".repeat(101)), &ALL), Err(BAD));
        for text in ["AUTH=<>", "RET=FULL", "ENVID=x"] {
            assert_eq!(mail(text, &PLAIN), Err(unknown), "{text}");
        }
    }

    #[test]
    fn wrong_parameters_of_rcpt_are_refused() {
        for (text, error) in [
            ("NOTIFY=NEVER,DELAY", BAD),
            ("NOTIFY=", BAD),
            ("NOTIFY=DELAY,", BAD),
            ("ORCPT=bob@b.example", BAD),
            ("ORCPT=rfc822;", BAD),
            ("ORCPT=;bob", BAD),
            ("ORCPT=rfc822;a+0Db", BAD),
            ("ORCPT=rfc822;a ORCPT=rfc822;a", BAD),
            ("SIZE=5", CommandError::UnknownParameter),
        ] {
            assert_eq!(rcpt(text, &ALL), Err(error), "{text}");
        }
        assert_eq!(rcpt("NOTIFY=NEVER", &PLAIN), Err(CommandError::UnknownParameter));
    }
}
