//! The repository's own commands.
//!
//! `cargo xtask demo` and `cargo xtask test` do all their set-up on a fresh Debian 12 machine with Rust and a C
//! compiler. This crate knows the house only from outside: it starts cargo, the binary and other people's programs.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command line tool talks to a terminal

mod bench;
mod debian;
mod fuzz;
mod shell;
mod suite;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use shell::Result;

#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", about = "The repository's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the server and run every part of it on loopback, with throwaway certificates and accounts
    Demo {
        /// For `packetboat demo`, such as --dir DIR or --accounts 20
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Everything a change has to pass: format, lints, licences, all tests, real mail clients
    Test {
        /// Also 50 rounds of sudden death, a minute for each fuzz target, 10,000 connections
        #[arg(long)]
        long: bool,
    },
    /// Only the tests that run the real binary against real clients
    Interop {
        /// For the test runner, such as the name of one test
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure this server beside Debian's Postfix with Dovecot, or FTP servers (`cargo xtask bench -- --help`)
    Bench {
        /// For the load generator
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Fuzz one target, or each in turn
    Fuzz {
        /// One of fuzz/fuzz_targets
        target: Option<String>,
        /// How long each target runs
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Install what the tests need and say what is there
    Tools,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo { arguments } => demo(&arguments),
        Command::Test { long } => suite::test(long),
        Command::Interop { arguments } => suite::interop(&arguments),
        Command::Bench { arguments } => bench::run(&arguments),
        Command::Fuzz { target, seconds } => fuzz::run(target.as_deref(), seconds),
        Command::Tools => tools::clients(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &[String]) -> Result {
    let binary = shell::build_server()?;
    shell::become_program(&binary, ["demo"].into_iter().chain(arguments.iter().map(String::as_str)))
}
