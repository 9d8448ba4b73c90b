//! `recoup crawl`: runs a crawl, estimates a crawl, or extracts the stored rewards again.

use super::{CommandContext, Exit, parked};
use crate::cli::CrawlArgs;
use crate::config::HostFlags;
use crate::error::{Error, Kind, Result};
use crate::vendor::Advocate;
use crate::{cli, crawl};

pub(super) async fn run(context: &CommandContext<'_>, args: &CrawlArgs) -> Result<Exit> {
    let CommandContext { settings, clock, stop, report, .. } = context;
    let identity = settings.identity()?;
    super::forget::apply_tombstones(context, !args.plan)?;
    let outcome = if args.from_raw {
        crawl::reextract::run(&settings.database, &identity, &settings.mapping, args.wait_for_lock, clock, stop, report)
            .await?
    } else {
        let flags = HostFlags {
            concurrency: args.concurrency,
            rate: args.rate,
            max_wait: parked(args.park).or(args.max_wait),
            max_requests: args.max_requests,
            until: args.until.map(|until| until.after(clock.now())),
            ..HostFlags::default()
        };
        let host = settings.advocate_options(flags)?;
        let options = crawl::Options {
            page_size: args.page_size.unwrap_or(settings.crawl.page_size),
            overlap: settings.crawl.overlap,
            max_sweeps: settings.crawl.max_sweeps,
            concurrency: host.concurrency,
            batch: settings.crawl.batch as usize,
            wait_for_lock: args.wait_for_lock,
            full: args.full,
            source: source_of(args.source),
            rate: host.quota_settings.rate,
            graphql_page_size: settings.crawl.graphql_page_size,
            export_wait: settings.crawl.export_wait,
            reread_after: args.reread_after.map(|span| span.0).or(settings.crawl.reread_after),
        };
        let advocate = Advocate::new(&host, &identity.tenant, **clock, (*stop).clone())?;
        let _first = context.first_advocate.get_or_init(|| advocate.clone());
        if args.plan {
            let plan = crawl::plan::plan(&settings.database, &identity, &advocate, &settings.mapping, &options).await?;
            context.show(&plan, plan.lines())?;
            return Ok(Exit::Done);
        }
        crawl::run(
            &settings.database,
            &identity,
            &advocate,
            &settings.mapping,
            &options,
            clock,
            (*stop).clone(),
            report,
        )
        .await?
    };
    report.object(&outcome)?;
    report.lines(outcome.describe());
    // An error of the look-up of watched orders is only a warning, because the crawl itself has succeeded.
    if let Err(error) = super::watch::look_up_watched(context) {
        report.warn(format!("watched orders were not looked up: {error}"));
    }
    if outcome.complete {
        return Ok(Exit::Done);
    }
    let incomplete = Error::new(Kind::SomeFailed, format!("the index is not complete: {}", outcome.gaps.join("; ")));
    Err(incomplete.hint(outcome.hint()))
}

fn source_of(source: cli::Source) -> Option<crawl::Source> {
    match source {
        cli::Source::Auto => None,
        cli::Source::Participants => Some(crawl::Source::Participants),
        cli::Source::Graphql => Some(crawl::Source::GraphQl),
        cli::Source::Export => Some(crawl::Source::Export),
    }
}
