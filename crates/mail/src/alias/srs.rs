//! Return paths for mail that is forwarded (the Sender Rewriting Scheme).
//!
//! Whoever forwards a message sends it from a host that the sender's domain does not know, so that its SPF record
//! (RFC 7208) speaks against it. The forwarder's own domain in the return path helps, if a bounce still finds its way
//! back:
//!
//! - `bob@dest.example` becomes `SRS0=HHHHHH=TT=dest.example=bob@fwd.example`: a hash, a day, and the address.
//! - What another forwarder made, `SRS0=…@first.example`, becomes `SRS1=HHHHHH=first.example==…@fwd.example`: the way
//!   back is by the first forwarder, however many there are.
//!
//! The hash is an HMAC-SHA1 over what follows it in lower case, in base 64, cut short: servers on the way may change the
//! case of all of it, and it is compared without. The day counts from 0 to 1023, in base 32. Both are as in the
//! reference implementation (Mail::SRS), so its tables of known answers hold here.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use jiff::Timestamp;
use packetboat_message::{Address, Domain, LocalPart};

/// Characters of a hash. Of 6, in any case, there are some 3 thousand million.
pub const HASH_LEN: usize = 6;
/// Days for which an address is good. Few servers try longer than 5 to deliver, or to tell that they could not.
pub const DAYS: i64 = 21;
/// The day is told modulo this.
const CYCLE: i64 = 1024;
const DAY: i64 = 24 * 60 * 60;
/// What may follow a tag.
const SEPARATORS: [char; 3] = ['=', '+', '-'];
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A secret that hashes are made with.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    /// From secret octets.
    pub fn new(secret: &[u8]) -> Key {
        Key(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret))
    }

    fn hash(&self, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part.to_lowercase().as_bytes());
        }
        let mut hash = STANDARD_NO_PAD.encode(context.sign());
        hash.truncate(HASH_LEN);
        hash
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// Why an address leads to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is not one that was made here.
    #[error("this return path was not made here")]
    Forged,
    /// It was made here, too long ago.
    #[error("this return path is older than {DAYS} days")]
    Expired,
}

/// A return path cannot be made, because it would be longer than RFC 5321 section 4.5.3.1.1 lets a local part be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sender's address is too long to be put into another")]
pub struct TooLong;

/// Whether a local part looks like one that was made by this scheme, here or elsewhere.
pub fn is_made(local: &str) -> bool {
    tagged(local, "SRS0").is_some() || tagged(local, "SRS1").is_some()
}

/// The return path at `domain` that leads back to `sender`.
pub fn forward(sender: &Address, domain: &Domain, key: &Key, now: Timestamp) -> Result<Address, TooLong> {
    let (local, host) = (sender.local().as_str(), sender.domain().to_ascii());
    let text = if let Some(rest) = tagged(local, "SRS1") {
        // Back by the first forwarder; the one before us is not needed for it. What the first one made begins with its separator;
        // else nobody made this, and it is an address like any other.
        match rest.splitn(3, '=').collect::<Vec<_>>()[..] {
            [_, first, inner] if inner.starts_with(SEPARATORS) => {
                format!("SRS1={}={first}={inner}", key.hash(&[first, inner]))
            }
            _ => fresh(local, &host, key, now),
        }
    } else if tagged(local, "SRS0").is_some() {
        // Without the tag and with its separator, which is the first forwarder's own.
        let inner = local.get("SRS0".len()..).unwrap_or_default();
        format!("SRS1={}={host}={inner}", key.hash(&[&host, inner]))
    } else {
        fresh(local, &host, key, now)
    };
    let local = LocalPart::plain(&text).map_err(|_| TooLong)?;
    Ok(Address::new(local, domain.clone()))
}

fn fresh(local: &str, host: &str, key: &Key, now: Timestamp) -> String {
    let day = day_text(now);
    format!("SRS0={}={day}={host}={local}", key.hash(&[&day, host, local]))
}

/// The address that a local part made by [`forward`] leads back to. Any of the keys may have made it.
pub fn reverse(local: &str, keys: &[Key], now: Timestamp) -> Result<Address, Invalid> {
    if let Some(rest) = tagged(local, "SRS1") {
        let [hash, first, inner] = rest.splitn(3, '=').collect::<Vec<_>>()[..] else {
            return Err(Invalid::Forged);
        };
        verify(hash, &[first, inner], keys)?;
        return address(&format!("SRS0{inner}"), first);
    }
    let rest = tagged(local, "SRS0").ok_or(Invalid::Forged)?;
    let [hash, day, host, user] = rest.splitn(4, '=').collect::<Vec<_>>()[..] else {
        return Err(Invalid::Forged);
    };
    verify(hash, &[day, host, user], keys)?;
    let age = age_in_days(day, now).ok_or(Invalid::Forged)?;
    if age > DAYS {
        return Err(Invalid::Expired);
    }
    address(user, host)
}

fn verify(hash: &str, parts: &[&str], keys: &[Key]) -> Result<(), Invalid> {
    let hash = hash.to_ascii_lowercase();
    let made_by = |key: &Key| {
        let ours = key.hash(parts).to_ascii_lowercase();
        constant_time::verify_slices_are_equal(ours.as_bytes(), hash.as_bytes()).is_ok()
    };
    if keys.iter().any(made_by) { Ok(()) } else { Err(Invalid::Forged) }
}

fn address(local: &str, host: &str) -> Result<Address, Invalid> {
    // Whatever was signed is an address, but for one that differs in case in a way that Unicode makes matter.
    let local = LocalPart::plain(local).map_err(|_| Invalid::Forged)?;
    Ok(Address::new(local, Domain::parse(host).map_err(|_| Invalid::Forged)?))
}

/// What follows a tag and its separator, in any case.
fn tagged<'a>(local: &'a str, tag: &str) -> Option<&'a str> {
    let start = local.get(..tag.len())?;
    let rest = local.get(tag.len()..)?;
    let separated = start.eq_ignore_ascii_case(tag) && rest.starts_with(SEPARATORS);
    if separated { rest.get(1..) } else { None }
}

/// The day in two characters.
fn day_text(now: Timestamp) -> String {
    let day = now.as_second().div_euclid(DAY).rem_euclid(CYCLE);
    let digit = |value: i64| char::from(BASE32[usize::try_from(value & 31).unwrap_or(0)]);
    [digit(day >> 5), digit(day)].iter().collect()
}

/// How long ago the day was, taken to be within the last 1024.
fn age_in_days(text: &str, now: Timestamp) -> Option<i64> {
    if text.len() != 2 {
        return None;
    }
    let day = text.bytes().try_fold(0, |day, octet| {
        let digit = BASE32.iter().position(|digit| *digit == octet.to_ascii_uppercase())?;
        Some(day * 32 + i64::try_from(digit).ok()?)
    })?;
    // A clock that was set back by less than a day does not make an address a thousand days old.
    let age = (now.as_second().div_euclid(DAY) - day).rem_euclid(CYCLE);
    Some(if age == CYCLE - 1 { 0 } else { age })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Address {
        Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn key() -> Key {
        Key::new(b"secret of the forwarder")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn forwarded(text: &str, now: i64) -> String {
        let domain: Domain = "fwd.example".parse().expect("a domain");
        forward(&addr(text), &domain, &key(), at(now))
            .map_or_else(|error| error.to_string(), |made| made.to_string())
    }

    /// When the table was made by Mail::SRS 0.31 with this secret, the separator "=" and hashes of 6 characters.
    const NOW: i64 = 1_795_276_834;
    const KNOWN: [(&str, &str, &str); 6] = [
        ("bob@dest.example", "SRS0=7JstY3=JK=dest.example=bob@fwd.example", "bob@dest.example"),
        // Domains are in lower case here, which the hash does not see.
        (
            "Bob.Smith@Dest.Example",
            "SRS0=EVH90I=JK=dest.example=Bob.Smith@fwd.example",
            "Bob.Smith@dest.example",
        ),
        (
            "SRS0=abcd=T2=origin.example=alice@first.example",
            "SRS1=imMN4P=first.example==abcd=T2=origin.example=alice@fwd.example",
            "SRS0=abcd=T2=origin.example=alice@first.example",
        ),
        (
            "SRS1=hash=first.example==abcd=T2=origin.example=alice@second.example",
            "SRS1=imMN4P=first.example==abcd=T2=origin.example=alice@fwd.example",
            "SRS0=abcd=T2=origin.example=alice@first.example",
        ),
        ("a=b+c@x.example", "SRS0=oc1jHw=JK=x.example=a=b+c@fwd.example", "a=b+c@x.example"),
        (
            "SRS0+abcd+T2+origin.example+alice@first.example",
            "SRS1=p8F73E=first.example=+abcd+T2+origin.example+alice@fwd.example",
            "SRS0+abcd+T2+origin.example+alice@first.example",
        ),
    ];

    #[test]
    fn answers_are_those_of_the_reference_implementation() {
        for (sender, made, back) in KNOWN {
            assert_eq!(forwarded(sender, NOW), made);
            let local = addr(made).local().as_str().to_owned();
            assert_eq!(
                reverse(&local, &[key()], at(NOW)).map(|it| it.to_string()),
                Ok(back.to_owned()),
                "{made}"
            );
        }
    }

    #[test]
    fn what_only_looks_made_comes_back_as_it_was() {
        let sender = "SRS1=hash=first.example=abcd@second.example";
        let made = forwarded(sender, NOW);
        assert!(made.starts_with("SRS0="), "{made}");
        let back = reverse(addr(&made).local().as_str(), &[key()], at(NOW));
        assert_eq!(back.map(|it| it.to_string()), Ok(sender.to_owned()));
    }

    #[test]
    fn the_case_may_change_on_the_way() {
        for (_, made, back) in KNOWN {
            for changed in [made.to_lowercase(), made.to_uppercase()] {
                let found = reverse(addr(&changed).local().as_str(), &[key()], at(NOW));
                let found = found.map(|it| it.to_string().to_lowercase());
                assert_eq!(found, Ok(back.to_lowercase()), "{changed}");
            }
        }
    }

    #[test]
    fn whatever_was_changed_is_forged() {
        for (_, made, _) in KNOWN {
            let local = addr(made).local().as_str().to_owned();
            for place in 0..local.len() {
                let mut other = local.clone().into_bytes();
                other[place] = if other[place] == b'7' { b'8' } else { b'7' };
                let other = String::from_utf8(other).expect("ASCII");
                assert_eq!(reverse(&other, &[key()], at(NOW)), Err(Invalid::Forged), "{other}");
                assert_eq!(reverse(&local[..place], &[key()], at(NOW)), Err(Invalid::Forged));
            }
            assert_eq!(reverse(&local, &[Key::new(b"another")], at(NOW)), Err(Invalid::Forged));
            assert_eq!(reverse(&local, &[], at(NOW)), Err(Invalid::Forged));
            assert!(
                reverse(&local, &[Key::new(b"newer"), key()], at(NOW)).is_ok(),
                "an older key is good too"
            );
        }
    }

    #[test]
    fn an_address_is_good_for_three_weeks_at_any_place_in_the_cycle() {
        for made_on in [0, 1, 1000, 1023, 1024, 20_778, 20_480] {
            let made = forwarded("bob@dest.example", made_on * DAY + 5);
            let local = addr(&made).local().as_str().to_owned();
            for (days, good) in [
                (-1, Ok(())),
                (0, Ok(())),
                (21, Ok(())),
                (22, Err(Invalid::Expired)),
                (500, Err(Invalid::Expired)),
            ] {
                let found = reverse(&local, &[key()], at((made_on + days) * DAY + 7));
                assert_eq!(found.map(|_| ()), good, "{made_on} {days}");
            }
        }
    }

    #[test]
    fn a_long_address_is_not_cut() {
        let made = forwarded(&format!("{}@dest.example", "a".repeat(36)), NOW);
        assert_eq!(addr(&made).local().as_str().len(), 64);
        assert_eq!(forwarded(&format!("{}@dest.example", "a".repeat(37)), NOW), TooLong.to_string());
    }

    #[test]
    fn other_addresses_are_not_taken_for_made_ones() {
        for (local, made) in [
            ("SRS0=x", true),
            ("srs1+x", true),
            ("SRS0-x", true),
            ("SRS0", false),
            ("SRS0x=", false),
            ("SRS2=x", false),
            ("", false),
            ("SRSé=", false),
        ] {
            assert_eq!(is_made(local), made, "{local}");
        }
    }
}
