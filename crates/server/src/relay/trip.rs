//! What one slot is for, from the first connection to the last: host after host, until one takes what is to be sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use packetboat_mail::outbound::NextHop;
use packetboat_mail::queue::{Attempt, Slot, Stage, Verdict};
use packetboat_mail::secure::Wish;
use packetboat_message::dsn::Status;
use packetboat_smtp::client::{Client, Config};

use super::choice::NoHost;
use super::courier::{After, Carriage, Courier, Load, Work};
use super::demand::TlsDemand;
use super::dial::{Dialled, NoWay, NotDialled};
use super::plan::{Course, Plan};
use super::tls::TlsPlan;
use super::{Relay, now};
use crate::conn::Conn;
use crate::drive::{Link, drive};

/// Connections without a single message on them that one slot tries in a row.
const LOSSES_MAX: u32 = 3;

/// A way to a next hop, as it is just now.
struct Way<'d> {
    plan: Arc<Plan>,
    course: Course,
    destination: &'d str,
    wish: Wish,
}

impl Relay {
    /// Does what a slot is for.
    pub(super) async fn carry(self: Arc<Relay>, slot: Slot) {
        let hop = slot.next_hop().clone();
        let destination = hop.to_string();
        let Err(mut slot) = self.depot.idle.give(&destination, slot) else { return };
        // What the first message asks for decides how the connection has to be.
        let Some(errand) = self.depot.queue.errand(&mut slot).await else {
            return self.depot.queue.finished(slot).await;
        };
        let mut load = Load { slot, work: Some(Box::new(Work::new(errand))) };
        let mut losses = 0;
        while let Some(left) = self.trip(&hop, &destination, load, &mut losses).await {
            load = left;
            if load.work.is_none() {
                match self.depot.queue.errand(&mut load.slot).await {
                    Some(errand) => load.work = Some(Box::new(Work::new(errand))),
                    None => return self.depot.queue.finished(load.slot).await,
                }
            }
        }
    }

    /// Along the hosts of a next hop, once. Gives back what has to find its way anew.
    async fn trip(&self, hop: &NextHop, destination: &str, mut load: Load, losses: &mut u32) -> Option<Load> {
        let plan = Arc::clone(&self.plan.read());
        let wish = load.work.as_ref().map_or(Wish::Usual, |work| work.wish());
        let course = match plan.course(hop).await {
            Ok(course) => course,
            Err(NoWay::ForNow(why)) => {
                self.give_up(load, told(Stage::Lookup, Status(4, 4, 3), why)).await;
                return None;
            }
            Err(NoWay::Ever(why)) => {
                self.fail(load, nowhere(&why)).await;
                return None;
            }
        };
        let mut way = Way { plan, course, destination, wish };
        let (mut why, mut forbidden) = (None, true);
        loop {
            let mut failed = |not: NotDialled| {
                self.depot.metrics.not_connected();
                let address = not.address.map(|address| address.to_string());
                tracing::info!(destination, host = not.host, address, why = not.why, "not connected");
                let attempt = not_dialled(not);
                forbidden &= is_forbidden(&attempt);
                why = Some(attempt);
            };
            let Some(dialled) = way.plan.dialer.next(&mut way.course.itinerary, wish, &mut failed).await
            else {
                let why = why.unwrap_or_else(|| told(Stage::Lookup, Status(4, 4, 1), String::new()));
                if way.course.itinerary.leads_here() {
                    self.fail(load, nowhere(&NoHost::Ourselves)).await;
                } else if load.work.as_ref().is_some_and(|work| work.was_put_off()) {
                    // Somebody was there.
                    let verdict = if forbidden { Verdict::Failed(why) } else { Verdict::Deferred(why) };
                    self.put_off(load, &verdict).await;
                } else if way.course.itinerary.has_no_address() {
                    self.fail(load, no_address(why)).await;
                } else if wish == Wish::Usual {
                    self.give_up(load, why).await;
                } else {
                    // Others may find the way.
                    let verdict = if forbidden { Verdict::Failed(why) } else { Verdict::Deferred(why) };
                    self.put_off(load, &verdict).await;
                }
                return None;
            };
            let hope = why.is_some() && !forbidden;
            let After::Again { load: left, why: last, carried, was_ready, elsewhere } =
                self.converse(&way, dialled, load, hope).await
            else {
                return None;
            };
            load = left;
            if self.is_stopping() {
                // What is in hand is tried again after the next start.
                self.depot.queue.finished(load.slot).await;
                return None;
            }
            if elsewhere {
                tracing::info!(destination, "put off; to the next host");
                way.course.itinerary.leave_host();
                why = last.map(|last| *last).or(why);
                *losses = 0;
                continue;
            }
            forbidden &= last.as_deref().is_some_and(is_forbidden);
            let used_up = carried > 0 || last.is_none();
            why = last.map(|last| *last).or(why);
            *losses = if carried > 0 { 0 } else { losses.saturating_add(1) };
            if *losses >= LOSSES_MAX || (was_ready && !used_up && load.work.is_none()) {
                // The server is there; it is only that it does not get this message.
                let why = why.unwrap_or_else(|| Attempt::new(now(), Stage::Sender));
                self.put_off(load, &Verdict::Deferred(why)).await;
                return None;
            }
            if used_up {
                // The server has had enough for one connection, or it had been idle for too long, or what comes next needs
                // another kind.
                return Some(load);
            }
        }
    }

    /// One connection, from the greeting to its end. Where TLS fails and need not be, another one follows in the clear.
    async fn converse(&self, way: &Way<'_>, dialled: Dialled, load: Load, hope: bool) -> After {
        let Dialled { conn, host, address, demand, permit } = dialled;
        let ip = address.map(|address| address.ip());
        let usual = way.plan.guard.as_ref().and_then(|guard| guard.authorities().verifier().ok());
        let tls = match self.tls.plan(&demand, &host.name, usual) {
            Ok(tls) => tls,
            Err(why) => {
                let attempt = told(Stage::Tls, Status(4, 7, 5), why);
                let why = Attempt { host: Some(host.name.clone()), address: ip, ..attempt };
                return After::Again {
                    load,
                    why: Some(Box::new(why)),
                    carried: 0,
                    was_ready: false,
                    elsewhere: false,
                };
            }
        };
        // The best host is the one for all that comes after.
        let put_off = load.work.as_ref().is_some_and(|work| work.was_put_off());
        let carriage = |tls: &TlsPlan, clear_by_need| Carriage {
            destination: way.destination.to_owned(),
            host: host.name.clone(),
            address: ip,
            seen: tls.seen.clone(),
            wish: way.wish,
            required: match &demand {
                TlsDemand::Required(required) => Some(required.why.clone()),
                TlsDemand::Never | TlsDemand::Opportunistic => None,
            },
            clear_by_need,
            idle_time: way.plan.idle,
            messages_max: if put_off { 1 } else { way.plan.messages },
            another: way.course.itinerary.has_another_host(),
            hope,
        };
        let mut courier = Courier::new(Arc::clone(&self.depot), carriage(&tls, None), load);
        self.drive(way, &mut courier, conn, tls, host.implicit_tls).await;
        if !courier.tls_failed() || demand.is_required() || self.is_stopping() {
            return courier.after();
        }
        let Ok(conn) = way.plan.dialer.again(&host, address).await else { return courier.after() };
        tracing::info!(destination = way.destination, host = host.name, "TLS failed; in the clear then");
        let After::Again { load, why, .. } = courier.after() else { return After::Done };
        let failure = why.map_or_else(String::new, |why| why.text);
        let tls = TlsPlan::clear();
        let mut courier = Courier::new(Arc::clone(&self.depot), carriage(&tls, Some(failure)), load);
        self.drive(way, &mut courier, conn, tls, false).await;
        drop(permit);
        courier.after()
    }

    async fn drive(
        &self,
        way: &Way<'_>,
        courier: &mut Courier,
        conn: Conn,
        tls: TlsPlan,
        implicit_tls: bool,
    ) {
        let Way { plan, course, .. } = way;
        let login = course.login.as_ref();
        let config = Config {
            tls: tls.policy,
            credentials: login.map(|login| login.credentials.clone()),
            password_in_clear: login.is_some_and(|login| login.in_clear),
            chunking: plan.chunking,
            eight_bit_anyway: false,
            timeouts: plan.timeouts,
            ..Config::new(course.protocol, plan.hello.clone())
        };
        let session = Client::new(Arc::new(config), &crate::session::random::<24>());
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let link = Link {
            conn,
            id,
            tls: tls.role,
            implicit_tls,
            pace: Arc::clone(&self.pace),
            shutdown: self.shutdown.signal(),
            cut: Arc::default(),
        };
        self.depot.metrics.opened();
        let summary = drive(link, session, &mut *courier).await;
        self.depot.metrics.ended(summary.end.word());
        tracing::debug!(
            outgoing = id,
            host = courier.host(),
            sent = summary.sent,
            received = summary.received,
            lasted = ?summary.lasted,
            end = %summary.end,
            "connection ended"
        );
    }

    /// No host can be had: what is in hand and everything else waits.
    async fn give_up(&self, load: Load, why: Attempt) {
        let Load { mut slot, work } = load;
        if let Some(work) = work {
            self.depot.settle(&mut slot, work, &Verdict::Deferred(why.clone())).await;
        }
        self.depot.queue.unreachable(slot, why).await;
    }

    /// Decides what is in hand; everything else may try its luck.
    async fn put_off(&self, load: Load, verdict: &Verdict) {
        let Load { mut slot, work } = load;
        if let Some(work) = work {
            self.depot.settle(&mut slot, work, verdict).await;
        }
        self.depot.queue.finished(slot).await;
    }

    /// There is nowhere to send this to, and there will not be.
    async fn fail(&self, load: Load, why: Attempt) {
        let Load { mut slot, mut work } = load;
        let verdict = Verdict::Failed(why);
        loop {
            if let Some(work) = work.take() {
                self.depot.settle(&mut slot, work, &verdict).await;
            }
            match self.depot.queue.errand(&mut slot).await {
                Some(errand) if !self.is_stopping() => work = Some(Box::new(Work::new(errand))),
                _ => break,
            }
        }
        self.depot.queue.finished(slot).await;
    }
}

/// Whether a host may never get the message as its sender wants it to go.
fn is_forbidden(attempt: &Attempt) -> bool {
    attempt.stage == Stage::Tls && attempt.status.is_some_and(|status| status.0 == 5)
}

/// An attempt that ended before there was a connection.
fn told(stage: Stage, status: Status, text: String) -> Attempt {
    Attempt { status: Some(status), text, ..Attempt::new(now(), stage) }
}

fn not_dialled(not: NotDialled) -> Attempt {
    let NotDialled { host, address, why, status, .. } = not;
    let stage = match (status, address) {
        (Some(_), _) => Stage::Tls,
        (None, Some(_)) => Stage::Connect,
        (None, None) => Stage::Lookup,
    };
    let status = status.map_or(Status(4, 4, 1), |(class, subject, detail)| Status(class, subject, detail));
    Attempt { host: Some(host), address, ..told(stage, status, why) }
}

/// Why mail can go nowhere, for the sender.
fn nowhere(why: &NoHost) -> Attempt {
    let status = match why {
        // RFC 7505 section 4.2
        NoHost::NullMx => Status(5, 1, 10),
        NoHost::Ourselves => Status(5, 4, 6),
    };
    told(Stage::Lookup, status, why.to_string())
}

/// Neither the domain nor its mail hosts have an address (RFC 5321 section 5.1: "an error").
fn no_address(why: Attempt) -> Attempt {
    Attempt { status: Some(Status(5, 1, 2)), ..why }
}
