//! The GET endpoints of the simulated Brand API, and the envelope of its lists.
//!
//! The vendor does not publish whether Advocate events appear as actions. In the simulator, Advocate events appear as
//! actions, because a client must find actions. The simulator builds Brand responses as small JSON trees, because the
//! client may request XML.

use serde_json::{Map, Value, json};

use super::{
    Simulator,
    action_log::PERFORMANCE,
    actions,
    lock::read,
    options::SubmissionsList,
    query,
    record::Endpoint,
    reply::{Reply, brand, brand_error},
};

/// Returns the Brand endpoint of a path below the SID.
pub(super) fn endpoint(method: &hyper::Method, path: &str) -> Endpoint {
    let get = method == hyper::Method::GET;
    match path.split_once('/').unwrap_or((path, "")) {
        ("Actions", "") if get => Endpoint::Actions,
        ("Actions", "") if method == hyper::Method::PUT => Endpoint::PutActions,
        ("Actions", "") if method == hyper::Method::DELETE => Endpoint::DeleteActions,
        ("Actions", rest) if get && rest.contains("/Items") => Endpoint::ActionItems,
        ("Actions", _) if get => Endpoint::Action,
        ("ActionUpdates", _) if get => Endpoint::ActionUpdates,
        ("FTPFileSubmissions", "") if get => Endpoint::Files,
        ("FTPFileSubmissions" | "FTPSubmissions", _) if get => Endpoint::File,
        ("APISubmissions", "") if get => Endpoint::Submissions,
        ("APISubmissions", _) if get => Endpoint::Submission,
        ("Campaigns", "") if get => Endpoint::Campaigns,
        _ => Endpoint::Other,
    }
}

/// Answers a GET of the Brand API below `/Advertisers/{sid}/`.
pub(super) fn answer(simulator: &Simulator, json: bool, path: &str, query: &str) -> Reply {
    let Simulator { world, reversals, files, .. } = simulator;
    let sid = &reversals.sid;
    match path.split_once('/').unwrap_or((path, "")) {
        ("Actions", "") => actions::list(world, sid, json, query),
        ("Actions", rest) => actions::one(world, sid, json, rest, query),
        ("ActionUpdates", "") => actions::updates(world, sid, json, query),
        ("ActionUpdates", id) => actions::update(world, sid, json, &query::segment(id)),
        ("APISubmissions", "") => match read(&reversals.live).submissions_list {
            SubmissionsList::On => page(json, sid, ("APISubmissions", query), "APISubmission", reversals.listed(), 100),
            SubmissionsList::Status403 => brand_error(json, 403, "This token may not do that.", None),
            SubmissionsList::Status404 => brand_error(json, 404, "Not found", None),
        },
        ("APISubmissions", id) => match reversals.find(&query::segment(id)) {
            Some(submission) => brand(json, 200, "APISubmission", &submission),
            None => brand_error(json, 404, "No such submission", None),
        },
        ("FTPFileSubmissions", "") => files.list(sid, json, query),
        ("FTPFileSubmissions" | "FTPSubmissions", rest) => files.one(sid, json, path.starts_with("FTPF"), rest, query),
        ("Campaigns", "") => {
            let campaigns = [(4711, "Friends and Family", "Advocate"), (PERFORMANCE, "Partners", "Performance")];
            let values = campaigns.iter().map(|(id, name, kind)| {
                json!({
                    "Id": id, "Name": name, "State": "ACTIVE", "Type": kind,
                    "Uri": format!("/Advertisers/{sid}/Campaigns/{id}"),
                })
            });
            page(json, sid, ("Campaigns", query), "Campaigns", values.collect(), 20)
        }
        _ => brand_error(json, 404, "Not found", None),
    }
}

/// Builds one page of a list in the vendor's envelope: numbers as text, and relative links that repeat the query. The
/// link to the previous or next page is empty on the first or last page. A list accepts any page size if it is short or
/// has no published limit.
pub(super) fn page(
    json: bool,
    sid: &str,
    (path, query): (&str, &str),
    name: &str,
    all: Vec<Value>,
    usual: usize,
) -> Reply {
    let total = all.len();
    let size = query::number(query, "PageSize").map_or(usual, |size| size.clamp(1, 20_000) as usize);
    let number = query::number(query, "Page").unwrap_or(1).max(1) as usize;
    let asked = query.split('&').filter(|pair| !(pair.is_empty() || pair.starts_with("Page")));
    let asked: String = asked.flat_map(|pair| ["&", pair]).collect();
    let pages = total.div_ceil(size).max(1);
    let start = (number - 1).saturating_mul(size).min(total);
    let items: Vec<Value> = all.into_iter().skip(start).take(size).collect();
    let base = format!("/Advertisers/{sid}/{path}");
    let uri = |number: usize| {
        if (1..=pages).contains(&number) {
            format!("{base}?PageSize={size}&Page={number}{asked}")
        } else {
            String::new()
        }
    };
    let mut envelope = Map::new();
    for (key, value) in [("@page", number), ("@numpages", pages), ("@pagesize", size), ("@total", total)] {
        envelope.insert(key.to_owned(), value.to_string().into());
    }
    envelope.insert("@start".to_owned(), start.to_string().into());
    envelope.insert("@end".to_owned(), (start + items.len()).saturating_sub(1).to_string().into());
    let links = [
        ("@uri", uri(number)),
        ("@firstpageuri", uri(1)),
        ("@nextpageuri", uri(number + 1)),
        ("@previouspageuri", uri(number - 1)),
        ("@lastpageuri", uri(pages)),
    ];
    envelope.extend(links.into_iter().map(|(key, uri)| (key.to_owned(), uri.into())));
    envelope.insert(name.to_owned(), items.into());
    brand(json, 200, "Page", &Value::Object(envelope))
}
