//! The disk refuses: for want of room nothing happens and the store goes on; when a sync fails it stops for good.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::disk_sim::Dice;
use super::scene::{Hand, Step, commit, counters_are_true, dump, open, script};
use crate::TxError;
use crate::embedded::disk::{Disk, DiskOp, Watcher};

/// Fails one operation of a kind, the n-th from when it is armed.
#[derive(Debug)]
struct Faulty {
    countdown: AtomicI64,
    kind: io::ErrorKind,
    syncs_only: bool,
}

impl Watcher for Faulty {
    fn before(&self, op: DiskOp<'_>) -> io::Result<()> {
        let counts = match op {
            DiskOp::SyncData(_) | DiskOp::SyncDir(_) => self.syncs_only,
            DiskOp::Write { .. } | DiskOp::Create(_) => !self.syncs_only,
            _ => false,
        };
        if counts && self.countdown.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Err(self.kind.into());
        }
        Ok(())
    }

    fn after(&self, _: DiskOp<'_>) {}
}

fn moves(steps: &[Step]) -> Vec<super::scene::Move> {
    let groups = steps.iter().filter_map(|step| match step {
        Step::Commit(moves) => Some(moves.clone()),
        Step::Maintain => None,
    });
    groups.flatten().collect()
}

#[test]
fn without_room_nothing_happens_and_it_goes_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let moves = moves(&script(77, 30));
    let mut refused = 0;
    let mut dice = Dice(3);
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let hand = Hand::new();
        let countdown = AtomicI64::new(10 + dice.roll(60) as i64);
        let faulty = Arc::new(Faulty { countdown, kind: io::ErrorKind::StorageFull, syncs_only: false });
        let store = open(dir.path(), &hand, false, Disk::watched(faulty)).unwrap();
        for one in &moves {
            let before = dump(&store);
            let answer = runtime.block_on(commit(&store, std::slice::from_ref(one))).pop().unwrap();
            match answer {
                Err(TxError::DiskFull) => {
                    refused += 1;
                    assert_eq!(dump(&store), before);
                    // The same again finds room.
                    let answer = runtime.block_on(commit(&store, std::slice::from_ref(one))).pop().unwrap();
                    assert_ne!(answer, Err(TxError::DiskFull));
                }
                Err(TxError::Stopped(reason)) if reason.contains("nearly full") => refused += 1,
                Err(TxError::Stopped(reason)) => panic!("{reason}"),
                _ => {}
            }
        }
        counters_are_true(&store);
        let before = dump(&store);
        drop(store);
        let store = open(dir.path(), &hand, false, Disk::default()).unwrap();
        assert_eq!(dump(&store), before);
    }
    assert!(refused >= 15, "only {refused} refusals");
}

#[test]
fn a_failed_sync_stops_the_store_for_good() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let moves = moves(&script(78, 30));
    for nth in 5..20 {
        let dir = tempfile::tempdir().unwrap();
        let hand = Hand::new();
        let faulty =
            Arc::new(Faulty { countdown: AtomicI64::new(nth), kind: io::ErrorKind::Other, syncs_only: true });
        let store = open(dir.path(), &hand, false, Disk::watched(faulty)).unwrap();
        let mut states = vec![dump(&store)];
        let mut stopped = false;
        for one in &moves {
            let answer = runtime.block_on(commit(&store, std::slice::from_ref(one))).pop().unwrap();
            if stopped {
                assert!(matches!(answer, Err(TxError::Stopped(_))), "{answer:?}");
                continue;
            }
            stopped = matches!(answer, Err(TxError::Stopped(_)));
            if !stopped {
                states.push(dump(&store));
            }
        }
        assert!(stopped, "sync {nth}");
        runtime.block_on(store.failed());
        drop(store);
        // Opened again it has all that was answered; the one that was not may be there, too.
        let store = open(dir.path(), &hand, false, Disk::default()).unwrap();
        counters_are_true(&store);
        let found = dump(&store);
        let whole = states.last() == Some(&found);
        let one_more = {
            let dir = tempfile::tempdir().unwrap();
            let other = open(dir.path(), &hand, false, Disk::default()).unwrap();
            for one in moves.iter().take(states.len()) {
                runtime.block_on(commit(&other, std::slice::from_ref(one)));
            }
            dump(&other) == found
        };
        assert!(whole || one_more, "sync {nth}");
    }
}
