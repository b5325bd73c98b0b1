//! Hickory's handles for questions, mended where mail needs more of them.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use hickory_resolver::net::xfer::DnsHandle;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::dnssec::rdata::{DNSSECRData, NSEC, RRSIG};
use hickory_resolver::proto::op::{DnsRequest, DnsResponse, Message, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::RECORDS_MAX;

/// Asks the name server whether it has checked the signatures, by having the AD bit set (RFC 6840, section 5.7).
#[derive(Clone)]
pub(super) struct AskForAd<H>(pub(super) H);

impl<H: DnsHandle> DnsHandle for AskForAd<H> {
    type Response = H::Response;
    type Runtime = H::Runtime;

    fn send(&self, mut request: DnsRequest) -> Self::Response {
        request.metadata.authentic_data = true;
        self.0.send(request)
    }
}

/// Around the handle that checks signatures: answers made of wildcards in zones with NSEC, which it takes for bogus
/// (Hickory 0.26; its own wildcard has to be covered by an NSEC record, where it may only be matched).
#[derive(Clone)]
pub(super) struct WithWildcards<H>(pub(super) H);

impl<H: DnsHandle> DnsHandle for WithWildcards<H> {
    type Response = Mended<H::Response>;
    type Runtime = H::Runtime;

    fn is_verifying_dnssec(&self) -> bool {
        self.0.is_verifying_dnssec()
    }

    fn send(&self, request: DnsRequest) -> Self::Response {
        Mended(self.0.send(request))
    }
}

/// Answers, mended.
pub(super) struct Mended<S>(S);

impl<S: Stream<Item = Result<DnsResponse, NetError>> + Unpin> Stream for Mended<S> {
    type Item = Result<DnsResponse, NetError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|item| item.map(mend))
    }
}

fn mend(answer: Result<DnsResponse, NetError>) -> Result<DnsResponse, NetError> {
    match answer {
        Err(NetError::Dns(DnsError::Nsec { response, proof: Proof::Bogus, .. }))
            if is_proven_wildcard(&response) =>
        {
            Ok(*response)
        }
        answer => answer,
    }
}

/// Whether what was asked for is there and signed, and what was made of wildcards is proven to have no name of its own (RFC
/// 4035, section 5.3.4). Signed records that answer another question prove nothing.
fn is_proven_wildcard(message: &Message) -> bool {
    let Some(query) = message.queries.first() else { return false };
    let (records, _) = relevant(query.name(), query.query_type(), message);
    message.response_code == ResponseCode::NoError
        && records.last().is_some_and(|record| record.record_type() == query.query_type())
        && records
            .iter()
            .all(|record| record.proof == Proof::Secure && has_own_name_or_proof(message, record))
}

fn has_own_name_or_proof(message: &Message, record: &Record) -> bool {
    let mut signatures = signatures(&message.answers, &record.name, record.record_type());
    signatures.any(|signature| {
        let (signed, labels) = (signature.input().num_labels, record.name.num_labels());
        if signed >= labels {
            return signed == labels;
        }
        let next_closer = record.name.trim_to(usize::from(signed) + 1);
        is_denied(message, &next_closer, &signature.input().signer_name)
    })
}

/// The signatures that have been found good.
fn signatures<'m>(
    records: &'m [Record],
    name: &'m Name,
    kind: RecordType,
) -> impl Iterator<Item = &'m RRSIG> {
    records.iter().filter_map(move |record| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature))
            if record.proof == Proof::Secure
                && record.name == *name
                && signature.input().type_covered == kind =>
        {
            Some(signature)
        }
        _ => None,
    })
}

/// Whether a zone says that there is no such name in it.
fn is_denied(message: &Message, name: &Name, zone: &Name) -> bool {
    let nsec = |record: &&Record| match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) if record.proof == Proof::Secure => {
            covers(&record.name, nsec, name)
        }
        _ => false,
    };
    // Signed by the same zone, and under its own name: an NSEC record is never made of a wildcard.
    let is_own = |record: &&Record| {
        let mut signatures = signatures(&message.authorities, &record.name, RecordType::NSEC);
        signatures
            .any(|it| it.input().signer_name == *zone && it.input().num_labels == record.name.num_labels())
    };
    message.authorities.iter().filter(nsec).any(|record| is_own(&record))
}

/// Whether an NSEC record says that `name` is not there (RFC 4034, section 4; RFC 6840, section 4.1).
fn covers(owner: &Name, nsec: &NSEC, name: &Name) -> bool {
    let types = nsec.type_set();
    let is_cut = types.contains(RecordType::NS) && !types.contains(RecordType::SOA);
    if (is_cut || types.contains(RecordType::DNAME)) && owner.zone_of(name) {
        return false;
    }
    let next = nsec.next_domain_name();
    // The last one leads back to the zone's own name.
    let is_last = next <= owner;
    owner < name && (name < next || (is_last && next.zone_of(name)))
}

/// The records that an answer consists of: the aliases from `name` on, and what stands at their end; and that end, where
/// there are aliases. What else a name server adds is not what was asked for.
pub(super) fn relevant<'m>(
    name: &Name,
    kind: RecordType,
    message: &'m Message,
) -> (Vec<&'m Record>, Option<Name>) {
    let mut owner = name.clone();
    let mut records: Vec<&Record> = Vec::new();
    // At most once through all aliases there are.
    for _ in 0..message.answers.len() {
        let alias = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if kind != RecordType::CNAME && record.name == owner => {
                Some((record, target))
            }
            _ => None,
        });
        let Some((record, target)) = alias else { break };
        records.push(record);
        owner = target.0.clone();
    }
    let alias = (!records.is_empty()).then(|| owner.clone());
    let found = message.answers.iter().filter(|record| record.record_type() == kind && record.name == owner);
    records.extend(found.take(RECORDS_MAX));
    (records, alias)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hickory_resolver::proto::dnssec::Algorithm;
    use hickory_resolver::proto::dnssec::rdata::SigInput;
    use hickory_resolver::proto::op::{OpCode, Query};
    use hickory_resolver::proto::rr::{SerialNumber, rdata};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn checked(owner: &str, data: RData) -> Record {
        let mut record = Record::from_rdata(name(owner), 60, data);
        record.proof = Proof::Secure;
        record
    }

    fn signature(owner: &str, type_covered: RecordType, num_labels: u8, zone: &str) -> Record {
        let input = SigInput {
            type_covered,
            algorithm: Algorithm::ED25519,
            num_labels,
            original_ttl: 60,
            sig_expiration: SerialNumber::new(2),
            sig_inception: SerialNumber::new(1),
            key_tag: 1,
            signer_name: name(zone),
        };
        checked(owner, RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, Vec::new()))))
    }

    fn nsec(owner: &str, next: &str, types: &[RecordType]) -> Record {
        let nsec = NSEC::new(name(next), types.iter().copied());
        checked(owner, RData::DNSSEC(DNSSECRData::NSEC(nsec)))
    }

    /// The answer to a question for the address of `asked`.
    fn message(asked: &str, answers: Vec<Record>, authorities: Vec<Record>) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.add_query(Query::query(name(asked), RecordType::A));
        message.add_answers(answers);
        message.add_authorities(authorities);
        message
    }

    #[test]
    fn a_wildcard_needs_a_proof_that_there_is_no_closer_name() {
        use RecordType::{A, NS, NSEC, SOA};
        let address = |owner: &str| checked(owner, RData::A(rdata::A::new(192, 0, 2, 1)));
        // Made of *.z.test.
        let made = |owner: &str| vec![address(owner), signature(owner, A, 2, "z.test.")];
        let proof = |owner: &str, next: &str, types: &[RecordType], labels, zone: &str| {
            vec![nsec(owner, next, types), signature(owner, NSEC, labels, zone)]
        };
        let rows: Vec<(&str, Message, bool)> = vec![
            (
                "covered",
                message("x.z.test.", made("x.z.test."), proof("a.z.test.", "y.z.test.", &[A], 3, "z.test.")),
                true,
            ),
            (
                "by the last",
                message("x.z.test.", made("x.z.test."), proof("a.z.test.", "z.test.", &[A], 3, "z.test.")),
                true,
            ),
            (
                "next closer",
                message(
                    "b.x.z.test.",
                    made("b.x.z.test."),
                    proof("a.z.test.", "y.z.test.", &[A], 3, "z.test."),
                ),
                true,
            ),
            ("no proof", message("x.z.test.", made("x.z.test."), vec![]), false),
            (
                "of another place",
                message("x.z.test.", made("x.z.test."), proof("y.z.test.", "z.z.test.", &[A], 3, "z.test.")),
                false,
            ),
            // The name is there.
            (
                "matched",
                message("x.z.test.", made("x.z.test."), proof("x.z.test.", "y.z.test.", &[A], 3, "z.test.")),
                false,
            ),
            // Something between the wildcard and the name is there: x.z.test, on the way to b.x.z.test.
            (
                "not the closest",
                message(
                    "b.x.z.test.",
                    made("b.x.z.test."),
                    proof("a.x.z.test.", "c.x.z.test.", &[A], 4, "z.test."),
                ),
                false,
            ),
            (
                "another zone's",
                message("x.z.test.", made("x.z.test."), proof("a.z.test.", "y.z.test.", &[A], 3, "test.")),
                false,
            ),
            (
                "made of a wildcard",
                message("x.z.test.", made("x.z.test."), proof("a.z.test.", "y.z.test.", &[A], 2, "z.test.")),
                false,
            ),
            (
                "a delegation above",
                message(
                    "b.x.z.test.",
                    made("b.x.z.test."),
                    proof("x.z.test.", "y.z.test.", &[NS], 3, "z.test."),
                ),
                false,
            ),
            (
                "not a delegation",
                message(
                    "x.z.test.",
                    made("x.z.test."),
                    proof("z.test.", "y.z.test.", &[NS, SOA], 2, "z.test."),
                ),
                true,
            ),
            // Signed under its own name, nothing needs proof.
            (
                "own name",
                message(
                    "x.z.test.",
                    vec![address("x.z.test."), signature("x.z.test.", A, 3, "z.test.")],
                    vec![],
                ),
                true,
            ),
            // Signed, but no answer: nobody has proven that there is none.
            (
                "another question",
                message(
                    "x.z.test.",
                    vec![address("y.z.test."), signature("y.z.test.", A, 3, "z.test.")],
                    vec![],
                ),
                false,
            ),
            (
                "nothing",
                message("x.z.test.", vec![], proof("a.z.test.", "y.z.test.", &[A], 3, "z.test.")),
                false,
            ),
        ];
        for (what, message, proven) in rows {
            assert_eq!(is_proven_wildcard(&message), proven, "{what}");
        }
        let mut forged =
            message("x.z.test.", made("x.z.test."), proof("a.z.test.", "y.z.test.", &[A], 3, "z.test."));
        assert!(is_proven_wildcard(&forged));
        forged.authorities[0].proof = Proof::Bogus;
        assert!(!is_proven_wildcard(&forged));
    }
}
