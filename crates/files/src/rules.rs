//! How file spaces behave: what the site's settings say, for all users.

use crate::Algorithm;

/// How file spaces behave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Checksums that are made of every file while it is received. Others are made, and kept, when somebody asks for them.
    pub checksums: Vec<Algorithm>,
}
