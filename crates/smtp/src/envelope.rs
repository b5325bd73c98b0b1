//! What MAIL and RCPT say about a message: the same values on both sides of the conversation.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use packetboat_message::Address;

/// The reverse path and what comes with it: the MAIL command (RFC 5321 section 4.1.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sender {
    /// Where the message is to go at its recipients'.
    pub target: Target,
    /// Where notices about the message go; `None` is the null path `<>` (RFC 5321 section 4.5.5).
    pub path: Option<Address>,
    /// The size the client declares, in octets (RFC 1870).
    pub size: Option<u64>,
    /// What the body is made of (RFC 6152, RFC 3030).
    pub body: BodyKind,
    /// The message has an internationalised envelope or header (RFC 6531).
    pub smtputf8: bool,
    /// Who first submitted the message (RFC 4954 section 5).
    pub submitter: Submitter,
    /// How much of the message a failure notice shall bring back (RFC 3461 section 4.3).
    pub ret: Option<Ret>,
    /// The sender's name for this transaction, decoded (RFC 3461 section 4.4).
    pub envid: Option<String>,
    /// By when it is to be delivered, and what else shall happen (RFC 2852).
    pub deliver_by: Option<DeliverBy>,
    /// From when on it may be delivered (RFC 4865).
    pub hold: Option<Hold>,
    /// It shall not travel without TLS to a server that has proved who it is (RFC 8689).
    pub require_tls: bool,
}

/// Where a message goes at its recipients': which of four commands began the transaction (RFC 821 section 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// MAIL: into the mailbox.
    #[default]
    Mailbox,
    /// SEND: to the terminal of a user who is there, and nowhere else.
    Terminal,
    /// SOML: to the terminal of a user who is there, otherwise into the mailbox.
    TerminalOrMailbox,
    /// SAML: into the mailbox, and to the terminal of a user who is there.
    TerminalAndMailbox,
}

/// The forward path and what comes with it: the RCPT command (RFC 5321 section 4.1.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Who shall get the message.
    pub path: ForwardPath,
    /// When the sender wants to be told (RFC 3461 section 4.1).
    pub notify: Option<Notify>,
    /// The recipient as the first sender wrote it (RFC 3461 section 4.2).
    pub original: Option<OriginalRecipient>,
}

/// Who shall get a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    /// A mailbox. A source route before it has been dropped (RFC 5321 appendix C).
    Mailbox(Address),
    /// `<Postmaster>` without a domain: whoever keeps this server (RFC 5321 section 4.5.1).
    Postmaster,
}

/// The BODY parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyKind {
    /// Lines of US-ASCII; what is not said is this.
    #[default]
    SevenBit,
    /// Lines with octets over 127 (RFC 6152).
    EightBit,
    /// Any octets, no lines; only BDAT can carry it (RFC 3030).
    Binary,
}

/// The AUTH parameter of MAIL (RFC 4954 section 5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Submitter {
    /// The parameter was not there.
    #[default]
    Unsaid,
    /// `AUTH=<>`: not known, or not to be told.
    Unknown,
    /// The client vouches for this mailbox; it is for the server to trust the client or not.
    Mailbox(Address),
}

/// The RET parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Only its header.
    Headers,
}

/// The NOTIFY parameter; nothing set means `NEVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notify {
    /// When the message has been delivered.
    pub success: bool,
    /// When it cannot be delivered.
    pub failure: bool,
    /// When it takes unusually long.
    pub delay: bool,
}

/// The BY parameter (RFC 2852 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliverBy {
    /// Seconds from when it is said; not over [`BY_SECONDS_MAX`] in either direction. Zero or less is past, and
    /// only with [`Late::Notify`].
    pub seconds: i32,
    /// What becomes of a message that is late.
    pub late: Late,
    /// Each server that passes it on tells the sender.
    pub trace: bool,
}

/// What becomes of a message that is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// It is still delivered, and the sender told.
    Notify,
    /// It is returned.
    Return,
}

/// Seconds in a BY parameter at most (RFC 2852 section 4).
pub const BY_SECONDS_MAX: i32 = 999_999_999;
/// Seconds in a HOLDFOR parameter at most: nine digits (RFC 4865 section 3).
pub const HOLD_SECONDS_MAX: u32 = 999_999_999;

/// The HOLDFOR or HOLDUNTIL parameter (RFC 4865).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// So many seconds.
    For(u32),
    /// Until then.
    Until(Timestamp),
}

/// The ORCPT parameter, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalRecipient {
    /// The registered kind of address, such as `rfc822`.
    pub kind: String,
    /// The address, of a syntax which need not be that of mail.
    pub address: String,
}

impl Recipient {
    /// A plain recipient, without parameters.
    pub fn new(path: Address) -> Recipient {
        Recipient { path: ForwardPath::Mailbox(path), notify: None, original: None }
    }
}

impl Sender {
    /// A plain sender, without parameters.
    pub fn new(path: Option<Address>) -> Sender {
        Sender { path, ..Sender::default() }
    }
}

impl Target {
    /// The command.
    pub fn verb(self) -> &'static str {
        match self {
            Target::Mailbox => "MAIL",
            Target::Terminal => "SEND",
            Target::TerminalOrMailbox => "SOML",
            Target::TerminalAndMailbox => "SAML",
        }
    }
}

impl DeliverBy {
    /// The moment that is meant by somebody who says it `now`.
    pub fn at(self, now: Timestamp) -> Timestamp {
        now.saturating_add(SignedDuration::from_secs(self.seconds.into())).unwrap_or(Timestamp::MAX)
    }
}

impl Hold {
    /// The moment that is meant by somebody who says it `now`.
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Hold::For(seconds) => {
                now.saturating_add(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX)
            }
            Hold::Until(moment) => moment,
        }
    }
}

impl BodyKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            BodyKind::SevenBit => "7BIT",
            BodyKind::EightBit => "8BITMIME",
            BodyKind::Binary => "BINARYMIME",
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardPath::Mailbox(address) => address.fmt(f),
            ForwardPath::Postmaster => f.write_str("Postmaster"),
        }
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (asked, word) in [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")] {
            if asked {
                write!(f, "{separator}{word}")?;
                separator = ",";
            }
        }
        if separator.is_empty() { f.write_str("NEVER") } else { Ok(()) }
    }
}

/// As in `BY=`.
impl fmt::Display for DeliverBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late = match self.late {
            Late::Notify => 'N',
            Late::Return => 'R',
        };
        write!(f, "{};{late}{}", self.seconds, if self.trace { "T" } else { "" })
    }
}

/// The whole parameter.
impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hold::For(seconds) => write!(f, "HOLDFOR={seconds}"),
            Hold::Until(moment) => write!(f, "HOLDUNTIL={moment:.0}"),
        }
    }
}
