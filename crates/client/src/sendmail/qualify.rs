//! Addresses without a domain, as people and cron write them on one machine: they get one.

/// The addresses of a header field, each of those without a domain completed; everything else stays as it is.
pub(super) fn qualify(value: &str, domain: &str) -> String {
    let mut out = String::with_capacity(value.len() + 16);
    let mut rest = value;
    while !rest.is_empty() {
        let (element, end) = next(rest);
        rest = rest.get(element.len() + end.len()..).unwrap_or_default();
        if end == ":" {
            // The name of a group.
            out.push_str(element);
        } else {
            one(element, domain, &mut out);
        }
        out.push_str(end);
    }
    out
}

/// Takes the text up to a comma, colon or semicolon that stands for itself, and that.
fn next(text: &str) -> (&str, &str) {
    let mut state = Walk::default();
    for (at, c) in text.char_indices() {
        if state.step(c) && matches!(c, ',' | ':' | ';') && !state.angle {
            return (text.get(..at).unwrap_or(text), text.get(at..at + 1).unwrap_or_default());
        }
    }
    (text, "")
}

fn one(element: &str, domain: &str, out: &mut String) {
    let mut state = Walk::default();
    let mut angle: Option<(usize, usize)> = None;
    // The words outside of comments: where the first one ends, and how many there are.
    let (mut words, mut end, mut in_word, mut has_at) = (0, 0, false, false);
    for (at, c) in element.char_indices() {
        let was_quoted = state.quoted;
        let plain = state.step(c);
        if plain && c == '<' && angle.is_none() {
            angle = Some((at + 1, element.len()));
        } else if plain
            && c == '>'
            && let Some((start, end)) = &mut angle
            && *end == element.len()
        {
            *end = at.max(*start);
        }
        let is_word = (plain && !c.is_whitespace()) || (state.comment == 0 && (state.quoted || was_quoted));
        if is_word && state.comment == 0 && c != ')' {
            words += usize::from(!in_word);
            in_word = true;
            end = at + c.len_utf8();
            has_at |= plain && c == '@';
        } else {
            in_word = false;
        }
    }
    let insert = match angle {
        Some((start, end)) => {
            let inside = element.get(start..end).unwrap_or_default();
            (!inside.contains('@') && !inside.trim().is_empty() && end < element.len()).then_some(end)
        }
        None => (words == 1 && !has_at).then_some(end),
    };
    match insert.and_then(|at| element.split_at_checked(at)) {
        Some((before, after)) => {
            out.push_str(before.trim_end());
            out.push('@');
            out.push_str(domain);
            out.push_str(after);
        }
        None => out.push_str(element),
    }
}

/// Walks through quoted strings, comments and angle brackets.
#[derive(Debug, Default)]
struct Walk {
    quoted: bool,
    comment: usize,
    angle: bool,
    escaped: bool,
}

impl Walk {
    /// Takes a character; whether it stands for itself, outside of quotes and comments.
    fn step(&mut self, c: char) -> bool {
        if std::mem::take(&mut self.escaped) {
            return false;
        }
        match c {
            '\\' if self.quoted || self.comment > 0 => self.escaped = true,
            '"' if self.comment == 0 => self.quoted = !self.quoted,
            '(' if !self.quoted => self.comment += 1,
            ')' if !self.quoted && self.comment > 0 => self.comment -= 1,
            '<' if !self.quoted && self.comment == 0 => {
                self.angle = true;
                return true;
            }
            '>' if !self.quoted && self.comment == 0 => {
                self.angle = false;
                return true;
            }
            _ => return !self.quoted && self.comment == 0,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_a_domain_get_one() {
        for (value, complete) in [
            ("root", "root@x.example"),
            ("root (Cron Daemon)", "root@x.example (Cron Daemon)"),
            ("bob, carol@y.example,dave", "bob@x.example, carol@y.example,dave@x.example"),
            (
                "Bob <bob>, \"Carol, C.\" <carol@y.example>",
                "Bob <bob@x.example>, \"Carol, C.\" <carol@y.example>",
            ),
            ("\"a b\"", "\"a b\"@x.example"),
            ("(only a comment)", "(only a comment)"),
            ("two words", "two words"),
            ("team: bob, carol; dave", "team: bob@x.example, carol@x.example; dave@x.example"),
            ("undisclosed-recipients:;", "undisclosed-recipients:;"),
            ("<>", "<>"),
            ("<bob >", "<bob@x.example>"),
            ("\"a@b\" <bob>", "\"a@b\" <bob@x.example>"),
            ("bob (at (home@x))", "bob@x.example (at (home@x))"),
            ("Bob <bob", "Bob <bob"),
            ("<@a,@b:c@d>", "<@a,@b:c@d>"),
            ("", ""),
            (" , ", " , "),
            ("bob\r\n (Bob),\r\n carol", "bob@x.example\r\n (Bob),\r\n carol@x.example"),
        ] {
            assert_eq!(qualify(value, "x.example"), complete, "{value}");
            assert_eq!(qualify(complete, "x.example"), complete, "{value}");
        }
    }
}
