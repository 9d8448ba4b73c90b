//! `recoup audit`: is the ledger what was written, and what is in it.

use super::{Context, End};
use crate::cli::{AuditArgs, AuditCommand, AuditExportArgs, ExportFormat};
use crate::error::{Error, Kind, Result};
use crate::records::audit::{self, Export, Format};
use crate::store::ledger::Whose;

pub(super) fn run(context: &Context<'_>, args: AuditArgs) -> Result<End> {
    match args.command {
        AuditCommand::Verify(args) => verify(context, args.head.as_deref()),
        AuditCommand::Export(args) => export(context, args),
    }
}

fn verify(context: &Context<'_>, head: Option<&str>) -> Result<End> {
    let Context { settings, report, .. } = context;
    let audit = audit::verify(&settings.database, &settings.ledger, settings.identity_if_set()?.as_ref(), head)?;
    report.object(&audit)?;
    for line in audit::lines(&audit) {
        report.line(line);
    }
    Ok(audit::problem(&audit).map_or(End::Done, End::Said))
}

fn export(context: &Context<'_>, args: AuditExportArgs) -> Result<End> {
    let Context { settings, report, .. } = context;
    let format = match args.format {
        ExportFormat::Ndjson => Format::Ndjson,
        ExportFormat::Csv => Format::Csv,
    };
    if report.json && format == Format::Csv && args.out.is_none() {
        return Err(Error::new(Kind::Usage, "standard output cannot be JSON and CSV at once")
            .hint("write the table into a file with --out, or leave --json out"));
    }
    let whose = if args.personal { Whose::Everybodys } else { Whose::Nobodys };
    let wanted = Export { format, out: args.out, force: args.force, whose };
    if let Some(written) = audit::export(&settings.ledger, settings.identity_if_set()?.as_ref(), &wanted, report)? {
        report.object(&written)?;
        report.line(format!("{} events written to {}; head {}", written.events, written.file, written.head.hash));
    }
    Ok(End::Done)
}
