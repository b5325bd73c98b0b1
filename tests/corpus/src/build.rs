//! Pieces that messages are put together from.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Message;

/// Where messages are put.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) messages: Vec<Message>,
}

impl Shelf {
    /// Puts a message there as it is.
    pub(crate) fn raw(&mut self, name: &str, octets: impl Into<Vec<u8>>) {
        self.messages.push(Message { name: name.to_owned(), octets: octets.into() });
    }

    /// Puts text there, its lines ended by CRLF.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.raw(name, crlf(text));
    }

    /// Puts a message there that has the usual header, more header lines, and a body. Lines of both end with LF.
    pub(crate) fn letter(&mut self, name: &str, more_header: &str, body: &str) {
        let text = format!("{}{more_header}\n{body}", header(name));
        self.text(name, &text);
    }

    /// The same with octets for a body.
    pub(crate) fn letter_of(&mut self, name: &str, more_header: &str, body: &[u8]) {
        let mut octets = crlf(&format!("{}{more_header}\n", header(name))).into_bytes();
        octets.extend_from_slice(body);
        self.raw(name, octets);
    }
}

/// What every decent message begins with. The subject is the name.
pub(crate) fn header(name: &str) -> String {
    format!(
        "From: Alice Example <alice@example.org>\n\
         To: Bob Example <bob@example.net>\n\
         Date: Mon, 14 Jul 2025 12:34:56 +0200\n\
         Message-ID: <{name}@corpus.example.org>\n\
         Subject: {name}\n\
         MIME-Version: 1.0\n"
    )
}

/// Ends lines with CRLF.
pub(crate) fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// Base64 in lines of 76, each ended by LF.
pub(crate) fn base64(octets: &[u8]) -> String {
    let encoded = STANDARD.encode(octets);
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / 76 + 1);
    for (at, c) in encoded.chars().enumerate() {
        if at > 0 && at % 76 == 0 {
            lines.push('\n');
        }
        lines.push(c);
    }
    lines.push('\n');
    lines
}

/// Quoted-printable (RFC 2045 section 6.7) of lines, each ended by LF.
pub(crate) fn quoted_printable(lines: &[&[u8]]) -> String {
    let mut text = String::new();
    for line in lines {
        let mut width = 0;
        for (at, octet) in line.iter().enumerate() {
            let last = at + 1 == line.len();
            let plain =
                matches!(octet, b'!'..=b'<' | b'>'..=b'~') || (matches!(octet, b' ' | b'\t') && !last);
            let piece = if plain { char::from(*octet).to_string() } else { format!("={octet:02X}") };
            if width + piece.len() > 75 {
                text.push_str("=\n");
                width = 0;
            }
            width += piece.len();
            text.push_str(&piece);
        }
        text.push('\n');
    }
    text
}

/// Octets that look random and are always the same for one seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut octets = Vec::with_capacity(length + 8);
    while octets.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes());
    }
    octets.truncate(length);
    octets
}

/// A multipart body (RFC 2046 section 5.1): each part with its own header lines, an empty line and its text.
pub(crate) fn multipart(boundary: &str, parts: &[&str]) -> String {
    let mut text = String::new();
    for part in parts {
        text.push_str(&format!("--{boundary}\n{part}\n"));
    }
    text.push_str(&format!("--{boundary}--\n"));
    text
}

/// A small valid PNG.
pub(crate) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\xdac\xfc\xcf\xc0P\x0f\0\x04\x85\x01\x80\x84\xa9\x8c!\0\0\0\0IEND\xaeB`\x82";
