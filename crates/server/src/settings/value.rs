//! The kinds of values a key may have, how each is read and how it is written.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use packetboat_imap::server::Extension;
use packetboat_message::Domain;
use packetboat_wire::sasl::Mechanism;
use toml::Spanned;
use toml::de::DeValue;

/// A kind of value.
pub(super) trait Value: Sized {
    /// What is expected, in words, as in "expected {KIND}".
    const KIND: &'static str;

    /// Reads a TOML value; `None` if it is not of this kind.
    fn read(value: &DeValue<'_>) -> Option<Self>;

    /// What in a list is not as it should be, and what it should be.
    fn wrong_item<'a, 'b>(value: &'a DeValue<'b>) -> Option<(&'a Spanned<DeValue<'b>>, &'static str)> {
        let _ = value;
        None
    }

    /// The value as TOML.
    fn write(&self) -> String;
}

pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

impl Value for bool {
    const KIND: &'static str = "true or false";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for u32 {
    const KIND: &'static str = "a whole number, not negative, such as 100";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        integer(value)?.try_into().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const KIND: &'static str = "a text in quotes";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }

    fn write(&self) -> String {
        quoted(self)
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "a path in quotes";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    fn write(&self) -> String {
        quoted(&self.display().to_string())
    }
}

/// An amount of memory, disk or message, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// The first that fits is written; those behind "B" are only read.
    const UNITS: [(&'static str, u64); 10] = [
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("KB", 1000),
        ("B", 1),
        ("G", 1 << 30),
        ("M", 1 << 20),
        ("K", 1 << 10),
    ];
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, bytes): &&(&str, u64)| self.0 >= *bytes && self.0.is_multiple_of(*bytes);
        let (unit, bytes) = Size::UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{} {unit}", self.0 / bytes)
    }
}

impl FromStr for Size {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Size, NotASize> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim();
        let same = |(name, _): &&(&str, u64)| name.eq_ignore_ascii_case(unit);
        let bytes = if unit.is_empty() { 1 } else { Size::UNITS.iter().find(same).ok_or(NotASize)?.1 };
        number.parse::<u64>().ok().and_then(|number| number.checked_mul(bytes)).map(Size).ok_or(NotASize)
    }
}

/// A text that is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {}", Size::KIND)]
pub struct NotASize;

impl Value for Size {
    const KIND: &'static str = "a size such as \"50 MiB\" (B, KB, KiB, MB, MiB, GB, GiB)";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        if value.is_integer() {
            return integer(value).map(Size);
        }
        value.as_str()?.parse().ok()
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A character that separates the parts of a name, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Separator(pub Option<char>);

impl Value for Separator {
    const KIND: &'static str = "one of the characters + - = _ . # in quotes, or \"\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let mut characters = value.as_str()?.chars();
        match (characters.next(), characters.next()) {
            (None, _) => Some(Separator(None)),
            (Some(one), None) if "+-=_.#".contains(one) => Some(Separator(Some(one))),
            _ => None,
        }
    }

    fn write(&self) -> String {
        quoted(&self.0.map(String::from).unwrap_or_default())
    }
}

impl Value for Domain {
    const KIND: &'static str = "a domain name such as \"example.org\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        Domain::parse(value.as_str()?).ok().filter(|domain| matches!(domain, Domain::Name(_)))
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Value for Duration {
    const KIND: &'static str = "a time such as \"30s\", \"5m\", \"1h 30m\" or \"7d\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let mut total = Duration::ZERO;
        let mut rest = text.trim();
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, after) = rest.split_at(digits);
            let after = after.trim_start();
            let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            let number: u64 = number.parse().ok()?;
            let part = match unit {
                "ms" => Duration::from_millis(number),
                "s" => Duration::from_secs(number),
                "m" => Duration::from_secs(number.checked_mul(60)?),
                "h" => Duration::from_secs(number.checked_mul(60 * 60)?),
                "d" => Duration::from_secs(number.checked_mul(24 * 60 * 60)?),
                _ => return None,
            };
            total = total.checked_add(part)?;
            rest = after.trim_start();
        }
        // What cannot be added to an instant is no time limit; a hundred years are enough.
        (total <= Duration::from_secs(100 * 366 * 24 * 60 * 60)).then_some(total)
    }

    fn write(&self) -> String {
        let (seconds, millis) = (self.as_secs(), self.subsec_millis());
        quoted(&match seconds {
            _ if millis > 0 => format!("{}ms", self.as_millis()),
            0 => "0s".to_owned(),
            _ if seconds.is_multiple_of(24 * 60 * 60) => format!("{}d", seconds / (24 * 60 * 60)),
            _ if seconds.is_multiple_of(60 * 60) => format!("{}h", seconds / (60 * 60)),
            _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
            _ => format!("{seconds}s"),
        })
    }
}

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A port on every address of the machine, IPv4 and IPv6.
    Port(u16),
    /// One address and port.
    Tcp(SocketAddr),
    /// A local socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Port(port) => write!(f, "{port}"),
            ListenAddress::Tcp(address) => write!(f, "{address}"),
            ListenAddress::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Value for ListenAddress {
    const KIND: &'static str = "a port, an address and port such as \"192.0.2.1:25\" or \"[2001:db8::1]:25\", or the path of a local socket such as \"/run/packetboat/lmtp.sock\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        if value.is_integer() {
            return u16::try_from(integer(value)?).ok().filter(|port| *port > 0).map(ListenAddress::Port);
        }
        let text = value.as_str()?;
        if text.starts_with('/') || text.starts_with("./") {
            return Some(ListenAddress::Unix(PathBuf::from(text)));
        }
        text.parse().ok().map(ListenAddress::Tcp)
    }

    fn write(&self) -> String {
        match self {
            ListenAddress::Port(port) => port.to_string(),
            other => quoted(&other.to_string()),
        }
    }
}

impl Value for SocketAddr {
    const KIND: &'static str = "an address and port such as \"192.0.2.1:53\" or \"[2001:db8::1]:53\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str()?.parse().ok()
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

impl ListItem for SocketAddr {
    const LIST_KIND: &'static str =
        "a list of addresses and ports such as [\"192.0.2.1:53\", \"[2001:db8::1]:53\"]";
}

impl Value for IpNet {
    const KIND: &'static str = "a network such as \"192.0.2.0/24\", or one address";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        text.parse().ok().or_else(|| text.parse().ok().map(|address: std::net::IpAddr| address.into()))
    }

    fn write(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A list. One value may stand without brackets.
impl<V: Value + ListItem> Value for Vec<V> {
    const KIND: &'static str = V::LIST_KIND;

    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_array() {
            Some(array) => array.iter().map(|item| V::read(item.get_ref())).collect(),
            None => V::read(value).map(|one| vec![one]),
        }
    }

    fn wrong_item<'a, 'b>(value: &'a DeValue<'b>) -> Option<(&'a Spanned<DeValue<'b>>, &'static str)> {
        let item = value.as_array()?.iter().find(|item| V::read(item.get_ref()).is_none())?;
        Some((item, V::KIND))
    }

    fn write(&self) -> String {
        let items: Vec<String> = self.iter().map(V::write).collect();
        format!("[{}]", items.join(", "))
    }
}

/// What may stand in a list.
pub(super) trait ListItem {
    /// As [`Value::KIND`], for the list.
    const LIST_KIND: &'static str;
}

impl ListItem for ListenAddress {
    const LIST_KIND: &'static str = "a list whose items are each a port such as 25, an address and port such as \"192.0.2.1:25\" or \"[2001:db8::1]:25\", or the path of a local socket such as \"/run/packetboat/lmtp.sock\"";
}

impl ListItem for IpNet {
    const LIST_KIND: &'static str = "a list of networks such as [\"192.0.2.0/24\", \"2001:db8::/32\"]";
}

impl ListItem for Mechanism {
    const LIST_KIND: &'static str = "a list of \"SCRAM-SHA-256-PLUS\", \"SCRAM-SHA-1-PLUS\", \"SCRAM-SHA-256\", \"SCRAM-SHA-1\", \"PLAIN\" and \"LOGIN\"";
}

impl Value for Mechanism {
    const KIND: &'static str = "the name of a SASL mechanism";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let name = value.as_str()?;
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    fn write(&self) -> String {
        quoted(self.name())
    }
}

impl ListItem for Extension {
    const LIST_KIND: &'static str =
        "a list of extensions of IMAP as CAPABILITY names them, such as [\"QRESYNC\", \"COMPRESS=DEFLATE\"]";
}

impl Value for Extension {
    const KIND: &'static str = "an extension of IMAP as CAPABILITY names it, such as \"QRESYNC\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str()?.parse().ok()
    }

    fn write(&self) -> String {
        quoted(self.name())
    }
}

/// Programs whose name has this in it, and what they are not offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFamily {
    /// Part of the name they tell, in any case.
    pub name: String,
    /// What they do without.
    pub without: Vec<Extension>,
}

impl ListItem for ClientFamily {
    const LIST_KIND: &'static str = "a list whose items are each a program's name, a colon and extensions of IMAP, such as \"BadMail: QRESYNC CONDSTORE\"";
}

impl Value for ClientFamily {
    const KIND: &'static str =
        "a program's name, a colon and extensions of IMAP, such as \"BadMail: QRESYNC CONDSTORE\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        let (name, without) = value.as_str()?.split_once(':')?;
        let without = without.split_whitespace().map(|word| word.parse().ok()).collect::<Option<Vec<_>>>()?;
        let named = !name.trim().is_empty() && !without.is_empty();
        named.then(|| ClientFamily { name: name.trim().to_owned(), without })
    }

    fn write(&self) -> String {
        let without: Vec<&str> = self.without.iter().map(|extension| extension.name()).collect();
        quoted(&format!("{}: {}", self.name, without.join(" ")))
    }
}

/// A key that may be left out, without a value that stands for that.
impl<V: Value> Value for Option<V> {
    const KIND: &'static str = V::KIND;

    fn read(value: &DeValue<'_>) -> Option<Self> {
        V::read(value).map(Some)
    }

    fn write(&self) -> String {
        self.as_ref().map(V::write).unwrap_or_default()
    }
}

/// Declares an enum whose values are words.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident: $kind:literal { $($(#[doc = $doc:literal])+ $(#[$default:ident])? $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum $name {
            $($(#[doc = $doc])+ $(#[$default])? $variant,)+
        }

        impl Value for $name {
            const KIND: &'static str = $kind;

            fn read(value: &DeValue<'_>) -> Option<Self> {
                match value.as_str()? {
                    $($word => Some($name::$variant),)+
                    _ => None,
                }
            }

            fn write(&self) -> String {
                match self {
                    $($name::$variant => quoted($word),)+
                }
            }
        }
    };
}

pub(super) use choice;

choice! {
    /// How exactly peers have to keep to the grammar.
    Strictness: "\"lenient\" or \"strict\"" {
        /// What people type and old programs send is understood too.
        #[default]
        Lenient = "lenient",
        /// To the letter.
        Strict = "strict",
    }
}

choice! {
    /// Who may use a command that tells of users or reaches them.
    Audience: "\"nobody\", \"users\" or \"everybody\"" {
        /// Nobody.
        Nobody = "nobody",
        /// Whoever has logged in.
        #[default]
        Users = "users",
        /// Everybody.
        Everybody = "everybody",
    }
}

choice! {
    /// How log lines look.
    LogFormat: "\"text\" or \"json\"" {
        /// For people; coloured on a terminal.
        #[default]
        Text = "text",
        /// One JSON object a line, for programs.
        Json = "json",
    }
}

choice! {
    /// Who finds out whether answers of the DNS are signed.
    DnssecMode: "\"auto\", \"validate\", \"trust-ad\" or \"off\"" {
        /// The name servers do if they are on this machine, and this server does if not.
        #[default]
        Auto = "auto",
        /// This server checks the signatures.
        Validate = "validate",
        /// The name server does, and says so.
        TrustAd = "trust-ad",
        /// Nobody.
        Off = "off",
    }
}

choice! {
    /// The oldest version of TLS.
    TlsVersion: "\"1.2\" or \"1.3\"" {
        /// TLS 1.2 and later.
        #[default]
        Tls12 = "1.2",
        /// TLS 1.3 and later.
        Tls13 = "1.3",
    }
}

/// How long messages are promised to be kept (RFC 2449 section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expire {
    /// Until they are deleted.
    Never,
    /// So many days at least.
    Days(u32),
}

impl Value for Expire {
    const KIND: &'static str = "\"never\" or a number of days such as \"30d\"";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()? {
            "never" => Some(Expire::Never),
            text => text.strip_suffix('d')?.parse().ok().map(Expire::Days),
        }
    }

    fn write(&self) -> String {
        quoted(&match self {
            Expire::Never => "never".to_owned(),
            Expire::Days(days) => format!("{days}d"),
        })
    }
}
