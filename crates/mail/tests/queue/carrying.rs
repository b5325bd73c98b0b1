//! What comes in goes out, when and by how many connections.

use packetboat_mail::outbound::{NextHop, Routes, Way};
use packetboat_mail::queue::{Asked, Picked, Queue, RcptAsked, Settings, Verdict};
use packetboat_mail::{Outgoing, Refusal, Role};

use crate::support::*;

#[tokio::test]
async fn one_transaction_delivers_here_and_queues_for_elsewhere_and_one_errand_serves_a_destination() {
    let town = town().await;
    town.send(&["bob@example.org", "carol@elsewhere.test", "dave@elsewhere.test", "eve@other.test"]).await;
    assert_eq!(town.inbox(town.bob).await.len(), 1);
    assert_eq!(town.queued().await, 3);

    let (mut slot, errand) = town.errand().await.unwrap();
    assert_eq!(slot.next_hop().to_string(), "mx:elsewhere.test");
    let to: Vec<String> = errand.recipients.iter().map(|to| to.address.to_string()).collect();
    assert_eq!(to, ["carol@elsewhere.test", "dave@elsewhere.test"]);
    assert_eq!(errand.envelope.sender, Some(address("alice@example.org")));
    assert_eq!(errand.envelope.message_id.as_deref(), Some("one@example.org"));
    let reader = errand.open().await.unwrap();
    assert_eq!(reader.len(), errand.octets());
    let text = String::from_utf8(reader.read(0, 10_000).await.unwrap().to_vec()).unwrap();
    assert!(text.starts_with("Received: from client.test"), "{text}");
    assert!(text.ends_with(LETTER), "{text}");
    assert!(
        !text.contains("Return-Path") && !text.contains("for <"),
        "no recipient learns of another: {text}"
    );
    town.queue.settle(&mut slot, errand, vec![town.delivered(), town.delivered()]).await;
    assert!(town.queue.errand(&mut slot).await.is_none());
    town.queue.finished(slot).await;

    let (mut slot, errand) = town.errand().await.unwrap();
    town.queue.settle(&mut slot, errand, vec![town.delivered()]).await;
    assert_eq!(town.queued().await, 0);
    drop(slot);
    assert!(town.inbox(town.alice).await.is_empty(), "nobody asked to hear of a success");
    town.send(&["eve@other.test"]).await;
    let (_, errand) = town.errand().await.unwrap();
    let text = errand.open().await.unwrap().read(0, 10_000).await.unwrap();
    assert!(
        String::from_utf8_lossy(&text).contains("for <eve@other.test>"),
        "there is nobody else to learn of it"
    );
}

#[tokio::test]
async fn who_may_send_where() {
    let town = town().await;
    let stranger = || packetboat_mail::Origin { may_relay: false, ..origin(Role::Exchange) };
    let carol = [("carol@elsewhere.test", RcptAsked::default())];
    let send = |origin| town.send_as(origin, Some("x@y.test"), Asked::default(), &carol, LETTER);
    let denied = Refusal::RelayDenied("carol@elsewhere.test".into());
    assert_eq!(send(stranger()).await.unwrap_err(), denied);
    assert!(send(origin(Role::Exchange)).await.is_ok(), "a network we relay for");
    town.office.set_outgoing(Outgoing::default());
    let refusal = send(origin(Role::Exchange)).await.unwrap_err();
    assert_eq!(refusal, Refusal::NoRoute("carol@elsewhere.test".into()));
    let mut routes = Routes::new(Way::Nowhere);
    routes.domain(&"elsewhere.test".parse().unwrap(), Way::Via("smarthost:provider".parse().unwrap()));
    let queue = Settings { rows_max: 2, ..Settings::default() };
    town.office.set_outgoing(Outgoing { routes, queue });
    assert!(send(origin(Role::Exchange)).await.is_ok());
    assert_eq!(send(origin(Role::Exchange)).await.unwrap_err(), Refusal::QueueFull);
    assert!(town.slot().await.is_some());
}

#[tokio::test]
async fn what_is_put_off_comes_again_in_its_time_and_only_then() {
    let town = town().await;
    town.send(&["carol@elsewhere.test"]).await;
    assert_eq!(town.carry(|_| town.deferred()).await, 1);
    assert_eq!(town.carry(|_| town.deferred()).await, 0);
    town.clock.forward(50 * SECOND);
    assert!(town.slot().await.is_none());
    town.clock.forward(20 * SECOND);
    let (_, errand) = town.errand().await.unwrap();
    assert_eq!(errand.recipients[0].attempts, 1);
    assert_eq!(errand.recipients[0].last.as_ref().unwrap().reply.as_ref().unwrap().code, 451);
}

#[tokio::test]
async fn what_is_dropped_is_as_if_it_had_not_been_taken() {
    let town = town().await;
    town.send(&["carol@elsewhere.test"]).await;
    let (mut slot, errand) = town.errand().await.unwrap();
    assert!(town.slot().await.is_none(), "it is being carried");
    drop(errand);
    let errand = town.queue.errand(&mut slot).await.unwrap();
    town.queue.settle(&mut slot, errand, vec![Verdict::Untried]).await;
    drop(slot);
    let again = Queue::new(town.office.clone(), town.clock.world());
    let Picked::Slot(mut slot) = again.pick().await else { panic!("it is still there") };
    assert_eq!(again.errand(&mut slot).await.unwrap().recipients[0].attempts, 0);
}

#[tokio::test]
async fn a_destination_gets_two_connections_at_first_and_more_by_success() {
    let town = town().await;
    for _ in 0..200 {
        town.send(&["carol@elsewhere.test"]).await;
    }
    let mut slots = Vec::new();
    while let Some(slot) = town.slot().await {
        slots.push(slot);
    }
    assert_eq!(slots.len(), 2);
    for round in 0..3 {
        for slot in &mut slots {
            let errand = town.queue.errand(slot).await.unwrap();
            town.queue.settle(slot, errand, vec![town.delivered()]).await;
        }
        while let Some(slot) = town.slot().await {
            slots.push(slot);
        }
        assert_eq!(slots.len(), [4, 8, 16][round]);
    }
}

#[tokio::test]
async fn nobody_answers_so_it_rests_longer_each_time_and_the_others_do_not_wait() {
    let town = town().await;
    town.send(&["carol@elsewhere.test"]).await;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let slot = town.slot().await.unwrap();
        town.queue.unreachable(slot, town.silence()).await;
        let from = town.clock.now();
        while town.slot().await.is_none() {
            town.clock.forward(30 * SECOND);
        }
        waits.push((town.clock.now() - from) / MINUTE);
    }
    assert!(
        waits[..7].is_sorted() && (1..=2).contains(&waits[0]) && (50..=70).contains(&waits[7]),
        "{waits:?}"
    );
    let slot = town.slot().await.unwrap();
    town.queue.unreachable(slot, town.silence()).await;
    town.send(&["dave@elsewhere.test", "eve@other.test"]).await;
    let (_, errand) = town.errand().await.unwrap();
    assert_eq!(errand.recipients[0].address, address("eve@other.test"), "dave's server is known to rest");
    assert!(town.slot().await.is_none());
}

#[tokio::test]
async fn a_peer_fetches_its_mail_and_is_never_called() {
    let town = town().await;
    let mut routes = Routes::new(Way::Direct);
    let peer: NextHop = "peer:lan.example".parse().unwrap();
    routes.domain(&"lan.example".parse().unwrap(), Way::Via(peer.clone()));
    town.office.set_outgoing(Outgoing { routes, queue: Settings::default() });
    town.send(&["carol@lan.example"]).await;
    town.send(&["dave@lan.example"]).await;
    assert!(town.slot().await.is_none());
    town.clock.forward(HOUR);
    assert!(town.slot().await.is_none());
    let mut slot = town.queue.fetch(peer.clone()).await.unwrap();
    let mut given = 0;
    while let Some(errand) = town.queue.errand(&mut slot).await {
        given += 1;
        assert!(given <= 2, "what was put off is not given again at once");
        let verdict = if given == 1 { town.deferred() } else { town.delivered() };
        town.queue.settle(&mut slot, errand, vec![verdict]).await;
        town.clock.forward(SECOND);
    }
    assert_eq!((given, town.queued().await), (2, 1));
    drop(slot);
    let mut slot = town.queue.fetch(peer.clone()).await.unwrap();
    let errand = town.queue.errand(&mut slot).await.unwrap();
    town.queue.settle(&mut slot, errand, vec![town.delivered()]).await;
    drop(slot);
    assert!(town.queue.fetch(peer).await.is_none());
}

#[tokio::test]
async fn what_is_to_be_held_until_a_time_waits_for_it() {
    let town = town().await;
    let asked = Asked { hold_until: Some(town.clock.now() + DAY), ..Asked::default() };
    let carol = [("carol@elsewhere.test", RcptAsked::default())];
    town.send_as(town.alice(), Some("alice@example.org"), asked, &carol, LETTER).await.unwrap();
    town.clock.forward(DAY - MINUTE);
    town.queue.expire().await;
    assert_eq!(town.carry(|_| town.delivered()).await, 0);
    town.clock.forward(MINUTE);
    assert_eq!(town.carry(|_| town.delivered()).await, 1);
    assert!(town.inbox(town.alice).await.is_empty());
}

#[tokio::test]
async fn people_here_wait_for_the_time_that_was_set_like_everybody_else() {
    let town = town().await;
    let asked = || Asked { hold_until: Some(START + DAY), ..Asked::default() };
    let to = [("bob@example.org", notify(true, true, false)), ("carol@elsewhere.test", RcptAsked::default())];
    let alice = Some("alice@example.org");
    town.send_as(town.alice(), alice, asked(), &to, LETTER).await.unwrap();
    town.send_as(origin(Role::Exchange), Some("zoe@far.test"), asked(), &to[..1], LETTER).await.unwrap();
    town.clock.forward(DAY - 1);
    town.queue.expire().await;
    assert_eq!((town.inbox(town.bob).await.len(), town.queued().await), (0, 3));
    assert!(town.slot().await.is_none());
    town.clock.forward(1);
    town.queue.expire().await;
    let inbox = town.inbox(town.bob).await;
    assert_eq!(inbox.len(), 2);
    let expected =
        "Return-Path: <alice@example.org>\r\nDelivered-To: bob@example.org\r\nReceived: from client.test";
    assert!(inbox[0].starts_with(expected) && inbox[0].ends_with(LETTER), "{}", inbox[0]);
    let told = town.inbox(town.alice).await;
    assert_eq!(
        (told.len(), status_of(&told[0]).recipients[0].action),
        (1, packetboat_message::dsn::Kind::Delivered)
    );
    assert_eq!(town.carry(|_| town.delivered()).await, 2, "to carol, and zoe asked to hear of it too");
    assert_eq!(town.queued().await, 0);
}

#[tokio::test]
async fn ten_thousand_messages_of_one_sender_do_not_delay_anothers_one() {
    let settings = Settings { connections_max: 10, rows_max: 100_000, ..Settings::default() };
    let town = town_with(settings).await;
    let many: Vec<String> = (0..100).map(|n| format!("user{n}@elsewhere.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for _ in 0..80 {
        town.send(&many).await;
    }
    // To the same destination, where one lane is long: and to destinations of which nobody else has so many.
    for n in 0..2000 {
        town.send(&[&format!("x@d{n}.test")]).await;
    }
    let one = [("carol@elsewhere.test", RcptAsked::default()), ("carol@lonely.test", RcptAsked::default())];
    let bob = origin(Role::Exchange);
    town.send_as(bob, Some("bob@example.org"), Asked::default(), &one, LETTER).await.unwrap();
    let (mut before_same, mut before_own, mut carried) = (None, None, 0);
    while before_same.is_none() || before_own.is_none() {
        let (mut slot, errand) = town.errand().await.unwrap();
        for to in &errand.recipients {
            match to.address.to_string().as_str() {
                "carol@elsewhere.test" => before_same = Some(carried),
                "carol@lonely.test" => before_own = Some(carried),
                _ => (),
            }
        }
        carried += 1;
        let verdicts = errand.recipients.iter().map(|_| town.delivered()).collect();
        town.queue.settle(&mut slot, errand, verdicts).await;
    }
    assert!(before_same.unwrap() < 100 && before_own.unwrap() < 10, "{before_same:?} {before_own:?}");
}
