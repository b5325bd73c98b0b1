//! `packetboat send`: writes a message, or takes a ready one, and hands it to a mail server.
//!
//! [`send`] does it all and tells in a [`Report`] what became of the message. What was typed is a [`Request`]; the
//! terminal, standard input and the environment are handed in as [`Surroundings`].

mod deliver;
mod dialogue;
mod dsn;
mod failure;
mod faults;
pub(crate) mod head;
mod plan;
mod prepare;
mod progress;
mod raw;
mod report;
mod request;
mod settings;
pub(crate) mod spool;
#[cfg(test)]
mod testing;

pub use failure::{Failure, FailureKind, KINDS};
pub use report::{
    Attempt, LoginReport, RecipientReport, RecipientStatus, ReplyReport, Report, ServerReport, Timings,
    TlsReport,
};
pub use request::{
    AskPassword, PASSWORD_VARIABLE, PasswordFrom, Request, Say, Surroundings, TextFrom, TlsMode, config_dir,
};

use std::io::{self, Write};
use std::time::Instant;

use jiff::Zoned;

use self::deliver::Delivery;
use self::dsn::Dsn;
use self::settings::Settings;

/// Octets copied at once.
const COPY: usize = 64 * 1024;

/// Does what is asked for, and tells what became of it.
pub fn send(request: &Request, around: &mut Surroundings) -> Report {
    let started = Instant::now();
    let mut report = Report::new();
    let result = attempt(request, around, started, &mut report);
    report.conclude(result);
    report.timings.total_ms = report::milliseconds(started.elapsed());
    report
}

/// Writes the message to `out` instead of sending it.
pub fn print(request: &Request, around: &mut Surroundings, out: &mut dyn Write) -> Result<(), Failure> {
    let prepared = prepare::prepare(request, None, Zoned::now(), around)?;
    let mut reader = io::BufReader::with_capacity(COPY, prepared.content.reader());
    match io::copy(&mut reader, out).and_then(|_| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| Failure::new(FailureKind::Io, error)),
    }
}

fn attempt(
    request: &Request,
    around: &mut Surroundings,
    started: Instant,
    report: &mut Report,
) -> Result<(), Failure> {
    let settings = Settings::resolve(request, around)?;
    let dsn = Dsn::parse(request)?;
    let prepared = prepare::prepare(request, settings.from.as_deref(), Zoned::now(), around)?;
    report.begin(&prepared, started);
    let delivery = Delivery { settings: &settings, prepared: &prepared, dsn: &dsn, started };
    deliver::deliver(&delivery, around, report)
}
