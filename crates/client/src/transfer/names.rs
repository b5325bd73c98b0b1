//! Mailbox names in the file system.

use packetboat_imap::value::MailboxName;

/// A name in the form of a server or a Maildir++ directory, `separator` between its levels and each in modified UTF-7 or
/// UTF-8, as ours: UTF-8 with `/`. What cannot stand in a name becomes `_`.
pub fn local_name(foreign: &[u8], separator: Option<char>) -> String {
    let text = String::from_utf8_lossy(foreign);
    let levels: Vec<String> = match separator {
        Some(separator) => text.split(separator).map(level).collect(),
        None => vec![level(&text)],
    };
    let mut levels: Vec<String> = levels.into_iter().filter(|level| !level.is_empty()).collect();
    if let Some(first) = levels.first_mut().filter(|first| first.eq_ignore_ascii_case("INBOX")) {
        "INBOX".clone_into(first);
    }
    levels.join("/")
}

fn level(text: &str) -> String {
    let decoded = MailboxName::decode(text.as_bytes(), false).map(|name| name.as_str().to_owned());
    let decoded = match decoded {
        Ok(decoded) if !decoded.eq_ignore_ascii_case(text) => decoded,
        _ => text.to_owned(),
    };
    decoded
        .chars()
        .map(|c| if c.is_control() || matches!(c, '/' | '\u{2028}' | '\u{2029}') { '_' } else { c })
        .collect()
}

/// Our name as a Maildir++ directory beside `cur`: `.Sent.2024`. Dots inside a level and a slash become `_`.
pub fn maildir_name(name: &str) -> String {
    let mut out = String::new();
    for level in name.split('/') {
        let plain: String = level.chars().map(|c| if c == '.' { '_' } else { c }).collect();
        out.push('.');
        match MailboxName::new(&plain) {
            // A level called inbox is not the inbox.
            Ok(name) if !name.is_inbox() => out.push_str(&name.encode(false)),
            _ => out.push_str(&plain),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in() {
        for (foreign, separator, name) in [
            (&b"Sent.2024"[..], Some('.'), "Sent/2024"),
            (b"inbox.Inbox", Some('.'), "INBOX/Inbox"),
            (b"Entw&APw-rfe", Some('.'), "Entwürfe"),
            ("Entwürfe".as_bytes(), Some('/'), "Entwürfe"),
            (b"a..b.", Some('.'), "a/b"),
            (b"a/b.c", Some('.'), "a_b/c"),
            (b"Tom & Jerry", Some('.'), "Tom & Jerry"),
            (b"flat/name", None, "flat_name"),
            (b"a\x01b", Some('.'), "a_b"),
            (b"\xff.x", Some('.'), "\u{fffd}/x"),
            (b"...", Some('.'), ""),
        ] {
            assert_eq!(local_name(foreign, separator), name, "{}", foreign.escape_ascii());
        }
    }

    #[test]
    fn names_go_out_and_come_back() {
        for (name, directory) in
            [("Sent/2024", ".Sent.2024"), ("Entwürfe", ".Entw&APw-rfe"), ("A & B/x", ".A &- B.x")]
        {
            assert_eq!(maildir_name(name), directory);
            assert_eq!(local_name(directory.as_bytes(), Some('.')), name);
        }
        assert_eq!(maildir_name("v1.2"), ".v1_2");
    }
}
