#![allow(clippy::unwrap_used)]

use packetboat_message::Address;

use super::Strictness::{Lenient, Strict};
use super::*;
use crate::envelope::{BodyKind, ForwardPath};

const OFFERED: Offered =
    Offered { auth: true, dsn: true, deliver_by: true, future_release: true, require_tls: true };

fn both(line: &str) -> (Result<Command, CommandError>, Result<Command, CommandError>) {
    (parse(line.as_bytes(), Strict, &OFFERED), parse(line.as_bytes(), Lenient, &OFFERED))
}

fn hello(verb: HelloVerb, name: &str) -> Result<Command, CommandError> {
    Ok(Command::Hello(Hello { verb, name: name.to_owned() }))
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

#[test]
fn the_four_ways_to_begin() {
    for (verb, target) in [
        ("MAIL", Target::Mailbox),
        ("send", Target::Terminal),
        ("SOML", Target::TerminalOrMailbox),
        ("Saml", Target::TerminalAndMailbox),
    ] {
        let (strict, lenient) = both(&format!("{verb} FROM:<a@b.example> SIZE=1"));
        assert!(matches!(&strict, Ok(Command::Mail(sender)) if sender.target == target), "{strict:?}");
        assert_eq!(strict, lenient);
    }
}

#[test]
fn simple_verbs_in_any_case() {
    for (line, expected) in [
        ("DATA", Command::Data),
        ("data  ", Command::Data),
        ("rset", Command::Reset),
        ("NoOp", Command::Noop),
        ("NOOP ping", Command::Noop),
        ("quit", Command::Quit),
        ("HELP", Command::Help(None)),
        ("HELP  Mail ", Command::Help(Some("Mail".into()))),
        ("TURN", Command::Turn),
        ("ETRN Lan.Example", Command::Etrn(Node::Domain(domain("lan.example")))),
        ("ETRN @lan.example", Command::Etrn(Node::Below(domain("lan.example")))),
        ("etrn #uucp", Command::Etrn(Node::Queue("uucp".into()))),
        ("ATRN", Command::Atrn(vec![])),
        ("ATRN a.example,b.example", Command::Atrn(vec![domain("a.example"), domain("b.example")])),
        ("atrn a.example, b.example", Command::Atrn(vec![domain("a.example"), domain("b.example")])),
        ("STARTTLS", Command::StartTls),
        ("BDAT 0", Command::Bdat { size: 0, last: false }),
        ("bdat 86 last", Command::Bdat { size: 86, last: true }),
        ("VRFY alice", Command::Verify(Query { name: "alice".into(), utf8: false })),
        ("VRFY jos\u{e9} SMTPUTF8", Command::Verify(Query { name: "jos\u{e9}".into(), utf8: true })),
        ("EXPN staff", Command::Expand(Query { name: "staff".into(), utf8: false })),
        ("AUTH plain", Command::Auth { mechanism: "PLAIN".into(), initial: None }),
        ("AUTH PLAIN =", Command::Auth { mechanism: "PLAIN".into(), initial: Some("=".into()) }),
        (
            "AUTH SCRAM-SHA-256-PLUS bGk=",
            Command::Auth { mechanism: "SCRAM-SHA-256-PLUS".into(), initial: Some("bGk=".into()) },
        ),
    ] {
        let (strict, lenient) = both(line);
        assert_eq!(strict.as_ref(), Ok(&expected), "{line}");
        assert_eq!(lenient.as_ref(), Ok(&expected), "{line}");
    }
}

#[test]
fn what_is_wrong_in_every_mode() {
    use CommandError::*;
    for (line, expected) in [
        ("", UnknownVerb),
        (" NOOP", UnknownVerb),
        ("XYZZY", UnknownVerb),
        ("NOOPE", UnknownVerb),
        ("a-very-long-verb-indeed", UnknownVerb),
        ("BURL imap://example.org", NotImplemented),
        ("TURN around", Argument),
        ("SEND", PathSyntax),
        ("SOML TO:<a@b.example>", PathSyntax),
        ("ETRN", NodeSyntax),
        ("ETRN localname", NodeSyntax),
        ("ETRN [192.0.2.1]", NodeSyntax),
        ("ETRN a.example b.example", NodeSyntax),
        ("ETRN @", NodeSyntax),
        ("ETRN #", NodeSyntax),
        ("ATRN a.example,", NodeSyntax),
        ("ATRN a.example b.example", NodeSyntax),
        ("GET / HTTP/1.1", ForeignProtocol),
        ("Host: mail.example.org", ForeignProtocol),
        ("DATA now", Argument),
        ("STARTTLS please", Argument),
        ("MAIL", PathSyntax),
        ("MAIL FROM", PathSyntax),
        ("MAIL TO:<a@b.example>", PathSyntax),
        ("MAIL FROM:", PathSyntax),
        ("MAIL FROM:<jos\u{e9}@b.example>", SenderNeedsUtf8),
        ("MAIL FROM:<a@b.example> XYZZY=1", UnknownParameter),
        ("MAIL FROM:<a@b.example> BODY=9BIT", UnknownParameterValue),
        ("RCPT TO:<>", RecipientSyntax),
        ("RCPT TO:<a@b.example> SIZE=1", UnknownParameter),
        ("RCPT FROM:<a@b.example>", PathSyntax),
        ("RCPT \u{e9}\u{e9}", PathSyntax),
        ("NOOP \0", Characters),
        ("EHLO a\x1bb", Characters),
        ("MAIL FROM:<a\x7f@b.example>", Characters),
        ("VRFY", Argument),
        ("VRFY jos\u{e9}", NameNeedsUtf8),
        ("EXPN", Argument),
        ("AUTH", Argument),
        ("AUTH PL!AIN", Argument),
        ("AUTH PLAIN a b", Argument),
        ("AUTH A-NAME-THAT-IS-TOO-LONG", Argument),
        ("BDAT", ChunkSize),
        ("BDAT -1", ChunkSize),
        ("BDAT +1", ChunkSize),
        ("BDAT 1x", ChunkSize),
        ("BDAT 1 FIRST", ChunkSize),
        ("BDAT LAST", ChunkSize),
        ("BDAT 99999999999999999999", ChunkSize),
    ] {
        let (strict, lenient) = both(line);
        assert_eq!(strict, Err(expected), "strict {line}");
        assert_eq!(lenient, Err(expected), "lenient {line}");
    }
    assert_eq!(parse(b"EHLO \xff\xfe", Lenient, &OFFERED), Err(Characters));
    assert_eq!(parse(b"\xff\xfe", Lenient, &OFFERED), Err(UnknownVerb));
}

#[test]
fn names_in_hello() {
    use HelloVerb::*;
    for (line, strict, lenient) in [
        ("HELO Client.Example", hello(Helo, "client.example"), hello(Helo, "Client.Example")),
        ("EHLO [192.0.2.1]", hello(Ehlo, "[192.0.2.1]"), hello(Ehlo, "[192.0.2.1]")),
        ("LHLO localhost", hello(Lhlo, "localhost"), hello(Lhlo, "localhost")),
        ("HELO", Err(CommandError::HelloName), hello(Helo, "")),
        ("HELO my pc", Err(CommandError::HelloName), hello(Helo, "my")),
        ("EHLO b\u{fc}ro", hello(Ehlo, "xn--bro-hoa"), hello(Ehlo, "b?ro")),
        ("EHLO x(y);z", Err(CommandError::HelloName), hello(Ehlo, "x?y??z")),
    ] {
        assert_eq!(both(line), (strict, lenient), "{line}");
    }
    let long = format!("EHLO {}", "x".repeat(1000));
    assert_eq!(both(&long).1, hello(Ehlo, &"x".repeat(255)));
}

#[test]
fn mail_and_rcpt() {
    let (strict, lenient) = both("MAIL FROM:<a@b.example> SIZE=12 BODY=8BITMIME");
    assert_eq!(strict, lenient);
    let Ok(Command::Mail(sender)) = strict else { panic!("{strict:?}") };
    assert_eq!(sender.path, Some(Address::parse("a@b.example").unwrap()));
    assert_eq!((sender.size, sender.body), (Some(12), BodyKind::EightBit));

    let (_, lenient) = both("MAIL FROM:<jos\u{e9}@b.example> SMTPUTF8");
    assert!(matches!(lenient, Ok(Command::Mail(Sender { smtputf8: true, .. }))), "{lenient:?}");

    let (_, lenient) = both("RCPT TO:<postmaster>");
    let expected = Recipient { path: ForwardPath::Postmaster, notify: None, original: None };
    assert_eq!(lenient, Ok(Command::Rcpt { recipient: expected, needs_utf8: false }));
    let (_, lenient) = both("RCPT TO:<jos\u{e9}@b.example>");
    assert!(matches!(lenient, Ok(Command::Rcpt { needs_utf8: true, .. })), "{lenient:?}");
}

#[test]
fn what_only_lenient_lets_through() {
    let address = Address::parse("a@b.example").unwrap();
    for line in [
        "MAIL FROM: a@b.example",
        "MAIL FROM: <a@b.example>",
        "mail from : <a@b.example>",
        "MAIL  FROM:<a@b.example>",
        "MAIL\tFROM:a@b.example",
    ] {
        let (strict, lenient) = both(line);
        assert_eq!(strict, Err(CommandError::PathSyntax), "{line}");
        assert_eq!(lenient, Ok(Command::Mail(Sender::new(Some(address.clone())))), "{line}");
    }
    for line in ["RSET now", "QUIT please"] {
        let (strict, lenient) = both(line);
        assert_eq!(strict, Err(CommandError::Argument), "{line}");
        assert!(lenient.is_ok(), "{line}");
    }
}
