//! The power goes at every step of a long sequence of deliveries, copies, flag changes, expunges, reaping and
//! compaction. Each time the store is opened on what the disk may hold then, and must be exactly as after some number
//! of transactions: all that were answered, and of those under way any number, each whole.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::disk_sim::{Dice, DiskSim, Image, write_dir};
use super::scene::{
    GRACE, Hand, Move, Step, commit, counters_are_true, dump, moving_script, open, options, script,
};
use crate::embedded::Embedded;
use crate::embedded::disk::Disk;

/// Memory, where there is a file system in it: what is tested is what the simulated disk holds, not this one.
fn scratch() -> tempfile::TempDir {
    let shm = std::path::Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// What the store looks like after each transaction.
fn expected(steps: &[Step]) -> Vec<String> {
    let dir = scratch();
    let hand = Hand::new();
    let store = open(dir.path(), &hand, false, Disk::default()).unwrap();
    let mut states = vec![dump(&store)];
    let runtime = runtime();
    for step in steps {
        match step {
            Step::Commit(moves) => {
                for one in moves {
                    runtime.block_on(commit(&store, std::slice::from_ref(one)));
                    states.push(dump(&store));
                }
            }
            Step::Maintain => hand.advance(2 * GRACE),
        }
    }
    states
}

/// How far the sequence is.
#[derive(Debug, Default)]
struct Progress {
    answered: AtomicUsize,
    begun: AtomicUsize,
    images: AtomicUsize,
}

struct Judge {
    states: Vec<String>,
    progress: Arc<Progress>,
    hand: Hand,
    sync: bool,
    dice: Dice,
    /// Power cuts while the store recovers from a power cut: one image in so many.
    again: usize,
}

impl Judge {
    /// Opens what is left and compares.
    fn look(&mut self, step: &str, image: &Image) {
        let (least, most) =
            (self.progress.answered.load(Ordering::SeqCst), self.progress.begun.load(Ordering::SeqCst));
        self.progress.images.fetch_add(1, Ordering::SeqCst);
        let dir = scratch();
        write_dir(image, dir.path());
        if self.again > 0 && self.dice.roll(self.again) == 0 {
            self.cut_while_recovering(step, image);
        }
        let store = match open(dir.path(), &self.hand, self.sync, Disk::default()) {
            Ok(store) => store,
            Err(error) => panic!("power cut {step}: {error}; kept {:?}", dir.keep()),
        };
        let found = dump(&store);
        let Some(state) = (least..=most).find(|state| self.states[*state] == found) else {
            let earlier = self.states.iter().position(|state| *state == found);
            panic!(
                "power cut {step}: {least} answered, {most} begun, but found {earlier:?}:\n{found}\nkept {:?}",
                dir.keep()
            );
        };
        counters_are_true(&store);
        drop(store);
        // Once more: what recovery did must itself be lasting, and do nothing the second time.
        let store = open(dir.path(), &self.hand, self.sync, Disk::default()).unwrap();
        assert_eq!(dump(&store), self.states[state], "power cut {step}: opened again");
        // And it goes on from there.
        let body = bytes::Bytes::from_static(b"afterwards");
        let after =
            Move { ops: vec![crate::Op::Put { key: "after".into(), value: body.to_vec() }], bodies: vec![] };
        runtime().block_on(commit(&store, &[after])).pop().unwrap().unwrap();
        drop(store);
        let store = open(dir.path(), &self.hand, self.sync, Disk::default()).unwrap();
        assert_eq!(store.shared.get("after").unwrap().unwrap().value, body);
    }

    fn cut_while_recovering(&mut self, step: &str, image: &Image) {
        let dir = scratch();
        write_dir(image, dir.path());
        let sim = DiskSim::new(dir.path(), self.sync);
        let found: Arc<Mutex<Vec<(String, Image)>>> = Arc::default();
        let (keep, mut dice) = (found.clone(), self.dice.clone());
        sim.arm(Box::new(move |step, image| keep.lock().push((step.to_owned(), image(&mut dice)))));
        drop(open(dir.path(), &self.hand, self.sync, Disk::watched(sim.clone())).unwrap());
        sim.disarm();
        let again = std::mem::take(&mut self.again);
        for (inner, image) in found.lock().drain(..) {
            self.look(&format!("{step}, then {inner}"), &image);
        }
        self.again = again;
    }
}

/// Steps that a long sequence comes by: else the test tests less than it says.
const KINDS: &[&str] = &[
    "before write",
    "after write",
    "after SyncData",
    "after SyncDir",
    "after Rename",
    "before DatabaseCommit",
    "after DatabaseCommit",
    "within checkpoint",
    "after Remove(\"segments",
    "after Remove(\"bodies",
    "snapshot.new",
    "after the answer",
    "after maintenance",
];

/// Runs a sequence with a power cut at every step; tells how many were looked at, and at which kinds of steps.
fn cut_everywhere(seed: u64, steps: Vec<Step>, sync: bool, images: usize) -> (usize, Vec<&'static str>) {
    let states = expected(&steps);
    let dir = scratch();
    let hand = Hand::new();
    let sim = DiskSim::new(dir.path(), sync);
    let store = open(dir.path(), &hand, sync, Disk::watched(sim.clone())).unwrap();
    let progress = Arc::new(Progress::default());
    let judge = Judge {
        states,
        progress: progress.clone(),
        hand: hand.clone(),
        sync,
        dice: Dice(seed ^ 0xabcd),
        again: 40,
    };
    let judge = Arc::new(Mutex::new(judge));
    let seen: Arc<Mutex<Option<String>>> = Arc::default();
    let kinds: Arc<Mutex<BTreeSet<&'static str>>> = Arc::default();
    let (court, failed, met) = (judge.clone(), seen.clone(), kinds.clone());
    sim.arm(Box::new(move |step, image| {
        met.lock().extend(KINDS.iter().find(|kind| step.contains(**kind)));
        if failed.lock().is_some() {
            return;
        }
        for _ in 0..images {
            let image = image(&mut court.lock().dice);
            // On a thread of its own: it drives stores, which this one may be doing already.
            let (court, step) = (court.clone(), step.to_owned());
            let looked = std::thread::spawn(move || court.lock().look(&step, &image)).join();
            if let Err(panic) = looked {
                let text = panic.downcast_ref::<String>().cloned();
                *failed.lock() = Some(text.unwrap_or_else(|| "it panicked".to_owned()));
                return;
            }
        }
    }));
    run(&store, &steps, &hand, &progress, &sim);
    sim.disarm();
    drop(store);
    if let Some(failed) = seen.lock().take() {
        panic!("seed {seed}: {failed}");
    }
    let missed = KINDS.iter().copied().filter(|kind| !kinds.lock().contains(kind)).collect();
    (progress.images.load(Ordering::SeqCst), missed)
}

fn run(store: &Embedded, steps: &[Step], hand: &Hand, progress: &Progress, sim: &DiskSim) {
    let runtime = runtime();
    for step in steps {
        match step {
            Step::Commit(moves) => {
                progress.begun.fetch_add(moves.len(), Ordering::SeqCst);
                // Some of them fail, for what they name is gone; that is an answer like another.
                runtime.block_on(commit(store, moves));
                progress.answered.fetch_add(moves.len(), Ordering::SeqCst);
                sim.cut("after the answer");
            }
            Step::Maintain => {
                hand.advance(2 * GRACE);
                runtime.block_on(store.maintain());
                sim.cut("after maintenance");
            }
        }
    }
}

/// Sequences to try: one, that by chance comes by every kind of step, or forty in the long suite, from `PACKETBOAT_SEED` on.
fn seeds() -> std::ops::Range<u64> {
    let first = std::env::var("PACKETBOAT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_013);
    first..first + if std::env::var_os("PACKETBOAT_LONG").is_some() { 40 } else { 1 }
}

#[test]
fn what_was_answered_is_there_whatever_the_disk_did_with_the_rest() {
    let mut missed: BTreeSet<_> = KINDS.iter().copied().collect();
    for seed in seeds() {
        let (images, missing) = cut_everywhere(seed, script(seed, 60), false, 1);
        assert!(images > 300, "only {images} power cuts were looked at");
        missed.retain(|kind| missing.contains(kind));
    }
    assert_eq!(missed, BTreeSet::new(), "kinds of steps that no sequence came by");
}

#[test]
fn the_same_when_the_database_is_synced_too() {
    for seed in seeds() {
        cut_everywhere(seed, script(seed + 1_000, 25), true, 1);
    }
}

#[test]
fn bodies_that_are_moved_are_never_without_a_place() {
    for seed in seeds() {
        let (_, missed) = cut_everywhere(seed, moving_script(), false, 3);
        assert!(!missed.contains(&"after Remove(\"segments"), "nothing was compacted");
    }
}

#[test]
fn the_judge_sees_a_lost_message() {
    // The log's syncs are left out: then something answered must be missing somewhere.
    let outcome = std::panic::catch_unwind(|| {
        let dir = scratch();
        let _: PathBuf = options(dir.path(), &Hand::new(), false).dir;
        lying_disk(dir.path())
    });
    assert!(outcome.is_err(), "a disk that forgets synced writes was not noticed");
}

fn lying_disk(dir: &std::path::Path) {
    let steps = script(5, 10);
    let states = expected(&steps);
    let hand = Hand::new();
    let sim = DiskSim::new(dir, false);
    let store = open(dir, &hand, false, Disk::watched(sim.clone())).unwrap();
    let progress = Arc::new(Progress::default());
    let mut judge = Judge {
        states,
        progress: progress.clone(),
        hand: hand.clone(),
        sync: false,
        dice: Dice(9),
        again: 0,
    };
    run(&store, &steps, &hand, &progress, &sim);
    drop(store);
    let mut image = super::disk_sim::read_dir(dir);
    image.remove(std::path::Path::new("store.db-wal"));
    let segments: Vec<PathBuf> = image.keys().filter(|path| path.starts_with("segments")).cloned().collect();
    let last = image.get_mut(segments.last().unwrap()).unwrap();
    last.truncate(last.len() - 60);
    // The database was brought up to date when the store closed: an older one is what a power cut would leave.
    let other = scratch();
    let old = open(other.path(), &hand, false, Disk::default()).unwrap();
    drop(old);
    image.insert("store.db".into(), std::fs::read(other.path().join("store.db")).unwrap());
    judge.look("on a lying disk", &image);
}
