//! Finds the parts of a text that may be an order ID: the items of a list, the words of a phrase, or the segments of a shop's
//! URL.

use percent_encoding::percent_decode_str;
use url::Url;

use super::marks::is_blank;

pub(super) struct Part {
    pub(super) text: String,
    /// A description of the part's place in the text.
    pub(super) because: &'static str,
}

/// The largest number of words of a text that recoup tries, counted from the end, because the ID is mostly the last
/// word.
const MAX_WORDS: usize = 12;

const A_PART: &str = "a part of the text";
const END_OF_URL: &str = "the end of the URL";
const PART_OF_URL: &str = "a part of the URL";

/// Splits a list of order IDs at commas, semicolons, tabs and line ends. Also splits the list at blanks if every word
/// has a digit. Returns a text that is not a list as one piece. No returned piece is empty or has blanks around it.
pub fn split(text: &str) -> Vec<&str> {
    split_indices(text).into_iter().map(|(_, piece)| piece).collect()
}

/// Splits a list like [`split`], and returns each piece with its byte offset.
pub fn split_indices(text: &str) -> Vec<(usize, &str)> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b';')) {
        return vec![(0, text)];
    }
    let mut pieces = Vec::new();
    for (at, line) in cut(0, text, is_line_end) {
        // A URL may contain a comma or a semicolon.
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

/// Splits a text at separators and blanks. The function adds `start` to the byte offset of each piece.
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

/// Returns `true` if a character is a tab, or a line end of any kind in Unicode.
fn is_line_end(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Returns `true` if a character is a comma or a semicolon of any script.
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

/// Returns every part of a text that may be an order ID. The caller must first remove invisible marks and unusual
/// characters from the text.
pub(super) fn of(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = String::new();
    for word in text.split(is_blank) {
        match url_in(word) {
            Some(url) => of_url(&url, &mut parts),
            None => rest = format!("{rest} {word}"),
        }
    }
    // An order ID may contain a separator. Therefore longer parts of the text precede shorter parts.
    let words: Vec<&str> = rest.split(is_blank).filter(|word| !word.is_empty()).collect();
    let ends = (1..words.len()).rev().take(MAX_WORDS).map(|first| words[first..].join(" "));
    // A `#` begins an order ID, as in `Order#1001` and `#1001#1002`.
    let by_hash = words.iter().rev().flat_map(|word| word.split('#').skip(1).map(|rest| format!("#{rest}")));
    let finer = words.iter().rev().flat_map(|word| word.rsplit(is_between)).take(MAX_WORDS).map(str::to_owned);
    let finer = finer.chain(by_hash.take(MAX_WORDS));
    for part in ends.chain(words.iter().rev().take(MAX_WORDS).map(|word| (*word).to_owned())).chain(finer) {
        let part = part.trim_matches(is_around);
        if !part.is_empty() && part != text && parts.iter().all(|other: &Part| other.text != part) {
            parts.push(Part { text: part.to_owned(), because: A_PART });
        }
    }
    parts
}

/// Returns `true` if the text contains a URL. The ID in a shop's URL is often not the order ID. Therefore an unknown ID
/// in a URL proves nothing.
pub fn has_url(text: &str) -> bool {
    text.contains('/') && text.split(is_blank).any(|word| url_in(word).is_some())
}

/// Returns `true` if a character separates words like a blank.
fn is_between(c: char) -> bool {
    is_comma(c) || matches!(c, '|' | '/' | '\\' | ':' | '=' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '&' | '"')
}

fn is_around(c: char) -> bool {
    c != '#' && !c.is_alphanumeric()
}

/// Parses the URL in a word, even if it has no scheme.
fn url_in(word: &str) -> Option<Url> {
    let word = word.trim_matches(|c: char| matches!(c, '<' | '>' | '(' | ')' | '"' | '\'' | ',' | '.'));
    if let Some(at) = word.find("://") {
        let scheme = word[..at].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |before| before + 1);
        return word.get(scheme..).and_then(|url| Url::parse(url).ok());
    }
    // Accepts `shop.example/orders/1001` as a URL, but not `2024/1001`.
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
        // The URL parser mistakes the `#` of an order ID for the start of a fragment.
        add(&format!("#{fragment}"), END_OF_URL);
        add(fragment.rsplit(['/', '=']).next().unwrap_or(fragment), END_OF_URL);
    }
    let path: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    for (back, segment) in path.iter().rev().take(MAX_WORDS).enumerate() {
        add(segment, if back == 0 { END_OF_URL } else { PART_OF_URL });
        if back == 0
            && let Some((name, _extension)) = segment.rsplit_once('.')
        {
            // Some shops use the path `1001.json` for order 1001.
            add(name, PART_OF_URL);
        }
    }
    for (_, value) in url.query_pairs().take(MAX_WORDS) {
        let value = value.trim_matches(is_blank);
        if !value.is_empty() {
            parts.push(Part { text: value.to_owned(), because: PART_OF_URL });
        }
    }
}
