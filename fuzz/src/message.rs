//! The value types of `message`.

use packetboat_message::{Address, Domain};

/// An address that can be read survives being written, and its lookup key is settled.
pub fn address(data: &[u8]) {
    crate::round_trip!(
        data,
        |data: &[u8]| std::str::from_utf8(data).ok().and_then(|text| Address::parse(text).ok()),
        |address: &Address| {
            let text = address.to_string();
            assert!(!text.contains(['\r', '\n', '\0']));
            let ascii = address.domain().to_ascii();
            assert!(ascii.is_ascii());
            assert_eq!(Domain::parse(&ascii).as_ref(), Ok(address.domain()), "by way of {ascii}");
            text.into_bytes()
        }
    );
}
