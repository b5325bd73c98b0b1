//! What an operator does to the queue.

use packetboat_mail::outbound::NextHop;
use packetboat_mail::queue::admin::{Acted, Action, Filter, LIST_MAX, Who};
use packetboat_mail::queue::{Asked, RcptAsked};
use packetboat_message::dsn::{Kind, Status};
use packetboat_store::QueueId;

use crate::support::*;

fn to(domain: &str) -> Filter {
    Filter { recipient: Some(Who::Domain(domain.parse().unwrap())), ..Filter::default() }
}

#[tokio::test]
async fn the_queue_is_listed_in_pages_by_whatever_is_asked_for() {
    let town = town().await;
    for n in 0..600 {
        town.send(&[&format!("x{n}@elsewhere.test"), &format!("x{n}@other.test")]).await;
    }
    let tag = town.send(&["carol@third.test"]).await.tag;
    let (mut after, mut pages) = (QueueId(0), Vec::new());
    loop {
        let page = town.queue.list(&Filter::default(), after, 500).await.unwrap();
        pages.push(page.entries.len());
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(pages, [500, 500, 201]);
    let count =
        async |filter: Filter| town.queue.list(&filter, QueueId(0), LIST_MAX).await.unwrap().entries.len();
    assert_eq!(count(to("other.test")).await, 600);
    let sender = Some(Who::Address(address("alice@example.org")));
    assert_eq!(count(Filter { sender, ..to("third.test") }).await, 1);
    assert_eq!(count(Filter { sender: Some(Who::Nobody), ..Filter::default() }).await, 0);
    assert_eq!(count(Filter { held: Some(true), ..Filter::default() }).await, 0);
    let hop: NextHop = "mx:elsewhere.test".parse().unwrap();
    assert_eq!(count(Filter { destination: Some(hop), ..Filter::default() }).await, 600);
    let by_tag = Filter { tag: Some(tag), ..Filter::default() };
    let page = town.queue.list(&by_tag, QueueId(0), 10).await.unwrap();
    let [entry] = page.entries.as_slice() else { panic!("{page:?}") };
    assert_eq!(entry.recipient.as_ref().unwrap().address, address("carol@third.test"));
    assert_eq!(town.queue.show(entry.id).await.unwrap().as_ref(), Some(entry));
    assert_eq!(count(Filter { message: Some(entry.message), ..Filter::default() }).await, 1);
    assert_eq!(count(Filter { row: Some(entry.id), ..Filter::default() }).await, 1);
    assert_eq!(town.queue.open_message(entry.id).await.unwrap().len(), entry.octets);
    assert_eq!(town.queue.destinations(10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_is_held_waits_for_its_release_even_past_its_time() {
    let town = town().await;
    town.send(&["carol@elsewhere.test", "dave@other.test"]).await;
    assert_eq!(town.queue.act(&to("elsewhere.test"), &Action::Hold).await, Ok(Acted { rows: 1, busy: 0 }));
    assert_eq!(town.carry(|_| town.delivered()).await, 1);
    town.clock.forward(DAY);
    town.queue.expire().await;
    assert!(town.slot().await.is_none() && town.inbox(town.alice).await.is_empty());
    let held = Filter { held: Some(true), ..Filter::default() };
    assert_eq!(town.queue.act(&held, &Action::Release).await, Ok(Acted { rows: 1, busy: 0 }));
    assert_eq!(town.carry(|_| town.delivered()).await, 1);
}

#[tokio::test]
async fn what_is_cancelled_is_gone_and_its_sender_hears_of_it_or_does_not() {
    let town = town().await;
    for tell in [true, false] {
        town.send(&["carol@elsewhere.test", "dave@elsewhere.test"]).await;
        let acted = town.queue.act(&Filter::default(), &Action::Cancel { tell }).await;
        assert_eq!(acted, Ok(Acted { rows: 2, busy: 0 }));
        assert_eq!(town.queued().await, 0);
    }
    let inbox = town.inbox(town.alice).await;
    let [notice] = inbox.as_slice() else { panic!("{inbox:?}") };
    let status = status_of(notice);
    assert_eq!(status.recipients.len(), 2);
    assert_eq!((status.recipients[0].action, status.recipients[0].status), (Kind::Failed, Status(5, 7, 0)));
}

#[tokio::test]
async fn what_was_cancelled_while_it_waited_for_its_turn_is_not_sent() {
    let town = town().await;
    town.send(&["carol@elsewhere.test"]).await;
    town.send(&["dave@elsewhere.test"]).await;
    let (mut slot, errand) = town.errand().await.unwrap();
    let acted = town.queue.act(&Filter::default(), &Action::Cancel { tell: false }).await;
    assert_eq!(acted.unwrap().rows, 2);
    town.queue.settle(&mut slot, errand, vec![town.failed()]).await;
    assert!(town.queue.errand(&mut slot).await.is_none());
    assert_eq!(town.queued().await, 0);
    assert!(town.inbox(town.alice).await.is_empty(), "whoever took it out decided what is told");
}

#[tokio::test]
async fn tried_now_means_now() {
    let town = town().await;
    town.send(&["carol@elsewhere.test"]).await;
    for _ in 0..6 {
        let slot = town.slot().await.unwrap();
        town.queue.unreachable(slot, town.silence()).await;
        assert!(town.slot().await.is_none());
        assert_eq!(
            town.queue.act(&to("elsewhere.test"), &Action::Retry).await,
            Ok(Acted { rows: 1, busy: 0 })
        );
    }
    let (mut slot, errand) = town.errand().await.unwrap();
    let acted = town.queue.act(&Filter::default(), &Action::Retry).await;
    assert_eq!(acted, Ok(Acted { rows: 0, busy: 1 }), "it is on its way");
    assert!(town.slot().await.is_none());
    town.queue.settle(&mut slot, errand, vec![town.delivered()]).await;
    assert_eq!(town.queued().await, 0);
}

#[tokio::test]
async fn what_its_sender_wants_to_be_sent_later_is_left_where_it_is_not_an_operator_who_asks() {
    let town = town().await;
    let later = Asked { hold_until: Some(START + HOUR), ..Asked::default() };
    let carol = [("carol@elsewhere.test", RcptAsked::default())];
    town.send_as(town.alice(), Some("alice@example.org"), later, &carol, LETTER).await.unwrap();
    let ripe = Filter { ripe: true, ..to("elsewhere.test") };
    let retry = async |filter: &Filter| town.queue.act(filter, &Action::Retry).await.unwrap().rows;
    assert_eq!(retry(&ripe).await, 0);
    assert!(town.slot().await.is_none());
    town.clock.forward(HOUR);
    assert_eq!(retry(&ripe).await, 1);
    assert!(town.slot().await.is_some());
    town.clock.set(START);
    assert_eq!(retry(&to("elsewhere.test")).await, 1);
}

#[tokio::test]
async fn another_way_is_taken() {
    let town = town().await;
    let carol = [("carol@elsewhere.test", RcptAsked::default())];
    town.send_as(town.alice(), Some("alice@example.org"), Default::default(), &carol, LETTER).await.unwrap();
    town.carry(|_| town.deferred()).await;
    let hop: NextHop = "smarthost:provider".parse().unwrap();
    let acted = town.queue.act(&to("elsewhere.test"), &Action::Reroute(hop.clone())).await;
    assert_eq!(acted.unwrap().rows, 1);
    let slot = town.slot().await.unwrap();
    assert_eq!(slot.next_hop(), &hop);
}
