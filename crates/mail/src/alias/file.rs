//! The `aliases` files of sendmail and Postfix, as text.
//!
//! ```text
//! # a comment
//! postmaster: root
//! root:       anna, ben@elsewhere.example,
//!             :include:/etc/mail/roots
//! "two words": anna
//! ```
//!
//! A line that begins with white space goes on with the one before it. A target is an address, `:include:/a/file` with
//! more of them, `|command` or `/a/file`; quotes keep commas and spaces together, and a `\` before a name stops expansion.

use packetboat_message::{Address, Domain, LocalPart};

/// Octets of a file at most.
pub const FILE_MAX: u64 = 16 * 1024 * 1024;

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    /// The aliases, as they come.
    pub entries: Vec<Entry>,
    /// What cannot be taken.
    pub troubles: Vec<Trouble>,
}

/// One alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The line it begins in, from 1.
    pub line: usize,
    /// The name.
    pub name: Address,
    /// Where it leads.
    pub targets: Vec<FileTarget>,
}

/// Where an alias of a file leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileTarget {
    /// To an address.
    Address(Address),
    /// To those in another file.
    Include(String),
    /// Into a program.
    Command(String),
    /// Into a file.
    File(String),
}

/// Something that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Trouble {
    /// The line it begins in, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

/// Reads the text of an aliases file. Names without a domain are of `domain`.
pub fn parse_file(text: &str, domain: &Domain) -> Parsed {
    let mut parsed = Parsed::default();
    for (line, text) in logical_lines(text) {
        match entry(line, &text, domain) {
            Ok(entry) => parsed.entries.push(entry),
            Err(what) => parsed.troubles.push(Trouble { line, what }),
        }
    }
    parsed
}

/// Reads the text of a file that is included: targets only, as many in a line as stand there.
pub fn parse_include(text: &str, domain: &Domain) -> (Vec<FileTarget>, Vec<Trouble>) {
    let mut targets = Vec::new();
    let mut troubles = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        match split(line, domain) {
            Ok(more) => targets.extend(more),
            Err(what) => troubles.push(Trouble { line: number + 1, what }),
        }
    }
    (targets, troubles)
}

/// Lines with those that continue them, each with its number.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // A comment between a line and its continuation does not end it.
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some((_, before)) if line.starts_with([' ', '\t']) => {
                before.push(' ');
                before.push_str(line.trim());
            }
            _ => lines.push((number + 1, line.trim().to_owned())),
        }
    }
    lines
}

fn entry(line: usize, text: &str, domain: &Domain) -> Result<Entry, String> {
    let colon = outside_quotes(text).find(|(_, c)| *c == ':').map(|(place, _)| place);
    let colon = colon.ok_or_else(|| format!("'{text}' has no colon; a line is 'name: target, target'"))?;
    let (name, targets) = (&text[..colon], &text[colon + 1..]);
    let name = address(name.trim(), domain)?;
    let targets = split(targets, domain)?;
    if targets.is_empty() {
        return Err(format!("{name} leads nowhere; name at least one address behind the colon"));
    }
    Ok(Entry { line, name, targets })
}

/// The characters that are not between quotes, with their places.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().filter(move |(_, c)| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return !quoted,
        }
        false
    })
}

/// Targets with commas between.
fn split(text: &str, domain: &Domain) -> Result<Vec<FileTarget>, String> {
    let mut targets = Vec::new();
    let mut start = 0;
    let commas = outside_quotes(text).filter(|(_, c)| *c == ',').map(|(place, _)| place);
    for end in commas.chain([text.len()]) {
        let piece = text[start..end].trim();
        start = end + 1;
        if !piece.is_empty() {
            targets.push(target(piece, domain)?);
        }
    }
    Ok(targets)
}

fn target(text: &str, domain: &Domain) -> Result<FileTarget, String> {
    let inside = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    if let Some(command) = inside.strip_prefix('|') {
        return Ok(FileTarget::Command(command.trim().to_owned()));
    }
    if let Some(file) = inside.strip_prefix(":include:") {
        return Ok(FileTarget::Include(file.trim().to_owned()));
    }
    // An address with a slash is one of an X.400 gateway, such as /C=US/@x.example.
    if inside.starts_with('/') && !inside.contains('@') {
        return Ok(FileTarget::File(inside.to_owned()));
    }
    address(text.strip_prefix('\\').unwrap_or(text), domain).map(FileTarget::Address)
}

fn address(text: &str, domain: &Domain) -> Result<Address, String> {
    let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    if let Ok(address) = Address::parse(bare) {
        return Ok(address);
    }
    LocalPart::parse(bare)
        .map(|local| Address::new(local, domain.clone()))
        .map_err(|error| format!("'{text}' is not an address: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        "example.org".parse().expect("a domain")
    }

    fn shown(target: &FileTarget) -> String {
        match target {
            FileTarget::Address(address) => address.to_string(),
            FileTarget::Include(file) => format!("include {file}"),
            FileTarget::Command(command) => format!("command {command}"),
            FileTarget::File(file) => format!("file {file}"),
        }
    }

    fn read(text: &str) -> (Vec<String>, Vec<usize>) {
        let parsed = parse_file(text, &domain());
        let entries = parsed.entries.iter().map(|entry| {
            let targets: Vec<String> = entry.targets.iter().map(shown).collect();
            format!("{} {}: {}", entry.line, entry.name, targets.join(", "))
        });
        (entries.collect(), parsed.troubles.iter().map(|trouble| trouble.line).collect())
    }

    #[test]
    fn a_file_is_read_as_sendmail_and_postfix_read_it() {
        let text = "\
# See man 5 aliases
postmaster:    root

root: anna,
\tben@elsewhere.example
# between
   , carol
  # indented

\"two words\" : \"a, b\"@x.example, <dora>
Staff:\tanna,ben , :include:/etc/mail/staff
sales@other.example:emil
support: \"|/usr/bin/tickets --queue \\\"a, b\\\"\"
archive: /var/mail/archive, |cat
anna: \\anna, anna@phone.example
";
        let (entries, troubles) = read(text);
        assert_eq!(
            entries,
            [
                "2 postmaster@example.org: root@example.org",
                "4 root@example.org: anna@example.org, ben@elsewhere.example, carol@example.org",
                "10 \"two words\"@example.org: \"a, b\"@x.example, dora@example.org",
                "11 Staff@example.org: anna@example.org, ben@example.org, include /etc/mail/staff",
                "12 sales@other.example: emil@example.org",
                "13 support@example.org: command /usr/bin/tickets --queue \\\"a, b\\\"",
                "14 archive@example.org: file /var/mail/archive, command cat",
                "15 anna@example.org: anna@example.org, anna@phone.example",
            ]
        );
        assert_eq!(troubles, Vec::<usize>::new());
    }

    #[test]
    fn what_cannot_be_read_is_told_by_line() {
        let (entries, troubles) = read("no colon\na: b c\n: x\nnobody:\nfine: anna\n\"open: x\n  first: y\n");
        assert_eq!(entries, ["5 fine@example.org: anna@example.org"]);
        assert_eq!(troubles, [1, 2, 3, 4, 6]);
    }

    #[test]
    fn an_included_file_has_targets_only() {
        let (targets, troubles) =
            parse_include("# all of them\nanna, ben\n\n  carol@x.example\na b\n", &domain());
        let targets: Vec<String> = targets.iter().map(shown).collect();
        assert_eq!(targets, ["anna@example.org", "ben@example.org", "carol@x.example"]);
        assert_eq!(troubles.iter().map(|trouble| trouble.line).collect::<Vec<_>>(), [5]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[a-z:,\"\\\\|/# \t\n@é]{0,80}") {
            let _ = parse_file(&text, &domain());
            let _ = parse_include(&text, &domain());
        }
    }
}
