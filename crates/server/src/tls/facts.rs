//! What a session may know of its TLS connection, channel bindings included.

use aws_lc_rs::digest;
use packetboat_wire::{ChannelBinding, TlsFacts};
use rustls::pki_types::CertificateDer;
use rustls::{CommonState, Connection, ProtocolVersion};
use x509_parser::prelude::{FromDer, X509Certificate};

/// RFC 9266 section 2: the label, a zero-length context and a length of 32 bytes.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
const EXPORTER_LENGTH: usize = 32;

/// The facts of a connection whose handshake is complete; `end_point` is the hash of the server's certificate.
pub(crate) fn facts(tls: &Connection, server_name: Option<String>, end_point: Option<Vec<u8>>) -> TlsFacts {
    let state: &CommonState = tls;
    let version = state.protocol_version();
    let mut bindings = Vec::with_capacity(2);
    // In TLS 1.2 the exporter is bound to the connection only with the extended master secret (RFC 9266 section
    // 4.2), which rustls uses but does not report: there, the certificate must do.
    if version == Some(ProtocolVersion::TLSv1_3)
        && let Ok(value) = tls.export_keying_material([0; EXPORTER_LENGTH], EXPORTER_LABEL, Some(&[]))
    {
        bindings.push(ChannelBinding::TlsExporter(value.to_vec()));
    }
    bindings.extend(end_point.map(ChannelBinding::TlsServerEndPoint));
    TlsFacts {
        version: match version {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLS",
        },
        cipher: state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown"),
        server_name,
        bindings,
    }
}

/// `tls-server-end-point` (RFC 5929 section 4.1): the certificate hashed with the hash function of its own signature;
/// SHA-256 where that is MD5 or SHA-1. Undefined, and so absent, for signatures with no or several hash functions.
pub(crate) fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
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
    Some(digest::digest(hash, certificate).as_ref().to_vec())
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
