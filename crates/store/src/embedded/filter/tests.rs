use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::embedded::tests::disk_sim::Dice;

const STORE: u64 = 77;
const ACCOUNT: u64 = 3;

fn open(dir: &Path) -> Filter {
    open_as(dir, STORE, u64::MAX, 0)
}

fn open_as(dir: &Path, store: u64, number: u64, folding: u16) -> Filter {
    Filter::open(&Options { folding, ..Options::new(dir) }, store, number).unwrap()
}

fn sign(text: &[u8]) -> Signature {
    thread_local!(static GRAMS: std::cell::RefCell<Grams> = std::cell::RefCell::default());
    GRAMS.with_borrow_mut(|grams| {
        grams.text(text);
        grams.finish()
    })
}

type Texts = BTreeMap<u64, Vec<u8>>;

fn add(filter: &Filter, texts: &Texts) {
    let signatures = texts.iter().map(|(body, text)| (u128::from(*body), sign(text))).collect();
    filter.add(ACCOUNT, 0, signatures).unwrap();
}

fn find(filter: &Filter, sought: &[u8]) -> Candidates {
    filter.query(ACCOUNT, 0, &grams(sought).collect::<Vec<_>>()).unwrap()
}

fn contains(text: &[u8], sought: &[u8]) -> bool {
    text.windows(sought.len()).any(|window| window == sought)
}

/// The one promise.
fn no_false_no(candidates: &Candidates, texts: &Texts, sought: &[u8]) {
    for (body, text) in texts {
        let may = candidates.may_contain(u128::from(*body));
        assert!(may || !contains(text, sought), "{body} contains {:?}", String::from_utf8_lossy(sought));
    }
}

fn unknown(filter: &Filter, texts: &Texts) -> usize {
    let bodies: Vec<u128> = texts.keys().map(|body| u128::from(*body)).collect();
    filter.unknown(ACCOUNT, 0, &bodies).unwrap().len()
}

/// Texts of some words, mostly small ones.
fn texts(first: u64, count: u64, seed: u64) -> Texts {
    let mut dice = Dice(seed);
    let words: Vec<String> = (0..4_000u32)
        .map(|word| format!("{:x}", word.wrapping_mul(0x9e37_79b1) >> (dice.roll(4) * 4)))
        .collect();
    (first..first + count)
        .map(|body| {
            let many = [5, 20, 40, 120][dice.roll(4)];
            let text: Vec<&str> = (0..many).map(|_| words[dice.roll(words.len())].as_str()).collect();
            (body, text.join(" ").into_bytes())
        })
        .collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let dir = dir.join("filter").join(format!("{ACCOUNT:016x}"));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn kinds(dir: &Path) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files(dir).iter().map(name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_there_is_never_ruled_out(
        texts in prop::collection::vec(prop::collection::vec(97..103u8, 0..80), 1..40),
        more in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 500..700),
        sought in prop::collection::vec(prop::collection::vec(97..103u8, 1..7), 20),
        pieces in prop::collection::vec((any::<prop::sample::Index>(), 0..30usize, 1..20usize), 20),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<Vec<u8>> = texts.into_iter().chain(more).collect();
        let pieces = pieces.iter().filter_map(|(which, from, len)| {
            let text = which.get(&all);
            text.get(*from..(*from + *len).min(text.len())).map(<[u8]>::to_vec)
        });
        let sought: Vec<Vec<u8>> = sought.into_iter().chain(pieces).filter(|sought| !sought.is_empty()).collect();
        let all: Texts = (1..).zip(all).collect();
        let mut filter = open(dir.path());
        for start in [1, 20, 300, 480] {
            let some: Texts = all.range(start..).take(300).map(|(body, text)| (*body, text.clone())).collect();
            add(&filter, &some);
            sought.iter().for_each(|sought| no_false_no(&find(&filter, sought), &all, sought));
            filter = open(dir.path());
            sought.iter().for_each(|sought| no_false_no(&find(&filter, sought), &all, sought));
        }
        prop_assert_eq!(unknown(&filter, &all), 0);
    }
}

#[test]
fn nearly_everything_else_is_ruled_out() {
    let dir = tempfile::tempdir().unwrap();
    let filter = open(dir.path());
    let texts = texts(1, 1_500, 1);
    add(&filter, &texts);
    assert!(kinds(dir.path()).iter().any(|name| name.ends_with(".block")), "{:?}", kinds(dir.path()));
    let (mut there, mut seem) = (0, 0);
    for text in texts.values().step_by(40).filter(|text| text.len() > 40) {
        let sought = &text[10..24];
        let candidates = find(&filter, sought);
        no_false_no(&candidates, &texts, sought);
        there += texts.values().filter(|text| contains(text, sought)).count();
        seem += texts.keys().filter(|body| candidates.may_contain(u128::from(**body))).count();
    }
    assert!(there > 20 && seem < there + there / 2, "{there} there, {seem} seem to be");
}

#[test]
fn short_and_strange_questions_rule_out_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let filter = open(dir.path());
    let texts = texts(1, 10, 2);
    add(&filter, &texts);
    for sought in [b"".as_slice(), b"a", b"ab"] {
        assert!(texts.keys().all(|body| find(&filter, sought).may_contain(u128::from(*body))));
    }
    let candidates = find(&filter, b"not in there");
    assert!(candidates.may_contain(99) && candidates.may_contain(u128::MAX), "never seen");
    assert!(!candidates.may_contain(1));
    filter.add(ACCOUNT, 0, vec![(50, Signature::anything()), (1, Signature::anything())]).unwrap();
    let candidates = find(&filter, b"not in there");
    assert!(candidates.may_contain(50));
    assert!(!candidates.may_contain(1), "it was there already");
    assert_eq!(filter.unknown(ACCOUNT, 0, &[50, 51, u128::MAX]).unwrap(), [51, u128::MAX]);
}

/// A directory with a block, tails, and what is in them.
fn scene(dir: &Path) -> Texts {
    let filter = open(dir);
    let mut all = Texts::new();
    for (first, words) in [(1, 480), (1_000, 3)] {
        let texts: Texts =
            (first..first + words).map(|body| (body, format!("body {body} of some").into_bytes())).collect();
        add(&filter, &texts);
        all.extend(texts);
    }
    let long: String = (0..400).map(|word| format!("{:x}.", word * 7_919)).collect();
    let long = Texts::from([(2_000, long.clone().into_bytes()), (2_001, long.into_bytes())]);
    add(&filter, &long);
    filter.add(ACCOUNT, 0, vec![(3_000, Signature::anything())]).unwrap();
    all.extend(long);
    all.insert(3_000, b"anything".to_vec());
    assert_eq!(kinds(dir), ["00000001-12.block", "00000002-12.tail", "00000003-14.tail", "00000004-00.tail"]);
    all
}

const SOUGHT: &[&[u8]] =
    &[b"body 77 of", b"body 1001", b"of some", b"1eef.", b"anything", b"not there at all"];

/// Opens what is left, asks, and mends.
fn mend(dir: &Path, texts: &Texts, what: &str) -> usize {
    let filter = open(dir);
    for sought in SOUGHT {
        no_false_no(&find(&filter, sought), texts, sought);
    }
    let missing = unknown(&filter, texts);
    add(&filter, texts);
    assert_eq!(unknown(&filter, texts), 0, "{what}");
    for sought in SOUGHT {
        no_false_no(&find(&filter, sought), texts, sought);
    }
    let candidates = find(&filter, b"not there at all");
    let seem = texts.keys().filter(|body| candidates.may_contain(u128::from(**body))).count();
    assert!(seem <= 2, "{what}: {seem} are not ruled out any more");
    missing
}

/// Places in a file worth damaging: around all its boundaries, and some between.
fn places(len: usize) -> Vec<usize> {
    let around = [
        0, 8, 16, 24, 32, 33, 36, 40, 48, 52, 100, 564, 568, 576, 580, 1_000, 3_880, 3_884, 4_000, 4_096,
        4_160,
    ];
    let mut places: Vec<usize> = around.iter().flat_map(|at| [at.max(&1) - 1, *at, at + 1]).collect();
    places.extend((0..len).step_by(len / 12 + 1));
    places.push(len - 1);
    places.retain(|at| *at < len);
    places
}

#[test]
fn damage_costs_time_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let texts = scene(dir.path());
    let mut noticed = 0;
    for path in files(dir.path()) {
        let whole = std::fs::read(&path).unwrap();
        for (number, at) in places(whole.len()).into_iter().enumerate() {
            let way = ["a bit", "cut", "zeros", "longer"][number % 4];
            let mut bad = whole.clone();
            match way {
                "a bit" => bad[at] ^= 0x20,
                "cut" => bad.truncate(at),
                "zeros" => bad[at..].fill(0),
                _ => bad.extend_from_slice(&whole[..at + 1]),
            }
            // In a directory of its own, for mending makes new files.
            let other = tempfile::tempdir().unwrap();
            copy(dir.path(), other.path());
            let target = other.path().join(path.strip_prefix(dir.path()).unwrap());
            std::fs::write(target, bad).unwrap();
            let missing = mend(other.path(), &texts, &format!("{path:?} at {at}: {way}"));
            noticed += usize::from(missing > 0);
        }
    }
    assert!(noticed > 100, "only {noticed} were noticed");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

#[test]
fn files_in_each_others_place_are_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let texts = scene(dir.path());
    for from in files(dir.path()) {
        for to in files(dir.path()) {
            let other = tempfile::tempdir().unwrap();
            copy(dir.path(), other.path());
            let target = other.path().join(to.strip_prefix(dir.path()).unwrap());
            std::fs::copy(&from, target).unwrap();
            let missing = mend(other.path(), &texts, "exchanged");
            assert_eq!(missing == 0, from == to);
        }
    }
}

#[test]
fn files_that_go_while_it_works_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let texts = scene(dir.path());
    let filter = open(dir.path());
    find(&filter, b"some");
    std::fs::remove_dir_all(dir.path().join("filter").join(format!("{ACCOUNT:016x}"))).unwrap();
    assert!(texts.keys().all(|body| find(&filter, b"not there").may_contain(u128::from(*body))));
    // Asking has told that they are not there, except of what nothing is asked about.
    assert_eq!(unknown(&filter, &texts), texts.len() - 1);
    add(&filter, &texts);
    assert!(!find(&filter, b"not there").may_contain(1));
}

#[test]
fn a_block_half_made_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let filter = open(dir.path());
    let texts: Texts = (1..=480).map(|body| (body, format!("number {body}").into_bytes())).collect();
    let most: Texts = texts.iter().take(479).map(|(body, text)| (*body, text.clone())).collect();
    add(&filter, &most);
    let [tail] = &files(dir.path())[..] else { panic!() };
    let nearly = std::fs::read(tail).unwrap();
    add(&filter, &texts);
    let [block] = &files(dir.path())[..] else { panic!() };
    // The process ended before the tail was removed.
    std::fs::write(tail, &nearly).unwrap();
    std::fs::write(block.with_file_name("new"), b"half of something").unwrap();
    let filter = open(dir.path());
    assert_eq!(unknown(&filter, &texts), 0);
    assert_eq!(kinds(dir.path()), ["00000001-12.block"]);
    // It ended before the block was there: the last record is appended by hand.
    let head = file::Head { store: STORE, account: ACCOUNT, number: 1, class: 12, folding: 0, block: false };
    let mut full = nearly;
    file::put_record(head.seal(), 479, 480, &sign(b"number 480").bits, &mut full);
    std::fs::remove_file(block).unwrap();
    std::fs::write(tail, &full).unwrap();
    let filter = open(dir.path());
    assert_eq!(unknown(&filter, &texts), 0);
    add(&filter, &Texts::from([(500, b"another".to_vec())]));
    assert_eq!(kinds(dir.path()), ["00000001-12.block", "00000002-12.tail"]);
    for sought in [b"number 480".as_slice(), b"number 1", b"another"] {
        no_false_no(&find(&filter, sought), &texts, sought);
    }
    assert!(!find(&filter, b"number 480").may_contain(3));
}

#[test]
fn large_texts_have_blocks_too() {
    let dir = tempfile::tempdir().unwrap();
    let filter = open(dir.path());
    let mut all = Texts::new();
    for (first, octets, count) in [(1, 24_000, 225), (1_000, 100_000, 97)] {
        let text = |body: u64| -> Vec<u8> {
            let mut dice = Dice(body);
            (0..octets).map(|_| b' ' + dice.roll(90) as u8).collect()
        };
        let signature = sign(&text(0));
        assert!(signature.class > 16, "{}", signature.class);
        // Most of them alike, for the sake of time.
        let mut signatures: Vec<_> =
            (first..first + count).map(|body| (u128::from(body), signature.clone())).collect();
        for body in [first, first + count - 2, first + count - 1] {
            all.insert(body, text(body));
            signatures[(body - first) as usize].1 = sign(&text(body));
        }
        filter.add(ACCOUNT, 0, signatures).unwrap();
    }
    assert_eq!(kinds(dir.path()).iter().filter(|name| name.ends_with(".block")).count(), 2);
    for text in all.values() {
        let sought = &text[20_000..20_014];
        no_false_no(&find(&filter, sought), &all, sought);
    }
    let candidates = find(&filter, b"nothing of it, she said");
    assert!(all.keys().all(|body| !candidates.may_contain(u128::from(*body))));
}

#[test]
fn another_store_an_earlier_time_or_other_texts_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let texts = scene(dir.path());
    let highest = 3_000;
    assert_eq!(unknown(&open_as(dir.path(), STORE, highest, 0), &texts), 0);
    let look = |(store, number, folding), spoil: &dyn Fn(&Path)| {
        let other = tempfile::tempdir().unwrap();
        copy(dir.path(), other.path());
        spoil(&other.path().join("filter/mark"));
        unknown(&open_as(other.path(), store, number, folding), &texts)
    };
    let as_it_is = |_: &Path| ();
    let same = (STORE, highest, 0);
    assert_eq!(look(same, &as_it_is), 0);
    assert_eq!(look((STORE + 1, highest, 0), &as_it_is), texts.len());
    assert_eq!(look((STORE, highest - 1, 0), &as_it_is), texts.len());
    assert_eq!(look((STORE, highest, 1), &as_it_is), texts.len());
    assert_eq!(look(same, &|mark| std::fs::remove_file(mark).unwrap()), texts.len());
    assert_eq!(look(same, &|mark| std::fs::write(mark, b"").unwrap()), texts.len());
    assert_eq!(look(same, &|mark| std::fs::write(mark, [0; 28]).unwrap()), texts.len());
}

#[test]
fn what_is_mostly_gone_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let texts = scene(dir.path());
    let filter = open(dir.path());
    let keep = |filter: &Filter, keep: &dyn Fn(u64) -> bool| {
        let slots = filter.read(ACCOUNT, 0, Account::slots).unwrap();
        let alive: Vec<u32> = slots.iter().filter(|(body, _)| keep(**body)).map(|(_, slot)| *slot).collect();
        filter.write(ACCOUNT, 0, |there| there.tidy(&alive)).unwrap();
        unknown(filter, &texts)
    };
    // Half of a block; one of three.
    assert_eq!(keep(&filter, &|body| body % 2 == 0 || body >= 2_000), 0);
    assert_eq!(keep(&filter, &|body| body % 3 == 0), 480);
    assert_eq!(kinds(dir.path()), ["00000002-12.tail", "00000003-14.tail", "00000004-00.tail"]);
    assert_eq!(keep(&filter, &|_| false), texts.len());
    assert_eq!(kinds(dir.path()), [""; 0]);
    add(&filter, &texts);
    assert_eq!(unknown(&open(dir.path()), &texts), 0);
}

#[test]
fn accounts_in_memory_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let filter = open(dir.path());
    for account in 0..2 * KEPT_ACCOUNTS as u64 {
        filter.add(account, account, vec![(1_000 + u128::from(account), sign(b"some text"))]).unwrap();
    }
    assert_eq!(filter.kept.lock().len(), KEPT_ACCOUNTS);
    assert!(!filter.kept.lock().contains_key(&5), "the oldest goes");
    assert_eq!(filter.unknown(5, 0, &[1_005]).unwrap(), [0; 0]);
    assert!(!filter.query(5, 0, &grams(b"other").collect::<Vec<_>>()).unwrap().may_contain(1_005));
}

#[test]
fn adding_and_asking_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let filter = open(dir.path());
    let texts = texts(1, 1_200, 9);
    let sought: Vec<&[u8]> = texts.values().step_by(30).map(|text| &text[..text.len().min(12)]).collect();
    let bodies: Vec<u64> = texts.keys().copied().collect();
    std::thread::scope(|scope| {
        // Two that add, partly the same.
        for from in [0, 400] {
            let (filter, texts, bodies) = (&filter, &texts, &bodies);
            scope.spawn(move || {
                for some in bodies[from..].chunks(37) {
                    add(filter, &some.iter().map(|body| (*body, texts[body].clone())).collect());
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for sought in &sought {
                    no_false_no(&find(&filter, sought), &texts, sought);
                }
            });
        }
    });
    assert_eq!(unknown(&filter, &texts), 0);
    assert_eq!(unknown(&open(dir.path()), &texts), 0);
    sought.iter().for_each(|sought| no_false_no(&find(&filter, sought), &texts, sought));
}
