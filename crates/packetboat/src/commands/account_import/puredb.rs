//! PureDB, the form into which pure-ftpd compiles its users: "PDB2", a table of 257 places, of which each two bound the list of one
//! of 256 parts by hash; each entry of a list is a hash and a place; there lie key and value, each with its length before it.
//! All numbers have 32 bits and the most significant first.

/// What it begins with.
const MAGIC: &[u8] = b"PDB2";
/// Parts by hash.
const PARTS: usize = 256;
/// Users in it at most.
const USERS_MAX: usize = 10_000_000;

/// Whether this is one.
pub(super) fn is_one(octets: &[u8]) -> bool {
    octets.starts_with(MAGIC)
}

fn number(octets: &[u8], at: usize) -> Result<usize, String> {
    let end = at.checked_add(4).ok_or("a place lies outside of it")?;
    let four = octets.get(at..end).and_then(|four| four.try_into().ok()).ok_or("it ends too early")?;
    usize::try_from(u32::from_be_bytes(four)).map_err(|_| "a place lies outside of it".to_owned())
}

fn text(octets: &[u8], at: usize) -> Result<(&str, usize), String> {
    let length = number(octets, at)?;
    let (begin, end) = (at + 4, (at + 4).checked_add(length).ok_or("a length is too great")?);
    let text = octets.get(begin..end).ok_or("it ends too early")?;
    Ok((std::str::from_utf8(text).map_err(|_| "an entry is not text")?, end))
}

/// Its own hash: Daniel Bernstein's, from the last octet to the first.
fn hash(key: &[u8]) -> u32 {
    key.iter().rev().fold(5381, |hash: u32, octet| hash.wrapping_add(hash << 5) ^ u32::from(*octet))
}

/// All entries, in the order in which they lie there.
pub(super) fn entries(octets: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut places = Vec::new();
    for part in 0..PARTS {
        let (begin, end) = (number(octets, 4 + 4 * part)?, number(octets, 8 + 4 * part)?);
        let mut at = begin;
        // A list is bounded by the next one; an empty one holds a filler.
        while at.saturating_add(8) <= end {
            places.push((number(octets, at)?, number(octets, at + 4)?));
            if places.len() > USERS_MAX {
                return Err("it holds too many users".to_owned());
            }
            at += 8;
        }
    }
    places.sort_by_key(|(_, place)| *place);
    let mut entries = Vec::new();
    // No octet belongs to two entries, so all of them together are no larger than the file.
    let mut ended = 0;
    for (hashed, place) in places {
        let (key, at) = text(octets, place)?;
        let (value, end) = text(octets, at)?;
        if place < std::mem::replace(&mut ended, end) {
            return Err(format!("the entry of {key:?} lies within another"));
        }
        if usize::try_from(hash(key.as_bytes())) != Ok(hashed) {
            return Err(format!("the entry of {key:?} is not where its hash says"));
        }
        entries.push((key.to_owned(), value.to_owned()));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Written from the description above.
    fn made(users: &[(&str, &str)]) -> Vec<u8> {
        let word = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
        let table = 4 + 4 * (PARTS + 1);
        let parts: Vec<Vec<&(&str, &str)>> = (0..PARTS)
            .map(|part| {
                users.iter().filter(|(name, _)| hash(name.as_bytes()) as usize % PARTS == part).collect()
            })
            .collect();
        let lists: usize = parts.iter().map(|part| (8 * part.len()).max(4)).sum();
        let (mut begins, mut entries, mut data) = (Vec::new(), Vec::new(), Vec::new());
        for part in &parts {
            begins.extend(word(table + entries.len()));
            for (name, value) in part {
                entries.extend(hash(name.as_bytes()).to_be_bytes());
                entries.extend(word(table + lists + data.len()));
                for text in [name, value] {
                    data.extend(word(text.len()));
                    data.extend(text.as_bytes());
                }
            }
            if part.is_empty() {
                entries.extend([0; 4]);
            }
        }
        begins.extend(word(table + entries.len()));
        [MAGIC, &begins, &entries, &data].concat()
    }

    #[test]
    fn hashes_are_those_of_pure_pw() {
        // As they stand in a database that pure-pw 1.0.50 made.
        assert_eq!((hash(b"joe"), hash(b"amy")), (0x0b87_23e5, 0x0b87_9730));
    }

    #[test]
    fn an_entry_is_one_only() {
        // The list of each part ends where the next one begins: turned round by turns, half of them are the whole table, and
        // each entry in it would be read 128 times.
        let mut octets = made(&[("joe", &"x".repeat(1000))]);
        let (first, last) = (octets[4..8].to_vec(), octets[4 + 4 * PARTS..8 + 4 * PARTS].to_vec());
        for part in 0..=PARTS {
            let place = 4 + 4 * part;
            octets[place..place + 4].copy_from_slice(if part % 2 == 0 { &first } else { &last });
        }
        assert!(entries(&octets).is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let users = [("joe", "a:1"), ("amy", "b:2"), ("j\u{f6}rg", "")];
        let octets = made(&users);
        let mut read = entries(&octets).unwrap();
        read.sort();
        let mut wanted: Vec<_> =
            users.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        wanted.sort();
        assert_eq!(read, wanted);
        // Cut anywhere, or with an octet changed, it is an error or less, and never a panic.
        for end in 0..octets.len() {
            assert!(entries(&octets[..end]).is_err() || end > octets.len() - 8, "{end}");
            let mut changed = octets.clone();
            changed[end] ^= 0xff;
            let _ = entries(&changed);
        }
    }
}
