//! The bodies of the fuzz targets, as functions from octets.
//!
//! Each panics if something is wrong: a decoder that depends on how its input is cut into pieces, a value that does
//! not survive encoding and decoding, a session that breaks its contract or keeps more than it may. They are
//! functions so that ordinary tests run them too (`tests/replay.rs`, over `seeds/`).
//!
//! A new target is a function here, its name in [`TARGETS`], and two lines in `fuzz_targets/`.

pub mod alias;
pub mod ftp;
pub mod imap;
pub mod imap_server;
pub mod import;
pub mod message;
pub mod mime;
pub mod pop3;
pub mod report;
pub mod secure;
pub mod session;
pub mod smtp;
pub mod store;
pub mod transfer;
pub mod wire;

/// A target: octets in, a panic if something is wrong.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its file in `fuzz_targets/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", message::address),
    ("aliases_file", alias::aliases_file),
    ("card", mime::card),
    ("certificate", wire::certificate),
    ("compose", message::compose),
    ("date", message::date),
    ("dot_read", wire::dot_read),
    ("dot_round_trip", wire::dot_round_trip),
    ("dsn", report::dsn),
    ("ftp_client", ftp::client),
    ("ftp_command", ftp::command),
    ("ftp_inbound", ftp::inbound),
    ("ftp_listing", ftp::listing),
    ("ftp_server", ftp::server),
    ("header", message::header),
    ("imap_client", imap::client),
    ("imap_command", imap_server::command),
    ("imap_response", imap::response),
    ("imap_server", imap_server::server),
    ("import_puredb", import::puredb),
    ("import_users", import::users),
    ("line", wire::line),
    ("mbox", transfer::mbox),
    ("pop3_client", pop3::client),
    ("pop3_command", pop3::command),
    ("pop3_server", pop3::server),
    ("reencode", report::reencode),
    ("reply", wire::reply),
    ("return_path", alias::return_path),
    ("sasl_client", wire::sasl_client),
    ("sasl_server", wire::sasl_server),
    ("search", mime::search),
    ("section_filter", mime::section_filter),
    ("smtp_client", smtp::client),
    ("smtp_command", smtp::command),
    ("smtp_server", smtp::server),
    ("store_records", store::records),
    ("structure", mime::structure),
    ("sts_policy", secure::sts_policy),
    ("sts_record", secure::sts_record),
    ("surrogate", message::surrogate),
    ("text", mime::text),
    ("uidlist", transfer::uidlist),
];

/// Makes a target of a function of this crate.
#[macro_export]
macro_rules! target {
    ($($function:ident)::+) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| packetboat_fuzz::$($function)::+(data));
    };
}

/// What a decoder makes of octets must, once encoded, be decoded to the same value.
#[macro_export]
macro_rules! round_trip {
    ($data:expr, $decode:expr, $encode:expr) => {
        if let Some(value) = $decode($data) {
            let encoded = $encode(&value);
            assert_eq!($decode(&encoded), Some(value), "encoded as {}", encoded.escape_ascii());
        }
    };
}

/// Cuts octets into pieces of 1 to 16, as `how` has it; 0 does not cut at all.
pub fn pieces(octets: &[u8], how: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = octets;
    let mut state = u32::from(how);
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = if how == 0 { rest.len() } else { ((state >> 24) % 16 + 1) as usize };
        let (piece, more) = rest.split_at(size.min(rest.len()));
        rest = more;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Takes parameters off the front of the data; missing ones are 0.
pub fn parameters<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    let (front, rest) = data.split_at(N.min(data.len()));
    let mut parameters = [0; N];
    parameters[..front.len()].copy_from_slice(front);
    (parameters, rest)
}

/// Whether bit `n` is set.
pub fn bit(flags: u8, n: u8) -> bool {
    flags >> n & 1 == 1
}
