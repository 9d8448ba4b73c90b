//! Tests the order ID candidates of texts that people paste, as tables and as properties.

use proptest::prelude::*;

use super::*;

fn because<'a>(found: &'a [Candidate], text: &str) -> Option<&'a str> {
    found.iter().find(|candidate| candidate.text == text).map(|candidate| candidate.because.as_str())
}

#[test]
fn what_people_paste_leads_to_the_order_that_they_mean() {
    for (pasted, meant, because_of) in [
        ("1001\u{202c}", "1001", "without U+202C behind it"),
        ("\u{feff}1001", "1001", "without U+FEFF in front of it"),
        ("10\u{ad}01", "1001", "without U+00AD in it"),
        ("#1001", "1001", "without the # in front"),
        ("1001", "#1001", "with a # in front"),
        ("\u{ff11}\u{ff10}\u{ff10}\u{ff11}", "1001", "in ordinary characters"),
        ("\u{661}\u{660}\u{660}\u{661}", "1001", "in ordinary characters"),
        ("\u{ff03}1001", "#1001", "in ordinary characters"),
        ("1001 ", "1001", "without the blanks around it"),
        ("\u{a0}1001\u{3000}", "1001", "without the blanks around it"),
        ("\"#1001\"", "#1001", "without the quotes around it"),
        ("\u{201e}1001\u{201c}", "1001", "without the quotes around it"),
        ("\u{ab}1001\u{bb}", "1001", "without the quotes around it"),
        ("1001.", "1001", "without the punctuation around it"),
        ("(#1001),", "#1001", "without the punctuation around it"),
        ("=\"1001\"", "1001", "without the punctuation around it"),
        ("1001.0", "1001", "without .0 behind it"),
        ("1,001", "1001", "without the blanks and commas in it"),
        ("%231001", "#1001", "with its %-escapes read"),
        ("Order #1001", "#1001", "a part of the text"),
        ("Order #1001", "1001", "a part of the text, without the # in front"),
        ("Bestellung Nr. 1001.", "1001", "a part of the text"),
        ("order_id=1001", "1001", "a part of the text"),
        ("\u{2116}\u{a0}1001", "1001", "without the punctuation around it"),
        ("https://shop.example/account/orders/1001", "1001", "the end of the URL"),
        ("https://shop.example/orders/1001/", "1001", "the end of the URL"),
        ("https://shop.example/orders/1001?ref=mail#top", "1001", "the end of the URL"),
        ("https://shop.example/orders/#1001", "#1001", "the end of the URL"),
        ("https://shop.example/orders/%231001", "#1001", "the end of the URL"),
        ("https://shop.example/orders/1001/edit", "1001", "a part of the URL"),
        ("https://shop.example/wp-admin/post.php?post=1001&action=edit", "1001", "a part of the URL"),
        ("shop.example/orders/1001", "1001", "the end of the URL"),
        ("see https://shop.example/orders/1001.", "1001", "the end of the URL"),
        ("<https://shop.example/orders/1001>", "1001", "the end of the URL"),
    ] {
        let found = candidates(pasted);
        assert_eq!(because(&found, meant), Some(because_of), "{pasted:?}: {found:?}");
    }
}

#[test]
fn the_url_of_an_order_with_a_mark_leads_to_it() {
    let found = candidates("\u{202a}https://shop.example/orders/1001\u{202c}");
    let said = because(&found, "1001").expect("a candidate");
    assert!(said.starts_with("without U+202A in front of it and U+202C behind it"), "{said}");
}

#[test]
fn a_plain_order_id_has_one_candidate() {
    for id in ["1001", "ABC-1001", "SO_2024-1"] {
        let texts: Vec<String> = candidates(id).into_iter().map(|candidate| candidate.text).collect();
        assert_eq!(texts, [format!("#{id}")]);
        assert_eq!((invisible_marks(id), split(id)), (None, vec![id]));
    }
}

#[test]
fn lists_are_split_and_single_ids_are_not() {
    for (text, pieces) in [
        ("#1001, #1002", &["#1001", "#1002"][..]),
        ("1001;1002", &["1001", "1002"]),
        ("1001\t1002", &["1001", "1002"]),
        ("1001 1002  1003", &["1001", "1002", "1003"]),
        ("1001\u{2028}1002\u{2029}1003\u{85}1004\u{b}1005", &["1001", "1002", "1003", "1004", "1005"]),
        ("1001\u{3000}1002\u{a0}1003", &["1001", "1002", "1003"]),
        ("1001\u{ff0c}1002\u{3001}1003", &["1001", "1002", "1003"]),
        ("#1001 & #1002", &["#1001", "#1002"]),
        ("1001, Order #1002,", &["1001", "Order #1002"]),
        ("AB, CD", &["AB", "CD"]),
        ("Order #1001", &["Order #1001"]),
        ("1001", &["1001"]),
        (" 1001 ", &["1001"]),
        ("https://shop.example/a;b,c/1001", &["https://shop.example/a;b,c/1001"]),
        (
            "https://shop.example/1001, https://shop.example/1002",
            &["https://shop.example/1001", "https://shop.example/1002"],
        ),
        ("", &[]),
        (" \t,\n", &[]),
    ] {
        assert_eq!(split(text), pieces, "{text:?}");
    }
}

#[test]
fn every_mark_is_named_with_its_place() {
    for (text, said) in [
        ("1001", None),
        ("10 01 ", None),
        ("b\u{e4}r-1", None),
        ("\u{200b}10\u{200b}01\u{200b}", Some("U+200B in front of it, U+200B in it and U+200B behind it")),
        ("1001\u{a0}", Some("U+00A0 behind it")),
        ("\u{1}", Some("U+0001 alone")),
        ("10\u{7f}01", Some("U+007F in it")),
    ] {
        assert_eq!(invisible_marks(text).as_deref(), said, "{text:?}");
    }
    let seen: String = ('\u{200b}'..='\u{200f}')
        .chain('\u{202a}'..='\u{202e}')
        .chain('\u{2060}'..='\u{2069}')
        .chain([
            '\u{feff}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{e0100}',
            '\u{2800}',
            '\u{34f}',
        ])
        .filter(|c| invisible_marks(&format!("1{c}")).is_none())
        .collect();
    assert_eq!(seen, "", "{:?}", seen.escape_unicode().to_string());
}

#[test]
fn a_difference_is_described_in_words() {
    for (text, known, said) in [
        ("1001", "1001", ""),
        ("1001", "#1001", "with a # in front"),
        ("#1001", "1001", "without the # in front"),
        ("abc", "ABC", "with other upper and lower case letters"),
        ("1001", "001001", "with other zeros in front"),
        ("1001", "1001 ", "with other blanks"),
        ("1001", "10\u{200b}01", "the shop's own ID has U+200B in it"),
        ("abc", "#0ABC", "with a # in front, with other zeros in front, with other upper and lower case letters"),
    ] {
        assert_eq!(difference(text, known), said, "{text:?} {known:?}");
    }
}

#[test]
fn marks_are_written_out_where_a_person_reads_them() {
    for (text, shown) in
        [("1001", "1001"), ("10\u{202e}01\u{1b}", "10<U+202E>01<U+001B>"), ("b\u{e4}r 1", "b\u{e4}r 1")]
    {
        assert_eq!(visible(text), shown);
    }
}

#[test]
fn urls_and_addresses_are_told_from_order_ids() {
    for (text, url, email) in [
        ("1001", false, false),
        ("2024/1001", false, false),
        ("1001@shop", false, false),
        ("a@b.example", false, true),
        (" a@b.example ", false, true),
        ("Ann <a@b.example>", false, false),
        ("https://shop.example/orders/1001", true, false),
        ("see shop.example/orders/1001", true, false),
    ] {
        assert_eq!((has_url(text), is_email(text)), (url, email), "{text:?}");
    }
}

fn mark() -> impl Strategy<Value = char> {
    any::<char>().prop_filter("a mark", |c| marks::is_mark(*c)).boxed().prop_union(
        prop::sample::select(vec![
            '\u{200b}', '\u{202c}', '\u{2066}', '\u{feff}', '\u{ad}', '\u{3164}', '\u{fe0f}', '\u{0}',
        ])
        .boxed(),
    )
}

fn insert(id: &str, at: usize, c: char) -> String {
    let mut chars: Vec<char> = id.chars().collect();
    chars.insert(at.min(chars.len()), c);
    chars.into_iter().collect()
}

proptest! {
    #[test]
    fn a_mark_anywhere_in_an_id_still_leads_to_the_id(id in "\\PC{1,12}", marks in prop::collection::vec((0..12_usize, mark()), 1..4)) {
        prop_assume!(!id.contains(marks::is_mark));
        let pasted = marks.iter().fold(id.clone(), |text, (at, mark)| insert(&text, *at, *mark));
        prop_assert!(candidates(&pasted).iter().any(|candidate| candidate.text == id), "{pasted:?}");
        prop_assert!(invisible_marks(&pasted).is_some());
    }

    #[test]
    fn blanks_of_any_kind_around_an_id_still_lead_to_it(
        id in "[#A-Za-z0-9_-]{1,12}",
        blank in prop::sample::select(vec![' ', '\t', '\u{a0}', '\u{1680}', '\u{2003}', '\u{202f}', '\u{205f}', '\u{3000}', '\u{85}']),
    ) {
        for pasted in [format!("{blank}{id}"), format!("{id}{blank}"), format!("{blank}{id}{blank}{blank}")] {
            prop_assert!(candidates(&pasted).iter().any(|candidate| candidate.text == id), "{pasted:?}");
        }
    }

    #[test]
    fn candidates_are_never_the_text_itself_and_never_empty_and_each_is_one(text in any::<String>()) {
        let found = candidates(&text);
        for (n, candidate) in found.iter().enumerate() {
            prop_assert!(candidate.text != text && !candidate.text.is_empty() && !candidate.because.is_empty(), "{candidate:?}");
            prop_assert!(found[..n].iter().all(|other| other.text != candidate.text));
        }
        prop_assert!(found.len() <= MAX_CANDIDATES);
    }

    #[test]
    fn pieces_are_parts_of_the_text_and_never_empty(text in "([#0-9A-Za-z,;\t \u{a0}\u{2028}\u{200b}/:.&=%-]|\\PC){0,40}") {
        for piece in split(&text) {
            prop_assert!(!piece.is_empty() && text.contains(piece) && piece.trim() == piece);
        }
        candidates(&text);
    }

    #[test]
    fn what_suggestions_overlook_a_skeleton_overlooks(id in "[#0 a-cA-C1-3\u{e9}\u{c9}-]{0,8}") {
        prop_assert_eq!(skeleton(&id), skeleton(&OrderId::new(id.as_str()).folded()));
    }
}
