//! From bytes to text: what kind of file it is, and where it is no text.
//!
//! Only UTF-8 is read. Anything else is refused with its line and with how to save it: a file read in the wrong encoding has
//! order IDs that nobody has.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::{Error, Kind, Result};

/// The largest file that is read, in bytes.
pub const MOST_BYTES: u64 = 100 * 1024 * 1024;

const SAVE_AS: &str = "save it as \"CSV UTF-8 (comma delimited)\"";

/// What a file says, without its byte order mark.
#[derive(Debug, PartialEq, Eq)]
pub struct Text<'a> {
    /// The text.
    pub text: &'a str,
    /// Whether a byte order mark stood in front.
    pub bom: bool,
}

/// Reads a file whole, `-` from standard input. At most `most` bytes.
pub fn load(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(most.saturating_add(1)).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut bytes))
    };
    read.map_err(|error| Error::new(Kind::Usage, format!("{} cannot be read: {error}", name_of(path))))?;
    if bytes.len() as u64 > most {
        return Err(Error::new(Kind::Usage, format!("{} is larger than {most} bytes", name_of(path)))
            .hint("split it into several files, each with the header"));
    }
    Ok(bytes)
}

/// How a file is called in messages.
pub fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// The text of a file that `name` calls; an error where it is not UTF-8 text.
pub fn decode<'a>(name: &str, bytes: &'a [u8]) -> Result<Text<'a>> {
    if let Some((what, hint)) = foreign(bytes) {
        return Err(Error::new(Kind::Usage, format!("{name} is {what}")).hint(hint));
    }
    let (bytes, bom) = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) => (rest, true),
        None => (bytes, false),
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = line_of(bytes, error.valid_up_to());
        Error::new(Kind::Usage, format!("{name} is not UTF-8 text: line {line}"))
            .hint(format!("{SAVE_AS}, or convert it: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"))
    })?;
    if let Some(at) = text.find('\0') {
        let line = line_of(bytes, at);
        return Err(
            Error::new(Kind::Usage, format!("{name} has a NUL byte in line {line}: it is no text")).hint(SAVE_AS)
        );
    }
    Ok(Text { text, bom })
}

/// What else it is, by its first bytes, and what to do.
fn foreign(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let head = &bytes[..bytes.len().min(64)];
    // Every other byte of English in UTF-16 is zero, and none of any text in UTF-8.
    let is_wide = head.len() >= 4 && head.chunks(4).filter(|four| four.contains(&0)).count() * 2 >= head.len() / 4;
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") || is_wide {
        return Some((
            "UTF-16 text, not UTF-8",
            "a spreadsheet calls that \"Unicode text\": save it as \"CSV UTF-8 (comma delimited)\", or convert it: \
             iconv -f UTF-16 -t UTF-8 OLD > NEW",
        ));
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"\xd0\xcf\x11\xe0") {
        return Some((
            "a workbook, not CSV",
            "open it in the spreadsheet and save it as \"CSV UTF-8 (comma delimited)\"",
        ));
    }
    if head.starts_with(b"\x1f\x8b") {
        return Some(("compressed", "unpack it first: gunzip -c OLD.gz > NEW"));
    }
    None
}

/// The line, from 1, in which the byte at `offset` stands.
pub fn line_of(bytes: &[u8], offset: usize) -> u64 {
    1 + line_ends(bytes, 0, offset)
}

/// How many lines end between two offsets; `\r\n` is one end.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf8_text_is_refused_and_told_how() {
        let utf16: Vec<u8> = "order_id\r\n1".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [b"\xff\xfe".as_slice(), &utf16].concat();
        for (bytes, says) in [
            (utf16.as_slice(), "UTF-16"),
            (marked.as_slice(), "UTF-16"),
            (b"\xfe\xff\x00o", "UTF-16"),
            (b"PK\x03\x04....", "workbook"),
            (b"\xd0\xcf\x11\xe0", "workbook"),
            (b"\x1f\x8b\x08", "compressed"),
            (b"order_id,reason\r\n1,x\r\n2,caf\xe9\r\n", "line 3"),
            (b"order_id\rx\ry\xff", "line 3"),
            (b"order_id,reason for refunding\n1,this one has a \0 in it", "line 2"),
        ] {
            let error = decode("refunds.csv", bytes).expect_err(says);
            assert!(error.message.starts_with("refunds.csv ") && error.message.contains(says), "{error}");
            assert!(error.kind == Kind::Usage && error.hint.is_some(), "{error:?}");
        }
        assert_eq!(decode("x", b"\xef\xbb\xbfa").expect("text"), Text { text: "a", bom: true });
        assert_eq!(decode("x", b"").expect("text"), Text { text: "", bom: false });
    }

    #[test]
    fn a_file_that_is_too_large_or_not_there_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        io::Write::write_all(&mut file, b"12345").expect("written");
        assert_eq!(load(file.path(), 5).expect("read"), b"12345");
        assert!(load(file.path(), 4).expect_err("too large").message.contains("larger than 4 bytes"));
        let missing = file.path().with_extension("missing");
        assert!(load(&missing, 5).expect_err("missing").message.contains("cannot be read"));
    }

    #[test]
    fn a_line_ends_once() {
        let bytes = b"a\r\nb\nc\rd\r\n\r\ne";
        let lines: Vec<u64> =
            b"abcde".iter().map(|c| line_of(bytes, bytes.iter().position(|b| b == c).expect("in it"))).collect();
        assert_eq!(lines, [1, 2, 3, 4, 6]);
    }
}
