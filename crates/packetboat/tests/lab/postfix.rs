//! Debian's Postfix on a host.

use std::fmt::Write as _;

use super::mounts::{MAIL_OWNER, install};
use super::net::Host;

const MASTER: &str = include_str!("postfix-master.cf");

/// Starts Postfix for `domain` with these `users`, each with a Maildir. `more` is further lines of its `main.cf`.
pub fn start(host: &Host, domain: &str, users: &[&str], more: &str) {
    install(host, "postfix");
    let state = host.dir().join("state");
    for sub in ["postfix", "queue", "data"] {
        std::fs::create_dir_all(state.join(sub)).unwrap();
    }
    let mut mailboxes = String::new();
    for user in users {
        let _ = write!(mailboxes, " {{ {user}@{domain} = {user}/ }}");
    }
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = /mnt/queue\ndata_directory = /mnt/data\n\
         command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\nshlib_directory = /usr/lib/postfix\n\
         mail_owner = postfix\nsetgid_group = postdrop\nmaillog_file = /mnt/log/postfix.log\n\
         maillog_file_prefixes = /mnt\ninet_protocols = ipv4\nmyhostname = {name}\nmydomain = {domain}\n\
         myorigin = {domain}\nmydestination =\nalias_maps =\nmynetworks = 127.0.0.0/8\n\
         virtual_mailbox_domains = {domain}\nvirtual_mailbox_base = /mnt/mail\n\
         virtual_mailbox_maps = inline:{{{mailboxes} }}\nvirtual_uid_maps = static:{MAIL_OWNER}\n\
         virtual_gid_maps = static:{MAIL_OWNER}\nsmtp_host_lookup = dns\nsmtputf8_enable = yes\n{more}\n",
        name = host.name(),
    );
    std::fs::write(state.join("postfix/main.cf"), main).unwrap();
    std::fs::write(state.join("postfix/master.cf"), MASTER).unwrap();
    host.shell("chown 64101 /mnt/data; postfix -c /mnt/postfix start");
}

/// What it logged.
pub fn log(host: &Host) -> String {
    std::fs::read_to_string(host.dir().join("state/log/postfix.log")).unwrap_or_default()
}
