//! `packetboat check`: whether all is well, and putting right what is not.

use std::process::ExitCode;

use clap::Args;
use packetboat_server::admin::{AdminError, ErrorKind};
use packetboat_server::dns::Findings;
use packetboat_server::upkeep::{self, Check, Miscount, Outcome, Recount, Report};
use serde_json::json;

use super::manage::{ManageArgs, end, exit_codes, octets, print};

/// Check the settings, the certificates, the DNS and, while no server runs, the store and what is counted of files.
///
/// Without --repair or --rebuild nothing is changed. The exit code is 65 when something is wrong that was not put right;
/// what the DNS says does not change it.
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
    /// Do not ask the DNS about the server and its domains
    #[arg(long)]
    no_dns: bool,
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
    upkeep::user(&settings)?;
    say("settings: fine".to_owned());
    for words in settings.ftp.doubts() {
        say(format!("settings: {words}"));
    }
    // Before it becomes whose the store is.
    for words in upkeep::out_of_reach(&settings) {
        say(format!("settings: {words}"));
    }
    let certificates = upkeep::certificates(&settings)?;
    upkeep::client_authorities(&settings)?;
    for certificate in &certificates {
        say(format!("certificate: {} until {}", certificate.names.join(", "), certificate.not_after));
    }
    if certificates.is_empty() {
        say("certificate: none configured; clients will not trust the one the server makes".to_owned());
    }
    // The store comes first: asking it for its domains opens it, and that must not touch one in need of repair.
    let there = upkeep::directory(&settings).exists();
    let report = match (there, args.rebuild) {
        (false, _) => None,
        (true, true) => upkeep::rebuild(&settings)?,
        (true, false) => upkeep::check(&settings, Check { deep: args.deep, repair: args.repair })?,
    };
    let readable = there && !report.as_ref().is_some_and(needs_repair);
    // Before there is a look at the DNS, which may take its time.
    let files = match &report {
        Some(_) if readable => upkeep::files(&settings, args.repair),
        _ => Ok(None),
    };
    let dns = if args.no_dns { None } else { Some(upkeep::dns(&settings, readable)?) };
    for line in dns.iter().flat_map(in_words) {
        say(line);
    }
    match &report {
        Some(report) => say(format!("store: {report}")),
        None if !there => {
            say("store: none yet; it is made with the first domain or at the first start".to_owned());
        }
        None if args.repair || args.rebuild => {
            let message = "the server has the store open; stop it first (`packetboat stop`)";
            return Err(AdminError::new(ErrorKind::Unavailable, message));
        }
        None => say("store: in use by the running server; stop it to have the store checked".to_owned()),
    }
    let files = files?;
    for line in files.iter().flat_map(in_numbers) {
        say(line);
    }
    if args.manage.json() {
        let certificates: Vec<_> = certificates
            .iter()
            .map(|it| json!({ "names": it.names, "not_after": it.not_after.to_string() }))
            .collect();
        let store = report.as_ref().map(as_json);
        let files = files.as_ref().map(numbers_as_json);
        print(
            &json!({ "certificates": certificates, "dns": dns, "store": store, "files": files }).to_string(),
        );
    }
    match report {
        Some(report) if needs_repair(&report) => {
            let message =
                "the store needs repair: `packetboat check --repair`, after a backup of its directory";
            Err(AdminError::new(ErrorKind::Data, message))
        }
        Some(report) if report.has_losses() => Err(AdminError::new(
            ErrorKind::Data,
            "the store is right again, but what is named above as LOST is gone",
        )),
        _ if files.is_some_and(|found| found.wrong.iter().any(|one| !one.mended)) => {
            let message = "files were counted wrong: `packetboat check --repair` writes down what is there";
            Err(AdminError::new(ErrorKind::Data, message))
        }
        _ => Ok(()),
    }
}

fn needs_repair(report: &Report) -> bool {
    report.problems.iter().any(|(outcome, _)| *outcome == Outcome::Found)
}

fn in_words(dns: &Findings) -> Vec<String> {
    let mut lines: Vec<String> = dns.findings.iter().map(|finding| format!("DNS: {finding}")).collect();
    if let Some(why) = &dns.skipped {
        let what = if lines.is_empty() { "skipped" } else { "the rest skipped" };
        lines.push(format!("DNS: {why}; {what}"));
    }
    lines
}

fn in_numbers(found: &Recount) -> Vec<String> {
    if found.unclean {
        return vec![
            "files: the server did not stop in order; they are counted anew at the next log-ins".to_owned(),
        ];
    }
    let mut lines: Vec<String> = found.wrong.iter().map(|one| format!("files: {one}")).collect();
    if found.counted > 0 {
        lines.push(format!("files: {} counted, {} of them wrong", found.counted, found.wrong.len()));
    }
    lines
}

fn numbers_as_json(found: &Recount) -> serde_json::Value {
    let wrong = |one: &Miscount| {
        let numbers = |(octets, files)| json!({ "octets": octets, "files": files });
        json!({
            "whose": one.whose, "written": numbers(one.written), "there": numbers(one.there), "mended": one.mended,
        })
    };
    let wrong: Vec<_> = found.wrong.iter().map(wrong).collect();
    json!({ "counted": found.counted, "unclean": found.unclean, "wrong": wrong })
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
