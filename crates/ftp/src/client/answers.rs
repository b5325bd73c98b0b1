//! What is read out of replies.

use std::collections::BTreeMap;

use packetboat_wire::Reply;

use crate::command::PathName;

/// What FEAT has told (RFC 2389).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features(BTreeMap<String, Vec<String>>);

/// Features of a server that are kept.
const FEATURES_MAX: usize = 200;

impl Features {
    /// The lines between the first and the last.
    pub(super) fn read(reply: &Reply) -> Features {
        let mut features = Features::default();
        let lines: Vec<&str> = reply.lines().collect();
        let between = lines.get(1..lines.len().saturating_sub(1)).unwrap_or_default();
        for line in between.iter().take(FEATURES_MAX) {
            let (name, parameters) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            let known = features.0.entry(name.to_ascii_uppercase()).or_default();
            known.push(parameters.trim().to_owned());
        }
        features
    }

    /// Whether the server has it.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What stands behind it, such as `STREAM` behind REST.
    pub fn parameters(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether it stands there with this parameter among others, such as `AUTH TLS`.
    pub fn has_parameter(&self, name: &str, parameter: &str) -> bool {
        let words = |text: &str| text.split([' ', ';', ',']).any(|word| word.eq_ignore_ascii_case(parameter));
        self.parameters(name).any(words)
    }
}

/// The path in a 257: in quotation marks, of which one within is doubled (RFC 959 appendix II).
pub fn quoted_path(reply: &Reply) -> Option<PathName> {
    let (_, mut rest) = reply.text().split_once('"')?;
    let mut path = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        path.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                path.push('"');
                rest = more;
            }
            None => return PathName::new(path),
        }
    }
}

/// The name that STOU chose: `FILE: name` (RFC 1123 section 4.1.2.9).
pub fn unique_name(reply: &Reply) -> Option<PathName> {
    let (_, name) = reply.text().split_once("FILE: ")?;
    PathName::new(name.trim_end())
}

/// The two places of a 110: `MARK yyyy = mmmm` (RFC 959 section 4.1.3), this side's and the server's.
pub fn marker(reply: &Reply) -> Option<(String, String)> {
    let (ours, theirs) = reply.text().trim_start().strip_prefix("MARK ")?.split_once('=')?;
    Some((ours.trim().to_owned(), theirs.trim().to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::command::{read_epsv_answer, read_lpsv_answer, read_pasv_answer};

    #[test]
    fn addresses_in_the_ways_in_which_servers_write_them() {
        for (text, want) in [
            ("Entering Passive Mode (192,0,2,1,20,162)", Some("192.0.2.1:5282")),
            ("Entering Passive Mode. 192,0,2,1,20,162", Some("192.0.2.1:5282")),
            ("Entering Passive Mode =192,0,2,1,20,162.", Some("192.0.2.1:5282")),
            ("2 ways: (192,0,2,1,0,21).", Some("192.0.2.1:21")),
            ("(192,0,2,1,20)", None),
            ("(192,0,2,1,20,162,7)", None),
            ("(192,0,2,256,20,162)", None),
            ("(1192,0,2,1,20,162)", None),
            ("", None),
        ] {
            assert_eq!(read_pasv_answer(text).map(|at| at.to_string()).as_deref(), want, "{text}");
        }
        for (text, want) in [
            ("Entering Extended Passive Mode (|||5282|)", Some(5282)),
            ("ok (!!!1!)", Some(1)),
            ("(|1|192.0.2.1|5282|)", Some(5282)),
            ("(|||0|)", None),
            ("(|||65536|)", None),
            ("(||5282|)", None),
            ("|||5282|", None),
            ("()", None),
        ] {
            assert_eq!(read_epsv_answer(text), want, "{text}");
        }
        assert_eq!(read_lpsv_answer("x (4,4,192,0,2,1,2,20,162)").unwrap().to_string(), "192.0.2.1:5282");
        assert_eq!(read_lpsv_answer("x (4,4,192,0,2,1,20,162)"), None);
    }

    #[test]
    fn paths_names_and_markers() {
        let path = |text: &'static str| quoted_path(&Reply::new(257, text)).map(|path| path.to_text());
        assert_eq!(path("\"/some\" is the current directory").as_deref(), Some("/some"));
        assert_eq!(path("\"/a \"\"b\"\"\" created").as_deref(), Some("/a \"b\""));
        assert_eq!(path("\"\""), None);
        assert_eq!(path("\"open"), None);
        let unique = |text: &'static str| unique_name(&Reply::new(150, text)).map(|path| path.to_text());
        assert_eq!(unique("FILE: unique.1").as_deref(), Some("unique.1"));
        assert_eq!(unique("Here it comes"), None);
        let places = |text: &'static str| marker(&Reply::new(110, text));
        assert_eq!(places("MARK 1000 = 1024"), Some(("1000".to_owned(), "1024".to_owned())));
        assert_eq!(places("MARK 1000"), None);
    }

    #[test]
    fn features_are_the_lines_between() {
        let lines = ["Extensions:", " REST STREAM", " mlst Type*;Size*;", " AUTH TLS;SSL", " UTF8", "End"];
        let features = Features::read(&Reply::multi(211, lines));
        assert!(features.has("UTF8") && features.has("MLST") && !features.has("END"));
        assert!(features.has_parameter("REST", "STREAM") && features.has_parameter("AUTH", "tls"));
        assert_eq!(features.parameters("MLST").collect::<Vec<_>>(), ["Type*;Size*;"]);
        assert_eq!(Features::read(&Reply::new(211, "no features")), Features::default());
    }
}
