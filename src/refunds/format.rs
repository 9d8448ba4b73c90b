//! What a file looks like: CSV with which separator, or NDJSON; pure.
//!
//! The separator is the one that makes sense of the header. What was read in one form is written in the same one, so that a
//! spreadsheet opens the outcomes as it opened the refunds.

use std::path::Path;

use super::columns::{self, Column};
use crate::error::{Error, Kind, Result};

/// The separators that are tried, the likelier first.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Separated cells under a header.
    Csv(Dialect),
    /// One JSON object on each line.
    Ndjson,
}

/// What differs between one CSV file and another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Between two cells: `,`, `;`, tab or `|`.
    pub separator: u8,
    /// A byte order mark in front, without which some spreadsheets do not see UTF-8.
    pub bom: bool,
    /// Lines end in `\r\n`.
    pub crlf: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { separator: b',', bom: false, crlf: false }
    }
}

impl Format {
    /// The format of an output: by the ending of its name, else that of the input.
    pub fn of_output(path: Option<&Path>, input: Self) -> Self {
        let dialect = match input {
            Self::Csv(dialect) => dialect,
            Self::Ndjson => Dialect::default(),
        };
        let ending = path.and_then(Path::extension).map(std::ffi::OsStr::to_ascii_lowercase);
        match ending.as_ref().and_then(|ending| ending.to_str()) {
            Some("ndjson" | "jsonl") => Self::Ndjson,
            Some("csv") => Self::Csv(dialect),
            Some("tsv") => Self::Csv(Dialect { separator: b'\t', ..dialect }),
            _ => input,
        }
    }
}

/// The separator of a CSV text: the one under which the quotes of the header are sound and it names something that is known,
/// and of those the one with most cells.
pub fn sniff(text: &str) -> u8 {
    let score = |separator: &u8| {
        let (header, sound) = first_record(text, *separator);
        let known = header.iter().filter(|name| Column::of_name(name).is_some() || columns::is_own(name)).count();
        (sound, known > 0, header.len(), known)
    };
    // Of equals the last is taken, so the likelier come last.
    SEPARATORS.iter().rev().copied().max_by_key(score).unwrap_or(b',')
}

/// The cells, and whether the quotes around them are sound.
fn first_record(text: &str, separator: u8) -> (Vec<String>, bool) {
    let mut record = csv::StringRecord::new();
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(text.as_bytes());
    if !matches!(reader.read_record(&mut record), Ok(true)) {
        return (Vec::new(), false);
    }
    let end = reader.position().byte() as usize;
    let sound = text.get(..end).is_some_and(|header| check_quotes("", header, separator, 1).is_ok());
    (record.iter().map(str::to_owned).collect(), sound)
}

/// `sep=;`, which some spreadsheets write and obey as a first line: the separator, and the text below it.
pub fn declared(text: &str) -> Option<(u8, &str)> {
    let (line, rest) = text.split_once('\n')?;
    let line = line.trim_end_matches('\r').trim_matches('"');
    let [separator] = line.strip_prefix("sep=").or_else(|| line.strip_prefix("SEP="))?.as_bytes() else { return None };
    SEPARATORS.contains(separator).then_some((*separator, rest))
}

/// Refuses quotes that the CSV reader would make the best of: one that is never closed swallows the rest of the file, and
/// what follows a closing one would be glued to its cell. `first_line` is the number of the first line of `text`.
pub fn check_quotes(name: &str, text: &str, separator: u8, first_line: u64) -> Result<()> {
    let bytes = text.as_bytes();
    let wrong = |at: usize, what: &str| {
        let line = first_line + super::text::line_ends(bytes, 0, at);
        Err(Error::new(Kind::Usage, format!("{name} has {what} in line {line}"))
            .hint("a quote inside a cell is written twice, and its cell in quotes: \"5\"\" shelf\""))
    };
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'"' {
            let opened = at;
            at += 1;
            loop {
                match bytes[at..].iter().position(|b| *b == b'"') {
                    None => return wrong(opened, "a quote that is never closed"),
                    Some(length) if bytes.get(at + length + 1) == Some(&b'"') => at += length + 2,
                    Some(length) => break at += length + 1,
                }
            }
            if bytes.get(at).is_some_and(|b| *b != separator && *b != b'\r' && *b != b'\n') {
                return wrong(at, "text after a closing quote");
            }
        }
        // To the start of the next cell.
        at += bytes[at..]
            .iter()
            .position(|b| *b == separator || *b == b'\r' || *b == b'\n')
            .map_or(bytes.len(), |n| n + 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_is_the_one_that_makes_sense_of_the_header() {
        for (text, separator) in [
            ("order_id,amount\n1;2;3;4,5", b','),
            ("order_id;amount\n1;12,50", b';'),
            ("Order ID\tamount", b'\t'),
            ("order_id|amount", b'|'),
            ("order_id", b','),
            ("", b','),
            ("\"Order ID\";\"Note, long, very\";Amount", b';'),
            ("Order ID,\"a;b;c;d;e\",Amount", b','),
            ("Order ID;Note, long, very, very, long;Amount", b';'),
            ("\"Note\nof;two;lines\",order_id,reason", b','),
            ("id;name;note, a", b';'),
            ("\"order_id\"\t\";;;;\"", b'\t'),
        ] {
            assert_eq!(char::from(sniff(text)), char::from(separator), "{text:?}");
        }
    }

    #[test]
    fn a_declared_separator_is_obeyed() {
        assert_eq!(declared("sep=;\r\norder_id\n"), Some((b';', "order_id\n")));
        assert_eq!(declared("\"sep=,\"\nx"), Some((b',', "x")));
        for text in ["sep=;", "sep=x\ny", "sep=;;\ny", "order_id\nsep=;\n"] {
            assert_eq!(declared(text), None, "{text:?}");
        }
    }

    #[test]
    fn quotes_that_hide_rows_are_refused_with_their_line() {
        for (text, says) in [
            ("order_id,note\n1,\"x\n2,y\n", "never closed in line 2"),
            ("order_id,note\n1,\"5 inch,x\n2,\"foo\",y\n", "after a closing quote in line 3"),
            ("order_id\n\"1\" \n", "after a closing quote in line 2"),
        ] {
            let error = check_quotes("x.csv", text, b',', 1).expect_err(text);
            assert!(error.message.contains(says), "{error}");
        }
        for text in ["a,\"b \"\"c\"\"\"\r\n\"d\",5\" shelf\n\"\",\"\"", "", "\"\"", "a\n\n\"b\""] {
            check_quotes("x.csv", text, b',', 1).expect(text);
        }
    }

    #[test]
    fn outcomes_take_their_format_from_their_name() {
        let semicolons = Format::Csv(Dialect { separator: b';', bom: true, crlf: true });
        let of = |name: &str, input| Format::of_output(Some(Path::new(name)), input);
        assert_eq!(of("out.csv", semicolons), semicolons);
        assert_eq!(of("out", semicolons), semicolons);
        assert_eq!(of("out.NDJSON", semicolons), Format::Ndjson);
        assert_eq!(of("out.csv", Format::Ndjson), Format::Csv(Dialect::default()));
        assert_eq!(of("out.tsv", semicolons), Format::Csv(Dialect { separator: b'\t', bom: true, crlf: true }));
        assert_eq!(Format::of_output(None, Format::Ndjson), Format::Ndjson);
    }
}
