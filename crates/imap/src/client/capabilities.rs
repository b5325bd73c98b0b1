//! What a server says it can do.

use packetboat_wire::sasl::Mechanism;

/// Capabilities kept at most.
const CAPABILITIES_MAX: usize = 200;

/// The words of the CAPABILITY response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    words: Vec<String>,
}

impl Capabilities {
    pub(super) fn new<T: Into<String>>(words: impl IntoIterator<Item = T>) -> Capabilities {
        Capabilities { words: words.into_iter().take(CAPABILITIES_MAX).map(Into::into).collect() }
    }

    /// All words as they came.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether the server has told any.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether there is a capability of that name, in whatever case.
    pub fn has(&self, name: &str) -> bool {
        self.words.iter().any(|word| word.eq_ignore_ascii_case(name))
    }

    /// The SASL mechanisms among those known here, in the server's order.
    pub fn mechanisms(&self) -> Vec<Mechanism> {
        self.words
            .iter()
            .filter_map(|word| {
                let (key, name) = word.split_once('=')?;
                key.eq_ignore_ascii_case("AUTH").then(|| Mechanism::parse(name))?
            })
            .collect()
    }

    /// How many octets of a literal need no leave to be sent (RFC 7888).
    pub(super) fn unasked_literal(&self) -> Option<u64> {
        /// "literals of no more than 4096 bytes" (RFC 7888 section 5); enough for LITERAL+, too.
        const SHORT: u64 = 4096;
        ["LITERAL+", "LITERAL-", "IMAP4rev2"].iter().any(|name| self.has(name)).then_some(SHORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let capabilities =
            Capabilities::new("IMAP4rev1 auth=plain AUTH=X AUTH=SCRAM-SHA-256 literal-".split(' '));
        assert!(capabilities.has("imap4REV1") && !capabilities.has("IDLE"));
        assert_eq!(capabilities.mechanisms(), [Mechanism::Plain, Mechanism::ScramSha256]);
        assert_eq!(capabilities.unasked_literal(), Some(4096));
        assert_eq!(Capabilities::default().unasked_literal(), None);
        assert_eq!(Capabilities::new(vec!["x"; 1000]).words().len(), CAPABILITIES_MAX);
    }
}
