//! `packetboat export`: moving out.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use packetboat_client::transfer::maildir::{self, Draft, Facts};
use packetboat_client::transfer::{Progress, Target, TargetFolder, mbox};
use packetboat_server::admin::{AdminError, ErrorKind, Exported, ExportedMessage};
use serde_json::json;

use super::manage::{Desk, ManageArgs, exit_codes, manage, octets, print};

/// Copy the mail of an account into files that other mail servers and programs read.
///
/// Flags, keywords, dates, UIDs and UIDVALIDITY go along; `packetboat import` and Dovecot find them again. Works while
/// the server runs, and when it does not. A message that cannot be read is named, and the others go on; the exit code is
/// 65 then.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct ExportArgs {
    /// Whose mail: login name
    account: String,
    /// To where: maildir:DIR (Maildir++, as Dovecot keeps it) or mbox:DIR (a file for each mailbox); new or empty
    target: String,
    /// Only this mailbox; may be given several times
    #[arg(long, value_name = "NAME")]
    mailbox: Vec<String>,
    #[command(flatten)]
    manage: ManageArgs,
}

pub(crate) fn run(args: &ExportArgs) -> ExitCode {
    manage(&args.manage, async |desk| export(args, desk).await)
}

#[derive(Default)]
struct Sum {
    messages: u64,
    octets: u64,
    keywords_dropped: usize,
    failures: Vec<(String, u32, String)>,
    mailboxes: Vec<serde_json::Value>,
}

async fn export(args: &ExportArgs, desk: &mut Desk) -> Result<(), AdminError> {
    let failed = |error: io::Error| AdminError::new(ErrorKind::Io, format!("{}: {error}", args.target));
    let mut target = if let Some(dir) = args.target.strip_prefix("maildir:") {
        Target::Maildir(maildir::Writer::new(Path::new(dir)).map_err(failed)?)
    } else if let Some(dir) = args.target.strip_prefix("mbox:") {
        Target::Mbox(mbox::Writer::new(Path::new(dir)).map_err(failed)?)
    } else {
        let message = format!("\"{}\" is no target: write maildir:DIR or mbox:DIR", args.target);
        return Err(AdminError::new(ErrorKind::Usage, message));
    };
    let mut export = desk.export(&args.account, args.mailbox.clone()).await?;
    let progress = Progress::new(!args.manage.json());
    let mut sum = Sum::default();
    let mut folder: Option<(String, TargetFolder)> = None;
    let mut current: Option<(ExportedMessage, Draft)> = None;
    loop {
        match export.next().await? {
            Exported::Mailbox(mailbox) => {
                if let Some((_, folder)) = folder.take() {
                    folder.finish().map_err(failed)?;
                }
                progress.mailbox(&mailbox.name, mailbox.messages.into());
                let begun = target
                    .folder(&mailbox.name, mailbox.uid_validity, mailbox.uid_next, mailbox.subscribed)
                    .map_err(failed)?;
                let line = format!("{}: {} messages", mailbox.name, mailbox.messages);
                if !args.manage.json() {
                    progress.aside(|| print(&line));
                }
                sum.mailboxes.push(json!({
                    "name": mailbox.name, "messages": mailbox.messages, "uid_validity": mailbox.uid_validity,
                }));
                folder = Some((mailbox.name, begun));
            }
            Exported::Message(message) => current = Some((message, Draft::default())),
            Exported::Octets(octets) => {
                if let Some((_, draft)) = &mut current {
                    draft.push(&octets).map_err(failed)?;
                }
            }
            Exported::End => {
                progress.advance(1);
                if let (Some((message, draft)), Some((_, folder))) = (current.take(), &mut folder) {
                    let facts = Facts {
                        uid: message.uid,
                        flags: message.flags,
                        keywords: &message.keywords,
                        received_at: message.received_at,
                    };
                    sum.keywords_dropped += folder.add(&facts, draft).map_err(failed)?;
                    sum.messages += 1;
                    sum.octets += message.octets;
                }
            }
            Exported::Damaged(why) => {
                progress.advance(1);
                if let (Some((message, _)), Some((name, _))) = (current.take(), &folder) {
                    sum.failures.push((name.clone(), message.uid, why));
                }
            }
            Exported::Done => break,
        }
    }
    if let Some((_, folder)) = folder.take() {
        folder.finish().map_err(failed)?;
    }
    target.finish().map_err(failed)?;
    drop(progress);
    tell(args, desk, &sum);
    match sum.failures.len() {
        0 => Ok(()),
        count => {
            let message = format!("{count} messages could not be read; the others are there");
            Err(AdminError::new(ErrorKind::Data, message))
        }
    }
}

fn tell(args: &ExportArgs, desk: &Desk, sum: &Sum) {
    if args.manage.json() {
        let failures: Vec<_> = sum
            .failures
            .iter()
            .map(|(mailbox, uid, why)| json!({ "mailbox": mailbox, "uid": uid, "why": why }))
            .collect();
        let summary = json!({
            "messages": sum.messages, "octets": sum.octets, "keywords_dropped": sum.keywords_dropped,
            "failures": failures, "mailboxes": sum.mailboxes,
        });
        return print(&summary.to_string());
    }
    for (mailbox, uid, why) in &sum.failures {
        desk.note(&format!("{mailbox}: UID {uid}: {why}"));
    }
    if sum.keywords_dropped > 0 {
        desk.note(&format!("{} keywords dropped, a Maildir has room for 26", sum.keywords_dropped));
    }
    print(&format!("{} messages, {}", sum.messages, octets(sum.octets)));
}
