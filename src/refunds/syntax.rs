//! The syntax of a refund file: CSV with its dialect, or NDJSON.
//!
//! An outcome file has the syntax of the refund file. Therefore a spreadsheet opens the refund file and the outcome
//! file in the same way.

use std::path::Path;

use crate::error::{Error, Kind, Result};

/// The CSV separators that recoup supports, most likely first.
pub(super) const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    Csv(Dialect),
    /// The file contains JSON objects. recoup writes an NDJSON file with one object per line.
    Ndjson,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The separator of the CSV file: `,`, `;`, tab or `|`.
    pub separator: u8,
    /// Whether the file starts with a byte order mark. Without a byte order mark, some spreadsheets do not recognise
    /// UTF-8.
    pub bom: bool,
    /// Whether each line of the CSV file ends in `\r\n`.
    pub crlf: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { separator: b',', bom: false, crlf: false }
    }
}

impl Syntax {
    /// Chooses the syntax of an output file by its extension. If the extension is unknown, the output file has the
    /// syntax of the input file.
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

/// Parses a first line of a CSV file such as `sep=;`, which some spreadsheets write. Returns the declared separator and
/// the text after that line.
pub fn declared(text: &str) -> Option<(u8, &str)> {
    let (line, rest) = text.split_once('\n')?;
    let line = line.trim_end_matches('\r').trim_matches('"');
    let [separator] = line.strip_prefix("sep=").or_else(|| line.strip_prefix("SEP="))?.as_bytes() else { return None };
    SEPARATORS.contains(separator).then_some((*separator, rest))
}

/// Fails on quotes that the CSV reader would accept silently. An unclosed quote swallows the rest of the file, and the
/// reader appends text after a closing quote to the cell. `first_line` is the line number at the start of `text`.
pub fn check_quotes(name: &str, text: &str, separator: u8, first_line: u64) -> Result<()> {
    let bytes = text.as_bytes();
    let wrong = |at: usize, what: &str| {
        let line = first_line + super::input::line_ends(bytes, 0, at);
        Err(Error::new(Kind::Usage, format!("{name} has {what} in line {line}"))
            .hint("write a quote inside a cell twice and put the cell in quotes: \"5\"\" shelf\""))
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
        // Advances to the next CSV cell.
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
    fn a_declared_separator_is_used() {
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
    fn the_file_extension_determines_the_output_syntax() {
        let semicolons = Syntax::Csv(Dialect { separator: b';', bom: true, crlf: true });
        let of = |name: &str, input| Syntax::of_output(Some(Path::new(name)), input);
        assert_eq!(of("out.csv", semicolons), semicolons);
        assert_eq!(of("out", semicolons), semicolons);
        assert_eq!(of("out.NDJSON", semicolons), Syntax::Ndjson);
        assert_eq!(of("out.csv", Syntax::Ndjson), Syntax::Csv(Dialect::default()));
        assert_eq!(of("out.tsv", semicolons), Syntax::Csv(Dialect { separator: b'\t', bom: true, crlf: true }));
        assert_eq!(Syntax::of_output(None, Syntax::Ndjson), Syntax::Ndjson);
    }
}
