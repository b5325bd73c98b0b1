//! The command line.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use packetboat_server::admin::ServerRequest;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One program that carries the Internet's mail and its files.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Account(commands::account::AccountArgs),
    Alias(commands::alias::AliasArgs),
    Backup(commands::backup::BackupArgs),
    Check(commands::check::CheckArgs),
    Demo(commands::demo::DemoArgs),
    Disconnect(commands::control::DisconnectArgs),
    Domain(commands::domain::DomainArgs),
    Export(commands::export::ExportArgs),
    Import(Box<commands::import::ImportArgs>),
    Init(commands::init::InitArgs),
    Queue(commands::queue::QueueArgs),
    /// Have the running server read its settings and certificates again
    Reload(commands::control::ControlArgs),
    Restore(commands::backup::RestoreArgs),
    Send(Box<commands::send::SendArgs>),
    Sendmail(commands::sendmail::SendmailArgs),
    Serve(commands::serve::ServeArgs),
    /// Show what the running server has counted, as Prometheus reads it
    Stats(commands::control::ControlArgs),
    /// Have the running server finish the work in hand and end
    Stop(commands::control::ControlArgs),
    Trace(commands::trace::TraceArgs),
    /// Show who is connected to the running server
    Who(commands::control::WhoArgs),
}

fn main() -> ExitCode {
    // Programs call it by the names that mail has had on every Unix.
    let mut arguments = std::env::args_os();
    let name = arguments.next().map(std::path::PathBuf::from).unwrap_or_default();
    if let Some(name @ ("sendmail" | "mailq" | "newaliases")) =
        name.file_name().and_then(|name| name.to_str())
    {
        return commands::sendmail::run(name, arguments.collect());
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for, and come as errors too.
            let code = if error.use_stderr() { commands::sysexits::USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match cli.command {
        Command::Account(args) => commands::account::run(args),
        Command::Alias(args) => commands::alias::run(args),
        Command::Backup(args) => commands::backup::backup(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Demo(args) => commands::demo::run(args),
        Command::Disconnect(args) => commands::control::disconnect(args),
        Command::Domain(args) => commands::domain::run(args),
        Command::Export(args) => commands::export::run(&args),
        Command::Import(args) => commands::import::run(&args),
        Command::Init(args) => commands::init::run(&args),
        Command::Queue(args) => commands::queue::run(args),
        Command::Reload(args) => commands::control::run(&args, ServerRequest::Reload),
        Command::Restore(args) => commands::backup::restore(&args),
        Command::Send(args) => commands::send::run(*args),
        Command::Sendmail(args) => commands::sendmail::run("sendmail", args.arguments),
        Command::Serve(args) => commands::serve::run(&args),
        Command::Stats(args) => commands::control::run(&args, ServerRequest::Metrics),
        Command::Stop(args) => commands::control::run(&args, ServerRequest::Stop),
        Command::Trace(args) => commands::trace::run(&args),
        Command::Who(args) => commands::control::who(&args),
    }
}
