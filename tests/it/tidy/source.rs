//! Reads Rust source as text: removes comments and quoted text, and finds the modules that a file names.

use std::collections::BTreeSet;

/// One source file.
pub struct Source {
    /// The path of the file relative to `src`, with `/`.
    pub path: String,
    pub text: String,
    pub code: String,
    /// The quoted texts of the file.
    pub literals: Vec<String>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let (code, literals) = code_and_literals(text);
        Self { path: path.to_owned(), text: text.to_owned(), code, literals }
    }

    /// Returns the module as `lib.rs` lists it, which is the first part of the path.
    pub fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    pub fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || (place.ends_with('/') && self.path.starts_with(place)))
    }

    /// Returns `true` for `src/x.rs` and `src/x/mod.rs`, in which `super` is the crate.
    fn is_top(&self) -> bool {
        !self.path.contains('/') || self.path == format!("{}/mod.rs", self.module())
    }
}

/// Splits source into its text without comments and quotes, and its quoted texts.
fn code_and_literals(text: &str) -> (String, Vec<String>) {
    let bytes = text.as_bytes();
    let (mut code, mut literals) = (Vec::with_capacity(bytes.len()), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(b"//") {
            at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") {
            at += block_comment(rest);
        } else if rest[0] == b'"' || raw_string(rest, code.last().copied()).is_some() {
            let length = raw_string(rest, code.last().copied()).unwrap_or_else(|| quoted(rest, b'"'));
            code.extend_from_slice(b"\"\"");
            literals.push(String::from_utf8_lossy(&rest[..length]).into_owned());
            at += length;
        } else if rest[0] == b'\'' && is_char(rest) {
            code.extend_from_slice(b"\'\'");
            at += quoted(rest, b'\'');
        } else {
            code.push(rest[0]);
            at += 1;
        }
    }
    (String::from_utf8_lossy(&code).into_owned(), literals)
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Returns the length of a raw string `r"…"` or `r#"…"#` at the start of the text. The character `before` shows whether
/// the `r` is the end of an identifier.
fn raw_string(rest: &[u8], before: Option<u8>) -> Option<usize> {
    if rest[0] != b'r' || before.is_some_and(|b| (b.is_ascii_alphanumeric() && b != b'b') || b == b'_') {
        return None;
    }
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = &rest[2 + hashes..];
    let length = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len());
    Some((2 + hashes + length + end.len()).min(rest.len()))
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Returns `true` if the text begins with a character literal, and `false` for a lifetime.
fn is_char(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(b) if b.is_ascii() => rest.get(2) == Some(&b'\''),
        Some(_) => true,
        None => false,
    }
}

/// Returns `true` if the code contains the whole word: `use_stderr` does not contain `stderr`.
pub fn says(code: &str, word: &str) -> bool {
    let part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    code.match_indices(word).any(|(at, _)| {
        let before = at.checked_sub(1).map(|n| code.as_bytes()[n]);
        let after = code.as_bytes().get(at + word.len()).copied();
        let open_end = word.ends_with(|c: char| c.is_alphanumeric());
        before.is_none_or(|b| !part(b)) && (!open_end || after.is_none_or(|b| !part(b)))
    })
}

/// Returns the modules of the crate that a file names by `crate::…`, or by `super::…` if `super` is the crate.
pub fn named_modules(file: &Source) -> BTreeSet<String> {
    let mut roots = vec!["crate::"];
    if file.is_top() {
        roots.push("super::");
    }
    let mut names = BTreeSet::new();
    for root in roots {
        for (at, _) in file.code.match_indices(root) {
            let rest = file.code[at + root.len()..].trim_start();
            match rest.strip_prefix('{') {
                Some(list) => names.extend(heads_of(list)),
                None => names.extend(identifier(rest)),
            }
        }
    }
    names.retain(|name| name != file.module() && is_module(name));
    names
}

fn is_module(name: &str) -> bool {
    let src = super::root().join("src");
    src.join(format!("{name}.rs")).exists() || src.join(name).join("mod.rs").exists()
}

/// Returns the first name of each path in `a::{b, c}, d}`.
fn heads_of(list: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(identifier(list[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}
