//! Channel binding by the server's certificate.

use aws_lc_rs::digest;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ChannelBinding;

impl ChannelBinding {
    /// `tls-server-end-point` (RFC 5929 section 4.1): the server's certificate, in DER, hashed with the hash function of
    /// its own signature; SHA-256 where that is MD5 or SHA-1. Undefined for signatures with no or several hash functions.
    pub fn end_point(certificate: &[u8]) -> Option<ChannelBinding> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let algorithm = &parsed.signature_algorithm;
        let hash = match algorithm.algorithm.to_id_string().as_str() {
            // md5WithRSA, sha1WithRSA, ecdsa-with-SHA1, sha256WithRSA, ecdsa-with-SHA256
            "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => &digest::SHA256,
            "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" => &digest::SHA256,
            // sha384WithRSA, ecdsa-with-SHA384
            "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &digest::SHA384,
            // sha512WithRSA, ecdsa-with-SHA512
            "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &digest::SHA512,
            // rsassa-pss: the hash stands in the parameters.
            "1.2.840.113549.1.1.10" => pss_hash(algorithm.parameters.as_ref()?)?,
            _ => return None,
        };
        Some(ChannelBinding::TlsServerEndPoint(digest::digest(hash, certificate).as_ref().to_vec()))
    }
}

fn pss_hash(parameters: &x509_parser::der_parser::asn1_rs::Any<'_>) -> Option<&'static digest::Algorithm> {
    let parameters = x509_parser::signature_algorithm::RsaSsaPssParams::try_from(parameters).ok()?;
    match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1" => Some(&digest::SHA256),
        "2.16.840.1.101.3.4.2.2" => Some(&digest::SHA384),
        "2.16.840.1.101.3.4.2.3" => Some(&digest::SHA512),
        _ => None,
    }
}
