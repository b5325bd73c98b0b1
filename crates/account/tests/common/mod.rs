//! A directory in a store of its own.

use packetboat_account::credential::{Argon2Cost, HashingRules};
use packetboat_account::{Account, Directory, DirectoryOptions, NewAccount, NewPassword};
use packetboat_message::{Address, Domain};
use packetboat_store::Store;
use packetboat_wire::sasl::SCRAM_ITERATIONS_MIN;

pub(crate) fn options() -> DirectoryOptions {
    let hashing = HashingRules {
        cost: Argon2Cost::least(),
        scram_iterations: SCRAM_ITERATIONS_MIN,
        ..HashingRules::default()
    };
    DirectoryOptions { hashing, ..DirectoryOptions::default() }
}

pub(crate) fn domain(text: &str) -> Domain {
    text.parse().expect(text)
}

pub(crate) fn address(text: &str) -> Address {
    text.parse().expect(text)
}

/// A directory that goes when its last handle goes.
pub(crate) async fn directory(options: DirectoryOptions) -> Directory {
    Directory::open(Store::temporary().expect("a store in a temporary directory"), options)
        .await
        .expect("a new store opens")
}

/// With an account that has a password, in a domain that is made for it.
pub(crate) async fn with_account(directory: &Directory, login: &str, password: &str) -> Account {
    let login = address(login);
    if !directory.is_local(login.domain()).expect("readable") {
        directory.add_domain(login.domain()).await.expect("a new domain");
    }
    let password =
        directory.prepare_password(NewPassword::Plain(password.into())).await.expect("a usable password");
    let new = NewAccount { password: Some(password), ..NewAccount::new(login) };
    directory.add_account(new).await.expect("a new account")
}
