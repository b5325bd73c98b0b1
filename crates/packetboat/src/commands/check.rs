//! `packetboat check`: whether all is well, and putting right what is not.

use std::process::ExitCode;

use clap::Args;
use packetboat_server::admin::{AdminError, ErrorKind};
use packetboat_server::upkeep::{self, Check, Outcome, Report};
use serde_json::json;

use super::manage::{ManageArgs, end, exit_codes, octets, print};

/// Check the settings, the certificates and, while no server runs, the store.
///
/// Without --repair or --rebuild nothing is changed. The exit code is 65 when something is wrong that was not put right.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct CheckArgs {
    /// Read every message and compare it with its checksum
    #[arg(long)]
    deep: bool,
    /// Put right what is wrong, and name what could not be saved
    #[arg(long)]
    repair: bool,
    /// Make the store's database anew from its log; for when it is lost or beyond repair
    #[arg(long, conflicts_with_all = ["repair", "deep"])]
    rebuild: bool,
    #[command(flatten)]
    manage: ManageArgs,
}

pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    end(args.manage.json(), check(args))
}

fn check(args: &CheckArgs) -> Result<(), AdminError> {
    let say = |text: String| {
        if !args.manage.json() {
            print(&text);
        }
    };
    let settings = args.manage.settings()?;
    say("settings: fine".to_owned());
    let certificates = upkeep::certificates(&settings)?;
    for certificate in &certificates {
        say(format!("certificate: {} until {}", certificate.names.join(", "), certificate.not_after));
    }
    if certificates.is_empty() {
        say("certificate: none configured; clients will not trust the one the server makes".to_owned());
    }
    if !upkeep::directory(&settings).exists() {
        say("store: none yet; it is made with the first domain or at the first start".to_owned());
        return Ok(());
    }
    let report = if args.rebuild {
        upkeep::rebuild(&settings)?
    } else {
        upkeep::check(&settings, Check { deep: args.deep, repair: args.repair })?
    };
    match &report {
        Some(report) => say(format!("store: {report}")),
        None if args.repair || args.rebuild => {
            let message = "the server has the store open; stop it first (`packetboat stop`)";
            return Err(AdminError::new(ErrorKind::Unavailable, message));
        }
        None => say("store: in use by the running server; stop it to have the store checked".to_owned()),
    }
    if args.manage.json() {
        let certificates: Vec<_> = certificates
            .iter()
            .map(|it| json!({ "names": it.names, "not_after": it.not_after.to_string() }))
            .collect();
        print(&json!({ "certificates": certificates, "store": report.as_ref().map(as_json) }).to_string());
    }
    match report {
        Some(report) if report.problems.iter().any(|(outcome, _)| *outcome == Outcome::Found) => {
            let message =
                "the store needs repair: `packetboat check --repair`, after a backup of its directory";
            Err(AdminError::new(ErrorKind::Data, message))
        }
        Some(report) if report.has_losses() => Err(AdminError::new(
            ErrorKind::Data,
            "the store is right again, but what is named above as LOST is gone",
        )),
        _ => Ok(()),
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Found => "found",
        Outcome::Repaired => "repaired",
        Outcome::Lost => "lost",
    };
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|(outcome, what)| json!({ "outcome": word(outcome), "what": what }))
        .collect();
    json!({
        "messages": report.messages, "bodies": report.bodies, "octets": report.octets,
        "size": octets(report.octets), "problems": problems, "more": report.more,
    })
}
