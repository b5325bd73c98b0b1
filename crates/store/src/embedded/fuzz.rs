//! What the fuzz targets try: the decoders of what lies on the disk, which may hold anything after a bad day.

use super::effect::{Effect, decode_all, decode_receipt, encode_receipt};
use super::record::{HEAD, Head, SEGMENT_HEAD, read_segment_head, segment_head};

/// Reads octets as a segment's head, a record, the effects of a transaction and a receipt. What can be read must, once
/// written, be read as the same.
///
/// # Panics
/// If something is wrong.
pub fn records(octets: &[u8]) {
    if let Some(head) = octets.first_chunk::<SEGMENT_HEAD>()
        && let Some((id, store)) = read_segment_head(head)
    {
        assert_eq!(read_segment_head(&segment_head(id, store)), Some((id, store)));
    }
    if let Some((octets, meta)) = octets.split_first_chunk::<HEAD>()
        && let Some(head) = Head::decode(octets)
    {
        let mut written = Vec::new();
        head.encode(meta, &mut written);
        let (again, rest) = written.split_first_chunk::<HEAD>().unwrap_or((octets, &[]));
        assert_eq!((Head::decode(again), rest), (Some(head), meta));
        assert!(Head::verify(again, meta));
        assert!(head.record_len() >= HEAD as u64);
    }
    let written = |effects: &[Effect]| {
        let mut out = Vec::new();
        effects.iter().for_each(|effect| effect.encode(&mut out));
        out
    };
    if let Some(effects) = decode_all(octets) {
        assert_eq!(decode_all(&written(&effects)), Some(effects));
    }
    if let Some(receipt) = decode_receipt(octets) {
        let mut out = Vec::new();
        encode_receipt(&receipt, &mut out);
        assert_eq!(decode_receipt(&out), Some(receipt));
    }
}
