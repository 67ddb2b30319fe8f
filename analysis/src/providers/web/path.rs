//! kubectl's JSONPath template to the JSONPath of RFC 9535.
//!
//! kubectl writes `{.a.b-c}` or `{$.a['b']}`; there, names may hold dashes and escaped dots (`{.labels.app\.io/name}`), which
//! the RFC allows in brackets only. Text around the braces, `range` and several templates are refused.

/// Longest accepted path.
const MAX_BYTES: usize = 1024;
/// Most `..`: each multiplies the work.
const MAX_DESCENTS: usize = 2;

/// A path to the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// As the user wrote it.
    pub(super) text: String,
    /// As the RFC writes it.
    pub(super) rfc: String,
}

/// Reads a path; empty means the whole answer.
pub(super) fn read(text: &str) -> Result<Path, String> {
    let text = if text.trim().is_empty() { "{$}" } else { text.trim() };
    if text.len() > MAX_BYTES {
        return Err(format!("{} bytes, at most {MAX_BYTES} are accepted", text.len()));
    }
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest
            .strip_suffix('}')
            .ok_or_else(|| format!("`{text}` lacks the closing brace"))?
            .trim(),
        None => text,
    };
    let rest = inner.strip_prefix('$').unwrap_or(inner);
    let rest = rest.strip_prefix('@').unwrap_or(rest);
    let mut rfc = String::from("$");
    let mut at = if rest == "." { "" } else { rest };
    // `{name}` is `{.name}`.
    if !at.is_empty() && !at.starts_with(['.', '[']) {
        at = name(at, &mut rfc)?;
    }
    while !at.is_empty() {
        if let Some(rest) = at.strip_prefix("..") {
            rfc.push_str("..");
            at = if rest.starts_with('[') { rest } else { name(rest, &mut rfc)? };
        } else if let Some(rest) = at.strip_prefix('.') {
            at = if rest.starts_with('[') { rest } else { name(rest, &mut rfc)? };
        } else if at.starts_with('[') {
            let end = bracket_end(at).ok_or_else(|| format!("`{text}` lacks a closing bracket"))?;
            rfc.push_str(&at[..=end]);
            at = &at[end + 1..];
        } else {
            return Err(format!("`{at}` in `{text}` is no step of a path"));
        }
    }
    if rfc.matches("..").count() > MAX_DESCENTS {
        return Err(format!("`{text}` has more than {MAX_DESCENTS} `..`"));
    }
    Ok(Path { text: text.to_owned(), rfc })
}

/// Takes one name, writes it as `['name']` or `[*]`, and returns the rest.
fn name<'t>(text: &'t str, rfc: &mut String) -> Result<&'t str, String> {
    let mut found = String::new();
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, character)) = characters.next() {
        match character {
            '.' | '[' => {
                end = at;
                break;
            }
            '\\' => found.extend(characters.next().map(|(_, escaped)| escaped)),
            '{' | '}' => return Err(format!("one template is accepted, found more in `{text}`")),
            _ => found.push(character),
        }
    }
    match found.as_str() {
        "" => return Err("a name is missing after `.`".to_owned()),
        "*" => rfc.push_str("[*]"),
        _ => {
            let quoted = found.replace('\\', "\\\\").replace('\'', "\\'");
            rfc.push_str(&format!("['{quoted}']"));
        }
    }
    Ok(&text[end..])
}

/// Returns where the bracket at the beginning closes, quotes and inner brackets aside.
fn bracket_end(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), found) if open == found => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') if depth == 1 => return Some(at),
            (None, ']') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn kubectls_paths_become_those_of_the_rfc() {
        let cases = [
            ("", "$"),
            ("{$}", "$"),
            ("{.}", "$"),
            ("{$.data.ok}", "$['data']['ok']"),
            ("{.data.error-rate}", "$['data']['error-rate']"),
            ("{.labels.app\\.io/name}", "$['labels']['app.io/name']"),
            ("{$.items[0].v}", "$['items'][0]['v']"),
            ("{$.items[*].v}", "$['items'][*]['v']"),
            ("{..v}", "$..['v']"),
            ("{$['a.b'][\"c]\"]}", "$['a.b'][\"c]\"]"),
            ("{.a[?(@.b=='x]')].c}", "$['a'][?(@.b=='x]')]['c']"),
            ("$.a", "$['a']"),
            ("{a.b}", "$['a']['b']"),
            ("{.a.*}", "$['a'][*]"),
        ];
        for (text, wanted) in cases {
            assert_eq!(read(text).map(|path| path.rfc).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_single_path_is_refused() {
        let long = format!("{{.{}}}", "a".repeat(2000));
        for text in
            ["{.a", "{.a}{.b}", "{range .a}{.b}{end}", "{.a[0}", "{..a..b..c}", &long, "{.a.}"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
