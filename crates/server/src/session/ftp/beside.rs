//! A second thread for what is long: it makes pieces, by reading a file and turning it into text for example, while the first one
//! sends those that were made before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use packetboat_ftp::server::TransferFailure;

use super::rates::Pace;

/// Fewer octets are sent before a second thread would be of use.
const LONG: u64 = 2 << 20;
/// Pieces that are made before the first of them is sent.
const AHEAD: usize = 3;

/// Threads that help now, in all sessions.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// The right to one thread more. There is one for every two processors: where more transfers run, each has work for its own.
#[derive(Debug)]
pub(super) struct Seat(());

impl Seat {
    pub(super) fn take() -> Option<Seat> {
        let most = thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
        let one_more = |now| (now < most).then_some(now + 1);
        HELPERS.try_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Seat(()))
    }

    /// For sending so many octets, if that is long, and as fast as it goes.
    pub(super) fn for_long(octets: u64, pace: &Pace) -> Option<Seat> {
        if octets >= LONG && pace.is_free() { Seat::take() } else { None }
    }
}

/// It is free again when the thread has ended, however that was.
impl Drop for Seat {
    fn drop(&mut self) {
        HELPERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Has pieces made, and takes them in their order. `make` writes a piece over what it is given, and says whether there is more
/// behind it; on a thread of its own, if there is a seat for one and the system has one. `take` runs here.
pub(super) fn pieces<M: FnMut(&mut Vec<u8>) -> Result<bool, TransferFailure> + Send>(
    seat: Option<Seat>,
    make: M,
    mut take: impl FnMut(&[u8]) -> Result<(), TransferFailure>,
) -> Result<(), TransferFailure> {
    let Some(_seat) = seat else { return alone(make, take) };
    thread::scope(|scope| {
        let (tell, made) = mpsc::sync_channel::<Result<Vec<u8>, TransferFailure>>(AHEAD);
        let (give_back, used) = mpsc::sync_channel::<Vec<u8>>(AHEAD);
        let (hand_over, handed) = mpsc::sync_channel::<M>(1);
        let maker = move || {
            let Ok(mut make) = handed.recv() else { return };
            loop {
                let mut piece = used.try_recv().unwrap_or_default();
                let more = make(&mut piece);
                let ends = !matches!(more, Ok(true));
                // Nobody takes it any more where the line has failed.
                if tell.send(more.map(|_| piece)).is_err() || ends {
                    return;
                }
            }
        };
        let builder = thread::Builder::new().name("ftp-beside".to_owned());
        if builder.spawn_scoped(scope, maker).is_err() {
            return alone(make, take);
        }
        let _ = hand_over.send(make);
        for piece in made {
            let piece = piece?;
            take(&piece)?;
            let _ = give_back.try_send(piece);
        }
        Ok(())
    })
}

fn alone(
    mut make: impl FnMut(&mut Vec<u8>) -> Result<bool, TransferFailure>,
    mut take: impl FnMut(&[u8]) -> Result<(), TransferFailure>,
) -> Result<(), TransferFailure> {
    let mut piece = Vec::new();
    loop {
        let more = make(&mut piece)?;
        take(&piece)?;
        if !more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn seats() -> [Option<Seat>; 2] {
        // One that is not counted among those that others may have.
        HELPERS.fetch_add(1, Ordering::Relaxed);
        [None, Some(Seat(()))]
    }

    #[test]
    fn pieces_come_whole_and_in_their_order() {
        for seat in seats() {
            let (mut next, mut came) = (0_u32, Vec::new());
            let make = |piece: &mut Vec<u8>| {
                *piece = next.to_be_bytes().to_vec();
                next += 1;
                Ok(next < 1000)
            };
            let take = |piece: &[u8]| {
                came.extend_from_slice(piece);
                Ok(())
            };
            pieces(seat, make, take).unwrap();
            let expected: Vec<u8> = (0..1000_u32).flat_map(u32::to_be_bytes).collect();
            assert!(came == expected);
        }
    }

    #[test]
    fn a_failure_of_either_side_ends_both() {
        for seat in seats() {
            let endless = |piece: &mut Vec<u8>| {
                *piece = vec![1];
                Ok(true)
            };
            let mut taken = 0;
            let take = |_: &[u8]| {
                taken += 1;
                if taken == 10 { Err(TransferFailure::ConnectionLost) } else { Ok(()) }
            };
            assert_eq!(pieces(seat, endless, take), Err(TransferFailure::ConnectionLost));
            assert_eq!(taken, 10);
        }
        for seat in seats() {
            let fails = |_: &mut Vec<u8>| Err(TransferFailure::TooSlow);
            assert_eq!(pieces(seat, fails, |_| Ok(())), Err(TransferFailure::TooSlow));
        }
    }
}
