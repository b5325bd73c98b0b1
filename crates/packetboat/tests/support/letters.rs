//! Letters to send: ordinary ones, and ones that break what is built carelessly.

/// A message as it is handed to a client, with CRLF line ends.
#[derive(Debug, Clone)]
pub struct Letter {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

impl Letter {
    /// What stands after the empty line.
    pub fn body(&self) -> &[u8] {
        let at = self.bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        &self.bytes[at + 4..]
    }

    /// The same with bare LF line ends, as files have them.
    pub fn unix(&self) -> Vec<u8> {
        self.bytes.iter().copied().filter(|&b| b != b'\r').collect()
    }
}

/// An ordinary letter with this subject.
pub fn letter(subject: &str) -> Letter {
    let bytes = format!(
        "From: Alice <alice@demo.test>\r\nTo: Bob <bob@demo.test>\r\nSubject: {subject}\r\n\
         Date: Tue, 01 Jul 2025 10:00:00 +0000\r\nMessage-ID: <{subject}@tests.example>\r\n\r\n\
         Dear Bob,\r\n\r\nthis is about {subject}.\r\n.\r\n.. two dots\r\n.one dot\r\n\r\nAlice\r\n"
    );
    Letter { name: "ordinary", bytes: bytes.into_bytes() }
}

/// Bodies that a client or server can get wrong. Each line is shorter than RFC 5322's 998, so any client takes it.
pub const AWKWARD: &[(&str, &[u8])] = &[
    ("dots everywhere", b".\r\n..\r\n...\r\n.a\r\n\r\n.\r\n"),
    ("a dot as the last line", b"text\r\n.\r\n"),
    ("empty lines at both ends", b"\r\n\r\ntext\r\n\r\n\r\n"),
    ("no text", b""),
    ("eight bits", "Grüße aus Köln, 早上好, Привет\r\n".as_bytes()),
    ("latin-1, as it was sent raw for decades", b"Gr\xfc\xdfe\r\n"),
    ("looks like a mailbox", b"From alice Tue Jul  1 10:00:00 2025\r\n>From bob\r\n"),
    ("looks like a reply", b"250 ok\r\n-ERR no\r\n+OK yes\r\nQUIT\r\n"),
    ("tabs and spaces at line ends", b"a \t \r\n \r\n\t\r\n"),
];
