//! From what is meant to the reply that RFC 959 section 5.4 allows the command.

use std::net::SocketAddr;

use packetboat_wire::Reply;

use super::{Passive, Refusal, TransferFailure};
use crate::command::{Command, InvalidCommand, Site};
use crate::data::DataError;
use crate::reply;

pub(super) fn of_command(error: InvalidCommand) -> Reply {
    match error {
        InvalidCommand::Unknown | InvalidCommand::Foreign => reply::unknown_command(),
        InvalidCommand::Argument(what) => reply::invalid_argument(what),
        InvalidCommand::Parameter(what) => reply::invalid_parameter(what),
        InvalidCommand::Family => reply::family_not_supported(),
        InvalidCommand::LongFamily => reply::long_family_not_supported(),
    }
}

pub(super) fn of_access(why: &Refusal) -> Reply {
    match why {
        Refusal::LoginUnavailable | Refusal::LocalError => reply::login_unavailable(),
        Refusal::Because(words) => reply::login_refused(words),
        _ => reply::login_failed(),
    }
}

pub(super) fn of_listen(how: Passive, why: &Refusal) -> Reply {
    match (how, why) {
        (Passive::Lpsv, Refusal::WrongFamily) => reply::long_family_not_supported(),
        (_, Refusal::WrongFamily) => reply::family_is_v6(),
        (_, Refusal::SwitchedOff) => reply::not_allowed_here(),
        // Not 421, which says that the session ends (RFC 959 section 4.2.2).
        _ => reply::no_port_free(),
    }
}

pub(super) fn of_connect(at: SocketAddr, why: &Refusal) -> Reply {
    match why {
        Refusal::SwitchedOff => reply::not_allowed_here(),
        Refusal::WrongFamily if at.is_ipv4() => reply::family_is_v6(),
        Refusal::WrongFamily => reply::family_is_v4(),
        // RFC 2577 section 3: "the server should return 504".
        _ => reply::invalid_parameter("Data connections go to your own address, and to no port below 1024."),
    }
}

/// Replies to commands that act on files: 550 where the RFC has it for them, 553 for the names of RNTO and its like.
pub(super) fn of_action(command: &Command, why: &Refusal) -> Reply {
    let names = matches!(
        command,
        Command::Rnto(_) | Command::Site(Site::Copy(..) | Site::CopyTo(_)) | Command::Comb(..)
    );
    match why {
        Refusal::NotForThat => reply::parameter_not_implemented(),
        Refusal::Exists if names => reply::name_exists(),
        Refusal::NoPermission if names => reply::name_not_permitted(),
        Refusal::NotFound if names => reply::name_not_found(),
        Refusal::NotFound => reply::no_such_file(),
        other => common(other),
    }
}

/// Replies to RETR, STOR and their like instead of a 150.
pub(super) fn of_transfer(why: &Refusal) -> Reply {
    match why {
        Refusal::NeedsAccount => reply::account_for_storing(),
        Refusal::InvalidRestart => reply::restart_not_possible(),
        Refusal::NotForThat => reply::parameter_not_implemented(),
        Refusal::CannotListen => reply::no_data_address(),
        other => common(other),
    }
}

/// Replies to them after it.
pub(super) fn of_ended(failure: &TransferFailure) -> Reply {
    match failure {
        TransferFailure::CannotConnect => reply::cannot_connect(),
        TransferFailure::TlsFailed => reply::data_tls_failed(),
        TransferFailure::NotResumed => reply::session_not_resumed(),
        TransferFailure::ConnectionLost | TransferFailure::Data(DataError::Truncated) => {
            reply::connection_lost()
        }
        TransferFailure::TooSlow => reply::too_slow(),
        TransferFailure::Aborted => reply::transfer_aborted(),
        // 551 was meant for page types, 451 is for the rest.
        TransferFailure::Data(error @ (DataError::InvalidPage | DataError::TooManyPages)) => {
            reply::invalid_pages(&error.to_string())
        }
        TransferFailure::Data(error) => reply::transfer_failed(&error.to_string()),
        TransferFailure::File(Refusal::QuotaExceeded) => reply::quota_exceeded(),
        TransferFailure::File(Refusal::NoSpace) => reply::ran_out_of_space(),
        TransferFailure::File(Refusal::Because(words)) => reply::transfer_failed(words),
        TransferFailure::File(_) => reply::local_error(),
    }
}

fn common(why: &Refusal) -> Reply {
    match why {
        Refusal::NotFound => reply::no_such_file(),
        Refusal::Exists => reply::exists(),
        Refusal::NoPermission => reply::no_permission(),
        Refusal::NotAFile => reply::not_a_file(),
        Refusal::NotADirectory => reply::not_a_directory(),
        Refusal::NotEmpty => reply::not_empty(),
        Refusal::InvalidPath => reply::invalid_path(),
        Refusal::NameNotAllowed => reply::name_not_allowed(),
        Refusal::Busy => reply::busy(),
        Refusal::NoSpace => reply::no_space(),
        Refusal::QuotaExceeded => reply::quota_exceeded(),
        Refusal::NeedsAccount => reply::account_for_storing(),
        Refusal::SwitchedOff => reply::not_allowed_here(),
        Refusal::InvalidRange => reply::invalid_argument("The file does not have these octets."),
        Refusal::Stopped => reply::action_aborted(),
        Refusal::Because(words) => reply::action_refused(words),
        _ => reply::local_error(),
    }
}
