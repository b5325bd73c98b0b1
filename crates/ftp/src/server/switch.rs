//! Commands that are switched off, under all the names they have.

use super::help::COMMANDS;

/// Without these there is no session at all, or none that is safe, or data would have no way: they stay when only some
/// commands are wanted.
const NEEDED: &[&str] = &[
    "USER", "PASS", "ACCT", "REIN", "QUIT", "NOOP", "HELP", "FEAT", "OPTS", "SYST", "HOST", "LANG", "CLNT",
    "CSID", "AUTH", "PBSZ", "PROT", "CCC", "TYPE", "STRU", "MODE", "PORT", "PASV", "EPRT", "EPSV", "LPRT",
    "LPSV", "ABOR", "REST", "STAT",
];

/// The name under which settings know a command, in upper case: `CWD`, `SITE CHMOD`. Other spellings, such as `XCWD`, are
/// the same command. `None`: there is none.
pub fn command_name(text: &str) -> Option<&'static str> {
    let text = text.trim().to_ascii_uppercase();
    let mut words = text.split_whitespace();
    let (verb, rest) = (words.next()?, words.next());
    if words.next().is_some() {
        return None;
    }
    match (verb, rest) {
        ("SITE", Some(word)) => {
            let word = if matches!(word, "CPFR" | "CPTO") { "COPY" } else { word };
            SITE_NAMES.iter().find(|name| name.strip_prefix("SITE ") == Some(word)).copied()
        }
        (_, Some(_)) => None,
        (verb, None) => {
            let verb = usual(verb);
            COMMANDS.iter().map(|(name, _)| *name).find(|name| *name == verb)
        }
    }
}

const SITE_NAMES: &[&str] = &[
    "SITE CHMOD",
    "SITE UMASK",
    "SITE IDLE",
    "SITE UTIME",
    "SITE SYMLINK",
    "SITE COPY",
    "SITE MKDIR",
    "SITE RMDIR",
    "SITE QUOTA",
    "SITE WHO",
    "SITE CODEPAGE",
    "SITE LRECL",
    "SITE HELP",
];

pub(super) fn usual(verb: &str) -> &str {
    match verb {
        "XCWD" => "CWD",
        "XCUP" => "CDUP",
        "XPWD" => "PWD",
        "XMKD" => "MKD",
        "XRMD" => "RMD",
        "NLIST" => "NLST",
        "XMD5" | "MD5" | "XSHA" | "XSHA1" | "XSHA256" | "XSHA512" => "XCRC",
        verb => verb,
    }
}

/// What is switched off where only some commands are wanted (none named: all are) and some are not.
pub fn switched_off(only: &[String], disabled: &[String]) -> Vec<String> {
    let unwanted = |name: &&str| {
        let part_of_site = *name == "SITE" && only.iter().any(|wanted| wanted.starts_with("SITE "));
        !only.is_empty()
            && !part_of_site
            && !NEEDED.contains(name)
            && !only.iter().any(|wanted| wanted == name)
    };
    let whole = COMMANDS.iter().map(|(name, _)| *name);
    let parts = SITE_NAMES.iter().copied().filter(|_| !only.iter().any(|wanted| wanted == "SITE"));
    let unwanted = whole.chain(parts).filter(unwanted).map(str::to_owned);
    disabled.iter().cloned().chain(unwanted).collect()
}

/// Whether a command line is one of these, by any of its names; what does the same by SITE goes with it.
pub(super) fn is_off(disabled: &[String], line: &[u8]) -> bool {
    if disabled.is_empty() {
        return false;
    }
    let mut words = line.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
    let mut word = || String::from_utf8_lossy(words.next().unwrap_or_default()).to_ascii_uppercase();
    let (verb, second) = (word(), word());
    let off = |name: &str| disabled.iter().any(|disabled| disabled == name);
    // What is another command by what is said to it.
    let facts = || second.split(';').filter_map(|fact| fact.split_once('=')).map(|(name, _)| name);
    match &verb[..] {
        "SITE" => {}
        "STAT" => return off("STAT") || off("LIST") && !second.is_empty(),
        "MDTM" => return off("MDTM") || off("MFMT") && is_time(&second),
        "MFF" => return off("MFF") || facts().any(|fact| of_fact(fact).is_some_and(off)),
        verb => return off(usual(verb)),
    }
    let same: &[&str] = match &second[..] {
        "MKDIR" => &["MKD"],
        "RMDIR" => &["RMD", "DELE"],
        "UTIME" => &["MFMT"],
        _ => &[],
    };
    let part = if matches!(&second[..], "CPFR" | "CPTO") { "COPY" } else { &second };
    off("SITE") || same.iter().any(|same| off(same)) || off(&format!("SITE {part}"))
}

/// The command that sets this one of the facts of MFF, in upper case.
pub(super) fn of_fact(fact: &str) -> Option<&'static str> {
    match fact {
        "MODIFY" => Some("MFMT"),
        "CREATE" => Some("MFCT"),
        "UNIX.MODE" => Some("SITE CHMOD"),
        _ => None,
    }
}

/// Digits of a time, down to the second (RFC 3659 section 2.3).
const TIME_DIGITS: usize = 14;

/// `MDTM 20261121160000 path` sets a time, as MFMT does.
fn is_time(word: &str) -> bool {
    word.as_bytes().first_chunk::<TIME_DIGITS>().is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::super::help::SITE_COMMANDS;
    use super::*;

    #[test]
    fn every_command_of_site_has_its_name() {
        let names: Vec<String> = SITE_COMMANDS.iter().map(|(name, _)| format!("SITE {name}")).collect();
        assert_eq!(names, SITE_NAMES);
    }

    #[test]
    fn names() {
        for (text, name) in [
            ("cwd", Some("CWD")),
            ("XCWD", Some("CWD")),
            ("nlist", Some("NLST")),
            ("xsha256", Some("XCRC")),
            ("md5", Some("XCRC")),
            ("site chmod", Some("SITE CHMOD")),
            ("SITE  CPTO", Some("SITE COPY")),
            ("SITE", Some("SITE")),
            ("SITE FLY", None),
            ("FLY", None),
            ("CWD x", None),
            ("", None),
        ] {
            assert_eq!(command_name(text), name, "{text}");
        }
    }

    #[test]
    fn what_is_off_is_off_by_every_name() {
        let off = |disabled: &[&str], line: &str| {
            let disabled: Vec<String> = disabled.iter().map(|&name| name.to_owned()).collect();
            is_off(&disabled, line.as_bytes())
        };
        for (disabled, line, is) in [
            (&["CWD"][..], "CWD x", true),
            (&["CWD"], "xcwd x", true),
            (&["CWD"], "CDUP", false),
            (&["MKD"], "SITE MKDIR x", true),
            (&["RMD"], "site rmdir x", true),
            (&["MFMT"], "SITE UTIME 2020 x", true),
            (&["SITE"], "SITE WHO", true),
            (&["SITE COPY"], "SITE  CPFR x", true),
            (&["SITE COPY"], "SITE WHO", false),
            (&["SITE COPY"], "SITE", false),
            (&["DELE"], "SITE RMDIR x", true),
            (&["SITE CHMOD"], "MFF UNIX.mode=0777; x", true),
            (&["SITE CHMOD"], "MFF modify=20260101000000;unix.mode=0777; x", true),
            (&["SITE CHMOD"], "MFF modify=20260101000000; x", false),
            (&["MFMT"], "MFF Modify=20260101000000; x", true),
            (&["MFCT"], "MFF Create=20260101000000; x", true),
            (&["MFMT"], "MDTM 20260101000000 x", true),
            (&["MFMT"], "MDTM x", false),
            (&["LIST"], "STAT /", true),
            (&["LIST"], "STAT", false),
            (&[], "SITE WHO", false),
        ] {
            assert_eq!(off(disabled, line), is, "{disabled:?} {line}");
        }
    }

    #[test]
    fn only_some() {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let off = switched_off(&owned(&["RETR", "LIST", "SITE WHO"]), &owned(&["PORT"]));
        for (line, is) in [
            ("RETR x", false),
            ("LIST", false),
            ("QUIT", false),
            ("PASV", false),
            ("SITE WHO", false),
            ("STAT", false),
            ("SITE CHMOD 1 x", true),
            ("PORT 1,2,3,4,5,6", true),
            ("CWD x", true),
            ("XCUP", true),
            ("PWD", true),
            ("STOR x", true),
            ("MLSD", true),
            ("XMD5 x", true),
        ] {
            assert_eq!(is_off(&off, line.as_bytes()), is, "{line}");
        }
        // Whoever may only fetch is told nothing of what there is.
        let off = switched_off(&owned(&["RETR"]), &[]);
        assert!(is_off(&off, b"STAT /") && !is_off(&off, b"STAT"));
        assert_eq!(switched_off(&[], &owned(&["CWD"])), ["CWD"]);
        assert!(switched_off(&[], &[]).is_empty());
    }
}
