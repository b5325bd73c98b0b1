//! `dovecot-uidlist` and `dovecot-keywords`: the UIDs and the names of keywords in a Maildir.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Keywords that have a letter, `a` to `z`.
pub(crate) const LETTERS: usize = 26;

/// The UIDs of a Maildir's messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UidList {
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub uid_next: u32,
    /// UIDs by the part of the file names that stays.
    pub uids: HashMap<Box<str>, u32>,
}

/// The part of a Maildir file name that stays when flags change.
pub(crate) fn base(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

impl UidList {
    /// Reads the file's text, of version 1 or 3. `None` if it is something else. Lines that cannot be read, and UIDs that
    /// come twice, are left out.
    pub fn parse(text: &[u8]) -> Option<UidList> {
        let mut lines = text.split(|octet| *octet == b'\n');
        let header = std::str::from_utf8(lines.next()?).ok()?;
        let mut words = header.split_ascii_whitespace();
        let mut list = UidList::default();
        match words.next()? {
            "1" => {
                list.uid_validity = words.next()?.parse().ok()?;
                list.uid_next = words.next()?.parse().ok()?;
            }
            "3" => {
                for word in words {
                    let mut chars = word.chars();
                    match chars.next()? {
                        'V' => list.uid_validity = chars.as_str().parse().ok()?,
                        'N' => list.uid_next = chars.as_str().parse().ok()?,
                        _ => {}
                    }
                }
            }
            _ => return None,
        }
        if list.uid_validity == 0 {
            return None;
        }
        let mut last = 0;
        for line in lines {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let Some((uid, rest)) = line.split_once(' ') else { continue };
            // Version 3 has extensions before the name, which begins with a colon.
            let name = match header.starts_with('3') {
                true => {
                    match rest.strip_prefix(':').or_else(|| rest.split_once(" :").map(|(_, name)| name)) {
                        Some(name) => name,
                        None => continue,
                    }
                }
                false => rest,
            };
            // They are ascending; one that is not was written by nobody who knows.
            if let Some(uid) = uid.parse().ok().filter(|uid| *uid > last) {
                last = uid;
                list.uids.insert(base(name).into(), uid);
            }
        }
        list.uid_next = list.uid_next.max(last.saturating_add(1));
        Some(list)
    }

    /// The first line of a file of version 3.
    pub(crate) fn header(uid_validity: u32, uid_next: u32, guid: u128) -> String {
        format!("3 V{uid_validity} N{uid_next} G{guid:032x}\n")
    }

    /// A line of it.
    pub(crate) fn line(uid: u32, name: &str, out: &mut String) {
        let _ = writeln!(out, "{uid} :{name}");
    }
}

/// Reads `dovecot-keywords`: the keywords by their letters.
pub(crate) fn keywords(text: &str) -> Vec<Option<Arc<str>>> {
    let mut names = vec![None; LETTERS];
    for line in text.lines() {
        let Some((number, name)) = line.split_once(' ') else { continue };
        if let Some(slot) = number.parse().ok().and_then(|number: usize| names.get_mut(number))
            && !name.is_empty()
        {
            *slot = Some(name.into());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn uid_lists_of_both_versions() {
        let text = b"3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n\
            25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,\n\
            25017 W2481 :1276533073.M242911P3632.kurkku:2,F\n\
            25011 :not.ascending\n\
            nonsense\n\
            \xff\xfe\n\
            25018 noname\n";
        let list = UidList::parse(text).unwrap();
        assert_eq!((list.uid_validity, list.uid_next, list.uids.len()), (1_275_660_208, 25_022, 2));
        assert_eq!(list.uids["1276533073.M242911P3632.kurkku"], 25_017);
        assert_eq!(list.uids["1276528487.M364837P9451.kurkku,S=1355,W=1394"], 25_006);

        let list = UidList::parse(b"1 77 3\n1 a.b.c:2,S\n9 d.e.f\n").unwrap();
        assert_eq!((list.uid_validity, list.uid_next, list.uids["d.e.f"]), (77, 10, 9));
        for text in [&b""[..], b"2 V1 N2\n", b"3 N5\n", b"3 V0 N5\n", b"3 Vx\n", b"1 5\n", b"\xff\n"] {
            assert_eq!(UidList::parse(text), None, "{}", text.escape_ascii());
        }
        let mut text = UidList::header(5, 9, 1);
        UidList::line(3, "a.b.c", &mut text);
        assert_eq!(UidList::parse(text.as_bytes()).unwrap().uids["a.b.c"], 3);
    }

    #[test]
    fn keywords_have_letters() {
        let names = keywords("0 $Forwarded\n2 Junk\n26 none\nx y\n3 \n1\n");
        assert_eq!((names[0].as_deref(), names[1].as_deref()), (Some("$Forwarded"), None));
        assert_eq!((names[2].as_deref(), names[3].as_deref(), names.len()), (Some("Junk"), None, 26));
    }
}
