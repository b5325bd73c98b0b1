use std::num::NonZeroU32;

use super::*;
use crate::command::{Partial, SectionItem, SectionText};
use crate::response::{Code, Esearch, StatusItem, StatusValue, Thread};
use crate::value::Flag;

fn name(text: &str) -> RemoteName {
    RemoteName::new(text.as_bytes().to_vec())
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn listing(mailbox: &str, separator: Option<char>, attributes: &[&str]) -> Listing {
    Listing {
        mailbox: name(mailbox),
        separator,
        attributes: strings(attributes),
        child_info: Vec::new(),
        old_name: None,
    }
}

fn section(item: SectionItem, path: &[u32], text: SectionText, partial: Option<(u64, u64)>) -> Section {
    Section { item, peek: true, path: path.to_vec(), text, partial }
}

#[test]
fn responses_as_servers_write_them() {
    let number = |n| NonZeroU32::new(n).unwrap();
    for (text, expected) in [
        ("* 23 EXISTS", Untagged::Exists(23)),
        ("* 23 exists ", Untagged::Exists(23)),
        (
            "* FLAGS (\\Answered \\x $Forwarded)",
            Untagged::Flags(vec![Flag::Answered, Flag::Keyword("$Forwarded".into())]),
        ),
        ("* CAPABILITY IMAP4rev1  IDLE ", Untagged::Capability(strings(&["IMAP4rev1", "IDLE"]))),
        ("* ENABLED", Untagged::Enabled(vec![])),
        ("* ID NIL", Untagged::Id(vec![])),
        (
            "* ID (\"name\" \"Cyrus\" \"version\" NIL)",
            Untagged::Id(vec![("name".into(), Some("Cyrus".into())), ("version".into(), None)]),
        ),
        (
            "* NAMESPACE ((\"\" \"/\")(\"#mh/\" \"/\" \"X-PARAM\" (\"FLAG1\" \"FLAG2\"))) NIL ((\"Public.\" \".\"))",
            Untagged::Namespace([
                vec![
                    Namespace { prefix: name(""), separator: Some('/') },
                    Namespace { prefix: name("#mh/"), separator: Some('/') },
                ],
                vec![],
                vec![Namespace { prefix: name("Public."), separator: Some('.') }],
            ]),
        ),
        (
            "* LIST (\\HasChildren) \".\" INBOX.Entw&APw-rfe",
            Untagged::List(listing("INBOX.Entw&APw-rfe", Some('.'), &["\\HasChildren"])),
        ),
        ("* LIST () NIL \"a b\"", Untagged::List(listing("a b", None, &[]))),
        (
            "* LIST (\\Noselect) \"/\" {3}\r\na\"b",
            Untagged::List(listing("a\"b", Some('/'), &["\\Noselect"])),
        ),
        ("* LIST () \"\\\\\" x[1]", Untagged::List(listing("x[1]", Some('\\'), &[]))),
        (
            "* LIST (\\NonExistent) \"/\" new (\"X\" (1 (2)) \"CHILDINFO\" (\"SUBSCRIBED\") OLDNAME (old))",
            Untagged::List(Listing {
                child_info: strings(&["SUBSCRIBED"]),
                old_name: Some(name("old")),
                ..listing("new", Some('/'), &["\\NonExistent"])
            }),
        ),
        ("* LSUB () \"/\" x", Untagged::Lsub(listing("x", Some('/'), &[]))),
        (
            "* STATUS {4}\r\nblue (messages 231 X-GUID abc UIDNEXT 44292 MAILBOXID (F1) APPENDLIMIT NIL )",
            Untagged::Status(
                name("blue"),
                vec![
                    (StatusItem::Messages, StatusValue::Number(231)),
                    (StatusItem::UidNext, StatusValue::Number(44_292)),
                    (StatusItem::MailboxId, StatusValue::Id("F1".into())),
                    (StatusItem::AppendLimit, StatusValue::Nil),
                ],
            ),
        ),
        ("* SEARCH", Untagged::Search(vec![], None)),
        ("* SEARCH 2 84 ", Untagged::Search(vec![2, 84], None)),
        ("* SORT 5 3 (MODSEQ 12)", Untagged::Sort(vec![5, 3], Some(12))),
        (
            "* VANISHED (EARLIER) 41,43:116",
            Untagged::Vanished { earlier: true, uids: vec![(41, 41), (43, 116)] },
        ),
        (
            "* ESEARCH (TAG \"A]\") UID COUNT 17 ALL 4:18,21 X-NEW (1 2) PARTIAL (-1:-100 NIL)",
            Untagged::Esearch(
                Some("A]".into()),
                Esearch {
                    uid: true,
                    count: Some(17),
                    all: Some(vec![(4, 18), (21, 21)]),
                    partial: Some((Partial { from_end: true, first: number(1), last: number(100) }, vec![])),
                    ..Esearch::default()
                },
            ),
        ),
        ("* ESEARCH", Untagged::Esearch(None, Esearch::default())),
        (
            "* THREAD (2)((3)(5))",
            Untagged::Thread(vec![
                Thread { message: Some(2), children: vec![] },
                Thread {
                    message: None,
                    children: vec![
                        Thread { message: Some(3), children: vec![] },
                        Thread { message: Some(5), children: vec![] },
                    ],
                },
            ]),
        ),
        ("* QUOTA \"\" (STORAGE 10 512)", Untagged::Quota("".into(), vec![("STORAGE".into(), 10, 512)])),
        ("* QUOTAROOT INBOX \"\" x", Untagged::QuotaRoot(name("INBOX"), strings(&["", "x"]))),
        ("* BYE see {5}", Untagged::Bye(Completion::ok("see {5}"))),
        ("* PREAUTH hello", Untagged::PreAuth(Completion::ok("hello"))),
        ("* OK", Untagged::Condition(Completion::ok(""))),
        ("* OK [X-NEW \"]\" 5] ok", Untagged::Condition(Completion::ok("ok"))),
        (
            "* no [permanentflags (\\Seen \\Recent \\*)] \x1b[1mlook",
            Untagged::Condition(Completion {
                status: Status::No,
                code: Some(Code::PermanentFlags(vec![Flag::Seen], true)),
                text: "[1mlook".into(),
            }),
        ),
        ("* LIST nonsense", Untagged::Other("LIST nonsense".into())),
        ("* SEARCH 1 x", Untagged::Other("SEARCH 1 x".into())),
        ("* 5 EXPUNGED", Untagged::Other("5 EXPUNGED".into())),
        ("* THREAD (1", Untagged::Other("THREAD (1".into())),
        ("* THREAD 1", Untagged::Other("THREAD 1".into())),
        ("* XYZ {5}\r\n* BYE more {3}\r\na\r\n", Untagged::Other("XYZ {5}".into())),
    ] {
        assert_eq!(untagged(format!("{text}\r\n").as_bytes()), expected, "{text}");
        assert_eq!(read(format!("{text}\r\n* 1 EXISTS\n").as_bytes()).unwrap().len(), 2, "{text}");
    }
}

#[test]
fn lines_that_are_not_untagged() {
    let seen = read(
        b"+ aGVsbG8=\r\n+\r\nA1 OK [COPYUID 1 2:3 5,4] done\r\n\r\nb.2 bad [PARSE] {5}\r\nA3 NO [INPROGRESS (\"]\" 5 NIL)] x\n",
    );
    let tagged = |tag: &str, status, code, text: &'static str| Read::Tagged {
        tag: tag.into(),
        completion: Completion { status, code, text: text.into() },
    };
    let expected = [
        Read::Continue(Bytes::from_static(b"aGVsbG8=")),
        Read::Continue(Bytes::new()),
        tagged("A1", Status::Ok, Some(Code::CopyUid(1, vec![(2, 3)], vec![(5, 5), (4, 4)])), "done"),
        tagged("b.2", Status::Bad, Some(Code::Parse), "{5}"),
        tagged("A3", Status::No, Some(Code::InProgress(Some((5, None)))), "x"),
    ];
    assert_eq!(seen.unwrap(), expected);
}

#[test]
fn what_is_no_response() {
    for text in [
        "hello",
        "*",
        "* ",
        "A1",
        "A1 DONE",
        "HTTP/1.1 400 Bad",
        "* 1 FETCH",
        "* 1 FETCH UID 5",
        "* 1 FETCH (UID x)",
        "* 1 FETCH (UID 5",
        "* 1 FETCH (BODY[] x)",
        "a\rb",
    ] {
        assert!(read(format!("{text}\r\n").as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn fetch() {
    let (seen, sections) = fetched(
        b"* 12 FETCH (UID 5 FLAGS (\\Seen bad] $x) INTERNALDATE \"17-Jul-1996 02:44:25 +0000\" \
          RFC822.SIZE 44827 X-GM-LABELS (a \"b c\" {2}\r\nde) X-NEW {3}\r\n)(\" MODSEQ (7) EMAILID (M1) THREADID NIL \
          SAVEDATE NIL PREVIEW {3}\r\nabc BINARY.SIZE[1.2] 9 \
          ENVELOPE (\"d\" {1}\r\ns ((NIL NIL \"m\" \"h\") (\"n\" NIL \"m\" \"h\")) NIL NIL NIL NIL NIL NIL \"<i>\") \
          BODY[HEADER.FIELDS (From \"to\")]<5> {3}\r\na)b BODY[1.MIME] NIL BODY[TEXT] \"q\\\"\" \
          BINARY[2] ~{2}\r\n\0) RFC822 {0}\r\n BODY[] \"\" BODY (\"text\" (\"a\" {1}\r\n() 5))\r\n",
    );
    let body = |text| section(SectionItem::Body, &[], text, None);
    let fields = SectionText::Fields(strings(&["From", "to"]));
    let expected = [
        (section(SectionItem::Body, &[], fields, Some((5, 3))), b"a)b".to_vec()),
        (body(SectionText::Text), b"q\"".to_vec()),
        (section(SectionItem::Binary, &[2], SectionText::Whole, None), b"\0)".to_vec()),
        (section(SectionItem::Rfc822, &[], SectionText::Whole, None), Vec::new()),
        (body(SectionText::Whole), Vec::new()),
    ];
    assert_eq!(sections, expected);
    let mime = section(SectionItem::Body, &[1], SectionText::Mime, None);
    let mut told: Vec<_> =
        expected.iter().map(|(section, octets)| (section.clone(), Some(octets.len() as u64))).collect();
    told.insert(1, (mime, None));
    assert_eq!(seen.sections, told);
    assert_eq!((seen.number, seen.uid, seen.size, seen.mod_seq), (12, Some(5), Some(44_827), Some(7)));
    assert_eq!(seen.flags, Some(vec![Flag::Seen, Flag::Keyword("$x".into())]));
    assert_eq!(seen.internal_date, Some(837_571_465_000_000));
    assert_eq!(
        (seen.email_id.as_deref(), &seen.thread_id, seen.save_date),
        (Some("M1"), &Some(None), Some(None))
    );
    assert_eq!(seen.preview, Some(Some("abc".into())));
    assert_eq!(seen.binary_sizes, [(vec![1, 2], 9)]);
    let envelope = seen.envelope.unwrap();
    assert_eq!(envelope.subject.as_deref(), Some(&b"s"[..]));
    assert_eq!(envelope.from.len(), 2);
    assert_eq!(envelope.from[1].name.as_deref(), Some(&b"n"[..]));
    assert_eq!(envelope.message_id.as_deref(), Some(&b"<i>"[..]));
    let body = seen.body.unwrap();
    assert_eq!(body.items()[1].items()[1].text().unwrap(), "(");
    assert_eq!(body.items()[2], Data::Word("5".into()));
}

#[test]
fn what_was_told_before_a_section_is_known_when_it_begins() {
    let seen = read(b"* 1 FETCH (UID 5 FLAGS () BODY[] {2}\r\nab RFC822.SIZE 2)\r\n").unwrap();
    let Read::Section { so_far, octets: 2, .. } = &seen[0] else { panic!("{seen:?}") };
    assert_eq!((so_far.uid, &so_far.flags, so_far.size), (Some(5), &Some(vec![]), None));
    let Read::Fetched(fetched) = seen.last().unwrap() else { panic!("{seen:?}") };
    assert_eq!((fetched.uid, fetched.size), (Some(5), Some(2)));
}

#[test]
fn uid_instead_of_number() {
    let (seen, _) = fetched(b"* 25996 UIDFETCH (FLAGS (\\Seen))\r\n");
    assert_eq!((seen.number, seen.uid), (25_996, Some(25_996)));
}

#[test]
fn a_message_passes_through_in_pieces() {
    let mut input = Input::new();
    let mut reader = Reader::new();
    input.push(b"* 1 FETCH (BODY[] {1000000000000}\r\n");
    let Ok(Some(Read::Section { octets: 1_000_000_000_000, .. })) = reader.next(&mut input) else { panic!() };
    for _ in 0..1000 {
        input.push(&[b'{'; 10_000]);
        let Ok(Some(Read::Octets(octets))) = reader.next(&mut input) else { panic!() };
        assert_eq!(octets.len(), 10_000);
        assert!(reader.next(&mut input).unwrap().is_none() && input.is_empty() && reader.held.is_empty());
    }
}

#[test]
fn nothing_is_held_without_end() {
    // A line, a literal, many literals.
    let literals = "{1000}\r\n".to_owned() + &"x".repeat(1000);
    for (start, repeated) in [
        ("* SEARCH ", "1234567890 ".to_owned()),
        ("* LIST () \"/\" {17000000}\r\n", "x".repeat(1000)),
        ("* LIST (", literals.clone()),
        ("* 1 FETCH (ENVELOPE (", literals.clone()),
        ("* 1 FETCH (ENVELOPE {17000000}\r\n", "x".repeat(1000)),
        ("* 1 FETCH (FLAGS (", "x".repeat(1000)),
    ] {
        let mut input = Input::new();
        let mut reader = Reader::new();
        input.push(start.as_bytes());
        let mut fails = false;
        for _ in 0..20_000_000 / repeated.len() {
            input.push(repeated.as_bytes());
            fails = reader.next(&mut input).is_err();
            if fails {
                break;
            }
            assert!(reader.held.len() + input.len() <= RESPONSE_MAX + 4096);
        }
        assert!(fails, "{start}");
    }
}

#[test]
fn what_is_unknown_is_thrown_away_as_it_comes() {
    let mut input = Input::new();
    let mut reader = Reader::new();
    input.push(b"* X-DATA {40000000}\r\n");
    let mut seen = 0;
    for _ in 0..40_000 {
        input.push(&[b'x'; 1000]);
        seen += usize::from(reader.next(&mut input).unwrap().is_some());
        assert!(reader.held.is_empty());
    }
    input.push(b" y\r\n* 1 EXISTS\r\n");
    assert_eq!(seen, 1);
    assert_eq!(reader.next(&mut input).unwrap(), Some(Read::Untagged(Untagged::Exists(1))));
}

#[test]
fn many_small_literals_cost_no_more_than_their_octets() {
    // Reading all again at each of them would take minutes.
    for item in ["X {0}\r\n ", "X-LIST ({0}\r\n) ", "BODY[] {0}\r\n "] {
        let text = format!("* 1 FETCH ({}UID 5)\r\n", item.repeat(200_000));
        let mut input = Input::new();
        let mut reader = Reader::new();
        input.push(text.as_bytes());
        let mut last = None;
        while let Some(read) = reader.next(&mut input).unwrap() {
            last = Some(read);
        }
        let Some(Read::Fetched(fetched)) = last else { panic!("{item}") };
        assert_eq!(fetched.uid, Some(5), "{item}");
    }
}

#[test]
fn deep_threads_need_no_deep_stack() {
    let depth = 200_000;
    let chain = format!("* THREAD {}{}\r\n", "(1 (2)".repeat(depth), ")".repeat(depth));
    let mut input = Input::new();
    input.push(chain.as_bytes());
    let read = Reader::new().next(&mut input).unwrap();
    let Some(Read::Untagged(Untagged::Thread(threads))) = read else { panic!() };
    let mut deep = 0;
    let mut thread = threads.first();
    while let Some(next) = thread {
        deep += 1;
        thread = next.children.last();
    }
    assert!(deep >= depth);
}
