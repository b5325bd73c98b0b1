//! Runs `tests/transcripts/smtp` against the server half, with an owner whose answers are fixed.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use packetboat_message::Domain;
use packetboat_smtp::command::{Node, Strictness};
use packetboat_smtp::server::{Audience, Config, Event, Reversal, Role};
use packetboat_smtp::{ForwardPath, Recipient, Server, reply};
use packetboat_wire::sasl::{Ask, Mechanism, ScramKeys};
use packetboat_wire::transcript::{self, Owner, Script};
use packetboat_wire::{Reply, TlsFacts};

const TRANSCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/transcripts/smtp");
/// Octets of a body that the answer to it shows.
const SHOWN_MAX: usize = 60;

/// A post office with rules made of names:
///
/// | local part | |
/// |---|---|
/// | `spammer` | refused as sender |
/// | `nospace` | as sender: refused when the message comes |
/// | `nobody` | no such mailbox |
/// | `busy` `full` | refused for now |
/// | `forward` `moved` | 251 and 551 |
/// | `weiter` `umgezogen` | the same, to an address in UTF-8 |
/// | `bye` | 421 |
/// | `late` | in LMTP: refused when the message is there |
///
/// A domain other than `example.org` is not ours. A message with `VIRUS` in it is refused. The password of everybody is
/// `secret`; `root` may not act for others.
#[derive(Default)]
struct PostOffice {
    sender: String,
    recipients: Vec<String>,
    body: Vec<u8>,
}

impl PostOffice {
    fn recipient(&mut self, recipient: &Recipient) -> Result<Option<Reply>, Reply> {
        let ForwardPath::Mailbox(address) = &recipient.path else {
            self.recipients.push("postmaster".into());
            return Ok(None);
        };
        if *address.domain() != Domain::parse("example.org").unwrap() {
            return Err(reply::relaying_denied());
        }
        let name = address.local().as_str();
        let answer = match name {
            "nobody" => return Err(reply::mailbox_unavailable()),
            "busy" => return Err(reply::mailbox_busy()),
            "full" => return Err(reply::mailbox_full_for_now()),
            "moved" => return Err(reply::user_not_local("moved@example.net")),
            "umgezogen" => return Err(reply::user_not_local("b\u{f6}se@example.net")),
            "weiter" => Some(reply::will_forward("b\u{f6}se@example.net")),
            "bye" => return Err(reply::shutting_down()),
            "forward" => Some(reply::will_forward("forward@example.net")),
            _ => None,
        };
        self.recipients.push(name.to_owned());
        Ok(answer)
    }

    fn body_end(&mut self, server: &mut Server, octets: u64) {
        assert_eq!(octets, self.body.len() as u64);
        let lmtp = server.config().role == Role::Lmtp;
        let shown = self.body[..self.body.len().min(SHOWN_MAX)].escape_ascii();
        let text = format!("{octets} octets from <{}>: {shown}", self.sender);
        for name in self.recipients.iter().take(if lmtp { usize::MAX } else { 1 }) {
            assert!(server.question_open());
            if String::from_utf8_lossy(&self.body).contains("VIRUS") {
                server.refuse(reply::transaction_failed("The message has a virus"));
            } else if name == "late" && lmtp {
                server.refuse(reply::mailbox_full());
            } else if lmtp {
                server.accept_with(reply::message_accepted(format!("{name} has it")));
            } else {
                server.accept_with(reply::message_accepted(text.clone()));
            }
        }
        self.forget();
    }

    fn etrn(&self, server: &mut Server, node: &Node) {
        match node {
            Node::Domain(domain) if domain.to_string() == "lan.example" => {
                server.accept_with(reply::messages_started(14, domain));
            }
            Node::Domain(domain) if domain.to_string() == "empty.example" => {
                server.accept_with(reply::nothing_queued(domain));
            }
            Node::Below(_) => server.accept(),
            Node::Domain(domain) => server.refuse(reply::node_not_allowed(domain, "it is no peer")),
            Node::Queue(name) => server.refuse(reply::queue_unavailable(name)),
        }
    }

    fn forget(&mut self) {
        *self = PostOffice::default();
    }
}

impl Owner<Server> for PostOffice {
    fn event(&mut self, server: &mut Server, event: Event) {
        match event {
            Event::Sender(sender) => {
                let name = sender.path.as_ref().map(|path| path.local().as_str().to_owned());
                self.sender = sender.path.map(|path| path.to_string()).unwrap_or_default();
                match name.as_deref() {
                    Some("spammer") => server.refuse(reply::refused_by_policy("Not from you")),
                    _ => server.accept(),
                }
            }
            Event::Recipient(recipient) => match self.recipient(&recipient) {
                Ok(None) => server.accept(),
                Ok(Some(reply)) => server.accept_with(reply),
                Err(reply) => server.refuse(reply),
            },
            Event::BodyStart(_) if self.sender.starts_with("nospace") => {
                self.forget();
                server.refuse(reply::insufficient_storage());
            }
            Event::BodyStart(_) => server.accept(),
            Event::BodyChunk(piece) => self.body.extend_from_slice(&piece),
            Event::BodyEnd { octets } => self.body_end(server, octets),
            Event::Aborted(_) => self.forget(),
            Event::AuthStart(_) => server.start_authentication(b"twenty random octets"),
            Event::Auth(Ask::Password { authcid, password, .. }) => match authcid.as_str() {
                "down" => server.refuse(reply::authentication_unavailable()),
                _ if password.expose() == "secret" => server.accept(),
                _ => server.refuse(reply::credentials_invalid()),
            },
            Event::Auth(Ask::ScramKeys { hash, .. }) => {
                let iterations = 4096.try_into().unwrap();
                server.scram_keys(vec![ScramKeys::derive(hash, "secret", b"salt", iterations).unwrap()]);
            }
            Event::Auth(Ask::SharedSecret { proof, .. }) if proof.is_by(&"secret".into()) => server.accept(),
            Event::Auth(Ask::SharedSecret { .. }) => server.refuse(reply::credentials_invalid()),
            Event::Authenticated(done) => match done.authzid.as_deref() {
                Some(name) if name != done.authcid => server.refuse(reply::credentials_invalid()),
                _ => server.accept(),
            },
            Event::Verify(query) if query.name == "jos\u{e9}" || query.name == "jose" => {
                server.accept_with(reply::mailboxes(["<jos\u{e9}@example.org>"]));
            }
            Event::Verify(query) if query.name == "alice" => {
                server.accept_with(reply::mailboxes(["Alice <alice@example.org>"]));
            }
            Event::Expand(query) if query.name == "staff" => {
                server.accept_with(reply::mailboxes(["<alice@example.org>", "<bob@example.org>"]));
            }
            Event::Verify(query) if query.name == "smith" => {
                server.refuse(reply::ambiguous(["Joe <joe@example.org>", "Jane <jane@example.org>"]));
            }
            Event::Verify(query) if query.name == "moved" => {
                server.refuse(reply::user_not_local("moved@example.net"));
            }
            Event::Verify(_) => server.accept(),
            Event::Etrn(node) => self.etrn(server, &node),
            Event::Turn(Reversal::Atrn(domains)) => {
                let names: Vec<String> = domains.iter().map(ToString::to_string).collect();
                match names.join(" ").as_str() {
                    "" | "example.org" => server.accept(),
                    "empty.example" => server.refuse(reply::no_mail()),
                    _ => server.refuse(reply::turn_refused()),
                }
            }
            Event::Turn(Reversal::Turn) => server.accept(),
            Event::Turned => {
                let rest = server.take_rest();
                assert!(rest.is_empty() || rest.starts_with(b"220 "), "{rest:?}");
            }
            Event::Expand(_) => server.refuse(reply::mailbox_unavailable()),
            Event::Hello(_) | Event::AuthFailed(_) => {}
        }
    }

    fn order(&mut self, server: &mut Server, order: &str) -> Result<(), String> {
        if order == "revoke" {
            server.end(reply::access_revoked());
            return Ok(());
        }
        let fact = match order {
            "has seen an early talker" => server.early_talker(),
            "has seen no early talker" => !server.early_talker(),
            _ => match order.strip_prefix("closed because ") {
                Some(why) => format!("{:?}", server.closed()) == format!("Some({why})"),
                None => return Err(format!("nobody here knows how to {order:?}")),
            },
        };
        if fact { Ok(()) } else { Err(format!("it is not true that it {order}")) }
    }
}

fn make(script: &Script) -> (Server, PostOffice) {
    let set = |name| script.setting(name);
    let number = |name| set(name).map(|value| value.parse::<u64>().unwrap());
    let role = match set("role") {
        None | Some("exchange") => Role::Exchange,
        Some("submission") => Role::Submission,
        Some("lmtp") => Role::Lmtp,
        Some(other) => panic!("{other} is no role"),
    };
    let mut config = Config::new(role, "mail.example.org");
    config.banner = "Packetboat".into();
    config.limits.message_size = 10_000;
    if set("strict").is_some() {
        config.strictness = Strictness::Strict;
    }
    config.starttls = set("starttls").is_some();
    config.tls_required = set("tls-required").is_some();
    config.auth.required = role == Role::Submission;
    config.auth.needs_tls = set("auth-in-clear").is_none();
    config.auth.mechanisms = set("auth")
        .into_iter()
        .flat_map(str::split_whitespace)
        .map(|name| Mechanism::parse(name).unwrap_or(Mechanism::CramMd5))
        .collect();
    config.dsn = set("dsn").is_some();
    config.deliver_by = number("deliver-by").map(|least| least.try_into().unwrap());
    config.future_release = number("future-release").map(Duration::from_secs);
    config.require_tls = set("require-tls").is_some();
    let audience = |name| match set(name) {
        None => Audience::Nobody,
        Some("users") => Audience::Users,
        Some("") => Audience::Everybody,
        Some(other) => panic!("{other} is no audience"),
    };
    config.verify = audience("verify");
    config.expand = audience("expand");
    config.terminals = audience("terminals");
    config.etrn = set("etrn").is_some();
    config.atrn = set("atrn").is_some();
    config.turn = set("turn").is_some();
    config.timeouts.greeting_delay = Duration::from_secs(number("greeting-delay").unwrap_or(0));
    let small = |name, usual| number(name).map_or(usual, |value| value.try_into().unwrap());
    config.limits.message_size = number("max-size").unwrap_or(config.limits.message_size);
    config.limits.recipients = small("max-recipients", config.limits.recipients);
    config.limits.refusals = small("max-refusals", config.limits.refusals);
    config.limits.messages = small("max-messages", config.limits.messages);
    config.limits.errors = small("max-errors", config.limits.errors);
    config.limits.idle_commands = small("max-idle", config.limits.idle_commands);
    let config = Arc::new(config);
    let mut server = match set("refuse") {
        None => Server::new(config),
        Some("busy") => Server::refusing(config, reply::too_many_connections()),
        Some(_) => Server::refusing(config, reply::no_service("No mail from you")),
    };
    // The transcript begins a moment later.
    server.set_clock(Instant::now(), "2026-12-24T18:00:00.1Z".parse().unwrap());
    if set("implicit-tls").is_some() {
        packetboat_wire::Session::tls_started(&mut server, TlsFacts::default());
    }
    (server, PostOffice::default())
}

#[test]
fn transcripts() {
    transcript::check_folder(TRANSCRIPTS, transcript::Role::Server, make);
}
