//! MTA-STS (RFC 8461): the record that says there is a policy, and the policy.

use std::time::Duration;

/// Octets of a policy that are read; the RFC suggests as many (section 3.3).
pub const POLICY_MAX: usize = 64 * 1024;
/// The longest life of a policy (RFC 8461, section 3.2).
pub const MAX_AGE: Duration = Duration::from_secs(31_557_600);
/// Patterns of one policy; a domain has a handful of servers.
pub const PATTERNS_MAX: usize = 1000;
/// Characters of a policy's id.
const ID_MAX: usize = 32;
/// Characters of a domain name.
const NAME_MAX: usize = 253;

/// What a domain wants of whoever sends it mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How strictly.
    pub mode: Mode,
    /// Its servers.
    pub mx: Vec<Pattern>,
    /// How long the policy holds from when it was fetched.
    pub max_age: Duration,
}

/// How strictly a policy is to be taken (RFC 8461, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No mail to a host that does not fulfil it.
    Enforce,
    /// Only tell of it.
    Testing,
    /// There is no policy any more.
    None,
}

/// A server's name, or all names one label above one (`*.example.net`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    wildcard: bool,
    /// In lower case, without the `*.`.
    name: String,
}

/// Why a text is no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More than [`POLICY_MAX`] octets, or more than [`PATTERNS_MAX`] servers.
    #[error("the policy is too long")]
    TooLong,
    /// Not UTF-8, or a line that is no `key: value`.
    #[error("line {0} is no key and value")]
    Line(usize),
    /// No version, or not `STSv1`.
    #[error("the version is not STSv1")]
    Version,
    /// No mode, or an unknown one.
    #[error("the mode is none of enforce, testing and none")]
    Mode,
    /// No max_age, or not a number of up to ten digits.
    #[error("max_age is missing or no number of seconds")]
    MaxAge,
    /// An mx value that is no name.
    #[error("line {0} names no server")]
    Mx(usize),
    /// No server is named.
    #[error("no server is named")]
    NoMx,
}

/// The id of the policy that the TXT records of `_mta-sts.DOMAIN` announce. `None`: no policy is announced.
pub fn policy_id<'t>(records: impl IntoIterator<Item = &'t [u8]>) -> Option<String> {
    let mut announcing = records.into_iter().filter(|record| {
        // "Records that do not begin with "v=STSv1;" are discarded" (section 3.1); the grammar lets blanks stand before
        // the semicolon.
        let rest = record.strip_prefix(b"v=STSv1");
        rest.is_some_and(|rest| rest.trim_ascii_start().starts_with(b";"))
    });
    let (Some(record), None) = (announcing.next(), announcing.next()) else { return None };
    let mut id = None;
    let fields = std::str::from_utf8(record).ok()?.split(';').skip(1);
    for field in fields {
        let field = field.trim_matches([' ', '\t']);
        // A semicolon at the end is allowed, and two in a row harm nobody.
        if field.is_empty() {
            continue;
        }
        let (name, value) = field.split_once('=')?;
        let valid =
            !name.is_empty() && !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_graphic());
        if !valid {
            return None;
        }
        if name == "id" && id.is_none() {
            let good = value.len() <= ID_MAX && value.bytes().all(|octet| octet.is_ascii_alphanumeric());
            id = Some(good.then(|| value.to_owned())?);
        }
    }
    id
}

impl Policy {
    /// Reads a policy (RFC 8461, section 3.2).
    ///
    /// # Errors
    /// When it is none, or is not valid: then the domain has none.
    pub fn parse(text: &[u8]) -> Result<Policy, PolicyError> {
        if text.len() > POLICY_MAX {
            return Err(PolicyError::TooLong);
        }
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for (at, line) in (1..).zip(text.split(|octet| *octet == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = std::str::from_utf8(line).map_err(|_| PolicyError::Line(at))?;
            let line = line.trim_end_matches([' ', '\t']);
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or(PolicyError::Line(at))?;
            let value = value.trim_matches([' ', '\t']);
            if key.is_empty() || !key.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-.".contains(&it)) {
                return Err(PolicyError::Line(at));
            }
            match key {
                // Of what must not stand twice, the first counts.
                "version" => _ = version.get_or_insert(value),
                "mode" => _ = mode.get_or_insert(value),
                "max_age" => _ = max_age.get_or_insert(value),
                "mx" if mx.len() == PATTERNS_MAX => return Err(PolicyError::TooLong),
                "mx" => mx.push(Pattern::parse(value).ok_or(PolicyError::Mx(at))?),
                // "Unknown fields SHALL be ignored."
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(PolicyError::Version);
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err(PolicyError::Mode),
        };
        let digits =
            |text: &&str| (1..=10).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
        let seconds = max_age.filter(digits).and_then(|text| text.parse().ok()).ok_or(PolicyError::MaxAge)?;
        if mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::NoMx);
        }
        Ok(Policy { mode, mx, max_age: Duration::from_secs(seconds).min(MAX_AGE) })
    }

    /// Whether the policy names this host (RFC 8461, section 4.1).
    pub fn allows(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| pattern.matches(host))
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Pattern> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet))
        };
        let valid = name.len() <= NAME_MAX && name.split('.').all(label);
        valid.then(|| Pattern { wildcard, name: name.to_ascii_lowercase() })
    }

    fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let compared = match self.wildcard {
            true => host.split_once('.').filter(|(first, _)| !first.is_empty()).map(|(_, rest)| rest),
            false => Some(host),
        };
        compared.is_some_and(|name| name.eq_ignore_ascii_case(&self.name))
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, self.name)
    }
}
