//! Decodes every published response that recoup reads, from the fixtures in `tests/fixtures/api`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::model::{ActionId, OrderId, Target};
use crate::vendor::advocate::{object_text, reward_list, users_page};
use crate::vendor::brand::actions::{actions, item_page, update_page};
use crate::vendor::brand::files::{file, file_error_page, file_page};
use crate::vendor::brand::submissions::{submission, submission_page};
use crate::vendor::brand_writer::queued;
use crate::vendor::error_body::ErrorBody;
use crate::vendor::rate_headers::wait_from_headers;
use crate::vendor::{Submission, SubmissionStatus, UsersPage};

fn ours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/api")
}

fn read(dir: &Path, name: &str) -> Vec<u8> {
    let path = dir.join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Decodes a fixture by the kind in its file name, and describes the result.
fn decode(dir: &Path, name: &str) -> Option<String> {
    let body = read(dir, name);
    Some(match name.trim_end_matches(".json") {
        "users-page" => {
            let UsersPage { users, rows, total, unusable } = users_page(&body)?;
            format!("{rows} rows, {} usable, {} not, of {}", users.len(), unusable.len(), total?)
        }
        "user" => {
            let page = [b"{\"users\":[", &body[..], b"]}"].concat();
            format!("{} user", users_page(&page)?.users.len())
        }
        list if list.starts_with("reward-list") => format!("{} rewards", reward_list(&body)?.len()),
        reward if reward.starts_with("reward") => object_text(&body).map(|_| "a reward".to_owned())?,
        answer if answer.starts_with("queued-response") => {
            queued(&body)?.queued_uri?.rsplit('/').next().map(|id| format!("queued as {id}"))?
        }
        "api-submission-complete" => {
            let s = submission(&body)?;
            format!("{:?} {:?} {:?} {}", s.status, s.error_type?, s.error_reasons, s.completion_date?)
        }
        "api-submissions-page" => {
            let rows = submission_page(&body)?.rows;
            let one = |s: &Submission| {
                format!("{} {:?} sent {}", s.submission_type.as_deref().unwrap_or("-"), s.status, s.payload.len())
            };
            rows.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        "action-item" => {
            format!("{:?}", item_page(&[b"[", &body[..], b"]"].concat())?.rows.pop()?.amount())
        }
        "action-items" => {
            let rows = item_page(&body)?.rows;
            rows.iter()
                .map(|i| {
                    format!("{} x {}: {}", i.quantity.as_deref().unwrap_or("?"), i.sku, i.amount().unwrap_or_default())
                })
                .collect::<Vec<_>>()
                .join(", ")
        }
        update if update.starts_with("action-update") => {
            let bare = !body.windows(15).any(|w| w == b"\"ActionUpdates\"");
            let body = if bare { [b"[", &body[..], b"]"].concat() } else { body };
            let rows = update_page(&body)?.rows;
            rows.iter()
                .map(|u| format!("{} {:?} {}", u.action_id, u.state, u.is_reversed()))
                .collect::<Vec<_>>()
                .join(", ")
        }
        "ftp-submissions-page" => {
            let rows = file_page(&body)?.rows;
            rows.iter().map(|f| format!("{} {:?}", f.batch_id, f.status)).collect::<Vec<_>>().join(", ")
        }
        submission if submission.starts_with("ftp-submission") => {
            let f = file(&body)?;
            format!(
                "{:?} {:?} of {:?} wrong, {:?}",
                f.status,
                f.total_errors?,
                f.total_records?,
                f.errors_uri?.rsplit('/').next()?
            )
        }
        error if error.starts_with("ftp-error-detail") => {
            let bare = !body.windows(13).any(|w| w == b"\"ErrorDetail\"");
            let body = if bare { [b"[", &body[..], b"]"].concat() } else { body };
            let rows = file_error_page(&body)?.rows;
            rows.iter()
                .map(|e| format!("{:?} {:?} {:?} {}", e.line, e.order_id, e.reason, e.is_inconclusive()))
                .collect::<Vec<_>>()
                .join(", ")
        }
        "action" | "actions-page" => {
            let actions = actions(&body)?;
            let first = actions.first()?;
            format!(
                "{}: {:?} {:?} {:?} {:?}",
                actions.len(),
                first.amount,
                first.currency,
                first.oid,
                first.action_tracker_id
            )
        }
        error if error.starts_with("error-") => {
            let error = ErrorBody::parse(&body);
            format!("{}{}{}", error.message.as_deref()?, error.codes(), if error.is_tenant() { " tenant" } else { "" })
        }
        limited if limited.starts_with("rate-limited") => limit(&body)?,
        _ => return None,
    })
}

/// Returns the wait that the headers of a 429 demand.
fn limit(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Limited {
        status: u16,
        headers: BTreeMap<String, String>,
    }
    let limited: Limited = serde_json::from_slice(body).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in &limited.headers {
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    let now = Timestamp::from_second(1_700_000_000).ok()?;
    let wait = wait_from_headers(&headers, now).map(|until| until.duration_since(now).as_secs());
    Some(format!("{} {wait:?}", limited.status))
}

#[test]
fn every_fixture_decodes() {
    for (name, expected) in [
        ("users-page.json", "3 rows, 2 usable, 1 not, of 41"),
        ("user.json", "1 user"),
        ("reward-list.json", "3 rewards"),
        ("reward-list-enveloped.json", "1 rewards"),
        ("reward-list-month-credit.json", "1 rewards"),
        ("reward.json", "a reward"),
        ("reward-in-referral.json", "a reward"),
        ("queued-response.json", "queued as A-00000000-1111-2222-3333-444444444444"),
        ("queued-response-short-id.json", "queued as A-2222-444444444444"),
        (
            "api-submission-complete.json",
            r#"Complete "Contract Error" ["CONTRACT_NOT_FOUND", "RESTRICTED_PROMOCODE"] 2025-03-04T05:10:00-08:00"#,
        ),
        ("action.json", r#"1: Some("42.10") Some("EUR") Some(OrderId("000123")) Some("5000")"#),
        ("actions-page.json", r#"2: Some("0.00") None Some(OrderId("000123")) Some("5000")"#),
        ("action-items.json", "2 x TEA-1: 19.20, 1 x 77: 22.90"),
        ("action-update.json", r#"3000.6272.1700 Some("PENDING") false, 3000.6272.1700 Some("REVERSED") true"#),
        (
            "api-submissions-page.json",
            "Reversal Complete sent 3, Reversal InProgress sent 3, Modification Queued sent 2, Conversion Complete sent 0",
        ),
        ("ftp-submission.json", r#"Complete 1 of 3 wrong, "Errors""#),
        ("ftp-submissions-page.json", "BATCH-1 Complete, 2 Queued"),
        (
            "ftp-error-detail.json",
            r#"Some(2) Some(OrderId("000123")) Some("ACTION_NOT_FOUND") true, Some(3) Some(OrderId("124")) Some("Invalid date format") false"#,
        ),
        ("reward-cancel-response.json", "a reward"),
        ("error-tenant-not-found.json", "Tenant alias missing or not valid. (TENANT_NOT_FOUND, RS045) tenant"),
        ("error-advocate-validation.json", "The request does not fit the schema. (VALIDATION_FAILED)"),
        ("error-brand-validation.json", "Validation Failed; CampaignId: Not a number"),
        ("error-brand-lower-case.json", "OrderId: Too long"),
        ("error-graphql.json", "went wrong"),
        ("rate-limited-brand.json", "429 None"),
        ("rate-limited-partner.json", "429 Some(640)"),
    ] {
        assert_eq!(decode(&ours(), name).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn every_fixture_is_in_the_table() {
    for entry in std::fs::read_dir(ours()).expect("the fixtures").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(decode(&ours(), &name).is_some(), "{name} does not decode");
    }
}

#[test]
fn identifiers_stay_text_to_the_last_digit() {
    let page = users_page(&read(&ours(), "users-page.json")).expect("a page");
    assert_eq!(page.users[1].user_id.as_str(), "7002");
    assert_eq!(page.users[1].account_id.as_str(), "12345678901234567890123");
    assert_eq!(page.users[1].email, None);
}

#[test]
fn an_envelope_that_counts_more_than_it_holds_is_no_list() {
    for (text, rows) in [
        (r#"{"rewards":[{"id":"a"}]}"#, Some(1)),
        (r#"{"rewards":[{"id":"a"}],"count":1,"totalCount":"1"}"#, Some(1)),
        (r#"{"rewards":[{"id":"a"}],"count":1,"totalCount":2}"#, None),
        (r#"{"rewards":[],"totalCount":"7"}"#, None),
        (r#"{"rewards":[{"id":"a"}],"count":9}"#, None),
        (r#"{"rewards":[],"count":null,"totalCount":null}"#, Some(0)),
    ] {
        assert_eq!(reward_list(text.as_bytes()).map(|list| list.len()), rows, "{text}");
    }
}

#[test]
fn rows_that_cannot_be_used_are_counted_and_lists_that_are_none_are_refused() {
    let page = |text: &'static str| users_page(text.as_bytes());
    let mixed = page(
        r#"{"users":[null,7,"x",[],{"id":"","accountId":"a"},{"id":{},"accountId":"a"},{"id":1,"accountId":"a"}]}"#,
    );
    assert_eq!(mixed.map(|p| (p.rows, p.users.len(), p.unusable.len(), p.total)), Some((7, 1, 6, None)));
    for text in ["", "{}", "[]", "null", r#"{"users":null}"#, r#"{"users":{}}"#, r#"{"users":[]} x"#] {
        assert_eq!(page(text), None, "{text}");
    }
    for text in ["", "{}", "null", "7", r#"{"rewards":null}"#, "[] []", "[1"] {
        assert!(reward_list(text.as_bytes()).is_none(), "{text}");
    }
}

#[test]
fn a_submission_is_clean_complete_or_inconclusive() {
    let read = |text: &'static str| submission(text.as_bytes());
    for (text, status, clean, inconclusive) in [
        (r#"{"Status":"Complete","ErrorType":"","ErrorReason":""}"#, SubmissionStatus::Complete, true, false),
        (r#"{"status":"COMPLETE","errorType":null}"#, SubmissionStatus::Complete, true, false),
        (r#"{"Status":"Complete","ErrorType":"Validation"}"#, SubmissionStatus::Complete, false, false),
        (r#"{"Status":"Complete","ErrorReason":"ACTION_NOT_FOUND"}"#, SubmissionStatus::Complete, false, true),
        (r#"{"Status":"Complete","ErrorReason":["ACTION_NOT_FOUND"]}"#, SubmissionStatus::Complete, false, true),
        (
            r#"{"Status":"Complete","ErrorReason":"ACTION_NOT_FOUND OID_MISSING"}"#,
            SubmissionStatus::Complete,
            false,
            false,
        ),
        (r#"{"Status":"Complete","ErrorReason":"OID_MISSING"}"#, SubmissionStatus::Complete, false, false),
        (r#"{"Status":"In Progress"}"#, SubmissionStatus::InProgress, true, false),
        (r#"{"Status":"QUEUED"}"#, SubmissionStatus::Queued, true, false),
        (r#"{"Status":"Held"}"#, SubmissionStatus::Other("Held".into()), true, false),
    ] {
        let s = read(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!((s.is_clean(), s.is_inconclusive()), (clean, inconclusive), "{text}");
        assert_eq!(s.is_complete(), status == SubmissionStatus::Complete, "{text}");
        assert_eq!(s.status, status, "{text}");
    }
    assert_eq!(read("{}"), None);
}

#[test]
fn a_submission_says_what_it_is_about() {
    let rows = submission_page(&read(&ours(), "api-submissions-page.json")).expect("a page").rows;
    let order =
        |id: &str, tracker: &str| Target::Order { order_id: OrderId::new(id), action_tracker_id: tracker.into() };
    for (target, expected) in [
        (Target::Action(ActionId::new("3000.6272.1700")), vec!["A-1"]),
        (Target::Action(ActionId::new("3000.6272.1701")), vec![]),
        (order("000123", "5000"), vec!["A-2", "A-3"]),
        (order("123", "5000"), vec![]),
        (order("000123", "5001"), vec![]),
        (order("000124", "5000"), vec!["A-4"]),
    ] {
        let about: Vec<&str> =
            rows.iter().filter(|s| s.is_about(&target)).filter_map(|s| s.batch_id.as_deref()).collect();
        assert_eq!(about, expected, "{target:?}");
    }
    assert_eq!(rows[0].sent("dispositioncode"), Some("my Code"));
    let moments = (rows[0].submitted_at().map(|at| at.to_string()), rows[0].completed_at().map(|at| at.to_string()));
    assert_eq!(moments, (Some("2025-03-09T13:10:00Z".into()), Some("2025-03-09T13:14:11Z".into())));
    assert!(!format!("{:?}", rows[0]).contains("3000.6272"), "what was sent is not printed");
}
