//! `recoup health`: asks the running service whether it is healthy.

use serde_json::json;
use url::Url;

use super::{CommandContext, Exit, open};
use crate::cli::HealthArgs;
use crate::error::{Error, Kind, Result};
use crate::serve::health_check;

pub(super) async fn run(context: &CommandContext<'_>, args: HealthArgs) -> Result<Exit> {
    let base = args.url.unwrap_or_else(|| open::url(&context.settings.serve));
    let unusable = || {
        Error::new(Kind::Usage, "--url is not the address of a service")
            .hint("write it as http://HOST:PORT or https://HOST:PORT")
    };
    let url = Url::parse(&base).ok().filter(|url| ["http", "https"].contains(&url.scheme())).ok_or_else(unusable)?;
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let said = health_check::ask(&url.join(path).map_err(|_error| unusable())?).await?;
    context.show(&json!({ "url": base, "said": said }), [&said])?;
    Ok(Exit::Done)
}
