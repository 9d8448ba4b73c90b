//! Tests of the documentation as a book: its summary, its links, and the page of troubleshooting.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use recoup::error::Kind;

use super::documentation::documents;
use super::{none, read, root, sources};

/// Returns the link targets of a document, except those in code.
fn links(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let prose: String = prose.split('`').step_by(2).collect();
    let targets =
        prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned());
    targets.collect()
}

/// Returns the anchors of a document: its headings in lower case, with `-` for blanks and without other punctuation.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || "-_".contains(c);
    headings
        .map(|heading| heading.replace(' ', "-").chars().filter(|c| kept(*c)).collect::<String>().to_lowercase())
        .collect()
}

/// Resolves `.` and `..` in a path. Returns `None` if the path leads out of the repository.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if !parts.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            part => parts.push(part),
        }
    }
    Some(parts)
}

/// Returns the links of a document that lead to a missing heading, or from the book to a file outside of it.
fn wrong_links(path: &str, text: &str, load: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for target in links(text).into_iter().filter(|target| !target.contains("://")) {
        let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        let full = if file.is_empty() { Some(PathBuf::from(path)) } else { plain(&folder.join(file)) };
        let Some(full) = full else {
            complaints.push(format!("{path}: {target} leads out of the repository"));
            continue;
        };
        if path.starts_with("docs/") && !full.starts_with("docs") {
            complaints.push(format!("{path}: {target} leads out of the book"));
        }
        if !anchor.is_empty() && load(&full).is_none_or(|text| !anchors(&text).contains(anchor)) {
            complaints.push(format!("{path}: {target} leads to no heading"));
        }
    }
    complaints
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("in the repository").to_string_lossy().replace('\\', "/")
}

#[test]
fn every_link_leads_to_a_heading_that_exists_and_stays_in_the_book() {
    let load = |path: &Path| fs::read_to_string(root().join(path)).ok();
    let wrong = documents().into_iter().flat_map(|path| {
        let name = relative(&path);
        wrong_links(&name, &read(&name), load)
    });
    none(&wrong.collect::<Vec<_>>());
    let other = |path: &Path| {
        (path == Path::new("docs/b.md")).then(|| "# B\n## The `x`, and y\n```\n# no heading\n```".to_owned())
    };
    for (text, complaints) in [
        ("[a](b.md#the-x-and-y) [b](https://example.com/#z) `[c](#nowhere)`", 0),
        ("[a](b.md#no-heading)", 1),
        ("[a](c.md#b)", 1),
        ("[a](../README.md)", 1),
        ("[a](../../README.md)", 1),
        ("[a](#here)", 1),
    ] {
        assert_eq!(wrong_links("docs/a.md", text, other).len(), complaints, "{text}");
    }
}

/// Returns the pages that the book's summary lacks, and those that it names twice.
fn wrong_in_summary(summary: &str, pages: &BTreeSet<String>) -> Vec<String> {
    let named = links(summary);
    let twice = named.iter().enumerate().filter(|(at, name)| named[..*at].contains(name));
    let mut complaints: Vec<String> = twice.map(|(_, name)| format!("docs/SUMMARY.md names {name} twice")).collect();
    complaints
        .extend(pages.iter().filter(|page| !named.contains(page)).map(|page| format!("docs/SUMMARY.md lacks {page}")));
    complaints.extend(
        named
            .iter()
            .filter(|name| !pages.contains(*name))
            .map(|name| format!("docs/SUMMARY.md names {name}, which does not exist")),
    );
    complaints
}

#[test]
fn the_summary_of_the_book_has_every_page_once() {
    let names = documents().into_iter().map(|path| relative(&path));
    let pages: BTreeSet<String> = names
        .filter_map(|name| Some(name.strip_prefix("docs/")?.to_owned()))
        .filter(|name| name != "SUMMARY.md")
        .collect();
    assert!(pages.len() > 30, "{pages:?}");
    none(&wrong_in_summary(&read("docs/SUMMARY.md"), &pages));
    let two = BTreeSet::from(["a.md".to_owned(), "b.md".to_owned()]);
    assert_eq!(wrong_in_summary("[A](a.md)\n- [A](a.md)\n- [C](c.md)", &two).len(), 3);
}

/// Returns the rows of all tables whose first heading cell has this text.
fn rows<'a>(page: &'a str, first: &str) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if !line.starts_with('|') {
            is_inside = false;
        } else if cells[0] == first {
            is_inside = true;
        } else if is_inside && !cells[0].starts_with("--") {
            found.push(cells);
        }
    }
    found
}

#[test]
fn troubleshooting_has_every_kind_of_error_with_its_exit_code() {
    let page = read("docs/troubleshooting.md");
    let documented: Vec<(String, String)> =
        rows(&page, "kind").iter().map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1].to_owned())).collect();
    let known: Vec<(String, String)> =
        Kind::ALL.iter().map(|kind| (kind.name().to_owned(), kind.exit_code().to_string())).collect();
    assert_eq!(documented, known);
    let codes: Vec<String> = rows(&read("docs/reference.md"), "code").iter().map(|cells| cells[0].to_owned()).collect();
    let mut used: Vec<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).chain([0]).collect();
    used.sort_unstable();
    used.dedup();
    assert_eq!(codes, used.iter().map(ToString::to_string).collect::<Vec<_>>());
}

/// Normalises a string literal of the source: `…` replaces each inserted value, and the line breaks of the source are
/// removed.
fn as_shown(literal: &str) -> String {
    let mut shown = String::new();
    let mut rest = literal;
    while let Some((before, after)) = rest.split_once('{') {
        shown.push_str(before);
        shown.push('…');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    shown.push_str(rest);
    shown.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns `true` if the program can print this text, in which `…` matches any text.
fn can_be_said(text: &str, literals: &[String]) -> bool {
    let parts: Vec<&str> = text.split('…').map(str::trim).filter(|part| !part.is_empty()).collect();
    literals.iter().any(|literal| {
        let mut rest = literal.as_str();
        parts.iter().all(|part| rest.split_once(part).map(|(_, after)| rest = after).is_some())
    })
}

#[test]
fn troubleshooting_quotes_only_what_the_program_says() {
    let page = read("docs/troubleshooting.md");
    let literals: Vec<String> =
        sources().iter().flat_map(|source| source.literals.iter().map(|literal| as_shown(literal))).collect();
    let quoted: Vec<&str> = rows(&page, "recoup says").iter().filter_map(|cells| cells[0].split('`').nth(1)).collect();
    assert!(quoted.len() > 30, "{quoted:?}");
    let unknown = quoted.iter().filter(|text| !can_be_said(text, &literals));
    none(&unknown.map(|text| format!("the program never says {text}")).collect::<Vec<_>>());
    let said = [as_shown("the {} is\\\n    not {what}")];
    assert!(can_be_said("the … is not …", &said) && !can_be_said("the … is …not so", &said));
}
