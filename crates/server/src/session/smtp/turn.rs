//! ETRN, ATRN and TURN: mail for peers that are not always there.

use std::time::Instant;

use packetboat_mail::outbound::NextHop;
use packetboat_smtp::command::Node;
use packetboat_smtp::server::{self, Reversal, Server};
use packetboat_smtp::{Client, client, reply};
use packetboat_wire::{Session, Step, TlsFacts};

use super::Smtp;
use crate::peers::NotYours;

/// A conversation in which we are the server, and after ATRN or TURN the client.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all conversations stay what they are at first")]
pub(super) enum Conversation {
    Server(Server),
    Client(Box<Client>),
}

/// What either of them says to its owner.
#[derive(Debug)]
pub(super) enum Event {
    Server(server::Event),
    Client(client::Event),
}

impl Session for Conversation {
    type Event = Event;

    fn receive(&mut self, bytes: &[u8]) {
        match self {
            Conversation::Server(server) => server.receive(bytes),
            Conversation::Client(client) => client.receive(bytes),
        }
    }

    fn end_of_input(&mut self) {
        match self {
            Conversation::Server(server) => server.end_of_input(),
            Conversation::Client(client) => client.end_of_input(),
        }
    }

    fn tls_started(&mut self, tls: TlsFacts) {
        match self {
            Conversation::Server(server) => server.tls_started(tls),
            Conversation::Client(client) => client.tls_started(tls),
        }
    }

    fn shut_down(&mut self) {
        match self {
            Conversation::Server(server) => server.shut_down(),
            Conversation::Client(client) => client.shut_down(),
        }
    }

    fn cut_short(&mut self) -> bool {
        match self {
            Conversation::Server(server) => server.cut_short(),
            Conversation::Client(client) => client.cut_short(),
        }
    }

    fn next(&mut self, now: Instant) -> Step<Event> {
        match self {
            Conversation::Server(server) => server.next(now).map(Event::Server),
            Conversation::Client(client) => client.next(now).map(Event::Client),
        }
    }
}

impl Smtp {
    pub(super) async fn etrn(&mut self, session: &mut Server, node: Node) {
        let name = match &node {
            Node::Domain(domain) | Node::Below(domain) => domain.to_ascii(),
            Node::Queue(name) => name.clone(),
        };
        let login = self.visitor.identity().map(|identity| identity.login.lookup_key());
        let hops = match self.counter.peers.of_node(&node, self.peer.ip(), login.as_deref()) {
            Ok(hops) => hops,
            Err(why) => return self.not_woken(session, &name, why),
        };
        let mut count = 0;
        for hop in hops {
            match self.counter.relay.wake(hop).await {
                Ok(acted) => count += acted.rows + acted.busy,
                Err(error) => {
                    tracing::error!(connection = self.peer.id, name, %error, "mail for a peer could not be woken");
                    return session.refuse(reply::queue_unavailable(name));
                }
            }
        }
        tracing::info!(connection = self.peer.id, peer = %self.peer, name, count, "mail for a peer is sent now");
        session.accept_with(match count {
            0 => reply::nothing_queued(name),
            count => reply::messages_started(count, name),
        });
    }

    fn not_woken(&self, session: &mut Server, name: &str, why: NotYours) {
        tracing::info!(connection = self.peer.id, peer = %self.peer, name, ?why, "mail for a peer is not sent now");
        session.refuse(match why {
            NotYours::Unknown => reply::node_not_allowed(name, "it is not known here"),
            NotYours::Denied => reply::node_not_allowed(name, "not from here"),
            NotYours::Fetched => reply::node_not_allowed(name, "its mail is fetched by ATRN"),
        });
    }

    /// Somebody wants to be the server; if mail waits for them, they become it.
    pub(super) async fn reverse(&mut self, session: &mut Server, how: Reversal) {
        let hops = match &how {
            Reversal::Turn => Ok(self.counter.peers.of_place(self.peer.ip())),
            Reversal::Atrn(domains) => match self.visitor.identity() {
                Some(identity) => self.counter.peers.of_account(&identity.login.lookup_key(), domains),
                None => return session.refuse(reply::authentication_required()),
            },
        };
        let (connection, login) = (self.peer.id, self.visitor.name());
        match (hops, how) {
            (Ok(hops), Reversal::Turn) if hops.is_empty() => session.refuse(reply::not_implemented()),
            (Ok(hops), _) => match self.first_waiting(hops).await {
                Some(waiting) => {
                    tracing::info!(connection, peer = %self.peer, login, destination = %waiting, "a peer fetches its mail");
                    self.waiting = Some(Box::new(waiting));
                    session.accept();
                }
                None => session.refuse(reply::no_mail()),
            },
            (Err(why), how) => {
                tracing::info!(connection, peer = %self.peer, login, ?how, ?why, "a peer may not fetch this mail");
                session.refuse(reply::turn_refused());
            }
        }
    }

    async fn first_waiting(&self, hops: Vec<NextHop>) -> Option<crate::relay::Waiting> {
        for hop in hops {
            if let Some(waiting) = self.counter.relay.fetch(hop).await {
                return Some(waiting);
            }
        }
        None
    }

    /// The peer knows that it is the server.
    pub(super) fn turn(&mut self, conversation: &mut Conversation) {
        let (Conversation::Server(server), Some(waiting)) = (&mut *conversation, self.waiting.take()) else {
            return;
        };
        let rest = server.take_rest();
        let (client, turned) = self.counter.relay.turn(*waiting, self.peer.ip(), server.tls(), &rest);
        self.turned = Some(Box::new(turned));
        *conversation = Conversation::Client(Box::new(client));
    }
}
