//! What a session may know of its TLS connection, channel bindings included.

use packetboat_wire::{ChannelBinding, TlsFacts};
use rustls::{CommonState, Connection, ProtocolVersion};

/// RFC 9266 section 2: the label, a zero-length context and a length of 32 bytes.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
const EXPORTER_LENGTH: usize = 32;

/// The facts of a connection whose handshake is complete; `end_point` is the binding by the server's certificate.
pub(crate) fn facts(
    tls: &Connection,
    server_name: Option<String>,
    end_point: Option<ChannelBinding>,
) -> TlsFacts {
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
    bindings.extend(end_point);
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
