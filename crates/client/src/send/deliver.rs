//! Hands a message to the first server that will have it.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packetboat_message::Domain;
use packetboat_smtp::client::{
    Capabilities, Client, Config, Envelope, Event, Outcome, Protocol, Timeouts, TlsPolicy,
};
use packetboat_smtp::{BodyKind, Sender};
use packetboat_wire::sasl::Credentials;
use packetboat_wire::{Reply, ReplyClass, Session as _};

use super::dialogue::Dialogue;
use super::dsn::Dsn;
use super::failure::{Failure, FailureKind};
use super::faults::{self, Fault};
use super::plan::{self, Candidate, Protection};
use super::prepare::{HeaderUtf8, Prepared};
use super::progress::Progress;
use super::report::{Attempt, LoginReport, RecipientStatus, Report, ServerReport, TlsReport, milliseconds};
use super::request::Surroundings;
use super::settings::Settings;
use crate::link::{Link, Observer, TlsClient};
use crate::net::{self, Socket};
use crate::tls::{self, Trust};

/// Octets of the message handed over at once.
const PIECE: usize = 64 * 1024;
/// Octets of randomness for a login.
const NONCE: usize = 24;
/// For the greeting and for each command. RFC 5321 section 4.5.3.2 gives servers five minutes, which is for queues; a
/// person has gone by then.
const PATIENCE: Duration = Duration::from_secs(120);

/// What does not change from server to server.
pub(crate) struct Delivery<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) prepared: &'a Prepared,
    pub(crate) dsn: &'a Dsn,
    pub(crate) started: Instant,
}

/// Tries the servers in turn, until one has said what becomes of the message.
pub(crate) fn deliver(
    delivery: &Delivery<'_>,
    around: &mut Surroundings,
    report: &mut Report,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(FailureKind::Internal, error))?;
    let result = runtime.block_on(async {
        let mut last = None;
        for candidate in plan::candidates(delivery.settings) {
            if let Some((place, failure)) = last.take() {
                report.earlier.push(Attempt { place, failure });
            }
            let mut attempt = Conversation { delivery, candidate: &candidate, report: &mut *report };
            match attempt.run(around).await {
                Ok(()) => return Ok(()),
                Err(Fault { failure, next: true }) => last = Some((candidate.place.to_string(), failure)),
                Err(Fault { failure, next: false }) => return Err(failure),
            }
        }
        match last {
            Some((_, failure)) => Err(failure),
            None => Err(Failure::new(FailureKind::Usage, "no server to send through is named")),
        }
    });
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    result
}

/// One server that is tried.
struct Conversation<'a, 'd> {
    delivery: &'a Delivery<'d>,
    candidate: &'a Candidate,
    report: &'a mut Report,
}

impl Conversation<'_, '_> {
    async fn run(&mut self, around: &mut Surroundings) -> Result<(), Fault> {
        let settings = self.delivery.settings;
        let place = &self.candidate.place;
        self.report.begin_attempt(ServerReport::new(place, settings.lmtp));
        if let Some(say) = &mut around.dialogue {
            say(&format!("-- connecting to {place}"));
        }
        let socket = net::connect(place, settings.connect_timeout).await.map_err(faults::connect)?;
        self.report.timings.connected_ms = Some(milliseconds(self.delivery.started.elapsed()));
        self.server().address = socket.peer();
        let protection = self.candidate.protection(settings, socket.is_local());
        let mut client = self.client(&socket, &protection)?;
        let mut link = self.link(socket, &protection, around)?;
        if protection.implicit {
            let facts = link.start_tls().await.map_err(|error| faults::link(error, place))?;
            client.tls_started(facts);
        }
        let result = self.converse(&mut link, &mut client, around).await;
        if let Some(facts) = link.tls() {
            let verified = protection.trust != Trust::Anyone;
            self.server().tls = Some(TlsReport { version: facts.version, cipher: facts.cipher, verified });
        }
        result
    }

    /// The session: who we are, and what we insist on.
    fn client(&self, socket: &Socket, protection: &Protection) -> Result<Client, Fault> {
        let settings = self.delivery.settings;
        let protocol = if settings.lmtp { Protocol::Lmtp } else { Protocol::Smtp };
        let name = match (&settings.helo, socket.local_ip()) {
            (Some(name), _) => name.clone(),
            // "a client SHOULD use an address literal" that has no name of its own (RFC 5321 section 4.1.4).
            (None, Some(ip)) => Domain::Literal(ip).to_string(),
            (None, None) => "localhost".to_owned(),
        };
        let mut nonce = [0; NONCE];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| {
            Fault::end(Failure::new(FailureKind::Internal, "this system has no randomness to give"))
        })?;
        let config = Config {
            tls: protection.policy,
            credentials: settings.login.as_ref().map(|login| Credentials {
                username: login.user.clone(),
                password: login.password.clone(),
                authzid: None,
            }),
            password_in_clear: protection.password_in_clear,
            timeouts: Timeouts { greeting: PATIENCE, command: PATIENCE, ..Timeouts::default() },
            ..Config::new(protocol, name)
        };
        Ok(Client::new(Arc::new(config), &nonce))
    }

    fn link(
        &self,
        socket: Socket,
        protection: &Protection,
        around: &mut Surroundings,
    ) -> Result<Link, Fault> {
        let place = &self.candidate.place;
        let host = place.host().filter(|_| protection.implicit || protection.policy != TlsPolicy::Never);
        let tls = match host {
            Some(host) => {
                let config = tls::config(&protection.trust).map_err(|error| faults::tls(error, place))?;
                Some(TlsClient { config, host: host.to_owned() })
            }
            None => None,
        };
        // The line is shown until the end of the conversation, and by the next one again.
        let dialogue = around.dialogue.clone().map(|say| Box::new(Dialogue::new(say)) as Box<dyn Observer>);
        Ok(Link::new(socket, tls, dialogue))
    }

    async fn converse(
        &mut self,
        link: &mut Link,
        client: &mut Client,
        around: &mut Surroundings,
    ) -> Result<(), Fault> {
        let place = &self.candidate.place;
        let content = &self.delivery.prepared.content;
        let mut body = Body { reader: content.reader(), progress: None };
        let mut ready = false;
        let mut result = None;
        while let Some(event) = self.event(link, client, ready, result.is_some()).await? {
            match event {
                Event::Ready => {
                    ready = true;
                    self.report.timings.ready_ms = Some(milliseconds(self.delivery.started.elapsed()));
                    self.note_server(client, around);
                    // An envelope that is not taken now is never taken. Nothing comes after this message.
                    let _ = client.send(self.envelope(client.capabilities()));
                    client.quit();
                }
                Event::Recipient { index, reply } => self.recipient(index, &reply),
                Event::Delivery { index, reply } => self.delivery(index, &reply),
                Event::WantBody => match body.next(content.len(), around.progress) {
                    Ok(Some(piece)) => client.body(piece),
                    Ok(None) => client.end_body(),
                    Err(error) => {
                        client.abandon();
                        result = Some(Err(Fault::end(Failure::new(
                            FailureKind::Io,
                            format!("cannot read the message: {error}"),
                        ))));
                    }
                },
                Event::Done(outcome) => {
                    body.progress = None;
                    result = Some(self.conclude(&outcome));
                }
                Event::Failed(error) => {
                    result.get_or_insert(Err(faults::session(&error, place, ready)));
                }
            }
        }
        result.unwrap_or_else(|| {
            let said = format!("{place}: the conversation ended before its time");
            Err(Fault { failure: Failure::new(FailureKind::Temporary, said), next: !ready })
        })
    }

    /// The next event. What happens to the connection once the message is decided does not matter any more.
    async fn event(
        &self,
        link: &mut Link,
        client: &mut Client,
        ready: bool,
        decided: bool,
    ) -> Result<Option<Event>, Fault> {
        match link.next_event(client).await {
            Ok(event) => Ok(event),
            Err(_) if decided => Ok(None),
            Err(error) => {
                let mut fault = faults::link(error, &self.candidate.place);
                fault.next &= !ready;
                Err(fault)
            }
        }
    }

    fn envelope(&self, server: &Capabilities) -> Envelope {
        let Delivery { prepared, dsn, .. } = self.delivery;
        let content = &prepared.content;
        let sender = Sender {
            size: Some(content.len()),
            body: if content.is_eight_bit() { BodyKind::EightBit } else { BodyKind::SevenBit },
            // Ready messages with names in UTF-8 travelled before there was SMTPUTF8, and still do without it.
            smtputf8: match content.header_utf8() {
                HeaderUtf8::Yes => true,
                HeaderUtf8::Perhaps => server.smtputf8,
                HeaderUtf8::No => false,
            },
            ret: dsn.ret,
            envid: dsn.envid.clone(),
            ..Sender::new(prepared.sender.clone())
        };
        Envelope {
            sender,
            recipients: prepared.recipients.iter().map(|address| dsn.recipient(address)).collect(),
        }
    }

    fn note_server(&mut self, client: &Client, around: &mut Surroundings) {
        let capabilities = client.capabilities();
        if self.delivery.dsn.is_wanted() && !capabilities.dsn {
            (around.note)("The server does not offer DSN: --notify, --ret and --envid are not heeded.");
        }
        let login = self.delivery.settings.login.as_ref().zip(client.mechanism());
        let login = login
            .map(|(login, mechanism)| LoginReport { user: login.user.clone(), mechanism: mechanism.name() });
        let extensions = extensions(capabilities);
        let server = self.server();
        server.extensions = extensions;
        server.login = login;
    }

    /// The answer to RCPT. Only a refusal decides anything: who has been accepted waits for the message.
    fn recipient(&mut self, index: usize, reply: &Reply) {
        if let Some(recipient) = self.report.recipients.get_mut(index) {
            match reply.class() {
                ReplyClass::Completion => recipient.reply = Some(reply.into()),
                _ => recipient.decide(reply),
            }
        }
    }

    /// LMTP: what became of the message for a recipient.
    fn delivery(&mut self, index: usize, reply: &Reply) {
        if let Some(recipient) = self.report.recipients.get_mut(index) {
            recipient.decide(reply);
        }
    }

    fn conclude(&mut self, outcome: &Outcome) -> Result<(), Fault> {
        if let Outcome::Accepted(reply) | Outcome::Refused { reply, .. } = outcome {
            self.report.reply = Some(reply.into());
            for recipient in &mut self.report.recipients {
                if recipient.status == RecipientStatus::Undecided {
                    recipient.decide(reply);
                }
            }
        }
        faults::outcome(outcome, &self.candidate.place).map_or(Ok(()), Err)
    }

    fn server(&mut self) -> &mut ServerReport {
        self.report.server.get_or_insert_with(ServerReport::default)
    }
}

/// The message as it is handed over.
struct Body {
    reader: Box<dyn Read + Send>,
    progress: Option<Progress>,
}

impl Body {
    fn next(&mut self, len: u64, show: bool) -> io::Result<Option<Bytes>> {
        let progress = self.progress.get_or_insert_with(|| Progress::new(len, show));
        let mut piece = Vec::with_capacity(PIECE);
        self.reader.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        progress.advance(piece.len() as u64);
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

/// The keywords of what is offered and known here.
fn extensions(server: &Capabilities) -> Vec<String> {
    let offered = [
        (server.pipelining, "PIPELINING"),
        (server.size, "SIZE"),
        (server.eight_bit_mime, "8BITMIME"),
        (server.smtputf8, "SMTPUTF8"),
        (server.chunking, "CHUNKING"),
        (server.binary_mime, "BINARYMIME"),
        (server.dsn, "DSN"),
        (server.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
        (server.starttls, "STARTTLS"),
        (!server.mechanisms.is_empty(), "AUTH"),
    ];
    offered.iter().filter(|(is_offered, _)| *is_offered).map(|(_, keyword)| (*keyword).to_owned()).collect()
}
