//! As much of STUN (RFC 8489) as it takes to learn under which address the Internet sees us.

#[cfg(test)]
use std::net::SocketAddr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// No answer is longer that fits into one packet everywhere (section 6.1).
pub(crate) const MESSAGE_MAX: usize = 1280;

const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const MAPPED_ADDRESS: u16 = 0x0001;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// A Binding request without attributes (section 5).
pub(crate) fn request(transaction: [u8; 12]) -> [u8; HEADER] {
    header(BINDING_REQUEST, 0, transaction)
}

fn header(kind: u16, length: u16, transaction: [u8; 12]) -> [u8; HEADER] {
    let mut message = [0; HEADER];
    let parts = [&kind.to_be_bytes()[..], &length.to_be_bytes(), &MAGIC_COOKIE, &transaction];
    for (place, octet) in message.iter_mut().zip(parts.into_iter().flatten()) {
        *place = *octet;
    }
    message
}

/// The address in a success response to the request of that transaction; `None` if it is no such response.
pub(crate) fn mapped_address(message: &[u8], transaction: [u8; 12]) -> Option<IpAddr> {
    let (head, rest) = message.split_at_checked(HEADER)?;
    let length = usize::from(u16::from_be_bytes([*head.get(2)?, *head.get(3)?]));
    if head != header(BINDING_SUCCESS, u16::try_from(length).ok()?, transaction) {
        return None;
    }
    let mut attributes = rest.get(..length)?;
    let mut plain = None;
    while let Some((&[a, b, c, d], rest)) = attributes.split_first_chunk() {
        let (kind, length) = (u16::from_be_bytes([a, b]), usize::from(u16::from_be_bytes([c, d])));
        let value = rest.get(..length)?;
        match kind {
            XOR_MAPPED_ADDRESS => return address(value, transaction, true),
            MAPPED_ADDRESS => plain = address(value, transaction, false),
            _ => {}
        }
        // Padded to four octets (section 14).
        attributes = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    plain
}

/// Sections 14.1 and 14.2: a family, a port, an address, the last two xored with the cookie and the transaction.
fn address(value: &[u8], transaction: [u8; 12], xored: bool) -> Option<IpAddr> {
    let (&[_, family, _, _], octets) = value.split_first_chunk()?;
    let mask = MAGIC_COOKIE.iter().chain(&transaction);
    let clear = octets.iter().zip(mask).map(|(octet, mask)| if xored { octet ^ mask } else { *octet });
    let clear: Vec<u8> = clear.collect();
    match family {
        1 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(&clear[..]).ok()?).into()),
        2 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(&clear[..]).ok()?).into()),
        _ => None,
    }
}

/// What a server answers.
#[cfg(test)]
pub(crate) fn response(transaction: [u8; 12], seen: SocketAddr) -> Vec<u8> {
    let IpAddr::V4(address) = seen.ip() else { return Vec::new() };
    let mut message = header(BINDING_SUCCESS, 12, transaction).to_vec();
    message.extend([0, 0x20, 0, 8, 0, 1]);
    message.extend(seen.port().to_be_bytes().iter().zip(MAGIC_COOKIE).map(|(octet, mask)| octet ^ mask));
    message.extend(address.octets().iter().zip(MAGIC_COOKIE).map(|(octet, mask)| octet ^ mask));
    message
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// RFC 5769 section 2.2: a response for IPv4; software, address, integrity, fingerprint.
    const SAMPLE: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
    /// Section 2.3: the same for IPv6.
    const SAMPLE_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c";

    fn octets(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn the_samples_of_the_rfc() {
        let transaction = octets("b7e7a701bc34d686fa87dfae").try_into().unwrap();
        for (sample, seen) in [(SAMPLE, "192.0.2.1"), (SAMPLE_V6, "2001:db8:1234:5678:11:2233:4455:6677")] {
            let message = octets(sample);
            assert_eq!(mapped_address(&message, transaction), Some(seen.parse().unwrap()));
            // Of another transaction, or cut short: nothing, and no panic.
            assert_eq!(mapped_address(&message, [0; 12]), None);
            for end in 0..message.len() {
                assert_eq!(mapped_address(&message[..end], transaction), None, "{end}");
            }
        }
    }

    #[test]
    fn the_address_without_a_mask() {
        let mut message = header(BINDING_SUCCESS, 12, [1; 12]).to_vec();
        message.extend([0, 1, 0, 8, 0, 1, 0x10, 0, 198, 51, 100, 7]);
        assert_eq!(mapped_address(&message, [1; 12]), Some("198.51.100.7".parse().unwrap()));
        assert_eq!(request([1; 12])[..8], [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42]);
    }
}
