//! The story of messages, for whoever asks.

use jiff::Timestamp;
use packetboat_mail::queue::{Envelope, Rcpt};
use packetboat_mail::story::What;
use packetboat_store::{QueueId, QueueRow, Store};

use super::error::{AdminError, ErrorKind};
use super::execute::{Context, Items};
use super::item::{Item, Told, Waiting};
use super::request::TraceRequest;
use crate::trace::{Query, Story, Window};

/// Stories told at most.
const STORIES_MAX: u32 = 100;
/// Octets of the events of one story that are told: a line has room for them.
const OCTETS_MAX: usize = 160 * 1024;

/// Tells the stories that are asked for.
pub(super) async fn trace(request: TraceRequest, context: &Context, items: &Items) -> Result<(), AdminError> {
    let store = context.directory.store();
    let mut query = match request.what.trim() {
        text if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()) => {
            let number =
                text.parse().map_err(|_| AdminError::new(ErrorKind::Usage, "there is no such number"))?;
            Query::Row(number)
        }
        text => text.parse().map_or_else(|_| Query::Named(text.to_owned()), Query::Tag),
    };
    // What waits is known by the queue, too, however long ago it came.
    let mut row = None;
    if let Query::Row(number) = query {
        row = store.queue_row(QueueId(number)).await.map_err(unreadable)?;
        if let Some(row) = &row
            && let Ok(card) = store.queue_card(row).await
            && let Ok(envelope) = Envelope::decode(&card)
        {
            query = Query::Tag(envelope.tag);
        }
    }
    let moment = |at: Option<Timestamp>, without| at.map_or(without, Timestamp::as_microsecond);
    let window = Window { since: moment(request.since, i64::MIN), until: moment(request.until, i64::MAX) };
    let limit = usize::try_from(request.limit.clamp(1, STORIES_MAX)).unwrap_or(1);
    let found = context.trace.find(query.clone(), window, limit).await;
    let mut stories = found
        .map_err(|error| AdminError::new(ErrorKind::Io, format!("the stories cannot be read: {error}")))?;
    if let (true, Query::Tag(tag), Some(_)) = (stories.is_empty(), &query, &row) {
        // Its beginning is not kept any more.
        stories.push(Story { tag: Some(*tag), events: Vec::new(), more: 0 });
    }
    if stories.is_empty() {
        let message = "nothing is known of such a message; stories are kept for the time that [trace] in the settings says";
        return Err(AdminError::new(ErrorKind::Data, message));
    }
    for story in stories {
        let told = told(story, store, row.take()).await?;
        items.tell(Item::Story(Box::new(told))).await?;
    }
    Ok(())
}

async fn told(story: Story, store: &Store, row: Option<QueueRow>) -> Result<Told, AdminError> {
    let Story { tag, mut events, mut more } = story;
    let mut octets = 0;
    let fits = events.iter().take_while(|event| {
        octets += serde_json::to_vec(event).map_or(0, |text| text.len());
        octets <= OCTETS_MAX
    });
    let fits = fits.count();
    more += events.len() - fits;
    events.truncate(fits);
    let mut ids: Vec<u64> = row.iter().map(|row| row.id.0).collect();
    for event in &events {
        if let What::Accepted(taken) = &event.what {
            ids.extend(&taken.queue);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let mut waiting = Vec::new();
    for id in ids {
        if let Some(row) = store.queue_row(QueueId(id)).await.map_err(unreadable)? {
            waiting.push(waits(&row));
        }
    }
    Ok(Told { tag: tag.map(|tag| tag.to_string()), events, more, waiting })
}

fn waits(row: &QueueRow) -> Waiting {
    let rcpt = Rcpt::decode(&row.value).ok();
    let at = |microseconds| Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::MAX);
    Waiting {
        queue: row.id.0,
        to: rcpt.as_ref().map(|rcpt| rcpt.address.to_string()),
        hop: row.destination.clone(),
        held: row.held,
        attempts: rcpt.as_ref().map_or(0, |rcpt| rcpt.attempts),
        not_before: at(row.due_at),
        deadline: at(row.deadline),
    }
}

fn unreadable(error: impl std::fmt::Display) -> AdminError {
    AdminError::new(ErrorKind::Io, format!("the queue cannot be read: {error}"))
}
