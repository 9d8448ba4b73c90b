//! Loads a refund file and decodes it as UTF-8, UTF-16 or Windows-1252.
//!
//! The decoder tries Windows-1252 last, because any bytes are valid in it. The caller reports Windows-1252 to the user,
//! because a wrongly decoded order ID matches no order.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use jiff::Timestamp;

use crate::error::{Error, Kind, Result};

/// Maximum size of a refund file, in bytes.
const MAX_BYTES: u64 = 100 * 1024 * 1024;

const SAVE_AS: &str = "save it as \"CSV UTF-8 (comma delimited)\"";

#[derive(Debug, PartialEq, Eq)]
pub struct Text<'a> {
    /// The decoded text of the refund file. The decoder removes a byte order mark at the start of the text, and NUL and
    /// Ctrl-Z at its end.
    pub text: Cow<'a, str>,
    /// Whether an output file needs a byte order mark, without which a spreadsheet decodes it wrongly. An output file
    /// needs a byte order mark if the input file has one or is not UTF-8.
    pub bom: bool,
    /// The name of the refund file's encoding; `None` for UTF-8.
    pub encoding: Option<&'static str>,
}

/// Reads a whole refund file; `-` is standard input. Fails if the file is larger than 100 MiB.
pub fn load(path: &Path) -> Result<Vec<u8>> {
    load_at_most(path, MAX_BYTES)
}

fn load_at_most(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(most.saturating_add(1)).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        Error::new(Kind::Usage, format!("{} cannot be read: {error}", name_of(path)))
            .hint("check the path and who may read the file; - reads standard input")
    })?;
    if bytes.len() as u64 > most {
        return Err(Error::new(Kind::Usage, format!("{} is larger than {most} bytes", name_of(path)))
            .hint("split it into several files, each with the header"));
    }
    Ok(bytes)
}

/// Returns the modification time of a refund file, or `now` if that is earlier. Every refund in a file is older than
/// the file's modification time. Standard input counts as a file that was modified now.
pub fn written_at(path: &Path, now: Timestamp) -> Timestamp {
    let written = std::fs::metadata(path).and_then(|found| found.modified()).ok();
    written.and_then(|at| Timestamp::try_from(at).ok()).map_or(now, |at| at.min(now))
}

/// Returns the name of a refund file in messages.
pub fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Decodes the bytes of a refund file. Error messages call the file `name`. Fails if the content of the file is not
/// text.
pub fn decode<'a>(name: &str, bytes: &'a [u8]) -> Result<Text<'a>> {
    if let Some((what, hint)) = foreign(bytes) {
        return Err(Error::new(Kind::Usage, format!("{name} is {what}")).hint(hint));
    }
    let end = bytes.iter().rposition(|b| !matches!(b, 0 | 0x1a)).map_or(0, |last| last + 1);
    let (encoding, bom) = encoding_of(bytes, end);
    // In UTF-16, the second byte of the text's last character may be NUL.
    let end = if encoding == UTF_16LE { (end + end % 2).min(bytes.len()) } else { end };
    let (text, damaged) = encoding.decode_with_bom_removal(&bytes[..end]);
    let line = |at: Option<usize>| at.map_or(1, |at| line_of(text.as_bytes(), at));
    if damaged {
        let at = line(text.find(char::REPLACEMENT_CHARACTER));
        return Err(Error::new(Kind::Usage, format!("{name} is damaged {} text: line {at}", encoding.name()))
            .hint(format!("export it again and {SAVE_AS}")));
    }
    let control = |c: char| c == '\0' || (encoding == WINDOWS_1252 && ('\u{80}'..='\u{9f}').contains(&c));
    if let Some(at) = text.find(control) {
        let what = if text[at..].starts_with('\0') { "a NUL byte" } else { "a byte of an unknown encoding" };
        let line = line(Some(at));
        return Err(Error::new(Kind::Usage, format!("{name} has {what} in line {line}: it is no text")).hint(SAVE_AS));
    }
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches('\u{1a}')),
        Cow::Owned(text) => Cow::Owned(text.trim_end_matches('\u{1a}').to_owned()),
    };
    let is_utf8 = encoding == UTF_8;
    Ok(Text { text, bom: bom || !is_utf8, encoding: (!is_utf8).then(|| encoding.name()) })
}

/// Detects the encoding of a refund file. Returns the encoding, and whether a byte order mark declares it.
fn encoding_of(bytes: &[u8], end: usize) -> (&'static Encoding, bool) {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return (encoding, true);
    }
    // In UTF-16, every second byte of Latin letters is zero. UTF-8 and Windows-1252 texts have no zero bytes.
    let head = &bytes[..end.min(64)];
    let zeros = |parity: usize| head.iter().skip(parity).step_by(2).filter(|b| **b == 0).count();
    let pairs = head.len() / 2;
    let encoding = match (zeros(0) * 2 >= pairs.max(1), zeros(1) * 2 >= pairs.max(1)) {
        (false, true) if head.len() >= 4 => UTF_16LE,
        (true, false) if head.len() >= 4 => UTF_16BE,
        _ if std::str::from_utf8(&bytes[..end]).is_ok() => UTF_8,
        _ => WINDOWS_1252,
    };
    (encoding, false)
}

/// Recognises workbooks, archives and PDFs by their first bytes. Returns the file's kind and what the user should do.
fn foreign(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let head = &bytes[..bytes.len().min(64)];
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"\xd0\xcf\x11\xe0") {
        return Some((
            "a workbook, not CSV",
            "open it in the spreadsheet and save it as \"CSV UTF-8 (comma delimited)\"",
        ));
    }
    if head.starts_with(b"\x1f\x8b") {
        return Some(("compressed", "unpack it first: gunzip -c OLD.gz > NEW"));
    }
    if head.starts_with(b"%PDF-") {
        return Some(("a PDF, not CSV", "export the list as CSV"));
    }
    None
}

/// Returns the number of the line that contains the byte at `offset`, from 1.
fn line_of(bytes: &[u8], offset: usize) -> u64 {
    1 + line_ends(bytes, 0, offset)
}

/// Returns the number of line ends between two offsets. `\r\n` counts as one line end.
pub(super) fn line_ends(bytes: &[u8], from: usize, to: usize) -> u64 {
    let mut ends = 0;
    for at in from..to.min(bytes.len()) {
        let second_half = bytes[at] == b'\n' && at > 0 && bytes[at - 1] == b'\r';
        if bytes[at] == b'\r' || (bytes[at] == b'\n' && !second_half) {
            ends += 1;
        }
    }
    ends
}

/// Maps byte offsets of a text to line numbers. Callers must pass the byte offsets in increasing order.
pub(super) struct LineCounter<'a> {
    bytes: &'a [u8],
    offset: usize,
    line: u64,
}

impl<'a> LineCounter<'a> {
    pub(super) fn new(text: &'a str, first_line: u64) -> Self {
        Self { bytes: text.as_bytes(), offset: 0, line: first_line }
    }

    /// Returns the line number of the first byte at or after `offset` that is not part of a line end.
    pub(super) fn line_at(&mut self, offset: usize) -> u64 {
        let offset = offset.min(self.bytes.len());
        let start = offset + self.bytes[offset..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        self.line += line_ends(self.bytes, self.offset, start);
        self.offset = start.max(self.offset);
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_of_spreadsheets_are_decoded() {
        let table = "order_id;Währung\r\n#1001;€\r\n";
        let le: Vec<u8> = table.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = table.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let (cp1252, _, _) = WINDOWS_1252.encode(table);
        for (bytes, encoding) in [
            (table.as_bytes().to_vec(), None),
            ([b"\xef\xbb\xbf", table.as_bytes()].concat(), None),
            ([b"\xff\xfe".as_slice(), &le].concat(), Some("UTF-16LE")),
            ([b"\xfe\xff".as_slice(), &be].concat(), Some("UTF-16BE")),
            (le.clone(), Some("UTF-16LE")),
            (be, Some("UTF-16BE")),
            (cp1252.into_owned(), Some("windows-1252")),
        ] {
            for tail in [b"".as_slice(), b"\0\0", b"\x1a"] {
                if tail == b"\x1a" && encoding.is_some_and(|name| name.starts_with("UTF-16")) {
                    continue;
                }
                let bytes = [bytes.as_slice(), tail].concat();
                let read = decode("x", &bytes).expect("text");
                assert_eq!((read.text.as_ref(), read.encoding), (table, encoding), "{tail:?}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_text_is_refused_with_a_hint() {
        for (bytes, says) in [
            (b"PK\x03\x04....".as_slice(), "workbook"),
            (b"\xd0\xcf\x11\xe0", "workbook"),
            (b"\x1f\x8b\x08", "compressed"),
            (b"%PDF-1.7", "PDF"),
            (b"order_id,reason\r\n1,x\r\n2,caf\x81\r\n", "line 3"),
            (b"order_id,reason for refunding\n1,this one has a \0 in it", "line 2"),
            (b"\xff\xfeo\0r\0\x00\xd8x\0", "damaged"),
        ] {
            let error = decode("refunds.csv", bytes).expect_err(says);
            assert!(error.message.starts_with("refunds.csv ") && error.message.contains(says), "{error}");
            assert!(error.kind == Kind::Usage && error.hint.is_some(), "{error:?}");
        }
        assert_eq!(decode("x", b"").expect("text").text, "");
        assert_eq!(decode("x", b"\0\0\x1a").expect("text").text, "");
    }

    #[test]
    fn a_file_that_is_too_large_or_missing_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        io::Write::write_all(&mut file, b"12345").expect("written");
        assert_eq!(load_at_most(file.path(), 5).expect("read"), b"12345");
        assert!(load_at_most(file.path(), 4).expect_err("too large").message.contains("larger than 4 bytes"));
        let missing = file.path().with_extension("missing");
        assert!(load_at_most(&missing, 5).expect_err("missing").message.contains("cannot be read"));
    }

    #[test]
    fn crlf_ends_one_line() {
        let bytes = b"a\r\nb\nc\rd\r\n\r\ne";
        let lines: Vec<u64> =
            b"abcde".iter().map(|c| line_of(bytes, bytes.iter().position(|b| b == c).expect("in it"))).collect();
        assert_eq!(lines, [1, 2, 3, 4, 6]);
    }
}
