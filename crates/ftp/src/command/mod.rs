//! The commands of FTP: from a line to a value and back.

mod address;
mod encode;
mod fact;
mod parse;
mod site;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod time;

use std::fmt;
use std::net::SocketAddr;

use packetboat_wire::Secret;
use thiserror::Error;

pub use address::{AddressFamily, Announced, epsv_answer, lpsv_answer, pasv_answer};
pub(crate) use address::{read_epsv_answer, read_lpsv_answer, read_pasv_answer};
pub use encode::Unsayable;
pub use fact::NewFact;
pub use parse::parse;
pub use site::Site;
pub use time::FileTime;

use crate::data::{Mode, Structure, Type};

/// Octets of a command line at most, its CRLF included: a path of 4,096 octets has room.
pub const COMMAND_LINE_MAX: usize = 8 * 1024;

/// The name of a file or directory as it came: octets, in UTF-8 from clients that keep to RFC 2640. Never empty, and
/// without CR, LF and NUL.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathName(Vec<u8>);

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `USER name`
    User(String),
    /// `PASS password`: everything behind the first space.
    Pass(Secret<String>),
    /// `ACCT account`
    Acct(String),
    /// `CWD path`, `XCWD`
    Cwd(PathName),
    /// `CDUP`, `XCUP`
    Cdup,
    /// `SMNT path`
    Smnt(PathName),
    /// `REIN`
    Rein,
    /// `QUIT`
    Quit,
    /// `PORT h1,h2,h3,h4,p1,p2`
    Port(SocketAddr),
    /// `EPRT |1|address|port|` (RFC 2428)
    Eprt(SocketAddr),
    /// `LPRT 4,4,h1,…` (RFC 1639)
    Lprt(SocketAddr),
    /// `PASV`
    Pasv,
    /// `EPSV [family]`
    Epsv(Option<AddressFamily>),
    /// `EPSV ALL`
    EpsvAll,
    /// `LPSV`
    Lpsv,
    /// `TYPE`
    Type(Type),
    /// `STRU`
    Stru(Structure),
    /// `MODE`
    Mode(TransferMode),
    /// `RETR path`
    Retr(PathName),
    /// `STOR path`
    Stor(PathName),
    /// `STOU [path]`
    Stou(Option<PathName>),
    /// `APPE path`
    Appe(PathName),
    /// `ALLO octets [R octets]`
    Allo {
        /// Room for so many logical bytes.
        bytes: u64,
        /// The largest record or page.
        record: Option<u64>,
    },
    /// `REST marker`
    Rest(String),
    /// `RANG start end` (draft-bryan-ftp-range): both ends included.
    Rang(u64, u64),
    /// `RNFR path`
    Rnfr(PathName),
    /// `RNTO path`
    Rnto(PathName),
    /// `ABOR`
    Abor,
    /// `DELE path`
    Dele(PathName),
    /// `RMD path`, `XRMD`
    Rmd(PathName),
    /// `MKD path`, `XMKD`
    Mkd(PathName),
    /// `PWD`, `XPWD`
    Pwd,
    /// `LIST [-flags] [path]`
    List(Option<PathName>),
    /// `NLST [-flags] [path]`, `NLIST`
    Nlst(Option<PathName>),
    /// `MLSD [path]` (RFC 3659 section 7)
    Mlsd(Option<PathName>),
    /// `MLST [path]`
    Mlst(Option<PathName>),
    /// `SITE …`
    Site(Site),
    /// `SYST`
    Syst,
    /// `STAT [path]`
    Stat(Option<PathName>),
    /// `HELP [command]`
    Help(Option<String>),
    /// `NOOP`
    Noop,
    /// `FEAT` (RFC 2389)
    Feat,
    /// `OPTS command [parameters]`
    Opts(String, Option<String>),
    /// `SIZE path` (RFC 3659 section 4)
    Size(PathName),
    /// `MDTM path` (RFC 3659 section 3)
    Mdtm(PathName),
    /// `MFMT time path` (draft-somers-ftp-mfxx), and `MDTM time path` as older clients set a time.
    Mfmt(FileTime, PathName),
    /// `MFCT time path`
    Mfct(FileTime, PathName),
    /// `MFF fact=value;… path`
    Mff(Vec<NewFact>, PathName),
    /// `HASH path` (draft-bryan-ftpext-hash), with the algorithm that `OPTS HASH` has chosen.
    Hash(PathName),
    /// `XCRC path [start [end]]` and its like.
    Checksum {
        /// Of which kind.
        algorithm: Algorithm,
        /// Of which file.
        path: PathName,
        /// From this octet.
        start: Option<u64>,
        /// Up to before this octet.
        end: Option<u64>,
    },
    /// `AVBL [path]` (draft-peterson-streamlined-ftp-command-extensions)
    Avbl(Option<PathName>),
    /// `COMB target source…`: the sources are put together.
    Comb(PathName, Vec<PathName>),
    /// `CLNT name and version`
    Clnt(String),
    /// `CSID fact=value;…`
    Csid(String),
    /// `LANG [tag]` (RFC 2640 section 4)
    Lang(Option<String>),
    /// `HOST name` (RFC 7151)
    Host(String),
    /// `AUTH mechanism` (RFC 2228), in upper case.
    Auth(String),
    /// `ADAT data`
    Adat,
    /// `PBSZ size`
    Pbsz(u64),
    /// `PROT level`
    Prot(Protection),
    /// `CCC`
    Ccc,
    /// `MIC`, `CONF` and `ENC`: a command that is protected by itself.
    Protected,
}

/// MODE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferMode {
    /// One of RFC 959's.
    Standard(Mode),
    /// `Z`: the stream of stream mode, deflated.
    Deflate,
}

/// PROT (RFC 2228 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// `C`
    Clear,
    /// `S`
    Safe,
    /// `E`
    Confidential,
    /// `P`
    Private,
}

/// What a checksum is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// CRC-32 of ISO 3309.
    Crc32,
    /// MD5
    Md5,
    /// SHA-1
    Sha1,
    /// SHA-256
    Sha256,
    /// SHA-512
    Sha512,
}

/// Why a line is no command. Each has its own reply (RFC 959 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidCommand {
    /// 500
    #[error("this command is not known")]
    Unknown,
    /// 500: another protocol's, whose client must hear no more of us.
    #[error("this is no FTP")]
    Foreign,
    /// 501
    #[error("{0}")]
    Argument(&'static str),
    /// 504: known, and not for this parameter.
    #[error("{0}")]
    Parameter(&'static str),
    /// 522: the family of a data connection's address (RFC 2428 section 2).
    #[error("this kind of address is not supported")]
    Family,
    /// 521: as 522, for long addresses (RFC 1639).
    #[error("this kind of address is not supported")]
    LongFamily,
}

impl PathName {
    /// Octets; `None` if there are none, or if there is one that cannot be in a name.
    pub fn new(octets: impl Into<Vec<u8>>) -> Option<PathName> {
        let octets = octets.into();
        let fits = !octets.is_empty() && !octets.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0));
        fits.then_some(PathName(octets))
    }

    /// As they came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text, with a sign in the place of what is none.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl fmt::Debug for PathName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().to_string().fmt(f)
    }
}

impl Algorithm {
    /// All there are, the best first.
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha1, Algorithm::Md5, Algorithm::Crc32];

    /// As the HASH draft names it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Md5 => "MD5",
            Algorithm::Sha1 => "SHA-1",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512 => "SHA-512",
        }
    }

    /// By its name, however it is written.
    pub fn named(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }
}
