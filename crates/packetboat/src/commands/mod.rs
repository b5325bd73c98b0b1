//! One file per command.

pub(crate) mod account;
mod account_import;
pub(crate) mod alias;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod control;
pub(crate) mod demo;
pub(crate) mod domain;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod init;
mod manage;
pub(crate) mod queue;
pub(crate) mod send;
pub(crate) mod sendmail;
pub(crate) mod serve;
pub(crate) mod trace;

use std::fmt::Display;
use std::process::ExitCode;

/// Exit codes, by the numbers of `sysexits.h` that mail programs have always used.
pub(crate) mod sysexits {
    /// The command line is wrong.
    pub(crate) const USAGE: u8 = 64;
    /// Something needed is not there or does not work.
    pub(crate) const UNAVAILABLE: u8 = 69;
    /// A file cannot be written.
    pub(crate) const CANNOT_CREATE: u8 = 73;
    /// Reading or writing went wrong.
    pub(crate) const IO: u8 = 74;
    /// The settings are wrong.
    pub(crate) const CONFIG: u8 = 78;
}

/// Says what went wrong and gives the exit code.
pub(crate) fn fail(code: u8, error: &dyn Display) -> ExitCode {
    complain(error);
    ExitCode::from(code)
}

/// Says what went wrong, on standard error.
#[expect(clippy::print_stderr, reason = "this is the program people see")]
pub(crate) fn complain(error: &dyn Display) {
    eprintln!("packetboat: {error}");
}
