//! Reading the status part of a notice (RFC 3464 section 2, RFC 6533 section 4.1).

use super::{Kind, RECIPIENTS_MAX, Status, from_unitext};
use crate::fields::{RawField, fields};

/// What a `message/delivery-status` or `message/global-delivery-status` part says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryStatus {
    /// The host that reports, without the type of its name.
    pub reporting_mta: String,
    /// The sender's name for the transaction.
    pub envid: Option<String>,
    /// When the message came there, as written.
    pub arrival_date: Option<String>,
    /// The recipients, of which no more than [`RECIPIENTS_MAX`] are read.
    pub recipients: Vec<RecipientStatus>,
}

/// What became of one recipient's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientStatus {
    /// The recipient as the sender wrote it: kind and address.
    pub original: Option<(String, String)>,
    /// The recipient as it reached the reporting host: kind and address.
    pub address: (String, String),
    /// What has happened.
    pub action: Kind,
    /// Why.
    pub status: Status,
    /// The server that answered.
    pub remote: Option<String>,
    /// What it answered, unfolded.
    pub diagnostic: Option<String>,
    /// When it was last tried, as written.
    pub last_attempt_date: Option<String>,
    /// Until when it will be tried, as written.
    pub will_retry_until: Option<String>,
}

impl DeliveryStatus {
    /// Reads the body of the part; `None` if a field is missing that has to be there, or says what it cannot say.
    pub fn parse(body: &[u8]) -> Option<DeliveryStatus> {
        let mut groups = groups(body);
        let first = groups.next()?;
        let mut out = DeliveryStatus {
            reporting_mta: typed(&text(&first, "Reporting-MTA")?)?.1,
            envid: text(&first, "Original-Envelope-Id"),
            arrival_date: text(&first, "Arrival-Date"),
            recipients: Vec::new(),
        };
        for group in groups.take(RECIPIENTS_MAX) {
            out.recipients.push(recipient(&group)?);
        }
        (!out.recipients.is_empty()).then_some(out)
    }
}

fn recipient(group: &[RawField<'_>]) -> Option<RecipientStatus> {
    let original = text(group, "Original-Recipient");
    let status = text(group, "Status")?;
    Some(RecipientStatus {
        original: original.as_deref().and_then(address),
        address: address(&text(group, "Final-Recipient")?)?,
        action: Kind::named(&text(group, "Action")?)?,
        // A comment may follow the code.
        status: status.split([' ', '\t', '(']).next()?.parse().ok()?,
        remote: text(group, "Remote-MTA").as_deref().and_then(typed).map(|(_, name)| name),
        diagnostic: text(group, "Diagnostic-Code").as_deref().and_then(typed).map(|(_, text)| text),
        last_attempt_date: text(group, "Last-Attempt-Date"),
        will_retry_until: text(group, "Will-Retry-Until"),
    })
}

/// The fields between empty lines.
fn groups(body: &[u8]) -> impl Iterator<Item = Vec<RawField<'_>>> {
    let mut all = fields(body).peekable();
    std::iter::from_fn(move || {
        while all.next_if(is_gap).is_some() {}
        all.peek()?;
        let mut group = Vec::new();
        while let Some(field) = all.next_if(|field| !is_gap(field)) {
            group.push(field);
        }
        Some(group)
    })
}

fn is_gap(field: &RawField<'_>) -> bool {
    field.whole.trim_ascii().is_empty()
}

fn text(group: &[RawField<'_>], name: &str) -> Option<String> {
    group.iter().find(|field| field.is(name)).map(RawField::text)
}

/// `type; value`.
fn typed(text: &str) -> Option<(String, String)> {
    let (kind, value) = text.split_once(';')?;
    Some((kind.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

fn address(text: &str) -> Option<(String, String)> {
    let (kind, address) = typed(text)?;
    let plain = if kind == "utf-8" { from_unitext(&address) } else { None };
    Some((kind, plain.unwrap_or(address)))
}
