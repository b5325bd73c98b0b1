#![allow(clippy::unwrap_used)]

use std::io::{Seek as _, Write as _};
use std::process::Command;

use mail_parser::{MessageParser, MimeHeaders};

use super::*;
use crate::Address;

fn letter() -> Letter {
    Letter {
        from: Mailbox::parse("Alice <alice@example.org>").unwrap(),
        to: Mailbox::parse_list("bob@example.org").unwrap(),
        cc: Vec::new(),
        reply_to: Vec::new(),
        subject: Some("Tea".to_owned()),
        date: "2026-11-21T09:34:45+01:00[+01:00]".parse().unwrap(),
        message_id: "<1@example.org>".to_owned(),
        in_reply_to: Vec::new(),
        references: Vec::new(),
        user_agent: None,
        fields: Vec::new(),
        text: Some("At five.\n".to_owned()),
        html: None,
        attachments: Vec::new(),
        eight_bit: false,
        seed: [0xab; 12],
    }
}

fn attachment(name: &str, octets: &'static [u8]) -> Attachment {
    let open = move || Ok(Box::new(octets) as Box<dyn Read + Send>);
    Attachment { name: name.to_owned(), media_type: None, len: octets.len() as u64, open: Arc::new(open) }
}

/// Reads the whole message, and checks what must be true of any.
fn read(letter: &Letter) -> String {
    let composed = letter.compose().unwrap();
    let mut octets = Vec::new();
    composed.reader().read_to_end(&mut octets).unwrap();
    assert_eq!(octets.len() as u64, composed.len());
    assert_eq!(!octets.is_ascii(), composed.is_eight_bit());
    let text = String::from_utf8(octets).unwrap();
    assert!(text.ends_with("\r\n"));
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert_eq!(text.matches('\r').count(), text.matches("\r\n").count());
    assert!(text.split("\r\n").all(|line| line.len() <= LINE_MAX));
    text
}

#[test]
fn a_plain_letter_is_a_plain_message() {
    assert_eq!(
        read(&letter()),
        "Date: Sat, 21 Nov 2026 09:34:45 +0100\r\n\
         From: Alice <alice@example.org>\r\n\
         To: bob@example.org\r\n\
         Subject: Tea\r\n\
         Message-ID: <1@example.org>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\
         Content-Transfer-Encoding: 7bit\r\n\
         \r\n\
         At five.\r\n"
    );
}

#[test]
fn a_letter_with_everything_is_a_tree() {
    let everything = Letter {
        html: Some("<p>At five.".to_owned()),
        attachments: vec![attachment("scones.png", b"\x89PNG"), attachment("note.eml", b"")],
        ..letter()
    };
    let message = read(&everything);
    let body = message.split_once("MIME-Version: 1.0\r\n").unwrap().1;
    let expected = "Content-Type: multipart/mixed; boundary=\"=_mabababababababababababab\"\r\n\
         \r\n\
         --=_mabababababababababababab\r\n\
         Content-Type: multipart/alternative; boundary=\"=_aabababababababababababab\"\r\n\
         \r\n\
         --=_aabababababababababababab\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\
         Content-Transfer-Encoding: 7bit\r\n\
         \r\n\
         At five.\r\n\
         \r\n\
         --=_aabababababababababababab\r\n\
         Content-Type: text/html; charset=us-ascii\r\n\
         Content-Transfer-Encoding: 7bit\r\n\
         \r\n\
         <p>At five.\r\n\
         \r\n\
         --=_aabababababababababababab--\r\n\
         \r\n\
         --=_mabababababababababababab\r\n\
         Content-Type: image/png\r\n\
         Content-Disposition: attachment;\r\n filename=\"scones.png\"\r\n\
         Content-Transfer-Encoding: base64\r\n\
         \r\n\
         iVBORw==\r\n\
         \r\n\
         --=_mabababababababababababab\r\n\
         Content-Type: application/octet-stream\r\n\
         Content-Disposition: attachment;\r\n filename=\"note.eml\"\r\n\
         Content-Transfer-Encoding: base64\r\n\
         \r\n\
         \r\n\
         --=_mabababababababababababab--\r\n";
    assert_eq!(body, expected);
}

/// Texts, names and subjects that are hard to carry, and how they have to arrive.
fn hard_letters() -> Vec<Letter> {
    let texts: [&str; 8] = [
        "Grüße, 日本語 und ein sehr langer Satz, der in eine Zeile nicht passt und deshalb umbrochen werden muss.\n",
        "日本語だけの本文です。\nもう一行。\n",
        "\ttabs and trailing spaces  \n\n.\n..leading dots\nFrom the start\n=3D is not =\n",
        "",
        "\n",
        "no end of line",
        "mixed\r\nline\nends\rhere\n",
        "\u{0}\u{1f4a9}\n",
    ];
    let long = format!("{}\n", "x".repeat(5000));
    let subjects = [
        "Tea",
        "Grüße aus 東京 und von anderswo, wo die Zeilen immer länger werden, bis sie brechen",
        "=?x?=",
    ];
    let names = [
        "Bob",
        "Liddell, Alice (\"A\")",
        "Zoë Ångström-Müller von und zu Hohenstein-Wallenfels-Überall",
        "Bob =? (Jr.)",
    ];
    let mut letters = Vec::new();
    for (n, text) in texts.into_iter().chain([long.as_str()]).enumerate() {
        for eight_bit in [false, true] {
            let bob = Address::parse("bob@bücher.example").unwrap();
            let name = names[n % names.len()];
            letters.push(Letter {
                to: vec![
                    Mailbox::new(Some(name), bob.clone()),
                    bob.into(),
                    Mailbox::parse("c@x.example").unwrap(),
                ],
                reply_to: Mailbox::parse_list("Büro <office@example.org>").unwrap(),
                subject: Some(subjects[n % subjects.len()].to_owned()),
                text: Some(text.to_owned()),
                html: (n % 2 == 1).then(|| format!("<p>{text}</p>")),
                attachments: if n % 3 == 0 {
                    Vec::new()
                } else {
                    vec![attachment("naïve \"名前\".bin", b"\0\xff\r\n.\n")]
                },
                eight_bit,
                ..letter()
            });
        }
    }
    letters
}

#[test]
fn another_parser_reads_what_was_meant() {
    for letter in hard_letters() {
        let written = read(&letter);
        let parsed = MessageParser::default().parse(written.as_bytes()).unwrap();
        assert_eq!(parsed.subject(), letter.subject.as_deref());
        let to: Vec<_> = parsed.to().unwrap().iter().collect();
        assert_eq!(to.len(), 3);
        assert_eq!(to[0].name(), letter.to[0].name(), "{written}");
        assert_eq!(to[0].address(), Some("bob@xn--bcher-kva.example"));
        assert_eq!(parsed.reply_to().unwrap().first().unwrap().name(), Some("Büro"));
        assert_eq!(parsed.message_id(), Some("1@example.org"));
        // mail-parser drops a NUL it decodes.
        let text = parsed.body_text(0).unwrap();
        assert_eq!(
            text.replace('\0', ""),
            crlf(letter.text.as_ref().unwrap()).replace('\0', ""),
            "{written}"
        );
        if let Some(html) = &letter.html {
            assert_eq!(parsed.body_html(0).unwrap().replace('\0', ""), crlf(html).replace('\0', ""));
        }
        assert_eq!(parsed.attachment_count(), letter.attachments.len());
        if let Some(part) = parsed.attachment(0) {
            assert_eq!(part.attachment_name(), Some("naïve \"名前\".bin"));
            assert_eq!(part.contents(), b"\0\xff\r\n.\n");
        }
    }
}

/// Python's email package as the second opinion; where there is no Python the test has nothing to ask.
#[test]
fn python_reads_what_was_meant() {
    const SCRIPT: &str = "
import sys, email, email.policy
def show(*fields): print(*fields, sep='|', end='\\0')
def octets(part):
    content = part.get_content()
    return content if isinstance(content, bytes) else part.get_payload(decode=True)
while length := sys.stdin.buffer.readline():
    octets_of_message = sys.stdin.buffer.read(int(length))
    message = email.message_from_bytes(octets_of_message, policy=email.policy.default)
    show(message['subject'])
    show(*[a.display_name + '/' + a.addr_spec for a in message['to'].addresses])
    show(message.get_body(('plain',)).get_content().replace('\\r\\n', '\\n').replace('\\0', ''))
    show(*[a.get_filename() + '/' + octets(a).hex() for a in message.iter_attachments()])
    show(*[type(d).__name__ for part in message.walk() for d in part.defects])
";
    let letters = hard_letters();
    let written: Vec<String> = letters.iter().map(read).collect();
    let mut input = tempfile::tempfile().unwrap();
    for message in &written {
        write!(input, "{}\n{message}", message.len()).unwrap();
    }
    input.rewind().unwrap();
    let python =
        Command::new("python3").args(["-c", SCRIPT]).env("PYTHONIOENCODING", "utf-8").stdin(input).output();
    let Ok(output) = python else {
        return;
    };
    let shown = String::from_utf8(output.stdout).unwrap();
    let shown: Vec<&str> = shown.split_terminator('\0').collect();
    assert_eq!(shown.len(), letters.len() * 5, "{}", String::from_utf8_lossy(&output.stderr));
    for ((letter, written), shown) in letters.iter().zip(&written).zip(shown.chunks(5)) {
        let files = letter.attachments.iter().map(|_| "naïve \"名前\".bin/00ff0d0a2e0a").collect::<String>();
        assert_eq!(shown[0], letter.subject.as_deref().unwrap(), "{written}");
        // Python puts a space between the encoded-words of a name that takes several.
        let name: String = letter.to[0].name().unwrap().split_whitespace().collect();
        let to = format!("{name}/bob@xn--bcher-kva.example|/bob@xn--bcher-kva.example|/c@x.example");
        assert_eq!(shown[1].replace(' ', ""), to, "{written}");
        let text = crlf(letter.text.as_ref().unwrap()).replace("\r\n", "\n").replace('\0', "");
        assert_eq!(shown[2], text, "{written}");
        assert_eq!(shown[3], files, "{written}");
        assert_eq!(shown[4], "", "{written}");
    }
}

#[test]
fn nothing_that_is_given_becomes_a_field_of_its_own() {
    let evil = "x\r\nBcc: eve@example.org\r\n\r\nbody";
    let bob = Address::parse("bob@example.org").unwrap();
    let letter = Letter {
        to: vec![Mailbox::new(Some(evil), bob)],
        subject: Some(evil.to_owned()),
        fields: vec![("X-Note".to_owned(), evil.to_owned())],
        user_agent: Some(evil.to_owned()),
        attachments: vec![attachment("a\r\nBcc: eve@example.org\r\n.txt", b"x")],
        ..letter()
    };
    let message = read(&letter);
    assert!(!message.contains("\r\nBcc:") && !message.contains("\r\n\r\nbody"), "{message}");
}

#[test]
fn further_fields_are_checked() {
    let with =
        |name: &str, value: &str| Letter { fields: vec![(name.into(), value.into())], ..letter() }.compose();
    for name in ["", "X Y", "X:", "Ü", "X\r\n"] {
        assert_eq!(with(name, "x").unwrap_err(), ComposeError::FieldName(name.to_owned()));
    }
    for name in ["Bcc", "SUBJECT", "content-type"] {
        assert_eq!(with(name, "x").unwrap_err(), ComposeError::ReservedField(name.to_owned()));
    }
    let dated = read(&Letter { fields: vec![("date".into(), "yesterday".into())], ..letter() });
    assert!(dated.contains("date: yesterday\r\n") && !dated.contains("Date: "), "{dated}");
    for id in ["", "x", "<>", "<a b>", "<a>\r\nX: y <b>", "<é@x>"] {
        let answer = Letter { in_reply_to: vec![id.to_owned()], ..letter() };
        assert_eq!(answer.compose().unwrap_err(), ComposeError::MessageId(id.to_owned()));
    }
    for media_type in ["", "text", "text/plain\r\nX: y", "message/rfc822", "a b/c"] {
        let file = Attachment { media_type: Some(media_type.to_owned()), ..attachment("x", b"") };
        let error = Letter { attachments: vec![file], ..letter() }.compose().unwrap_err();
        assert_eq!(error, ComposeError::MediaType(media_type.to_owned()));
    }
}

#[test]
fn addresses_in_utf8_need_smtputf8() {
    let plain = Letter { to: Mailbox::parse_list("Zoë <z@bücher.example>").unwrap(), ..letter() };
    assert!(!plain.compose().unwrap().needs_utf8());
    let utf8 = Letter { to: Mailbox::parse_list("zoë@bücher.example").unwrap(), ..letter() };
    assert!(utf8.compose().unwrap().needs_utf8());
    assert!(read(&utf8).contains("To: zoë@bücher.example\r\n"));
    let nobody = Letter { to: Vec::new(), ..letter() };
    assert!(read(&nobody).contains("To: undisclosed-recipients:;\r\n"));
}

#[test]
fn a_long_thread_and_many_recipients_are_folded() {
    let ids: Vec<String> = (0..200).map(|n| format!("<{n}.abcdefghij@example.org>")).collect();
    let people: Vec<String> =
        (0..200).map(|n| format!("\"Person, no. {n}\" <person{n}@example.org>")).collect();
    let to = Mailbox::parse_list(&people.join(", ")).unwrap();
    let message = read(&Letter { references: ids, to, ..letter() });
    assert!(message.split("\r\n").all(|line| line.len() <= 78));
    let parsed = MessageParser::default().parse(message.as_bytes()).unwrap();
    assert_eq!(parsed.references().as_text_list().unwrap().len(), 200);
    assert_eq!(parsed.to().unwrap().iter().count(), 200);
}

/// A file that is made up while it is read and would not fit in memory.
struct Endless;

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        into.fill(b'x');
        Ok(into.len())
    }
}

#[test]
fn a_large_attachment_is_never_held() {
    let len = 1 << 40;
    let open = || Ok(Box::new(Endless.take(1 << 40)) as Box<dyn Read + Send>);
    let file = Attachment { name: "big".to_owned(), media_type: None, len, open: Arc::new(open) };
    let composed = Letter { attachments: vec![file], ..letter() }.compose().unwrap();
    assert!(composed.len() > len / 3 * 4);
    let mut start = vec![0; 4 << 20];
    composed.reader().read_exact(&mut start).unwrap();
    assert!(start.ends_with(b"eHh4") || start.is_ascii());
}
