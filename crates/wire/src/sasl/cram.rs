//! CRAM-MD5 (RFC 2195).

use md5::{Digest, Md5};

use crate::secret::{Secret, constant_time_eq};

/// The block of MD5 (RFC 2104 section 2).
const BLOCK: usize = 64;
/// Characters of a digest.
const HEX: usize = 32;

/// What a client has shown: who has the secret can tell whether it has it too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CramProof {
    challenge: String,
    /// In hexadecimal.
    digest: String,
}

impl CramProof {
    /// The answer to a challenge: a name, a blank, the digest.
    pub(super) fn parse(challenge: String, response: &str) -> Option<(&str, CramProof)> {
        let (name, digest) = response.rsplit_once(' ')?;
        let is_digest = digest.len() == HEX && digest.bytes().all(|octet| octet.is_ascii_hexdigit());
        is_digest.then(|| (name, CramProof { challenge, digest: digest.to_ascii_lowercase() }))
    }

    /// Whether it was made with this secret.
    pub fn is_by(&self, secret: &Secret<String>) -> bool {
        let digest = hmac_md5(secret.expose().as_bytes(), self.challenge.as_bytes());
        let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        constant_time_eq(hex.as_bytes(), self.digest.as_bytes())
    }
}

fn hmac_md5(key: &[u8], text: &[u8]) -> [u8; 16] {
    let mut block = [0; BLOCK];
    let short: [u8; 16];
    let key = if key.len() > BLOCK {
        short = Md5::digest(key).into();
        &short
    } else {
        key
    };
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let pad = |with: u8| block.map(|octet| octet ^ with);
    let inner = Md5::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Md5::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let challenge = "<1896.697170952@postoffice.reston.mci.net>".to_owned();
        let (name, proof) = CramProof::parse(challenge, "tim b913a602c7eda7a495b4e6e7334d3890").unwrap();
        assert_eq!(name, "tim");
        assert!(proof.is_by(&"tanstaaftanstaaf".into()) && !proof.is_by(&"tanstaaf".into()));
        for response in ["", "tim", "tim b913", "b913a602c7eda7a495b4e6e7334d3890"] {
            assert!(CramProof::parse(String::new(), response).is_none(), "{response}");
        }
    }

    /// RFC 2202 section 2: keys as long as a block and longer.
    #[test]
    fn long_keys() {
        let hex = |key: &[u8], text: &[u8]| -> String {
            hmac_md5(key, text).iter().map(|octet| format!("{octet:02x}")).collect()
        };
        assert_eq!(hex(&[0x0b; 16], b"Hi There"), "9294727a3638bb1c13f48ef8158bfc9d");
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(hex(&[0xaa; 80], text), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }
}
