//! Telling an event by mail. The message is handed in by the transaction that takes the event from the journal: it goes once.

use std::fmt::Write as _;
use std::io::Read as _;

use bytes::Bytes;
use jiff::Zoned;
use packetboat_mail::queue::{Notify, RcptAsked};
use packetboat_mail::{Addressee, Refusal};
use packetboat_message::compose::Letter;
use packetboat_message::{Address, LocalPart, Mailbox};
use packetboat_store::{Op, Require};

use super::{Event, Failure, Kind, Means};
use crate::local;
use crate::session::random;

pub(super) async fn send(
    to: &[Address],
    event: &Event,
    means: &Means,
    (key, version): (&str, u64),
) -> Result<(), Failure> {
    let now = Zoned::now();
    let local = LocalPart::plain("postmaster").map_err(later)?;
    let from = Address::new(local, means.hostname.clone());
    let letter = Letter {
        from: Mailbox::new(Some("packetboat"), from),
        to: to.iter().map(|to| Mailbox::new(None, to.clone())).collect(),
        cc: vec![],
        reply_to: vec![],
        subject: Some(format!("{} {}", title(event.event), event.path)),
        date: now.clone(),
        message_id: format!("<{}@{}>", event.id, means.hostname.to_ascii()),
        in_reply_to: vec![],
        references: vec![],
        user_agent: None,
        // RFC 3834: nobody's programs answer it.
        fields: vec![("Auto-Submitted".to_owned(), "auto-generated".to_owned())],
        text: Some(text(event)),
        html: None,
        attachments: vec![],
        eight_bit: false,
        seed: random(),
    };
    let composed = letter.compose().map_err(later)?;
    let envelope = local::Envelope::of(None, "packetboat".to_owned(), composed.needs_utf8());
    let mut intake = local::begin(&means.office, &envelope).map_err(later)?;
    let never = RcptAsked { notify: Some(Notify::default()), original: None };
    for to in to {
        match intake.recipient(Addressee::Mailbox(to.clone()), never.clone()).await {
            Ok(_) => {}
            Err(refusal) => return Err(Failure::Later(format!("{to}: {refusal}"))),
        }
    }
    let key = key.to_owned();
    intake.together_with(
        vec![Require::KeyVersion { key: key.clone(), version: Some(version) }],
        vec![Op::Remove { key: key.clone() }],
    );
    intake.open_body();
    let mut message = Vec::new();
    composed.reader().read_to_end(&mut message).map_err(later)?;
    intake.write(Bytes::from(message)).await.map_err(later)?;
    let committed: Result<_, Refusal> = intake.commit().await;
    match committed {
        Ok(_) => Ok(()),
        // Whether by somebody else or in a moment of which nobody heard: the row goes with the message.
        Err(_) if matches!(means.store.get(&key), Ok(None)) => Err(Failure::Told),
        Err(refusal) => Err(later(refusal)),
    }
}

fn later(error: impl std::fmt::Display) -> Failure {
    Failure::Later(error.to_string())
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Upload => "Uploaded:",
        Kind::Download => "Downloaded:",
        Kind::Delete => "Deleted:",
        Kind::Rename => "Renamed:",
        Kind::Mkdir => "New directory:",
        Kind::Rmdir => "Directory removed:",
    }
}

fn text(event: &Event) -> String {
    let mut text = format!("{} {}\r\n", title(event.event), event.path);
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    };
    line("To", event.to.clone());
    line("Octets", event.octets.map(|octets| octets.to_string()));
    line("Account", Some(event.said.account.clone()));
    line("Password given", event.said.anonymous.clone());
    line("Cost centre", event.said.cost_centre.clone());
    line("From", Some(event.said.address.clone()));
    line("Under TLS", Some(if event.said.tls { "yes" } else { "no" }.to_owned()));
    line("At", Some(event.time.to_string()));
    line("Event", Some(event.id.clone()));
    text
}
