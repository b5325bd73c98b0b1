//! Which address clients are told to come to.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use crate::session::random;
use crate::settings::{AnnounceTo, Announced, HostPort};
use crate::stun;

/// What has been found out is asked again after this time.
const FRESH: Duration = Duration::from_secs(300);
/// For one question.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a STUN server is asked.
const QUESTIONS: u32 = 3;

/// The rules, and what has been found out by them.
#[derive(Debug, Default)]
pub struct Announcing {
    default: Option<Announced>,
    to: Vec<AnnounceTo>,
    discover: Option<HostPort>,
    found: Mutex<HashMap<Question, (Instant, Ipv4Addr)>>,
}

/// What is asked: there are as many of them as names in the settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Question {
    Host(String),
    Stun,
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Own,
    Address(Ipv4Addr),
    Ask(Question),
}

impl Announcing {
    /// By these settings. The first rule whose network the client is of holds.
    pub fn new(default: Option<Announced>, to: Vec<AnnounceTo>, discover: Option<HostPort>) -> Announcing {
        Announcing { default, to, discover, found: Mutex::default() }
    }

    /// What a client is told that came to `own`.
    pub(super) async fn address(&self, client: Option<IpAddr>, own: IpAddr) -> IpAddr {
        let question = match self.choose(client, own) {
            Choice::Own => return own,
            Choice::Address(address) => return address.into(),
            Choice::Ask(question) => question,
        };
        let known = self.found.lock().get(&question).copied();
        if let Some((at, address)) = known
            && at.elapsed() < FRESH
        {
            return address.into();
        }
        let found = match &question {
            Question::Host(host) => resolve(host, 0).await.and_then(|at| match at.ip() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            }),
            Question::Stun => match &self.discover {
                Some(server) => discover(server).await,
                None => None,
            },
        };
        match (found, known) {
            (Some(address), _) => {
                if known.is_none_or(|(_, old)| old != address) {
                    tracing::info!(%address, ?question, "the address for passive data connections was found");
                }
                self.found.lock().insert(question, (Instant::now(), address));
                address.into()
            }
            (None, Some((_, address))) => address.into(),
            (None, None) => {
                tracing::warn!(
                    ?question,
                    "the address for passive data connections was not found; telling our own"
                );
                own
            }
        }
    }

    fn choose(&self, client: Option<IpAddr>, own: IpAddr) -> Choice {
        // Only IPv4 addresses are announced: EPSV, which is for both, names none (RFC 2428 section 3).
        if own.to_canonical().is_ipv6() && self.default.is_none() && self.discover.is_none() {
            return Choice::Own;
        }
        let of = |announced: &Announced| match announced {
            Announced::Address(address) => Choice::Address(*address),
            Announced::Host(host) => Choice::Ask(Question::Host(host.to_string())),
        };
        let client = client.map(|client| client.to_canonical());
        let rule = self.to.iter().find(|rule| client.is_some_and(|client| rule.clients.contains(&client)));
        match (rule, &self.discover, &self.default) {
            (Some(rule), ..) => rule.address.as_ref().map_or(Choice::Own, of),
            (None, Some(_), _) => Choice::Ask(Question::Stun),
            (None, None, Some(default)) => of(default),
            (None, None, None) => Choice::Own,
        }
    }
}

async fn resolve(host: &str, port: u16) -> Option<SocketAddr> {
    let found = timeout(PATIENCE, tokio::net::lookup_host((host, port))).await.ok()?.ok()?;
    found.into_iter().find(SocketAddr::is_ipv4)
}

/// Asks a STUN server where packets of ours come from (RFC 8489 section 2).
async fn discover(server: &HostPort) -> Option<Ipv4Addr> {
    let server = resolve(&server.host, server.port).await?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
    socket.connect(server).await.ok()?;
    let transaction = random();
    let mut answer = [0; stun::MESSAGE_MAX];
    for _ in 0..QUESTIONS {
        socket.send(&stun::request(transaction)).await.ok()?;
        let deadline = Instant::now() + PATIENCE / QUESTIONS;
        while let Ok(Ok(octets)) = tokio::time::timeout_at(deadline, socket.recv(&mut answer)).await {
            match stun::mapped_address(answer.get(..octets).unwrap_or_default(), transaction) {
                Some(IpAddr::V4(address)) => return Some(address),
                // Somebody else's words, or no address of IPv4.
                _ => continue,
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_each_client_is_told() {
        let to = |network: &str, address: Option<&str>| AnnounceTo {
            clients: network.parse().unwrap(),
            address: address.map(|address| address.parse().unwrap()),
        };
        let rules = vec![to("10.0.0.0/8", None), to("192.0.2.0/24", Some("192.0.2.9"))];
        let own: IpAddr = "10.0.0.1".parse().unwrap();
        let outside = Some("198.51.100.7".parse().unwrap());
        let with = |default: Option<&str>| {
            Announcing::new(default.map(|default| default.parse().unwrap()), rules.clone(), None)
        };
        let address = |text: &str| Choice::Address(text.parse().unwrap());
        let public = with(Some("203.0.113.7"));
        assert_eq!(public.choose(outside, own), address("203.0.113.7"));
        assert_eq!(public.choose(Some("10.2.3.4".parse().unwrap()), own), Choice::Own);
        assert_eq!(public.choose(Some("::ffff:10.2.3.4".parse().unwrap()), own), Choice::Own);
        assert_eq!(public.choose(Some("192.0.2.4".parse().unwrap()), own), address("192.0.2.9"));
        assert_eq!(with(None).choose(outside, own), Choice::Own);
        let host = Choice::Ask(Question::Host("ftp.example.org".to_owned()));
        assert_eq!(with(Some("ftp.example.org")).choose(outside, own), host);
        let mut asking = with(Some("203.0.113.7"));
        asking.discover = Some(HostPort { host: "stun.example.org".to_owned(), port: 3478 });
        assert_eq!(asking.choose(outside, own), Choice::Ask(Question::Stun));
        assert_eq!(asking.choose(Some("10.2.3.4".parse().unwrap()), own), Choice::Own);
    }

    #[tokio::test]
    async fn a_stun_server_is_asked_and_others_are_not_believed() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = server.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut question = [0; stun::MESSAGE_MAX];
            let (_, from) = server.recv_from(&mut question).await.unwrap();
            let wrong = stun::response([9; 12], "192.0.2.66:1".parse().unwrap());
            server.send_to(&wrong, from).await.unwrap();
            let transaction = question[8..20].try_into().unwrap();
            let right = stun::response(transaction, "203.0.113.7:4000".parse().unwrap());
            server.send_to(&right, from).await.unwrap();
        });
        let asked = HostPort { host: "127.0.0.1".to_owned(), port };
        let announcing = Announcing::new(None, Vec::new(), Some(asked));
        let own = "10.0.0.1".parse().unwrap();
        let told = announcing.address(None, own).await;
        assert_eq!(told, "203.0.113.7".parse::<IpAddr>().unwrap());
        // It answers once; what it said is kept.
        assert_eq!(announcing.address(None, own).await, told);
    }
}
