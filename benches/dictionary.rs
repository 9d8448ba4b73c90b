//! Writes sample rewards to train `src/store/index/rewards.dict`, the dictionary that raw rewards are compressed with.
//!
//! The dictionary is compiled into recoup, so it must contain no personal data: train it on the simulator only, never
//! on a tenant. Each of the four indexes below comes from `recoup crawl` against `recoup simulate --participants 2000`,
//! with one `--source` and one `--link-in`:
//!
//! ```sh
//! # for each of --link-in reward, event, meta, none and --tidy: crawl --source participants, graphql, export
//! cargo bench --bench dictionary -- samples reward.db event.db graphql.db export.db
//! zstd --train -r samples --maxdict=16384 -o src/store/index/rewards.dict
//! ```
//!
//! A larger dictionary adds more bytes to the program than it saves in the index. After training a new dictionary,
//! increase `FORMAT` in `src/store/index/raw_json.rs`, because recoup must refuse an index that was compressed with
//! another dictionary.

use std::path::{Path, PathBuf};

use recoup::store::Identity;
use recoup::store::index::Index;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Number of sample rewards from each index.
const SAMPLES: usize = 1500;

/// The examples of Get Rewards and of a reward within a referral in the vendor's reference. Tenants differ, so the
/// benchmark repeats the vendor's examples until they are as many as the samples of one index.
const PUBLISHED: [&str; 4] = [
    r#"{"id":"582142aae4b05442a5fa01a5","type":"CREDIT","dateGiven":1478574762838,"dateExpires":null,"dateCancelled":null,"dateScheduledFor":null,"accountId":"613611","userId":"876343","cancellable":true,"rewardSource":"REFERRED","unit":"CENTS","discountPercent":null,"name":"Dollar Credit","description":null,"assignedCredit":2500,"redeemedCredit":0,"redemptions":[{"id":"5462600de4b09b1c41238f2f","dateRedeemed":1415733261275,"quantityRedeemed":2000}],"currency":null,"amount":null,"fuelTankCode":null,"fueltankType":null}"#,
    r#"{"id":"5462600de4b09b1c41108f2e","type":"PCT_DISCOUNT","dateGiven":1415733261275,"dateExpires":null,"dateCancelled":null,"dateScheduledFor":null,"accountId":"613611","userId":"876343","cancellable":true,"rewardSource":"REFERRED","unit":"%","discountPercent":20,"name":null,"description":null,"assignedCredit":null,"redeemedCredit":null,"redemptions":null,"currency":null,"amount":null,"fuelTankCode":null,"fueltankType":null}"#,
    r#"{"id":"impact-month-reward","type":"CREDIT","unit":"MONTH","assignedCredit":1,"redeemedCredit":0}"#,
    r#"{"id":"6a1709e0eb067e53ef651c3b","type":"CREDIT","uniqueId":null,"dateCreated":1779894752360,"dateScheduledFor":null,"dateGiven":1779894752451,"dateExpires":null,"dateCancelled":null,"accountId":"abc123","userId":"abc123","cancellable":true,"rewardSource":"REFERRED","programId":null,"programRewardKey":null,"globalRewardKey":null,"referralId":"6a1709e0eb067e53ef651c29","unit":"CENTS","assignedCredit":100,"redeemedCredit":0,"name":"Dollar Credit","currency":null,"redemptions":null}"#,
];

#[expect(clippy::print_stdout, reason = "a bench prints what it did")]
fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench").map(PathBuf::from);
    let folder = args.next().ok_or("usage: cargo bench --bench dictionary -- FOLDER INDEX...")?;
    std::fs::create_dir_all(&folder)?;
    let mut written = 0;
    for raw in PUBLISHED.iter().cycle().take(SAMPLES / 4) {
        write(&folder, &mut written, raw)?;
    }
    for path in args {
        let none = String::new;
        // If no identity is given, recoup does not compare it with the identity in the index.
        let any = Identity { tenant: none(), account_sid: none(), advocate_url: none(), brand_url: none() };
        for (_, _, raw) in Index::open(&path, &any)?.raw_after(0, SAMPLES)? {
            write(&folder, &mut written, &raw)?;
        }
    }
    println!("{written} samples in {}", folder.display());
    Ok(())
}

fn write(folder: &Path, written: &mut usize, raw: &str) -> Outcome<()> {
    std::fs::write(folder.join(format!("{written}.json")), raw)?;
    *written += 1;
    Ok(())
}
