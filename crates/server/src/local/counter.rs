//! The way in that is open.

use std::io::{self, Read};

use packetboat_message::Address;

use super::drop::{DropFolder, Leaving};
use super::{Envelope, Rcpt};
use crate::admin::{AdminError, ErrorKind, HandIn, Office};
use crate::settings::Settings;

/// Octets handed on at a time.
const PIECE: usize = 64 << 10;

/// Where a program of this machine hands in mail.
#[derive(Debug)]
pub struct Counter(Way);

#[derive(Debug)]
enum Way {
    /// To the server, or into the store.
    Office(Box<Office>),
    /// Where the server will look.
    Drop(DropFolder),
}

/// A message that was taken.
#[derive(Debug)]
pub struct HandedIn {
    /// The name under which the log has it; `None` if the server has not seen it yet.
    pub tag: Option<String>,
    /// Who will not get it.
    pub refused: Vec<Refused>,
}

/// A recipient who will not get a message.
#[derive(Debug)]
pub struct Refused {
    /// Who.
    pub address: Address,
    /// Why.
    pub error: AdminError,
}

impl Counter {
    /// Finds the way in. Call it before there are threads, as [`Office::open`].
    ///
    /// # Errors
    /// When there is none: no server was ever set up here, or it takes no mail from this user.
    pub async fn open(settings: &Settings) -> Result<Counter, AdminError> {
        let data = &settings.general.data;
        if !data.exists() {
            let message = format!("{}: there is no server set up here", data.display());
            return Err(AdminError::new(ErrorKind::Config, message));
        }
        let folder = DropFolder::of(data);
        // Without settings it is not known by which name and which ways this server sends; it knows itself.
        if settings.general.hostname.is_empty() && !is_running(settings) && folder.is_open() {
            return Ok(Counter(Way::Drop(folder)));
        }
        match Office::open(settings).await {
            Ok(office) => Ok(Counter(Way::Office(Box::new(office)))),
            Err(error) if folder.is_open() => {
                tracing::debug!(%error, "the drop folder it is");
                Ok(Counter(Way::Drop(folder)))
            }
            Err(error) => Err(error),
        }
    }

    /// The same for a long conversation: it must not keep the store from a server that starts meanwhile.
    ///
    /// # Errors
    /// As for [`Counter::open`].
    pub async fn open_for_long(settings: &Settings) -> Result<Counter, AdminError> {
        let folder = DropFolder::of(&settings.general.data);
        if !is_running(settings) && folder.is_open() {
            return Ok(Counter(Way::Drop(folder)));
        }
        Counter::open(settings).await
    }

    /// Begins to hand in a message.
    ///
    /// # Errors
    /// When its sender is refused, or the way in has closed.
    pub async fn begin(&self, envelope: Envelope) -> Result<Handing, AdminError> {
        Ok(Handing(match &self.0 {
            Way::Office(office) => To::Office(office.hand_in(envelope).await?),
            Way::Drop(folder) => To::Drop(Box::new(Left {
                folder: folder.clone(),
                envelope,
                recipients: Vec::new(),
                leaving: None,
            })),
        }))
    }

    /// Hands in a message. When this returns it is on disk.
    ///
    /// # Errors
    /// When nobody will get it.
    pub async fn hand_in(
        &self,
        envelope: Envelope,
        recipients: Vec<Rcpt>,
        mut message: impl Read,
    ) -> Result<HandedIn, AdminError> {
        let mut handing = self.begin(envelope).await?;
        let mut refused = Vec::new();
        let named = recipients.len();
        for recipient in recipients {
            let address = recipient.address.clone();
            match handing.recipient(recipient).await {
                Err(error) if error.kind == ErrorKind::Io => return Err(error),
                Err(error) => refused.push(Refused { address, error }),
                Ok(()) => {}
            }
        }
        if refused.len() == named {
            return Err(nobody(refused));
        }
        let mut piece = vec![0; PIECE];
        loop {
            let read = match message.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(AdminError::new(ErrorKind::Io, error.to_string())),
            };
            handing.octets(piece.get(..read).unwrap_or_default()).await?;
        }
        let tag = handing.finish().await?;
        Ok(HandedIn { tag, refused })
    }

    /// Gives back what was opened.
    pub async fn close(self) {
        if let Way::Office(office) = self.0 {
            office.close().await;
        }
    }
}

/// Whether a server answers.
fn is_running(settings: &Settings) -> bool {
    std::os::unix::net::UnixStream::connect(settings.admin_socket()).is_ok()
}

/// A message being handed in; forgotten, it leaves nothing behind.
#[derive(Debug)]
pub struct Handing(To);

#[derive(Debug)]
enum To {
    Office(HandIn),
    Drop(Box<Left>),
}

/// A message for the drop folder.
#[derive(Debug)]
struct Left {
    folder: DropFolder,
    envelope: Envelope,
    recipients: Vec<Rcpt>,
    leaving: Option<Leaving>,
}

impl Handing {
    /// Names a recipient. What is refused is no reason to stop, as long as another was taken. Where no server answers yet,
    /// all are taken, and the sender hears later of those that are not.
    ///
    /// # Errors
    /// When the recipient is refused, or with [`ErrorKind::Io`] when the connection is lost.
    pub async fn recipient(&mut self, recipient: Rcpt) -> Result<(), AdminError> {
        match &mut self.0 {
            To::Office(hand_in) => hand_in.recipient(recipient).await,
            To::Drop(left) => {
                left.recipients.push(recipient);
                Ok(())
            }
        }
    }

    /// The next octets of the message.
    ///
    /// # Errors
    /// When they cannot be taken.
    pub async fn octets(&mut self, octets: &[u8]) -> Result<(), AdminError> {
        match &mut self.0 {
            To::Office(hand_in) => hand_in.octets(octets).await,
            To::Drop(left) => left.leaving()?.write(octets),
        }
    }

    /// The message is complete. When this returns it is on disk; gives the name under which the log has it, if the server
    /// has seen it.
    ///
    /// # Errors
    /// When it is not taken.
    pub async fn finish(self) -> Result<Option<String>, AdminError> {
        match self.0 {
            To::Office(hand_in) => hand_in.finish().await.map(Some),
            To::Drop(mut left) => {
                left.leaving()?;
                left.leaving.take().map_or(Ok(()), Leaving::finish).map(|()| None)
            }
        }
    }
}

impl Left {
    fn leaving(&mut self) -> Result<&mut Leaving, AdminError> {
        match &mut self.leaving {
            Some(leaving) => Ok(leaving),
            none => Ok(none.insert(self.folder.leave(&self.envelope, &self.recipients)?)),
        }
    }
}

/// The verdict when nobody gets a message: what may change later is worth another try, whatever is wrong with the others.
fn nobody(refused: Vec<Refused>) -> AdminError {
    let mut refused = refused.into_iter();
    let Some(first) = refused.next() else {
        return AdminError::new(ErrorKind::Usage, "nobody is named to get the message");
    };
    let told = refused.find(|refused| refused.error.kind == ErrorKind::Temporary).unwrap_or(first);
    AdminError::new(told.error.kind, format!("{}: {}", told.address, told.error))
}
