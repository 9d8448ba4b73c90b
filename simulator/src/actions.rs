//! Writes the actions of the Brand API, their items and their updates as JSON.
//!
//! The JSON keys of an action follow the published examples. The numbers of an action are text if `--tidy` is not set.
//! Writing actions changes no data.

use serde_json::{Value, json};

use super::{
    action_log::{PERFORMANCE, Update},
    brand::page,
    data::DAY,
    items::Item,
    keys::ActionKey,
    query,
    reply::{Reply, brand, brand_error},
    time,
    world::World,
};

/// Answers `GET /Actions/{rest}`: one action, all its items, or one of its items.
pub(super) fn one(world: &World, sid: &str, json: bool, rest: &str, query: &str) -> Reply {
    let parts: Vec<&str> = rest.splitn(3, '/').collect();
    let Some(action) = world.action(&query::segment(parts[0])) else {
        return brand_error(json, 404, "No such action", None);
    };
    let id = world.data.action_id(action).unwrap_or_default();
    let item = |item: &Item| item_value(world, sid, &id, action, item);
    match parts[..] {
        [_] => brand(json, 200, "Action", &value(world, sid, action)),
        [_, "Items"] => {
            let items = world.action_log.state(&world.data, action).items.iter().map(item).collect();
            page(json, sid, (&format!("Actions/{id}/Items"), query), "ActionItems", items, 100)
        }
        [_, "Items", sku] => {
            let sku = query::segment(sku);
            let items = world.action_log.state(&world.data, action).items;
            match items.iter().find(|item| item.sku == sku) {
                Some(found) => brand(json, 200, "ActionItem", &item(found)),
                None => brand_error(json, 404, "No such item", None),
            }
        }
        _ => brand_error(json, 404, "Not found", None),
    }
}

/// The date ranges in the query for a list of actions or updates.
struct Dates {
    /// The range of the time of an action's last change, or of its recording if it is unchanged.
    updated: Option<(i64, i64)>,
    event: Option<(i64, i64)>,
    locking: Option<(i64, i64)>,
}

/// Parses the date ranges of a query for actions or updates. The parse error contains the invalid parameter and what is
/// wrong with it. The vendor's lists of actions and of updates have the same rules for dates.
fn dates(query: &str) -> Result<Dates, (&'static str, &'static str)> {
    let date = |key: &str| query::value(query, key).map(|text| time::parse(&text));
    let now = time::now_ms();
    let range = |from: &'static str, to: &'static str, needs: bool| match (date(from), date(to)) {
        (Some(None), _) => Err((from, "Not a date")),
        (_, Some(None)) => Err((to, "Not a date")),
        (Some(Some(_)), None) if needs => Err((to, "Required with StartDate")),
        (Some(Some(from)), until) => Ok(Some((from, until.flatten().unwrap_or(now)))),
        (None, Some(_)) => Err((from, "Required with the end of the range")),
        (None, None) => Ok(None),
    };
    let (mut updated, event) =
        (range("StartDate", "EndDate", true)?, range("ActionDateStart", "ActionDateEnd", false)?);
    let locking = range("LockingDateStart", "LockingDateEnd", false)?;
    if updated.is_some_and(|(from, _)| from < now - 3 * 366 * DAY) {
        return Err(("StartDate", "More than three years ago"));
    }
    if [updated, event].into_iter().flatten().any(|(from, to)| to - from > 45 * DAY) {
        return Err(("EndDate", "The range exceeds 45 days"));
    }
    if updated.is_none() && event.is_none() && locking.is_none() {
        updated = Some((now - 7 * DAY, now));
    }
    Ok(Dates { updated, event, locking })
}

fn is_in(range: Option<(i64, i64)>, at: i64) -> bool {
    range.is_none_or(|(from, to)| (from..=to).contains(&at))
}

/// Calls `each` for every action of the program that has an ActionId.
fn of_program(world: &World, campaign: u64, mut each: impl FnMut(ActionKey)) {
    for buyer in world.everyone().filter(|buyer| world.data.campaign(*buyer) == campaign) {
        for order in 0..world.data.orders(buyer) {
            let keys = (0..world.data.actions(buyer, order)).map(|action| ActionKey { buyer, order, action });
            keys.filter(|key| world.data.action_id(*key).is_some()).for_each(&mut each);
        }
    }
}

/// Answers `GET /Actions`: the actions of a program within a date range, newest first. The date of an action is the
/// date of its event, whatever changes later.
pub(super) fn list(world: &World, sid: &str, json: bool, query: &str) -> Reply {
    let refuse = |field: &str, message: &str| brand_error(json, 400, "Validation Failed", Some((field, message)));
    let Some(campaign) = query::number(query, "CampaignId") else { return refuse("CampaignId", "Required") };
    let dates = match dates(query) {
        Ok(dates) => dates,
        Err((field, message)) => return refuse(field, message),
    };
    let size = query::number(query, "PageSize").unwrap_or(20_000).clamp(2_000, 20_000) as usize;
    let state = query::value(query, "State");
    let mut found = Vec::new();
    of_program(world, campaign, |key| {
        let at = world.data.ordered(key.buyer, key.order);
        if is_in(dates.updated, at) && is_in(dates.event, at) && is_in(dates.locking, world.data.locks(key)) {
            found.push((at, key));
        }
    });
    if found.len() > 10 * size {
        return refuse("PageSize", "The total exceeds ten pages");
    }
    found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let values = found.into_iter().map(|(_, key)| value(world, sid, key));
    let values = values.filter(|value| state.as_deref().is_none_or(|state| value["State"] == state)).collect();
    page(json, sid, ("Actions", query), "Actions", values, size)
}

/// Answers `GET /ActionUpdates`: the updates of a program within a date range, newest first.
pub(super) fn updates(world: &World, sid: &str, json: bool, query: &str) -> Reply {
    let refuse = |field: &str, message: &str| brand_error(json, 400, "Validation Failed", Some((field, message)));
    let Some(campaign) = query::number(query, "CampaignId") else { return refuse("CampaignId", "Required") };
    let dates = match dates(query) {
        Ok(dates) => dates,
        Err((field, message)) => return refuse(field, message),
    };
    let state = query::value(query, "State");
    let mut found = Vec::new();
    of_program(world, campaign, |key| {
        if is_in(dates.event, world.data.ordered(key.buyer, key.order)) && is_in(dates.locking, world.data.locks(key)) {
            let log = world.action_log.updates(&world.data, key).into_iter();
            let wanted = log.filter(|one| state.as_deref().is_none_or(|state| one.state == state));
            found.extend(wanted.filter(|one| is_in(dates.updated, one.at)).map(|one| (key, one)));
        }
    });
    found.sort_by_key(|(_, one)| std::cmp::Reverse((one.at, one.number)));
    let values = found.iter().map(|(key, one)| update_value(world, sid, *key, one)).collect();
    page(json, sid, ("ActionUpdates", query), "ActionUpdates", values, 20_000)
}

/// Answers `GET /ActionUpdates/{id}`: one action update.
pub(super) fn update(world: &World, sid: &str, json: bool, id: &str) -> Reply {
    let found = id.rsplit_once('.').and_then(|(action, number)| {
        let key = world.action(action)?;
        let one =
            world.action_log.updates(&world.data, key).into_iter().find(|one| number.parse() == Ok(one.number))?;
        Some(update_value(world, sid, key, &one))
    });
    match found {
        Some(value) => brand(json, 200, "ActionUpdate", &value),
        None => brand_error(json, 404, "No such update", None),
    }
}

/// Writes an amount as text, as the vendor does, or as a number with `--tidy`.
fn money(world: &World, cents: i64) -> Value {
    let value = cents as f64 / 100.0;
    if world.style.tidy { json!(value) } else { json!(format!("{value:.2}")) }
}

fn value(world: &World, sid: &str, key: ActionKey) -> Value {
    let data = &world.data;
    let id = data.action_id(key).unwrap_or_default();
    let at = data.ordered(key.buyer, key.order);
    let standing = world.action_log.state(data, key);
    let performance = data.campaign(key.buyer) == PERFORMANCE;
    let mut value = json!({
        "Id": id, "CampaignId": data.campaign(key.buyer),
        "CampaignName": if performance { "Partners" } else { "Friends and Family" },
        "ActionTrackerId": data.tracker(key.buyer, key.order), "ActionTrackerName": "Purchase", "EventCode": "",
        "MediaPartnerId": 10_000, "MediaPartnerName": "Advocate", "State": standing.state, "Payout": money(world, 0),
        "Amount": money(world, standing.cents), "DeltaAmount": money(world, standing.delta),
        "IntendedAmount": money(world, data.amount(key.buyer, key.order) as i64),
        "Currency": data.currency(key.buyer), "EventDate": time::iso(at), "CreationDate": time::iso(at + 60_000),
        "LockingDate": time::iso(data.locks(key)), "ClearedDate": "", "ReferringType": "CLICK_COOKIE", "ReferringDomain": "",
        "Oid": data.order_id(key.buyer, key.order), "CustomerStatus": "NEW", "Note": "",
        "Uri": format!("/Advertisers/{sid}/Actions/{id}"),
    });
    if world.style.tidy {
        // Omits the key `ClearedDate`, because the schema's type is a date, and an empty text is not a date.
        value.as_object_mut().map(|object| object.remove("ClearedDate"));
    }
    value
}

/// Writes one item of an action. In the vendor's schema, quantity and sale amount of an item are text, and the payout
/// is a number.
fn item_value(world: &World, sid: &str, id: &str, key: ActionKey, item: &Item) -> Value {
    let (at, reason) = item.adjusted.clone().map_or((String::new(), String::new()), |(at, code)| (time::iso(at), code));
    let currency = world.data.currency(key.buyer);
    let mut value = json!({
        "Sku": item.sku, "ItemName": item.name, "Category": item.category, "Quantity": item.quantity.to_string(),
        "SaleAmount": format!("{:.2}", item.cents as f64 / 100.0), "SaleAmountCurrency": currency, "Payout": 0.0,
        "PayoutCurrency": currency, "Rebate": 0.0, "RebateCurrency": currency, "AdjustmentDate": at, "AdjustmentReason": reason,
        "Uri": format!("/Advertisers/{sid}/Actions/{id}/Items/{}", item.sku),
    });
    if world.style.tidy && item.adjusted.is_none() {
        value.as_object_mut().map(|object| object.remove("AdjustmentDate"));
    }
    if world.style.tidy {
        // Omits the item's URI, because a SKU may contain characters that a URI may not.
        value.as_object_mut().map(|object| object.remove("Uri"));
    }
    value
}

fn update_value(world: &World, sid: &str, key: ActionKey, update: &Update) -> Value {
    let data = &world.data;
    let action = data.action_id(key).unwrap_or_default();
    let id = format!("{action}.{}", update.number);
    let tracker = data.tracker(key.buyer, key.order);
    json!({
        "Id": id, "ActionId": action, "CampaignId": data.campaign(key.buyer), "ActionTrackerId": tracker,
        "EventTypeId": tracker.to_string(), "EventTypeName": "Purchase", "EventCode": "", "MediaPartnerId": 10_000,
        "State": update.state, "StateDetail": "", "Disposition": update.code, "DeltaPayout": money(world, 0),
        "DeltaAmount": money(world, update.delta), "Currency": data.currency(key.buyer), "Sku": update.sku,
        "Quantity": update.quantity.to_string(), "PayoutLevel": "ITEM", "UpdateDate": time::iso(update.at),
        "LockingDate": time::iso(data.locks(key)), "ActionDate": time::iso(data.ordered(key.buyer, key.order)),
        "Oid": data.order_id(key.buyer, key.order), "CustomerStatus": "NEW",
        "ActionUri": format!("/Advertisers/{sid}/Actions/{action}"),
        "Uri": format!("/Advertisers/{sid}/ActionUpdates/{id}"),
    })
}
