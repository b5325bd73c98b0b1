//! Aliases in a store: what an address leads to, what may be changed, and what is seen of a change.
#![allow(clippy::unwrap_used)]

use packetboat_account::{Directory, DirectoryOptions, NewAccount};
use packetboat_mail::alias::{
    AliasError, Aliases, Book, Expanded, LEGS_MAX, Lead, Leg, Listed, Missing, Moved, Separator, TARGETS_MAX,
    Verified, expand, srs,
};
use packetboat_message::{Address, Domain};
use packetboat_store::{AccountId, Store};

struct Town {
    store: Store,
    directory: Directory,
    aliases: Aliases,
}

fn addr(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

/// Two domains: anna, ben and carl at example.org, nobody yet at example.net.
async fn town() -> Town {
    let store = Store::temporary().unwrap();
    let directory = Directory::open(store.clone(), DirectoryOptions::default()).await.unwrap();
    for name in ["example.org", "example.net"] {
        directory.add_domain(&domain(name)).await.unwrap();
    }
    let aliases = Aliases::new(store.clone(), directory.clone());
    let town = Town { store, directory, aliases };
    for name in ["anna", "ben", "carl"] {
        town.account(&format!("{name}@example.org")).await;
    }
    town
}

impl Town {
    async fn account(&self, login: &str) -> AccountId {
        self.directory.add_account(NewAccount::new(addr(login))).await.unwrap().id
    }

    async fn add(&self, name: &str, targets: &[&str]) -> Result<(), AliasError> {
        let targets: Vec<Address> = targets.iter().map(|text| addr(text)).collect();
        self.aliases.add(&addr(name), &targets, Missing::Refuse).await.map(|_| ())
    }

    async fn rules(&self, of: &str, how: impl FnOnce(&mut packetboat_mail::alias::DomainRules)) {
        self.aliases.change_rules(&domain(of), Missing::Refuse, how).await.unwrap();
    }

    /// Where an address ends, by login name of who gets it.
    fn ends(&self, address: &str) -> String {
        match self.aliases.expand(&addr(address)).unwrap() {
            Expanded::To(to) => {
                let end = |leg: &Leg| match leg {
                    Leg::Local(local) => {
                        let tag = local.tag.as_deref().map_or_else(String::new, |tag| format!(" +{tag}"));
                        format!("{}{tag}", local.account.login.local())
                    }
                    Leg::Remote(remote) => remote.address.to_string(),
                };
                to.legs.iter().map(end).collect::<Vec<_>>().join(" ")
            }
            Expanded::Nobody => "nobody".to_owned(),
            Expanded::Elsewhere => "elsewhere".to_owned(),
            Expanded::Moved(to) => format!("moved {to}"),
            Expanded::NotOurs(why) => why.to_string(),
            Expanded::Broken(failure) => format!("broken {failure}"),
        }
    }
}

#[tokio::test]
async fn what_applies_first_counts() {
    let town = town().await;
    town.add("team@example.org", &["anna@example.org", "ben@example.org", "x@elsewhere.test"]).await.unwrap();
    town.add("anna+orders@example.org", &["carl@example.org"]).await.unwrap();
    town.rules("example.org", |rules| {
        rules.generic = Some(addr("ben@example.org"));
        rules.catch_all = Some(addr("carl@example.org"));
    })
    .await;
    town.rules("example.net", |rules| rules.same_as = Some(domain("example.org"))).await;
    for (address, ends) in [
        ("anna@example.org", "anna"),
        ("ANNA+x@example.org", "anna +x"),
        ("anna+Orders@example.org", "carl"),
        ("team@example.org", "anna ben x@elsewhere.test"),
        ("Team+q3@example.org", "anna +q3 ben +q3 x@elsewhere.test"),
        ("webmaster@example.org", "ben"),
        ("abuse+x@example.org", "ben +x"),
        ("postmaster@example.org", "anna"),
        ("postmaster+x@example.org", "anna +x"),
        ("whoever@example.org", "carl"),
        ("anna+x@example.net", "anna +x"),
        ("team@example.net", "anna ben x@elsewhere.test"),
        ("postmaster@example.net", "anna"),
        ("whoever@example.net", "carl"),
        ("anna@elsewhere.test", "elsewhere"),
        ("anna@[192.0.2.1]", "elsewhere"),
        ("SRS0=AAAAAA=AA=x.test=bob@example.org", "this return path was not made here"),
    ] {
        assert_eq!(town.ends(address), ends, "{address}");
        assert_eq!(town.ends(address), ends, "{address}, from memory");
    }
    // A name of its own goes before that of the other domain, and an account before the rest.
    town.add("team@example.net", &["carl@example.org"]).await.unwrap();
    town.account("info@example.org").await;
    assert_eq!(town.ends("team@example.net"), "carl");
    assert_eq!(town.ends("info@example.net"), "info");
}

#[tokio::test]
async fn a_domain_that_is_another_name_may_catch_what_neither_has() {
    let town = town().await;
    town.rules("example.net", |rules| {
        rules.same_as = Some(domain("example.org"));
        rules.catch_all = Some(addr("ben@example.org"));
    })
    .await;
    assert_eq!(town.ends("anna@example.net"), "anna");
    assert_eq!(town.ends("whoever@example.net"), "ben");
    assert_eq!(town.ends("whoever@example.org"), "nobody");
}

#[tokio::test]
async fn every_domain_has_a_postmaster() {
    let town = town().await;
    assert_eq!(town.ends("postmaster@example.net"), "anna", "the oldest account, where the domain has none");
    let dora = town.account("dora@example.net").await;
    assert_eq!(town.ends("Postmaster@example.net"), "dora");
    town.add("postmaster@example.net", &["ben@example.org"]).await.unwrap();
    assert_eq!(town.ends("postmaster@example.net"), "ben");
    town.aliases
        .set(&addr("postmaster@example.net"), &[addr("gone@example.net")], Missing::Accept)
        .await
        .unwrap();
    assert_eq!(town.ends("postmaster@example.net"), "dora", "an alias that leads to nobody does not count");
    town.aliases.remove(&addr("postmaster@example.net")).await.unwrap();
    town.directory.remove_account(dora).await.unwrap();
    assert_eq!(town.ends("postmaster@example.net"), "anna");
    let anna = town.directory.account_named("anna@example.org").unwrap().id;
    town.directory.remove_account(anna).await.unwrap();
    assert_eq!(town.ends("postmaster@example.net"), "ben");
}

#[tokio::test]
async fn tags_are_separated_as_the_domain_says() {
    let town = town().await;
    assert_eq!(town.ends("anna+x@example.org"), "anna +x");
    town.rules("example.org", |rules| rules.separator = Some(Separator::Is('-'))).await;
    assert_eq!(town.ends("anna-x-y@example.org"), "anna +x-y");
    assert_eq!(town.ends("anna+x@example.org"), "nobody");
    assert_eq!(town.ends("-x@example.org"), "nobody");
    town.rules("example.org", |rules| rules.separator = Some(Separator::None)).await;
    assert_eq!(town.ends("anna-x@example.org"), "nobody");
    for (text, separator) in [
        ("+", Some(Separator::Is('+'))),
        ("none", Some(Separator::None)),
        ("++", None),
        ("", None),
        ("@", None),
    ] {
        assert_eq!(text.parse().ok(), separator, "{text}");
    }
}

#[tokio::test]
async fn a_change_is_seen_at_once() {
    let town = town().await;
    for _ in 0..3 {
        assert_eq!(town.ends("help@example.org"), "nobody");
        town.add("help@example.org", &["anna@example.org"]).await.unwrap();
        assert_eq!(town.ends("help@example.org"), "anna");
        town.add("help@example.org", &["ben@example.org"]).await.unwrap();
        assert_eq!(town.ends("help@example.org"), "anna ben");
        let gone = [addr("Anna@example.org")];
        assert!(town.aliases.remove_targets(&addr("help@example.org"), &gone).await.unwrap().is_some());
        assert_eq!(town.ends("help@example.org"), "ben");
        let last = [addr("ben@example.org")];
        assert!(town.aliases.remove_targets(&addr("help@example.org"), &last).await.unwrap().is_none());
    }
    // What the directory changes is seen too.
    assert_eq!(town.ends("dora@example.org"), "nobody");
    let dora = town.account("dora@example.org").await;
    assert_eq!(town.ends("dora@example.org"), "dora");
    town.add("help@example.org", &["dora@example.org", "ben@example.org"]).await.unwrap();
    town.directory.remove_account(dora).await.unwrap();
    assert_eq!(town.ends("dora@example.org"), "nobody");
    assert_eq!(town.ends("help@example.org"), "ben");
    town.aliases.set(&addr("help@example.org"), &[addr("dora@example.org")], Missing::Accept).await.unwrap();
    assert!(town.ends("help@example.org").starts_with("broken help@example.org -> dora@example.org"));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let town = town().await;
    town.add("a@example.org", &["anna@example.org"]).await.unwrap();
    town.add("b@example.org", &["a@example.org"]).await.unwrap();
    let refused: [(&str, &[&str], &str); 8] = [
        (
            "a@example.org",
            &["b@example.org"],
            "a@example.org would lead back to itself: a@example.org -> b@example.org -> a@example.org",
        ),
        ("c@example.org", &["c@example.org"], "c@example.org would lead back to itself"),
        ("c@example.org", &["A@example.org", "gone@example.org"], "nobody has the address gone@example.org"),
        ("c@example.org", &[], "at least one address"),
        ("c@elsewhere.test", &["a@example.org"], "no domain elsewhere.test here"),
        ("Anna@example.org", &["ben@example.org"], "anna@example.org, which would get none of its mail"),
        ("c@example.org", &["SRS0=AAAAAA=AA=x.test=bob@example.org"], "nobody has the address SRS0="),
        (
            "anna@example.org",
            &["anna@example.org", "b@example.org"],
            "back to itself: anna@example.org -> b@example.org -> a@example.org -> anna@example.org",
        ),
    ];
    for (name, targets, why) in refused {
        let error = town.add(name, targets).await.unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
    assert_eq!(town.ends("c@example.org"), "nobody");

    // A copy for the account itself, and one for ben.
    town.add("anna@example.org", &["anna@example.org", "ben@example.org"]).await.unwrap();
    assert_eq!(town.ends("anna@example.org"), "anna ben");
    let itself = [addr("anna@example.org")];
    let error = town.aliases.remove_targets(&itself[0], &itself).await.unwrap_err();
    assert!(matches!(error, AliasError::IsAccount { .. }), "{error}");

    let many: Vec<Address> = (0..=TARGETS_MAX).map(|n| addr(&format!("x{n}@elsewhere.test"))).collect();
    let error = town.aliases.add(&addr("all@example.org"), &many, Missing::Refuse).await.unwrap_err();
    assert_eq!(error, AliasError::TooManyTargets { limit: TARGETS_MAX });
    town.aliases.add(&addr("most@example.org"), &many[1..], Missing::Refuse).await.unwrap();
    assert_eq!(town.ends("most@example.org").split(' ').count(), LEGS_MAX);
    let error = town.add("all@example.org", &["most@example.org", "y@elsewhere.test"]).await.unwrap_err();
    assert_eq!(error, AliasError::TooManyRecipients(addr("all@example.org")));

    let mut last = "a@example.org".to_owned();
    let error = loop {
        let next = format!("x{last}");
        match town.add(&next, &[&last]).await {
            Ok(()) => last = next,
            Err(error) => break error,
        }
        assert!(last.len() < 40, "no end");
    };
    assert!(matches!(error, AliasError::TooDeep(_)), "{error}");
    assert_eq!(town.ends(&last), "anna ben");
}

#[tokio::test]
async fn those_who_have_moved() {
    let town = town().await;
    let (old, new) = (addr("ben@example.org"), addr("ben@new.test"));
    town.aliases.set_moved(&old, &new, Moved::Refuse, Missing::Refuse).await.unwrap();
    assert_eq!(town.ends("ben@example.org"), "moved ben@new.test");
    assert_eq!(town.ends("ben+x@example.org"), "moved ben@new.test");
    town.aliases.set_moved(&old, &new, Moved::Forward, Missing::Refuse).await.unwrap();
    assert_eq!(town.ends("ben@example.org"), "ben@new.test");
    let Expanded::To(to) = expand(&old, &town.aliases).unwrap() else { panic!("broken") };
    assert_eq!(to.moved, Some(new));
    let error = town.add("ben@example.org", &["anna@example.org"]).await.unwrap_err();
    assert_eq!(error, AliasError::HasMoved(old.clone()));
    town.aliases.remove(&old).await.unwrap();
    assert_eq!(town.ends("ben@example.org"), "ben");
}

#[tokio::test]
async fn domains_do_not_go_round_and_do_not_go_away_in_use() {
    let town = town().await;
    let (org, net) = (domain("example.org"), domain("example.net"));
    let same_as = async |of: &Domain, other: &Domain| {
        let other = other.clone();
        let how = move |rules: &mut packetboat_mail::alias::DomainRules| rules.same_as = Some(other);
        town.aliases.change_rules(of, Missing::Refuse, how).await.map(|_| ())
    };
    assert!(matches!(same_as(&org, &org).await, Err(AliasError::DomainLoop { .. })));
    same_as(&net, &org).await.unwrap();
    assert!(matches!(same_as(&org, &net).await, Err(AliasError::DomainLoop { .. })));
    assert!(same_as(&net, &domain("elsewhere.test")).await.is_err());
    assert!(matches!(town.aliases.check_unused(&org).await, Err(AliasError::DomainNamed { .. })));
    town.aliases.check_unused(&net).await.unwrap();
    town.add("a@example.net", &["anna@example.org"]).await.unwrap();
    assert!(matches!(town.aliases.check_unused(&net).await, Err(AliasError::DomainInUse { .. })));
    town.aliases.remove(&addr("a@example.net")).await.unwrap();
    town.aliases.forget_domain(&net).await.unwrap();
    town.aliases.check_unused(&org).await.unwrap();

    let catch = |to: &str| {
        let to = addr(to);
        move |rules: &mut packetboat_mail::alias::DomainRules| rules.catch_all = Some(to)
    };
    let error =
        town.aliases.change_rules(&org, Missing::Refuse, catch("gone@example.org")).await.unwrap_err();
    assert_eq!(error, AliasError::TargetMissing(addr("gone@example.org")));
    town.rules("example.org", catch("anna@example.org")).await;
    // It would catch itself.
    let error =
        town.aliases.change_rules(&org, Missing::Refuse, catch("gone@example.org")).await.unwrap_err();
    assert_eq!(error, AliasError::TargetMissing(addr("gone@example.org")));
}

#[tokio::test]
async fn aliases_are_listed_in_order_page_by_page() {
    let town = town().await;
    for n in 0..7 {
        town.add(&format!("n{n}@example.org"), &["anna@example.org"]).await.unwrap();
    }
    town.add("n3@example.net", &["anna@example.org"]).await.unwrap();
    for (of, count) in [(None, 8), (Some(domain("example.org")), 7), (Some(domain("example.net")), 1)] {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = town.aliases.aliases(of.as_ref(), after.as_ref(), 3).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            names.extend(page.into_iter().map(|alias| alias.name.to_string()));
        }
        assert_eq!(names.len(), count, "{names:?}");
        assert!(of.is_some() || names[0] == "n3@example.net", "{names:?}");
    }
}

#[tokio::test]
async fn what_is_forwarded_has_a_return_path_that_leads_back() {
    let town = town().await;
    town.add("out@example.org", &["anna@elsewhere.test"]).await.unwrap();
    let remote = || match expand(&addr("out@example.org"), &town.aliases).unwrap() {
        Expanded::To(to) => match to.legs.into_iter().next() {
            Some(Leg::Remote(remote)) => remote,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let now = jiff::Timestamp::now();
    let path = |sender: Option<&str>| {
        let sender = sender.map(addr);
        town.aliases.return_path(sender.as_ref(), &remote(), now).unwrap().map(|path| path.to_string())
    };
    assert_eq!(path(None), None, "a bounce stays one");
    assert_eq!(path(Some("ben@example.org")).unwrap(), "ben@example.org", "ours anyway");
    let made = path(Some("bob@dest.test")).unwrap();
    assert!(made.starts_with("SRS0=") && made.ends_with("=dest.test=bob@example.org"), "{made}");
    // Bounces come back by it, in whatever case, and at none but our own domains.
    assert_eq!(town.ends(&made), "bob@dest.test");
    assert_eq!(town.ends(&made.to_lowercase()), "bob@dest.test");
    assert_eq!(town.ends(&made.replace("bob", "rob")), srs::Invalid::Forged.to_string());
    assert_eq!(town.ends(&made.replace("example.org", "elsewhere.test")), "elsewhere");
    town.aliases.rotate_srs_key().await.unwrap();
    assert_eq!(town.ends(&made), "bob@dest.test");
    let again = path(Some("bob@dest.test")).unwrap();
    assert_ne!(again, made, "another key");
    for _ in 0..2 {
        town.aliases.rotate_srs_key().await.unwrap();
    }
    assert_eq!(town.ends(&made), srs::Invalid::Forged.to_string(), "its key is gone");
    // The key is kept.
    let reopened = Aliases::new(town.store.clone(), town.directory.clone());
    assert!(matches!(reopened.find(&addr(&again)).unwrap(), Lead::Step(_)));
    let long = format!("{}@dest.test", "a".repeat(60));
    assert_eq!(path(Some(&long)).unwrap(), long);
    town.rules("example.org", |rules| rules.srs = false).await;
    assert_eq!(path(Some("bob@dest.test")).unwrap(), "bob@dest.test");
    assert_eq!(town.ends(&again), "bob@dest.test", "what was made still leads back");
}

#[tokio::test]
async fn names_are_verified_and_expanded() {
    let town = town().await;
    town.add("team@example.org", &["anna@example.org", "x@elsewhere.test"]).await.unwrap();
    town.add("one@example.org", &["anna@example.org"]).await.unwrap();
    let anna = town.directory.account_named("anna@example.org").unwrap().id;
    town.directory.set_name(anna, Some("Anna A.".to_owned())).await.unwrap();
    let (old, new) = (addr("carl@example.org"), addr("carl@new.test"));
    town.aliases.set_moved(&old, &new, Moved::Refuse, Missing::Refuse).await.unwrap();
    town.account("ben@example.net").await;
    for (name, verified) in [
        ("anna", "Mailbox(Anna A. anna@example.org)"),
        ("<anna@example.org>", "Mailbox(Anna A. anna@example.org)"),
        ("one", "Mailbox(Anna A. anna@example.org)"),
        ("team", "List(team@example.org)"),
        ("carl", "Moved(carl@new.test)"),
        ("ben", "Ambiguous(ben@example.net, ben@example.org)"),
        ("zoe", "Nobody"),
        ("zoe zoe", "Nobody"),
        ("", "Nobody"),
        ("x@elsewhere.test", "Elsewhere(x@elsewhere.test)"),
    ] {
        let shown = match town.aliases.verify(name).await.unwrap() {
            Verified::Mailbox(member) => {
                format!("Mailbox({} {})", member.name.unwrap_or_default(), member.address)
            }
            Verified::List(address) => format!("List({address})"),
            Verified::Forwarded(to) => format!("Forwarded({to})"),
            Verified::Moved(to) => format!("Moved({to})"),
            Verified::Ambiguous(all) => {
                format!("Ambiguous({})", all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            Verified::Elsewhere(address) => format!("Elsewhere({address})"),
            Verified::Nobody => "Nobody".to_owned(),
        };
        assert_eq!(shown, verified, "{name}");
    }
    let Listed::Members(members) = town.aliases.expand_list("team").await.unwrap() else { panic!("no list") };
    let members: Vec<String> = members.iter().map(|member| member.address.to_string()).collect();
    assert_eq!(members, ["anna@example.org", "x@elsewhere.test"]);
    assert!(matches!(town.aliases.expand_list("ben").await.unwrap(), Listed::Ambiguous(_)));
    assert!(matches!(town.aliases.expand_list("zoe").await.unwrap(), Listed::Nobody));
}
