//! Output of all commands: data on stdout, everything else on stderr, a progress bar on a terminal.
//!
//! Only this module prints. A command prints data either as text or as JSON, never both. `--quiet` suppresses notes and
//! progress, never data, warnings or errors. Printed text may contain data of the vendor or of a shop's file, so
//! stdout, stderr and the log escape line breaks and control characters: data cannot forge a line of a receipt.
//!
//! A failed write to stdout does not stop a command, because the command may be in the middle of a retraction. recoup
//! reports the first failure on stderr, prints no further data, and turns exit code 0 into 1. A closed pipe counts as
//! success, because its reader wants no more data.

#![expect(clippy::disallowed_methods, reason = "only the interval of progress lines depends on it")]

mod browser;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};

pub use browser::open_in_browser;

/// Interval of progress lines if stderr is not a terminal.
const PLAIN_PROGRESS_EVERY: Duration = Duration::from_secs(10);

pub fn set_colour(when: clap::ColorChoice) {
    let choice = match when {
        clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

/// Starts the log on stderr, as text or as one JSON object per line. `verbose` is the number of `-v` flags.
pub fn start_log(verbose: u8, json: bool) {
    let level = match verbose {
        0 => tracing::level_filters::LevelFilter::OFF,
        1 => tracing::level_filters::LevelFilter::INFO,
        _ => tracing::level_filters::LevelFilter::DEBUG,
    };
    let is_plain = anstream::AutoStream::choice(&io::stderr()) == anstream::ColorChoice::Never;
    let writer = move || LogLine { out: io::stderr(), json };
    let log =
        tracing_subscriber::fmt().with_writer(writer).with_ansi(!is_plain).with_max_level(level).with_target(false);
    // By default tracing reports a failed write with eprintln!, which panics if stderr cannot be written. A panic could
    // happen in the middle of a retraction.
    let log = log.log_internal_errors(false);
    // `try_init` takes effect only at its first call in a process. Tests may call it again.
    drop(if json { log.json().flatten_event(true).try_init() } else { log.try_init() });
}

/// Writes each log event as one line. tracing writes each event with a single call.
struct LogLine<W> {
    out: W,
    json: bool,
}

impl<W: Write> Write for LogLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        if self.json {
            self.out.write_all(escaped_json(text.into_owned()).as_bytes())?;
        } else {
            // Keeps escape characters, because the log itself writes escape sequences for its colours.
            let shown = shown(text.trim_end_matches('\n'), |c| is_unsafe(c) && c != '\u{1b}');
            self.out.write_all(format!("{shown}\n").as_bytes())?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Prints the output of one command.
#[derive(Debug)]
pub struct Report {
    /// Prints data as JSON: one object, or one per line.
    pub json: bool,
    /// Prints no notes and no progress.
    pub quiet: bool,
    /// Prints nothing and logs warnings instead, for a service, whose output is its responses.
    silent: bool,
    /// The newest line of progress, which the service's page shows.
    latest: Mutex<String>,
    bar: Mutex<Option<ProgressBar>>,
    /// The fields to print of each JSON object; empty for all fields.
    fields: Vec<String>,
    /// The fields of all objects printed so far, if `fields` selects some.
    known_fields: Mutex<BTreeSet<String>>,
    /// The first failed write to stdout. recoup prints no data after this failure.
    stdout_error: OnceLock<io::ErrorKind>,
}

impl Report {
    pub fn new(json: bool, quiet: bool) -> Self {
        Self {
            json,
            quiet,
            silent: false,
            latest: Mutex::default(),
            bar: Mutex::new(None),
            fields: Vec::new(),
            known_fields: Mutex::default(),
            stdout_error: OnceLock::new(),
        }
    }

    /// Returns a report that prints only the selected fields of each JSON object.
    #[must_use]
    pub fn with_fields(self, fields: Vec<String>) -> Self {
        Self { fields, ..self }
    }

    /// Returns a report that prints nothing: it logs notes and warnings, and drops data.
    pub fn silent() -> Self {
        Self { silent: true, ..Self::new(false, true) }
    }

    /// Returns the newest line of progress; empty if there is none.
    pub fn latest(&self) -> String {
        self.latest.lock().map(|line| line.clone()).unwrap_or_default()
    }

    /// Prints one line of data as text. Prints nothing under `--json`.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.json && !self.silent {
            self.write_stdout(|| write_line(anstream::stdout().lock(), &one_line(text.as_ref())));
        }
    }

    /// Prints several lines of data, such as a [`table`]. Prints nothing under `--json`. The caller must escape line
    /// breaks in the cells of a table.
    pub fn lines(&self, text: impl AsRef<str>) {
        text.as_ref().split('\n').for_each(|line| self.line(line));
    }

    /// Prints one JSON object on one line. Prints nothing without `--json`.
    pub fn object(&self, value: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut text = json_line(value)?;
        if !self.fields.is_empty() {
            text = self.chosen_fields(&text)?;
        }
        self.write_stdout(|| write_line(io::stdout().lock(), &text));
        Ok(())
    }

    /// Returns the selected fields of an object, in the order of the flag `--fields`. A field that the object lacks is
    /// `null`. A non-null field `error` is always added, so that a selection never hides a failure.
    fn chosen_fields(&self, object: &str) -> Result<String> {
        let all: BTreeMap<String, &RawValue> = serde_json::from_str(object)
            .map_err(|error| Error::new(Kind::Failed, format!("failed to choose fields: {error}")))?;
        self.known_fields.lock().unwrap_or_else(PoisonError::into_inner).extend(all.keys().cloned());
        let is_error = |name: &&str| all.get(*name).is_some_and(|error| error.get() != "null");
        let error = Some("error").filter(|name| is_error(name) && !self.fields.iter().any(|field| field == name));
        let mut chosen = Vec::new();
        for name in self.fields.iter().map(String::as_str).chain(error) {
            chosen.push(format!("{}:{}", json_line(&name)?, all.get(name).map_or("null", |value| value.get())));
        }
        Ok(format!("{{{}}}", chosen.join(",")))
    }

    /// Warns about selected fields that no printed object has.
    pub fn warn_of_unknown_fields(&self) {
        let known = self.known_fields.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown: Vec<&str> =
            self.fields.iter().filter(|field| !known.contains(*field)).map(String::as_str).collect();
        if !known.is_empty() && !unknown.is_empty() {
            let fields: Vec<&str> = known.iter().map(String::as_str).collect();
            self.warn(format!("no object has the field {}; the fields are {}", unknown.join(", "), fields.join(", ")));
        }
    }

    /// Prints one line of data, with and without `--json`, such as a server's address that scripts wait for.
    pub fn data(&self, text: impl AsRef<str>) {
        self.write_stdout(|| write_line(io::stdout().lock(), text.as_ref()));
    }

    /// Writes the content of a file to stdout unchanged.
    pub fn bytes(&self, bytes: &[u8]) {
        self.write_stdout(|| {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        });
    }

    /// Records whether clap could print help or version to stdout.
    pub fn printed(&self, by_clap: io::Result<()>) {
        self.write_stdout(|| by_clap.and_then(|()| io::stdout().flush()));
    }

    /// Returns `true` if a write of data to stdout failed. A closed pipe does not count as a failed write.
    pub fn has_lost_data(&self) -> bool {
        self.stdout_error.get().is_some_and(|kind| *kind != io::ErrorKind::BrokenPipe)
    }

    /// Returns the exit code: 1 in place of 0 if a write to stdout failed.
    pub fn exit_code(&self, code: u8) -> u8 {
        if code == 0 && self.has_lost_data() { Kind::Failed.exit_code() } else { code }
    }

    /// Prints a remark on stderr. Prints nothing under `--quiet`.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Prints on stderr what the user must know before a question, also under `--quiet`.
    pub fn say(&self, text: impl AsRef<str>) {
        if self.silent {
            return tracing::debug!("{}", one_line(text.as_ref()));
        }
        self.write_stderr(|| write_line(anstream::stderr().lock(), &one_line(text.as_ref())));
    }

    /// Prints a warning on stderr, also under `--quiet`.
    pub fn warn(&self, text: impl AsRef<str>) {
        if self.silent {
            return tracing::warn!("{}", one_line(text.as_ref()));
        }
        let style = Style::new().fg_color(Some(AnsiColor::Yellow.into())).bold();
        self.write_stderr(|| {
            write_line(anstream::stderr().lock(), &format!("{style}warning{style:#}: {}", one_line(text.as_ref())))
        });
    }

    /// Prints the error that ends a command: as text on stderr, and as the last object on stdout under `--json`.
    pub fn error(&self, error: &Error) {
        self.say_error(error);
        self.last_object(error);
    }

    fn say_error(&self, error: &Error) {
        let style = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
        let text = format!("{style}error{style:#}: {}\n  hint: {}", one_line(&error.message), one_line(error.remedy()));
        self.write_stderr(|| write_line(anstream::stderr().lock(), &text));
    }

    /// Prints the error of one item among several: as text on stderr, and as an object with its order ID under
    /// `--json`.
    pub fn item_error(&self, order_id: &str, error: &Error) -> Result<()> {
        self.warn(format!("order {order_id:?}: {} ({})", error.message, error.remedy()));
        self.object(&serde_json::json!({"order_id": order_id, "error": error}))
    }

    /// Prints the error as the last object on stdout. Prints nothing without `--json`.
    pub fn last_object(&self, error: &Error) {
        if self.json {
            let object = serde_json::json!({ "error": error });
            self.write_stdout(|| write_line(io::stdout().lock(), &object.to_string()));
        }
    }

    /// Returns `true` if the user can answer a question, because stdin and stderr are terminals.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Shows the progress of work that may take over two seconds: a bar on a terminal, otherwise an occasional line.
    pub fn progress(&self, what: &'static str) -> Progress<'_> {
        let bar = (!self.quiet && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
            bar.set_style(ProgressStyle::default_spinner());
            bar
        });
        if let Ok(mut slot) = self.bar.lock() {
            slot.clone_from(&bar);
        }
        Progress { report: self, what, bar, last_line: Mutex::new(Instant::now()) }
    }

    /// Writes to stdout. After the first failure this function writes nothing more, because a reader would mistake
    /// output with a gap for complete output.
    fn write_stdout(&self, write: impl FnOnce() -> io::Result<()>) {
        if self.stdout_error.get().is_some() {
            return;
        }
        let Err(error) = self.with_bar_suspended(write) else { return };
        if self.stdout_error.set(error.kind()).is_ok() && self.has_lost_data() {
            self.say_error(
                &Error::new(Kind::Failed, format!("failed to write to standard output: {error}"))
                    .hint("the output is incomplete; the command continued, and `recoup status` shows what was sent"),
            );
        }
    }

    /// Writes to stderr with the progress bar suspended. A failed write is ignored, because no other channel could
    /// report the failure.
    fn write_stderr(&self, write: impl FnOnce() -> io::Result<()>) {
        drop(self.with_bar_suspended(write));
    }

    fn with_bar_suspended(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let bar = self.bar.lock().ok().and_then(|slot| slot.clone());
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// Asks a yes/no question on the terminal; the default is *no*. Requires a terminal, which the caller has checked.
///
/// # Errors
/// `Declined` for any answer other than yes, `Interrupted` if `stop` is cancelled. The error message ends with
/// `unchanged`, for example "nothing was sent".
pub async fn confirm(question: String, stop: &CancellationToken, unchanged: &str) -> Result<()> {
    match ask(format!("{question} [y/N]"), stop, unchanged).await?.trim() {
        "y" | "Y" | "yes" | "Yes" | "YES" => Ok(()),
        _ => Err(Error::new(Kind::Declined, format!("declined; {unchanged}"))),
    }
}

/// Asks for one line of text on the terminal. Requires a terminal, which the caller has checked.
///
/// # Errors
/// `Declined` if the answer cannot be read, `Interrupted` if `stop` is cancelled. The error message ends with
/// `unchanged`.
pub async fn ask(question: String, stop: &CancellationToken, unchanged: &str) -> Result<String> {
    let answer = tokio::select! {
        answer = tokio::task::spawn_blocking(move || read_answer(&question)) => answer,
        () = stop.cancelled() => {
            return Err(Error::new(Kind::Interrupted, format!("interrupted at the question; {unchanged}")));
        }
    };
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        _ => Err(Error::new(Kind::Declined, format!("the answer could not be read; {unchanged}"))),
    }
}

/// Asks for one line of text like [`ask`]. The terminal does not show the typed answer, if it can hide input.
pub async fn ask_hidden(question: String, stop: &CancellationToken, unchanged: &str) -> Result<SecretString> {
    #[cfg(unix)]
    let hidden = HiddenInput::start();
    let answer = ask(question, stop, unchanged).await;
    #[cfg(unix)]
    if hidden.is_some() {
        // The terminal has hidden the user's line break, so recoup prints a line break.
        drop(writeln!(anstream::stderr()));
    }
    answer.map(SecretString::from)
}

/// Hides the input on the terminal until the value is dropped.
#[cfg(unix)]
struct HiddenInput(rustix::termios::Termios);

#[cfg(unix)]
impl HiddenInput {
    /// Starts hiding the input on the terminal. Returns `None` if stdin is not a terminal.
    fn start() -> Option<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin()).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).ok()?;
        Some(Self(before))
    }
}

#[cfg(unix)]
impl Drop for HiddenInput {
    fn drop(&mut self) {
        // If the terminal is closed, there is no terminal setting to restore.
        let _restored = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Flush, &self.0);
    }
}

fn read_answer(question: &str) -> io::Result<String> {
    let mut stderr = anstream::stderr().lock();
    write!(stderr, "{} ", one_line(question))?;
    stderr.flush()?;
    drop(stderr);
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer)
}

/// The progress bar of one piece of work. Dropping the value removes the bar from the terminal.
#[derive(Debug)]
pub struct Progress<'a> {
    report: &'a Report,
    what: &'static str,
    bar: Option<ProgressBar>,
    last_line: Mutex<Instant>,
}

impl Progress<'_> {
    /// Updates the progress bar. `text` adds details, such as rate, remaining time and pauses.
    pub fn show(&self, done: u64, total: Option<u64>, text: &str) {
        let counted = match total {
            Some(total) => format!("{}: {done} of {total}", self.what),
            None => format!("{}: {done}", self.what),
        };
        let line = if text.is_empty() { counted } else { format!("{counted}, {text}") };
        if let Ok(mut latest) = self.report.latest.lock() {
            latest.clone_from(&line);
        }
        if let Some(bar) = &self.bar {
            bar.set_message(line);
            bar.tick();
        } else if !self.report.quiet
            && let Ok(mut last) = self.last_line.lock()
            && last.elapsed() >= PLAIN_PROGRESS_EVERY
        {
            *last = Instant::now();
            self.report.note(line);
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Ok(mut slot) = self.report.bar.lock() {
            *slot = None;
        }
    }
}

/// The maximum width of a table, in columns; 0 for no limit.
static TABLE_WIDTH: AtomicUsize = AtomicUsize::new(0);

/// Limits tables to the width of the terminal. A service must not call this function, because the tables of a service
/// are on its page.
pub fn fit_tables_to_terminal() {
    if let Some((width, _)) = terminal_size::terminal_size_of(io::stdout()) {
        TABLE_WIDTH.store(usize::from(width.0), Ordering::Relaxed);
    }
}

/// Formats a table without borders. If the table is wider than the terminal, only its last column wraps, because an
/// order ID that spans two lines cannot be copied.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    table_within(TABLE_WIDTH.load(Ordering::Relaxed), header, rows)
}

fn table_within<const N: usize>(
    width: usize,
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    /// The widest indentation that callers put before a table.
    const MARGIN: usize = 4;
    /// The minimum width of a table's last column, because narrower text is unreadable.
    const LEAST: usize = 20;
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| one_line(&cell).into_owned()));
    }
    // Each cell of a table has a blank on both sides.
    let mut widths: Vec<usize> =
        table.column_max_content_widths().iter().map(|width| usize::from(*width) + 2).collect();
    let last = widths.pop().unwrap_or_default();
    let left = width.saturating_sub(MARGIN + widths.iter().sum::<usize>());
    if (LEAST..last).contains(&left)
        && let Some(column) = table.column_mut(N - 1)
    {
        column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(u16::try_from(left).unwrap_or(u16::MAX))));
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::MAX);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Escapes line breaks, control characters and bidirectional marks, so that the text stays on one line.
pub fn one_line(text: &str) -> Cow<'_, str> {
    shown(text, is_unsafe)
}

fn shown(text: &str, is_unsafe: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_unsafe) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| if is_unsafe(c) { c.escape_default().to_string() } else { c.to_string() });
    Cow::Owned(shown.collect())
}

/// Formats a value as JSON on one line. JSON itself escapes line feeds and other ASCII control characters; this
/// function also escapes U+0085, U+2028 and bidirectional marks.
///
/// # Errors
/// `Kind::Failed` if the value cannot be serialized.
pub fn json_line(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::new(Kind::Failed, format!("failed to write JSON: {error}")))?;
    Ok(escaped_json(text))
}

/// Escapes unsafe characters in JSON text. Unsafe characters occur in JSON only inside strings, so an escape sequence
/// is equivalent. The line break after the JSON text stays.
fn escaped_json(text: String) -> String {
    let is_raw = |c: char| is_unsafe(c) && c != '\n';
    if !text.contains(is_raw) {
        return text;
    }
    text.chars().map(|c| if is_raw(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

/// Returns `true` if a character ends a line, controls a terminal, or changes the text direction.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn write_line(mut out: impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_line_and_says_the_same() {
        let said = "a\u{85}b\u{2028}c\u{2029}d\u{202e}e\u{2066}f\u{7f}g\n\u{1b}Grüße, 東京";
        let value = serde_json::json!({ said: [said] });
        let line = json_line(&value).expect("JSON");
        assert!(!line.chars().any(is_unsafe), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).expect("JSON"), value);
    }

    #[test]
    fn control_characters_of_the_vendor_do_not_reach_the_terminal() {
        for (text, shown) in [
            ("a\u{1b}[31mb\tc\nd\re", r"a\u{1b}[31mb\tc\nd\re"),
            ("a\u{85}b\u{2028}c\u{2029}d", r"a\u{85}b\u{2028}c\u{2029}d"),
            ("a\u{202e}b\u{2066}c", r"a\u{202e}b\u{2066}c"),
            ("Grüße, 東京 \\n", "Grüße, 東京 \\n"),
        ] {
            assert_eq!(one_line(text), shown);
            assert_eq!(one_line(shown), shown, "it is escaped once");
        }
        assert_eq!(table(["a"], [["x\n  forged".to_owned()]]).lines().count(), 2);
    }

    #[test]
    fn only_the_last_column_of_a_wide_table_is_wrapped() {
        let order = "1001-with-a-long-order-id";
        let why = "a sentence that is far too long for what is left of the line beside the order";
        let rows = || [[order.to_owned(), why.to_owned()]];
        assert_eq!(table_within(0, ["order", "why"], rows()).lines().count(), 2);
        let narrow = table_within(70, ["order", "why"], rows());
        assert!(narrow.lines().all(|line| line.chars().count() <= 70), "{narrow}");
        assert!(narrow.lines().count() > 2 && narrow.contains(order), "{narrow}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&narrow), words(&format!("order why {order} {why}")));
        // A terminal of 40 columns leaves too little room for the last column of the table.
        assert_eq!(table_within(40, ["order", "why"], rows()).lines().count(), 2);
    }

    #[test]
    fn chosen_fields_keep_their_order_and_no_error_is_hidden() {
        let report = Report::new(true, true).with_fields(vec!["b".to_owned(), "x".to_owned(), "a".to_owned()]);
        let chosen = |object: &str| report.chosen_fields(object).expect("an object");
        assert_eq!(
            chosen(r#"{"a":{"z":1,"y":2},"b":"\u2028","c":3,"error":null}"#),
            r#"{"b":"\u2028","x":null,"a":{"z":1,"y":2}}"#
        );
        assert_eq!(chosen(r#"{"error":{"kind":"busy"}}"#), r#"{"b":null,"x":null,"a":null,"error":{"kind":"busy"}}"#);
    }

    #[test]
    fn an_event_of_the_log_is_one_line() {
        let written = |json: bool, event: &str| {
            let mut log = LogLine { out: Vec::new(), json };
            log.write_all(event.as_bytes()).expect("it is written");
            String::from_utf8(log.out).expect("text")
        };
        let forged = "\u{1b}[32mINFO\u{1b}[0m the vendor says x\nINFO forged\u{2028}\r\n";
        assert_eq!(written(false, forged), "\u{1b}[32mINFO\u{1b}[0m the vendor says x\\nINFO forged\\u{2028}\\r\n");
        assert_eq!(written(true, "{\"a\":\"\u{2028}\"}\n"), "{\"a\":\"\\u2028\"}\n");
    }
}
