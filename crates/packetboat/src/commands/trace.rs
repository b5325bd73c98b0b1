//! `packetboat trace`: what happened to a message.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use packetboat_server::admin::story::{
    Became, Event, Place, Recipient, Refused, Stage, Taken, Tried, Verified, What,
};
use packetboat_server::admin::{Item, Request, Told, TraceRequest, Waiting};

use super::manage::{ManageArgs, exit_codes, manage, otherwise};

/// Tell the story of a message: who sent it, what was decided and why, each try with the answers, and where it is now.
///
/// Stories are kept for the time and in the space that [trace] in the settings gives them. Works while the server runs, and
/// when it does not.
#[derive(Debug, Args)]
#[command(after_long_help = exit_codes())]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    manage: ManageArgs,
    /// The message: its name (as in the answer to the sender, in Received and in the log), a number of the queue, its
    /// Message-ID, or the address of a recipient
    #[arg(value_name = "ID")]
    what: String,
    /// Only what happened since then: a time such as 2026-11-21T16:00, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only what happened until then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// So many messages at most, the latest ones
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

/// A moment as people write it.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(here) = text.parse::<DateTime>() {
        return here.to_zoned(TimeZone::system()).map(|it| it.timestamp()).map_err(|error| error.to_string());
    }
    let ago: SignedDuration = text
        .parse()
        .map_err(|_| "write a time such as 2026-11-21T16:00, or how long ago, such as 2h".to_owned())?;
    Timestamp::now().checked_sub(ago.abs()).map_err(|error| error.to_string())
}

pub(crate) fn run(args: &TraceArgs) -> ExitCode {
    let TraceArgs { what, since, until, limit, .. } = args;
    let request = TraceRequest { what: what.clone(), since: *since, until: *until, limit: *limit };
    let mut first = true;
    let say = |item: &Item| match item {
        Item::Story(story) => {
            let before = if std::mem::take(&mut first) { "" } else { "\n" };
            format!("{before}{}", told(story))
        }
        other => otherwise(other),
    };
    manage(&args.manage, async |desk| desk.ask(Request::Trace(request), say).await)
}

fn told(story: &Told) -> String {
    let mut text = match &story.tag {
        Some(tag) => format!("message {tag}\n"),
        None => "refused\n".to_owned(),
    };
    for event in &story.events {
        let _ = writeln!(text, "{}  {}", shown(event.at), happened(event));
    }
    if story.more > 0 {
        let _ = writeln!(text, "… and {} more events", story.more);
    }
    for waiting in &story.waiting {
        let _ = writeln!(text, "now                      {}", waits(waiting));
    }
    if story.events.is_empty() && !story.waiting.is_empty() {
        text.push_str("its beginning is not kept any more\n");
    }
    text.truncate(text.trim_end().len());
    text
}

/// A moment, to the millisecond.
fn shown(microseconds: i64) -> String {
    let at = Timestamp::from_microsecond(microseconds).unwrap_or_default().to_zoned(TimeZone::system());
    at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

fn happened(event: &Event) -> String {
    match &event.what {
        What::Accepted(taken) => accepted(taken),
        What::Refused(refused) => was_refused(refused),
        What::Tried(tried) => was_tried(tried),
        What::Arrived { to } => format!("{to}: into the mailbox here, its time having come"),
        What::GivenUp { to, why } => format!("{to}: given up. {why}"),
        What::Told { notice, kind, to, about } => {
            let about: Vec<String> = about.iter().map(ToString::to_string).collect();
            format!("told {to} ({kind}) about {}, by message {notice}", about.join(", "))
        }
        What::Operated { to, action } => format!("{to}: {action} by the operator"),
    }
}

fn accepted(taken: &Taken) -> String {
    let from = taken.from.as_ref().map_or_else(|| "<>".to_owned(), ToString::to_string);
    let mut text = format!("from {from}, {} octets, by {}", taken.octets, taken.with);
    if let Some(peer) = taken.peer {
        let _ = write!(text, " from {peer}");
    }
    if let Some(helo) = &taken.helo {
        let _ = write!(text, " (calls itself {})", plain(helo));
    }
    if let Some(login) = &taken.login {
        let _ = write!(text, ", logged in as {}", plain(login));
    }
    if let Some((version, cipher)) = &taken.tls {
        let _ = write!(text, ", {version} {cipher}");
    }
    if let Some(id) = &taken.message_id {
        let _ = write!(text, ", Message-ID <{}>", plain(id));
    }
    for recipient in &taken.recipients {
        leads(&mut text, recipient, 1);
    }
    if taken.more > 0 {
        let _ = write!(text, "\n{:25}… and {} more recipients", "", taken.more);
    }
    text
}

fn leads(text: &mut String, recipient: &Recipient, depth: usize) {
    let place = match &recipient.place {
        Place::Mailbox => "into the mailbox here".to_owned(),
        Place::Queue { hop } => format!("into the queue, for {hop}"),
        Place::Alias => "an alias".to_owned(),
        Place::Nowhere { why } => format!("not delivered: {}", plain(why)),
    };
    let _ = write!(text, "\n{:25}{:indent$}{}: {place}", "", "", recipient.to, indent = 2 * (depth - 1));
    for behind in &recipient.behind {
        leads(text, behind, depth + 1);
    }
}

fn was_refused(refused: &Refused) -> String {
    let from = if refused.from.is_empty() { "<>" } else { &refused.from };
    let mut text = format!("from {}", plain(from));
    if let Some(to) = &refused.to {
        let _ = write!(text, " to {}", plain(to));
    }
    if let Some(peer) = refused.peer {
        let _ = write!(text, ", by {peer}");
    }
    if let Some(login) = &refused.login {
        let _ = write!(text, ", logged in as {}", plain(login));
    }
    let how = if refused.for_now { "refused for now" } else { "refused" };
    let _ = write!(text, ": {how}: {}", plain(&refused.why));
    text
}

fn was_tried(tried: &Tried) -> String {
    let became = match tried.became {
        Became::Delivered => "taken over",
        Became::Deferred => "not now",
        Became::Failed => "failed",
    };
    let mut text = format!("{}: {became}", tried.to);
    if let Some(host) = &tried.host {
        let _ = write!(text, ", {}", plain(host));
    }
    if let Some(address) = tried.address {
        let _ = write!(text, " [{address}]");
    }
    match &tried.tls {
        Some(tls) => {
            let verified = match tls.verified {
                Verified::No => "not verified",
                Verified::Pkix => "verified by its authority",
                Verified::Dane => "verified by DANE",
                Verified::Sts => "verified by MTA-STS",
            };
            let _ = write!(text, ", {} {}, {verified}", plain(&tls.version), plain(&tls.cipher));
        }
        None if tried.host.is_some()
            && !matches!(tried.stage, Stage::Lookup | Stage::Connect | Stage::Here) =>
        {
            text.push_str(", in the clear");
            if let Some(why) = &tried.tls_failed {
                let _ = write!(text, " because TLS failed: {}", plain(why));
            }
        }
        None => {}
    }
    let stage = match tried.stage {
        Stage::Lookup => "looking it up",
        Stage::Connect => "connecting",
        Stage::Greeting => "at the greeting",
        Stage::Hello => "at EHLO",
        Stage::Tls => "at STARTTLS",
        Stage::Auth => "logging in",
        Stage::Sender => "at MAIL",
        Stage::Recipient => "at RCPT",
        Stage::Data => "sending it",
        Stage::End => "at its end",
        Stage::Here => "decided here",
    };
    let _ = write!(text, ", {stage}");
    if let Some(reply) = &tried.reply {
        let _ = write!(text, ": {}", plain(reply));
    }
    if !tried.text.is_empty() {
        let _ = write!(text, ": {}", plain(&tried.text));
    }
    if let Some(next) = tried.next_at {
        let _ = write!(text, "; again at {}", shown(next));
    }
    text
}

fn waits(waiting: &Waiting) -> String {
    let Waiting { queue, to, hop, held, attempts, not_before, deadline } = waiting;
    let to = to.as_deref().unwrap_or("somebody who cannot be read");
    let when = match held {
        true => "held until it is released".to_owned(),
        false => format!("not tried before {}", shown(not_before.as_microsecond())),
    };
    let deadline = shown(deadline.as_microsecond());
    format!(
        "{to}: waits for {hop} as number {queue}, tried {attempts} times, {when}, looked at again by {deadline}"
    )
}

/// What somebody else wrote, on one line and without anything that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn moments_as_people_write_them() {
        assert_eq!(moment("2026-11-21T16:00:00Z").unwrap().as_second(), 1_795_276_800);
        let ago = Timestamp::now().as_second() - moment("2h").unwrap().as_second();
        assert!((7199..7210).contains(&ago), "{ago}");
        assert!(moment("2026-11-21T16:00").is_ok() && moment("2026-11-21").is_ok());
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn what_others_wrote_does_not_reach_the_terminal() {
        let refused = Refused {
            from: "a\u{1b}[2J@example.org".to_owned(),
            to: None,
            login: None,
            peer: None,
            why: "no\r\nsuch user".to_owned(),
            for_now: false,
        };
        assert_eq!(was_refused(&refused), "from a [2J@example.org: refused: no  such user");
    }
}
