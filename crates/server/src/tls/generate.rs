//! Certificates made here: for the demo, and for a server that has none yet.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// A certificate chain and its key, as PEM text.
#[derive(Clone)]
pub struct Generated {
    /// The certificate of the authority that clients are told to trust.
    pub ca: String,
    /// The server's certificate, followed by the authority's.
    pub chain: String,
    /// The server's private key, PKCS #8.
    pub key: String,
}

impl std::fmt::Debug for Generated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generated").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// Makes an authority and a server certificate signed by it, good for `names` (host names and IP addresses).
/// The authority's key is forgotten, so that nothing else can ever be signed with it.
pub fn generate(names: &[String]) -> Result<Generated, rcgen::Error> {
    // Within what every client accepts for a server certificate (398 days); dates of a throwaway certificate need
    // not be exact, and a fixed start keeps clocks that run behind from refusing it.
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let not_before = day(now.saturating_sub(jiff::Span::new().days(2)));
    let not_after = day(now.saturating_add(jiff::Span::new().days(390)));

    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "packetboat throwaway authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.not_before = not_before;
    authority.not_after = not_after;
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(names.to_vec())?;
    leaf.distinguished_name = rcgen::DistinguishedName::new();
    leaf.distinguished_name
        .push(DnType::CommonName, names.first().map_or("localhost", |name| name.get(..64).unwrap_or(name)));
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    leaf.not_before = not_before;
    leaf.not_after = not_after;
    let leaf = leaf.signed_by(&key, &authority)?;

    Ok(Generated {
        ca: authority.pem(),
        chain: format!("{}{}", leaf.pem(), authority.pem()),
        key: key.serialize_pem(),
    })
}
