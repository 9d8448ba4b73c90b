//! Parts of a text that may be an order ID: the IDs of a list, the words of a sentence, the pieces of a shop's URL.

use percent_encoding::percent_decode_str;
use url::Url;

use super::marks::is_blank;

/// A part of a text.
pub(super) struct Part {
    /// The part.
    pub(super) text: String,
    /// Which part it is, in words.
    pub(super) because: &'static str,
}

/// Words that are looked at, from the end: what comes last is likeliest the ID.
const MOST_WORDS: usize = 12;

const A_PART: &str = "a part of the text";
const END_OF_URL: &str = "the end of the URL";
const PART_OF_URL: &str = "a part of the URL";

/// The IDs of a list: what commas, semicolons, tabs and line ends separate, and blanks if every word has a digit. One piece
/// if the text is no list. Pieces have no blanks around them, and none is empty.
pub fn split(text: &str) -> Vec<&str> {
    if text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b';')) {
        return Some(text).filter(|text| !text.is_empty()).into_iter().collect();
    }
    let mut pieces = Vec::new();
    for line in text.split(is_line_end) {
        // A URL may hold a comma or a semicolon.
        let fields: Vec<&str> = if line.matches("://").count() == 1 && !line.trim_matches(is_blank).contains(is_blank) {
            vec![line]
        } else {
            line.split(is_comma).collect()
        };
        for field in fields.into_iter().map(|field| field.trim_matches(is_blank)).filter(|field| !field.is_empty()) {
            let words: Vec<&str> = field.split(is_blank).filter(|word| word.contains(char::is_alphanumeric)).collect();
            if words.len() > 1 && words.iter().all(|word| word.contains(char::is_numeric)) {
                pieces.extend(words);
            } else {
                pieces.push(field);
            }
        }
    }
    pieces
}

/// A tab, or an end of a line in any form that Unicode has.
fn is_line_end(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Commas and semicolons, those of other scripts included.
fn is_comma(c: char) -> bool {
    matches!(
        c,
        ',' | ';'
            | '\u{60c}'
            | '\u{61b}'
            | '\u{3001}'
            | '\u{ff0c}'
            | '\u{ff1b}'
            | '\u{ff64}'
            | '\u{fe50}'
            | '\u{fe51}'
            | '\u{fe54}'
    )
}

/// Every part that may be an order ID. Expects a text without marks, in ordinary characters.
pub(super) fn of(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = String::new();
    for word in text.split(is_blank) {
        match url_in(word) {
            Some(url) => of_url(&url, &mut parts),
            None => rest = format!("{rest} {word}"),
        }
    }
    let words: Vec<&str> = rest.split(|c: char| is_blank(c) || is_between(c)).filter(|word| !word.is_empty()).collect();
    if words.len() == 1 && words[0] == text {
        return parts;
    }
    let texts =
        words.iter().rev().take(MOST_WORDS).map(|word| word.trim_matches(is_around)).filter(|word| !word.is_empty());
    parts.extend(texts.map(|word| Part { text: word.to_owned(), because: A_PART }));
    parts
}

/// What separates words beside blanks.
fn is_between(c: char) -> bool {
    is_comma(c) || matches!(c, '|' | '/' | '\\' | ':' | '=' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '&' | '"')
}

fn is_around(c: char) -> bool {
    c != '#' && !c.is_alphanumeric()
}

/// The URL that a word holds, also without its scheme.
fn url_in(word: &str) -> Option<Url> {
    let word = word.trim_matches(|c: char| matches!(c, '<' | '>' | '(' | ')' | '"' | '\'' | ',' | '.'));
    if let Some(at) = word.find("://") {
        let scheme = word[..at].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |before| before + 1);
        return word.get(scheme..).and_then(|url| Url::parse(url).ok());
    }
    // `shop.example/orders/1001`, but not `2024/1001`.
    let host = word.split_once('/')?.0;
    let is_host = host.contains('.') && host.chars().any(char::is_alphabetic);
    is_host.then(|| Url::parse(&format!("https://{word}")).ok()).flatten()
}

fn of_url(url: &Url, parts: &mut Vec<Part>) {
    let mut add = |text: &str, because| {
        let decoded = percent_decode_str(text).decode_utf8_lossy().trim_matches(is_blank).to_owned();
        if !decoded.is_empty() {
            parts.push(Part { text: decoded, because });
        }
    };
    if let Some(fragment) = url.fragment() {
        // A # that belongs to the ID begins a fragment.
        add(&format!("#{fragment}"), END_OF_URL);
        add(fragment.rsplit(['/', '=']).next().unwrap_or(fragment), END_OF_URL);
    }
    let path: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    for (back, segment) in path.iter().rev().take(MOST_WORDS).enumerate() {
        add(segment, if back == 0 { END_OF_URL } else { PART_OF_URL });
        if back == 0
            && let Some((name, _extension)) = segment.rsplit_once('.')
        {
            // `1001.json` is order 1001 at some shops.
            add(name, PART_OF_URL);
        }
    }
    for (_, value) in url.query_pairs().take(MOST_WORDS) {
        let value = value.trim_matches(is_blank);
        if !value.is_empty() {
            parts.push(Part { text: value.to_owned(), because: PART_OF_URL });
        }
    }
}
