//! Measures the time to extract the links of one reward from its JSON.
//!
//! `cargo bench --bench extraction`. A crawl extracts the links of each reward once, so the extraction must cost far
//! less time than a request.

use recoup::extract::{Mapping, read};
use recoup::model::AccountId;

const REST: &str = r##"{"id":"66627a376a953232704bcb83","dateCreated":1717729847869,"programId":"friends-and-family",
"programRewardKey":"referredReward","referralId":"66627a37828ed32bfb4d3cd4","type":"CREDIT","dateGiven":1717729847869,
"dateExpires":null,"dateCancelled":null,"dateScheduledFor":null,"accountId":"ann+1@example.com","userId":"ann+1@example.com",
"cancellable":true,"rewardSource":"REFERRED","unit":"CENTS","discountPercent":null,"name":"Dollar Credit","description":null,
"assignedCredit":2500,"redeemedCredit":0,"redemptions":[],"currency":null,"orderId":"#1001","actionId":"4711.6002.3733152"}"##;

const EVENT: &str = r#"{"id":"66627a376a953232704bcb83","type":"CREDIT","unit":"CENTS","value":2500,"cancellable":true,
"statuses":["AVAILABLE"],"dateGiven":1717729847869,"user":{"id":"ann","accountId":"ann"},"userEvent":{"id":"5bb3978dbd8bfe82",
"key":"purchase","fields":{"order_id":"O7427540","action_id":"4711.6002.3733152","currency":"CAD","items":[{"sku":"A1"}]}}}"#;

fn main() {
    divan::main();
}

#[divan::bench(args = ["top level", "in its event"])]
fn by_search(bencher: divan::Bencher<'_, '_>, place: &str) {
    let raw = if place == "top level" { REST } else { EVENT };
    let (account, mapping) = (AccountId::new("ann"), Mapping::default());
    bencher.bench(|| read(divan::black_box(raw), &account, &mapping));
}

#[divan::bench]
fn by_configured_path(bencher: divan::Bencher<'_, '_>) {
    let paths = |path: &str| vec![path.to_owned()];
    let mapping = Mapping::new(&paths("$.userEvent.fields.order_id"), &paths("$.userEvent.fields.action_id"));
    let (account, mapping) = (AccountId::new("ann"), mapping.expect("two paths"));
    bencher.bench(|| read(divan::black_box(EVENT), &account, &mapping));
}
