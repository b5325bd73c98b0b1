//! What uploads leave behind is swept out, when the server starts and once a day: parts that nobody went on with, and hidden
//! files of a server that was killed.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use packetboat_account::{Directory, FilesOwner};
use packetboat_files::{Sweep, Tree};
use tokio::runtime::Handle;

use super::Shares;
use crate::session::Depot;

/// Between two sweeps.
const DAILY: Duration = Duration::from_secs(24 * 3600);

/// Begins now, on a thread of its own, and goes on for as long as the depot is there.
pub fn sweep_daily(depot: &Arc<Depot>, directory: Directory, shares: Arc<Shares>) {
    let (depot, started, runtime) = (Arc::downgrade(depot), SystemTime::now(), Handle::try_current().ok());
    let sweeping = move || {
        while let Some(homes) = sweep(&depot, started) {
            for home in homes {
                // What was swept was charged: it is counted anew when its owner comes.
                if let (Ok(Some(account)), Some(runtime)) = (directory.find_login(&home), &runtime) {
                    let shares = Arc::clone(&shares);
                    runtime.spawn(async move { shares.forget(FilesOwner::Account(account.id)).await });
                }
            }
            std::thread::sleep(DAILY);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("files-sweep".to_owned()).spawn(sweeping) {
        tracing::error!(%error, "nothing sweeps out what uploads leave behind");
    }
}

/// Sweeps all trees once; whose homes something of theirs was swept from. `None`: there is no depot any more.
fn sweep(depot: &Weak<Depot>, started: SystemTime) -> Option<BTreeSet<String>> {
    let policy = depot.upgrade()?.doors.policy();
    let age = policy.behaviour.keeping.as_ref().map_or(Duration::ZERO, |keeping| keeping.age);
    let now = SystemTime::now();
    let parts_before = now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut homes = BTreeSet::new();
    for root in policy.roots() {
        // What has not been made yet holds nothing.
        let Ok(tree) = Tree::open(&root) else { continue };
        let swept = tree.sweep(Sweep { parts_before, uploads_before: started }, &mut |place, _| {
            homes.extend(place.first().map(|name| String::from_utf8_lossy(name).into_owned()));
        });
        match swept {
            Ok(swept) if swept.files > 0 => {
                let (files, octets) = (swept.files, swept.octets);
                tracing::info!(root = %root.display(), files, octets, "old uploads were swept out");
            }
            Ok(_) => {}
            Err(why) => tracing::warn!(root = %root.display(), %why, "old uploads were not swept out"),
        }
    }
    Some(homes)
}
