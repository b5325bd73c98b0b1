//! What uploads leave behind is swept out, when the server starts and once a day: parts that nobody went on with, and hidden
//! files of a server that was killed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use packetboat_account::{Directory, DirectoryError, FilesOwner};
use packetboat_files::policy::{Location, Policy, Visitor};
use packetboat_files::{Sweep, Swept, Tree};
use tokio::runtime::Handle;

use super::{Shares, folder_owner};
use crate::session::Depot;

/// Between two sweeps.
const DAILY: Duration = Duration::from_secs(24 * 3600);
/// Accounts looked at together.
const PAGE: usize = 256;

/// Begins now, on a thread of its own, and goes on for as long as the depot is there.
pub fn sweep_daily(depot: &Arc<Depot>, directory: Directory, shares: Arc<Shares>) {
    let (depot, started, runtime) = (Arc::downgrade(depot), SystemTime::now(), Handle::try_current().ok());
    let sweeping = move || {
        while let Some(policy) = depot.upgrade().map(|depot| depot.doors.policy()) {
            let begun = Instant::now();
            let lighter = sweep(&policy, started);
            if let Some(runtime) = runtime.as_ref().filter(|_| !lighter.is_empty()) {
                let (directory, shares) = (directory.clone(), Arc::clone(&shares));
                runtime.spawn(async move {
                    if let Err(error) = take_off(&lighter, begun, &policy, &directory, &shares).await {
                        tracing::error!(%error, "what was swept out still counts; `packetboat account recount` counts anew");
                    }
                });
            }
            std::thread::sleep(DAILY);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("files-sweep".to_owned()).spawn(sweeping) {
        tracing::error!(%error, "nothing sweeps out what uploads leave behind");
    }
}

/// Sweeps all trees once; the directories that less is to be charged for now, and how much.
fn sweep(policy: &Policy, started: SystemTime) -> HashMap<Location, Swept> {
    let age = policy.behaviour.keeping.as_ref().map_or(Duration::ZERO, |keeping| keeping.age);
    let now = SystemTime::now();
    let parts_before = now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut lighter: HashMap<Location, Swept> = HashMap::new();
    for root in policy.roots() {
        // What has not been made yet holds nothing.
        let Ok(tree) = Tree::open(&root) else { continue };
        let swept = tree.sweep(Sweep { parts_before, uploads_before: started }, &mut |home, octets| {
            let home = Location { base: root.clone(), below: home.to_vec() };
            let freed = lighter.entry(home).or_default();
            (freed.octets, freed.files) = (freed.octets + octets, freed.files + 1);
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
    lighter
}

/// What was swept was charged to whoever is at home there, or to the folder.
async fn take_off(
    lighter: &HashMap<Location, Swept>,
    begun: Instant,
    policy: &Policy,
    directory: &Directory,
    shares: &Shares,
) -> Result<(), DirectoryError> {
    for (location, freed) in lighter {
        shares.swept(folder_owner(location), freed.octets, freed.files, begun).await;
    }
    let homes: HashMap<PathBuf, Swept> = lighter.iter().map(|(at, freed)| (at.path(), *freed)).collect();
    let mut after = None;
    loop {
        let accounts = directory.accounts(after, PAGE).await?;
        let Some(last) = accounts.last() else { return Ok(()) };
        after = Some(last.id);
        for account in &accounts {
            let login = account.login.to_string();
            let home = policy.home(Visitor::Account(&login));
            if let Some(freed) = home.and_then(|home| homes.get(&home.path())) {
                shares.swept(FilesOwner::Account(account.id), freed.octets, freed.files, begun).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use packetboat_account::{DirectoryOptions, NewAccount};
    use packetboat_files::policy::{Home, Rates, Template, Terms};
    use packetboat_files::{Limits, Sync, Usage};
    use packetboat_store::Store;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_swept_is_charged_no_more_to_whoever_is_at_home_there() {
        let store = Store::temporary().unwrap();
        let directory = Directory::open(store, DirectoryOptions::default()).await.unwrap();
        directory.add_domain(&"a.test".parse().unwrap()).await.unwrap();
        let mut owners = Vec::new();
        for login in ["anna@a.test", "bob@a.test"] {
            let account = directory.add_account(NewAccount::new(login.parse().unwrap())).await.unwrap();
            owners.push(FilesOwner::Account(account.id));
        }
        let home = Some(Home::At(Template::parse("/data/{domain}/{user}").unwrap()));
        let policy = Policy {
            base: Terms { home, ..Terms::default() },
            rules: vec![],
            folders: vec![],
            rights: vec![],
            total: Rates::default(),
            anonymous: None,
            nothing: PathBuf::new(),
            sync: Sync::Never,
            umask: 0o022,
            behaviour: Arc::default(),
        };
        let shares = Shares::new(directory.clone());
        let counted = Arc::new(AtomicUsize::new(0));
        // What both of them are said to keep, and how often that was counted.
        let all_come = async || {
            let mut kept = Vec::new();
            for owner in &owners {
                let (limits, counted) = (Limits { octets: Some(100), files: None }, Arc::clone(&counted));
                let count = move || {
                    counted.fetch_add(1, Ordering::Relaxed);
                    Ok(Usage { octets: 50, files: 5, limits })
                };
                kept.push(shares.of(*owner, limits, count).await.unwrap().usage().octets);
            }
            (kept, counted.load(Ordering::Relaxed))
        };
        let before = Instant::now();
        assert_eq!(all_come().await, (vec![50, 50], 2));
        assert_eq!(all_come().await, (vec![50, 50], 2));
        let at = |path: &str| Location { base: PathBuf::from(path), below: vec![] };
        let freed = Swept { files: 1, octets: 20 };
        let lighter = HashMap::from([(at("/data/a.test/anna"), freed), (at("/data/a.test"), freed)]);
        take_off(&lighter, Instant::now(), &policy, &directory, &shares).await.unwrap();
        assert_eq!(all_come().await, (vec![30, 50], 2));
        // What was counted since it began is counted again.
        take_off(&lighter, before, &policy, &directory, &shares).await.unwrap();
        assert_eq!(all_come().await, (vec![50, 50], 3));
    }
}
