//! What a server writes, its client reads.

use std::num::NonZeroU32;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::command::{Partial, SectionItem, SectionText};
use crate::response::{
    Code, Esearch, FlagsOf, Listed, Mode, Response, Status, StatusItem, StatusValue, Thread, tagged,
};
use crate::server::FetchWriter;
use crate::value::{Flag, MailboxName, SystemFlags};

const TAG: &str = "A1]";

/// What is read of a response; `None` if it is not said.
fn expected(response: Response, mode: &Mode<'_>) -> Option<Untagged> {
    let name = |mailbox: &MailboxName| {
        RemoteName::new(mailbox.encode(mode.utf8_strings()).into_owned().into_bytes())
    };
    let listing = |listed: &Listed| Listing {
        mailbox: name(&listed.mailbox),
        separator: Some('/'),
        attributes: listed.attributes.iter().map(|attribute| (*attribute).to_owned()).collect(),
        child_info: listed.child_info.iter().map(|option| (*option).to_owned()).collect(),
        old_name: listed.old_name.as_ref().map(name),
    };
    let found = |numbers: &[u32], modseq: Option<u64>| modseq.filter(|_| !numbers.is_empty());
    Some(match response {
        Response::Recent(_) if mode.rev2 => return None,
        Response::Vanished { ref uids, .. } if uids.is_empty() => return None,
        Response::Exists(count) => Untagged::Exists(count),
        Response::Recent(count) => Untagged::Recent(count),
        Response::Expunge(number) => Untagged::Expunge(number),
        Response::Vanished { earlier, uids } => Untagged::Vanished { earlier, uids },
        Response::Flags(flags) => Untagged::Flags(flags),
        Response::List(listed) => Untagged::List(listing(&listed)),
        Response::Lsub(listed) => Untagged::Lsub(listing(&listed)),
        Response::Separator { lsub } => {
            let listing = Listing {
                mailbox: RemoteName::new(Bytes::new()),
                separator: Some('/'),
                attributes: vec!["\\Noselect".into()],
                child_info: vec![],
                old_name: None,
            };
            if lsub { Untagged::Lsub(listing) } else { Untagged::List(listing) }
        }
        Response::Status(mailbox, items) => Untagged::Status(name(&mailbox), items),
        Response::Search(numbers, modseq) => {
            let modseq = found(&numbers, modseq);
            Untagged::Search(numbers, modseq)
        }
        Response::Sort(numbers, modseq) => {
            let modseq = found(&numbers, modseq);
            Untagged::Sort(numbers, modseq)
        }
        Response::Esearch(mut esearch) => {
            esearch.all = esearch.all.filter(|all| !all.is_empty());
            Untagged::Esearch(Some(TAG.into()), esearch)
        }
        Response::Thread(threads) => Untagged::Thread(threads),
        Response::Quota(root, resources) => {
            let resources =
                resources.into_iter().map(|(name, usage, limit)| (name.to_owned(), usage, limit)).collect();
            Untagged::Quota(root, resources)
        }
        Response::QuotaRoot(mailbox, roots) => Untagged::QuotaRoot(name(&mailbox), roots),
        Response::Condition(condition) => Untagged::Condition(said(condition)),
    })
}

/// A completion without a code that has nothing to say.
fn said(completion: Completion) -> Completion {
    let code = completion.code.filter(|code| match code {
        Code::AppendUid(_, set) | Code::Modified(set) => !set.is_empty(),
        Code::CopyUid(_, from, to) => !from.is_empty() && !to.is_empty(),
        _ => true,
    });
    Completion { code, ..completion }
}

fn ranges() -> impl Strategy<Value = Vec<(u32, u32)>> {
    vec((any::<u32>(), any::<u32>()), 0..5)
}

fn mailbox() -> impl Strategy<Value = MailboxName> {
    let name = prop_oneof![
        Just("INBOX".to_owned()),
        "[ -~]{1,12}",
        "[a-zäßé日本&/\"\\\\ ]{1,12}",
        "(nil|NIL)",
        "\\PC{1,20}",
    ];
    name.prop_filter_map("a name", |name| MailboxName::new(&name).ok())
}

fn flag() -> impl Strategy<Value = Flag> {
    let flags = [Flag::Seen, Flag::Answered, Flag::Flagged, Flag::Deleted, Flag::Draft];
    prop_oneof![proptest::sample::select(flags.to_vec()), "[$a-zA-Z0-9_.-]{1,12}".prop_map(Flag::Keyword)]
}

fn listed() -> impl Strategy<Value = Listed> {
    let attributes = vec!["\\HasChildren", "\\Sent", "\\NonExistent", "\\Subscribed"];
    let attributes = proptest::sample::subsequence(attributes, 0..=4);
    let child_info = prop_oneof![Just(vec![]), Just(vec!["SUBSCRIBED"])];
    (mailbox(), attributes, child_info, option::of(mailbox())).prop_map(
        |(mailbox, attributes, child_info, old_name)| Listed { mailbox, attributes, child_info, old_name },
    )
}

fn status() -> impl Strategy<Value = (StatusItem, StatusValue)> {
    let item = proptest::sample::select(StatusItem::ALL.to_vec());
    (item, any::<u64>(), any::<bool>()).prop_map(|(item, number, nil)| match item {
        StatusItem::MailboxId => (item, StatusValue::Id(format!("F{number}"))),
        StatusItem::AppendLimit if nil => (item, StatusValue::Nil),
        _ => (item, StatusValue::Number(number)),
    })
}

fn esearch() -> impl Strategy<Value = Esearch> {
    let partial = (any::<bool>(), 1..=u32::MAX, 1..=u32::MAX).prop_map(|(from_end, a, b)| Partial {
        from_end,
        first: NonZeroU32::new(a.min(b)).unwrap(),
        last: NonZeroU32::new(a.max(b)).unwrap(),
    });
    let numbers = (any::<bool>(), any::<Option<u32>>(), any::<Option<u32>>(), any::<Option<u32>>());
    (numbers, option::of(ranges()), option::of((partial, ranges())), any::<Option<u64>>()).prop_map(
        |((uid, min, max, count), all, partial, modseq)| Esearch {
            uid,
            min,
            max,
            all,
            count,
            partial,
            modseq,
        },
    )
}

/// Threads as there may be: a parent that is not there has two answers at least, and is no only answer itself.
fn thread() -> impl Strategy<Value = Thread> {
    let leaf = any::<u32>().prop_map(|message| Thread { message: Some(message), children: vec![] });
    leaf.prop_recursive(6, 40, 4, |inner| {
        (any::<Option<u32>>(), vec(inner, 0..4)).prop_map(|(mut message, mut children)| {
            if let [only] = children.as_mut_slice() {
                only.message.get_or_insert(9);
            }
            if children.len() < 2 {
                message.get_or_insert(7);
            }
            Thread { message, children }
        })
    })
}

fn code() -> impl Strategy<Value = Code> {
    let plain = [
        Code::Alert,
        Code::AlreadyExists,
        Code::AuthenticationFailed,
        Code::AuthorizationFailed,
        Code::Cannot,
        Code::ClientBug,
        Code::Closed,
        Code::ContactAdmin,
        Code::ExpungeIssued,
        Code::NoModSeq,
        Code::HasChildren,
        Code::InUse,
        Code::Limit,
        Code::NonExistent,
        Code::NoPerm,
        Code::NotSaved,
        Code::OverQuota,
        Code::Parse,
        Code::PrivacyRequired,
        Code::ReadOnly,
        Code::ReadWrite,
        Code::ServerBug,
        Code::TooBig,
        Code::TryCreate,
        Code::UidNotSticky,
        Code::Unavailable,
        Code::UnknownCte,
        Code::UseAttr,
        Code::InProgress(None),
        Code::BadCharset(vec![]),
        Code::BadCharset(vec!["UTF-8".into(), "a b".into()]),
        Code::Capability("IMAP4rev1 X".into()),
        Code::MailboxId("F1".into()),
    ];
    prop_oneof![
        proptest::sample::select(plain.to_vec()),
        (any::<u32>(), ranges()).prop_map(|(validity, uids)| Code::AppendUid(validity, uids)),
        (any::<u32>(), ranges(), ranges()).prop_map(|(validity, from, to)| Code::CopyUid(validity, from, to)),
        ranges().prop_map(Code::Modified),
        any::<u64>().prop_map(Code::HighestModSeq),
        (any::<u64>(), option::of(1..u64::MAX)).prop_map(|progress| Code::InProgress(Some(progress))),
        (vec(flag(), 0..4), any::<bool>()).prop_map(|(flags, new)| Code::PermanentFlags(flags, new)),
        any::<u32>().prop_map(Code::UidNext),
        any::<u32>().prop_map(Code::UidValidity),
        any::<u32>().prop_map(Code::Unseen),
    ]
}

fn completion() -> impl Strategy<Value = Completion> {
    let status = proptest::sample::select(vec![Status::Ok, Status::No, Status::Bad]);
    (status, option::of(code()), "[a-z\\]{}\"][ -~]{0,20}[a-z]").prop_map(|(status, code, text)| Completion {
        status,
        code,
        text: text.into(),
    })
}

fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        any::<u32>().prop_map(Response::Exists),
        any::<u32>().prop_map(Response::Recent),
        any::<u32>().prop_map(Response::Expunge),
        (any::<bool>(), ranges()).prop_map(|(earlier, uids)| Response::Vanished { earlier, uids }),
        vec(flag(), 0..5).prop_map(Response::Flags),
        listed().prop_map(Response::List),
        listed().prop_map(Response::Lsub),
        any::<bool>().prop_map(|lsub| Response::Separator { lsub }),
        (mailbox(), vec(status(), 0..5)).prop_map(|(mailbox, items)| Response::Status(mailbox, items)),
        (vec(any::<u32>(), 0..5), any::<Option<u64>>()).prop_map(|(n, modseq)| Response::Search(n, modseq)),
        (vec(any::<u32>(), 0..5), any::<Option<u64>>()).prop_map(|(n, modseq)| Response::Sort(n, modseq)),
        esearch().prop_map(Response::Esearch),
        vec(thread(), 0..4).prop_map(Response::Thread),
        ("\\PC{0,10}", vec((Just("STORAGE"), any::<u64>(), any::<u64>()), 0..3))
            .prop_map(|(root, resources)| Response::Quota(root, resources)),
        (mailbox(), vec("[a-zä \"]{0,5}", 0..3))
            .prop_map(|(mailbox, roots)| Response::QuotaRoot(mailbox, roots)),
        completion().prop_map(Response::Condition),
    ]
}

fn mode() -> impl Strategy<Value = Mode<'static>> {
    (any::<bool>(), any::<bool>()).prop_map(|(rev2, utf8)| Mode { rev2, utf8, tag: TAG })
}

fn section() -> impl Strategy<Value = Section> {
    let names = || vec("[A-Z\"() -]{1,6}", 1..4);
    let text = prop_oneof![
        Just(SectionText::Whole),
        Just(SectionText::Header),
        Just(SectionText::Text),
        Just(SectionText::Mime),
        names().prop_map(SectionText::Fields),
        names().prop_map(SectionText::FieldsNot),
    ];
    let part = (vec(any::<u32>(), 0..4), option::of(any::<u64>()));
    prop_oneof![
        (part.clone(), text).prop_map(|((path, origin), text)| Section {
            item: SectionItem::Body,
            peek: true,
            path,
            text,
            partial: origin.map(|origin| (origin, 0)),
        }),
        part.prop_map(|(path, origin)| Section {
            item: SectionItem::Binary,
            peek: true,
            path,
            text: SectionText::Whole,
            partial: origin.map(|origin| (origin, 0)),
        }),
        proptest::sample::select(vec![
            (SectionItem::Rfc822, SectionText::Whole),
            (SectionItem::Rfc822Header, SectionText::Header),
            (SectionItem::Rfc822Text, SectionText::Text),
        ])
        .prop_map(|(item, text)| Section { item, peek: true, path: vec![], text, partial: None }),
    ]
}

proptest! {
    #[test]
    fn responses(responses in vec(response(), 1..4), mode in mode()) {
        let mut out = BytesMut::new();
        for response in &responses {
            response.render(&mode, &mut out);
        }
        let expected: Vec<Read> =
            responses.into_iter().filter_map(|response| expected(response, &mode)).map(Read::Untagged).collect();
        prop_assert_eq!(read(&out).unwrap(), expected, "{}", out.escape_ascii());
    }

    #[test]
    fn completions(completion in completion(), mode in mode()) {
        let mut out = BytesMut::new();
        tagged(&completion, &mode, &mut out);
        let expected = Read::Tagged { tag: TAG.into(), completion: said(completion) };
        prop_assert_eq!(read(&out).unwrap(), [expected], "{}", out.escape_ascii());
    }

    #[test]
    fn fetch(
        number in any::<u32>(),
        keywords in vec("[$a-z]{1,8}", 0..4),
        system in 0..32_u8,
        numbers in (any::<u32>(), any::<u64>(), any::<u64>()),
        seconds in -62_167_219_200_i64..253_402_300_800,
        thread_id in option::of("[A-Za-z0-9_-]{1,10}"),
        preview in option::of("\\PC{0,20}"),
        sections in vec((section(), option::of(vec(any::<u8>(), 0..40))), 0..5),
        mode in mode(),
    ) {
        let mut out = BytesMut::new();
        let mut writer = FetchWriter::new(number, &mode, &mut out);
        let micros = seconds * 1_000_000;
        let keywords: Vec<&str> = keywords.iter().map(String::as_str).collect();
        writer.uid(numbers.0);
        for (index, (section, octets)) in sections.iter().enumerate() {
            match octets {
                Some(octets) if index % 2 == 0 => _ = writer.section(section, octets),
                Some(octets) => _ = writer.begin_section(section, octets.len() as u64).literal(octets),
                None => _ = writer.section_nil(section),
            }
        }
        writer
            .flags(FlagsOf { system: SystemFlags(system), recent: false, keywords: &keywords })
            .internal_date(micros)
            .size(numbers.1)
            .mod_seq(numbers.2)
            .thread_id(thread_id.as_deref())
            .save_date(thread_id.as_ref().map(|_| micros))
            .preview(preview.as_deref());
        writer.finish();
        let (fetched, came) = fetched(&out);
        let flags = SystemFlags(system).iter().chain(keywords.iter().map(|k| Flag::Keyword((*k).to_owned())));
        let told: Vec<(Section, Option<u64>)> = sections
            .iter()
            .map(|(section, octets)| {
                let length = octets.as_ref().map(|octets| octets.len() as u64);
                let partial = section.partial.map(|(origin, _)| (origin, length.unwrap_or_default()));
                (Section { partial, ..section.clone() }, length)
            })
            .collect();
        let octets: Vec<_> = sections.into_iter().filter_map(|(_, octets)| octets).collect();
        prop_assert_eq!(came.into_iter().map(|(_, octets)| octets).collect::<Vec<_>>(), octets);
        prop_assert_eq!(fetched, Fetched {
            number,
            uid: Some(numbers.0),
            flags: Some(flags.collect()),
            internal_date: Some(micros),
            size: Some(numbers.1),
            mod_seq: Some(numbers.2),
            save_date: Some(thread_id.as_ref().map(|_| micros)),
            thread_id: Some(thread_id),
            preview: Some(preview),
            sections: told,
            ..Fetched::default()
        });
    }

    /// Whatever a server sends.
    #[test]
    fn anything_is_survived(
        pieces in vec(
            prop_oneof![
                proptest::sample::select(vec![
                    "* ", "1 FETCH (", "BODY[] ", "{3}\r\n", "UID ", "5 ", "\r\n", "(", ")", "\"", "ENVELOPE ",
                    "LIST ", "() ", "STATUS ", "THREAD ", "ESEARCH ", "OK [", "]", "NIL ", "A1 ", "BODY ", "~{0}\r\n",
                ]).prop_map(|text| text.as_bytes().to_vec()),
                vec(any::<u8>(), 0..6),
            ],
            0..40,
        ),
    ) {
        let _ = read(&pieces.concat());
    }
}
