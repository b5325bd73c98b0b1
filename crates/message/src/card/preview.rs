//! The beginning of a message as a person reads it (RFC 8970).

use super::PREVIEW_MAX;
use crate::structure::{Found, Part, Structure};
use crate::text::charset::Charset;
use crate::text::html;
use crate::text::transfer::{Decoder, Encoding};

/// So much of a text is decoded at a time.
const STEP: usize = 1 << 10;
/// Octets of HTML that are looked at first; more only if they show little.
const HTML_FIRST: usize = 6 << 10;
/// Octets of text that surely are enough, four for a character.
const TEXT_ENOUGH: usize = 8 * PREVIEW_MAX;

/// The preview of a message of which the beginnings of texts were kept.
pub(super) fn preview(structure: &Structure, found: &Found) -> String {
    let [plain, html] = &found.heads;
    let part = |wanted: Option<usize>| nth(structure.root(), &mut wanted?);
    let mut out = Collapsed::default();
    if let Some(part) = part(plain.part) {
        decode(&part, &plain.octets, |text| out.push(text));
    }
    if out.text.is_empty()
        && let Some(part) = part(html.part)
    {
        for length in [HTML_FIRST, html.octets.len()] {
            let mut decoded = String::new();
            let octets = html.octets.get(..length).unwrap_or(&html.octets);
            decode(&part, octets, |text| {
                decoded.push_str(text);
                false
            });
            let mut text = String::new();
            html::strip(&decoded, TEXT_ENOUGH, &mut text);
            out = Collapsed::default();
            out.push(&text);
            if out.characters >= PREVIEW_MAX || octets.len() == html.octets.len() {
                break;
            }
        }
    }
    out.text.truncate(out.text.trim_end_matches([' ', char::REPLACEMENT_CHARACTER]).len());
    out.text
}

/// The part that comes after so many others in the order of the tree.
fn nth<'a>(part: Part<'a>, left: &mut usize) -> Option<Part<'a>> {
    if *left == 0 {
        return Some(part);
    }
    *left -= 1;
    part.children().find_map(|child| nth(child, left))
}

/// Decodes a text until `take` says that it has enough.
fn decode(part: &Part<'_>, octets: &[u8], mut take: impl FnMut(&str) -> bool) {
    let Some(encoding) = Encoding::named(part.encoding) else { return };
    let mut transfer = Decoder::new(encoding);
    let mut charset = Charset::of_param(part.param("charset")).decoder();
    let (mut plain, mut text) = (Vec::with_capacity(STEP), String::with_capacity(STEP));
    for piece in octets.chunks(STEP) {
        plain.clear();
        text.clear();
        transfer.push(piece, &mut plain);
        charset.push(&plain, &mut text);
        if take(&text) {
            return;
        }
    }
    plain.clear();
    text.clear();
    transfer.finish(&mut plain);
    charset.push(&plain, &mut text);
    take(&text);
}

/// Text with white space collapsed, and what shows nothing left out.
#[derive(Default)]
struct Collapsed {
    text: String,
    characters: usize,
    space: bool,
}

impl Collapsed {
    /// Appends text and says whether there is enough of it.
    fn push(&mut self, text: &str) -> bool {
        for c in text.chars() {
            if self.characters >= PREVIEW_MAX {
                return true;
            }
            match c {
                '\u{200b}'..='\u{200f}' | '\u{ad}' | '\u{34f}' | '\u{feff}' => {}
                c if c.is_whitespace() || c.is_control() => self.space = true,
                c => {
                    if self.space && !self.text.is_empty() {
                        self.text.push(' ');
                        self.characters += 1;
                    }
                    self.space = false;
                    if self.characters < PREVIEW_MAX {
                        self.text.push(c);
                        self.characters += 1;
                    }
                }
            }
        }
        self.characters >= PREVIEW_MAX
    }
}
