//! Domains, accounts and addresses in a real store.
#![allow(clippy::unwrap_used)]

mod common;

use common::{address, directory, domain, options, with_account};
use packetboat_account::{
    ADDRESSES_MAX, Directory, DirectoryError, DirectoryOptions, FIRST_MAILBOXES, Found, NewAccount, Quota,
    account_data,
};
use packetboat_store::{AccountId, Op, Tx};

/// Login name of whoever gets mail to `to`, or why nobody does.
fn who(directory: &Directory, to: &str) -> String {
    match directory.find(&address(to)).unwrap() {
        Found::Account(account) => account.login.to_string(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn an_address_is_found_however_it_is_written() {
    let directory = directory(options()).await;
    with_account(&directory, "Alice@example.org", "secret").await;
    let bob = with_account(&directory, "bob@example.org", "secret").await;
    with_account(&directory, "josé@bücher.example", "secret").await;
    directory.add_address(bob.id, &address("bob+work@example.org")).await.unwrap();
    directory.add_address(bob.id, &address("\"b/o b\"@example.org")).await.unwrap();
    for (to, whose) in [
        ("alice@example.org", "Alice@example.org"),
        ("ALICE@EXAMPLE.ORG", "Alice@example.org"),
        ("alice+lists@example.org", "Alice@example.org"),
        ("alice+a+b@example.org", "Alice@example.org"),
        ("bob+work@example.org", "bob@example.org"),
        ("bob+other@example.org", "bob@example.org"),
        ("\"B/O B\"@example.org", "bob@example.org"),
        ("JOSÉ@xn--bcher-kva.example", "josé@bücher.example"),
        ("postmaster@example.org", "Alice@example.org"),
        ("PostMaster+x@example.org", "Alice@example.org"),
        ("postmaster@bücher.example", "josé@bücher.example"),
        ("carol@example.org", "UnknownUser"),
        ("+alice@example.org", "UnknownUser"),
        ("alice-lists@example.org", "UnknownUser"),
        ("alice@example.net", "UnknownDomain"),
        ("postmaster@example.net", "UnknownDomain"),
        ("alice@[127.0.0.1]", "UnknownDomain"),
    ] {
        assert_eq!(who(&directory, to), whose, "{to}, not remembered");
        assert_eq!(who(&directory, to), whose, "{to}, remembered");
    }
}

#[tokio::test]
async fn the_separator_of_subaddresses_is_a_setting() {
    for (separator, minus, plus) in
        [(Some('-'), "alice@example.org", "UnknownUser"), (None, "UnknownUser", "UnknownUser")]
    {
        let directory = directory(DirectoryOptions { subaddress_separator: separator, ..options() }).await;
        with_account(&directory, "alice@example.org", "secret").await;
        assert_eq!(who(&directory, "alice-x@example.org"), minus);
        assert_eq!(who(&directory, "alice+x@example.org"), plus);
    }
}

#[tokio::test]
async fn what_was_remembered_is_forgotten_when_it_changes() {
    let directory = directory(options()).await;
    let alice = with_account(&directory, "alice@example.org", "secret").await;
    assert_eq!(who(&directory, "alice+bob@example.org"), "alice@example.org");
    let bob = with_account(&directory, "alice+bob@example.org", "secret").await;
    assert_eq!(who(&directory, "alice+bob@example.org"), "alice+bob@example.org");

    directory.set_quota(alice.id, Quota { octets: Some(5), messages: None }).await.unwrap();
    let Found::Account(found) = directory.find(&address("alice@example.org")).unwrap() else { panic!() };
    assert_eq!(found.quota.octets, Some(5));

    directory.remove_account(bob.id).await.unwrap();
    assert_eq!(who(&directory, "alice+bob@example.org"), "alice@example.org");
    directory.remove_account(alice.id).await.unwrap();
    assert_eq!(who(&directory, "alice@example.org"), "UnknownUser");
    directory.remove_domain(&domain("example.org")).await.unwrap();
    assert_eq!(who(&directory, "alice@example.org"), "UnknownDomain");
}

#[tokio::test]
async fn an_account_is_made_whole_or_not_at_all() {
    let directory = directory(options()).await;
    directory.add_domain(&domain("example.org")).await.unwrap();
    let new = NewAccount {
        aliases: vec![address("a@example.org"), address("alice@example.net")],
        name: Some("Alice".into()),
        ..NewAccount::new(address("alice@example.org"))
    };
    let error = directory.add_account(new.clone()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no domain example.net here; add it with `packetboat domain add example.net`"
    );
    assert_eq!(directory.accounts(None, 10).await.unwrap(), []);
    assert_eq!(who(&directory, "a@example.org"), "UnknownUser");

    directory.add_domain(&domain("example.net")).await.unwrap();
    let alice = directory.add_account(new.clone()).await.unwrap();
    assert_eq!(alice.addresses.len(), 3);
    assert_eq!(directory.accounts(None, 10).await.unwrap(), std::slice::from_ref(&alice));
    let mut names: Vec<String> = directory
        .store()
        .mailboxes(alice.id)
        .await
        .unwrap()
        .into_iter()
        .map(|mailbox| mailbox.name)
        .collect();
    names.sort();
    let mut expected = FIRST_MAILBOXES.map(str::to_owned);
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(directory.usage(alice.id).await.unwrap().octets, 0);

    let again = directory.add_account(NewAccount::new(address("A@Example.org"))).await.unwrap_err();
    assert_eq!(again.to_string(), "the address A@example.org belongs to alice@example.org already");
    let twice = vec![NewAccount::new(address("x@example.org")), NewAccount::new(address("X@example.org"))];
    assert!(matches!(directory.add_accounts(twice).await, Err(DirectoryError::AddressTaken { .. })));
    assert_eq!(who(&directory, "x@example.org"), "UnknownUser");
}

#[tokio::test]
async fn numbers_are_never_used_again() {
    let directory = directory(options()).await;
    let alice = with_account(&directory, "alice@example.org", "secret").await;
    directory.remove_account(alice.id).await.unwrap();
    let alice_again = with_account(&directory, "alice@example.org", "secret").await;
    assert!(alice_again.id > alice.id);
    assert_eq!(directory.account(alice.id), Err(DirectoryError::NoSuchAccountId(alice.id)));
}

#[tokio::test]
async fn removing_an_account_removes_everything_of_it() {
    let directory = directory(options()).await;
    let alice = with_account(&directory, "alice@example.org", "secret").await;
    with_account(&directory, "bob@example.org", "secret").await;
    directory.add_address(alice.id, &address("a@example.org")).await.unwrap();
    directory.add_app_password(alice.id, "phone", None).await.unwrap();
    // What other rooms might keep, more than one step's worth.
    let ops = (0..600)
        .map(|n| Op::Put { key: format!("{}filter/{n:04}", account_data(alice.id)), value: b"x".to_vec() })
        .collect();
    directory.store().commit(Tx { id: None, require: Vec::new(), ops }, Vec::new()).await.unwrap();

    directory.remove_account(alice.id).await.unwrap();
    let left = directory.store().scan("", None, 1000).await.unwrap();
    let mut left: Vec<&str> = left.iter().map(|entry| entry.key.as_str()).collect();
    left.sort();
    assert_eq!(
        left,
        [
            "account-data/0000000000000002/credentials",
            "account/0000000000000002",
            "address/example.org/bob",
            "directory/next-account",
            "directory/secret",
            "domain/example.org",
        ]
    );
    assert_eq!(directory.store().account(alice.id).await.unwrap(), None);
    assert_eq!(directory.store().mailboxes(alice.id).await.unwrap(), []);
}

#[tokio::test]
async fn a_domain_always_has_a_postmaster_once_it_has_an_account() {
    let directory = directory(options()).await;
    directory.add_domain(&domain("example.org")).await.unwrap();
    assert_eq!(who(&directory, "postmaster@example.org"), "UnknownUser");
    let alice = with_account(&directory, "alice@example.org", "secret").await;
    let bob = with_account(&directory, "bob@example.org", "secret").await;
    with_account(&directory, "carol@example.org", "secret").await;
    assert_eq!(who(&directory, "postmaster@example.org"), "alice@example.org");
    directory.set_postmaster(&domain("example.org"), bob.id).await.unwrap();
    assert_eq!(who(&directory, "postmaster@example.org"), "bob@example.org");
    directory.remove_account(bob.id).await.unwrap();
    assert_eq!(who(&directory, "postmaster@example.org"), "alice@example.org");
    directory.remove_account(alice.id).await.unwrap();
    assert_eq!(who(&directory, "postmaster@example.org"), "carol@example.org");
    assert!(matches!(directory.find_postmaster().unwrap(), Found::Account(_)));
    // Who has the address itself goes first.
    with_account(&directory, "postmaster@example.org", "secret").await;
    assert_eq!(who(&directory, "postmaster@example.org"), "postmaster@example.org");
}

#[tokio::test]
async fn a_postmaster_who_leaves_the_domain_has_a_successor() {
    let directory = directory(options()).await;
    let alice = with_account(&directory, "alice@example.org", "secret").await;
    directory.add_domain(&domain("example.net")).await.unwrap();
    directory.add_address(alice.id, &address("alice@example.net")).await.unwrap();
    with_account(&directory, "bob@example.net", "secret").await;
    assert_eq!(who(&directory, "postmaster@example.net"), "alice@example.org");
    directory.remove_address(alice.id, &address("alice@example.net")).await.unwrap();
    assert_eq!(who(&directory, "postmaster@example.net"), "bob@example.net");
    assert_eq!(who(&directory, "postmaster@example.org"), "alice@example.org");
}

#[tokio::test]
async fn addresses_come_and_go_but_the_login_name_stays() {
    let directory = directory(options()).await;
    let alice = with_account(&directory, "alice@example.org", "secret").await;
    let bob = with_account(&directory, "bob@example.org", "secret").await;
    directory.add_address(alice.id, &address("a@example.org")).await.unwrap();
    assert_eq!(who(&directory, "a@example.org"), "alice@example.org");
    for (error, text) in [
        (
            directory.add_address(bob.id, &address("A@example.org")).await,
            "the address A@example.org belongs to alice@example.org already",
        ),
        (
            directory.add_address(bob.id, &address("bob@example.net")).await,
            "no domain example.net here; add it with `packetboat domain add example.net`",
        ),
        (
            directory.remove_address(bob.id, &address("a@example.org")).await,
            "bob@example.org has no address a@example.org; `packetboat account show bob@example.org` shows those it has",
        ),
        (
            directory.remove_address(alice.id, &address("Alice@example.org")).await,
            "alice@example.org is the account's login name and stays; to be rid of it, remove the account",
        ),
    ] {
        assert_eq!(error.unwrap_err().to_string(), text);
    }
    directory.remove_address(alice.id, &address("A@example.org")).await.unwrap();
    assert_eq!(who(&directory, "a@example.org"), "UnknownUser");
    assert_eq!(directory.account(alice.id).unwrap().addresses, [address("alice@example.org")]);

    for n in 1..ADDRESSES_MAX {
        directory.add_address(alice.id, &address(&format!("a{n}@example.org"))).await.unwrap();
    }
    let error = directory.add_address(alice.id, &address("more@example.org")).await.unwrap_err();
    assert_eq!(error.to_string(), "an account can have at most 100 addresses");
}

#[tokio::test]
async fn a_domain_with_addresses_is_not_removed() {
    let directory = directory(options()).await;
    let alice = with_account(&directory, "alice@example.org", "secret").await;
    let error = directory.remove_domain(&domain("example.org")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "example.org still has addresses, such as alice@example.org; remove its accounts and addresses first"
    );
    directory.remove_account(alice.id).await.unwrap();
    directory.remove_domain(&domain("example.org")).await.unwrap();
    assert_eq!(directory.domains(None, 10).await.unwrap(), []);
    let error = directory.remove_domain(&domain("example.org")).await.unwrap_err();
    assert_eq!(error, DirectoryError::NoSuchDomain(domain("example.org")));
    directory.add_domain(&domain("example.org")).await.unwrap();
    let error = directory.add_domain(&domain("EXAMPLE.org")).await.unwrap_err();
    assert_eq!(error, DirectoryError::DomainExists(domain("example.org")));
    let literal = domain("[127.0.0.1]");
    assert_eq!(directory.add_domain(&literal).await.unwrap_err(), DirectoryError::NotADomainName(literal));
}

#[tokio::test]
async fn a_login_name_without_a_domain_needs_one_that_is_meant() {
    let plain = directory(options()).await;
    let alice = with_account(&plain, "alice@example.org", "secret").await;
    assert_eq!(plain.find_login("Alice").unwrap().unwrap().id, alice.id);
    assert_eq!(plain.find_login("alice@example.org").unwrap().unwrap().id, alice.id);
    // Neither a further address nor a subaddress is a login name.
    plain.add_address(alice.id, &address("a@example.org")).await.unwrap();
    for name in
        ["a@example.org", "a", "alice+x@example.org", "postmaster", "bob", "", "@", "alice@", "alice\0"]
    {
        assert!(plain.find_login(name).unwrap().is_none(), "{name:?}");
    }
    plain.add_domain(&domain("example.net")).await.unwrap();
    assert_eq!(plain.find_login("alice").unwrap(), None, "which of two domains?");
    assert_eq!(plain.account_named("alice").unwrap_err(), DirectoryError::WhichDomain("alice".into()));
    assert_eq!(
        plain.account_named("bob@example.com").unwrap_err(),
        DirectoryError::NoSuchDomain(domain("example.com"))
    );
    assert_eq!(
        plain.account_named("bob@example.org").unwrap_err().to_string(),
        "no account bob@example.org here; `packetboat account list` shows those there are"
    );

    let set = directory(DirectoryOptions { default_domain: Some(domain("example.org")), ..options() }).await;
    let alice = with_account(&set, "alice@example.org", "secret").await;
    with_account(&set, "alice@example.net", "secret").await;
    assert_eq!(set.find_login("alice").unwrap().unwrap().id, alice.id);
}

#[tokio::test]
async fn a_thousand_accounts_are_listed_page_by_page() {
    let directory = directory(options()).await;
    directory.add_domain(&domain("example.org")).await.unwrap();
    let new = (0..1000).map(|n| NewAccount::new(address(&format!("user{n:04}@example.org")))).collect();
    assert_eq!(directory.add_accounts(new).await.unwrap().len(), 1000);
    let mut seen = 0;
    let mut after: Option<AccountId> = None;
    loop {
        let page = directory.accounts(after, 300).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen += page.len();
    }
    assert_eq!(seen, 1000);
    assert_eq!(who(&directory, "user0999@example.org"), "user0999@example.org");
}

#[tokio::test]
async fn accounts_made_at_the_same_moment_get_numbers_of_their_own() {
    let directory = directory(options()).await;
    directory.add_domain(&domain("example.org")).await.unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let directory = directory.clone();
            tokio::spawn(async move {
                directory.add_account(NewAccount::new(address(&format!("user{n}@example.org")))).await
            })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap().unwrap().id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}
