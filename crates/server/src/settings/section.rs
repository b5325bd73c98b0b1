//! How a section of the file is defined, once, with everything that is known of its keys.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Report};
use super::value::Value;

/// One key, as the example file and the manual show it.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    /// The default as TOML; empty if there is none.
    pub(super) default: String,
    pub(super) kind: &'static str,
}

/// A part of the file with keys of its own.
pub(super) trait Section: Sized + Default {
    /// Its header; empty for what stands before the first header.
    const NAME: &'static str;
    const DOC: &'static [&'static str];

    fn keys() -> Vec<Key>;

    /// Takes the value of `key`; `false` if there is no such key.
    fn take(&mut self, key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report<'_>) -> bool;
}

/// Declares a section: a struct, its defaults, its keys with their documentation, and how it is read.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $name:ident [$header:literal] {
            $($(#[doc = $key_doc:literal])+ $key:ident: $kind:ty = $default:expr $(, in $range:expr)?;)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[doc = $key_doc])+ pub $key: $kind,)+
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($key: $default,)+ }
            }
        }

        impl Section for $name {
            const NAME: &'static str = $header;
            const DOC: &'static [&'static str] = &[$($doc),+];

            fn keys() -> Vec<Key> {
                let defaults = $name::default();
                vec![$(Key {
                    name: stringify!($key),
                    doc: &[$($key_doc),+],
                    default: Value::write(&defaults.$key),
                    kind: <$kind as Value>::KIND,
                },)+]
            }

            fn take(&mut self, key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report<'_>) -> bool {
                match key {
                    $(stringify!($key) => {
                        let full = path($header, key);
                        let read = read_value(&full, value, report);
                        $(let read = read.and_then(|read| within(&full, read, $range, value.span(), report));)?
                        if let Some(read) = read {
                            self.$key = read;
                        }
                        true
                    })+
                    _ => false,
                }
            }
        }
    };
}
pub(super) use section;

/// The full name of a key.
pub(super) fn path(section: &str, key: &str) -> String {
    match section.trim_matches(['[', ']']) {
        "" => key.to_owned(),
        section => format!("{section}.{key}"),
    }
}

/// Reads one value, or reports why not.
pub(super) fn read_value<V: Value>(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    report: &mut Report<'_>,
) -> Option<V> {
    report.place(key, value.span());
    let read = V::read(value.get_ref());
    // A value without a place was made up by the parser where the file is no TOML, which is reported already.
    if read.is_none() && !value.span().is_empty() {
        let (wrong, kind) = V::wrong_item(value.get_ref()).unwrap_or((value, V::KIND));
        report.add(wrong.span(), key, format!("{} is not {kind}", shown(wrong.get_ref())));
    }
    read
}

/// A value as it was written, where that is short.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        other => format!("this {}", other.type_str()),
    }
}

/// The value if it lies in the range, or a report that it does not.
pub(super) fn within<V: Value + PartialOrd>(
    key: &str,
    value: V,
    range: RangeInclusive<V>,
    span: Range<usize>,
    report: &mut Report<'_>,
) -> Option<V> {
    if range.contains(&value) {
        return Some(value);
    }
    let (least, most) = (range.start().write(), range.end().write());
    report.add(span, key, format!("{} is out of range; use {least} to {most}", value.write()));
    None
}

/// Reads a whole section.
pub(super) fn read_section<S: Section>(table: &DeTable<'_>, known: &Known, report: &mut Report<'_>) -> S {
    let mut section = S::default();
    for (key, value) in table {
        if !section.take(key.get_ref(), value, report) {
            let full = path(S::NAME, key.get_ref());
            report.add(key.span(), &full, known.advice(S::NAME, key.get_ref()));
        }
    }
    section
}

/// All keys of all sections, to help with those that are not.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) sections: Vec<(&'static str, &'static [&'static str], Vec<Key>)>,
}

impl Known {
    pub(super) fn with<S: Section>(mut self) -> Known {
        self.sections.push((S::NAME, S::DOC, S::keys()));
        self
    }

    /// What to do about a key that is not known.
    pub(super) fn advice(&self, section: &str, key: &str) -> String {
        let elsewhere = self
            .sections
            .iter()
            .find(|(name, _, keys)| *name != section && keys.iter().any(|known| known.name == key));
        match elsewhere {
            Some(("", ..)) => return "this key stands before the first [section]".to_owned(),
            Some((name, ..)) => return format!("this key belongs to [{name}]"),
            None => {}
        }
        let names = self.sections.iter().filter(|(name, ..)| *name == section);
        let names: Vec<&str> = names.flat_map(|(_, _, keys)| keys.iter().map(|key| key.name)).collect();
        unknown("key", key, &names)
    }

    /// What to do about a section that is not known.
    pub(super) fn section_advice(&self, section: &str) -> String {
        let mut names: Vec<&str> =
            self.sections.iter().map(|(name, ..)| name.trim_matches(['[', ']'])).collect();
        names.retain(|name| !name.is_empty());
        unknown("section", section, &names)
    }
}

fn unknown(what: &str, given: &str, names: &[&str]) -> String {
    let likeness = |name: &&&str| (strsim::jaro_winkler(given, name) * 1000.0) as u64;
    match names.iter().max_by_key(likeness) {
        Some(name) if likeness(&name) >= 800 => format!("unknown {what}; did you mean `{name}`?"),
        _ => format!("unknown {what}; there are {}", names.join(", ")),
    }
}

/// Where each key stood.
pub(super) type Places = HashMap<String, Range<usize>>;

impl<'s> Report<'s> {
    pub(super) fn place(&mut self, key: &str, span: Range<usize>) {
        self.places.insert(key.to_owned(), span);
    }

    /// Reports a problem with a key that was read well, or that is missing.
    pub(super) fn add_about(&mut self, key: &str, message: String) {
        let span = self.places.get(key).cloned().unwrap_or(0..0);
        self.add(span, key, message);
    }

    /// Drops what stands in the line of the problem reported last, or further down.
    pub(super) fn cut_after_last(&mut self) {
        if let Some(last) = self.problems.pop() {
            self.problems.retain(|problem| problem.line < last.line);
            self.problems.push(last);
        }
    }

    pub(super) fn add(&mut self, span: Range<usize>, key: &str, message: String) {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.problems.push(Problem { line, column, key: key.to_owned(), message });
    }
}
