//! Staying awake for a peer that answers at once.
//!
//! A processor that has nothing to do is put to sleep, and waking it takes longer than many an answer does: some 50 µs in a
//! virtual machine, on both sides. Whoever is asked question by question by a client on the same machine, or next to it,
//! spends most of the time so. A task whose peer answers at once therefore looks for the next answer for a [moment](MOMENT)
//! before it sleeps, and everybody else gets their turn in between. A peer further away is not waited for like that, and
//! nobody is once more peers are that quick than there are processors to spare: then there is something to do anyway.

use std::future::poll_fn;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// So long an answer is waited for without sleep.
const MOMENT: Duration = Duration::from_micros(100);
/// A peer that answers so soon while we sleep, being woken included, would answer within a moment if we did not.
const PROMPT: Duration = Duration::from_micros(300);
/// So many answers are waited for asleep after one that was waited for in vain.
const REST: u8 = 32;

/// Who may stay awake: one for every two processors, for there is a client beside each.
static SEATS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(0, |cores| cores.get() / 2)));

/// Whether it is worth to stay awake for a peer.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Awake {
    prompt: bool,
    rest: u8,
}

impl Awake {
    /// The peer took so long to answer.
    pub(crate) fn answered_in(&mut self, time: Duration) {
        self.prompt = time < PROMPT;
        self.rest = self.rest.saturating_sub(1);
    }

    /// Asks again and again for a moment, if that is worth it, and everybody else gets their turn in between.
    pub(crate) async fn look<T>(&mut self, ready: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.look_for(MOMENT, &SEATS, ready).await
    }

    async fn look_for<T>(
        &mut self,
        moment: Duration,
        seats: &Semaphore,
        mut ready: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let seat = if self.prompt && self.rest == 0 { seats.try_acquire().ok() } else { None };
        let Some(_seat) = seat else { return Poll::Pending };
        let until = Instant::now() + moment;
        loop {
            if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(ready(cx))).await {
                return Poll::Ready(done);
            }
            if Instant::now() >= until {
                self.rest = REST;
                return Poll::Pending;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Ready when it is asked for the so-manieth time.
    fn at(turn: u32, asked: &mut u32) -> impl FnMut(&mut Context<'_>) -> Poll<()> {
        move |_| {
            *asked += 1;
            if *asked == turn { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    #[tokio::test]
    async fn only_a_prompt_peer_is_waited_for_and_only_where_there_is_a_seat() {
        let (seats, none, mut asked) = (Semaphore::new(1), Semaphore::new(0), 0);
        let mut awake = Awake::default();
        assert!(awake.look_for(MINUTE, &seats, at(3, &mut asked)).await.is_pending());
        awake.answered_in(PROMPT);
        assert!(awake.look_for(MINUTE, &seats, at(3, &mut asked)).await.is_pending());
        awake.answered_in(PROMPT / 2);
        assert!(awake.look_for(MINUTE, &none, at(3, &mut asked)).await.is_pending());
        assert_eq!(asked, 0);
        assert!(awake.look_for(MINUTE, &seats, at(3, &mut asked)).await.is_ready());
        assert_eq!((asked, seats.available_permits()), (3, 1));
    }

    #[tokio::test]
    async fn after_waiting_in_vain_the_next_answers_are_waited_for_asleep() {
        let (seats, mut asked) = (Semaphore::new(1), 0);
        let mut awake = Awake::default();
        awake.answered_in(Duration::ZERO);
        assert!(awake.look_for(MOMENT, &seats, at(u32::MAX, &mut asked)).await.is_pending());
        assert!(asked > 0);
        for _ in 0..REST {
            assert!(awake.look_for(MINUTE, &seats, at(1, &mut 0)).await.is_pending());
            awake.answered_in(Duration::ZERO);
        }
        assert!(awake.look_for(MINUTE, &seats, at(1, &mut 0)).await.is_ready());
    }
}
