//! Transfers: their commands, their beginning, their end, and ABOR and STAT in between.

use super::{
    Asked, Connection, Event, Running, Server, Transfer, TransferFailure, Transferred, What, refusal,
};
use crate::command::{Command, Site};
use crate::data::{Mode, Restart, Structure};
use crate::reply::{self, Information};

/// Commands that are answered while a transfer runs: those that neither change nor need what it uses.
pub(super) fn may_come_meanwhile(command: &Command) -> bool {
    matches!(
        command,
        Command::Abor
            | Command::Stat(None)
            | Command::Noop
            | Command::Quit
            | Command::Help(_)
            | Command::Feat
            | Command::Syst
            | Command::Site(Site::Who | Site::Help(_))
    )
}

impl Server {
    pub(super) fn transfer_command(&mut self, command: Command) {
        let what = match command {
            Command::Abor => return self.abort(),
            Command::Stat(_) if self.transfer.is_some() => return self.ask(Asked::Progress, Event::Progress),
            Command::Stat(_) => {
                let status = self.status();
                return self.say(&reply::lines(Information::System, status));
            }
            Command::Rest(marker) => return self.restart(marker),
            Command::Rang(first, last) => return self.range(first, last),
            Command::Allo { bytes, .. } => {
                let size = self.settings.representation.ty.byte_size().octets() as u64;
                let octets = bytes.saturating_mul(size);
                self.settings.announced = Some(octets);
                return self.ask(Asked::Request(command), Event::Request(super::Request::Allocate(octets)));
            }
            Command::Retr(path) => What::Retrieve(path),
            Command::Stor(path) => What::Store(path),
            Command::Stou(path) => What::StoreUnique(path),
            Command::Appe(path) => What::Append(path),
            Command::List(path) => What::List(path),
            Command::Nlst(path) => What::Names(path),
            Command::Mlsd(path) => What::Facts(path),
            _ => return self.say(&reply::not_implemented()),
        };
        if !self.settings.protected && (self.config.require_protection || self.settings.needs_protection) {
            self.forget_announced();
            return self.say(&reply::needs_protection());
        }
        if self.settings.range.is_some()
            && matches!(what, What::Store(_) | What::StoreUnique(_) | What::Append(_))
        {
            // Whoever sends a part would find it in place of the whole.
            self.forget_announced();
            return self.say(&reply::invalid_argument("RANG is for RETR and HASH; REST is for STOR."));
        }
        let restart = match self.settings.restart.take() {
            None => Restart::None,
            // In stream mode the marker is a number of octets (RFC 3659 section 5.1), else one that we have sent.
            Some(marker) => match (marker.parse(), self.settings.representation.mode) {
                (Ok(0), _) => Restart::None,
                (Ok(octets), Mode::Stream) => Restart::Stream(octets),
                (Ok(place), _) => Restart::Marker(place),
                (Err(_), _) => return self.say(&reply::invalid_restart()),
            },
        };
        let settings = &mut self.settings;
        let mut representation = settings.representation;
        if matches!(what, What::List(_) | What::Names(_) | What::Facts(_)) {
            // Listings are text (RFC 1123 section 4.1.2.7), and have no records or pages.
            if !matches!(representation.ty, crate::data::Type::Ebcdic(_)) {
                representation.ty = crate::data::Type::default();
            }
            representation.structure = Structure::File;
        }
        let transfer = Transfer {
            what,
            representation,
            deflate: settings.deflate,
            options: settings.options.clone(),
            restart,
            range: settings.range.take(),
            announced: settings.announced.take(),
            connection: if settings.open { Connection::Open } else { settings.connection },
            protected: settings.protected,
            umask: settings.umask,
        };
        self.ask(Asked::Transfer, Event::Transfer(Box::new(transfer)));
    }

    fn restart(&mut self, marker: String) {
        if marker.is_empty() || !marker.bytes().all(|octet| octet.is_ascii_graphic()) {
            return self.say(&reply::invalid_argument("A restart marker is a word of printable characters."));
        }
        if marker.parse::<u64>().is_err() {
            return self.say(&reply::invalid_restart());
        }
        let said = format!("Restarting at {marker}; send STOR, APPE or RETR.");
        self.settings.restart = Some(marker);
        self.say(&reply::go_on(said));
    }

    fn range(&mut self, first: u64, last: u64) {
        // "RANG 1 0" takes a range back.
        if first > last && (first, last) != (1, 0) {
            return self.say(&reply::invalid_argument("The first octet comes before the last one."));
        }
        self.settings.range = (first <= last).then_some((first, last));
        let said = match self.settings.range {
            Some((first, last)) => format!("Restarting at {first}, ending at {last}."),
            None => "No range.".to_owned(),
        };
        self.say(&reply::go_on(said));
    }

    pub(super) fn forget_announced(&mut self) {
        self.settings.restart = None;
        self.settings.range = None;
        self.settings.announced = None;
    }

    fn abort(&mut self) {
        match &mut self.transfer {
            Some(transfer) => {
                transfer.aborting = true;
                self.event = Some(Event::Abort);
            }
            None => {
                // A data connection that is open is closed by it (RFC 959 section 4.1.3).
                if std::mem::take(&mut self.settings.open) {
                    self.event = Some(Event::CloseData);
                    return self.say(&reply::aborted());
                }
                self.say(&reply::nothing_to_abort());
            }
        }
    }

    /// The transfer is possible and begins. `connected`: the data connection is there already. `about` is what the person
    /// at the other side reads; for STOU, RFC 1123 section 4.1.2.9 says what it has to be: `FILE: name`.
    pub fn transfer_begins(&mut self, inbound: bool, connected: bool, about: String) {
        if !matches!(self.asked, Some(Asked::Transfer)) {
            return;
        }
        self.asked = None;
        // An address serves for one transfer in stream mode: then the next one needs another, or the default.
        if self.settings.connection != Connection::Default {
            self.settings.connection = Connection::Default;
        }
        self.say(&reply::transfer_begins(connected, about.clone()));
        self.transfer = Some(Running { inbound, about, aborting: false });
    }

    /// The receiver has put a restart marker on disk (RFC 959 section 3.5).
    pub fn marker(&mut self, theirs: &str, ours: u64) {
        if self.transfer.is_some() {
            self.say(&reply::marker(theirs, ours));
        }
    }

    /// The transfer is over. What was stored is on disk.
    pub fn transfer_ended(&mut self, outcome: Result<Transferred, TransferFailure>) {
        let Some(running) = self.transfer.take() else { return };
        self.last_activity = None;
        self.settings.open = matches!(&outcome, Ok(transferred) if transferred.stays_open);
        if self.phase == super::Phase::Closed {
            return;
        }
        match outcome {
            Ok(Transferred { stays_open, note, .. }) => {
                let about = note.unwrap_or_else(|| "Transfer complete.".to_owned());
                self.say(&reply::transfer_complete(stays_open, about));
            }
            Err(failure) => {
                let answer = refusal::of_ended(&failure);
                self.say(&answer);
            }
        }
        // ABOR has a reply of its own, after that of the transfer.
        if running.aborting {
            self.say(&reply::aborted());
        }
    }

    /// What STAT says of the session.
    pub(super) fn status(&self) -> Vec<String> {
        let settings = &self.settings;
        let representation = settings.representation;
        let mode = if settings.deflate { "Z".to_owned() } else { representation.mode.to_string() };
        let mut lines = vec!["Status of this session:".to_owned()];
        if let Some(running) = &self.transfer {
            let way = if running.inbound { "Receiving" } else { "Sending" };
            lines.push(format!("{way}: {}", running.about));
        }
        lines.push(if self.is_logged_in() { "Logged in.".to_owned() } else { "Not logged in.".to_owned() });
        lines.push(format!("TYPE {}, STRU {}, MODE {mode}.", representation.ty, representation.structure));
        lines.push(match (&self.tls, settings.protected) {
            (None, _) => "Control connection in the clear.".to_owned(),
            (Some(tls), true) => {
                format!("Control connection by {}; data connections protected.", tls.version)
            }
            (Some(tls), false) => {
                format!("Control connection by {}; data connections in the clear.", tls.version)
            }
        });
        lines.push("End of status.".to_owned());
        lines
    }
}
