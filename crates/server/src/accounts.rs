//! From settings to the directory, the log-ins and the store they stand on: the same for the server and for commands.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use packetboat_account::credential::{Argon2Cost, HashingRules};
use packetboat_account::throttle::ThrottleRules;
use packetboat_account::{AuthenticatorOptions, Directory, DirectoryOptions};
use packetboat_mail::queue::{Queue, World};
use packetboat_mail::{Limits, PostOffice};
use packetboat_message::Domain;

use crate::admin::{AdminError, ErrorKind};
use crate::privilege::{self, Keep, PrivilegeError};
use crate::settings::Settings;

/// How the directory behaves.
pub fn directory_options(settings: &Settings) -> DirectoryOptions {
    let auth = &settings.auth;
    let memory_kib = u32::try_from(auth.hash_memory.0 / 1024).unwrap_or(u32::MAX);
    let hashing = HashingRules {
        // The ranges of the settings leave nothing that Argon2 does not know.
        cost: Argon2Cost::new(memory_kib, auth.hash_passes, 1).unwrap_or_default(),
        at_once: usize::try_from(auth.hashes_at_a_time).unwrap_or(1),
        scram_iterations: auth.scram_iterations,
        ..HashingRules::default()
    };
    DirectoryOptions {
        subaddress_separator: settings.accounts.subaddress_separator.0,
        default_domain: settings.accounts.default_domain.clone(),
        hashing,
    }
}

/// How log-ins are checked.
pub fn authenticator_options(settings: &Settings) -> AuthenticatorOptions {
    let auth = &settings.auth;
    let throttle = ThrottleRules {
        free_failures: auth.delay_after,
        ban_after: auth.ban_after,
        ban_for: auth.ban_for,
        trusted: settings.limits.trusted_networks.clone(),
        ..ThrottleRules::default()
    };
    AuthenticatorOptions { throttle, remember_for: Some(auth.cache).filter(|time| *time > Duration::ZERO) }
}

/// The post office over a directory. Without a name in the settings, as commands may be, it has none to tell.
pub fn post_office(settings: &Settings, directory: &Directory) -> PostOffice {
    let hostname = settings.general.hostname.parse().unwrap_or(Domain::Literal(Ipv4Addr::LOCALHOST.into()));
    let limits = Limits {
        message_octets: settings.limits.message_size.0,
        maildrop_delay: settings.pop3.login_delay,
        ..Limits::default()
    };
    let office = PostOffice::new(directory.store().clone(), directory.clone(), hostname, limits);
    office.set_outgoing(settings.outgoing());
    office
}

/// The queue of a post office, by the time and randomness of this system.
pub fn queue(office: &PostOffice) -> Queue {
    let random = Arc::new(|| u64::from_ne_bytes(crate::session::random()));
    Queue::new(office.clone(), World { now: Arc::new(jiff::Zoned::now), random })
}

/// How the store is opened.
pub fn store_options(settings: &Settings) -> packetboat_store::Options {
    packetboat_store::Options {
        disk_floor: settings.store.disk_floor.0,
        grace: settings.store.keep_deleted,
        folding: packetboat_message::text::EDITION,
        ..packetboat_store::Options::new(settings.general.data.join("store"))
    }
}

/// Makes the data directory where there is none, and becomes the user whose it is.
pub(crate) fn become_owner(settings: &Settings) -> Result<(), AdminError> {
    let denied = |error: PrivilegeError| AdminError::new(ErrorKind::Denied, error.to_string());
    let data = &settings.general.data;
    let identity = match privilege::identity(settings.general.user.as_deref()).map_err(denied)? {
        Some(identity) => Some(identity),
        None => privilege::owner_of(data).map_err(denied)?,
    };
    privilege::make_data_directory(data, identity.as_ref())
        .map_err(|error| AdminError::new(ErrorKind::Io, format!("{}: {error}", data.display())))?;
    match identity {
        Some(identity) => privilege::drop_to(Some(&identity), Keep::Nothing).map_err(denied),
        None => Ok(()),
    }
}
