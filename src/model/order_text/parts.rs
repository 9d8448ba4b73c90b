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
    split_indices(text).into_iter().map(|(_, piece)| piece).collect()
}

/// The same, each with the byte at which it begins.
pub fn split_indices(text: &str) -> Vec<(usize, &str)> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b';')) {
        return vec![(0, text)];
    }
    let mut pieces = Vec::new();
    for (at, line) in cut(0, text, is_line_end) {
        // A URL may hold a comma or a semicolon.
        let is_url = line.matches("://").count() == 1 && !line.contains(is_blank);
        for (at, field) in if is_url { vec![(at, line)] } else { cut(at, line, is_comma) } {
            let mut words = cut(at, field, is_blank);
            words.retain(|(_, word)| word.contains(char::is_alphanumeric));
            if words.len() > 1 && words.iter().all(|(_, word)| word.contains(char::is_numeric)) {
                pieces.extend(words);
            } else {
                pieces.push((at, field));
            }
        }
    }
    pieces
}

/// What lies between the separators, without blanks around it, each with the byte at which it begins in the whole text.
fn cut(start: usize, text: &str, is_separator: fn(char) -> bool) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let mut at = start;
    for piece in text.split_inclusive(is_separator) {
        let bare = piece.trim_end_matches(is_separator).trim_end_matches(is_blank);
        let begun = bare.trim_start_matches(is_blank);
        if !begun.is_empty() {
            pieces.push((at + bare.len() - begun.len(), begun));
        }
        at += piece.len();
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
    // An ID may hold what separates words elsewhere, so larger parts come first.
    let words: Vec<&str> = rest.split(is_blank).filter(|word| !word.is_empty()).collect();
    let ends = (1..words.len()).rev().take(MOST_WORDS).map(|first| words[first..].join(" "));
    // `Order#1001`, `#1001#1002`: a # begins an ID.
    let by_hash = words.iter().rev().flat_map(|word| word.split('#').skip(1).map(|rest| format!("#{rest}")));
    let finer = words.iter().rev().flat_map(|word| word.rsplit(is_between)).take(MOST_WORDS).map(str::to_owned);
    let finer = finer.chain(by_hash.take(MOST_WORDS));
    for part in ends.chain(words.iter().rev().take(MOST_WORDS).map(|word| (*word).to_owned())).chain(finer) {
        let part = part.trim_matches(is_around);
        if !part.is_empty() && part != text && parts.iter().all(|other: &Part| other.text != part) {
            parts.push(Part { text: part.to_owned(), because: A_PART });
        }
    }
    parts
}

/// Whether a URL stands in the text. The ID in a shop's URL is often not the order's own, so its absence proves nothing.
pub fn has_url(text: &str) -> bool {
    text.contains('/') && text.split(is_blank).any(|word| url_in(word).is_some())
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
