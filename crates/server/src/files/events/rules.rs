//! Who is told of what.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use packetboat_files::policy::{Users, Visitor};

use super::{Event, Kind, Way, webhook};
use crate::settings::Settings;

/// Octets of a secret's file that are read.
const SECRET_MAX: usize = 4096;

/// All rules there are.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    on: Vec<Kind>,
    paths: Vec<String>,
    users: Vec<Users>,
    receivers: Vec<Arc<Receiver>>,
}

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receiver {
    /// The name of the rule.
    pub(crate) rule: String,
    pub(crate) way: Way,
    pub(crate) timeout: Duration,
    pub(crate) at_once: u32,
    pub(crate) give_up: Duration,
}

impl Receiver {
    /// What the keys of its rows begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("{}/{}/", self.rule, self.way.letter())
    }
}

impl Rules {
    /// As the settings have them.
    pub(crate) fn of(settings: &Settings) -> Result<Rules, String> {
        let mut rules = Vec::new();
        for event in &settings.file_events {
            let secret = match &event.secret_file {
                None => None,
                Some(file) => {
                    let text =
                        fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
                    let line = text.lines().next().unwrap_or_default();
                    if line.is_empty() || line.len() > SECRET_MAX {
                        return Err(format!("{}: there is no secret in its first line", file.display()));
                    }
                    Some(webhook::Key::parse(line))
                }
            };
            let webhook = match &event.webhook {
                None => None,
                Some(url) => {
                    let url = webhook::Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
                    Some(Way::Webhook { url, secret })
                }
            };
            let command = (!event.command.is_empty()).then(|| Way::Command {
                argv: event.command.clone(),
                directory: settings.general.data.clone(),
            });
            let mail = (!event.mail_to.is_empty()).then(|| Way::Mail { to: event.mail_to.clone() });
            let receiver = |way| {
                Arc::new(Receiver {
                    rule: event.name.clone(),
                    way,
                    timeout: event.timeout,
                    at_once: event.at_once,
                    give_up: event.give_up,
                })
            };
            rules.push(Rule {
                on: event.on.iter().map(|it| it.0).collect(),
                paths: event.paths.clone(),
                users: event.users.clone(),
                receivers: [webhook, command, mail].into_iter().flatten().map(receiver).collect(),
            });
        }
        Ok(Rules { rules })
    }

    /// All receivers.
    pub(crate) fn receivers(&self) -> Vec<Arc<Receiver>> {
        self.rules.iter().flat_map(|rule| rule.receivers.iter().cloned()).collect()
    }

    /// Whether somebody is told of anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether somebody may be told of this.
    pub(crate) fn wants(&self, kind: Kind, account: &str, paths: &[&str]) -> bool {
        self.rules.iter().any(|rule| rule.wants(kind, account, paths))
    }

    /// Who is told of an event.
    pub(crate) fn told<'a>(&'a self, event: &'a Event) -> impl Iterator<Item = &'a Arc<Receiver>> {
        let paths = move |rule: &&Rule| {
            let paths: Vec<&str> =
                std::iter::once(&event.path).chain(&event.to).map(String::as_str).collect();
            rule.wants(event.event, &event.said.account, &paths)
        };
        self.rules.iter().filter(paths).flat_map(|rule| &rule.receivers)
    }
}

impl Rule {
    fn wants(&self, kind: Kind, account: &str, paths: &[&str]) -> bool {
        let visitor = if account == "anonymous" { Visitor::Anonymous } else { Visitor::Account(account) };
        let lies = |path: &&str| self.paths.iter().any(|pattern| fits(pattern.as_bytes(), path.as_bytes()));
        self.on.contains(&kind)
            && (self.users.is_empty() || Users::best(&self.users, visitor).is_some())
            && (self.paths.is_empty() || paths.iter().any(lies))
    }
}

/// Whether a path is as the pattern says: `*` stands for anything in a name, `**` for anything at all, `?` for one octet of a
/// name. The work is bounded by the product of the two lengths.
pub(crate) fn fits(pattern: &[u8], path: &[u8]) -> bool {
    // Which beginnings of the path fit the pattern so far.
    let mut fits = vec![false; path.len() + 1];
    fits[0] = true;
    let mut rest = pattern;
    while let Some((&first, after)) = rest.split_first() {
        let mut next = vec![false; path.len() + 1];
        if first == b'*' {
            let all = after.first() == Some(&b'*');
            rest = if all { &after[1..] } else { after };
            let mut on = false;
            for at in 0..=path.len() {
                if at > 0 && !all && path[at - 1] == b'/' {
                    on = false;
                }
                on |= fits[at];
                next[at] = on;
            }
        } else {
            rest = after;
            for at in 0..path.len() {
                let same = if first == b'?' { path[at] != b'/' } else { path[at] == first };
                next[at + 1] = fits[at] && same;
            }
        }
        fits = next;
    }
    fits[path.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, wanted) in [
            ("/incoming/*", "/incoming/a", true),
            ("/incoming/*", "/incoming/a/b", false),
            ("/incoming/**", "/incoming/a/b", true),
            ("/incoming/**", "/incomin", false),
            ("**.csv", "/a/b.csv", true),
            ("*.csv", "/b.csv", false),
            ("/*.csv", "/b.csv", true),
            ("/?.csv", "/b.csv", true),
            ("/?.csv", "/bb.csv", false),
            ("/a?b", "/a/b", false),
            ("", "", true),
            ("**", "", true),
            ("/a**b/*", "/ax/y/b/c", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), path.as_bytes()), wanted, "{pattern} {path}");
        }
        // What would take others a lifetime.
        let path = "/".to_owned() + &"a".repeat(4000);
        assert!(!fits("*a".repeat(500).as_bytes(), (path + "b").as_bytes()));
    }
}
