//! Every privileged act, and how privilege is given up.
//!
//! The order is: raise the limit on open files, bind ports, read keys, then [`drop_to`] another user, all before the
//! first thread is started, because on Linux each thread has identities and flags of its own.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::unistd::{self, User};
use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Why privilege could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The user of the settings is not known to the system.
    #[error("user: there is no user called {0:?}; make it with `useradd --system {0}`, or name another")]
    UnknownUser(String),
    /// Root would stay root.
    #[error("user: {0:?} is root; name a user without privileges")]
    Root(String),
    /// Started as a user that cannot become another.
    #[error("user: only root can become {0:?}; start as root, or as that user, or leave `user` out")]
    NotRoot(String),
    /// It was too late.
    #[error("privileges must be given up before threads are started; there are {0} threads")]
    Threads(usize),
    /// The system said no.
    #[error("giving up privileges: {0}")]
    System(#[from] io::Error),
}

/// Who this process becomes.
#[derive(Debug, Clone)]
pub struct Identity(User);

/// Looks the user of the settings up. `None`: stay who we are.
pub fn identity(user: Option<&str>) -> Result<Option<Identity>, PrivilegeError> {
    let Some(name) = user else { return Ok(None) };
    let found = User::from_name(name).map_err(io::Error::from)?;
    let user = found.ok_or_else(|| PrivilegeError::UnknownUser(name.to_owned()))?;
    if user.uid.is_root() {
        return Err(PrivilegeError::Root(name.to_owned()));
    }
    let now = unistd::geteuid();
    if now == user.uid {
        return Ok(None);
    }
    if !now.is_root() {
        return Err(PrivilegeError::NotRoot(name.to_owned()));
    }
    Ok(Some(Identity(user)))
}

/// Whose a file or directory is, if root has to become somebody else to be its owner.
pub fn owner_of(path: &Path) -> Result<Option<Identity>, PrivilegeError> {
    let owner = match fs::metadata(path) {
        Ok(metadata) => unistd::Uid::from_raw(metadata.uid()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !is_root() || owner.is_root() {
        return Ok(None);
    }
    let found = User::from_uid(owner).map_err(io::Error::from)?;
    found.map(|user| Some(Identity(user))).ok_or_else(|| PrivilegeError::UnknownUser(owner.to_string()))
}

/// Whether this process could do anything.
pub fn is_root() -> bool {
    unistd::geteuid().is_root()
}

/// Lets the process open as many files as the system allows it; each connection is one. Returns how many.
pub fn raise_file_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let raised = rustix::process::setrlimit(Resource::Nofile, wanted).is_ok();
    (if raised { limit.maximum } else { limit.current }).unwrap_or(u64::MAX)
}

/// Makes the data directory, for its owner only, and gives it to whom this process becomes.
pub fn make_data_directory(path: &Path, owner: Option<&Identity>) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if let Some(Identity(user)) = owner {
        std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    Ok(())
}

/// What is left of root's privileges when the rest is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// To bind ports below 1024 (CAP_NET_BIND_SERVICE), as FTP's active data connections do for as long as the server
    /// runs. Programs that it starts do not have it.
    LowPorts,
}

/// The ports from which on everybody may bind, where the system does not say.
pub(crate) const FIRST_PORT_FOR_ALL: u16 = 1024;

/// Whether this process, as it is now, may bind the port.
pub fn may_bind(port: u16) -> bool {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
    let first = first.and_then(|text| text.trim().parse().ok()).unwrap_or(FIRST_PORT_FOR_ALL);
    port >= first
        || rustix::thread::capabilities(None)
            .is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_BIND_SERVICE))
}

/// What is said where active data connections of FTP cannot come from their port.
pub(crate) fn no_active_source(port: u16) -> String {
    format!(
        "active data connections cannot come from port {port}, and come from any: start the server as root with `user` \
         set, or give it CAP_NET_BIND_SERVICE, or set ftp.active_source = \"any\""
    )
}

/// Becomes a user without any privilege but what is to be kept, if it is there.
fn become_user(user: &User, keep: Keep) -> Result<(), PrivilegeError> {
    let only = CapabilitySet::NET_BIND_SERVICE;
    let had = rustix::thread::capabilities(None).map_err(io::Error::from)?.permitted;
    let kept = keep == Keep::LowPorts && had.contains(only);
    let name = CString::new(user.name.as_str()).map_err(io::Error::other)?;
    if kept {
        rustix::thread::set_keep_capabilities(true).map_err(io::Error::from)?;
    }
    // Groups first: the last call takes away the right to make the others.
    unistd::initgroups(&name, user.gid).map_err(io::Error::from)?;
    unistd::setgid(user.gid).map_err(io::Error::from)?;
    unistd::setuid(user.uid).map_err(io::Error::from)?;
    if kept {
        // All of them are still there. Threads inherit what is left; whoever is started by `exec` does not, because
        // nothing is inheritable.
        let sets = CapabilitySets { effective: only, permitted: only, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets).map_err(io::Error::from)?;
        rustix::thread::set_keep_capabilities(false).map_err(io::Error::from)?;
    }
    let left = rustix::thread::capabilities(None).map_err(io::Error::from)?;
    let allowed = if kept { only } else { CapabilitySet::empty() };
    // Never trust it: a setuid that can be taken back is a back door.
    if !allowed.contains(left.permitted) || unistd::setuid(unistd::Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other("root could be had again").into());
    }
    Ok(())
}

/// Gives up what is not needed to serve: becomes `identity`, can never gain privileges again, leaves no core dump with
/// passwords in it, and makes files that only its user reads.
pub fn drop_to(identity: Option<&Identity>, keep: Keep) -> Result<(), PrivilegeError> {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let threads = fs::read_dir("/proc/self/task").map(Iterator::count).unwrap_or(1);
    if threads > 1 {
        return Err(PrivilegeError::Threads(threads));
    }
    if let Some(Identity(user)) = identity {
        become_user(user, keep)?;
    }
    rustix::thread::set_no_new_privs(true).map_err(io::Error::from)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn users_are_checked() {
        assert!(identity(None).unwrap().is_none());
        assert!(matches!(identity(Some("no-such-user")), Err(PrivilegeError::UnknownUser(_))));
        assert!(matches!(identity(Some("root")), Err(PrivilegeError::Root(_))));
        let nobody = identity(Some("nobody"));
        if is_root() {
            assert!(nobody.unwrap().is_some());
        } else {
            assert!(matches!(nobody, Err(PrivilegeError::NotRoot(_))));
        }
    }

    #[test]
    fn it_is_too_late_with_threads() {
        // The test runner has several.
        assert!(matches!(drop_to(None, Keep::Nothing), Err(PrivilegeError::Threads(_))));
    }

    #[test]
    fn the_file_limit_is_raised() {
        assert!(raise_file_limit() >= 1024);
    }
}
