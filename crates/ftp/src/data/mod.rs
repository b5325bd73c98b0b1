//! What travels over a data connection: types, structures and modes (RFC 959 section 3), each legal combination in both
//! directions.
//!
//! [`Outbound`] makes what is sent out of octets as they lie on disk, [`Inbound`] makes what lies on disk out of what
//! came. Both are streams: a piece in, a piece out, with bounded memory in between.
//!
//! # How files lie on disk
//!
//! | stored with | lies as |
//! |---|---|
//! | TYPE A or E, STRU F | text in UTF-8 (what came as A: its octets), LF at the end of a line |
//! | TYPE I or L 8, STRU F | its octets |
//! | TYPE L n, STRU F | each logical byte in the least number of octets, right-justified |
//! | TYPE A or E, STRU R | text, a line for each record |
//! | TYPE I or L, STRU R; STRU P | a [`container`]: a file that says of itself what it is |
//!
//! A file that is fetched as it was stored is identical (RFC 959 section 3.1.2.3); fetched in another way it is what the
//! RFC says: ends of records are ends of lines and the other way round, pages lie in their places with zeros between them.

mod bits;
mod block;
pub mod code_page;
mod compressed;
pub mod container;
mod frame;
mod inbound;
mod outbound;
mod page;
mod stream;
mod text;

use std::fmt;

use thiserror::Error;

pub use code_page::CodePage;
pub use inbound::{Consumed, End, Inbound, News};
pub use outbound::{Outbound, Restart};

/// What TYPE, STRU and MODE have set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Representation {
    /// TYPE.
    pub ty: Type,
    /// STRU.
    pub structure: Structure,
    /// MODE.
    pub mode: Mode,
}

/// TYPE (RFC 959 section 3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// `A`
    Ascii(Format),
    /// `E`
    Ebcdic(Format),
    /// `I`
    Image,
    /// `L n`
    Local(ByteSize),
}

/// How a page of print is laid out (RFC 959 section 3.1.1.5). It is kept with a file, as the characters in it; nothing
/// here prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// `N`
    #[default]
    NonPrint,
    /// `T`: the format effectors CR, LF, NL, VT, FF.
    Telnet,
    /// `C`: the first character of each line moves the paper.
    CarriageControl,
}

/// STRU (RFC 959 section 3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Structure {
    /// `F`
    #[default]
    File,
    /// `R`
    Record,
    /// `P`
    Page,
}

/// MODE (RFC 959 section 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// `S`
    #[default]
    Stream,
    /// `B`
    Block,
    /// `C`
    Compressed,
}

/// The size of a logical byte, in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteSize(u8);

/// What a transfer is told beside its representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// For TYPE E.
    pub code_page: CodePage,
    /// In block and compressed mode, a restart marker is sent after so many octets on disk. `None`: never.
    pub marker_every: Option<u64>,
    /// STRU R of a file that has no records, in TYPE I or L: how many octets on disk are one. `None`: all of it.
    pub record_octets: Option<u32>,
    /// STRU P of a file that has no pages: how many logical bytes are one.
    pub page_bytes: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            code_page: CodePage::default(),
            marker_every: Some(1 << 20),
            record_octets: None,
            page_bytes: 512,
        }
    }
}

/// Why a transfer cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DataError {
    /// The connection ended in the middle of something.
    #[error("the data ended before the end of the file")]
    Truncated,
    /// A control code of stream mode that means nothing.
    #[error("a control code of a record-structured file is unknown: {0:#04x}")]
    UnknownControl(u8),
    /// A restart marker that is longer than [`MARKER_MAX`], or holds what must not be in one.
    #[error("a restart marker is not made of up to {MARKER_MAX} printable characters")]
    InvalidMarker,
    /// End of record in a file that has none.
    #[error("an end of record came in a file that has no records")]
    NotRecords,
    /// A line end in a record of text, which is to be a line.
    #[error("a record holds a line end, and records of text are kept as lines; store it with TYPE I")]
    LineEndInRecord,
    /// A page header that means nothing.
    #[error("a page header is not valid")]
    InvalidPage,
    /// What lies on disk calls itself a file of records or pages, and is none.
    #[error("the file is damaged: it does not hold the records or pages it says")]
    Damaged,
    /// Bits are lost: an octet on disk is larger than the logical byte allows, or padding is not zero.
    #[error("the file does not consist of bytes of this size")]
    NotThisByteSize,
    /// Pages lie in an order in which they cannot be read as one stream.
    #[error("the pages of this file are in no ascending order: fetch it with STRU P")]
    PagesOutOfOrder,
    /// A page has a number that its header cannot hold with this type.
    #[error("the file has more pages than TYPE can number: use a larger byte size, such as TYPE L 36")]
    TooManyPages,
    /// A restart that is not where the file can be taken up again.
    #[error("the transfer cannot be taken up again there")]
    InvalidRestart,
}

/// Octets of a restart marker.
pub const MARKER_MAX: usize = 64;

impl Representation {
    /// Whether what is sent is what lies on disk, octet for octet, so that it may be moved without being looked at. A
    /// [`container`] is another matter: whether a file is one is asked with [`container::is_container`].
    pub fn is_plain(&self) -> bool {
        let octets = matches!(self.ty, Type::Image) || self.ty == Type::Local(ByteSize::OCTET);
        octets && self.structure == Structure::File && self.mode == Mode::Stream
    }

    /// Whether the end of the file is the end of the data connection (RFC 959 section 3.3).
    pub fn ends_with_connection(&self) -> bool {
        self.mode == Mode::Stream && self.structure == Structure::File
    }
}

impl Type {
    /// ASCII or EBCDIC.
    pub fn is_text(self) -> bool {
        matches!(self, Type::Ascii(_) | Type::Ebcdic(_))
    }

    /// The size of a logical byte.
    pub(crate) fn byte_size(self) -> ByteSize {
        match self {
            Type::Local(size) => size,
            _ => ByteSize::OCTET,
        }
    }

    /// The filler of compressed mode (RFC 959 section 3.4.3).
    pub(crate) fn filler(self) -> u8 {
        match self {
            Type::Ascii(_) => b' ',
            Type::Ebcdic(_) => code_page::SPACE,
            Type::Image | Type::Local(_) => 0,
        }
    }
}

impl Default for Type {
    fn default() -> Type {
        Type::Ascii(Format::NonPrint)
    }
}

impl ByteSize {
    /// Eight bits.
    pub const OCTET: ByteSize = ByteSize(8);

    /// From 1 to 255 bits.
    pub fn new(bits: u8) -> Option<ByteSize> {
        (bits > 0).then_some(ByteSize(bits))
    }

    /// In bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Octets in which one lies on disk.
    pub fn octets(self) -> usize {
        usize::from(self.0).div_ceil(8)
    }
}

impl fmt::Display for Type {
    /// As the TYPE command has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Ascii(format) => write!(f, "A {format}"),
            Type::Ebcdic(format) => write!(f, "E {format}"),
            Type::Image => f.write_str("I"),
            Type::Local(size) => write!(f, "L {}", size.0),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::NonPrint => "N",
            Format::Telnet => "T",
            Format::CarriageControl => "C",
        })
    }
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Structure::File => "F",
            Structure::Record => "R",
            Structure::Page => "P",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Stream => "S",
            Mode::Block => "B",
            Mode::Compressed => "C",
        })
    }
}
