#![allow(clippy::unwrap_used)]

use super::*;

/// What a command is read as, in the notation of `Debug`, or the error.
fn read(text: &str) -> String {
    match Command::parse(text.as_bytes(), false) {
        Ok(Command::Request(request)) => format!("{request:?}"),
        Ok(command) => format!("{command:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn tags() {
    for (line, tag) in [
        ("a1 NOOP", Some("a1")),
        ("A.b-] NOOP", Some("A.b-]")),
        ("+ NOOP", None),
        ("a+b NOOP", None),
        (" NOOP", None),
        ("", None),
        ("* OK", None),
        ("{3}", None),
    ] {
        assert_eq!(split_tag(line.as_bytes()).map(|(tag, _)| tag), tag, "{line}");
    }
    let long = "x".repeat(TAG_MAX);
    assert_eq!(split_tag(format!("{long} NOOP").as_bytes()), Some((&*long, &b"NOOP"[..])));
    assert_eq!(split_tag(format!("{long}x NOOP").as_bytes()), None);
}

#[test]
fn commands_of_the_session() {
    for (text, expected) in [
        ("capability", "Capability"),
        ("NOOP ", "Noop"),
        ("NOOP x", "there is more than the command takes"),
        ("XYZZY", "unknown command"),
        ("", "unknown command"),
        ("LOGIN a {3}\r\nb c", "Login { name: \"a\", password: *** }"),
        ("LOGIN \"a\\\"\" \"b\\\\\"", "Login { name: \"a\\\"\", password: *** }"),
        ("LOGIN \"a\\b\" c", "a backslash stands before what needs none"),
        ("LOGIN a {3}\r\nb", "the command is not complete"),
        ("LOGIN a", "arguments are missing"),
        ("AUTHENTICATE plain =", "Authenticate { mechanism: \"PLAIN\", initial: Some(***) }"),
        ("ENABLE condstore X", "Enable([\"CONDSTORE\", \"X\"])"),
        ("ENABLE", "arguments are missing"),
        ("ID NIL", "Id(None)"),
        ("ID (\"name\" \"a\" \"os\" NIL)", "Id(Some(ClientId { name: Some(\"a\"), version: None }))"),
        ("COMPRESS deflate", "Compress"),
        ("COMPRESS LZW", "only DEFLATE is known"),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}
