//! `recoup completions` and `recoup man`: what the flags say of themselves, for shells and for readers.

use std::path::Path;

use clap::CommandFactory;

use super::End;
use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::error::{Error, Kind, Result};
use crate::out_file::{OutFile, Rules};
use crate::report::Report;

pub(super) fn completions(args: &CompletionsArgs, report: &Report) -> End {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "recoup", &mut text);
    report.bytes(&text);
    End::Done
}

pub(super) fn man(args: &ManArgs, report: &Report) -> Result<End> {
    let mut command = Cli::command();
    command.build();
    let Some(folder) = &args.out else {
        report.bytes(&page(command, "recoup", Path::new("standard output"))?);
        return Ok(End::Done);
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let rules = Rules { force: true, mode: 0o644, unwritable: Kind::Failed, ..Rules::default() };
    let mut pages = Vec::new();
    collect(command, "recoup".to_owned(), &mut pages);
    for (name, command) in &pages {
        let path = folder.join(format!("{name}.1"));
        let text = page(command.clone(), name, &path)?;
        OutFile::reserve_by(&path, rules)?.write_or_leave_nothing(&text)?;
    }
    report.object(&serde_json::json!({ "folder": folder, "pages": pages.len() }))?;
    report.line(format!("{} pages in {}", pages.len(), folder.display()));
    Ok(End::Done)
}

/// Every command with the name of its page, `recoup-user-token` for example.
fn collect(command: clap::Command, name: String, pages: &mut Vec<(String, clap::Command)>) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        collect(sub.clone(), format!("{name}-{}", sub.get_name()), pages);
    }
    pages.push((name, command));
}

fn page(command: clap::Command, name: &str, path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command).title(name.to_uppercase());
    page.render(&mut text).map_err(|error| failed(path, &error))?;
    Ok(text)
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Failed, format!("failed to write {}: {error}", path.display()))
        .hint("--out must name a folder that can be written to")
}
