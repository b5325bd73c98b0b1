//! Files with the users of other FTP servers, which an administrator was given by somebody.
//!
//! Their readers are modules of the binary, which nobody can depend on; what they need of it is here again, and empty.

#![allow(dead_code)]

#[path = "../../crates/packetboat/src/commands/account_import/found.rs"]
mod found;
#[path = "../../crates/packetboat/src/commands/account_import/passwd.rs"]
mod passwd;
#[path = "../../crates/packetboat/src/commands/account_import/puredb.rs"]
mod puredb;
#[path = "../../crates/packetboat/src/commands/account_import/vsftpd.rs"]
mod vsftpd;

use std::path::{Path, PathBuf};

use found::{Found, networks};

#[derive(Debug, Clone)]
enum NewPassword {
    Hash(String),
    Plain(String),
}

#[derive(Debug)]
struct AdminError;

impl std::fmt::Display for AdminError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no file is read here")
    }
}

struct ImportArgs {
    userlist: Option<PathBuf>,
    userlist_allows: bool,
    user_config: Option<PathBuf>,
}

fn read(_: &Path) -> Result<Vec<u8>, AdminError> {
    Err(AdminError)
}

fn hash(text: &str) -> NewPassword {
    NewPassword::Hash(text.to_owned())
}

fn plain(text: &str) -> NewPassword {
    NewPassword::Plain(text.to_owned())
}

/// A PureDB: what is read of it lies in it, no octet twice.
pub fn puredb(data: &[u8]) {
    let Ok(entries) = puredb::entries(data) else { return };
    let octets: usize = entries.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(octets <= data.len(), "{octets} octets of {}", data.len());
    for (name, value) in entries {
        if let Ok(user) = passwd::pure_ftpd(&name, &value) {
            check(&user, data);
        }
    }
}

/// Files in text: of vsftpd, ProFTPD and pure-ftpd. What is told of users is no more than was there, and a network is one.
pub fn users(data: &[u8]) {
    let readers: [fn(&[u8]) -> Result<Vec<Found>, String>; 3] =
        [passwd::auth_user_file, passwd::pure_ftpd_file, |data| {
            vsftpd::users(data, &vsftpd::Beside::default())
        }];
    for reader in readers {
        if let Ok(users) = reader(data) {
            let names: usize = users.iter().map(|user| user.name.len()).sum();
            assert!(names <= data.len());
            users.iter().for_each(|user| check(user, data));
        }
    }
}

fn check(user: &Found, data: &[u8]) {
    if let Some(NewPassword::Hash(text) | NewPassword::Plain(text)) = &user.secret {
        assert!(text.len() <= data.len());
    }
    assert!(user.home.as_ref().is_none_or(|home| home.starts_with('/')));
    for network in user.networks.iter().chain(&user.denied_networks) {
        let (good, other) = networks(network);
        assert_eq!((&good[..], &other[..]), (std::slice::from_ref(network), &[][..]));
    }
}
