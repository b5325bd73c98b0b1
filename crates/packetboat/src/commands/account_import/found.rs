//! What is known of a user of another server.

use ipnet::IpNet;

use super::NewPassword;

/// A user who was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) secret: Option<NewPassword>,
    /// How people call them.
    pub(super) called: Option<String>,
    pub(super) home: Option<String>,
    pub(super) quota: Option<u64>,
    pub(super) quota_files: Option<u64>,
    pub(super) upload_rate: Option<u64>,
    pub(super) download_rate: Option<u64>,
    pub(super) connections: Option<u64>,
    pub(super) networks: Vec<String>,
    pub(super) denied_networks: Vec<String>,
    /// They may not log in.
    pub(super) disabled: bool,
    /// What has no place here.
    pub(super) lost: Vec<String>,
}

/// Networks as they are written with commas between: those that are, and what is none.
pub(super) fn networks(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut good, mut other) = (Vec::new(), Vec::new());
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let address = || item.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address));
        match item.parse::<IpNet>().ok().or_else(address) {
            Some(network) => good.push(network.trunc().to_string()),
            None => other.push(item.to_owned()),
        }
    }
    (good, other)
}
