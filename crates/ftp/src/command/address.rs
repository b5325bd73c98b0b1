//! Addresses of data connections, in the three ways in which they are written.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::InvalidCommand;

const SYNTAX: InvalidCommand = InvalidCommand::Argument("The address cannot be read.");

/// A family of addresses, by its number in RFC 2428.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    /// 1
    V4,
    /// 2
    V6,
}

/// What a passive server announces.
pub type Announced = SocketAddr;

/// `h1,h2,h3,h4,p1,p2` (RFC 959 section 4.1.2).
pub(super) fn port(text: &str) -> Result<SocketAddr, InvalidCommand> {
    let numbers = numbers(text)?;
    let [a, b, c, d, high, low] = numbers[..] else { return Err(SYNTAX) };
    Ok((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
}

/// `|family|address|port|`, with any printable delimiter (RFC 2428 section 2).
pub(super) fn eprt(text: &str) -> Result<SocketAddr, InvalidCommand> {
    let delimiter = text.chars().next().filter(|c| c.is_ascii_graphic() && !c.is_ascii_alphanumeric());
    let delimiter = delimiter.ok_or(SYNTAX)?;
    let parts: Vec<&str> = text.split(delimiter).collect();
    let ["", family, address, port, ""] = parts[..] else { return Err(SYNTAX) };
    let address: IpAddr = match family {
        "1" => address.parse::<Ipv4Addr>().map_err(|_| SYNTAX)?.into(),
        "2" => address.parse::<Ipv6Addr>().map_err(|_| SYNTAX)?.into(),
        _ if family.parse::<u32>().is_ok() => return Err(InvalidCommand::Family),
        _ => return Err(SYNTAX),
    };
    Ok((address, port.parse::<u16>().map_err(|_| SYNTAX)?).into())
}

/// `EPSV`'s parameter.
pub(super) fn family(text: &str) -> Result<AddressFamily, InvalidCommand> {
    match text {
        "1" => Ok(AddressFamily::V4),
        "2" => Ok(AddressFamily::V6),
        _ if text.parse::<u32>().is_ok() => Err(InvalidCommand::Family),
        _ => Err(InvalidCommand::Argument("EPSV takes a number of a network protocol, or ALL.")),
    }
}

/// `family,length,h1,…,length,p1,p2` (RFC 1639).
pub(super) fn lprt(text: &str) -> Result<SocketAddr, InvalidCommand> {
    let numbers = numbers(text)?;
    let (&[family, length], rest) = numbers.split_first_chunk().ok_or(SYNTAX)?;
    let (host, port) = rest.split_at_checked(length.into()).ok_or(SYNTAX)?;
    let &[2, high, low] = port else { return Err(SYNTAX) };
    let address: IpAddr = match family {
        4 => <[u8; 4]>::try_from(host).map_err(|_| SYNTAX)?.into(),
        6 => <[u8; 16]>::try_from(host).map_err(|_| SYNTAX)?.into(),
        _ => return Err(InvalidCommand::LongFamily),
    };
    Ok((address, u16::from_be_bytes([high, low])).into())
}

fn numbers(text: &str) -> Result<Vec<u8>, InvalidCommand> {
    text.split(',').map(|number| number.trim().parse().map_err(|_| SYNTAX)).collect()
}

/// `(h1,h2,h3,h4,p1,p2)` for a 227; an IPv6 address has no such form.
pub fn pasv_answer(at: SocketAddr) -> Option<String> {
    let IpAddr::V4(address) = at.ip().to_canonical() else { return None };
    let [a, b, c, d] = address.octets();
    let [high, low] = at.port().to_be_bytes();
    Some(format!("({a},{b},{c},{d},{high},{low})"))
}

/// `(|||port|)` for a 229.
pub fn epsv_answer(port: u16) -> String {
    format!("(|||{port}|)")
}

/// `(family,length,h1,…,2,p1,p2)` for a 228.
pub fn lpsv_answer(at: SocketAddr) -> String {
    let (family, octets) = match at.ip().to_canonical() {
        IpAddr::V4(address) => (4, address.octets().to_vec()),
        IpAddr::V6(address) => (6, address.octets().to_vec()),
    };
    let mut text = format!("({family},{}", octets.len());
    for octet in octets {
        let _ = write!(text, ",{octet}");
    }
    let [high, low] = at.port().to_be_bytes();
    text + &format!(",2,{high},{low})")
}

/// What PORT says: `h1,h2,h3,h4,p1,p2`.
pub(super) fn port_argument(at: SocketAddr) -> Option<String> {
    pasv_answer(at).map(|text| text.trim_matches(['(', ')']).to_owned())
}

/// What LPRT says.
pub(super) fn lprt_argument(at: SocketAddr) -> String {
    lpsv_answer(at).trim_matches(['(', ')']).to_owned()
}

/// What EPRT says: `|family|address|port|`.
pub(super) fn eprt_argument(at: SocketAddr) -> String {
    let address = at.ip().to_canonical();
    let family = if address.is_ipv4() { 1 } else { 2 };
    format!("|{family}|{address}|{}|", at.port())
}

/// Finds the address in the text of a 227. Servers write it in many ways, so the digits are looked for (RFC 1123 section
/// 4.1.2.6).
pub(crate) fn read_pasv_answer(text: &str) -> Option<SocketAddr> {
    let starts = text.char_indices().filter(|(at, c)| {
        c.is_ascii_digit() && !text[..*at].ends_with(|before: char| before.is_ascii_digit() || before == ',')
    });
    starts.map(|(at, _)| &text[at..]).find_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(rest.len());
        let numbers: Vec<u8> = rest[..end]
            .trim_end_matches(',')
            .split(',')
            .map(|number| number.parse().ok())
            .collect::<Option<_>>()?;
        let [a, b, c, d, high, low] = numbers[..] else { return None };
        Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
    })
}

/// Finds the port in the text of a 229: `(|||port|)`, with any delimiter.
pub(crate) fn read_epsv_answer(text: &str) -> Option<u16> {
    let (_, inside) = text.split_once('(')?;
    let (inside, _) = inside.split_once(')')?;
    let delimiter = inside.chars().next()?;
    let parts: Vec<&str> = inside.split(delimiter).collect();
    match parts[..] {
        ["", _, _, port, ""] => port.parse().ok().filter(|port| *port > 0),
        _ => None,
    }
}

/// Finds the address in the text of a 228.
pub(crate) fn read_lpsv_answer(text: &str) -> Option<SocketAddr> {
    let (_, inside) = text.split_once('(')?;
    let (inside, _) = inside.split_once(')')?;
    lprt(inside).ok()
}
