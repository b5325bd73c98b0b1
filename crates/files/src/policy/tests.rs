#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::path::PathBuf;

use super::*;
use crate::Right;

fn path(text: &str) -> VirtualPath {
    VirtualPath::root().resolve(text.as_bytes()).unwrap()
}

fn users(text: &str) -> Vec<Users> {
    text.split(' ').map(|one| one.parse().unwrap()).collect()
}

fn folder(name: &str, place: &str, at: Option<&str>, whose: &str, rights: Rights) -> Folder {
    Folder {
        name: name.to_owned(),
        path: Template::parse(place).unwrap(),
        at: at.map(path),
        users: users(whose),
        rights,
        quota: Quota::default(),
    }
}

fn policy() -> Policy {
    let home = |text: &str| Some(Home::At(Template::parse(text).unwrap()));
    Policy {
        base: Terms { home: home("/data/files/{account}"), up: Some(1000), ..Terms::default() },
        rules: vec![
            Rule {
                users: users("alice@a.test"),
                terms: Terms {
                    quota_octets: Some(5),
                    cost_centres: Some(vec!["x".into()]),
                    ..Terms::default()
                },
            },
            Rule {
                users: users("*@a.test"),
                terms: Terms { quota_octets: Some(7), quota_files: Some(8), ..Terms::default() },
            },
            Rule {
                users: users("*"),
                terms: Terms { quota_files: Some(9), connections: Some(3), ..Terms::default() },
            },
            Rule {
                users: users("office@b.test"),
                terms: Terms {
                    networks: Some(vec!["192.0.2.0/24".parse().unwrap()]),
                    denied_networks: Some(vec!["192.0.2.66/32".parse().unwrap()]),
                    ..Terms::default()
                },
            },
            Rule {
                users: users("safe@b.test"),
                terms: Terms { require_tls: Some(true), home: Some(Home::None), ..Terms::default() },
            },
        ],
        folders: vec![
            folder("press", "/srv/press", Some("/press"), "* anonymous", Rights::READ_ONLY),
            folder("own", "/srv/own/{user}", Some("/in/own"), "*@a.test", Rights::ALL),
            folder("archive", "/srv/archive", None, "alice@a.test", Rights::READ_ONLY),
        ],
        rights: vec![
            PathRights { path: path("/press/drafts"), users: users("alice@a.test"), rights: Rights::ALL },
            PathRights { path: path("/press/drafts"), users: users("*"), rights: Rights::NONE },
        ],
        anonymous: Some(Anonymous {
            path: Template::parse("/srv/pub").unwrap(),
            incoming: Some(path("/incoming")),
            password: AnonymousPassword::EMail,
            terms: Terms { connections: Some(20), ..Terms::default() },
        }),
        total: Rates::default(),
        nothing: PathBuf::from("/data/nothing"),
        sync: Sync::Never,
        umask: 0o022,
        behaviour: std::sync::Arc::default(),
    }
}

const CLEAR: Arrival = Arrival { from: None, tls: false };

#[test]
fn what_is_set_most_closely_counts() {
    let policy = policy();
    let terms = |login: &str| {
        let entrance = policy.entrance(Visitor::Account(login), CLEAR).unwrap();
        let Entrance { quota, connections, rates, .. } = entrance;
        (quota.octets, quota.files, connections, rates.up)
    };
    assert_eq!(terms("alice@a.test"), (Some(5), Some(8), Some(3), Some(1000)));
    assert_eq!(terms("Alice@A.Test"), (Some(5), Some(8), Some(3), Some(1000)));
    assert_eq!(terms("bob@a.test"), (Some(7), Some(8), Some(3), Some(1000)));
    assert_eq!(terms("carol@b.test"), (None, Some(9), Some(3), Some(1000)));
    let anybody = policy.entrance(Visitor::Anonymous, CLEAR).unwrap();
    assert_eq!((anybody.quota, anybody.connections, anybody.rates.up), (Quota::default(), Some(20), None));
    assert_eq!(anybody.name, "anonymous");
}

#[test]
fn of_two_rules_as_close_the_last_counts() {
    let mut policy = policy();
    let terms = Terms { quota_octets: Some(6), ..Terms::default() };
    policy.rules.push(Rule { users: users("*@a.test"), terms });
    let entrance = policy.entrance(Visitor::Account("bob@a.test"), CLEAR).unwrap();
    assert_eq!((entrance.quota.octets, entrance.quota.files), (Some(6), Some(8)));
}

#[test]
fn trees_by_whom_they_are_for() {
    let policy = policy();
    let trees = |visitor| {
        let entrance = policy.entrance(visitor, CLEAR).unwrap();
        let told = |tree: &Planned| format!("{}={}", tree.at, tree.location.path().display());
        let there: Vec<_> = entrance.trees.iter().map(told).collect();
        let named: Vec<_> = entrance.named.iter().map(|tree| tree.name.clone()).collect();
        (there.join(" "), named.join(" "))
    };
    for (visitor, there, named) in [
        (
            Visitor::Account("alice@a.test"),
            "/=/data/files/alice@a.test /press=/srv/press /in/own=/srv/own/alice",
            "press own archive",
        ),
        (Visitor::Account("carol@b.test"), "/=/data/files/carol@b.test /press=/srv/press", "press"),
        (Visitor::Anonymous, "/=/srv/pub /press=/srv/press", "press"),
    ] {
        assert_eq!(trees(visitor), (there.to_owned(), named.to_owned()), "{visitor:?}");
    }
    // Who has no files of their own stands in an empty room with doors.
    let tls = Arrival { tls: true, ..CLEAR };
    let entrance = policy.entrance(Visitor::Account("safe@b.test"), tls).unwrap();
    assert_eq!(entrance.trees[0].location.path(), PathBuf::from("/data/nothing"));
    assert!(!entrance.trees[0].rights.has(Right::Create));
    // A login name that is no directory's gets in nowhere.
    let odd = Visitor::Account("../x@a.test");
    assert_eq!(policy.entrance(odd, CLEAR), Err(Closed::UnfitLogin(UnfitLogin)));
}

#[test]
fn doors_that_stay_closed() {
    let mut policy = policy();
    let from = |text: &str| Arrival { from: Some(text.parse::<IpAddr>().unwrap()), tls: false };
    for (login, arrival, closed) in [
        ("office@b.test", from("192.0.2.1"), None),
        ("office@b.test", from("::ffff:192.0.2.1"), None),
        ("office@b.test", from("192.0.2.66"), Some(Closed::NotFromThere)),
        ("office@b.test", from("198.51.100.1"), Some(Closed::NotFromThere)),
        ("office@b.test", from("2001:db8::1"), Some(Closed::NotFromThere)),
        ("office@b.test", CLEAR, None),
        ("carol@b.test", from("198.51.100.1"), None),
        ("safe@b.test", CLEAR, Some(Closed::NeedsTls)),
        ("safe@b.test", Arrival { tls: true, ..CLEAR }, None),
    ] {
        assert_eq!(policy.entrance(Visitor::Account(login), arrival).err(), closed, "{login} {arrival:?}");
    }
    policy.anonymous = None;
    assert_eq!(policy.entrance(Visitor::Anonymous, CLEAR), Err(Closed::NotAnonymously));
    // Nobody is let in as an account of that name by it.
    assert!(policy.entrance(Visitor::Account("anonymous@a.test"), CLEAR).is_ok());
}

#[test]
fn rights_where_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut policy = policy();
    let at = |name: &str| Template::parse(&format!("{}/{name}", dir.path().display())).unwrap();
    policy.base.home = Some(Home::At(at("homes/{account}")));
    (policy.folders[0].path, policy.folders[1].path) = (at("press"), at("own/{user}"));
    policy.folders[2].path = at("nowhere");
    policy.anonymous.as_mut().unwrap().path = at("press");
    std::fs::create_dir_all(dir.path().join("press/drafts")).unwrap();
    std::fs::create_dir_all(dir.path().join("own")).unwrap();

    let space = |visitor, mounted: &[&str]| {
        let mounted: Vec<String> = mounted.iter().map(|&name| name.to_owned()).collect();
        policy.entrance(visitor, CLEAR).unwrap().space(&mounted, &|_| None).unwrap()
    };
    let alice = space(Visitor::Account("alice@a.test"), &[]);
    assert!(alice.missing.is_empty(), "{:?}", alice.missing);
    for (space, place, right, may) in [
        (&alice.space, "/x", Right::Create, true),
        (&alice.space, "/press/x", Right::Read, true),
        (&alice.space, "/press/x", Right::Write, false),
        (&alice.space, "/press/drafts/x", Right::Write, true),
        (&alice.space, "/in/own/x", Right::Create, true),
        (&space(Visitor::Account("bob@a.test"), &[]).space, "/press/drafts/x", Right::Read, false),
        (&space(Visitor::Anonymous, &[]).space, "/x", Right::Read, true),
        (&space(Visitor::Anonymous, &[]).space, "/x", Right::Create, false),
        (&space(Visitor::Anonymous, &[]).space, "/incoming/x", Right::Create, true),
        (&space(Visitor::Anonymous, &[]).space, "/incoming/x", Right::Read, false),
        (&space(Visitor::Anonymous, &[]).space, "/incoming", Right::List, false),
    ] {
        assert_eq!(space.permits(&path(place), right).is_ok(), may, "{place} {right:?}");
    }
    // The way to what lies deeper is there to be walked, and personal folders are made.
    assert!(alice.space.enter(&path("/in")).is_ok() && dir.path().join("own/alice").is_dir());
    // Where rights differ in a tree no link is followed, by which they could be evaded.
    std::os::unix::fs::symlink("drafts", dir.path().join("press/way")).unwrap();
    std::fs::write(dir.path().join("press/drafts/secret"), "x").unwrap();
    let bob = space(Visitor::Account("bob@a.test"), &[]);
    assert_eq!(bob.space.read(&path("/press/way/secret")).err(), Some(crate::Refusal::NotFound));
    // What cannot be mounted is missing, and the rest is there.
    let opened = space(Visitor::Account("alice@a.test"), &["archive"]);
    assert_eq!(opened.missing, [("archive".to_owned(), crate::Refusal::NotFound)]);
    assert!(opened.space.enter(&path("/press")).is_ok());
    std::fs::create_dir(dir.path().join("nowhere")).unwrap();
    let opened = space(Visitor::Account("alice@a.test"), &["archive"]);
    assert!(opened.missing.is_empty() && opened.space.enter(&path("/archive")).is_ok());
    assert!(opened.space.permits(&path("/archive/x"), Right::Write).is_err());
}

#[test]
fn smnt_finds_trees_by_name_and_by_place() {
    let entrance = policy().entrance(Visitor::Account("alice@a.test"), CLEAR).unwrap();
    let found = |text: &str| entrance.tree_named(text.as_bytes()).map(|tree| tree.name.as_str());
    for (text, name) in [
        ("archive", Some("archive")),
        ("/archive", Some("archive")),
        ("/in/own", Some("own")),
        ("press/", Some("press")),
        ("", None),
        ("/", None),
        ("nothing", None),
        ("../../etc", None),
    ] {
        assert_eq!(found(text), name, "{text}");
    }
    assert!(entrance.knows_cost_centre("x") && !entrance.knows_cost_centre("y"));
}

#[test]
fn passwords_of_those_without_one() {
    use AnonymousPassword::{Address, Any, EMail};
    for (password, any, email, address) in [
        ("", true, false, false),
        ("guest", true, true, false),
        ("Guest", true, true, false),
        ("me@", true, true, false),
        ("me@here.example", true, true, true),
        ("me@here", true, true, false),
        ("@here.example", true, false, false),
        ("me@here..example", true, true, false),
        ("mozilla", true, false, false),
        ("a\u{1b}b@c.example", false, false, false),
    ] {
        let admits = [Any, EMail, Address].map(|how| how.admits(password));
        assert_eq!(admits, [any, email, address], "{password}");
    }
}

#[test]
fn rights_are_not_moved_away_and_a_box_keeps_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut policy = policy();
    let at = |name: &str| Template::parse(&format!("{}/{name}", dir.path().display())).unwrap();
    policy.base.home = Some(Home::At(at("homes/{account}")));
    policy.folders.clear();
    policy.rights = vec![PathRights { path: path("/a/box"), users: users("*"), rights: Rights::DROP_BOX }];
    std::fs::create_dir_all(dir.path().join("homes/alice@a.test/a/box")).unwrap();
    let alice = policy
        .entrance(Visitor::Account("alice@a.test"), CLEAR)
        .unwrap()
        .space(&[], &|_| None)
        .unwrap()
        .space;
    // With the directory above it, the box would come out of the rights that are written for its path.
    assert_eq!(alice.rename(&path("/a"), &path("/b")), Err(crate::Refusal::NoPermission));
    assert_eq!(alice.rename(&path("/a/box"), &path("/b")), Err(crate::Refusal::NoPermission));
    // Two at once with one name: the first stays.
    let store = |random| alice.store(&path("/a/box/x"), crate::How::Replace, None, random).unwrap();
    let appended = alice.append(&path("/a/box/x"), None, 3).unwrap().0;
    let (one, two) = (store(1), store(2));
    one.commit().unwrap();
    assert_eq!(two.commit().err(), Some(crate::Refusal::Exists));
    assert_eq!(appended.commit().err(), Some(crate::Refusal::Exists));
}

#[test]
fn where_somebody_is_at_home() {
    let mut policy = policy();
    let home = |text: &str| Some(Home::At(Template::parse(text).unwrap()));
    policy.base.home = home("/data/{domain}/{user}");
    policy.rules = vec![
        Rule { users: users("bob@a.test"), terms: Terms { home: home("/srv/bob"), ..Terms::default() } },
        Rule { users: users("eve@a.test"), terms: Terms { home: Some(Home::None), ..Terms::default() } },
    ];
    let place = |visitor| policy.home(visitor).map(|home| home.path().display().to_string());
    assert_eq!(place(Visitor::Account("anna@a.test")).as_deref(), Some("/data/a.test/anna"));
    assert_eq!(place(Visitor::Account("bob@a.test")).as_deref(), Some("/srv/bob"));
    assert_eq!(place(Visitor::Account("eve@a.test")), None);
    assert_eq!(place(Visitor::Account("..@a.test")), None);
    let anonymous = policy.anonymous.as_ref().unwrap().path.to_string();
    assert_eq!(place(Visitor::Anonymous), Some(anonymous));
}

#[test]
fn a_folder_is_mounted_besides_those_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut policy = policy();
    let at = |name: &str| Template::parse(&format!("{}/{name}", dir.path().display())).unwrap();
    policy.base.home = Some(Home::At(at("homes/{account}")));
    let named = |name: &str| folder(name, &at(name).to_string(), None, "*", Rights::READ_ONLY);
    policy.folders = vec![named("press"), named("nowhere")];
    std::fs::create_dir_all(dir.path().join("press/drafts")).unwrap();
    let entrance = policy.entrance(Visitor::Account("alice@a.test"), CLEAR).unwrap();
    let mount = |name: &str, mounted: &[String]| entrance.mount(name.as_bytes(), mounted, &|_| None);
    assert_eq!(mount("elsewhere", &[]).map(drop), Err(crate::Refusal::NotFound));
    assert_eq!(mount("nowhere", &[]).map(drop), Err(crate::Refusal::NotFound));
    let (space, mounted) = mount("press", &[]).unwrap();
    assert!(space.enter(&path("/press/drafts")).is_ok());
    assert_eq!(mounted, ["press"]);
    assert_eq!(mount("/press", &mounted).unwrap().1, mounted, "it is there once");
}

#[test]
fn what_a_cost_centre_can_be() {
    let mut entrance = policy().entrance(Visitor::Account("bob@a.test"), CLEAR).unwrap();
    let long = "x".repeat(65);
    for (name, known) in [("x", true), (&long[..64], true), (&long[..], false), ("", false), ("a\nb", false)]
    {
        assert_eq!(entrance.knows_cost_centre(name), known, "{name:?}");
    }
    entrance.cost_centres = vec!["y".to_owned()];
    assert!(!entrance.knows_cost_centre("x") && entrance.knows_cost_centre("y"));
    assert!(entrance.may_store(None));
    entrance.account = AccountDemand::Store;
    assert!(!entrance.may_store(None) && entrance.may_store(Some("y")));
}
