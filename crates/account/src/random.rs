//! Random octets from the system.

use crate::error::DirectoryError;

pub(crate) fn octets<const N: usize>() -> Result<[u8; N], DirectoryError> {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| DirectoryError::NoRandomness)?;
    Ok(octets)
}
