//! Where mail is written for somewhere else.

use std::io;

use super::maildir::{self, Draft, Facts};
use super::mbox;

/// Where mail goes.
#[derive(Debug)]
pub enum Target {
    /// A Maildir with folders.
    Maildir(maildir::Writer),
    /// A directory of mbox files.
    Mbox(mbox::Writer),
}

/// A mailbox being written.
#[derive(Debug)]
pub struct TargetFolder(Kind);

#[derive(Debug)]
enum Kind {
    Maildir(maildir::FolderWriter),
    Mbox(Box<mbox::FolderWriter>),
}

impl Target {
    /// Begins a mailbox.
    ///
    /// # Errors
    /// When it cannot be written, or another one has its name there.
    pub fn folder(
        &mut self,
        name: &str,
        uid_validity: u32,
        uid_next: u32,
        subscribed: bool,
    ) -> io::Result<TargetFolder> {
        Ok(TargetFolder(match self {
            Target::Maildir(writer) => {
                Kind::Maildir(writer.folder(name, uid_validity, uid_next, subscribed)?)
            }
            Target::Mbox(writer) => Kind::Mbox(Box::new(writer.folder(name, uid_validity, uid_next)?)),
        }))
    }

    /// All mailboxes are written.
    ///
    /// # Errors
    /// When what stands beside them cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Target::Maildir(writer) => writer.finish(),
            Target::Mbox(_) => Ok(()),
        }
    }
}

impl TargetFolder {
    /// Writes a message. Gives how many of its keywords there was no room for.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, facts: &Facts<'_>, draft: Draft) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Maildir(folder) => folder.add(facts, draft),
            Kind::Mbox(folder) => folder.add(facts, draft).map(|()| 0),
        }
    }

    /// The mailbox is complete.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Kind::Maildir(folder) => folder.finish(),
            Kind::Mbox(folder) => folder.finish(),
        }
    }
}
