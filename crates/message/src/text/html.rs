//! What a reader sees of HTML, roughly: enough for a preview, not for display.

/// Takes the marks off HTML and appends the text, with a space for each mark and the commonest references resolved.
/// Stops when `out` has `room` octets.
pub fn strip(html: &str, room: usize, out: &mut String) {
    let mut rest = html;
    while out.len() < room
        && let Some(at) = rest.find(['<', '&'])
    {
        let (text, mark) = rest.split_at(at);
        out.push_str(text);
        rest = if mark.starts_with('<') { after_mark(mark, out) } else { after_reference(mark, out) };
    }
    if out.len() < room {
        out.push_str(rest);
    }
}

/// Goes behind a tag, a comment, or an element whose content is not shown.
fn after_mark<'a>(mark: &'a str, out: &mut String) -> &'a str {
    if let Some(comment) = mark.strip_prefix("<!--") {
        return comment.split_once("-->").map_or("", |(_, after)| after);
    }
    let name = mark.get(1..).unwrap_or_default();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
        out.push('<');
        return name;
    }
    let inside = tag_end(mark);
    for hidden in ["style", "script", "head", "title"] {
        let is_it = name.get(..hidden.len()).is_some_and(|start| start.eq_ignore_ascii_case(hidden));
        let next = name.as_bytes().get(hidden.len());
        if is_it && next.is_none_or(|octet| !octet.is_ascii_alphanumeric()) {
            return after_element(inside, hidden);
        }
    }
    // Words of two paragraphs are two, those with a bold letter one.
    let word: &str = name.trim_start_matches('/');
    let end = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
    let inline = ["b", "i", "u", "em", "strong", "span", "a", "font", "sub", "sup", "wbr", "code", "small"];
    if !inline.iter().any(|name| word.get(..end).is_some_and(|word| word.eq_ignore_ascii_case(name))) {
        out.push(' ');
    }
    inside
}

/// What follows a tag, whose quoted values may have a `>` in them.
fn tag_end(mark: &str) -> &str {
    let mut quote = None;
    for (at, octet) in mark.bytes().enumerate() {
        match (quote, octet) {
            (None, b'>') => return mark.get(at + 1..).unwrap_or_default(),
            (None, b'"' | b'\'') => quote = Some(octet),
            (Some(open), octet) if open == octet => quote = None,
            _ => {}
        }
    }
    ""
}

/// What follows the element of this name, once its content is skipped.
fn after_element<'a>(content: &'a str, name: &str) -> &'a str {
    let mut rest = content;
    while let Some((_, after)) = rest.split_once("</") {
        if after.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            return tag_end(after);
        }
        rest = after;
    }
    ""
}

fn after_reference<'a>(mark: &'a str, out: &mut String) -> &'a str {
    let inside = mark.get(1..).unwrap_or_default();
    let end = inside.bytes().take(12).position(|octet| octet == b';');
    let Some((name, after)) = end.and_then(|end| Some((inside.get(..end)?, inside.get(end + 1..)?))) else {
        out.push('&');
        return inside;
    };
    let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    let c = match name.strip_prefix('#') {
        Some(digits) => match digits.strip_prefix(['x', 'X']) {
            Some(digits) => number(digits, 16),
            None => number(digits, 10),
        },
        None => NAMES.iter().find(|(known, _)| *known == name).map(|(_, c)| *c),
    };
    match c {
        // Marks that show nothing fill the previews of newsletters.
        Some('\u{200b}'..='\u{200d}' | '\u{ad}' | '\u{34f}' | '\u{feff}') => {}
        Some(c) if c.is_control() || c == '\u{a0}' => out.push(' '),
        Some(c) => out.push(c),
        None => {
            out.push('&');
            return inside;
        }
    }
    after
}

/// References by name that mail is full of.
const NAMES: [(&str, char); 41] = [
    ("nbsp", '\u{a0}'),
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("zwnj", '\u{200c}'),
    ("zwj", '\u{200d}'),
    ("shy", '\u{ad}'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("hellip", '…'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("bdquo", '„'),
    ("laquo", '«'),
    ("raquo", '»'),
    ("bull", '•'),
    ("middot", '·'),
    ("copy", '©'),
    ("reg", '®'),
    ("trade", '™'),
    ("euro", '€'),
    ("auml", 'ä'),
    ("ouml", 'ö'),
    ("uuml", 'ü'),
    ("Auml", 'Ä'),
    ("Ouml", 'Ö'),
    ("Uuml", 'Ü'),
    ("szlig", 'ß'),
    ("agrave", 'à'),
    ("eacute", 'é'),
    ("egrave", 'è'),
    ("ecirc", 'ê'),
    ("ccedil", 'ç'),
    ("ntilde", 'ñ'),
    ("aring", 'å'),
    ("oslash", 'ø'),
    ("ensp", ' '),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_fall_out() {
        for (html, text) in [
            ("plain", "plain"),
            ("<p>Hello <b>W</b>orld</p><p>x</p>", "Hello World x"),
            ("<!DOCTYPE html><title>x</title><script>alert('</p>')</script><p>.", "."),
            ("<style>a { b: c }</style >a<!-- <p> -- > -->b", "ab"),
            ("a < b &amp; c &lt;d&gt; &#228;&#xe4;&nbsp;&unknown; &", "a < b & c <d> ää &unknown; &"),
            ("<a title=\"x > y\" href='z'>link</a>", "link"),
            ("<p", ""),
            ("<!-- open", ""),
            ("<script>open", ""),
            ("a&#0;b", "a b"),
            ("<header>x</header>", "x"),
        ] {
            let mut out = String::new();
            strip(html, 1000, &mut out);
            assert_eq!(out.split_whitespace().collect::<Vec<_>>().join(" "), text, "{html}");
        }
        let mut out = String::new();
        strip(&"ab<p>".repeat(1000), 10, &mut out);
        assert!(out.len() < 20, "{out}");
    }
}
