//! Replies of FTP, by their meaning (RFC 959 section 4.2 and 5.4, RFC 2228, 2389, 2428, 3659, 4217).

use std::borrow::Cow;

use packetboat_wire::Reply;

use crate::command::PathName;

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident = $code:literal $text:literal;)*) => {
        $($(#[$doc])* pub fn $name() -> Reply { Reply::new($code, $text) })*
    };
}

replies! {
    /// 200 for commands that need no words.
    ok = 200 "OK.";
    /// 200 to NOOP.
    noop = 200 "Still here.";
    /// 202
    superfluous = 202 "Not needed at this site.";
    /// 220 after REIN.
    ready_again = 220 "Ready for a new user.";
    /// 221
    goodbye = 221 "Goodbye.";
    /// 225: ABOR, and nothing to abort.
    nothing_to_abort = 225 "No transfer in progress.";
    /// 226 to ABOR, after the transfer's own 426.
    aborted = 226 "Abort successful.";
    /// 230
    logged_in = 230 "Logged in.";
    /// 232: by a client's certificate.
    logged_in_by_certificate = 232 "Logged in by certificate.";
    /// 234
    tls_begins = 234 "AUTH TLS accepted, begin the handshake.";
    /// 331: the same whoever it is.
    need_password = 331 "Password required.";
    /// 332
    need_account = 332 "Account required.";
    /// 421: nothing came for too long.
    idle = 421 "Nothing heard for too long, goodbye.";
    /// 421: no log-in within the time for it.
    login_took_too_long = 421 "No log-in within the time allowed, goodbye.";
    /// 421
    shutting_down = 421 "The server is shutting down, goodbye.";
    /// 421
    too_many_connections = 421 "Too many connections, try again later.";
    /// 421: guessing.
    too_many_failures = 421 "Too many failed log-ins, goodbye.";
    /// 421: commands that are none.
    too_many_errors = 421 "Too many errors, goodbye.";
    /// 421: whatever it is, it is no client of ours.
    foreign_protocol = 421 "This is FTP, goodbye.";
    /// 421: an administrator wants it.
    disconnected = 421 "Disconnected by the administrator, goodbye.";
    /// 421: the account is no longer good.
    access_revoked = 421 "Your access has changed, goodbye.";
    /// 425
    cannot_connect = 425 "Cannot open the data connection.";
    /// 425
    no_data_address = 425 "Use PASV, EPSV, PORT or EPRT first.";
    /// 425
    no_port_free = 425 "No port is free for a data connection; try again later.";
    /// 425
    data_tls_failed = 425 "TLS failed on the data connection.";
    /// 426
    connection_lost = 426 "The data connection was closed; transfer aborted.";
    /// 426 by ABOR.
    transfer_aborted = 426 "Transfer aborted.";
    /// 426: the data connection stood still.
    too_slow = 426 "Nothing moved for too long; transfer aborted.";
    /// 431: no security mechanism at the moment.
    security_unavailable = 431 "TLS is not available here.";
    /// 450
    busy = 450 "The file is in use.";
    /// 451
    local_error = 451 "Local error; the action was not carried out.";
    /// 451 by ABOR.
    action_aborted = 451 "Aborted; the action was not carried out.";
    /// 452
    no_space = 452 "Not enough storage space.";
    /// 452 after a 150.
    ran_out_of_space = 452 "Not enough storage space; nothing was kept.";
    /// 500
    unknown_command = 500 "Command not understood.";
    /// 500
    line_too_long = 500 "The line is too long.";
    /// 500
    invalid_line = 500 "The line holds control characters.";
    /// 501
    invalid_path = 501 "The path is not valid.";
    /// 501
    invalid_restart = 501 "The restart marker is not one of ours.";
    /// 502
    not_implemented = 502 "Command not implemented.";
    /// 502 by the settings.
    not_allowed_here = 502 "This command is switched off.";
    /// 503
    bad_sequence = 503 "Bad sequence of commands.";
    /// 503
    login_first = 503 "Log in with USER first.";
    /// 503
    already_logged_in = 503 "Already logged in; REIN or QUIT first.";
    /// 503
    tls_first = 503 "AUTH TLS first.";
    /// 503
    pbsz_first = 503 "PBSZ first.";
    /// 503
    rename_from_first = 503 "RNFR first.";
    /// 503
    transfer_in_progress = 503 "A transfer is in progress.";
    /// 503: after the log-in, the virtual host is settled.
    host_too_late = 503 "HOST has to come before USER.";
    /// 504
    parameter_not_implemented = 504 "Command not implemented for that parameter.";
    /// 521: PROT P for a data connection that cannot have it.
    needs_protection = 521 "Data connections have to be protected: PROT P first.";
    /// 522 of EPSV and EPRT, for a family that nobody has.
    family_not_supported = 522 "Network protocol not supported, use (1,2)";
    /// 522 of EPSV and EPRT on a control connection over IPv4.
    family_is_v4 = 522 "Network protocol not supported, use (1)";
    /// 522 of EPSV, EPRT and their like on one over IPv6.
    family_is_v6 = 522 "Network protocol not supported, use (2)";
    /// 521 of LPRT.
    long_family_not_supported = 521 "Supported address families are (4,6)";
    /// 522: the data connection did not come with the control connection's TLS session.
    session_not_resumed = 522 "The data connection has to resume the TLS session of the control connection.";
    /// 530
    not_logged_in = 530 "Please log in with USER and PASS.";
    /// 530
    login_failed = 530 "Log-in incorrect.";
    /// 530
    login_unavailable = 530 "Log-in is not possible now, try again later.";
    /// 532
    account_for_storing = 532 "Need an account for storing files.";
    /// 533: 4217 section 6 with 2228.
    command_needs_protection = 533 "This command has to be protected: AUTH TLS first.";
    /// 534
    clear_needed = 534 "Protection is not possible here.";
    /// 536
    level_not_supported = 536 "With TLS, only PROT C and PROT P are possible.";
    /// 550
    no_such_file = 550 "No such file or directory.";
    /// 550
    no_permission = 550 "Permission denied.";
    /// 550
    not_a_file = 550 "Not a plain file.";
    /// 550
    not_a_directory = 550 "Not a directory.";
    /// 550
    not_empty = 550 "The directory is not empty.";
    /// 550
    exists = 550 "It exists already.";
    /// 552
    quota_exceeded = 552 "Storage quota exceeded.";
    /// 553
    name_not_allowed = 553 "This file name is not allowed.";
    /// 553 of RNTO and its like, for the new name.
    name_exists = 553 "It exists already.";
    /// 553, for the new name.
    name_not_permitted = 553 "Permission denied.";
    /// 553, for the new name.
    name_not_found = 553 "No such file or directory.";
    /// 554: RFC 3659 section 5 with 1123.
    restart_not_possible = 554 "The file cannot be taken up there.";
    /// 501: RFC 2428 section 4.
    epsv_only = 501 "After EPSV ALL, only EPSV can set up a data connection.";
}

/// 220 with the name of the host.
pub fn greeting(text: impl Into<Cow<'static, str>>) -> Reply {
    Reply::new(220, text)
}

/// 215 (RFC 959 section 4.1.3).
pub fn system() -> Reply {
    Reply::new(215, "UNIX Type: L8")
}

/// 200 with what has been set.
pub fn set(what: String) -> Reply {
    Reply::new(200, what)
}

/// 250
pub fn done(what: &'static str) -> Reply {
    Reply::new(250, what)
}

/// 257: the path in quotation marks, in which one is doubled (RFC 959 appendix II).
pub fn path(path: &PathName, comment: &'static str) -> Reply {
    Reply::new(257, format!("\"{}\" {comment}", path.to_text().replace('"', "\"\"")))
}

/// 213 with a number or a time.
pub fn value(value: impl ToString) -> Reply {
    Reply::new(213, value.to_string())
}

/// 110: the places that a restart marker names (RFC 959 section 4.1.3).
pub fn marker(theirs: &str, ours: u64) -> Reply {
    Reply::new(110, format!("MARK {theirs} = {ours}"))
}

/// 150: the data connection is about to be opened; 125: it is there.
pub fn transfer_begins(connected: bool, about: String) -> Reply {
    Reply::new(if connected { 125 } else { 150 }, about)
}

/// 226: the transfer is complete and the data connection closed; 250: it stays open.
pub fn transfer_complete(stays_open: bool, about: String) -> Reply {
    Reply::new(if stays_open { 250 } else { 226 }, about)
}

/// 350: something else is needed.
pub fn go_on(what: String) -> Reply {
    Reply::new(350, what)
}

/// 501 with what is wrong.
pub fn invalid_argument(what: &'static str) -> Reply {
    Reply::new(501, what)
}

/// 504 with what is wrong.
pub fn invalid_parameter(what: &'static str) -> Reply {
    Reply::new(504, what)
}

/// 211, 212 and 213: what STAT says; 214: what HELP says.
pub fn lines(code: Information, lines: Vec<String>) -> Reply {
    Reply::multi(code as u16, lines)
}

/// What the lines of a reply are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Information {
    /// 200, for SITE.
    Done = 200,
    /// 211
    System = 211,
    /// 212
    Directory = 212,
    /// 213
    File = 213,
    /// 214
    Help = 214,
    /// 250, for MLST.
    Facts = 250,
}

/// 227: where the server listens (RFC 959 section 4.1.2).
pub fn passive(at: &str) -> Reply {
    Reply::new(227, format!("Entering Passive Mode {at}"))
}

/// 228: where it listens, in the long form (RFC 1639).
pub fn long_passive(at: &str) -> Reply {
    Reply::new(228, format!("Entering Long Passive Mode {at}"))
}

/// 229: at which port it listens (RFC 2428 section 3).
pub fn extended_passive(at: &str) -> Reply {
    Reply::new(229, format!("Entering Extended Passive Mode {at}"))
}

/// 421 in these words: nobody is served now.
pub fn turned_away(words: &str) -> Reply {
    Reply::new(421, words.to_owned())
}

/// 451 in these words: a transfer that had begun failed.
pub fn transfer_failed(words: &str) -> Reply {
    Reply::new(451, words.to_owned())
}

/// 530 in these words.
pub fn login_refused(words: &str) -> Reply {
    Reply::new(530, words.to_owned())
}

/// 550 in these words.
pub fn action_refused(words: &str) -> Reply {
    Reply::new(550, words.to_owned())
}

/// 551 in these words: the pages that came are no file.
pub fn invalid_pages(words: &str) -> Reply {
    Reply::new(551, words.to_owned())
}

/// 250: XCRC and its like.
pub fn checksum(digest: String) -> Reply {
    Reply::new(250, digest)
}
