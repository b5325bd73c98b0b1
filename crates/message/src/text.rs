//! Text as people mean it: transfer encodings, charsets and encoded-words taken away, case folded.
//!
//! All of it takes its input in pieces and keeps little, and nothing is refused: what is broken is read as well as it
//! can be. Who has to know whether something was broken asks the decoder ([`transfer::Decoder::is_sound`]).

pub mod charset;
pub mod find;
pub mod fold;
pub mod html;
pub mod search;
pub mod transfer;
pub mod words;

/// One more whenever decoding, folding or [`find::gram`] comes to another outcome for some text: what was kept of texts
/// read the old way is then of no use.
pub const EDITION: u16 = 1;
