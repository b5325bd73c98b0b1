//! `packetboat who`, `stats`, `reload` and `stop`: the server that runs.

use std::process::ExitCode;

use clap::Args;
use packetboat_server::admin::{Item, Request, ServerRequest};

use super::manage::{ManageArgs, exit_codes, manage, otherwise};

/// Options of a command to the running server.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct ControlArgs {
    #[command(flatten)]
    manage: ManageArgs,
}

pub(crate) fn run(args: &ControlArgs, request: ServerRequest) -> ExitCode {
    let say = |item: &Item| match item {
        Item::Connection(it) => {
            let peer = it.peer.map_or_else(|| "local".to_owned(), |peer| peer.to_string());
            let login = it.login.as_deref().unwrap_or("not logged in");
            // To the second.
            let since: String = it.since.to_string().chars().take(19).collect();
            format!("{:<10} {:<12} {peer:<40} {login:<40} since {since}Z", it.connection, it.service)
        }
        Item::Metric(line) => line.clone(),
        Item::Done(done) if done.done == "reloaded" => {
            "reloaded; addresses, data and user change only at a restart".to_owned()
        }
        Item::Done(done) => done.done.clone(),
        other => otherwise(other),
    };
    manage(&args.manage, async |desk| desk.ask(Request::Server(request), say).await)
}
