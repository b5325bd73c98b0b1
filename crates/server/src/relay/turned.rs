//! Mail that is fetched: a peer has come for it, and the connection it came by is turned around (RFC 2645, RFC 821 section
//! 3.8).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use packetboat_mail::outbound::NextHop;
use packetboat_mail::queue::Slot;
use packetboat_mail::queue::admin::{ActError, Acted, Action, Filter};
use packetboat_mail::secure::Wish;
use packetboat_smtp::client::{Client, Config, Event, Protocol, TlsPolicy};
use packetboat_wire::{Session, TlsFacts};

use super::Relay;
use super::courier::{Carriage, Courier, Load};
use super::tls::TlsPlan;
use crate::drive::{Handler, Stop, Summary};

/// What waits for a peer. Dropped, it goes on waiting.
#[derive(Debug)]
pub(crate) struct Waiting(Slot);

/// As the destination.
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.next_hop().fmt(f)
    }
}

/// Owns the conversation after it was turned around.
#[derive(Debug)]
pub(crate) struct Turned {
    relay: Arc<Relay>,
    courier: Courier,
}

impl Relay {
    /// What waits for a peer that has come for it; `None`: nothing does.
    pub(crate) async fn fetch(&self, hop: NextHop) -> Option<Waiting> {
        self.depot.queue.fetch(hop).await.map(Waiting)
    }

    /// Sends at once what waits for this next hop, but what is held, by an operator or by its sender until a time.
    pub(crate) async fn wake(&self, hop: NextHop) -> Result<Acted, ActError> {
        let filter = Filter { destination: Some(hop), held: Some(false), ripe: true, ..Filter::default() };
        self.depot.queue.act(&filter, &Action::Retry).await
    }

    /// The client's side of a connection of which the peer is the server from now on. `rest` is what it has said already.
    pub(crate) fn turn(
        self: &Arc<Relay>,
        waiting: Waiting,
        address: Option<IpAddr>,
        tls: Option<&TlsFacts>,
        rest: &[u8],
    ) -> (Client, Turned) {
        let slot = waiting.0;
        let plan = Arc::clone(&self.plan.read());
        let destination = slot.next_hop().to_string();
        let config = Config {
            // What there is of it was there before.
            tls: TlsPolicy::Never,
            chunking: plan.chunking,
            eight_bit_anyway: false,
            timeouts: plan.timeouts,
            ..Config::new(Protocol::Smtp, plan.hello.clone())
        };
        let mut session = Client::new(Arc::new(config), &crate::session::random::<24>());
        if let Some(tls) = tls {
            session.tls_started(tls.clone());
        }
        session.receive(rest);
        let carriage = Carriage {
            host: destination.clone(),
            destination,
            address,
            // Who it is was told by a login, and not by a certificate.
            seen: TlsPlan::clear().seen,
            wish: Wish::Usual,
            required: None,
            clear_by_need: None,
            another: false,
            hope: false,
            idle_time: Duration::ZERO,
            messages_max: plan.messages,
        };
        self.depot.metrics.opened();
        let courier = Courier::new(Arc::clone(&self.depot), carriage, Load { slot, work: None });
        (session, Turned { relay: Arc::clone(self), courier })
    }
}

impl Handler<Client> for Turned {
    async fn handle(&mut self, session: &mut Client, event: Event) -> Result<(), Stop> {
        (&mut self.courier).handle(session, event).await
    }

    async fn news(&mut self) {
        (&mut self.courier).news().await;
    }

    async fn tell(&mut self, session: &mut Client) -> Result<(), Stop> {
        (&mut self.courier).tell(session).await
    }

    fn ended(&mut self, summary: &Summary) {
        (&mut self.courier).ended(summary);
        self.relay.depot.metrics.ended(summary.end.word());
    }
}
