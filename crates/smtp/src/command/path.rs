//! The paths of MAIL and RCPT (RFC 5321 section 4.1.2).

use packetboat_message::{Address, Domain};

use super::{CommandError, Strictness};
use crate::envelope::ForwardPath;

/// A path as it stands in a command: the text between the brackets, and what follows.
struct Split<'a> {
    path: &'a str,
    bracketed: bool,
    rest: &'a str,
}

/// A forward or reverse path that is well formed, and what is not in the address any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed<T> {
    pub(super) path: T,
    /// Written with characters beyond ASCII, which takes SMTPUTF8 (RFC 6531 section 3.3).
    pub(super) needs_utf8: bool,
}

/// Parses the reverse path at the start of `text`; the rest is the parameters.
pub(super) fn reverse(
    text: &str,
    strictness: Strictness,
) -> Result<(Parsed<Option<Address>>, &str), CommandError> {
    let split = split(text, strictness)?;
    let needs_utf8 = !split.path.is_ascii();
    if split.path.is_empty() && split.bracketed {
        return Ok((Parsed { path: None, needs_utf8 }, split.rest));
    }
    let text = without_route(split.path).ok_or(CommandError::SenderSyntax)?;
    if !text.contains('@') && !text.is_empty() {
        return Err(CommandError::SenderDomainMissing);
    }
    let path = Address::parse(text).map_err(|_| CommandError::SenderSyntax)?;
    Ok((Parsed { path: Some(path), needs_utf8 }, split.rest))
}

/// Parses the forward path at the start of `text`; the rest is the parameters.
pub(super) fn forward(
    text: &str,
    strictness: Strictness,
) -> Result<(Parsed<ForwardPath>, &str), CommandError> {
    let split = split(text, strictness)?;
    let needs_utf8 = !split.path.is_ascii();
    if split.path.eq_ignore_ascii_case("postmaster") {
        return Ok((Parsed { path: ForwardPath::Postmaster, needs_utf8 }, split.rest));
    }
    let text = without_route(split.path).ok_or(CommandError::RecipientSyntax)?;
    if !text.contains('@') && !text.is_empty() {
        return Err(CommandError::RecipientDomainMissing);
    }
    let path = Address::parse(text).map_err(|_| CommandError::RecipientSyntax)?;
    Ok((Parsed { path: ForwardPath::Mailbox(path), needs_utf8 }, split.rest))
}

fn split(text: &str, strictness: Strictness) -> Result<Split<'_>, CommandError> {
    // "Since it has been a common source of errors, it is worth noting that spaces are not permitted on either side
    // of the colon" (RFC 5321 section 3.3).
    let text = match strictness {
        Strictness::Lenient => text.trim_start(),
        Strictness::Strict => text,
    };
    let split = match text.strip_prefix('<') {
        Some(inside) => {
            let end = find_unquoted(inside, |c| c == '>').ok_or(CommandError::PathSyntax)?;
            let (path, rest) = inside.split_at(end);
            Split { path, bracketed: true, rest: rest.strip_prefix('>').unwrap_or(rest) }
        }
        None if strictness == Strictness::Lenient => {
            let end = find_unquoted(text, |c| c == ' ' || c == '\t').unwrap_or(text.len());
            let (path, rest) = text.split_at(end);
            Split { path, bracketed: false, rest }
        }
        None => return Err(CommandError::PathSyntax),
    };
    let apart = split.rest.is_empty() || split.rest.starts_with([' ', '\t']);
    let empty = split.path.is_empty() && !split.bracketed;
    if apart && !empty { Ok(split) } else { Err(CommandError::PathSyntax) }
}

/// Where the first character lies that `wanted` names and that is not quoted.
fn find_unquoted(text: &str, wanted: impl Fn(char) -> bool) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted && wanted(c) => return Some(index),
            _ => {}
        }
    }
    None
}

/// Drops a source route, `@one,@two:`, which must be understood and may be ignored (RFC 5321 section 4.1.1.3).
fn without_route(path: &str) -> Option<&str> {
    let mut rest = path;
    if !rest.starts_with('@') {
        return Some(rest);
    }
    loop {
        rest = rest.strip_prefix('@')?;
        let end = if rest.starts_with('[') { rest.find(']')? + 1 } else { rest.find([',', ':'])? };
        let (domain, after) = rest.split_at_checked(end)?;
        Domain::parse(domain).ok()?;
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after.strip_prefix(':'),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Strictness::{Lenient, Strict};
    use super::*;

    fn shown<T>(parsed: Result<(Parsed<T>, &str), CommandError>, show: impl Fn(T) -> String) -> String {
        match parsed {
            Ok((parsed, rest)) => format!("{}|{rest}", show(parsed.path)),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn reverse_paths() {
        for (text, strict, lenient) in [
            ("<>", "|", "|"),
            ("<> SIZE=5", "| SIZE=5", "| SIZE=5"),
            ("<a@b.example>", "a@b.example|", "a@b.example|"),
            ("<A@B.Example> BODY=7BIT", "A@b.example| BODY=7BIT", "A@b.example| BODY=7BIT"),
            ("<@x.example:a@b.example>", "a@b.example|", "a@b.example|"),
            ("<@x.example,@[192.0.2.1]:a@b.example>", "a@b.example|", "a@b.example|"),
            ("<@[IPv6:2001:db8::1]:a@b.example>", "a@b.example|", "a@b.example|"),
            ("<@x.example a@b.example>", "SenderSyntax", "SenderSyntax"),
            ("<@x.example,a@b.example>", "SenderSyntax", "SenderSyntax"),
            ("<\"a>b\"@c.example>", "\"a>b\"@c.example|", "\"a>b\"@c.example|"),
            ("<\"a\\\" b\"@c.example>", "\"a\\\" b\"@c.example|", "\"a\\\" b\"@c.example|"),
            ("<a@[192.0.2.7]>", "a@[192.0.2.7]|", "a@[192.0.2.7]|"),
            ("<alice>", "SenderDomainMissing", "SenderDomainMissing"),
            ("<a@b.example", "PathSyntax", "PathSyntax"),
            ("<a@b.example>SIZE=5", "PathSyntax", "PathSyntax"),
            ("<a@b.example>>", "PathSyntax", "PathSyntax"),
            ("<<a@b.example>>", "PathSyntax", "PathSyntax"),
            ("<a b@c.example>", "SenderSyntax", "SenderSyntax"),
            ("<a@>", "SenderSyntax", "SenderSyntax"),
            ("<\"a@b.example>", "PathSyntax", "PathSyntax"),
            ("", "PathSyntax", "PathSyntax"),
            (" <a@b.example>", "PathSyntax", "a@b.example|"),
            (" a@b.example", "PathSyntax", "a@b.example|"),
            ("a@b.example SIZE=5", "PathSyntax", "a@b.example| SIZE=5"),
            ("\"a b\"@c.example SIZE=5", "PathSyntax", "\"a b\"@c.example| SIZE=5"),
        ] {
            let show = |path: Option<Address>| path.map(|path| path.to_string()).unwrap_or_default();
            assert_eq!(shown(reverse(text, Strict), show), strict, "strict {text}");
            assert_eq!(shown(reverse(text, Lenient), show), lenient, "lenient {text}");
        }
    }

    #[test]
    fn forward_paths() {
        for (text, expected) in [
            ("<a@b.example>", "a@b.example|"),
            ("<@x.example,@y.example:a@b.example> NOTIFY=NEVER", "a@b.example| NOTIFY=NEVER"),
            ("<postMaster>", "Postmaster|"),
            ("<postmaster@b.example>", "postmaster@b.example|"),
            ("<alice>", "RecipientDomainMissing"),
            ("<>", "RecipientSyntax"),
            ("<a@b..c>", "RecipientSyntax"),
        ] {
            assert_eq!(shown(forward(text, Strict), |path| path.to_string()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_beyond_ascii_is_marked() {
        for (text, needs_utf8) in [
            ("<jos\u{e9}@b.example>", true),
            ("<a@b\u{fc}cher.example>", true),
            ("<a@xn--bcher-kva.example>", false),
        ] {
            assert_eq!(forward(text, Strict).unwrap().0.needs_utf8, needs_utf8, "{text}");
            assert_eq!(reverse(text, Strict).unwrap().0.needs_utf8, needs_utf8, "{text}");
        }
    }
}
