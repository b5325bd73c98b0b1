#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use packetboat_store::AccountId;
use proptest::prelude::*;

use super::*;

/// Aliases in a table: `name: target target`; accounts are names without targets; domains other than `here` are
/// elsewhere. A line that begins with `!` is of a user who has moved and wants no mail here, `>` of one whose mail
/// follows.
#[derive(Default)]
struct Table {
    leads: BTreeMap<String, Lead>,
}

fn addr(text: &str) -> Address {
    match text.contains('@') {
        true => Address::parse(text).unwrap(),
        false => Address::parse(&format!("{text}@here")).unwrap(),
    }
}

fn account(name: &str, number: u64) -> Arc<Account> {
    let login = addr(name);
    Arc::new(Account {
        id: AccountId(number),
        addresses: vec![login.clone()],
        login,
        name: None,
        disabled: false,
        quota: Default::default(),
        roles: Default::default(),
        created_at: jiff::Timestamp::UNIX_EPOCH,
    })
}

impl Table {
    fn new(text: &str) -> Table {
        let mut table = Table::default();
        let mut own = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.contains(':') && !line.is_empty() {
                own.insert(line.to_owned(), account(line, number));
                let lead = Lead::Account { account: own[line].clone(), tag: None };
                table.leads.insert(addr(line).lookup_key(), lead);
            }
        }
        for line in text.lines().map(str::trim).filter(|line| line.contains(':')) {
            let (name, targets) = line.split_once(':').unwrap();
            let kind = match &name[..1] {
                "!" => StepKind::Moved(Moved::Refuse),
                ">" => StepKind::Moved(Moved::Forward),
                _ => StepKind::Alias,
            };
            let name = name.trim_start_matches(['!', '>']);
            let step = Step {
                name: addr(name),
                kind,
                targets: targets.split_whitespace().map(addr).collect(),
                own: own.get(name).cloned(),
                tag: None,
                srs: true,
            };
            table.leads.insert(addr(name).lookup_key(), Lead::Step(Arc::new(step)));
        }
        table
    }

    /// Recipients and failures of a name, as text.
    fn of(&self, name: &str) -> String {
        match expand(&addr(name), self).unwrap() {
            Expanded::To(to) => {
                let failures = to.failures.iter().map(|failure| format!("FAILED {failure}"));
                to.legs
                    .iter()
                    .map(ToString::to_string)
                    .chain(failures)
                    .collect::<Vec<_>>()
                    .join("; ")
                    .replace("@here", "")
            }
            Expanded::Broken(failure) => format!("BROKEN {failure}").replace("@here", ""),
            Expanded::Moved(to) => format!("MOVED {to}"),
            other => format!("{other:?}"),
        }
    }
}

impl Book for Table {
    type Error = Infallible;

    fn find(&self, address: &Address) -> Result<Lead, Infallible> {
        if address.domain().to_string() != "here" {
            return Ok(Lead::Elsewhere);
        }
        let key = address.lookup_key();
        if let Some(lead) = self.leads.get(&key) {
            return Ok(lead.clone());
        }
        // Subaddresses, as a real book has them.
        let Some((user, tag)) = key.split_once('+') else { return Ok(Lead::Nobody) };
        let tag: Arc<str> = tag.trim_end_matches("@here").into();
        Ok(match self.leads.get(&format!("{user}@here")) {
            Some(Lead::Account { account, .. }) => Lead::Account { account: account.clone(), tag: Some(tag) },
            Some(Lead::Step(step)) => Lead::Step(Arc::new(Step { tag: Some(tag), ..Step::clone(step) })),
            _ => Lead::Nobody,
        })
    }
}

#[test]
fn names_lead_where_they_say() {
    let table = Table::new(
        "anna
         ben
         info: sales ben
         sales: anna carl@elsewhere info2 gone
         info2: anna ben
         Mixed: ANNA ben Anna anna+x
         deep: info
         copy: copy@there Carl@elsewhere carl@elsewhere CARL@ELSEWHERE
         >left: ben
         !gone-away: anna@elsewhere
         team: gone-away ben",
    );
    for (name, ends) in [
        ("anna", "anna"),
        ("nobody", "Nobody"),
        ("x@elsewhere", "Elsewhere"),
        (
            "sales",
            "sales -> anna; sales -> carl@elsewhere; sales -> info2 -> ben; FAILED sales -> gone: nobody has this address",
        ),
        // The nearest first: ben is named by info itself.
        (
            "info",
            "info -> ben; info -> sales -> anna; info -> sales -> carl@elsewhere; FAILED info -> sales -> gone: nobody has this address",
        ),
        ("MIXED", "Mixed -> ANNA; Mixed -> ben"),
        // The case of what is elsewhere is not ours to judge; that of its domain is nobody's.
        (
            "copy",
            "copy -> copy@there; copy -> Carl@elsewhere; copy -> carl@elsewhere; copy -> CARL@elsewhere",
        ),
        ("left", "left -> ben"),
        ("gone-away", "MOVED anna@elsewhere"),
        ("team", "team -> ben; FAILED team -> gone-away: its user has moved"),
    ] {
        assert_eq!(table.of(name), ends, "{name}");
    }
    let Expanded::To(to) = expand(&addr("left"), &table).unwrap() else { panic!("not forwarded") };
    assert_eq!(to.moved, Some(addr("ben")));
}

#[test]
fn loops_end() {
    let table = Table::new(
        "anna
         ben
         self: self
         anna: anna ben@elsewhere
         a: b
         b: a
         c: d anna2
         d: c ben
         anna2: d
         cross: x y
         x: y
         y: x",
    );
    for (name, ends) in [
        ("self", "BROKEN self -> self: it leads back to where it came from"),
        // An alias of the account's own name keeps a copy there.
        ("anna", "anna -> anna; anna -> ben@elsewhere"),
        ("a", "BROKEN a -> b -> a: it leads back to where it came from"),
        // Those who are reached get the message, however it goes round besides.
        ("c", "c -> d -> ben"),
        ("cross", "BROKEN cross: it leads back to where it came from"),
    ] {
        assert_eq!(table.of(name), ends, "{name}");
    }
    let Expanded::To(to) = expand(&addr("c"), &table).unwrap() else { panic!("broken") };
    assert_eq!(to.loops.iter().map(ToString::to_string).collect::<Vec<_>>().len(), 1);
}

#[test]
fn tags_come_along_until_a_target_has_its_own() {
    let table = Table::new("anna\nben\ninfo: anna ben+own sales\nsales: carl@elsewhere\n");
    let Expanded::To(to) = expand(&addr("info+spring"), &table).unwrap() else { panic!("broken") };
    let tags: Vec<_> = to
        .legs
        .iter()
        .map(|leg| match leg {
            Leg::Local(local) => format!("{} {}", local.address, local.tag.as_deref().unwrap_or("-")),
            Leg::Remote(remote) => format!("{} for {:?}", remote.address, remote.rewrite),
        })
        .collect();
    assert_eq!(tags, ["anna@here spring", "ben+own@here own", "carl@elsewhere for Some(Name(\"here\"))"]);
}

#[test]
fn limits_hold() {
    let mut text = String::from("anna\n");
    for n in 0..DEPTH_MAX + 5 {
        text.push_str(&format!("a{n}: a{}\n", n + 1));
    }
    text.push_str(&format!("a{}: anna\n", DEPTH_MAX + 5));
    let table = Table::new(&text);
    assert!(table.of("a6").ends_with("-> anna"), "{}", table.of("a6"));
    assert!(table.of("a5").starts_with("BROKEN a5"), "{}", table.of("a5"));
    assert!(table.of("a5").contains("one behind the other"));

    let targets = |count: usize| (0..count).map(|n| format!(" x{n}@elsewhere")).collect::<String>();
    let table = Table::new(&format!("all:{}\nmore:{}", targets(LEGS_MAX), targets(LEGS_MAX + 1)));
    assert_eq!(table.of("all").matches("; ").count(), LEGS_MAX - 1);
    assert!(table.of("more").starts_with("BROKEN more: it stands for more than"));

    // Nobody at all, but much to look at.
    let mut text = format!("wide:{}\n", (0..100).map(|n| format!(" w{n}")).collect::<String>());
    for n in 0..100 {
        text.push_str(&format!("w{n}:{}\n", (0..200).map(|m| format!(" gone{m}")).collect::<String>()));
    }
    assert!(Table::new(&text).of("wide").contains("more than"));
}

/// What is reached from a name, by a search that knows no order, depth or chain.
fn reachable(edges: &[Vec<usize>], start: usize) -> BTreeSet<usize> {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![start]);
    while let Some(node) = todo.pop() {
        if seen.insert(node) {
            todo.extend(edges.get(node).into_iter().flatten());
        }
    }
    seen
}

proptest! {
    /// Names 0 to 11 are aliases of anything, 12 to 15 accounts, 16 to 19 elsewhere, 20 and 21 gone.
    #[test]
    fn any_graph_ends_at_what_can_be_reached(
        edges in proptest::collection::vec(proptest::collection::vec(0..22_usize, 1..6), 12),
        start in 0..12_usize,
    ) {
        let name = |n: usize| match n {
            16..20 => format!("n{n}@elsewhere"),
            n => format!("n{n}"),
        };
        let mut text = String::new();
        for n in 12..16 {
            text.push_str(&format!("{}\n", name(n)));
        }
        for (from, to) in edges.iter().enumerate() {
            let targets: Vec<String> = to.iter().map(|n| name(*n)).collect();
            text.push_str(&format!("{}: {}\n", name(from), targets.join(" ")));
        }
        let table = Table::new(&text);
        let reached = reachable(&edges, start);
        let expected: BTreeSet<String> =
            reached.iter().filter(|n| (12..20).contains(*n)).map(|n| addr(&name(*n)).to_string()).collect();
        let gone: BTreeSet<String> =
            reached.iter().filter(|n| **n >= 20).map(|n| addr(&name(*n)).to_string()).collect();
        match expand(&addr(&name(start)), &table).unwrap() {
            Expanded::To(to) => {
                let legs: Vec<String> = to.legs.iter().map(|leg| leg.address().to_string()).collect();
                let set: BTreeSet<String> = legs.iter().cloned().collect();
                prop_assert_eq!(set.len(), legs.len(), "one each: {:?}", legs);
                prop_assert_eq!(set, expected);
                let failed: BTreeSet<String> = to.failures.iter().map(|it| it.address.to_string()).collect();
                prop_assert_eq!(failed, gone);
                for leg in &to.legs {
                    // The chain is a way that exists.
                    let mut way: Vec<Address> = leg.chain().steps().iter().map(|(name, _)| (*name).clone()).collect();
                    prop_assert_eq!(&way[0], &addr(&name(start)));
                    way.push(leg.address().clone());
                    for pair in way.windows(2) {
                        let Ok(Lead::Step(step)) = table.find(&pair[0]) else { panic!("no step") };
                        prop_assert!(step.targets.contains(&pair[1]));
                    }
                }
                // The same again, in the same order.
                let Expanded::To(again) = expand(&addr(&name(start)), &table).unwrap() else { panic!("differs") };
                let again: Vec<String> = again.legs.iter().map(|leg| leg.address().to_string()).collect();
                prop_assert_eq!(again, legs);
            }
            Expanded::Broken(failure) => {
                prop_assert!(expected.is_empty(), "{:?} but {}", expected, failure);
                let cause = if gone.is_empty() { Cause::Loop } else { Cause::Gone };
                prop_assert_eq!(failure.cause, cause);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
