//! Choosing fields of a header: HEADER.FIELDS and HEADER.FIELDS.NOT (RFC 9051 section 6.4.5.1).

use memchr::memchr;

/// Octets of a line that are held until it is known whether its name is one of those wanted.
const HELD_MAX: usize = 1024;

/// Names of header fields, compared in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// In small letters and in order.
    names: Vec<Box<[u8]>>,
}

impl Names {
    /// Whether the name is one of them.
    pub fn has(&self, name: &[u8]) -> bool {
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

impl<N: AsRef<[u8]>> FromIterator<N> for Names {
    fn from_iter<I: IntoIterator<Item = N>>(names: I) -> Names {
        let mut names: Vec<Box<[u8]>> =
            names.into_iter().map(|name| name.as_ref().to_ascii_lowercase().into()).collect();
        names.sort_unstable();
        names.dedup();
        Names { names }
    }
}

/// Passes on the chosen fields of a header, in their order and octet by octet, while it streams by.
#[derive(Debug, Clone)]
pub struct Filter<'a> {
    names: &'a Names,
    /// What becomes of fields that have one of the names.
    passes: bool,
    state: State,
    /// Whether the field that goes on passes.
    passing: bool,
    /// The beginning of a line whose name is not known yet.
    held: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    LineStart,
    Name,
    Rest,
    Ended,
}

impl<'a> Filter<'a> {
    /// Passes the fields with these names: HEADER.FIELDS.
    pub fn fields(names: &'a Names) -> Filter<'a> {
        Filter { names, passes: true, state: State::LineStart, passing: false, held: Vec::new() }
    }

    /// Passes all but the fields with these names: HEADER.FIELDS.NOT.
    pub fn fields_not(names: &'a Names) -> Filter<'a> {
        Filter { passes: false, ..Filter::fields(names) }
    }

    /// Takes the next octets of the header and appends those that pass. Behind the empty line nothing passes.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let mut rest = chunk;
        while !rest.is_empty() {
            match self.state {
                State::Ended => return,
                State::LineStart if matches!(rest.first(), Some(b' ' | b'\t')) => self.state = State::Rest,
                State::LineStart => {
                    self.held.clear();
                    self.state = State::Name;
                }
                State::Name => rest = self.name(rest, out),
                State::Rest => {
                    let end = memchr(b'\n', rest).map(|found| found + 1);
                    let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
                    if self.passing {
                        out.extend_from_slice(line);
                    }
                    if end.is_some() {
                        self.state = State::LineStart;
                    }
                    rest = after;
                }
            }
        }
    }

    /// The header is over: appends the empty line that ends what was chosen. Clients wait for it even where the
    /// header had none.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.state == State::Name {
            self.decide(false, out);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Reads on to what ends a name.
    fn name<'b>(&mut self, rest: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
        let end = rest.iter().position(|octet| matches!(octet, b':' | b'\n'));
        let (part, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        let room = HELD_MAX.saturating_sub(self.held.len());
        let (held, over) = part.split_at(room.min(part.len()));
        self.held.extend_from_slice(held);
        if end.is_none() && over.is_empty() {
            return after;
        }
        if matches!(self.held.as_slice(), b"\n" | b"\r\n") {
            self.state = State::Ended;
            return &[];
        }
        self.decide(self.held.ends_with(b":"), out);
        if over.is_empty() && self.held.ends_with(b"\n") {
            self.state = State::LineStart;
        } else {
            self.state = State::Rest;
        }
        rest.get(held.len()..).unwrap_or_default()
    }

    fn decide(&mut self, is_field: bool, out: &mut Vec<u8>) {
        let name = self.held.strip_suffix(b":").filter(|_| is_field).map(<[u8]>::trim_ascii_end);
        let is_named = name.is_some_and(|name| self.names.has(name));
        self.passing = is_named == self.passes;
        if self.passing {
            out.extend_from_slice(&self.held);
        }
    }
}
