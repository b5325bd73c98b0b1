#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use packetboat_mail::MessageTag;
use packetboat_mail::queue::Stage;
use packetboat_mail::story::{Became, Event, Place, Recipient, Refused, Sink, Taken, Tried, What};
use packetboat_message::Address;

use super::keep::{Files, parts};
use super::*;

fn tag(number: u64) -> MessageTag {
    MessageTag::new(1_900_000_000_000, number)
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn accepted(number: u64, at: i64, id: &str, to: &[&str]) -> Event {
    let recipient = |to: &&str| Recipient { to: address(to), place: Place::Mailbox, behind: Vec::new() };
    let what = What::Accepted(Box::new(Taken {
        from: Some(address("anna@example.net")),
        login: None,
        peer: None,
        helo: Some("there \"quoted\" \n".to_owned()),
        with: "ESMTPS".into(),
        tls: Some(("TLSv1.3".into(), "X".into())),
        octets: 10,
        message_id: Some(id.to_owned()),
        recipients: to.iter().map(recipient).collect(),
        more: 0,
        queue: vec![number * 10],
    }));
    Event { at, tag: Some(tag(number)), what }
}

fn tried(number: u64, at: i64, to: &str) -> Event {
    let what = What::Tried(Box::new(Tried {
        to: address(to),
        became: Became::Deferred,
        host: None,
        address: None,
        tls: None,
        tls_failed: None,
        stage: Stage::Connect,
        reply: None,
        status: None,
        text: "nobody answers".to_owned(),
        next_at: Some(at + 60),
    }));
    Event { at, tag: Some(tag(number)), what }
}

fn refused(at: i64, to: &str) -> Event {
    let what = What::Refused(Box::new(Refused {
        from: String::new(),
        to: Some(to.to_owned()),
        login: None,
        peer: None,
        why: "no such user".to_owned(),
        for_now: false,
    }));
    Event { at, tag: None, what }
}

fn options(dir: &tempfile::TempDir, size: u64) -> Options {
    Options { dir: dir.path().join("trace"), size, keep: Duration::from_secs(3600) }
}

#[test]
fn stories_are_found_by_name_id_row_and_person() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir, 1 << 20);
    let recorder = Recorder::start(options.clone()).unwrap();
    let notice = What::Told {
        notice: tag(9),
        kind: "delayed".into(),
        to: address("anna@example.net"),
        about: vec![address("carl@example.com")],
    };
    let events = [
        accepted(1, 100, "one@\"x\"", &["Bob@Example.org"]),
        accepted(2, 200, "two@example.net", &["bob@example.org", "carl@example.com"]),
        tried(2, 300, "carl@example.com"),
        refused(400, "bob@example.org"),
        Event { at: 500, tag: Some(tag(2)), what: notice },
        accepted(3, 600, "bob@example.org", &["dora@example.com"]),
    ];
    events.iter().for_each(|event| recorder.tell(event.clone()));
    recorder.flush();
    let all = |query: Query| find(&options.dir, &query, Window::default(), 10).unwrap();
    let tags = |query: Query| all(query).into_iter().map(|story| story.tag).collect::<Vec<_>>();

    let two = all(Query::Tag(tag(2)));
    assert_eq!(two.len(), 1);
    assert_eq!(two[0].events, [events[1].clone(), events[2].clone(), events[4].clone()]);
    // A notice's own story begins with what it is about.
    assert_eq!(all(Query::Tag(tag(9)))[0].events, [events[4].clone()]);
    assert_eq!(all(Query::Tag(tag(8))), []);
    assert_eq!(tags(Query::Row(20)), [Some(tag(2))]);
    assert_eq!(tags(Query::Row(2)), [], "20 has a 2, and is not it");
    assert_eq!(tags(Query::Named("<two@example.net>".to_owned())), [Some(tag(2))]);
    assert_eq!(tags(Query::Named("one@\"x\"".to_owned())), [Some(tag(1))]);
    // Whatever the case; what was refused at once is a story of its own; a Message-ID may look like a person.
    let bob = || Query::Named("BOB@example.ORG".to_owned());
    assert_eq!(tags(bob()), [Some(tag(1)), Some(tag(2)), None]);
    let bob_exactly = Query::Named("bob@example.org".to_owned());
    assert_eq!(tags(bob_exactly), [Some(tag(1)), Some(tag(2)), None, Some(tag(3))]);
    let within = find(&options.dir, &bob(), Window { since: 150, until: 400 }, 10).unwrap();
    assert_eq!(within.iter().map(|story| story.tag).collect::<Vec<_>>(), [Some(tag(2)), None]);
    let latest = find(&options.dir, &bob(), Window::default(), 1).unwrap();
    assert_eq!(latest.iter().map(|story| story.tag).collect::<Vec<_>>(), [None]);
    assert_eq!(recorder.lost(), 0);
}

#[test]
fn what_is_kept_has_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir, 16 * 64 * 1024);
    let mut files = Files::open(options.clone()).unwrap();
    let at = |seconds: i64| Timestamp::from_second(1_900_000_000 + seconds).unwrap();
    let block = vec![b'x'; 32 * 1024];
    for _ in 0..100 {
        files.append(&block, at(0)).unwrap();
    }
    let size =
        || parts(&options.dir).unwrap().iter().map(|part| part.path.metadata().unwrap().len()).sum::<u64>();
    assert!(size() <= options.size, "{}", size());
    assert!(size() > options.size / 2, "{}", size());
    // After their time they go, except what is being written.
    files.append(&block, at(3500)).unwrap();
    files.append(&block, at(7200)).unwrap();
    files.prune(at(7200 + 3601));
    assert_eq!(size(), 32 * 1024);
    drop(files);
    // Another server begins a file of its own, and takes away what is too old.
    let mut again = Files::open(Options { keep: Duration::ZERO, ..options.clone() }).unwrap();
    again.prune(at(20_000_000));
    assert_eq!(size(), 0);
}

#[test]
fn half_a_line_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir, 1 << 20);
    let mut files = Files::open(options.clone()).unwrap();
    let line = serde_json::to_vec(&accepted(1, 1, "id@x", &["bob@example.org"])).unwrap();
    let now = Timestamp::now();
    files.append(&[line.as_slice(), b"\n", &line[..line.len() / 2]].concat(), now).unwrap();
    assert_eq!(find(&options.dir, &Query::Tag(tag(1)), Window::default(), 1).unwrap()[0].events.len(), 1);
    assert_eq!(find(dir.path(), &Query::Tag(tag(1)), Window::default(), 1).unwrap(), []);
    assert_eq!(find(std::path::Path::new("/nowhere"), &Query::Row(1), Window::default(), 1).unwrap(), []);
}

#[test]
fn too_many_at_a_time_are_counted_and_hold_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(options(&dir, 1 << 20)).unwrap();
    for number in 0..100_000 {
        recorder.tell(tried(number, 1, "bob@example.org"));
    }
    recorder.flush();
    assert!(recorder.lost() > 0);
    let told = recorder.lost();
    recorder.tell(tried(1, 2, "bob@example.org"));
    recorder.flush();
    assert_eq!(recorder.lost(), told, "and then it goes on");
}
