//! Surroundings for tests.

use std::io::{self, Cursor};
use std::sync::Arc;

use super::request::Surroundings;

/// No person, no configuration, and this standard input.
pub(crate) fn around(stdin: &str) -> Surroundings {
    around_bytes(stdin.as_bytes().to_vec())
}

pub(crate) fn around_bytes(stdin: Vec<u8>) -> Surroundings {
    Surroundings {
        stdin: Box::new(Cursor::new(stdin)),
        stdin_is_terminal: false,
        progress: false,
        dialogue: None,
        note: Arc::new(|_| {}),
        ask_password: Box::new(|_| Err(io::ErrorKind::Unsupported.into())),
        env_password: None,
        config_dir: None,
    }
}
