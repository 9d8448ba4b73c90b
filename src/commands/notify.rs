//! `recoup notify`: sends a test notice and prints whether the receiver accepted it.

use super::{CommandContext, Exit};
use crate::cli::NotifyCommand;
use crate::error::{Error, Kind, Result};
use crate::notify::Notifier;

pub(super) async fn run(context: &CommandContext<'_>, command: NotifyCommand) -> Result<Exit> {
    let CommandContext { settings, clock, stop, .. } = context;
    let NotifyCommand::Test = command;
    let settings = settings.notices.clone().ok_or_else(|| {
        Error::new(Kind::Config, "no notices are set up")
            .hint("set [notices] webhook_url or smtp_host in recoup.toml; docs/notices.md has an example")
    })?;
    let mut worst = None;
    for delivery in Notifier::new(settings, **clock, (*stop).clone())?.test().await {
        let line = match &delivery.error {
            None => format!("{}: the test notice was delivered", delivery.channel),
            Some(error) => format!("{}: {}", delivery.channel, error.message),
        };
        context.show(&delivery, [line])?;
        worst = worst.or(delivery.error);
    }
    Ok(worst.map_or(Exit::Done, Exit::Reported))
}
