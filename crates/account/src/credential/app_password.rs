//! App passwords: made by us, one for each program or device, revoked one by one.
//!
//! A password of a hundred random bits needs no slow hash: nobody can try them all. It is kept as a salted HMAC, so
//! that checking all of an account's takes microseconds, and a mail program that polls costs next to nothing.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use packetboat_wire::{Secret, constant_time_eq};
use serde::{Deserialize, Serialize};

use super::ScramVerifiers;
use crate::error::DirectoryError;
use crate::random;
use crate::record::Service;

/// App passwords an account can have.
pub const APP_PASSWORDS_MAX: usize = 50;
/// Characters of its name.
const NAME_MAX: usize = 64;
/// Letters and digits that are not taken for each other when read aloud or from paper: 32 of them, 5 bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const GROUPS: usize = 4;
const GROUP: usize = 5;

/// An app password as kept: by its hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AppPassword {
    pub(crate) name: String,
    salt: String,
    hash: String,
    /// `None`: good for everything the account may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) services: Option<BTreeSet<Service>>,
    #[serde(default)]
    pub(crate) scram: ScramVerifiers,
    pub(crate) created_at: jiff::Timestamp,
}

/// What can be told of an app password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPasswordInfo {
    /// Its name within the account.
    pub name: String,
    /// What it is good for; `None`: for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeSet<Service>>,
    /// When it was made.
    pub created_at: jiff::Timestamp,
}

impl AppPassword {
    /// One more, without SCRAM keys yet, and its text, which cannot be had again.
    pub(crate) fn generate(
        name: &str,
        services: Option<BTreeSet<Service>>,
    ) -> Result<(AppPassword, Secret<String>), DirectoryError> {
        if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
            return Err(DirectoryError::UnusableName);
        }
        let password = generate()?;
        let salt: [u8; 16] = random::octets()?;
        let normal = normalize(password.expose()).unwrap_or_default();
        let kept = AppPassword {
            name: name.to_owned(),
            salt: STANDARD_NO_PAD.encode(salt),
            hash: STANDARD_NO_PAD.encode(hash(&salt, normal.expose())),
            services,
            scram: ScramVerifiers::default(),
            created_at: jiff::Timestamp::now(),
        };
        Ok((kept, password))
    }

    pub(crate) fn info(&self) -> AppPasswordInfo {
        AppPasswordInfo {
            name: self.name.clone(),
            services: self.services.clone(),
            created_at: self.created_at,
        }
    }

    /// `normal` as [`normalize`] gives it.
    fn matches(&self, normal: &Secret<String>) -> bool {
        let (Ok(salt), Ok(kept)) = (STANDARD_NO_PAD.decode(&self.salt), STANDARD_NO_PAD.decode(&self.hash))
        else {
            return false;
        };
        constant_time_eq(&hash(&salt, normal.expose()), &kept)
    }
}

/// Which of them this password is.
pub(crate) fn find<'a>(kept: &'a [AppPassword], password: &Secret<String>) -> Option<&'a AppPassword> {
    let normal = normalize(password.expose())?;
    kept.iter().find(|kept| kept.matches(&normal))
}

/// Random groups of letters and digits, such as `k3vqh-wmz7a-…`. Serves for other secrets as well.
pub(crate) fn generate() -> Result<Secret<String>, DirectoryError> {
    let octets: [u8; GROUPS * GROUP] = random::octets()?;
    let mut text = String::with_capacity(GROUPS * (GROUP + 1));
    for (n, octet) in octets.into_iter().enumerate() {
        if n > 0 && n % GROUP == 0 {
            text.push('-');
        }
        // 32 divides 256, so each character is equally likely.
        text.push(char::from(ALPHABET[usize::from(octet % 32)]));
    }
    Ok(Secret::new(text))
}

/// As hashed: without what people put between the groups, in lower case. Nothing when it cannot be an app password.
fn normalize(password: &str) -> Option<Secret<String>> {
    let normal: String = password
        .chars()
        .filter(|c| !matches!(c, '-' | ' '))
        .map(|c| c.to_ascii_lowercase())
        .take(GROUPS * GROUP + 1)
        .collect();
    let fits = normal.len() == GROUPS * GROUP && normal.bytes().all(|octet| ALPHABET.contains(&octet));
    let normal = Secret::new(normal);
    fits.then_some(normal)
}

fn hash(salt: &[u8], normal: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, salt), normal.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_app_password_is_found_however_it_is_typed() {
        let (phone, phone_text) = AppPassword::generate("phone", None).unwrap();
        let (laptop, laptop_text) = AppPassword::generate("laptop", Some([Service::Imap].into())).unwrap();
        let kept = [phone, laptop];
        let found = |text: &str| find(&kept, &text.into()).map(|found| found.name.as_str());
        assert_eq!(phone_text.expose().len(), 23);
        assert_eq!(found(phone_text.expose()), Some("phone"));
        assert_eq!(found(laptop_text.expose()), Some("laptop"));
        assert_eq!(found(&laptop_text.expose().replace('-', "")), Some("laptop"));
        assert_eq!(found(&laptop_text.expose().replace('-', " ").to_uppercase()), Some("laptop"));
        assert_eq!(found(&laptop_text.expose()[..22]), None);
        assert_eq!(found(&format!("{}a", laptop_text.expose())), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn the_kept_form_does_not_hold_the_password() {
        let (kept, text) = AppPassword::generate("phone", None).unwrap();
        let kept = serde_json::to_string(&kept).unwrap();
        assert!(!kept.contains(text.expose().as_str()));
        assert!(!kept.contains(&text.expose().replace('-', "")));
        assert_ne!(text, AppPassword::generate("phone", None).unwrap().1);
    }

    #[test]
    fn names_are_short_and_printable() {
        for name in ["", "a\nb", &"x".repeat(65)] {
            assert_eq!(
                AppPassword::generate(name, None).map(|_| ()),
                Err(DirectoryError::UnusableName),
                "{name:?}"
            );
        }
    }
}
