//! The Brand API's reading side: actions, submissions, programs.
//!
//! Whether Advocate events appear as actions is not published; here they do, so that a client that looks finds
//! something. Answers are small JSON trees, because each may have to become XML.

use serde_json::{Map, Value, json};

use super::{
    data::{ActionKey, DAY},
    query,
    record::Endpoint,
    reply::{Reply, brand, brand_error},
    reversal::Reversals,
    time,
    world::World,
};

/// Which endpoint a path below the SID is.
pub(super) fn endpoint(method: &hyper::Method, path: &str) -> Endpoint {
    let get = method == hyper::Method::GET;
    match path.split_once('/').unwrap_or((path, "")) {
        ("Actions", "") if get => Endpoint::Actions,
        ("Actions", "") if method == hyper::Method::PUT => Endpoint::PutActions,
        ("Actions", "") if method == hyper::Method::DELETE => Endpoint::DeleteActions,
        ("Actions", _) if get => Endpoint::Action,
        ("APISubmissions", "") if get => Endpoint::Submissions,
        ("APISubmissions", _) if get => Endpoint::Submission,
        ("Campaigns", "") if get => Endpoint::Campaigns,
        _ => Endpoint::Other,
    }
}

/// Answers a GET below `/Advertisers/{sid}/`.
pub(super) fn answer(world: &World, reversals: &Reversals, json: bool, path: &str, query: &str) -> Reply {
    let sid = &reversals.sid;
    match path.split_once('/').unwrap_or((path, "")) {
        ("Actions", "") => actions(world, sid, json, query),
        ("Actions", id) => match world.action(&query::segment(id)) {
            Some(action) => brand(json, 200, "Action", &action_value(world, sid, action)),
            None => brand_error(json, 404, "No such action", None),
        },
        ("APISubmissions", "") => {
            let all = reversals.all();
            let size = all.len();
            page(json, sid, "APISubmissions", "APISubmission", all, (1, size.max(1)))
        }
        ("APISubmissions", id) => match reversals.find(&query::segment(id)) {
            Some(submission) => brand(json, 200, "APISubmission", &submission),
            None => brand_error(json, 404, "No such submission", None),
        },
        ("Campaigns", "") => {
            let campaigns = [(4711, "Friends and Family", "Advocate"), (20_817, "Partners", "Performance")];
            let values = campaigns.iter().map(|(id, name, kind)| {
                json!({
                    "Id": id, "Name": name, "State": "ACTIVE", "Type": kind,
                    "Uri": format!("/Advertisers/{sid}/Campaigns/{id}"),
                })
            });
            page(json, sid, "Campaigns", "Campaigns", values.collect(), (1, 20))
        }
        _ => brand_error(json, 404, "Not found", None),
    }
}

/// One page of a list, in the vendor's envelope: text for numbers, relative links, an empty one at either end.
fn page(json: bool, sid: &str, path: &str, name: &str, all: Vec<Value>, (number, size): (usize, usize)) -> Reply {
    let total = all.len();
    let pages = total.div_ceil(size).max(1);
    let start = (number - 1).saturating_mul(size).min(total);
    let items: Vec<Value> = all.into_iter().skip(start).take(size).collect();
    let base = format!("/Advertisers/{sid}/{path}");
    let uri = |number: usize| {
        if (1..=pages).contains(&number) { format!("{base}?PageSize={size}&Page={number}") } else { String::new() }
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

/// `GET /Actions`: by program, within a range of dates.
fn actions(world: &World, sid: &str, json: bool, query: &str) -> Reply {
    let refuse = |field: &str, message: &str| brand_error(json, 400, "Validation Failed", Some((field, message)));
    let Some(campaign) = query::number(query, "CampaignId") else { return refuse("CampaignId", "Required") };
    let date = |key: &str| query::value(query, key).and_then(|text| time::parse(&text));
    let (updated, until) = (date("StartDate"), date("EndDate"));
    if updated.is_some() && until.is_none() {
        return refuse("EndDate", "Required with StartDate");
    }
    let now = time::now_ms();
    let (from, to) = match (updated, date("ActionDateStart")) {
        (Some(start), _) => (start, until.unwrap_or(now)),
        (None, Some(start)) => (start, date("ActionDateEnd").unwrap_or(now)),
        (None, None) => (now - 7 * DAY, now),
    };
    if to - from > 45 * DAY {
        return refuse("EndDate", "The range exceeds 45 days");
    }
    let size = query::number(query, "PageSize").unwrap_or(20_000).clamp(2_000, 20_000) as usize;
    let number = query::number(query, "Page").unwrap_or(1).max(1) as usize;
    let state = query::value(query, "State");
    let mut found = Vec::new();
    for buyer in world.everyone().filter(|buyer| world.data.campaign(*buyer) == campaign) {
        for order in 0..world.data.orders(buyer) {
            let at = world.data.ordered(buyer, order);
            if (from..=to).contains(&at) {
                let keys = (0..world.data.actions(buyer, order)).map(|action| ActionKey { buyer, order, action });
                found.extend(keys.filter(|key| world.data.action_id(*key).is_some()).map(|key| (at, key)));
            }
        }
    }
    if found.len() > 10 * size {
        return refuse("PageSize", "The total exceeds ten pages");
    }
    found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let values = found.into_iter().map(|(_, key)| action_value(world, sid, key));
    let values = values.filter(|value| state.as_deref().is_none_or(|state| value["State"] == state)).collect();
    page(json, sid, "Actions", "Actions", values, (number, size))
}

fn action_value(world: &World, sid: &str, key: ActionKey) -> Value {
    let data = &world.data;
    let id = data.action_id(key).unwrap_or_default();
    let at = data.ordered(key.buyer, key.order);
    let reversed = world.is_reversed(key);
    let locks = at + 27 * DAY;
    let state = match (reversed, locks < data.today) {
        (true, _) => "REVERSED",
        (false, true) => "APPROVED",
        (false, false) => "PENDING",
    };
    let intended = data.amount(key.buyer, key.order) as f64 / 100.0;
    let amount = if reversed { 0.0 } else { intended };
    // Numbers may arrive as text; amounts here do, unless tidiness was asked for.
    let money = |value: f64| if world.style.tidy { json!(value) } else { json!(format!("{value:.2}")) };
    let mut value = json!({
        "Id": id, "CampaignId": data.campaign(key.buyer), "CampaignName": "Friends and Family",
        "ActionTrackerId": data.tracker(key.buyer, key.order), "ActionTrackerName": "Purchase", "EventCode": "",
        "MediaPartnerId": 10_000, "MediaPartnerName": "Advocate", "State": state, "Payout": money(0.0),
        "Amount": money(amount), "DeltaAmount": money(if reversed { -intended } else { intended }), "IntendedAmount": money(intended),
        "Currency": "USD", "EventDate": time::iso(at), "CreationDate": time::iso(at + 60_000),
        "LockingDate": time::iso(locks), "ClearedDate": "", "ReferringType": "CLICK_COOKIE", "ReferringDomain": "",
        "Oid": data.order_id(key.buyer, key.order), "CustomerStatus": "NEW", "Note": "",
        "Uri": format!("/Advertisers/{sid}/Actions/{id}"),
    });
    if world.style.tidy {
        // The schema calls it a date, which an empty text is not.
        value.as_object_mut().map(|object| object.remove("ClearedDate"));
    }
    value
}
