//! The server takes what lies in the drop folder: at its start, and at once when something is put there.

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use jiff::Zoned;
use nix::unistd::{Uid, User};
use packetboat_mail::{Addressee, PostOffice, Refusal};
use packetboat_message::crlf::CrlfLines;
use packetboat_message::dsn::{self, Content, Kind, Original, Report, ReportRecipient};
use packetboat_message::{Address, Domain};
use tokio::task::{JoinSet, spawn_blocking};

use super::drop::{DropFolder, Found, Look};
use super::{Envelope, Names, Rcpt, begin, log_accepted};
use crate::session::random;
use crate::settings::Settings;
use crate::shutdown::{Phase, ShutdownSignal};

/// How often it is asked whether the folder has changed.
const POLL: Duration = Duration::from_millis(250);
/// How often it is looked at without a change: what could not be taken is tried again then.
const RETRY: Duration = Duration::from_secs(30);
/// Two changes may show the same time if they are no longer apart.
const MOMENT: Duration = Duration::from_secs(1);
/// Messages taken at a time.
const AT_ONCE: usize = 16;
/// Octets read at a time.
const PIECE: usize = 64 << 10;

/// Takes mail from the folder.
#[derive(Debug)]
pub struct Pickup {
    office: PostOffice,
    folder: Arc<DropFolder>,
    hostname: Domain,
    postmaster: Address,
}

/// What became of one look at the folder.
struct Round {
    /// Something was taken.
    taken: bool,
    /// All has been looked at.
    ended: bool,
}

impl Pickup {
    /// Opens the folder to everybody.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(settings: &Settings, office: PostOffice, domain: Option<String>) -> io::Result<Pickup> {
        let hostname: Domain = settings.general.hostname.parse().map_err(io::Error::other)?;
        let folder = DropFolder::of(&settings.general.data);
        folder.prepare()?;
        let domain = domain.unwrap_or_else(|| hostname.to_string());
        let postmaster = format!("postmaster@{domain}").parse().map_err(io::Error::other)?;
        Names { hostname: hostname.to_string(), domain }.publish(&settings.general.data)?;
        Ok(Pickup { office, folder: Arc::new(folder), hostname, postmaster })
    }

    /// Takes mail until the server stops.
    pub async fn run(self, shutdown: ShutdownSignal) {
        let this = Arc::new(self);
        let mut looked_at = None;
        let mut again_at = Instant::now();
        // When the look that is under way began, how the folder was changed last, and whether anything was taken since.
        let mut begun = None;
        loop {
            let changed_at = this.folder.changed_at();
            if begun.is_some() || changed_at != looked_at || Instant::now() >= again_at {
                let (before, taken_before) = begun.take().unwrap_or((changed_at, false));
                let Round { taken, ended } = this.round(&shutdown).await;
                let taken = taken || taken_before;
                if ended {
                    // A change within the same moment would show the same time: then it is looked at once more.
                    let is_past = before.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > MOMENT);
                    looked_at = before.filter(|_| is_past && !taken);
                    again_at = Instant::now() + RETRY;
                } else {
                    begun = Some((before, taken));
                }
            }
            tokio::select! {
                () = shutdown.clone().reached(Phase::Stopping) => return,
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Takes what is there, or much of it.
    async fn round(self: &Arc<Self>, shutdown: &ShutdownSignal) -> Round {
        let folder = Arc::clone(&self.folder);
        let Look { found, ended } = match spawn_blocking(move || folder.look(SystemTime::now())).await {
            Ok(Ok(look)) => look,
            Ok(Err(error)) => {
                tracing::error!(%error, "the drop folder cannot be read");
                return Round { taken: false, ended: true };
            }
            Err(_) => return Round { taken: false, ended: true },
        };
        let mut taken = 0;
        let mut tasks = JoinSet::new();
        for path in found {
            if tasks.len() >= AT_ONCE {
                taken += usize::from(tasks.join_next().await.is_some_and(|taken| taken.unwrap_or(false)));
            }
            if shutdown.phase() >= Phase::Stopping {
                break;
            }
            let this = Arc::clone(self);
            tasks.spawn(async move { this.one(path).await });
        }
        while let Some(done) = tasks.join_next().await {
            taken += usize::from(done.unwrap_or(false));
        }
        Round { taken: taken > 0, ended }
    }

    /// Takes a message; whether it is gone from the folder.
    ///
    /// It is removed after it was delivered. Should the machine fail between the two, it is delivered again under the same
    /// name, which delivers it once.
    async fn one(&self, path: PathBuf) -> bool {
        let folder = Arc::clone(&self.folder);
        let opening = path.clone();
        let found = match spawn_blocking(move || folder.open(&opening)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return false,
            Ok(Err(error)) => {
                tracing::warn!(%error, file = %path.display(), "what is in the drop folder is no message");
                return self.folder.put_aside(&path).is_ok();
            }
            Err(_) => return false,
        };
        match self.take(found, DropFolder::name_of(&path)).await {
            Ok(()) => self.folder.remove(&path).is_ok(),
            Err(refusal) => {
                tracing::warn!(%refusal, "a message stays in the drop folder for now");
                false
            }
        }
    }

    async fn take(&self, found: Found, once: Option<u128>) -> Result<(), Refusal> {
        let Found { mut envelope, recipients, mut message, owner } = found;
        // Whoever owns the file sent it, whatever is written in it.
        let name = User::from_uid(Uid::from_raw(owner)).ok().flatten().map(|user| user.name);
        envelope.user = name.unwrap_or_else(|| owner.to_string());
        let mut intake = begin(&self.office, &envelope)?;
        once.into_iter().for_each(|name| intake.once(name));
        // The notice about it has a name of its own.
        let about = once.map(|name| name ^ 1);
        let mut refused: Vec<(Rcpt, Refusal)> = Vec::new();
        let named = recipients.len();
        for recipient in recipients {
            let to = Addressee::Mailbox(recipient.address.clone());
            match intake.recipient(to, recipient.asked.clone()).await {
                Ok(_) => {}
                Err(refusal) if refusal.is_temporary() => return Err(refusal),
                Err(refusal) => refused.push((recipient, refusal)),
            }
        }
        intake.open_body();
        let mut lines = CrlfLines::default();
        let mut head = Vec::new();
        loop {
            let (reader, piece) = spawn_blocking(move || {
                let mut piece = Vec::with_capacity(PIECE);
                let read = message.by_ref().take(PIECE as u64).read_to_end(&mut piece);
                (message, read.map(|_| piece))
            })
            .await
            .map_err(|_| Refusal::Temporary)?;
            message = reader;
            let piece = piece.map_err(|error| {
                tracing::error!(%error, "a file in the drop folder cannot be read");
                Refusal::Temporary
            })?;
            let mut text = Vec::with_capacity(piece.len());
            match piece.is_empty() {
                true => lines.finish(&mut text),
                false => lines.push(&piece, &mut text),
            }
            let room = dsn::HEADER_MAX.saturating_sub(head.len());
            head.extend_from_slice(text.get(..room).unwrap_or(&text));
            if refused.len() < named {
                match intake.write(Bytes::from(text)).await {
                    Err(refusal) if refusal.is_temporary() => return Err(refusal),
                    Err(refusal) => return self.bounce_all(&envelope, refused, &refusal, &head, about).await,
                    Ok(()) => {}
                }
            }
            if piece.is_empty() {
                break;
            }
        }
        if refused.len() < named {
            match intake.commit().await {
                Ok(accepted) => log_accepted(&envelope, &accepted),
                Err(refusal) if refusal.is_temporary() => return Err(refusal),
                Err(refusal) => return self.bounce_all(&envelope, refused, &refusal, &head, about).await,
            }
        }
        self.bounce(&envelope, &refused, &head, about).await
    }

    /// Nobody gets the message.
    async fn bounce_all(
        &self,
        envelope: &Envelope,
        mut refused: Vec<(Rcpt, Refusal)>,
        why: &Refusal,
        head: &[u8],
        name: Option<u128>,
    ) -> Result<(), Refusal> {
        let address = envelope.sender.clone().unwrap_or_else(|| self.postmaster.clone());
        if refused.is_empty() {
            refused.push((Rcpt::new(address, None), why.clone()));
        }
        self.bounce(envelope, &refused, head, name).await
    }

    /// Tells the sender who does not get the message.
    async fn bounce(
        &self,
        envelope: &Envelope,
        refused: &[(Rcpt, Refusal)],
        head: &[u8],
        name: Option<u128>,
    ) -> Result<(), Refusal> {
        for (rcpt, refusal) in refused {
            let (user, recipient, reason) = (&envelope.user, rcpt.address.to_string(), refusal.to_string());
            tracing::info!(user, recipient, reason, "refused");
        }
        let told: Vec<&(Rcpt, Refusal)> =
            refused.iter().filter(|(rcpt, _)| rcpt.asked.wants_failure()).collect();
        let Some(sender) = envelope.sender.as_ref().filter(|_| !told.is_empty()) else { return Ok(()) };
        let explanations: Vec<String> =
            told.iter().map(|(_, refusal)| sentence(&refusal.to_string())).collect();
        let recipients: Vec<ReportRecipient<'_>> = told
            .iter()
            .zip(&explanations)
            .map(|((rcpt, refusal), explanation)| ReportRecipient {
                original: None,
                address: &rcpt.address,
                action: Kind::Failed,
                status: refusal.status(),
                remote: None,
                diagnostic: None,
                explanation,
                last_attempt_at: None,
                will_retry_until: None,
                log_id: None,
            })
            .collect();
        let end = head.windows(4).position(|four| four == b"\r\n\r\n").map_or(head.len(), |at| at + 4);
        let now = Zoned::now();
        let report = Report {
            kind: Kind::Failed,
            reporting_mta: &self.hostname,
            from: &self.postmaster,
            to: sender,
            envid: envelope.envid.as_deref(),
            arrived_at: Some(now.timestamp()),
            received_from: None,
            seed: random(),
            now: &now,
            utf8: envelope.smtputf8,
            recipients: &recipients,
            original: Original {
                header: head.get(..end).unwrap_or(head),
                full: false,
                content: Content::SevenBit,
                utf8: envelope.smtputf8,
            },
        };
        let notice = Envelope {
            sender: None,
            user: envelope.user.clone(),
            body: if report.is_eight_bit() {
                packetboat_mail::queue::BodyKind::EightBit
            } else {
                packetboat_mail::queue::BodyKind::SevenBit
            },
            smtputf8: report.needs_utf8(),
            ret: None,
            envid: None,
        };
        let mut intake = begin(&self.office, &notice)?;
        name.into_iter().for_each(|name| intake.once(name));
        let never = packetboat_mail::queue::Notify::default();
        let asked = packetboat_mail::queue::RcptAsked { notify: Some(never), original: None };
        match intake.recipient(Addressee::Mailbox(sender.clone()), asked.clone()).await {
            Ok(_) => {}
            Err(refusal) if refusal.is_temporary() => return Err(refusal),
            // A user without a mailbox: somebody has to hear of it.
            Err(refusal) => {
                tracing::warn!(%refusal, %sender, "whoever sent a message cannot be told that it was refused");
                match intake.recipient(Addressee::Postmaster, asked).await {
                    Err(refusal) if refusal.is_temporary() => return Err(refusal),
                    Err(_) => return Ok(()),
                    Ok(_) => {}
                }
            }
        }
        intake.open_body();
        intake.write(Bytes::from([report.before(), report.after()].concat())).await?;
        match intake.commit().await {
            Err(refusal) if refusal.is_temporary() => Err(refusal),
            Err(_) | Ok(_) => Ok(()),
        }
    }
}

/// A refusal as a sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", chars.as_str())
}
