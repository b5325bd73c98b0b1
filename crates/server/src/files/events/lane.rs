//! Telling one receiver, in order, some at a time; what does not work is tried again later.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use packetboat_store::Entry;
use tokio::task::JoinSet;

use super::journal::{Journal, Row, due};
use super::rules::Receiver;
use super::{Failure, Means, tell};

/// How long after each attempt the next one comes; the last of these repeats.
const RETRIES: [u64; 7] = [2, 10, 60, 300, 900, 1800, 3600];
/// The longest rest of a receiver that does not answer, whatever waits for it.
const REST_MAX: Duration = Duration::from_secs(60);
/// When the store does not answer.
const STORE_REST: Duration = Duration::from_secs(5);

/// Tells a receiver what there is to tell, for ever.
pub(super) async fn run(receiver: Arc<Receiver>, journal: Arc<Journal>, means: Arc<Means>) {
    let mut failures = 0;
    loop {
        let news = journal.news.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        let rows = match journal.next(&receiver, None).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(error, rule = receiver.rule, "events of files cannot be read");
                tokio::time::sleep(STORE_REST).await;
                continue;
            }
        };
        let now = Timestamp::now();
        let ready: Vec<Entry> =
            rows.iter().take_while(|row| due(row).is_none_or(|due| due <= now)).cloned().collect();
        if ready.is_empty() {
            let next =
                rows.first().and_then(due).map(|due| due.duration_since(now).max(SignedDuration::ZERO));
            let wait = next.and_then(|next| Duration::try_from(next).ok());
            tokio::select! {
                () = &mut news => {}
                () = async { match wait { Some(wait) => tokio::time::sleep(wait).await, None => std::future::pending().await } } => {}
            }
            continue;
        }
        failures = work(ready, failures, &receiver, &journal, &means).await;
        if failures > 0 {
            let rest = Duration::from_secs(1 << failures.min(6)).min(REST_MAX);
            tokio::time::sleep(rest).await;
        }
    }
}

/// Tells these. How often it failed in a row at the end.
async fn work(
    ready: Vec<Entry>,
    mut failures: u32,
    receiver: &Arc<Receiver>,
    journal: &Arc<Journal>,
    means: &Arc<Means>,
) -> u32 {
    let mut running = JoinSet::new();
    let mut waiting = ready.into_iter();
    loop {
        // One after the other, and no more, while it does not work.
        let room = if failures > 0 { 1 } else { receiver.at_once.max(1) as usize };
        while running.len() < room
            && let Some(entry) = waiting.next()
        {
            let (receiver, journal, means) = (Arc::clone(receiver), Arc::clone(journal), Arc::clone(means));
            running.spawn(async move { one(&entry, &receiver, &journal, &means).await });
        }
        match running.join_next().await {
            None => return failures,
            Some(Ok(true)) => failures = 0,
            Some(_) => {
                failures = failures.saturating_add(1);
                waiting = Vec::new().into_iter();
            }
        }
    }
}

/// Tells one. Whether that worked.
async fn one(entry: &Entry, receiver: &Receiver, journal: &Journal, means: &Means) -> bool {
    let Ok(mut row) = serde_json::from_slice::<Row>(&entry.value) else {
        tracing::error!(key = entry.key, "an event of a file cannot be read, and is not told");
        return journal.forget(entry).await.is_ok();
    };
    let (rule, id, path) = (&receiver.rule, row.event.id.clone(), row.event.path.clone());
    let mail = matches!(receiver.way, super::Way::Mail { .. });
    let done = match tell(receiver, &row.event, means, (&entry.key, entry.version)).await {
        Ok(()) if mail => {
            journal.went();
            Ok(())
        }
        Err(Failure::Told) => Ok(()),
        Ok(()) => journal.forget(entry).await,
        Err(Failure::Later(reason)) => {
            row.attempts = row.attempts.saturating_add(1);
            let (attempts, now) = (row.attempts, Timestamp::now());
            let age = now.duration_since(row.event.time);
            let given_up = Duration::try_from(age).is_ok_and(|age| age >= receiver.give_up);
            let written = if given_up {
                tracing::error!(rule, id, path, attempts, reason, "an event of a file is given up");
                journal.forget(entry).await
            } else {
                tracing::warn!(rule, id, path, attempts, reason, "an event of a file is told later");
                let which = usize::try_from(attempts - 1).unwrap_or(usize::MAX).min(RETRIES.len() - 1);
                let wait = SignedDuration::from_secs(i64::try_from(RETRIES[which]).unwrap_or(i64::MAX));
                journal.put_off(receiver, entry, row, now.checked_add(wait).unwrap_or(now)).await
            };
            if let Err(error) = written {
                tracing::error!(error, rule, id, "an event of a file cannot be put off");
            }
            return false;
        }
    };
    match done {
        Ok(()) => {
            tracing::info!(rule, id, path, attempts = row.attempts + 1, "an event of a file is told");
            true
        }
        Err(error) => {
            tracing::error!(
                error,
                rule,
                id,
                "an event of a file is told and could not be forgotten; it is told again"
            );
            false
        }
    }
}
