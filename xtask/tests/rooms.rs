//! Who must not know what: the arrows between rooms, and the libraries a room stays free of.
//!
//! `ARCHITECTURE.md` tells the reasons; this test keeps them true. A new room is a new row of [`ROOMS`].

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

/// One row of the table.
struct Room {
    /// Package name without `packetboat-`.
    name: &'static str,
    /// The rooms it may name in its manifest, for tests and builds too.
    may_use: &'static [&'static str],
    /// Libraries that must not be linked into it, however far down.
    free_of: &'static [&'static str],
}

/// Runtimes, sockets, TLS, databases and the log: a conversation is handed bytes and time and answers with steps.
const IO: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "rustls",
    "hickory-resolver",
    "hyper",
    "tracing",
    "rusqlite",
    "tokio-postgres",
    "object_store",
];
/// What only the second floor speaks with. (tokio, whose tasks and channels the first floor uses, links sockets too:
/// that nobody but the second floor opens one is for [`OWNED`] and for review.)
const NETWORK: &[&str] = &["rustls", "hickory-resolver", "hyper"];
/// The store's ways of keeping things.
const DATABASES: &[&str] = &["rusqlite", "tokio-postgres", "object_store"];

const CONVERSATION: &[&str] = &["wire", "message"];

const ROOMS: &[Room] = &[
    Room { name: "wire", may_use: &[], free_of: IO },
    Room { name: "smtp", may_use: CONVERSATION, free_of: IO },
    Room { name: "pop3", may_use: CONVERSATION, free_of: IO },
    Room { name: "imap", may_use: CONVERSATION, free_of: IO },
    Room { name: "jmap", may_use: CONVERSATION, free_of: IO },
    Room { name: "ftp", may_use: CONVERSATION, free_of: IO },
    Room { name: "tftp", may_use: &["wire"], free_of: IO },
    Room { name: "dhcp", may_use: &["wire"], free_of: IO },
    Room { name: "message", may_use: &[], free_of: IO },
    Room { name: "store", may_use: &[], free_of: NETWORK },
    // A credential is checked in the steps that `wire` defines for SASL.
    Room { name: "account", may_use: &["store", "message", "wire"], free_of: NETWORK },
    Room { name: "mail", may_use: &["store", "account", "message"], free_of: NETWORK },
    Room { name: "files", may_use: &["store", "account"], free_of: NETWORK },
    Room {
        name: "server",
        may_use: &[
            "wire", "smtp", "pop3", "imap", "jmap", "ftp", "tftp", "dhcp", "message", "account", "mail",
            "files", "store",
        ],
        free_of: &[],
    },
    Room {
        name: "client",
        may_use: &["wire", "smtp", "pop3", "imap", "jmap", "ftp", "tftp", "message"],
        free_of: DATABASES,
    },
];

/// The binary: command line only.
const BINARY: &str = "packetboat";
const BINARY_MAY_USE: &[&str] = &["server", "client"];
/// What its tests drive the server with: the client's side of a conversation, where no foreign client says all of it.
const ITS_TESTS_MAY_USE: &[&str] = &["wire", "ftp"];

/// Tools that stand beside the house and know it only from outside.
const OUTSIDE: &[&str] = &["xtask", "bench"];

/// Material for tests, which knows nothing of the house and which any room may name.
const FOR_TESTS: &[&str] = &["packetboat-corpus"];

/// Libraries that one room alone names in its manifest.
const OWNED: &[(&str, &[&str])] = &[
    ("rusqlite", &["store"]),
    ("argon2", &["account"]),
    // The tests of the binary have sockets of kinds that the standard library does not make.
    ("socket2", &["server", "client", "packetboat"]),
    ("mio", &["server"]),
    // The load generator gives the servers it measures a certificate, and tests theirs.
    ("rcgen", &["server", "bench", "packetboat"]),
    ("hickory-resolver", &["server"]),
    ("clap", &["packetboat", "xtask", "bench"]),
];

/// The manifests, as far as the rules look at them.
#[derive(Default)]
struct Graph {
    /// Workspace member -> packages its manifest names, of every kind.
    direct: BTreeMap<String, BTreeSet<String>>,
    /// Package -> packages linked into it (no build or test dependencies).
    linked: BTreeMap<String, BTreeSet<String>>,
}

fn room_of(package: &str) -> &str {
    package.strip_prefix("packetboat-").unwrap_or(package)
}

impl Graph {
    fn read() -> Graph {
        let metadata = cargo_metadata::MetadataCommand::new()
            .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
            .other_options(
                ["--locked", "--filter-platform", "x86_64-unknown-linux-gnu"].map(str::to_owned).to_vec(),
            )
            .exec()
            .unwrap();
        let name = |id: &cargo_metadata::PackageId| metadata[id].name.to_string();
        let mut graph = Graph::default();
        for member in metadata.workspace_packages() {
            let for_its_tests = |d: &cargo_metadata::Dependency| {
                member.name.as_str() == BINARY
                    && d.kind == cargo_metadata::DependencyKind::Development
                    && ITS_TESTS_MAY_USE.contains(&room_of(&d.name))
            };
            let named = member.dependencies.iter().filter(|d| !for_its_tests(d));
            let named = named.map(|d| d.name.clone()).collect();
            graph.direct.insert(member.name.to_string(), named);
        }
        for node in &metadata.resolve.as_ref().unwrap().nodes {
            let linked = node
                .deps
                .iter()
                .filter(|d| d.dep_kinds.iter().any(|k| k.kind == cargo_metadata::DependencyKind::Normal))
                .map(|d| name(&d.pkg));
            graph.linked.entry(name(&node.id)).or_default().extend(linked);
        }
        graph
    }

    /// One way from `from` down to `to` through what is linked.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut ways = vec![vec![from.to_owned()]];
        while let Some(way) = ways.pop() {
            let last = way.last()?;
            if last == to {
                return Some(way);
            }
            for next in self.linked.get(last).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    ways.push([way.as_slice(), std::slice::from_ref(next)].concat());
                }
            }
        }
        None
    }

    fn offences(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (member, named) in &self.direct {
            let room = room_of(member);
            let row = ROOMS.iter().find(|r| r.name == room);
            let may_use = match row {
                Some(row) => row.may_use,
                None if member == BINARY => BINARY_MAY_USE,
                None if OUTSIDE.contains(&member.as_str()) || FOR_TESTS.contains(&member.as_str()) => &[],
                None => {
                    found.push(format!(
                        "{member}: no such room in the table; add its row to xtask/tests/rooms.rs"
                    ));
                    continue;
                }
            };
            for other in named {
                let is_room = self.direct.contains_key(other)
                    && other != member
                    && !FOR_TESTS.contains(&other.as_str());
                if is_room && !may_use.contains(&room_of(other)) {
                    found.push(format!("{member} -> {other}: {room} must not know {}", room_of(other)));
                }
                let owners = OWNED.iter().find(|(library, _)| library == other);
                if let Some((library, owners)) = owners
                    && !owners.contains(&room)
                {
                    found.push(format!("{member} -> {library}: only {} may name it", owners.join(", ")));
                }
            }
            for library in row.map_or(&[][..], |r| r.free_of) {
                if let Some(way) = self.way(member, library) {
                    found.push(format!("{room} must stay free of {library}: {}", way.join(" -> ")));
                }
            }
        }
        found
    }
}

#[test]
fn every_room_looks_only_down() {
    let found = Graph::read().offences();
    assert!(found.is_empty(), "rooms that know too much:\n{}", found.join("\n"));
}

#[test]
fn the_table_itself_has_no_way_up() {
    for room in ROOMS {
        for below in room.may_use {
            let below = ROOMS.iter().find(|r| r.name == *below).unwrap();
            assert!(!below.may_use.contains(&room.name), "{} and {} name each other", room.name, below.name);
            // Whatever is kept out of a room is kept out of the rooms it stands on.
            for library in room.free_of {
                assert!(
                    below.free_of.contains(library),
                    "{}: {library} comes in by {}",
                    room.name,
                    below.name
                );
            }
        }
    }
}

#[test]
fn offences_are_found() {
    let graph = |direct: &[(&str, &[&str])], linked: &[(&str, &[&str])]| {
        let map = |rows: &[(&str, &[&str])]| {
            rows.iter()
                .map(|(from, to)| ((*from).to_owned(), to.iter().map(|t| (*t).to_owned()).collect()))
                .collect()
        };
        Graph { direct: map(direct), linked: map(linked) }.offences()
    };
    let rooms: &[(&str, &[&str])] = &[("packetboat-smtp", &["packetboat-mail"]), ("packetboat-mail", &[])];
    assert_eq!(graph(rooms, &[]), ["packetboat-smtp -> packetboat-mail: smtp must not know mail"]);
    assert_eq!(
        graph(&[("packetboat-wire", &["x"])], &[("packetboat-wire", &["x"]), ("x", &["mio"])]),
        ["wire must stay free of mio: packetboat-wire -> x -> mio"]
    );
    assert_eq!(
        graph(&[("packetboat-mail", &["rusqlite"])], &[]),
        ["packetboat-mail -> rusqlite: only store may name it"]
    );
    assert_eq!(graph(&[("packetboat-attic", &[])], &[]).len(), 1);
    assert_eq!(graph(&[("packetboat-pop3", &["packetboat-wire"]), ("packetboat-wire", &[])], &[]).len(), 0);
}
