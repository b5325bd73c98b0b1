//! The Telnet octets of an FTP control connection (RFC 959 section 4.1.3 and RFC 1123 section 4.1.2.12; RFC 854).
//!
//! FTP needs no more of Telnet than this: options are refused, the functions that interrupt are told, all else is passed
//! over, and 255 that is data is sent twice.

use bytes::BytesMut;

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SUBNEGOTIATION: u8 = 250;
const INTERRUPT: u8 = 244;
const DATA_MARK: u8 = 242;
const SUBNEGOTIATION_END: u8 = 240;
/// The least octet that is a function when it follows IAC: `EOF` of RFC 1184.
const FIRST_FUNCTION: u8 = 236;

/// Answers to options that are kept until they can be sent; a peer that asks for more is a peer that plays.
const ANSWERS_MAX: usize = 256;

/// Takes Telnet's octets out of what a peer sends.
#[derive(Debug, Default)]
pub struct Telnet {
    state: State,
    /// What has to be sent in answer.
    answers: Vec<u8>,
    interrupts: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Data,
    Function,
    /// What the peer offers or asks for comes next.
    Option(u8),
    Subnegotiation,
    SubnegotiationFunction,
}

impl Telnet {
    /// Nothing received yet.
    pub fn new() -> Telnet {
        Telnet::default()
    }

    /// Appends what of `bytes` is data to `data`.
    pub fn receive(&mut self, mut bytes: &[u8], data: &mut Vec<u8>) {
        loop {
            if self.state == State::Data {
                let end = memchr::memchr(IAC, bytes).unwrap_or(bytes.len());
                data.extend_from_slice(&bytes[..end]);
                bytes = &bytes[end..];
            }
            let Some((&octet, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.state = match self.state {
                State::Data => State::Function,
                State::Function => self.function(octet, data),
                State::Option(verb) => {
                    self.refuse(verb, octet);
                    State::Data
                }
                State::Subnegotiation if octet == IAC => State::SubnegotiationFunction,
                State::SubnegotiationFunction if octet == SUBNEGOTIATION_END => State::Data,
                State::Subnegotiation | State::SubnegotiationFunction => State::Subnegotiation,
            };
        }
    }

    fn function(&mut self, octet: u8, data: &mut Vec<u8>) -> State {
        match octet {
            IAC => data.push(IAC),
            WILL | WONT | DO | DONT => return State::Option(octet),
            SUBNEGOTIATION => return State::Subnegotiation,
            INTERRUPT => self.interrupts += 1,
            DATA_MARK | FIRST_FUNCTION.. => {}
            // No function: a name in Latin 1 from a client that has never heard of Telnet.
            _ => data.extend_from_slice(&[IAC, octet]),
        }
        State::Data
    }

    /// "All FTP implementations must be able to refuse an option" (RFC 1123 section 4.1.2.12 with RFC 854): what the peer
    /// will do it should not, what it wants done is not done.
    fn refuse(&mut self, verb: u8, option: u8) {
        let answer = match verb {
            WILL => DONT,
            DO => WONT,
            _ => return,
        };
        if self.answers.len() < ANSWERS_MAX {
            self.answers.extend_from_slice(&[IAC, answer, option]);
        }
    }

    /// What has to be sent now.
    pub fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answers)
    }

    /// How often the peer interrupted since it was asked last.
    pub fn take_interrupts(&mut self) -> u32 {
        std::mem::take(&mut self.interrupts)
    }
}

/// What is said so that no octet of it is taken for a function: 255 twice (RFC 854).
pub fn telnet_escape(data: &[u8], out: &mut BytesMut) {
    let mut rest = data;
    while let Some(at) = memchr::memchr(IAC, rest) {
        out.extend_from_slice(&rest[..=at]);
        out.extend_from_slice(&[IAC]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// What goes before a command that has to be heard at once, such as ABOR: Interrupt Process, and the Data Mark of a Synch
/// (RFC 959 section 4.1.3).
pub const TELNET_INTERRUPT: &[u8] = &[IAC, INTERRUPT, IAC, DATA_MARK];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_data_is_data_however_it_is_cut() {
        for (sent, want, answers, interrupts) in [
            (&b"USER anna\r\n"[..], &b"USER anna\r\n"[..], &b""[..], 0),
            // The textbook's way to abort: IP, Synch, ABOR.
            (b"\xff\xf4\xff\xf2ABOR\r\n", b"ABOR\r\n", b"", 1),
            (b"\xff\xfb\x01\xff\xfd\x03NOOP", b"NOOP", b"\xff\xfe\x01\xff\xfc\x03", 0),
            (b"\xff\xfc\x01\xff\xfe\x03x", b"x", b"", 0),
            (b"a\xff\xffb", b"a\xffb", b"", 0),
            (b"\xff\xfa\x18\x01\xff\xff\xff\xf0after", b"after", b"", 0),
            (b"RETR \xffa", b"RETR \xffa", b"", 0),
            (b"\xff\xf1\xff\xf6", b"", b"", 0),
        ] {
            for split in 0..=sent.len() {
                let (mut telnet, mut data) = (Telnet::new(), Vec::new());
                telnet.receive(&sent[..split], &mut data);
                telnet.receive(&sent[split..], &mut data);
                assert_eq!(data, want, "{sent:?} at {split}");
                assert_eq!(telnet.take_answers(), answers);
                assert_eq!(telnet.take_interrupts(), interrupts);
            }
        }
    }

    #[test]
    fn answers_are_bounded() {
        let (mut telnet, mut data) = (Telnet::new(), Vec::new());
        telnet.receive(&[IAC, DO, 1].repeat(10_000), &mut data);
        assert!(data.is_empty() && telnet.take_answers().len() <= ANSWERS_MAX + 3);
    }
}
