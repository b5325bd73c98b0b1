#![allow(clippy::unwrap_used)]

mod table;
mod there_and_back;

use super::*;

/// Everything read of what a server says; whole, and again octet by octet, which makes no difference but for the
/// pieces of sections, which are put together.
fn read(octets: &[u8]) -> Result<Vec<Read>, Violation> {
    let read_in = |size: usize| {
        let mut input = Input::new();
        let mut reader = Reader::new();
        let mut seen: Vec<Read> = Vec::new();
        for piece in octets.chunks(size) {
            input.push(piece);
            while let Some(read) = reader.next(&mut input)? {
                match (seen.last_mut(), read) {
                    (Some(Read::Octets(before)), Read::Octets(more)) => {
                        *before = [&before[..], &more[..]].concat().into();
                    }
                    (_, read) => seen.push(read),
                }
            }
        }
        Ok((seen, input.len()))
    };
    let whole = read_in(octets.len().max(1));
    assert_eq!(whole, read_in(1), "split at every octet");
    assert_eq!(whole, read_in(3), "split at every third octet");
    whole.map(|(seen, _)| seen)
}

fn untagged(text: &[u8]) -> Untagged {
    match read(text).unwrap().as_slice() {
        [Read::Untagged(untagged)] => untagged.clone(),
        other => panic!("{other:?}"),
    }
}

fn fetched(text: &[u8]) -> (Fetched, Vec<(Section, Vec<u8>)>) {
    let mut sections = Vec::new();
    for read in read(text).unwrap() {
        match read {
            Read::Section { section, .. } => sections.push((section, Vec::new())),
            Read::Octets(octets) => sections.last_mut().unwrap().1.extend_from_slice(&octets),
            Read::SectionEnd => {}
            Read::Fetched(fetched) => return (*fetched, sections),
            other => panic!("{other:?}"),
        }
    }
    panic!("no FETCH in {}", text.escape_ascii());
}
