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

/// A request's `Debug` text, shortened where it would be long.
fn request(text: &str) -> String {
    read(text)
        .replace("Target { messages: Set(NumberSet(", "{")
        .replace(")), uid:", " uid:")
        .replace("MailboxName(", "(")
}

#[test]
fn mailboxes() {
    for (text, expected) in [
        (
            "SELECT Inbox",
            "Select(Select { mailbox: (\"INBOX\"), examine: false, condstore: false, qresync: None })",
        ),
        (
            "EXAMINE \"a b\" (CONDSTORE)",
            "Select(Select { mailbox: (\"a b\"), examine: true, condstore: true, qresync: None })",
        ),
        ("SELECT a (QRESYNC (67890007 20050715194045000 41,43:211,214:541))", "Select("),
        ("SELECT a (QRESYNC (1 2 41:43 (1,3 41,43)))", "Select("),
        ("SELECT a (QRESYNC (1 2 (1,3 41,43)))", "Select("),
        ("SELECT a (QRESYNC (1 2 1:*))", "there must be no * here"),
        ("SELECT a (QRESYNC (0 2))", "the number is out of range"),
        ("SELECT a (XYZZY)", "not a SELECT parameter of this server"),
        ("SELECT", "arguments are missing"),
        ("SELECT a b", "there is more than the command takes"),
        ("SELECT &A", "the mailbox name is not encoded properly"),
        ("SELECT \"\"", "not a mailbox name"),
        ("CREATE foo/", "Create { mailbox: (\"foo\"), special_use: [] }"),
        ("CREATE /", "not a mailbox name"),
        (
            "CREATE a (USE (\\Sent \\Drafts))",
            "Create { mailbox: (\"a\"), special_use: [\"\\\\Sent\", \"\\\\Drafts\"] }",
        ),
        ("CREATE a (USE ())", "Create { mailbox: (\"a\"), special_use: [] }"),
        ("RENAME {1}\r\na {1+}\r\nb", "Rename { from: (\"a\"), to: (\"b\") }"),
        ("DELETE a", "Delete((\"a\"))"),
        ("UNSUBSCRIBE ~{1}\r\na", "Unsubscribe((\"a\"))"),
        ("SUBSCRIBE ~a", "Subscribe((\"~a\"))"),
        ("STATUS a (messages SIZE messages)", "Status { mailbox: (\"a\"), items: [Messages, Size] }"),
        ("STATUS a ()", "STATUS items are missing"),
        ("STATUS a (X)", "not a STATUS item of this server"),
        ("GETQUOTA \"\"", "GetQuota(\"\")"),
        ("SETQUOTA \"\" (STORAGE 512)", "SetQuota(\"\", [(\"STORAGE\", 512)])"),
        ("GETQUOTAROOT INBOX", "GetQuotaRoot((\"INBOX\"))"),
        ("UNSELECT", "Unselect"),
    ] {
        let read = request(text);
        assert!(read == expected || expected.ends_with('(') && read.starts_with(expected), "{text}: {read}");
    }
}

#[test]
fn lists() {
    let plain = ListReturn::default();
    let list = |reference: &str, patterns: &[&str], select: ListSelect, returns: ListReturn| List {
        lsub: false,
        reference: reference.to_owned(),
        patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
        select,
        returns,
    };
    let extended = |change: &dyn Fn(&mut ListReturn)| {
        let mut returns = ListReturn { extended: true, ..ListReturn::default() };
        change(&mut returns);
        returns
    };
    let none = ListSelect::default();
    for (text, expected) in [
        ("LIST \"\" *", list("", &["*"], none, plain.clone())),
        ("LIST a/ %.b", list("a/", &["%.b"], none, plain.clone())),
        ("LIST \"\" \"Entw&APw-rfe/*\" ", list("", &["Entwürfe/*"], none, plain.clone())),
        ("LIST \"\" \"a&b\"", list("", &["a&b"], none, plain)),
        ("LIST () \"\" a", list("", &["a"], none, extended(&|_| ()))),
        ("LIST \"\" (a \"b\" {1}\r\nc)", list("", &["a", "b", "c"], none, extended(&|_| ()))),
        (
            "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" * RETURN (CHILDREN)",
            list(
                "",
                &["*"],
                ListSelect { subscribed: true, recursive_match: true, ..none },
                extended(&|returns| (returns.subscribed, returns.children) = (true, true)),
            ),
        ),
        (
            "LIST \"\" * RETURN (SPECIAL-USE STATUS (UNSEEN))",
            list(
                "",
                &["*"],
                none,
                extended(&|returns| {
                    returns.special_use = true;
                    returns.status = vec![StatusItem::Unseen];
                }),
            ),
        ),
    ] {
        let command = Command::parse(text.as_bytes(), false).unwrap();
        assert_eq!(command, Command::Request(Box::new(Request::List(expected))), "{text}");
    }
    for (text, error) in [
        ("LIST (RECURSIVEMATCH) \"\" *", "RECURSIVEMATCH needs another selection option"),
        ("LIST (X) \"\" *", "not a selection option of this server"),
        ("LIST \"\" ()", "a pattern is missing"),
        ("LIST \"\"", "arguments are missing"),
        ("LIST \"\" * RETURN (X)", "not a return option of this server"),
        ("LSUB \"\" * RETURN (CHILDREN)", "there is more than the command takes"),
    ] {
        assert_eq!(read(text), error, "{text}");
    }
    let wild = format!("LIST \"\" {}", "*a".repeat(33));
    assert_eq!(read(&wild), "the pattern has too many wildcards");
}

/// The keys of a search, in the notation of `Debug`.
fn key(text: &str) -> String {
    match Command::parse(format!("SEARCH {text}").as_bytes(), false) {
        Ok(Command::Request(request)) => match *request {
            Request::Search(search) => format!("{:?}", search.key),
            other => panic!("{other:?}"),
        },
        Ok(other) => panic!("{other:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn search_keys() {
    for (text, expected) in [
        ("ALL", "All"),
        ("UNSEEN", "Not(Flag(Seen))"),
        ("NEW", "And([Flag(Recent), Not(Flag(Seen))])"),
        ("OLD FLAGGED", "And([Not(Flag(Recent)), Flag(Flagged)])"),
        ("KEYWORD $Junk", "Flag(Keyword(\"$Junk\"))"),
        ("UNKEYWORD a", "Not(Flag(Keyword(\"a\")))"),
        ("KEYWORD \\Seen", "not a keyword"),
        ("from {3}\r\na\"b", "Header { name: \"From\", text: \"a\\\"b\" }"),
        ("HEADER X-A \"\"", "Header { name: \"X-A\", text: \"\" }"),
        ("SUBJECT Grüße", "Header { name: \"Subject\", text: \"Grüße\" }"),
        ("CHARSET UTF-8 TEXT \"Grüße\"", "Text(\"Grüße\")"),
        ("OR SEEN NOT (DRAFT ANSWERED)", "Or(Flag(Seen), Not(And([Flag(Draft), Flag(Answered)])))"),
        ("SINCE 1-Feb-1994", "Internal(Since(Day(8797)))"),
        ("SENTBEFORE \"01-Jan-1970\"", "Sent(Before(Day(0)))"),
        ("SAVEDON 2-Jan-1970", "Saved(On(Day(1)))"),
        ("SAVEDATESUPPORTED", "SaveDateSupported"),
        ("LARGER 9223372036854775807", "Larger(9223372036854775807)"),
        ("LARGER 9223372036854775808", "a number is missing or too large"),
        ("OLDER 60 YOUNGER 3600", "And([Older(60), Younger(3600)])"),
        ("OLDER 0", "the number is out of range"),
        ("MODSEQ 620162338", "ModSeq(620162338)"),
        ("MODSEQ \"/flags/\\\\draft\" all 620162338", "ModSeq(620162338)"),
        ("MODSEQ \"/flags/\\\\draft\" x 1", "not a type of entry"),
        ("EMAILID M1 THREADID T2", "And([EmailId(\"M1\"), ThreadId(\"T2\")])"),
        ("$", "Messages(Target { messages: Saved, uid: false })"),
        ("UID $", "Messages(Target { messages: Saved, uid: true })"),
        (
            "2:* SEEN ",
            "And([Messages(Target { messages: Set(NumberSet([(Number(2), Last)])), uid: false }), Flag(Seen)])",
        ),
        ("(((SEEN)))", "Flag(Seen)"),
        ("", "an atom is missing"),
        ("SEEN)", "there is more than the command takes"),
        ("(SEEN", "a parenthesis is missing"),
        ("()", "an atom is missing"),
        ("XYZZY", "arguments are missing"),
        ("XYZZY a", "not a search key of this server"),
        ("CHARSET XYZZY SEEN", "unknown charset"),
        ("CHARSET UTF-16 SEEN", "unknown charset"),
        ("CHARSET ISO-8859-1 TEXT \"a\\\\\"", "Text(\"a\\\\\")"),
    ] {
        assert_eq!(key(text), expected, "{text}");
    }
    let charset = Command::parse(b"SEARCH CHARSET ISO-8859-1 TEXT {3}\r\na\xfcb", false).unwrap();
    assert!(format!("{charset:?}").contains("Text(\"aüb\")"));
    let wrong = Command::parse(b"SEARCH CHARSET SHIFT_JIS TEXT {1}\r\n\xff", false).unwrap_err();
    assert_eq!(wrong.to_string(), "text is not in the charset named");
    let nul = Command::parse(b"SEARCH TEXT {1}\r\n\0", false).unwrap_err();
    assert_eq!(nul.to_string(), "a string holds NUL");
}

#[test]
fn searches_are_bounded() {
    let nested = |depth: usize| format!("{}SEEN{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(key(&nested(SEARCH_DEPTH_MAX - 1)), "Flag(Seen)");
    assert_eq!(key(&nested(SEARCH_DEPTH_MAX)), "the search is nested too deeply");
    assert_eq!(key(&nested(200_000)), "the search is nested too deeply");
    assert_eq!(key(&"NOT ".repeat(200_000)), "the search is nested too deeply");
    assert_eq!(key(&"OR ".repeat(200_000)), "the search is nested too deeply");
    let wide = "SEEN ".repeat(SEARCH_KEYS_MAX);
    assert!(key(wide.trim_end()).starts_with("And("));
    assert_eq!(key(&format!("{wide}SEEN")), "the search has too many keys");
    assert_eq!(key(&format!("TEXT {}", "x".repeat(4097))), "the text to be found is too long");
}

#[test]
fn search_options() {
    let returns = |text: &str| match Command::parse(format!("UID SEARCH RETURN {text} ALL").as_bytes(), false)
    {
        Ok(Command::Request(request)) => match *request {
            Request::Search(Search { uid: true, returns: Some(returns), .. }) => Ok(returns),
            other => panic!("{other:?}"),
        },
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    };
    let none = SearchReturn::default();
    let partial = |from_end, first: u32, last: u32| {
        Some(Partial { from_end, first: first.try_into().unwrap(), last: last.try_into().unwrap() })
    };
    assert_eq!(returns("()"), Ok(SearchReturn { all: true, ..none }));
    assert_eq!(returns("(MIN COUNT)"), Ok(SearchReturn { min: true, count: true, ..none }));
    assert_eq!(returns("(SAVE)"), Ok(SearchReturn { save: true, ..none }));
    assert_eq!(returns("(PARTIAL 500:401)"), Ok(SearchReturn { partial: partial(false, 401, 500), ..none }));
    assert_eq!(returns("(PARTIAL -1:-100)"), Ok(SearchReturn { partial: partial(true, 1, 100), ..none }));
    assert!(returns("(PARTIAL -1:100)").is_err());
    assert!(returns("(PARTIAL 0:1)").is_err());
    assert!(returns("(ALL PARTIAL 1:2)").is_err());
    assert!(returns("(PARTIAL 1:2 PARTIAL 3:4)").is_err());
    assert!(returns("(X)").is_err());
}

#[test]
fn sort_and_thread() {
    for (text, expected) in [
        (
            "SORT (REVERSE DATE SUBJECT) UTF-8 ALL",
            "Sort { order: [SortBy { reverse: true, key: Date }, SortBy { reverse: false, key: Subject }], search: Search { uid: false, key: All, returns: None } }",
        ),
        ("SORT () UTF-8 ALL", "sort criteria are missing"),
        ("SORT (X) UTF-8 ALL", "not a sort criterion"),
        ("SORT (REVERSE) UTF-8 ALL", "arguments are missing"),
        ("SORT (DATE) ALL", "unknown charset"),
        (
            "UID THREAD references US-ASCII SEEN",
            "Thread { algorithm: References, search: Search { uid: true, key: Flag(Seen), returns: None } }",
        ),
        ("THREAD REFS UTF-8 ALL", "not a threading algorithm of this server"),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn fetches() {
    let items = |text: &str| match Command::parse(format!("FETCH 1 {text}").as_bytes(), false) {
        Ok(Command::Request(request)) => match *request {
            Request::Fetch(fetch) => Ok(fetch.items),
            other => panic!("{other:?}"),
        },
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    };
    let section = |item, peek, path: &[u32], text, partial| {
        FetchItem::Section(Section { item, peek, path: path.to_vec(), text, partial })
    };
    let body = |peek, path: &[u32], text, partial| section(SectionItem::Body, peek, path, text, partial);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for (text, expected) in [
        ("FAST", vec![FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size]),
        (
            "full",
            vec![
                FetchItem::Flags,
                FetchItem::InternalDate,
                FetchItem::Size,
                FetchItem::Envelope,
                FetchItem::Body,
            ],
        ),
        ("(UID BODY BODYSTRUCTURE)", vec![FetchItem::Uid, FetchItem::Body, FetchItem::BodyStructure]),
        (
            "(PREVIEW (LAZY) PREVIEW)",
            vec![FetchItem::Preview { lazy: true }, FetchItem::Preview { lazy: false }],
        ),
        ("BODY[]", vec![body(false, &[], SectionText::Whole, None)]),
        ("BODY.PEEK[1.2]<5.10>", vec![body(true, &[1, 2], SectionText::Whole, Some((5, 10)))]),
        ("body[text]", vec![body(false, &[], SectionText::Text, None)]),
        ("BODY[3.MIME]", vec![body(false, &[3], SectionText::Mime, None)]),
        (
            "BODY[HEADER.FIELDS (From \"To\")]",
            vec![body(false, &[], SectionText::Fields(names(&["From", "To"])), None)],
        ),
        (
            "BODY[4.HEADER.FIELDS.NOT (X)]<0.1>",
            vec![body(false, &[4], SectionText::FieldsNot(names(&["X"])), Some((0, 1)))],
        ),
        ("BINARY.PEEK[1]", vec![section(SectionItem::Binary, true, &[1], SectionText::Whole, None)]),
        ("BINARY.SIZE[1.2]", vec![FetchItem::BinarySize(vec![1, 2])]),
        ("RFC822.HEADER", vec![section(SectionItem::Rfc822Header, true, &[], SectionText::Header, None)]),
        ("RFC822", vec![section(SectionItem::Rfc822, false, &[], SectionText::Whole, None)]),
        ("FLAGS (CHANGEDSINCE 12345)", vec![FetchItem::Flags, FetchItem::ModSeq]),
    ] {
        assert_eq!(items(text), Ok(expected), "{text}");
    }
    for text in [
        "()",
        "(FAST)",
        "BODY[",
        "BODY[MIME]",
        "BODY[1.]",
        "BODY[0]",
        "BODY[1.0]",
        "BODY[HEADER.FIELDS]",
        "BODY[HEADER.FIELDS ()]",
        "BODY[]<5>",
        "BODY[]<5.0>",
        "BODY.PEEK",
        "BINARY[TEXT]",
        "BINARY[1.]",
        "PREVIEW (EAGER)",
        "X",
        "FLAGS UID",
        "FLAGS (VANISHED)",
        "FLAGS (PARTIAL 1:2)",
        "FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)",
    ] {
        assert!(items(text).is_err(), "{text}");
    }
    assert!(items(&format!("BODY[{}1]", "1.".repeat(100))).is_err());
    let uid = Command::parse(b"UID FETCH 1:* FLAGS (CHANGEDSINCE 5 VANISHED PARTIAL -1:-10)", false).unwrap();
    let Command::Request(request) = uid else { panic!() };
    let Request::Fetch(fetch) = *request else { panic!() };
    assert!(fetch.vanished && fetch.target.uid && fetch.partial.unwrap().from_end);
    assert_eq!(fetch.items, [FetchItem::Flags, FetchItem::Uid, FetchItem::ModSeq]);
}

#[test]
fn changes_of_messages() {
    for (text, expected) in [
        (
            "STORE 1 +FLAGS.SILENT (\\Seen \\Recent a)",
            "Store(Store { target: {[(Number(1), Number(1))] uid: false }, change: Add, flags: [Seen, Keyword(\"a\")], silent: true, unchanged_since: None })",
        ),
        (
            "UID STORE 1 (UNCHANGEDSINCE 0) -FLAGS \\Seen \\Draft",
            "Store(Store { target: {[(Number(1), Number(1))] uid: true }, change: Remove, flags: [Seen, Draft], silent: false, unchanged_since: Some(0) })",
        ),
        (
            "STORE 1 FLAGS ()",
            "Store(Store { target: {[(Number(1), Number(1))] uid: false }, change: Replace, flags: [], silent: false, unchanged_since: None })",
        ),
        ("STORE 1 FLAGS (\\Bogus)", "not a flag"),
        ("STORE 1 BODY x", "only flags can be stored"),
        ("STORE 0 FLAGS ()", "a set of message numbers is missing or wrong"),
        ("STORE 1 FLAGS", "arguments are missing"),
        (
            "COPY 1,2 a",
            "Copy { target: {[(Number(1), Number(1)), (Number(2), Number(2))] uid: false }, mailbox: (\"a\"), and_remove: false }",
        ),
        (
            "UID MOVE $ a",
            "Copy { target: Target { messages: Saved, uid: true }, mailbox: (\"a\"), and_remove: true }",
        ),
        ("EXPUNGE", "Expunge(None)"),
        ("EXPUNGE 1", "there is more than the command takes"),
        ("UID EXPUNGE 1", "Expunge(Some({[(Number(1), Number(1))] uid: true }))"),
        ("UID SELECT a", "unknown command"),
        ("UID", "arguments are missing"),
        ("APPEND a b", "a message comes as a literal"),
    ] {
        assert_eq!(request(text), expected, "{text}");
    }
}

#[test]
fn literals_are_announced_at_the_end_of_lines() {
    for (line, octets) in [
        ("a LOGIN {5}", Some(5)),
        ("a LOGIN {5+}", Some(5)),
        ("a APPEND b ~{5}", Some(5)),
        ("a LOGIN \"x\" {5}", Some(5)),
        ("a LOGIN \"x\\\"\" {5}", Some(5)),
        ("a LOGIN \"{5}", None),
        ("a LOGIN \"\\\"{5}", None),
        ("a LOGIN {5} ", None),
        ("a LOGIN {}", None),
        ("a LOGIN {-5}", None),
        ("a LOGIN {5-}", None),
        ("a LOGIN {9223372036854775808}", None),
        ("{5}", Some(5)),
        ("}", None),
    ] {
        let head = lexer::announced(line.as_bytes());
        assert_eq!(head.map(|head| head.octets), octets, "{line}");
        assert_eq!(head.is_some_and(|head| head.binary), line.contains("~{"), "{line}");
    }
}

proptest::proptest! {
    #[test]
    fn reading_never_panics(
        words in proptest::collection::vec(proptest::sample::select(WORDS), 0..12),
        noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..6),
        at in 0..40_usize,
        utf8: bool,
    ) {
        let mut text = words.concat().into_bytes();
        let at = at.min(text.len());
        text.splice(at..at, noise);
        let _ = Command::parse(&text, utf8);
        let _ = append::begin(&text, utf8);
        let _ = append::next(&text, utf8, utf8);
        let _ = lexer::announced(&text);
        let _ = split_tag(&text);
    }
}

const WORDS: &[&str] = &[
    "a1 ",
    "UID ",
    "FETCH ",
    "STORE ",
    "SEARCH ",
    "LIST ",
    "SELECT ",
    "APPEND ",
    "REPLACE ",
    "STATUS ",
    "THREAD ",
    "SORT ",
    "ID ",
    "1:* ",
    "$ ",
    "(",
    ")",
    " ",
    "\"",
    "\\",
    "{3}\r\nabc",
    "{3+}",
    "~{1}",
    "BODY[",
    "]",
    "<0.1>",
    "1.2",
    "HEADER.FIELDS ",
    "OR ",
    "NOT ",
    "FROM ",
    "CHARSET ",
    "UTF-8 ",
    "RETURN ",
    "FLAGS ",
    "\\Seen",
    "1-Jan-2000",
    "\" 1-Jan-1970 00:00:00 +0000\"",
    "UTF8 ",
    "QRESYNC ",
    "PARTIAL ",
    "-1:-2",
    "&APw-",
    "*",
    "%",
    "\0",
    "ü",
];
