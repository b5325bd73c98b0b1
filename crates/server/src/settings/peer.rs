//! `[[peer]]`: what no key of it can know alone.

use std::collections::HashSet;

use packetboat_mail::outbound::NextHop;
use packetboat_message::{Address, Domain};
use toml::Spanned;
use toml::de::DeTable;

use super::Settings;
use super::keys::Peer;
use super::problem::Report;
use super::section::{Known, read_section};
use super::value::ListItem;

impl ListItem for Domain {
    const LIST_KIND: &'static str = "a list of domains such as [\"example.org\", \"example.net\"]";
}

impl ListItem for Address {
    const LIST_KIND: &'static str = "a list of addresses such as [\"alice@example.org\"]";
}

/// Reads a `[[peer]]`.
pub(super) fn read(table: &DeTable<'_>, known: &Known, report: &mut Report<'_>) -> Peer {
    let problems = report.problems.len();
    let peer: Peer = read_section(table, known, report);
    if report.problems.len() > problems {
        return peer;
    }
    let mut wrong = |key: &str, message: &str| {
        let place = table.get(key).or_else(|| table.values().next()).map_or(0..0, Spanned::span);
        report.add(place, &format!("peer.{key}"), message.to_owned());
    };
    if peer.name.is_empty() || peer.name.contains(char::is_whitespace) {
        wrong("name", "missing, or with blanks in it; write name = \"office\"");
    }
    if peer.mail_for.is_empty() {
        wrong(
            "domains",
            "missing; name the domains whose mail it gets, as in domains = [\"office.example\"]",
        );
    }
    if peer.send_to.as_ref().is_some_and(|host| format!("host:{host}").parse::<NextHop>().is_err()) {
        wrong("send_to", "it is no host with a port; write send_to = \"mail.office.example:25\"");
    }
    if peer.send_to.is_none() && peer.logins.is_empty() && peer.networks.is_empty() {
        wrong("name", "nobody can fetch its mail; name `logins`, `networks`, or where to `send_to`");
    }
    peer
}

pub(super) fn check(settings: &Settings, report: &mut Report<'_>) {
    let (mut names, mut domains) = (HashSet::new(), HashSet::new());
    for peer in &settings.peers {
        if !names.insert(&peer.name) {
            let message = format!("there are two called {:?}; give each a name of its own", peer.name);
            report.add_about("peer.name", message);
        }
        for domain in &peer.mail_for {
            if !domains.insert(domain) {
                report.add_about(
                    "peer.mail_for",
                    format!("{domain} is named twice; its mail can go one way only"),
                );
            }
        }
    }
}
