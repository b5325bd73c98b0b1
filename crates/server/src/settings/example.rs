//! The annotated example file and the reference, made from the definitions.

use std::fmt::Write;

use super::check::known;
use super::section::Key;

/// Where a line of prose in the example is broken.
const WIDTH: usize = 100;

/// The example file: every key with its documentation and default, commented out, except for those in `values`
/// (`("hostname", "\"mail.example.org\"")`, the value as TOML), which are set.
pub fn example(values: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let given = |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    text.push_str("# Settings of packetboat. What is commented out shows the default.\n");
    for (header, doc, keys) in known().sections {
        let path = |key: &Key| match header.trim_matches(['[', ']']) {
            "" => key.name.to_owned(),
            section => format!("{section}.{}", key.name),
        };
        if !header.is_empty() {
            let is_set = keys.iter().any(|key| given(&path(key)).is_some());
            // A certificate without files would be a mistake.
            let comment = if header.starts_with('[') && !is_set { "# " } else { "" };
            text.push('\n');
            write_doc(&mut text, doc);
            let _ = writeln!(text, "{comment}[{header}]");
        }
        for key in &keys {
            text.push('\n');
            write_doc(&mut text, key.doc);
            let _ = match given(&path(key)) {
                Some(value) => writeln!(text, "{} = {value}", key.name),
                None if is_unset(header, key) => {
                    writeln!(text, "# {} = {}", key.name, sample_in(header, key.name))
                }
                None => writeln!(text, "# {} = {}", key.name, key.default),
            };
        }
    }
    text
}

/// All keys as a Markdown document.
pub fn reference() -> String {
    let mut text = String::from(
        "# Settings\n\nOne TOML file, `packetboat.toml`. Only `hostname` has no default. `packetboat check` names every \
         mistake with its line.\n",
    );
    for (header, doc, keys) in known().sections {
        let title = if header.is_empty() { "At the top".to_owned() } else { format!("`[{header}]`") };
        let _ = writeln!(text, "\n## {title}\n\n{}\n", prose(doc));
        let _ = writeln!(text, "| Key | Default | |\n| --- | --- | --- |");
        for key in keys {
            let default = if is_unset(header, &key) { String::new() } else { format!("`{}`", key.default) };
            let kind = key.kind.replace('|', "\\|");
            let _ = writeln!(
                text,
                "| `{}` | {default} | {} Expects {kind}. |",
                key.name,
                prose(key.doc).replace('|', "\\|")
            );
        }
    }
    text
}

fn is_unset(header: &str, key: &Key) -> bool {
    match key.default.as_str() {
        "" | "\"\"" => true,
        // What a section is about has no default.
        "[]" => header.starts_with('['),
        _ => false,
    }
}

/// What stands in the example for a key of a section that has no default.
fn sample_in(header: &str, key: &str) -> &'static str {
    match (header, key) {
        ("[folder]", "name") => "\"press\"",
        ("[file_event]", "name") => "\"new-orders\"",
        ("[rights]", "path") => "\"/press/drafts\"",
        _ => sample(key),
    }
}

/// What stands in the example for a key without a default.
pub(super) fn sample(key: &str) -> &'static str {
    match key {
        "hostname" => "\"mail.example.org\"",
        "default_domain" => "\"example.org\"",
        "user" => "\"packetboat\"",
        "postmaster" => "\"postmaster@example.org\"",
        "hello" => "\"out.example.org\"",
        "source_ipv4" => "\"192.0.2.25\"",
        "source_ipv6" => "\"2001:db8::25\"",
        "domains" => "[\"example.org\", \"*.example.org\"]",
        "mail_for" => "[\"office.example\"]",
        "logins" => "[\"office@example.org\"]",
        "networks" => "[\"192.0.2.0/24\"]",
        "send_to" => "\"mail.office.example:25\"",
        "senders" => "[\"alice@example.org\", \"@example.net\"]",
        "name" => "\"provider\"",
        "host" => "\"smtp.provider.example\"",
        "password_file" => "\"/etc/packetboat/provider.password\"",
        "ca" => "\"/etc/packetboat/provider.pem\"",
        "secret_file" => "\"/etc/packetboat/new-orders.secret\"",
        "webhook" => "\"https://hooks.example.org/files\"",
        "command" => "[\"/usr/local/bin/arrived\", \"--quiet\"]",
        "mail_to" => "[\"office@example.org\"]",
        "paths" => "[\"/incoming/**\"]",
        "xferlog" => "\"xferlog\"",
        "json" => "\"transfers.jsonl\"",
        "chain" => "\"/etc/letsencrypt/live/mail.example.org/fullchain.pem\"",
        "key" => "\"/etc/letsencrypt/live/mail.example.org/privkey.pem\"",
        "announce" => "\"203.0.113.7\"",
        "announce_discover" => "\"stun.example.org:3478\"",
        "client_revocations" => "\"/etc/packetboat/clients.crl\"",
        "client_authorities" => "\"/etc/packetboat/clients.pem\"",
        "users" => "[\"alice@example.org\", \"*@example.net\"]",
        "home" => "\"/srv/homes/{account}\"",
        "path" => "\"/srv/press\"",
        "at" => "\"/press\"",
        "incoming" => "\"/incoming\"",
        "quota" => "\"10 GiB\"",
        "quota_files" => "100000",
        "upload_rate" | "download_rate" => "\"10 MiB\"",
        "total_upload_rate" | "total_download_rate" => "\"100 MiB\"",
        "connections" => "20",
        "connections_per_address" => "5",
        "denied_networks" => "[\"198.51.100.0/24\"]",
        "require_tls" | "sees_all" => "true",
        "account_required" => "\"login\"",
        "cost_centres" => "[\"4711\", \"press\"]",
        "disabled" => "[\"DELE\", \"SITE CHMOD\"]",
        "commands" => "[\"RETR\", \"LIST\"]",
        "timeout" => "\"5m\"",
        "trust_anchor" => "\"/etc/packetboat/root.key\"",
        "authorities" => "\"/etc/packetboat/authorities.pem\"",
        _ => "\"\"",
    }
}

fn prose(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn write_doc(text: &mut String, doc: &[&str]) {
    let mut line = String::from("#");
    for word in prose(doc).split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}
