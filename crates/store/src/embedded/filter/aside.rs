//! Many files are read by several threads: where they are not in memory, the disk is asked for the next before it has
//! answered for the last.

use std::thread;

/// No more threads than this look at an account's files for one query.
const THREADS: usize = 8;
/// Fewer files are not worth a thread.
const LEAST: usize = 16;

/// What `work` makes of each, in order.
pub(super) fn each<T: Sync, R: Send>(of: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let share = of.len().div_ceil(THREADS).max(LEAST);
    if of.len() <= share {
        return of.iter().map(work).collect();
    }
    let work = &work;
    let mut shares = of.chunks(share);
    let own = shares.next().unwrap_or_default();
    thread::scope(|scope| {
        let begin = |share| {
            let theirs = move || share_of(share, work);
            // One that cannot be begun is done here.
            thread::Builder::new().name("filter".to_owned()).spawn_scoped(scope, theirs).map_err(|_| share)
        };
        let others: Vec<_> = shares.map(begin).collect();
        let mut all = share_of(own, work);
        all.reserve(of.len() - own.len());
        for other in others {
            match other.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(theirs)) => all.extend(theirs),
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Err(share) => all.extend(share_of(share, work)),
            }
        }
        all
    })
}

fn share_of<T, R>(share: &[T], work: impl Fn(&T) -> R) -> Vec<R> {
    share.iter().map(work).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_in_order() {
        for count in [0, 1, LEAST, LEAST + 1, 5 * LEAST - 3, THREADS * LEAST + 1, 1_000] {
            let numbers: Vec<usize> = (0..count).collect();
            assert_eq!(each(&numbers, |number| number * 3), (0..count).map(|n| n * 3).collect::<Vec<_>>());
        }
    }
}
