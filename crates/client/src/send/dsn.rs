//! What the sender wants to be told about the message's fate (RFC 3461), as typed and as meant.

use packetboat_message::Address;
use packetboat_smtp::Recipient;
use packetboat_smtp::envelope::{Notify, OriginalRecipient, Ret};

use super::failure::{Failure, FailureKind};
use super::request::Request;

/// Octets of an envelope identifier at most (RFC 3461 section 4.4).
const ENVID_MAX: usize = 100;

/// The parameters of delivery status notifications.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dsn {
    pub(crate) notify: Option<Notify>,
    pub(crate) ret: Option<Ret>,
    pub(crate) envid: Option<String>,
}

impl Dsn {
    pub(crate) fn parse(request: &Request) -> Result<Dsn, Failure> {
        let wrong = |said: &str| Failure::new(FailureKind::Usage, said);
        let notify = match request.notify.as_deref() {
            None => None,
            Some("never") => Some(Notify::default()),
            Some(words) => {
                let mut notify = Notify::default();
                for word in words.split(',') {
                    match word.trim() {
                        "success" => notify.success = true,
                        "failure" => notify.failure = true,
                        "delay" => notify.delay = true,
                        _ => return Err(wrong("--notify takes never, or some of success,failure,delay")),
                    }
                }
                Some(notify)
            }
        };
        let ret = match request.ret.as_deref() {
            None => None,
            Some("full") => Some(Ret::Full),
            Some("headers") => Some(Ret::Headers),
            Some(_) => return Err(wrong("--ret takes full or headers")),
        };
        let envid = request.envid.clone();
        let visible = |envid: &String| {
            envid.len() <= ENVID_MAX && envid.bytes().all(|octet| (b' '..=b'~').contains(&octet))
        };
        if envid.as_ref().is_some_and(|envid| envid.is_empty() || !visible(envid)) {
            return Err(wrong("--envid takes up to 100 printable ASCII characters"));
        }
        Ok(Dsn { notify, ret, envid })
    }

    /// Whether anything is wanted that a server has to offer.
    pub(crate) fn is_wanted(&self) -> bool {
        *self != Dsn::default()
    }

    /// The recipient with what is wanted for it, and, in notices, under the name it has here.
    pub(crate) fn recipient(&self, address: &Address) -> Recipient {
        let original = (self.notify.is_some() && !address.needs_utf8())
            .then(|| OriginalRecipient { kind: "rfc822".to_owned(), address: address.to_string() });
        Recipient { notify: self.notify, original, ..Recipient::new(address.clone()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn words_become_parameters() {
        let dsn = |notify: &str, ret: &str, envid: &str| {
            let given = |text: &str| (text != "-").then(|| text.to_owned());
            Dsn::parse(&Request {
                notify: given(notify),
                ret: given(ret),
                envid: given(envid),
                ..Request::default()
            })
        };
        assert!(!dsn("-", "-", "-").unwrap().is_wanted());
        assert_eq!(dsn("never", "-", "-").unwrap().notify, Some(Notify::default()));
        let notify = dsn("success, delay", "headers", "x 1").unwrap();
        assert_eq!(notify.notify, Some(Notify { success: true, failure: false, delay: true }));
        assert_eq!((notify.ret, notify.envid.as_deref()), (Some(Ret::Headers), Some("x 1")));
        let alice = Address::parse("alice@example.org").unwrap();
        assert_eq!(notify.recipient(&alice).original.unwrap().address, "alice@example.org");
        for (notify, ret, envid) in
            [("always", "-", "-"), ("", "-", "-"), ("-", "half", "-"), ("-", "-", ""), ("-", "-", "é")]
        {
            assert_eq!(dsn(notify, ret, envid).unwrap_err().kind, FailureKind::Usage);
        }
    }
}
