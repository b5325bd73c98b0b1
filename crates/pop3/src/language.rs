//! The languages replies are written in (RFC 6856 section 3).

/// A language of the texts behind `+OK` and `-ERR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English: ASCII only, what every session begins with.
    #[default]
    English,
    /// German: only after the client asked for it, because it needs UTF-8.
    German,
}

impl Language {
    /// Every language there is, in the order they are listed.
    pub const ALL: [Language; 2] = [Language::English, Language::German];

    /// The RFC 5646 tag.
    pub fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::German => "de",
        }
    }

    /// What the language calls itself.
    pub fn name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::German => "Deutsch",
        }
    }

    /// The language for a basic language range, by the lookup of RFC 4647 section 3.4: `de-AT` finds `de`.
    ///
    /// The range `*` is not answered here, for it means what the administrator prefers.
    pub fn lookup(range: &str) -> Option<Language> {
        let primary = range.split('-').next().unwrap_or(range);
        let well_formed = range.split('-').all(|subtag| {
            (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        Language::ALL.into_iter().find(|language| well_formed && language.tag().eq_ignore_ascii_case(primary))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_find_their_language() {
        for (range, expected) in [
            ("en", Some(Language::English)),
            ("DE", Some(Language::German)),
            ("de-AT-1996", Some(Language::German)),
            ("deu", None),
            ("mul", None),
            ("", None),
            ("*", None),
            ("de-", None),
            ("de--x", None),
            ("de-waytoolongsubtag", None),
            ("dé", None),
        ] {
            assert_eq!(Language::lookup(range), expected, "{range}");
        }
    }
}
