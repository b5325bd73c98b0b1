//! Who hears of what, and in which words.

use packetboat_mail::outbound::{Routes, Way};
use packetboat_mail::queue::{Asked, DeliverBy, RcptAsked, Ret, Settings, Verdict};
use packetboat_mail::{Outgoing, Role};
use packetboat_message::dsn::{Kind, Status};
use packetboat_store::{Options, Store};

use crate::support::*;

#[tokio::test]
async fn a_failure_comes_back_with_the_other_servers_own_words() {
    let town = town().await;
    let original = Some(("rfc822".into(), "Carol@Elsewhere.test".into()));
    let carol = [("carol@elsewhere.test", RcptAsked { notify: None, original })];
    let asked = Asked { envid: Some("QQ314159".into()), ..Asked::default() };
    let accepted =
        town.send_as(town.alice(), Some("alice@example.org"), asked, &carol, LETTER).await.unwrap();
    assert_eq!(town.carry(|_| town.failed()).await, 1);
    assert_eq!(town.queued().await, 0);
    let inbox = town.inbox(town.alice).await;
    let [notice] = inbox.as_slice() else { panic!("{inbox:?}") };
    assert!(notice.starts_with("Return-Path: <>\r\nDelivered-To: alice@example.org\r\n"), "{notice}");
    assert!(notice.contains("\r\nFrom: ") && notice.contains("postmaster@example.org"), "{notice}");
    assert!(notice.contains("no such user here"), "{notice}");
    assert!(notice.contains("how are you?"), "a short message comes back whole: {notice}");
    let status = status_of(notice);
    assert_eq!(status.reporting_mta, "mx.example.org");
    assert_eq!(status.envid.as_deref(), Some("QQ314159"));
    let [carol] = status.recipients.as_slice() else { panic!("{status:?}") };
    assert_eq!((carol.action, carol.status), (Kind::Failed, Status(5, 1, 1)));
    assert_eq!(carol.address.1, "carol@elsewhere.test");
    assert_eq!(carol.original.as_ref().unwrap().1, "Carol@Elsewhere.test");
    assert_eq!(carol.remote.as_deref(), Some("mx.elsewhere.test"));
    assert_eq!(carol.diagnostic.as_deref(), Some("550 5.1.1 no such user here"));
    assert!(notice.contains(&accepted.tag.to_string()), "{notice}");
}

#[tokio::test]
async fn nobody_hears_of_a_notice_nor_of_what_has_no_sender() {
    let town = town().await;
    let carol = [("carol@elsewhere.test", RcptAsked::default())];
    town.send_as(origin(Role::Exchange), None, Asked::default(), &carol, LETTER).await.unwrap();
    assert_eq!(town.carry(|_| town.failed()).await, 1);
    assert_eq!(town.queued().await, 0);

    // A sender elsewhere gets the notice by the queue; when that cannot be delivered either, it ends.
    let relayed =
        town.send_as(origin(Role::Exchange), Some("zoe@far.test"), Asked::default(), &carol, LETTER);
    relayed.await.unwrap();
    let (mut slot, errand) = town.errand().await.unwrap();
    town.queue.settle(&mut slot, errand, vec![town.failed()]).await;
    drop(slot);
    let (mut slot, errand) = town.errand().await.unwrap();
    assert_eq!(slot.next_hop().to_string(), "mx:far.test");
    assert_eq!((errand.envelope.sender.clone(), errand.envelope.notice), (None, true));
    let text = errand.open().await.unwrap().read(0, 100_000).await.unwrap();
    assert!(
        String::from_utf8_lossy(&text).contains("To: <zoe@far.test>")
            || String::from_utf8_lossy(&text).contains("To: zoe@far.test")
    );
    town.queue.settle(&mut slot, errand, vec![town.failed()]).await;
    drop(slot);
    assert_eq!(town.queued().await, 0);
    assert!(town.inbox(town.alice).await.is_empty() && town.inbox(town.bob).await.is_empty());
}

#[tokio::test]
async fn a_delay_is_told_once_and_the_end_after_five_days() {
    let town = town().await;
    town.send(&["carol@elsewhere.test", "dave@elsewhere.test"]).await;
    let mut told_at = None;
    let end = START + 6 * DAY;
    while town.clock.now() < end {
        town.queue.expire().await;
        if told_at.is_none() && !town.inbox(town.alice).await.is_empty() {
            told_at = Some(town.clock.now());
        }
        if town.queued().await == 0 {
            break;
        }
        town.carry(|_| town.deferred()).await;
        town.clock.forward(10 * MINUTE);
    }
    assert_eq!(told_at, Some(START + 4 * HOUR));
    assert!((START + 5 * DAY..START + 5 * DAY + 20 * MINUTE).contains(&town.clock.now()));
    let inbox = town.inbox(town.alice).await;
    let [delay, failure] = inbox.as_slice() else { panic!("{inbox:?}") };
    let delay = status_of(delay);
    assert_eq!(delay.recipients.len(), 2);
    assert!(delay.recipients.iter().all(|to| to.action == Kind::Delayed && to.will_retry_until.is_some()));
    assert!(failure.contains("try again later") && failure.contains("5 days"), "{failure}");
    let failure = status_of(failure);
    assert!(failure.recipients.iter().all(|to| (to.action, to.status) == (Kind::Failed, Status(5, 4, 7))));
    assert_eq!(failure.recipients.len(), 2);
}

#[tokio::test]
async fn who_waits_for_a_peer_to_fetch_it_hears_so() {
    let town = town().await;
    let mut routes = Routes::new(Way::Direct);
    routes.domain(&"lan.example".parse().unwrap(), Way::Via("peer:lan.example".parse().unwrap()));
    town.office.set_outgoing(Outgoing { routes, queue: Settings::default() });
    town.send(&["carol@lan.example"]).await;
    for _ in 0..2 {
        town.clock.forward(4 * HOUR);
        town.queue.expire().await;
    }
    let inbox = town.inbox(town.alice).await;
    let [delay] = inbox.as_slice() else { panic!("{inbox:?}") };
    assert!(delay.contains("fetches its mail") && !delay.contains("Last-Attempt-Date"), "{delay}");
    assert_eq!(status_of(delay).recipients[0].status, Status(4, 4, 1));
    town.clock.forward(5 * DAY);
    town.queue.expire().await;
    let end = town.inbox(town.alice).await.pop().unwrap();
    assert!(end.contains("fetches its mail") && end.contains("5 days"), "{end}");
    assert_eq!(status_of(&end).recipients[0].status, Status(5, 4, 7));
}

#[tokio::test]
async fn who_cannot_be_reached_is_named_even_to_those_who_were_never_tried() {
    let town = town().await;
    for _ in 0..40 {
        town.send(&["carol@elsewhere.test"]).await;
    }
    while town.clock.now() < START + 6 * DAY && town.queued().await > 0 {
        town.queue.expire().await;
        if let Some(slot) = town.slot().await {
            town.queue.unreachable(slot, town.silence()).await;
        }
        town.clock.forward(30 * MINUTE);
    }
    assert_eq!(town.queued().await, 0);
    let inbox = town.inbox(town.alice).await;
    assert_eq!(inbox.len(), 80);
    for notice in inbox {
        let words = notice.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("no server of elsewhere.test answered"), "{notice}");
    }
}

#[tokio::test]
async fn success_is_told_where_it_was_asked_for_and_nobody_else_will() {
    let town = town().await;
    let to = [
        ("bob@example.org", notify(true, true, false)),
        ("carol@elsewhere.test", notify(true, false, false)),
        ("dave@elsewhere.test", notify(false, true, false)),
    ];
    let asked = || Asked { ret: Some(Ret::Headers), ..Asked::default() };
    let alice = Some("alice@example.org");
    town.send_as(town.alice(), alice, asked(), &to, LETTER).await.unwrap();
    let inbox = town.inbox(town.alice).await;
    let [delivered] = inbox.as_slice() else { panic!("{inbox:?}") };
    let status = status_of(delivered);
    assert_eq!(
        (status.recipients[0].action, status.recipients[0].status),
        (Kind::Delivered, Status(2, 0, 0))
    );
    assert_eq!(status.recipients[0].address.1, "bob@example.org");
    assert!(delivered.contains("Subject: hello\r\n") && !delivered.contains("how are you?"), "{delivered}");

    assert_eq!(town.carry(|_| town.delivered()).await, 1);
    let inbox = town.inbox(town.alice).await;
    let [_, relayed] = inbox.as_slice() else { panic!("{inbox:?}") };
    let status = status_of(relayed);
    assert_eq!(status.recipients.len(), 1, "dave was not asked for");
    assert_eq!(
        (status.recipients[0].action, status.recipients[0].address.1.as_str()),
        (Kind::Relayed, "carol@elsewhere.test")
    );

    town.send_as(town.alice(), alice, asked(), &to[1..2], LETTER).await.unwrap();
    town.carry(|_| Verdict::Delivered { attempt: town.said(250, "ok"), dsn_passed: true }).await;
    assert_eq!(town.inbox(town.alice).await.len(), 2, "the next server tells of it");

    let never = [("carol@elsewhere.test", notify(false, false, false))];
    town.send_as(town.alice(), alice, asked(), &never, LETTER).await.unwrap();
    town.carry(|_| town.failed()).await;
    assert_eq!((town.inbox(town.alice).await.len(), town.queued().await), (2, 0));
}

#[tokio::test]
async fn what_has_to_be_there_by_a_time_comes_back_then_or_its_sender_hears_of_it() {
    for notify_only in [false, true] {
        let town = town().await;
        let by = Some(DeliverBy { at: START + HOUR, notify_only, trace: false });
        let asked = Asked { by, ..Asked::default() };
        let carol = [("carol@elsewhere.test", RcptAsked::default())];
        town.send_as(town.alice(), Some("alice@example.org"), asked, &carol, LETTER).await.unwrap();
        town.carry(|_| town.deferred()).await;
        town.clock.forward(HOUR - SECOND);
        town.queue.expire().await;
        assert!(town.inbox(town.alice).await.is_empty());
        town.clock.forward(SECOND);
        town.queue.expire().await;
        let inbox = town.inbox(town.alice).await;
        let [notice] = inbox.as_slice() else { panic!("{inbox:?}") };
        let status = &status_of(notice).recipients[0];
        let expected = match notify_only {
            true => (Kind::Delayed, Status(4, 4, 7), 1),
            false => (Kind::Failed, Status(5, 4, 7), 0),
        };
        assert_eq!((status.action, status.status, town.queued().await), expected);
    }
}

#[tokio::test]
async fn a_long_message_comes_back_as_its_header_unless_all_of_it_was_asked_for() {
    for (ret, whole) in [(None, false), (Some(Ret::Full), true), (Some(Ret::Headers), false)] {
        let town = town().await;
        let text = format!("{LETTER}{}the end\r\n", "a line of a long letter\r\n".repeat(5000));
        let carol = [("carol@elsewhere.test", RcptAsked::default())];
        let asked = Asked { ret, ..Asked::default() };
        town.send_as(town.alice(), Some("alice@example.org"), asked, &carol, &text).await.unwrap();
        town.carry(|_| town.failed()).await;
        let inbox = town.inbox(town.alice).await;
        assert_eq!(inbox[0].contains("the end\r\n"), whole, "{ret:?}");
        assert!(inbox[0].contains("Subject: hello\r\n"));
    }
}

#[tokio::test]
async fn a_notice_about_what_must_be_protected_is_protected_and_brings_back_no_more_than_the_header() {
    let town = town().await;
    let asked = Asked { require_tls: true, ret: Some(Ret::Full), ..Asked::default() };
    let carol = [("carol@elsewhere.test", RcptAsked::default())];
    town.send_as(origin(Role::Exchange), Some("zoe@far.test"), asked, &carol, LETTER).await.unwrap();
    let (mut slot, errand) = town.errand().await.unwrap();
    assert!(errand.envelope.asked.require_tls);
    town.queue.settle(&mut slot, errand, vec![town.failed()]).await;
    drop(slot);
    let (_slot, notice) = town.errand().await.unwrap();
    assert!(notice.envelope.notice && notice.envelope.asked.require_tls);
    let text = notice.open().await.unwrap().read(0, 100_000).await.unwrap();
    assert!(!String::from_utf8_lossy(&text).contains("how are you?"));
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_sent_twice_and_no_sender_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let open = |disk_floor| {
        Store::open(Options { disk_floor, maintenance: false, ..Options::new(dir.path()) }).unwrap()
    };
    let town = town_in(open(0), Settings::default()).await;
    let success = [("carol@elsewhere.test", notify(true, true, false))];
    let alice = Some("alice@example.org");
    town.send_as(town.alice(), alice, Asked::default(), &success, LETTER).await.unwrap();
    town.send(&["dave@other.test"]).await;
    town.store.stop().await;
    drop(town);

    let full = town_in(open(u64::MAX / 2), Settings::default()).await;
    let verdict = |town: &Town, to: &str| match to {
        "carol@elsewhere.test" => town.delivered(),
        _ => town.failed(),
    };
    assert_eq!(full.carry(|to| verdict(&full, to)).await, 2);
    assert_eq!(full.queued().await, 1, "what was delivered is gone, what failed comes again");
    assert!(full.inbox(full.alice).await.is_empty());
    full.store.stop().await;
    drop(full);

    let town = town_in(open(0), Settings::default()).await;
    town.clock.forward(HOUR);
    assert_eq!(town.carry(|to| verdict(&town, to)).await, 1);
    let inbox = town.inbox(town.alice).await;
    assert_eq!((inbox.len(), town.queued().await), (1, 0));
    assert_eq!(status_of(&inbox[0]).recipients[0].address.1, "dave@other.test");
}

#[tokio::test]
async fn a_sender_who_is_gone_hears_of_nothing_and_holds_nothing_up() {
    let town = town().await;
    town.send(&["carol@elsewhere.test"]).await;
    town.send(&["dave@other.test"]).await;
    let (mut slot, errand) = town.errand().await.unwrap();
    town.queue.settle(&mut slot, errand, vec![town.failed()]).await;
    drop(slot);
    assert_eq!(town.inbox(town.alice).await.len(), 1, "and the way to the inbox is remembered");
    town.directory.remove_account(town.alice).await.unwrap();
    assert_eq!(town.carry(|_| town.failed()).await, 1);
    assert_eq!(town.queued().await, 0);
}

#[tokio::test]
async fn who_wants_mail_to_arrive_whatever_becomes_of_tls_says_so_in_the_header() {
    for (field, require_tls, forgoes) in [
        ("TLS-Required: No\r\n", false, true),
        ("tls-required:no\r\n", false, true),
        ("TLS-Required: Yes\r\n", false, false),
        ("", false, false),
        // RFC 8689, section 4.1: the parameter of MAIL comes before the field.
        ("TLS-Required: No\r\n", true, false),
    ] {
        let town = town().await;
        let asked = Asked { require_tls, ..Asked::default() };
        let carol = [("carol@elsewhere.test", RcptAsked::default())];
        let letter = format!("{field}{LETTER}");
        town.send_as(origin(Role::Exchange), Some("zoe@far.test"), asked, &carol, &letter).await.unwrap();
        let (_slot, errand) = town.errand().await.unwrap();
        assert_eq!(errand.envelope.asked.forgo_tls, forgoes, "{field:?} {require_tls}");
    }
}
