//! Conversations as files that a person can read aloud, for tests of sessions.
//!
//! ```text
//! # What somebody with telnet does.
//! S: 220 * ESMTP*
//! C: HELO there
//! S: 250 *
//! C>*3 NOOP\r\n
//! S: 250 *
//! S: 250 *
//! S: 250 *
//! T: 5m
//! S: 421 *
//! S: <close>
//! ```
//!
//! | line | means |
//! |---|---|
//! | `C: text` | the client says this line and CRLF; an empty one is `C:` |
//! | `C> text` | the client says these octets, with `\r` `\n` `\t` `\0` `\\` `\xNN`, and nothing added |
//! | `C>*1000 text` | the same a thousand times |
//! | `S: text` | the server says this line and CRLF |
//! | `S> text`, `S>*3 text` | the server says these octets |
//! | `C: <close>`, `S: <close>` | that side closes |
//! | `S: <starttls>` | both do the TLS handshake here |
//! | `S: ...` | any lines, up to one like the next expected |
//! | `T: 4m59s` | time goes by (`h` `m` `s` `ms`) |
//! | `E: glob` | the session told its owner something whose `Debug` text is like this; events in between may differ |
//! | `O: text` | the owner does something: `O: shut down`, `O: cut short`, or what [`Owner::order`] understands |
//! | `@ name value` | a setting, for whoever makes the session: [`Script::setting`] |
//! | `# text` | a remark |
//!
//! In a line that the session under test has to say, `*` stands for any text within the line, except in the front and
//! before a space (`* 3 EXISTS` in IMAP) or as `\*`.
//!
//! Input lines that follow each other arrive in one read, as from a client that pipelines. Each file is run a second
//! time with every octet arriving alone, which must make no difference.

mod run;
mod script;

use std::path::Path;

use crate::session::{Session, TlsFacts};

pub use run::Mismatch;
pub use script::{Script, ScriptError};

/// Which side of the conversation is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What `S:` lines say is expected; what `C:` lines say is fed in.
    Server,
    /// The other way round.
    Client,
}

/// Who the session tells its events. A closure that takes session and event is one.
pub trait Owner<S: Session> {
    /// Deals with an event; if it is a question, answers it.
    fn event(&mut self, session: &mut S, event: S::Event);

    /// Does what an `O:` line says; the error tells what is wrong with it.
    fn order(&mut self, session: &mut S, order: &str) -> Result<(), String> {
        let _ = session;
        Err(format!("nobody here knows how to {order:?}"))
    }

    /// What the session is to know of TLS after `<starttls>`.
    fn tls(&mut self) -> TlsFacts {
        TlsFacts { version: "TLSv1.3", cipher: "TLS13_AES_256_GCM_SHA384", ..TlsFacts::default() }
    }
}

impl<S: Session, F: FnMut(&mut S, S::Event)> Owner<S> for F {
    fn event(&mut self, session: &mut S, event: S::Event) {
        self(session, event);
    }
}

/// Runs a script in both ways. `make` gives a fresh session and its owner for each.
pub fn run<S, O>(
    script: &Script,
    role: Role,
    mut make: impl FnMut(&Script) -> (S, O),
) -> Result<(), Box<Mismatch>>
where
    S: Session,
    S::Event: std::fmt::Debug,
    O: Owner<S>,
{
    for arrival in [run::Arrival::AsWritten, run::Arrival::OctetByOctet] {
        let (session, owner) = make(script);
        run::Run::new(script, role, arrival, session, owner).run()?;
    }
    Ok(())
}

/// Runs every `.txt` in a folder; for tests.
///
/// # Panics
///
/// If one does not go as written, with all that do not; or if there is none.
pub fn check_folder<S, O>(folder: impl AsRef<Path>, role: Role, mut make: impl FnMut(&Script) -> (S, O))
where
    S: Session,
    S::Event: std::fmt::Debug,
    O: Owner<S>,
{
    let folder = folder.as_ref();
    let mut files: Vec<_> = match std::fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) => panic!("{}: {error}", folder.display()),
    };
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(!files.is_empty(), "{}: there is no transcript", folder.display());
    let failures: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let script = match Script::load(path) {
                Ok(script) => script,
                Err(error) => return Some(error.to_string()),
            };
            run(&script, role, &mut make).err().map(|mismatch| mismatch.to_string())
        })
        .collect();
    assert!(failures.is_empty(), "\n{}\n{} of {} failed", failures.join("\n"), failures.len(), files.len());
}

/// Runs a script given as text; for tests.
///
/// # Panics
///
/// If it does not go as written.
pub fn check<S, O>(name: &str, text: &str, role: Role, make: impl FnMut(&Script) -> (S, O))
where
    S: Session,
    S::Event: std::fmt::Debug,
    O: Owner<S>,
{
    match Script::parse(name, text) {
        Ok(script) => {
            if let Err(mismatch) = run(&script, role, make) {
                panic!("\n{mismatch}");
            }
        }
        Err(error) => panic!("\n{error}"),
    }
}

#[cfg(test)]
mod tests;
