//! SMTP on standard input and output (`sendmail -bs`), as mail programs speak it that know no network. What comes is
//! handed in as any mail from this machine.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use packetboat_message::Address;
use packetboat_smtp::envelope::ForwardPath;
use packetboat_smtp::reply;
use packetboat_smtp::server::{Config, Event, Role, Server};
use packetboat_wire::{Reply, Session as _, Step};

use super::{Counter, Envelope, Handing, Names, Rcpt};
use crate::admin::{AdminError, ErrorKind};
use crate::session::smtp::asked::{asked_for, body_kind, ret};
use crate::settings::Settings;

/// Octets read at a time.
const PIECE: usize = 64 << 10;

/// Speaks until the other side has said QUIT, or is gone.
///
/// # Errors
/// When input or output fail.
pub async fn serve(
    settings: &Settings,
    counter: &Counter,
    user: &str,
    mut input: impl Read,
    mut output: impl Write,
) -> io::Result<()> {
    let names = Names::of(settings);
    let mut config = Config::new(Role::Exchange, &names.hostname);
    config.dsn = true;
    config.limits.message_size = settings.limits.message_size.0;
    config.limits.recipients = settings.limits.recipients;
    let mut session = Server::new(Arc::new(config));
    let mut teller =
        Teller { counter, user, postmaster: format!("postmaster@{}", names.domain), message: None };
    let mut piece = vec![0; PIECE];
    let mut ended = false;
    loop {
        match session.next(Instant::now()) {
            Step::Send(octets) => output.write_all(&octets)?,
            Step::Event(event) => teller.handle(&mut session, event).await,
            Step::Wait { .. } if ended => return Ok(()),
            Step::Wait { .. } => {
                output.flush()?;
                match input.read(&mut piece) {
                    Ok(0) => {
                        session.end_of_input();
                        ended = true;
                    }
                    Ok(read) => session.receive(piece.get(..read).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Step::StartTls | Step::Close => {
                output.flush()?;
                return Ok(());
            }
        }
    }
}

/// Answers the session.
struct Teller<'a> {
    counter: &'a Counter,
    user: &'a str,
    postmaster: String,
    message: Option<Message>,
}

struct Message {
    handing: Handing,
    failed: Option<AdminError>,
}

impl Teller<'_> {
    async fn handle(&mut self, session: &mut Server, event: Event) {
        match event {
            Event::Sender(sender) => {
                let envelope = Envelope {
                    sender: sender.path,
                    user: self.user.to_owned(),
                    body: body_kind(sender.body),
                    smtputf8: sender.smtputf8,
                    ret: sender.ret.map(ret),
                    envid: sender.envid,
                };
                match self.counter.begin(envelope).await {
                    Ok(handing) => {
                        self.message = Some(Message { handing, failed: None });
                        session.accept();
                    }
                    Err(error) => session.refuse(answer(&error)),
                }
            }
            Event::Recipient(mut recipient) => {
                let asked = asked_for(&mut recipient);
                let address = match recipient.path {
                    ForwardPath::Mailbox(address) => Some(address),
                    ForwardPath::Postmaster => self.postmaster.parse::<Address>().ok(),
                };
                let (Some(message), Some(address)) = (&mut self.message, address) else {
                    return session.refuse(reply::local_error());
                };
                match message.handing.recipient(Rcpt { address, asked }).await {
                    Ok(()) => session.accept(),
                    Err(error) => session.refuse(answer(&error)),
                }
            }
            Event::BodyStart(_) => session.accept(),
            Event::BodyChunk(chunk) => {
                if let Some(message) = self.message.as_mut().filter(|message| message.failed.is_none()) {
                    message.failed = message.handing.octets(&chunk).await.err();
                }
            }
            Event::BodyEnd { .. } => {
                let outcome = match self.message.take() {
                    Some(Message { failed: Some(error), .. }) => Err(error),
                    Some(Message { handing, failed: None }) => handing.finish().await,
                    None => return session.refuse(reply::local_error()),
                };
                match outcome {
                    Ok(tag) => {
                        let tag = tag.unwrap_or_else(|| "left for the server".to_owned());
                        session.accept_with(reply::message_accepted(format!("OK {tag}")));
                    }
                    Err(error) => session.refuse(answer(&error)),
                }
            }
            Event::Aborted(_) => self.message = None,
            Event::Verify(_) | Event::Expand(_) => session.accept(),
            Event::AuthStart(_)
            | Event::Auth(_)
            | Event::Authenticated(_)
            | Event::Etrn(_)
            | Event::Turn(_) => {
                session.refuse(reply::local_error());
            }
            Event::Hello(_) | Event::AuthFailed(_) | Event::Turned => {}
        }
    }
}

fn answer(error: &AdminError) -> Reply {
    match error.kind {
        ErrorKind::NoUser => reply::mailbox_unavailable(),
        ErrorKind::Temporary | ErrorKind::Io => reply::local_error(),
        _ => reply::refused_by_policy(error.message.clone()),
    }
}
