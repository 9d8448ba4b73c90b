//! `recoup completions` and `recoup man`: generates completions and man pages from the definitions of the flags.

use std::path::Path;

use clap::CommandFactory;

use super::Exit;
use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::error::{Error, Kind, Result};
use crate::model::counted;
use crate::out_file::{OutFile, Rules};
use crate::report::Report;

pub(super) fn completions(args: &CompletionsArgs, report: &Report) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "recoup", &mut text);
    report.bytes(&text);
    Exit::Done
}

pub(super) fn man(args: &ManArgs, report: &Report) -> Result<Exit> {
    let mut command = Cli::command();
    command.build();
    let Some(folder) = &args.out else {
        report.bytes(&page(command, "recoup", Path::new("standard output"))?);
        return Ok(Exit::Done);
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
    report.line(format!("{} in {}", counted(pages.len(), "page"), folder.display()));
    Ok(Exit::Done)
}

/// Collects a command and its subcommands, each with the name of its man page, such as `recoup-user-token`.
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
        .hint("--out must name a writable folder")
}
