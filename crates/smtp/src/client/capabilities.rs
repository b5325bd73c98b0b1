//! What a server offers: the answer to EHLO (RFC 5321 section 4.1.1.1).

use packetboat_wire::Reply;
use packetboat_wire::sasl::Mechanism;

/// Mechanisms that are remembered at most; there are not that many.
const MECHANISMS_MAX: usize = 16;

/// What a server offers. Empty after HELO.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870).
    pub size: bool,
    /// The largest message, if SIZE names it.
    pub max_size: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030).
    pub binary_mime: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// AUTH (RFC 4954) with the mechanisms known here.
    pub mechanisms: Vec<Mechanism>,
    /// Recipients a message may have (RFC 9422, RCPTMAX).
    pub max_recipients: Option<u32>,
    /// Messages a connection may have (RFC 9422, MAILMAX).
    pub max_messages: Option<u32>,
}

impl Capabilities {
    /// Reads the answer to EHLO or LHLO.
    pub fn parse(reply: &Reply) -> Capabilities {
        let mut capabilities = Capabilities::default();
        // The first line is the server's name.
        for line in reply.lines().skip(1) {
            capabilities.add(line);
        }
        capabilities
    }

    fn add(&mut self, line: &str) {
        // Servers of the last century say AUTH=LOGIN.
        let (keyword, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
        match keyword.to_ascii_uppercase().as_str() {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => {
                self.size = true;
                // "a value of 0 indicates that no fixed maximum message size is in force" (RFC 1870 section 3).
                self.max_size = rest.trim().parse().ok().filter(|&max| max > 0);
            }
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "CHUNKING" => self.chunking = true,
            "BINARYMIME" => self.binary_mime = true,
            "DSN" => self.dsn = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "STARTTLS" => self.starttls = true,
            "AUTH" => {
                for mechanism in rest.split_ascii_whitespace().filter_map(Mechanism::parse) {
                    if !self.mechanisms.contains(&mechanism) && self.mechanisms.len() < MECHANISMS_MAX {
                        self.mechanisms.push(mechanism);
                    }
                }
            }
            "LIMITS" => {
                for limit in rest.split_ascii_whitespace() {
                    match limit.split_once('=') {
                        Some(("RCPTMAX", n)) => self.max_recipients = positive(n),
                        Some(("MAILMAX", n)) => self.max_messages = positive(n),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

fn positive(number: &str) -> Option<u32> {
    number.parse().ok().filter(|&n| n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say() {
        let reply = Reply::multi(
            250,
            [
                "PIPELINING is my name",
                "size 1000",
                "8BITMIME",
                "SmtpUtf8",
                "CHUNKING",
                "BINARYMIME",
                "DSN",
                "ENHANCEDSTATUSCODES",
                "STARTTLS",
                "AUTH PLAIN XYZZY LOGIN",
                "AUTH=LOGIN SCRAM-SHA-256",
                "LIMITS RCPTMAX=100 MAILMAX=0 OTHER",
                "X-UNKNOWN 7",
                "",
            ],
        );
        assert_eq!(
            Capabilities::parse(&reply),
            Capabilities {
                pipelining: false,
                size: true,
                max_size: Some(1000),
                eight_bit_mime: true,
                smtputf8: true,
                chunking: true,
                binary_mime: true,
                dsn: true,
                enhanced_status_codes: true,
                starttls: true,
                mechanisms: vec![Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256],
                max_recipients: Some(100),
                max_messages: None,
            }
        );
        let unlimited = Reply::multi(250, ["x", "SIZE 0", "PIPELINING"]);
        let unlimited = Capabilities::parse(&unlimited);
        assert_eq!((unlimited.size, unlimited.max_size, unlimited.pipelining), (true, None, true));
    }
}
