//! How file spaces behave: what the site's settings say, for all users.

use crate::{Algorithm, Keeping};

/// How file spaces behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Checksums that are made of every file while it is received. Others are made, and kept, when somebody asks for them.
    pub checksums: Vec<Algorithm>,
    /// The largest file whose octets are counted to say how many a transfer of it would send, where that is not what lies on
    /// disk.
    pub counted_octets_max: u64,
    /// Uploads that are broken off are kept so that they can go on; `None`: they are not.
    pub keeping: Option<Keeping>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { checksums: Vec::new(), counted_octets_max: 64 << 20, keeping: Some(Keeping::default()) }
    }
}
