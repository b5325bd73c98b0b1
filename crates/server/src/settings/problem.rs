//! What is wrong with a settings file, all of it at once.

use std::fmt;
use std::path::PathBuf;

use super::section::Places;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// The key, with its section; empty if the file is no TOML there.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Why the settings cannot be used.
#[derive(Debug)]
pub enum SettingsError {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It says things that are not meant.
    Wrong {
        /// The file.
        file: PathBuf,
        /// All that is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
}

impl std::error::Error for SettingsError {}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingsError::Unreadable { file, source } => {
                write!(f, "{}: {source}", file.display())?;
                if source.kind() == std::io::ErrorKind::NotFound {
                    f.write_str("; `packetboat init` writes one, `--config FILE` names another")?;
                }
                Ok(())
            }
            SettingsError::Wrong { file, problems } => {
                for (index, problem) in problems.iter().enumerate() {
                    if index > 0 {
                        f.write_str("\n")?;
                    }
                    let Problem { line, column, key, message } = problem;
                    write!(f, "{}:{line}:{column}: ", file.display())?;
                    if !key.is_empty() {
                        write!(f, "{key}: ")?;
                    }
                    f.write_str(message)?;
                }
                Ok(())
            }
        }
    }
}

/// Collects what is wrong with a text.
#[derive(Debug)]
pub(super) struct Report<'s> {
    pub(super) text: &'s str,
    pub(super) problems: Vec<Problem>,
    pub(super) places: Places,
}
