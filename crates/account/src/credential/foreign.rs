//! Password hashes as other servers keep them. They are checked, and replaced at the first log-in; none is made.

use aws_lc_rs::digest::{self, Algorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blowfish::Blowfish;
use md5::{Digest as _, Md5};

/// What passwords are told by.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The same, in the order of bcrypt.
const BCRYPT_ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// The largest cost of bcrypt: each one more doubles the time; 10 and 12 are usual.
const BCRYPT_COST_MAX: u32 = 14;
/// Octets of a password that bcrypt looks at, its end among them.
const BCRYPT_KEY: usize = 72;
/// Memory that scrypt may ask for, in octets.
const SCRYPT_MEMORY_MAX: u64 = 64 << 20;
/// Times that scrypt may go through this memory, beyond the two that it always does.
const SCRYPT_PARALLEL_MAX: u32 = 16;

/// A hash that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Foreign {
    /// `$1$`, MD5-crypt of FreeBSD, and `$apr1$`, which is Apache's.
    Md5Crypt { magic: &'static str, salt: Vec<u8>, hash: Vec<u8> },
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt { cost: u32, salt: [u8; 16], hash: [u8; 23] },
    /// `$7$`, scrypt as libsodium and crypt(3) write it.
    Scrypt { log_n: u8, r: u32, p: u32, salt: Vec<u8>, hash: [u8; 32] },
    /// `{SSHA}` and others: a digest of the password and a salt behind it.
    Digest { kind: Kind, hash: Vec<u8>, salt: Vec<u8> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Md5,
    Sha(Size),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Sha1,
    Sha256,
    Sha512,
}

/// Whether it looks like one that is understood here.
pub(super) fn is_foreign(text: &str) -> bool {
    ["$1$", "$apr1$", "$2", "$7$", "{"].iter().any(|beginning| text.starts_with(beginning))
}

impl Foreign {
    /// Understands a hash.
    pub(super) fn parse(text: &str) -> Result<Foreign, &'static str> {
        let md5_crypt =
            ["$1$", "$apr1$"].into_iter().find_map(|magic| Some((magic, text.strip_prefix(magic)?)));
        if let Some((magic, rest)) = md5_crypt {
            let (salt, hash) = rest.split_once('$').ok_or("its form is not that of crypt(3)")?;
            if salt.len() > 8 || hash.len() != 22 || !hash.bytes().all(|octet| ALPHABET.contains(&octet)) {
                return Err("its form is not that of crypt(3)");
            }
            return Ok(Foreign::Md5Crypt { magic, salt: salt.into(), hash: hash.into() });
        }
        if text.starts_with("$2") {
            return bcrypt_of(text);
        }
        if let Some(rest) = text.strip_prefix("$7$") {
            return scrypt_of(rest);
        }
        let (scheme, coded) =
            text.strip_prefix('{').and_then(|rest| rest.split_once('}')).ok_or("its kind is unknown")?;
        let scheme = scheme.to_ascii_uppercase();
        let (kind, octets, salted) = match &scheme[..] {
            "MD5" => (Kind::Md5, 16, false),
            "SMD5" => (Kind::Md5, 16, true),
            "SHA" => (Kind::Sha(Size::Sha1), 20, false),
            "SSHA" => (Kind::Sha(Size::Sha1), 20, true),
            "SHA256" => (Kind::Sha(Size::Sha256), 32, false),
            "SSHA256" => (Kind::Sha(Size::Sha256), 32, true),
            "SHA512" => (Kind::Sha(Size::Sha512), 64, false),
            "SSHA512" => (Kind::Sha(Size::Sha512), 64, true),
            _ => return Err("its kind is unknown"),
        };
        let mut hash = STANDARD.decode(coded).map_err(|_| "it is not in base64")?;
        if hash.len() < octets || (hash.len() > octets) != salted {
            return Err("its length is wrong");
        }
        let salt = hash.split_off(octets);
        Ok(Foreign::Digest { kind, hash, salt })
    }

    /// Whether this is the password.
    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let same =
            |one: &[u8], other: &[u8]| aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok();
        match self {
            Foreign::Md5Crypt { magic, salt, hash } => same(&md5_crypt(password, magic, salt), hash),
            Foreign::Bcrypt { cost, salt, hash } => same(&bcrypt(password, *cost, salt), hash),
            Foreign::Scrypt { log_n, r, p, salt, hash } => {
                let mut made = [0; 32];
                scrypt::Params::new(*log_n, *r, *p)
                    .is_ok_and(|params| scrypt::scrypt(password, salt, &params, &mut made).is_ok())
                    && same(&made, hash)
            }
            Foreign::Digest { kind, hash, salt } => {
                let text = [password, salt].concat();
                let sha =
                    |algorithm: &'static Algorithm| same(digest::digest(algorithm, &text).as_ref(), hash);
                match kind {
                    Kind::Md5 => same(&Md5::digest(&text), hash),
                    Kind::Sha(Size::Sha1) => sha(&digest::SHA1_FOR_LEGACY_USE_ONLY),
                    Kind::Sha(Size::Sha256) => sha(&digest::SHA256),
                    Kind::Sha(Size::Sha512) => sha(&digest::SHA512),
                }
            }
        }
    }
}

/// Poul-Henning Kamp's MD5-crypt, in the 22 characters that it is written in.
fn md5_crypt(password: &[u8], magic: &str, salt: &[u8]) -> Vec<u8> {
    let other = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    let mut left = password.len();
    while left > 0 {
        let piece = left.min(other.len());
        first.update(other.get(..piece).unwrap_or_default());
        left -= piece;
    }
    let mut bits = password.len();
    while bits > 0 {
        match bits & 1 {
            1 => first.update([0]),
            _ => first.update(password.get(..1).unwrap_or_default()),
        }
        bits >>= 1;
    }
    let mut sum = first.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        if round & 1 == 1 {
            next.update(password)
        } else {
            next.update(sum)
        }
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        if round & 1 == 1 {
            next.update(sum)
        } else {
            next.update(password)
        }
        sum = next.finalize();
    }
    let mut text = Vec::with_capacity(22);
    let octet = |place: usize| u32::from(sum.get(place).copied().unwrap_or_default());
    let mut put = |mut value: u32, characters: usize| {
        for _ in 0..characters {
            text.push(ALPHABET[(value & 63) as usize]);
            value >>= 6;
        }
    };
    for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        put(octet(a) << 16 | octet(b) << 8 | octet(c), 4);
    }
    put(octet(11), 2);
    text
}

fn bcrypt_of(text: &str) -> Result<Foreign, &'static str> {
    let wrong = "its form is not that of bcrypt";
    let rest = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .find_map(|kind| text.strip_prefix(kind))
        .ok_or("its kind is unknown")?;
    let (cost, rest) = rest.split_once('$').ok_or(wrong)?;
    let cost: u32 =
        Some(cost).filter(|cost| cost.len() == 2).and_then(|cost| cost.parse().ok()).ok_or(wrong)?;
    if cost < 4 {
        return Err(wrong);
    }
    if cost > BCRYPT_COST_MAX {
        return Err("its cost is greater than 14");
    }
    let (salt, hash) = rest.split_at_checked(22).ok_or(wrong)?;
    let salt = bcrypt_octets::<16>(salt).ok_or(wrong)?;
    let hash = bcrypt_octets::<23>(hash).ok_or(wrong)?;
    Ok(Foreign::Bcrypt { cost, salt, hash })
}

/// Base64 with the most significant bits first, in bcrypt's own alphabet and without padding.
fn bcrypt_octets<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 8).div_ceil(6) {
        return None;
    }
    let (mut octets, mut bits, mut count, mut at) = ([0; N], 0u32, 0, 0);
    for character in text.bytes() {
        let value = BCRYPT_ALPHABET.iter().position(|it| *it == character)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 && at < N {
            count -= 8;
            *octets.get_mut(at)? = (bits >> count & 255) as u8;
            at += 1;
        }
    }
    (at == N).then_some(octets)
}

fn bcrypt(password: &[u8], cost: u32, salt: &[u8; 16]) -> [u8; 23] {
    // The end of the text belongs to the key.
    let mut key: Vec<u8> = password.iter().copied().chain([0]).collect();
    key.truncate(BCRYPT_KEY);
    let mut state = Blowfish::bc_init_state();
    state.salted_expand_key(salt, &key);
    for _ in 0..1u32 << cost.min(BCRYPT_COST_MAX) {
        state.bc_expand_key(&key);
        state.bc_expand_key(salt);
    }
    let mut octets = Vec::with_capacity(24);
    for pair in [*b"OrpheanB", *b"eholderS", *b"cryDoubt"] {
        let [a, b, c, d, e, f, g, h] = pair;
        let mut pair = [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])];
        for _ in 0..64 {
            pair = state.bc_encrypt(pair);
        }
        octets.extend(pair.iter().flat_map(|word| word.to_be_bytes()));
    }
    let mut hash = [0; 23];
    hash.iter_mut().zip(octets).for_each(|(to, from)| *to = from);
    hash
}

fn scrypt_of(rest: &str) -> Result<Foreign, &'static str> {
    let wrong = "its form is not that of scrypt";
    let value =
        |character: u8| ALPHABET.iter().position(|it| *it == character).and_then(|it| u32::try_from(it).ok());
    let (costs, rest) = rest.split_at_checked(11).ok_or(wrong)?;
    let (log_n, numbers) = costs.as_bytes().split_first().ok_or(wrong)?;
    let log_n = value(*log_n).and_then(|it| u8::try_from(it).ok()).ok_or(wrong)?;
    // The least significant bits come first.
    let number = |text: &[u8]| {
        let mut parts = text.iter().rev().map(|character| value(*character));
        parts.try_fold(0u32, |number, part| Some(number << 6 | part?)).ok_or(wrong)
    };
    let (r, p) = numbers.split_at_checked(5).ok_or(wrong)?;
    let (r, p) = (number(r)?, number(p)?);
    let memory =
        1u64.checked_shl(log_n.into()).and_then(|n| n.checked_mul(128)).and_then(|n| n.checked_mul(r.into()));
    if memory.is_none_or(|memory| memory > SCRYPT_MEMORY_MAX) || p > SCRYPT_PARALLEL_MAX {
        return Err("checking it would take more than 64 MiB, or too long");
    }
    if r == 0 || p == 0 || log_n == 0 {
        return Err(wrong);
    }
    let (salt, coded) = rest.rsplit_once('$').ok_or(wrong)?;
    if coded.len() != 43 {
        return Err("its length is wrong");
    }
    let mut octets = Vec::with_capacity(33);
    for group in coded.as_bytes().chunks(4) {
        let number = number(group)?;
        octets.extend(number.to_le_bytes().into_iter().take(group.len() * 6 / 8));
    }
    let hash = octets.try_into().map_err(|_| wrong)?;
    Ok(Foreign::Scrypt { log_n, r, p, salt: salt.into(), hash })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn hashes_of_other_programs() {
        // Made by openssl, mkpasswd (libxcrypt), and Python's hashlib.
        for (password, hash) in [
            ("correct horse", "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80"),
            ("pässword-that-is-longer-than-sixteen", "$1$x$V8zBWdyZPpgBvro9XebQn/"),
            ("correct horse", "$apr1$abcdefgh$sIQmFnT1CuEXAsyjuXjUX/"),
            ("pässword-that-is-longer-than-sixteen", "$apr1$x$bjW9yo.ZSKe9DuZWBshIR."),
            ("correct horse", "$2b$05$lccXJEtcXH1hyqtVAZfcPu6xW67GfG/JUqn3g1ovk06E6LmNGpfHK"),
            ("pässword", "$2a$05$mRuhUdEbyjlu7/bLSbbHLuVbGzt32vjy.sCbB.2dfW9ePwGRipYHC"),
            (
                "correct horse",
                "$7$CU..../....qO5JAowYdW4r5MsScpWXo/$PYXeL4APCTiU8UpWrSxBoaI6H3VCnSClbrRWJUkQCM/",
            ),
            ("correct horse", "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A="),
            ("correct horse", "{SSHA}LhKrkM9Fy+zlstjdD7Kv2s6QvhBzYWx0"),
            ("correct horse", "{smd5}D4rOOyuX/Dgg3vClp5z5OnNhbHQ="),
            (
                "correct horse",
                "{SSHA512}50rsRNBf8j3I5xE+QwaHdFyMhOzITssZ8BB3UxwQ+SI1JKygYm6ZeRYTDuUyFZIIqDonoTuXwB0Z/MAPhgQCFHNhbHRzYWx0",
            ),
        ] {
            let foreign = Foreign::parse(hash).unwrap_or_else(|error| panic!("{hash}: {error}"));
            assert!(foreign.verify(password.as_bytes()), "{hash}");
            assert!(!foreign.verify(b"correct house"), "{hash}");
            assert!(!foreign.verify(b""), "{hash}");
        }
        // Only 72 octets count, and no more are looked at.
        let long = "$2y$05$lccXJEtcXH1hyqtVAZfcPu6xW67GfG/JUqn3g1ovk06E6LmNGpfHK";
        assert!(!Foreign::parse(long).unwrap().verify(&[b'x'; 1000]));
    }

    #[test]
    fn what_is_none_or_costs_too_much() {
        for hash in [
            "$1$",
            "$1$abcdefghi$y6iHhJNbuC0xpbk0w9pm80",
            "$1$abcdefgh$short",
            "$apr1$abcdefghi$y6iHhJNbuC0xpbk0w9pm80",
            "$2x$05$lccXJEtcXH1hyqtVAZfcPu6xW67GfG/JUqn3g1ovk06E6LmNGpfHK",
            "$2b$15$lccXJEtcXH1hyqtVAZfcPu6xW67GfG/JUqn3g1ovk06E6LmNGpfHK",
            "$2b$03$lccXJEtcXH1hyqtVAZfcPu6xW67GfG/JUqn3g1ovk06E6LmNGpfHK",
            "$2b$05$lccXJEtcXH1hyqtVAZfcPu6xW67GfG/JUqn3g1ovk06E6LmNGpfH",
            "$2y$10$abcdefghijklmnopqrstuv",
            "$2b$05$lccXJEtcXH1hyqtVAZfcPä6xW67GfG/JUqn3g1ovk06E6LmNGpfH",
            "$7$zU..../....salt$PYXeL4APCTiU8UpWrSxBoaI6H3VCnSClbrRWJUkQCM/",
            "$7$CU....z....salt$PYXeL4APCTiU8UpWrSxBoaI6H3VCnSClbrRWJUkQCM/",
            "$7$CU..../....salt$short",
            "$7$",
            "{SHA}AAAA",
            "{SHA}LhKrkM9Fy+zlstjdD7Kv2s6QvhBzYWx0",
            "{SSHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
            "{CLEAR}text",
            "{",
            "",
        ] {
            assert!(Foreign::parse(hash).is_err(), "{hash}");
        }
    }
}
