//! `packetboat serve`: the server.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use packetboat_server::app;
use packetboat_server::settings::Settings;

use super::{fail, sysexits};

/// Where the settings are, unless `--config` says otherwise.
pub(crate) const SETTINGS: &str = "/etc/packetboat/packetboat.toml";

/// Serve mail by the settings of a file.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArg,
}

/// The file with the settings.
#[derive(Debug, Args)]
pub(crate) struct ConfigArg {
    /// The file with the settings [default: packetboat.toml here, or else in /etc/packetboat]
    #[arg(long, short, value_name = "FILE", env = "PACKETBOAT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

impl ConfigArg {
    /// The file meant.
    pub(crate) fn file(&self) -> PathBuf {
        let here = PathBuf::from("packetboat.toml");
        match &self.config {
            Some(file) => file.clone(),
            None if here.exists() => here,
            None => PathBuf::from(SETTINGS),
        }
    }

    /// Reads and checks it; on mistakes, says them all.
    pub(crate) fn load(&self) -> Result<Settings, ExitCode> {
        Settings::load(&self.file()).map_err(|error| fail(sysexits::CONFIG, &error))
    }
}

pub(crate) fn run(args: &ServeArgs) -> ExitCode {
    let settings = match args.config.load() {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    // A relative path would point elsewhere if the directory changed before a reload.
    let file = args.config.file().canonicalize().ok();
    match app::serve(settings, file, async |_, _| Ok(())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(sysexits::UNAVAILABLE, &error),
    }
}
