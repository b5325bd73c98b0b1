use std::num::NonZeroU32;

use bytes::BytesMut;

use super::*;
use crate::command::Partial;

fn rendered(response: &Response, mode: &Mode<'_>) -> String {
    let mut out = BytesMut::new();
    response.render(mode, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn partial(from_end: bool, first: u32, last: u32) -> Partial {
    let number = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Partial { from_end, first: number(first), last: number(last) }
}

fn condition(status: Status, code: Option<Code>, text: &'static str) -> Response {
    Response::Condition(Completion { status, code, text: text.into() })
}

#[test]
fn responses_as_the_rfcs_write_them() {
    let ok = |code| condition(Status::Ok, Some(code), "done");
    for (response, expected) in [
        (Response::Exists(23), "* 23 EXISTS"),
        (Response::Recent(0), "* 0 RECENT"),
        (Response::Expunge(44), "* 44 EXPUNGE"),
        (
            Response::Vanished { earlier: true, uids: vec![(41, 41), (43, 116)] },
            "* VANISHED (EARLIER) 41,43:116",
        ),
        (Response::Vanished { earlier: false, uids: vec![(405, 405)] }, "* VANISHED 405"),
        (Response::Flags(vec![Flag::Answered, Flag::Keyword("$x".into())]), "* FLAGS (\\Answered $x)"),
        (Response::Flags(vec![]), "* FLAGS ()"),
        (Response::Separator { lsub: false }, "* LIST (\\Noselect) \"/\" \"\""),
        (Response::Search(vec![2, 84, 882], None), "* SEARCH 2 84 882"),
        (Response::Search(vec![2], Some(917_162_500)), "* SEARCH 2 (MODSEQ 917162500)"),
        (Response::Search(vec![], Some(1)), "* SEARCH"),
        (Response::Sort(vec![5, 3], None), "* SORT 5 3"),
        (Response::Thread(vec![]), "* THREAD"),
        (
            Response::Thread(vec![
                Thread { message: Some(2), children: vec![] },
                Thread { message: Some(3), children: vec![Thread { message: Some(4), children: vec![] }] },
            ]),
            "* THREAD (2)(3 4)",
        ),
        (
            Response::Esearch(Esearch {
                uid: true,
                min: Some(7),
                max: Some(9),
                all: Some(vec![(7, 9)]),
                count: Some(3),
                modseq: Some(12),
                ..Esearch::default()
            }),
            "* ESEARCH (TAG \"A1\") UID MIN 7 MAX 9 COUNT 3 ALL 7:9 MODSEQ 12",
        ),
        (
            Response::Esearch(Esearch { all: Some(vec![]), count: Some(0), ..Esearch::default() }),
            "* ESEARCH (TAG \"A1\") COUNT 0",
        ),
        (
            Response::Esearch(Esearch {
                partial: Some((partial(true, 1, 100), vec![(200, 250), (252, 300)])),
                ..Esearch::default()
            }),
            "* ESEARCH (TAG \"A1\") PARTIAL (-1:-100 200:250,252:300)",
        ),
        (
            Response::Esearch(Esearch {
                partial: Some((partial(false, 24_000, 24_500), vec![])),
                ..Esearch::default()
            }),
            "* ESEARCH (TAG \"A1\") PARTIAL (24000:24500 NIL)",
        ),
        (
            Response::Quota("".into(), vec![("STORAGE", 10, 512), ("MESSAGE", 1, 2)]),
            "* QUOTA \"\" (STORAGE 10 512 MESSAGE 1 2)",
        ),
        (Response::Quota("#user/a".into(), vec![]), "* QUOTA #user/a ()"),
        (condition(Status::Bad, None, "what?"), "* BAD what?"),
        (condition(Status::No, Some(Code::TryCreate), "none"), "* NO [TRYCREATE] none"),
        (condition(Status::Ok, None, ""), "* OK ."),
        (condition(Status::Ok, None, "[ALERT] x\r\n"), "* OK .[ALERT] x  "),
        (ok(Code::UidNext(5)), "* OK [UIDNEXT 5] done"),
        (ok(Code::HighestModSeq(u64::MAX)), "* OK [HIGHESTMODSEQ 18446744073709551615] done"),
        (ok(Code::PermanentFlags(vec![Flag::Deleted], true)), "* OK [PERMANENTFLAGS (\\Deleted \\*)] done"),
        (ok(Code::PermanentFlags(vec![], false)), "* OK [PERMANENTFLAGS ()] done"),
        (ok(Code::AppendUid(1, vec![(5, 7)])), "* OK [APPENDUID 1 5:7] done"),
        (ok(Code::AppendUid(1, vec![])), "* OK done"),
        (
            ok(Code::CopyUid(38_505, vec![(304, 304), (319, 320)], vec![(3_956, 3_958)])),
            "* OK [COPYUID 38505 304,319:320 3956:3958] done",
        ),
        (ok(Code::Modified(vec![(7, 7), (9, 9)])), "* OK [MODIFIED 7,9] done"),
        (ok(Code::MailboxId("F1".into())), "* OK [MAILBOXID (F1)] done"),
        (ok(Code::BadCharset(vec!["UTF-8".into()])), "* OK [BADCHARSET (UTF-8)] done"),
        (ok(Code::BadCharset(vec![])), "* OK [BADCHARSET] done"),
        (ok(Code::Capability("IMAP4rev1 IDLE".into())), "* OK [CAPABILITY IMAP4rev1 IDLE] done"),
        (ok(Code::InProgress(Some((454, Some(1000))))), "* OK [INPROGRESS (\"A1\" 454 1000)] done"),
        (ok(Code::InProgress(Some((999, Some(0))))), "* OK [INPROGRESS (\"A1\" 999 NIL)] done"),
        (ok(Code::InProgress(None)), "* OK [INPROGRESS (\"A1\" NIL NIL)] done"),
    ] {
        let mode = Mode { tag: "A1", ..Mode::default() };
        assert_eq!(rendered(&response, &mode), format!("{expected}\r\n"), "{response:?}");
    }
}

#[test]
fn nothing_is_said_where_there_is_nothing_to_say() {
    let rev2 = Mode { rev2: true, ..Mode::default() };
    assert_eq!(rendered(&Response::Recent(3), &rev2), "");
    assert_eq!(rendered(&Response::Vanished { earlier: false, uids: vec![] }, &rev2), "");
}

#[test]
fn what_sessions_say_of_themselves() {
    let mode = Mode { tag: "a.1", ..Mode::default() };
    let mut out = BytesMut::new();
    tagged(&Completion::ok("done"), &mode, &mut out);
    tagged(&Completion::no(Code::Parse, "what?"), &Mode::default(), &mut out);
    continuation("go on", &mut out);
    goodbye(&Completion::no(Code::Unavailable, "later"), &mode, &mut out);
    capability("IMAP4rev1 AUTH=PLAIN", &mut out);
    enabled(&["CONDSTORE", "UTF8=ACCEPT"], &mut out);
    enabled(&[], &mut out);
    id(&[("name", "packetboat"), ("version", "\"1\"")], &mode, &mut out);
    id(&[], &mode, &mut out);
    namespace(&mut out);
    let expected = "a.1 OK done\r\n\
        * NO [PARSE] what?\r\n\
        + go on\r\n\
        * BYE [UNAVAILABLE] later\r\n\
        * CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n\
        * ENABLED CONDSTORE UTF8=ACCEPT\r\n\
        * ENABLED\r\n\
        * ID (\"name\" \"packetboat\" \"version\" \"\\\"1\\\"\")\r\n\
        * ID NIL\r\n\
        * NAMESPACE ((\"\" \"/\")) NIL NIL\r\n";
    assert_eq!(String::from_utf8_lossy(&out), expected);
}
