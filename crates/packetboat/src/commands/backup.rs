//! `packetboat backup` and `packetboat restore`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use packetboat_server::admin::{AdminError, Copied, ErrorKind, Item, Request};
use packetboat_server::upkeep;

use super::manage::{ManageArgs, end, exit_codes, manage, octets, otherwise, print};

/// Copy everything that is kept, while the server runs or not.
///
/// Into a directory that is empty or holds an earlier backup: then only what is new is copied. The copy is made by the
/// server's user.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct BackupArgs {
    /// Where to copy it
    #[arg(value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    manage: ManageArgs,
}

/// Bring back what a backup holds, into a data directory that has no store yet. The server must not run.
///
/// Mailboxes get new UIDVALIDITYs: mail programs fetch everything anew, and none takes one message for another.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct RestoreArgs {
    /// Where the backup is
    #[arg(value_name = "DIR")]
    from: PathBuf,
    #[command(flatten)]
    manage: ManageArgs,
}

pub(crate) fn backup(args: &BackupArgs) -> ExitCode {
    // The server stands in another directory than whoever asks.
    let to = std::path::absolute(&args.to).unwrap_or_else(|_| args.to.clone());
    let say = |item: &Item| match item {
        Item::Copied(copied) => told(copied, &args.to),
        other => otherwise(other),
    };
    manage(&args.manage, async |desk| desk.ask(Request::Backup { to: to.clone() }, say).await)
}

pub(crate) fn restore(args: &RestoreArgs) -> ExitCode {
    end(args.manage.json(), restored(args))
}

fn restored(args: &RestoreArgs) -> Result<(), AdminError> {
    let settings = args.manage.settings()?;
    let copied = Copied::from(upkeep::restore(&settings, &args.from)?);
    let to = upkeep::directory(&settings);
    let json = serde_json::to_string(&copied);
    let json = json.map_err(|error| AdminError::new(ErrorKind::Internal, error.to_string()))?;
    print(&if args.manage.json() { json } else { told(&copied, &to) });
    Ok(())
}

fn told(copied: &Copied, to: &Path) -> String {
    let there = match copied.there_already {
        0 => String::new(),
        n => format!("; {n} more were there already"),
    };
    format!("{} files, {}, copied to {}{there}", copied.files, octets(copied.octets), to.display())
}
