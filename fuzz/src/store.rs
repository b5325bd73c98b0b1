//! The decoders of what the store keeps on the disk.

/// Whatever the octets are, reading them does no harm, and what can be read is written as it was.
pub fn records(data: &[u8]) {
    packetboat_store::fuzz::records(data);
}
