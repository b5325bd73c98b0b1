//! Where mail is on an IMAP server, as people write it: `imaps://alice@example.org@mail.example.org` (RFC 5092, without
//! what names a mailbox or a message).

use thiserror::Error;

use crate::net::Place;

/// The ports of IMAP with TLS from the first octet, and with STARTTLS.
const IMAPS: u16 = 993;
const IMAP: u16 = 143;

/// An account on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImapUrl {
    /// Host and port.
    pub place: Place,
    /// TLS from the first octet.
    pub implicit_tls: bool,
    /// The name to log in with.
    pub user: String,
}

/// A text is no such address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is no IMAP account: write imaps://user@host or imap://user@host:port")]
pub struct InvalidUrl(String);

impl std::str::FromStr for ImapUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<ImapUrl, InvalidUrl> {
        let wrong = || InvalidUrl(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (implicit_tls, port) = match scheme.to_ascii_lowercase().as_str() {
            "imaps" => (true, IMAPS),
            "imap" => (false, IMAP),
            _ => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // Login names have an @ of their own, and few people write %40 for it.
        let (user, host) = rest.rsplit_once('@').ok_or_else(wrong)?;
        let user = unescape(user).filter(|user| !user.is_empty()).ok_or_else(wrong)?;
        let place: Place = host.parse().map_err(|_| wrong())?;
        if place.host().is_none() {
            return Err(wrong());
        }
        Ok(ImapUrl { place: place.with_port(port), implicit_tls, user })
    }
}

/// Undoes `%40` and the like.
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    out.extend_from_slice(pieces.next()?.as_bytes());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        out.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn accounts_as_people_write_them() {
        for (text, place, implicit, user) in [
            ("imaps://alice@mail.example.org", "mail.example.org:993", true, "alice"),
            (
                "IMAP://alice@example.org@mail.example.org:1143/",
                "mail.example.org:1143",
                false,
                "alice@example.org",
            ),
            ("imaps://a%40b%25@[2001:db8::1]:5", "[2001:db8::1]:5", true, "a@b%"),
        ] {
            let url: ImapUrl = text.parse().unwrap();
            assert_eq!(
                (url.place.to_string().as_str(), url.implicit_tls, url.user.as_str()),
                (place, implicit, user)
            );
        }
        for text in [
            "mail.example.org",
            "imaps://host",
            "imaps://@host",
            "pop3://a@b",
            "imaps://a%4@b",
            "imaps://a@unix:/x",
            "imaps://%ff@b",
            "",
        ] {
            assert_eq!(text.parse::<ImapUrl>(), Err(InvalidUrl(text.to_owned())));
        }
    }
}
