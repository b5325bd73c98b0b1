//! Logging in, against a real store.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{address, directory, domain, options, with_account};
use packetboat_account::credential::{Argon2Cost, HashingRules, ScramAttempt};
use packetboat_account::throttle::ThrottleRules;
use packetboat_account::{
    Attempt, Authenticator, AuthenticatorOptions, Denied, Directory, DirectoryError, DirectoryOptions,
    Identity, NewAccount, NewPassword, Proof, Reason, Service,
};
use packetboat_wire::Secret;
use packetboat_wire::sasl::{ScramHash, ScramKeys};

const ALICE: &str = "alice@example.org";

fn from(peer: &str, service: Service) -> Attempt {
    Attempt { peer: peer.parse::<IpAddr>().unwrap(), service }
}

fn imap() -> Attempt {
    from("192.0.2.1", Service::Imap)
}

async fn authenticator(options: DirectoryOptions) -> Authenticator {
    let directory = directory(options).await;
    with_account(&directory, ALICE, "correct horse").await;
    let throttle = ThrottleRules { free_failures: u32::MAX, ban_after: u32::MAX, ..ThrottleRules::default() };
    Authenticator::new(directory, AuthenticatorOptions { throttle, ..AuthenticatorOptions::default() })
        .unwrap()
}

async fn log_in(authenticator: &Authenticator, login: &str, password: &str) -> Result<Identity, Denied> {
    authenticator.password(imap(), login, &password.into()).await
}

fn because(reason: Reason) -> Result<Identity, Denied> {
    Err(Denied { reason })
}

fn id(directory: &Directory) -> packetboat_store::AccountId {
    directory.account_named(ALICE).unwrap().id
}

#[tokio::test]
async fn a_password_is_right_or_wrong() {
    let authenticator = authenticator(options()).await;
    let identity = log_in(&authenticator, ALICE, "correct horse").await.unwrap();
    assert_eq!(identity.login, address(ALICE));
    assert_eq!(identity.proof, Proof::Password);
    assert_eq!(log_in(&authenticator, "Alice", "correct horse").await.unwrap(), identity);
    assert_eq!(log_in(&authenticator, ALICE, "correct house").await, because(Reason::WrongCredentials));
    assert_eq!(log_in(&authenticator, ALICE, "").await, because(Reason::WrongCredentials));
    assert_eq!(log_in(&authenticator, ALICE, &"x".repeat(100_000)).await, because(Reason::WrongCredentials));
    assert_eq!(
        log_in(&authenticator, "bob@example.org", "correct horse").await,
        because(Reason::UnknownName)
    );
    assert_eq!(
        log_in(&authenticator, "alice@example.net", "correct horse").await,
        because(Reason::UnknownName)
    );
}

#[tokio::test]
async fn a_password_composed_by_another_keyboard_is_the_same() {
    let authenticator = authenticator(options()).await;
    let directory = authenticator.directory();
    directory.set_password(id(directory), NewPassword::Plain("caf\u{e9} \u{ff21}".into())).await.unwrap();
    assert!(log_in(&authenticator, ALICE, "cafe\u{301} A").await.is_ok());
}

/// Names that exist and names that do not cost the same hashes, so that time does not tell them apart.
#[tokio::test]
async fn an_unknown_name_is_as_much_work_as_a_wrong_password() {
    let authenticator = authenticator(options()).await;
    let directory = authenticator.directory().clone();
    directory.add_account(NewAccount::new(address("nopassword@example.org"))).await.unwrap();
    let disabled = with_account(&directory, "disabled@example.org", "correct horse").await;
    directory.set_disabled(disabled.id, true).await.unwrap();
    directory.add_app_password(id(&directory), "phone", None).await.unwrap();
    for (password, hashes) in [("wrong", 1), ("abcde-fghij-kmnpq-rstuv", 1), ("fals\u{ff21}", 2)] {
        for name in [ALICE, "nobody@example.org", "nobody@example.net", "no name", "nopassword@example.org"] {
            let before = directory.hashes_computed();
            assert!(log_in(&authenticator, name, password).await.is_err());
            assert_eq!(directory.hashes_computed() - before, hashes, "{name} {password}");
        }
    }
    let before = directory.hashes_computed();
    assert_eq!(
        log_in(&authenticator, "disabled@example.org", "correct horse").await,
        because(Reason::Disabled)
    );
    assert_eq!(directory.hashes_computed() - before, 1);
}

#[tokio::test]
async fn all_refusals_look_alike_from_outside() {
    for (reason, temporary) in [
        (Reason::UnknownName, false),
        (Reason::WrongCredentials, false),
        (Reason::Disabled, false),
        (Reason::NotForService, false),
        (Reason::Throttled(Duration::from_secs(1)), true),
        (Reason::Overloaded, true),
        (Reason::Directory(DirectoryError::Contended), true),
    ] {
        assert_eq!(Denied { reason }.is_temporary(), temporary);
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_password_is_remembered_for_a_while() {
    let authenticator = authenticator(options()).await;
    let directory = authenticator.directory().clone();
    log_in(&authenticator, ALICE, "correct horse").await.unwrap();
    let before = directory.hashes_computed();
    for _ in 0..10 {
        log_in(&authenticator, ALICE, "correct horse").await.unwrap();
    }
    assert_eq!(directory.hashes_computed(), before);
    log_in(&authenticator, ALICE, "wrong").await.unwrap_err();
    assert_eq!(directory.hashes_computed(), before + 1);

    tokio::time::advance(Duration::from_secs(16 * 60)).await;
    log_in(&authenticator, ALICE, "correct horse").await.unwrap();
    assert_eq!(directory.hashes_computed(), before + 2);

    directory.set_disabled(id(&directory), true).await.unwrap();
    assert_eq!(log_in(&authenticator, ALICE, "correct horse").await, because(Reason::Disabled));
    directory.set_disabled(id(&directory), false).await.unwrap();
    directory.set_password(id(&directory), NewPassword::Plain("new".into())).await.unwrap();
    assert_eq!(log_in(&authenticator, ALICE, "correct horse").await, because(Reason::WrongCredentials));
    log_in(&authenticator, ALICE, "new").await.unwrap();
}

#[tokio::test]
async fn remembering_can_be_switched_off() {
    let directory = directory(options()).await;
    with_account(&directory, ALICE, "correct horse").await;
    let options = AuthenticatorOptions { remember_for: None, ..AuthenticatorOptions::default() };
    let authenticator = Authenticator::new(directory.clone(), options).unwrap();
    log_in(&authenticator, ALICE, "correct horse").await.unwrap();
    let before = directory.hashes_computed();
    log_in(&authenticator, ALICE, "correct horse").await.unwrap();
    assert_eq!(directory.hashes_computed(), before + 1);
}

#[tokio::test]
async fn a_password_of_former_rules_is_kept_by_the_present_ones_after_a_log_in() {
    let former = directory(options()).await;
    let alice = with_account(&former, ALICE, "correct horse").await;
    let stored = |directory: &Directory| {
        let key = format!("account-data/{:016x}/credentials", alice.id.0);
        String::from_utf8(directory.store().get(&key).unwrap().unwrap().value).unwrap()
    };
    assert!(stored(&former).contains("m=8,t=1,p=1") && stored(&former).contains("\"iterations\":4096"));

    let hashing = HashingRules {
        cost: Argon2Cost::new(16, 2, 1).unwrap(),
        scram_iterations: 5000,
        scram_sha1: false,
        ..HashingRules::default()
    };
    let present = DirectoryOptions { hashing, ..options() };
    let present = Directory::open(former.store().clone(), present).await.unwrap();
    let authenticator = Authenticator::new(present.clone(), AuthenticatorOptions::default()).unwrap();
    log_in(&authenticator, ALICE, "wrong").await.unwrap_err();
    assert!(stored(&present).contains("m=8,t=1,p=1"));
    log_in(&authenticator, ALICE, "correct horse").await.unwrap();
    let now = stored(&present);
    assert!(
        now.contains("m=16,t=2,p=1") && now.contains("\"iterations\":5000") && !now.contains("sha1"),
        "{now}"
    );
    log_in(&authenticator, ALICE, "correct horse").await.unwrap();
    assert_eq!(stored(&present), now, "once is enough");
}

#[tokio::test]
async fn a_hash_from_elsewhere_is_replaced_at_the_first_log_in() {
    let authenticator = authenticator(options()).await;
    let directory = authenticator.directory();
    let hash = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
    directory.set_password(id(directory), NewPassword::Hash(hash.into())).await.unwrap();
    assert!(!directory.credentials(id(directory)).unwrap().scram);
    assert!(log_in(&authenticator, ALICE, "correct horse").await.is_err());
    assert!(log_in(&authenticator, ALICE, "Hello world!").await.is_ok());
    assert!(directory.credentials(id(directory)).unwrap().scram);
    assert!(log_in(&authenticator, ALICE, "Hello world!").await.is_ok());
    let unusable = directory.set_password(id(directory), NewPassword::Hash("x".into())).await;
    assert!(matches!(unusable, Err(DirectoryError::UnusableHash(_))));
}

#[tokio::test]
async fn app_passwords_are_made_limited_listed_and_revoked() {
    let authenticator = authenticator(options()).await;
    let directory = authenticator.directory();
    let account = id(directory);
    let phone = directory.add_app_password(account, "phone", None).await.unwrap();
    let sender =
        directory.add_app_password(account, "printer", Some([Service::Submission].into())).await.unwrap();
    let before = directory.hashes_computed();
    let identity = log_in(&authenticator, ALICE, phone.expose()).await.unwrap();
    assert_eq!((identity.account, identity.proof), (account, Proof::AppPassword("phone".into())));
    assert_eq!(log_in(&authenticator, ALICE, sender.expose()).await, because(Reason::NotForService));
    let identity =
        authenticator.password(from("192.0.2.1", Service::Submission), ALICE, &sender).await.unwrap();
    assert_eq!(identity.limited_to, Some([Service::Submission].into()));
    assert_eq!(directory.hashes_computed(), before, "no slow hash for those");

    let names: Vec<String> =
        directory.credentials(account).unwrap().app_passwords.into_iter().map(|app| app.name).collect();
    assert_eq!(names, ["phone", "printer"]);
    let twice = directory.add_app_password(account, "phone", None).await.unwrap_err();
    assert!(matches!(twice, DirectoryError::AppPasswordExists { .. }));
    directory.revoke_app_password(account, "phone").await.unwrap();
    assert_eq!(log_in(&authenticator, ALICE, phone.expose()).await, because(Reason::WrongCredentials));
    let gone = directory.revoke_app_password(account, "phone").await.unwrap_err();
    assert_eq!(gone.to_string(), "alice@example.org has no app password called 'phone'");
}

async fn scram(authenticator: &Authenticator, login: &str, hash: ScramHash) -> ScramAttempt {
    authenticator.scram(imap(), login, hash).await.unwrap()
}

/// Which of the keys handed out are those of this password, as a proof would tell.
fn proof(attempt: &ScramAttempt, hash: ScramHash, password: &str) -> Option<usize> {
    attempt.keys().iter().position(|keys| {
        ScramKeys::derive(hash, password, &keys.salt, keys.iterations).is_some_and(|derived| derived == *keys)
    })
}

#[tokio::test]
async fn scram_works_with_the_password_and_with_app_passwords() {
    let authenticator = authenticator(options()).await;
    let directory = authenticator.directory();
    let account = id(directory);
    let phone = directory.add_app_password(account, "phone", None).await.unwrap();
    let sender =
        directory.add_app_password(account, "printer", Some([Service::Submission].into())).await.unwrap();
    // App passwords work on when the password changes.
    directory.set_password(account, NewPassword::Plain("battery staple".into())).await.unwrap();
    for hash in [ScramHash::Sha1, ScramHash::Sha256] {
        for (password, expected) in [
            ("battery staple", Ok(Proof::Password)),
            (phone.expose().as_str(), Ok(Proof::AppPassword("phone".into()))),
            (sender.expose().as_str(), Err(Reason::NotForService)),
            ("correct horse", Err(Reason::WrongCredentials)),
        ] {
            let attempt = scram(&authenticator, ALICE, hash).await;
            assert_eq!(attempt.keys().len(), 3);
            let salt = &attempt.keys()[0].salt;
            assert!(attempt.keys().iter().all(|keys| keys.salt == *salt && keys.iterations == 4096));
            let proved = proof(&attempt, hash, password);
            let outcome = attempt.finish(proved).map(|it| it.proof).map_err(|denied| denied.reason);
            assert_eq!(outcome, expected, "{hash:?} {password}");
        }
    }
}

#[tokio::test]
async fn scram_does_not_tell_which_names_exist() {
    let authenticator = authenticator(options()).await;
    let directory = authenticator.directory();
    let real = scram(&authenticator, ALICE, ScramHash::Sha256).await;
    let (salt, iterations) = (real.keys()[0].salt.clone(), real.keys()[0].iterations);
    assert!(real.finish(Some(0)).is_ok());
    let nobody = scram(&authenticator, "Nobody@example.org", ScramHash::Sha256).await;
    let keys = nobody.keys().to_vec();
    assert_eq!((keys[0].salt.len(), keys[0].iterations, keys.len()), (salt.len(), iterations, 1));
    assert_eq!(nobody.finish(Some(0)), because(Reason::UnknownName), "whatever is proved");

    // The same again, in this process and the next.
    let options = AuthenticatorOptions::default();
    let reopened = Directory::open(directory.store().clone(), common::options()).await.unwrap();
    let next = Authenticator::new(reopened, options).unwrap();
    for authenticator in [&authenticator, &next] {
        assert_eq!(scram(authenticator, "nobody@example.org", ScramHash::Sha256).await.keys(), keys);
    }
    assert_ne!(
        scram(&authenticator, "nobody2@example.org", ScramHash::Sha256).await.keys()[0].salt,
        keys[0].salt
    );

    // An account whose password came as a hash has no keys, and looks the same.
    let hash = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
    directory.set_password(id(directory), NewPassword::Hash(hash.into())).await.unwrap();
    let attempt = scram(&authenticator, ALICE, ScramHash::Sha256).await;
    assert_eq!(attempt.keys().len(), 1);
    assert_eq!(attempt.finish(Some(0)), because(Reason::WrongCredentials));
}

#[tokio::test]
async fn a_shared_secret_is_for_accounts_that_ask_for_one() {
    let authenticator = authenticator(options()).await;
    let directory = authenticator.directory();
    let account = id(directory);
    let is = |right: &'static str| move |secret: &Secret<String>| secret.expose() == right;
    let attempt = from("192.0.2.1", Service::Pop3);
    assert_eq!(
        authenticator.shared_secret(attempt, ALICE, is("")).await,
        because(Reason::WrongCredentials),
        "no secret is not an empty secret"
    );
    assert_eq!(
        authenticator.shared_secret(attempt, "x@example.org", |_| true).await,
        because(Reason::UnknownName)
    );
    directory.set_shared_secret(account, Some("tanstaaf".into())).await.unwrap();
    assert!(directory.credentials(account).unwrap().shared_secret);
    assert!(authenticator.shared_secret(attempt, ALICE, is("tanstaaf")).await.is_ok());
    assert!(authenticator.shared_secret(attempt, ALICE, is("other")).await.is_err());
    assert!(log_in(&authenticator, ALICE, "tanstaaf").await.is_err(), "it is no password");
    let generated = directory.generate_shared_secret(account).await.unwrap();
    let right = move |secret: &Secret<String>| *secret == generated;
    assert!(authenticator.shared_secret(attempt, ALICE, right).await.is_ok());
    directory.set_shared_secret(account, None).await.unwrap();
    assert!(authenticator.shared_secret(attempt, ALICE, |_| true).await.is_err());
}

#[tokio::test]
async fn passwords_that_programs_cannot_send_are_refused() {
    let directory = directory(options()).await;
    directory.add_domain(&domain("example.org")).await.unwrap();
    for password in ["", "a\0b", "a\nb", &"x".repeat(1025)] {
        let refused = directory.prepare_password(NewPassword::Plain(password.into())).await;
        assert!(matches!(refused, Err(DirectoryError::UnusablePassword(_))), "{password:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn guessing_takes_longer_and_longer_and_the_owner_does_not_notice() {
    let directory = directory(options()).await;
    with_account(&directory, ALICE, "correct horse").await;
    let authenticator = Authenticator::new(directory, AuthenticatorOptions::default()).unwrap();
    log_in(&authenticator, ALICE, "correct horse").await.unwrap();
    let start = tokio::time::Instant::now();
    for name in [ALICE, "nobody@example.org"] {
        for n in 0..8 {
            let attempt = from("198.51.100.1", Service::Imap);
            authenticator.password(attempt, name, &format!("guess{n}").into()).await.unwrap_err();
        }
    }
    assert!(start.elapsed() > Duration::from_secs(60), "{:?}", start.elapsed());
    for n in 0..20 {
        let name = format!("user{n}@example.org");
        let _ = authenticator.password(from("198.51.100.1", Service::Imap), &name, &"guess".into()).await;
    }
    let banned =
        authenticator.password(from("198.51.100.1", Service::Imap), ALICE, &"correct horse".into()).await;
    assert!(matches!(banned, Err(Denied { reason: Reason::Throttled(_) })), "{banned:?}");
    let start = tokio::time::Instant::now();
    log_in(&authenticator, ALICE, "correct horse").await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// A telephone whose owner has changed the password at the computer.
#[tokio::test(start_paused = true)]
async fn an_outdated_password_is_not_guessing() {
    let directory = directory(options()).await;
    with_account(&directory, ALICE, "correct horse").await;
    let authenticator = Authenticator::new(directory.clone(), AuthenticatorOptions::default()).unwrap();
    let phone = from("198.51.100.1", Service::Imap);
    for name in [ALICE, "nobody@example.org"] {
        let before = directory.hashes_computed();
        for _ in 0..10 {
            assert!(authenticator.password(phone, name, &"old".into()).await.is_err());
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        assert_eq!(directory.hashes_computed() - before, 1, "{name}");
    }
    for n in 0..40 {
        let _ = authenticator.password(phone, &format!("user{n}@example.org"), &"old".into()).await;
        assert!(authenticator.password(phone, ALICE, &"old".into()).await.is_err());
    }
    let laptop = authenticator.password(phone, ALICE, &"correct horse".into()).await;
    assert!(matches!(laptop, Err(Denied { reason: Reason::Throttled(_) })), "guessing is still guessing");
    tokio::time::advance(Duration::from_secs(3600)).await;
    for _ in 0..40 {
        assert!(authenticator.password(phone, ALICE, &"old".into()).await.is_err());
    }
    assert!(authenticator.password(phone, ALICE, &"correct horse".into()).await.is_ok());

    // A new password may be one that was wrong before.
    directory.set_password(id(&directory), NewPassword::Plain("old".into())).await.unwrap();
    assert!(authenticator.password(phone, ALICE, &"old".into()).await.is_ok());
    with_account(&directory, "nobody@example.org", "old").await;
    assert!(authenticator.password(phone, "nobody@example.org", &"old".into()).await.is_ok());
}

#[tokio::test]
async fn who_was_let_in_hears_when_that_is_taken_back() {
    let authenticator = authenticator(options()).await;
    let directory = authenticator.directory();
    let account = id(directory);
    let phone = directory.add_app_password(account, "phone", None).await.unwrap();
    let by_password = log_in(&authenticator, ALICE, "correct horse").await.unwrap();
    let by_phone = log_in(&authenticator, ALICE, phone.expose()).await.unwrap();

    let (mut main, mut other) = (directory.access(), directory.access());
    directory.set_name(account, Some("Alice".into())).await.unwrap();
    assert!(!main.is_revoked(&by_password), "a name is nothing to log in with");
    directory.set_password(account, NewPassword::Plain("battery staple".to_owned().into())).await.unwrap();
    assert!(!other.is_revoked(&by_phone), "app passwords stay");
    main.revoked(&by_password).await;
    directory.revoke_app_password(account, "phone").await.unwrap();
    assert!(other.is_revoked(&by_phone) && !main.is_revoked(&by_password));
    directory.set_disabled(account, true).await.unwrap();
    assert!(main.is_revoked(&by_password));
    directory.set_disabled(account, false).await.unwrap();
    assert!(!main.is_revoked(&by_password), "said once");
    directory.remove_account(account).await.unwrap();
    assert!(main.is_revoked(&by_password));

    // Who does not listen in time has missed something.
    let mut late = directory.access();
    let bob = directory.add_account(NewAccount::new(address("bob@example.org"))).await.unwrap().id;
    for _ in 0..200 {
        directory.set_disabled(bob, true).await.unwrap();
        directory.set_disabled(bob, true).await.unwrap();
    }
    assert!(late.is_revoked(&by_password));
}
