//! Finding the story of a message.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use memchr::memmem::Finder;
use packetboat_mail::MessageTag;
use packetboat_mail::story::{Event, Recipient, What};
use packetboat_message::Address;

use super::keep::{FILE_MAX, parts};

/// Events of one story that are told.
const EVENTS_MAX: usize = 400;

/// Which message is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// That of this name.
    Tag(MessageTag),
    /// That with this row of the queue.
    Row(u64),
    /// Those of this Message-ID, or for this recipient.
    Named(String),
}

/// Between which moments something happened to it, in microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Not before this.
    pub since: i64,
    /// Not after this.
    pub until: i64,
}

impl Default for Window {
    fn default() -> Window {
        Window { since: i64::MIN, until: i64::MAX }
    }
}

/// What happened to one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// Its name; what was refused at once has none.
    pub tag: Option<MessageTag>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// How many more events there are.
    pub more: usize,
}

/// The stories that fit, at most `limit`, the latest ones, in order.
///
/// # Errors
/// When the files cannot be read.
pub fn find(dir: &Path, query: &Query, window: Window, limit: usize) -> io::Result<Vec<Story>> {
    let mut stories = match query {
        Query::Tag(tag) => vec![Story { tag: Some(*tag), events: Vec::new(), more: 0 }],
        Query::Row(row) => {
            let has = |what: &What| matches!(what, What::Accepted(taken) if taken.queue.contains(row));
            named(dir, &row.to_string(), window, limit, has)?
        }
        Query::Named(text) => {
            let text = text.trim();
            let id = text.trim_start_matches('<').trim_end_matches('>');
            let person = text.parse::<Address>().ok().map(|address| address.lookup_key());
            let is = |address: &Address| person.as_ref().is_some_and(|key| *key == address.lookup_key());
            let has = |what: &What| match what {
                What::Accepted(taken) => {
                    taken.message_id.as_deref() == Some(id)
                        || taken.recipients.iter().any(|it| leads(it, &is))
                }
                What::Refused(refused) => {
                    let to = refused.to.as_ref().and_then(|to| to.parse::<Address>().ok());
                    to.is_some_and(|to| is(&to))
                }
                What::Tried(tried) => is(&tried.to),
                _ => false,
            };
            // An address is written as it was named; its domain is always in lower case.
            let domain = text.parse::<Address>().ok().map(|address| format!("@{}", address.domain()));
            match domain {
                Some(domain) if !id.contains(&domain) => {
                    let mut found = named(dir, &domain, window, limit, has)?;
                    found.extend(named(dir, &escaped(id), window, limit, has)?);
                    found
                }
                Some(domain) => named(dir, &domain, window, limit, has)?,
                None => named(dir, &escaped(id), window, limit, has)?,
            }
        }
    };
    gather(dir, &mut stories)?;
    stories.retain(|story| !story.events.is_empty());
    Ok(stories)
}

fn leads(recipient: &Recipient, is: &impl Fn(&Address) -> bool) -> bool {
    is(&recipient.to) || recipient.behind.iter().any(|it| is(&it.to))
}

/// A text as it stands within the quotes of JSON.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// The names of messages to which something happened that `has`; what has no name is a story of itself.
fn named(
    dir: &Path,
    needle: &str,
    window: Window,
    limit: usize,
    has: impl Fn(&What) -> bool,
) -> io::Result<Vec<Story>> {
    let mut stories: Vec<Story> = Vec::new();
    each(dir, &[needle.to_owned()], |_, event| {
        let fits = (window.since..=window.until).contains(&event.at) && has(&event.what);
        if !fits || (event.tag.is_some() && stories.iter().any(|story| story.tag == event.tag)) {
            return;
        }
        let events = if event.tag.is_none() { vec![event.clone()] } else { Vec::new() };
        stories.push(Story { tag: event.tag, events, more: 0 });
        if stories.len() > limit {
            stories.remove(0);
        }
    })?;
    Ok(stories)
}

/// Adds all that happened to messages with names.
fn gather(dir: &Path, stories: &mut [Story]) -> io::Result<()> {
    let mut places: HashMap<MessageTag, usize> = HashMap::new();
    let mut needles = Vec::new();
    for (place, story) in stories.iter().enumerate() {
        if let Some(tag) = story.tag {
            places.insert(tag, place);
            needles.push(tag.to_string());
        }
    }
    if needles.is_empty() {
        return Ok(());
    }
    each(dir, &needles, |needle, event| {
        let notice = match &event.what {
            What::Told { notice, .. } => Some(*notice),
            _ => None,
        };
        let about = [event.tag, notice].into_iter().flatten().find(|tag| tag.to_string() == needle);
        let Some(story) = about.and_then(|tag| places.get(&tag)).and_then(|place| stories.get_mut(*place))
        else {
            return;
        };
        match story.events.len() < EVENTS_MAX {
            true => story.events.push(event),
            false => story.more += 1,
        }
    })?;
    for story in stories {
        // Threads tell what they do at their own pace.
        story.events.sort_by_key(|event| event.at);
    }
    Ok(())
}

/// Calls `each` for each event whose line has one of the needles, with that needle.
fn each(dir: &Path, needles: &[String], mut each: impl FnMut(&str, Event)) -> io::Result<()> {
    let finders: Vec<Finder<'_>> = needles.iter().map(|needle| Finder::new(needle.as_bytes())).collect();
    let mut text = Vec::new();
    for part in parts(dir)? {
        text.clear();
        match File::open(&part.path) {
            // A file may be somewhat longer than what is meant to be in one.
            Ok(file) => _ = file.take(2 * FILE_MAX).read_to_end(&mut text)?,
            // Removed meanwhile, as the oldest.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        for (needle, finder) in needles.iter().zip(&finders) {
            let mut rest = text.as_slice();
            while let Some(at) = finder.find(rest) {
                let (before, behind) = rest.split_at(at);
                let begin = before.iter().rposition(|octet| *octet == b'\n').map_or(0, |end| end + 1);
                let end = behind.iter().position(|octet| *octet == b'\n').unwrap_or(behind.len());
                let line = rest.get(begin..at + end).unwrap_or_default();
                // Half a line stands where a crash interrupted it.
                if let Ok(event) = serde_json::from_slice(line) {
                    each(needle, event);
                }
                rest = rest.get(at + end..).unwrap_or_default();
            }
        }
    }
    Ok(())
}
