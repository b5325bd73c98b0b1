//! `packetboat who`, `disconnect`, `stats`, `reload` and `stop`: the server that runs.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use packetboat_server::admin::{Connection, Guests, Item, Request, ServerRequest};

use super::manage::{ManageArgs, exit_codes, manage, otherwise};

/// Options of a command to the running server.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct ControlArgs {
    #[command(flatten)]
    manage: ManageArgs,
}

/// Options of `packetboat who`.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct WhoArgs {
    /// Only those who send or fetch files at this moment
    #[arg(long)]
    transfers: bool,
    #[command(flatten)]
    manage: ManageArgs,
}

/// End connections of the running server
///
/// A session that is in the middle of something finishes that; a transfer of a file is given up, and what was received of
/// it is never seen under its name. Nothing keeps whom it concerns from coming again: see `packetboat account disable`.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct DisconnectArgs {
    /// The number of a connection, as `packetboat who` has it; an account; or an address or network such as 192.0.2.0/24
    #[arg(value_parser = guests)]
    which: Guests,
    #[command(flatten)]
    manage: ManageArgs,
}

fn guests(text: &str) -> Result<Guests, std::convert::Infallible> {
    let address = || text.parse().ok().map(|address: IpAddr| Guests::Network(address.into()));
    let network = || text.parse().ok().map(Guests::Network);
    let number = text.parse().ok().map(Guests::Connection);
    Ok(number.or_else(address).or_else(network).unwrap_or_else(|| Guests::Account(text.to_owned())))
}

pub(crate) fn run(args: &ControlArgs, request: ServerRequest) -> ExitCode {
    manage(&args.manage, async |desk| desk.ask(Request::Server(request), say).await)
}

pub(crate) fn who(args: &WhoArgs) -> ExitCode {
    manage(&args.manage, async |desk| {
        let mut items = desk.look(Request::Server(ServerRequest::Connections)).await?;
        let transfers = |item: &Item| matches!(item, Item::Connection(Connection { files: Some(it), .. }) if it.transfer.is_some());
        items.retain(|item| !args.transfers || transfers(item));
        desk.tell(&items, say);
        Ok(())
    })
}

pub(crate) fn disconnect(args: DisconnectArgs) -> ExitCode {
    let request = Request::Server(ServerRequest::Disconnect(args.which));
    manage(&args.manage, async |desk| desk.ask(request, |item| format!("disconnected: {}", say(item))).await)
}

fn say(item: &Item) -> String {
    match item {
        Item::Connection(it) => {
            let peer = it.peer.map_or_else(|| "local".to_owned(), |peer| peer.to_string());
            let login = it.login.as_deref().unwrap_or("not logged in");
            // To the second.
            let since: String = it.since.to_string().chars().take(19).collect();
            let files = it.files.as_ref().map(|files| {
                let tls = if files.tls { "TLS" } else { "in the clear" };
                let centre =
                    files.cost_centre.as_ref().map(|name| format!(", for {name}")).unwrap_or_default();
                format!("\n           {tls}{centre}: {files}")
            });
            let files = files.unwrap_or_default();
            format!("{:<10} {:<12} {peer:<40} {login:<40} since {since}Z{files}", it.connection, it.service)
        }
        Item::Metric(line) => line.clone(),
        Item::Done(done) if done.done == "reloaded" => {
            "reloaded; addresses, data and user change only at a restart".to_owned()
        }
        Item::Done(done) => done.done.clone(),
        other => otherwise(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_meant() {
        let network = |text: &str| Guests::Network(text.parse().unwrap_or_default());
        for (text, which) in [
            ("17", Guests::Connection(17)),
            ("alice@example.org", Guests::Account("alice@example.org".to_owned())),
            ("alice", Guests::Account("alice".to_owned())),
            ("192.0.2.7", network("192.0.2.7/32")),
            ("192.0.2.0/24", network("192.0.2.0/24")),
            ("2001:db8::/32", network("2001:db8::/32")),
        ] {
            assert_eq!(guests(text), Ok(which), "{text}");
        }
    }
}
