//! `recoup audit`: verifies and exports the ledger.

use super::{CommandContext, Exit};
use crate::cli::{AuditArgs, AuditCommand, AuditExportArgs, ExportFormat};
use crate::error::{Error, Kind, Result};
use crate::model::counted;
use crate::records::audit::{self, Export, Format};
use crate::store::ledger::PersonalIds;

pub(super) fn run(context: &CommandContext<'_>, args: AuditArgs) -> Result<Exit> {
    match args.command {
        AuditCommand::Verify(args) => verify(context, args.head.as_deref()),
        AuditCommand::Export(args) => export(context, args),
    }
}

fn verify(context: &CommandContext<'_>, head: Option<&str>) -> Result<Exit> {
    let settings = context.settings;
    let audit = audit::verify(&settings.database, &settings.ledger, settings.identity_if_set()?.as_ref(), head)?;
    context.show(&audit, audit::lines(&audit))?;
    Ok(audit::problem(&audit).map_or(Exit::Done, Exit::Reported))
}

fn export(context: &CommandContext<'_>, args: AuditExportArgs) -> Result<Exit> {
    let CommandContext { settings, report, .. } = context;
    let format = match args.format {
        ExportFormat::Ndjson => Format::Ndjson,
        ExportFormat::Csv => Format::Csv,
    };
    if report.json && format == Format::Csv && args.out.is_none() {
        return Err(Error::new(Kind::Usage, "standard output cannot be JSON and CSV at once")
            .hint("write the table into a file with --out, or omit --json"));
    }
    let ids = if args.personal { PersonalIds::Shown } else { PersonalIds::Redacted };
    let wanted = Export { format, out: args.out, force: args.force, ids };
    if let Some(written) = audit::export(&settings.ledger, settings.identity_if_set()?.as_ref(), &wanted, report)? {
        let line =
            format!("{} written to {}; head {}", counted(written.events, "event"), written.file, written.head.hash);
        context.show(&written, [line])?;
    }
    Ok(Exit::Done)
}
