//! Tests of the expiry of sessions, tokens and Idempotency-Keys.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;

const PASSWORD: &str = "a long enough password";

fn identity() -> Identity {
    let text = |text: &str| text.to_owned();
    Identity { tenant: text("t"), account_sid: text("s"), advocate_url: text("http://a"), brand_url: text("http://b") }
}

fn opened() -> (TempDir, AccessControl) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("a.db");
    assert!(
        AccessControl::open_existing(&path.clone().into(), &identity(), Limits::default()).expect("opens").is_none()
    );
    let mut access = AccessControl::open(&path, &identity(), Limits::default()).expect("opens");
    access.add_user("ann", Role::Agent, PASSWORD, Some("ann1"), &by(0)).expect("adds");
    (folder, access)
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 20_000) + SignedDuration::from_mins(minutes)
}

fn by(minutes: i64) -> By<'static> {
    static BOSS: std::sync::LazyLock<crate::model::Actor> =
        std::sync::LazyLock::new(|| crate::model::Actor::new("boss", "a test"));
    By { actor: &BOSS, at: at(minutes) }
}

fn from(peer: &str) -> Origin {
    Origin { peer: peer.to_owned(), browser: None }
}

fn login(access: &mut AccessControl, now: Timestamp) -> String {
    let session = access.login("ann", PASSWORD, &from("peer"), now).expect("asks").expect("lets in");
    session.cookie.expose_secret().to_owned()
}

#[test]
fn a_session_ends_when_idle_at_its_end_and_when_somebody_signs_out() {
    let (_folder, mut access) = opened();
    let cookie = login(&mut access, at(0));
    assert_eq!(access.session(&cookie, at(59)).expect("asks").expect("lasts").principal.name, "ann");
    assert!(access.session(&cookie, at(118)).expect("asks").is_some(), "the request before has moved its end");
    assert!(access.session(&cookie, at(118 + 62)).expect("asks").is_none(), "idle for too long");
    assert!(access.session(&cookie, at(118)).expect("asks").is_none(), "what has ended stays so");

    let cookie = login(&mut access, at(200));
    for minutes in (200..200 + 720).step_by(50) {
        assert!(access.session(&cookie, at(minutes)).expect("asks").is_some(), "{minutes}");
    }
    assert!(access.session(&cookie, at(200 + 721)).expect("asks").is_none(), "twelve hours are over");

    let cookie = login(&mut access, at(1000));
    access.end_session(&cookie).expect("ends");
    assert!(access.session(&cookie, at(1000)).expect("asks").is_none());
}

#[test]
fn disabling_a_user_ends_sessions_and_tokens_at_once() {
    let (folder, mut access) = opened();
    let cookie = login(&mut access, at(0));
    let (_, token) = access.add_token("ann", "desk", &[Right::LookUp], Duration::from_hours(1), &by(0)).expect("adds");
    let mut other = AccessControl::open(folder.path().join("a.db"), &identity(), Limits::default()).expect("opens");
    assert!(other.session(&cookie, at(1)).expect("asks").is_some());
    let who = other.token(token.expose_secret(), at(1)).expect("asks").expect("is known");
    assert!(who.may(Right::LookUp) && !who.may(Right::Retract), "only what the token is for");

    access.disable("ann", None, &by(2)).expect("disables");
    assert!(other.session(&cookie, at(2)).expect("asks").is_none());
    assert!(other.token(token.expose_secret(), at(2)).expect("asks").is_none());
    assert!(other.user_of_os("ann1").expect("asks").is_none());
    assert!(matches!(other.login("ann", PASSWORD, &from("peer"), at(3)).expect("asks"), Err(LoginRefused::Wrong)));

    access.enable("ann", &by(3)).expect("enables");
    assert!(access.token(token.expose_secret(), at(4)).expect("asks").is_none(), "a revoked token stays so");
    assert!(access.login("ann", PASSWORD, &from("peer"), at(60)).expect("asks").is_ok());
}

#[test]
fn a_token_ends_by_itself_and_does_no_more_than_its_user_may() {
    let (_folder, mut access) = opened();
    let (id, token) = access.add_token("ann", "desk", &[Right::Retract], Duration::from_mins(5), &by(0)).expect("adds");
    assert!(access.token(token.expose_secret(), at(4)).expect("asks").expect("is known").may(Right::Retract));
    access.set_role("ann", Role::Viewer, &by(4)).expect("sets");
    assert!(!access.token(token.expose_secret(), at(4)).expect("asks").expect("is known").may(Right::Retract));
    assert!(access.token(token.expose_secret(), at(5)).expect("asks").is_none());
    access.revoke_token(id, &by(6)).expect("revokes");
    assert!(access.revoke_token(id, &by(6)).is_err(), "once");
    let refused =
        access.add_token("ann", "desk", &[Right::Batch], Duration::from_mins(5), &by(0)).expect_err("a viewer");
    assert!(refused.message.contains("would be useless"), "{}", refused.message);
}

#[test]
fn guessing_is_slowed_down_also_where_the_password_is_right_then() {
    let (_folder, mut access) = opened();
    for n in 0..5 {
        let refused =
            access.login("ann", "wrong", &from(&format!("peer{n}")), at(0)).expect("asks").expect_err("wrong");
        assert_eq!(refused, LoginRefused::Wrong, "{n}");
    }
    let refused = access.login("ann", PASSWORD, &from("another"), at(0)).expect("asks").expect_err("throttled");
    assert!(matches!(refused, LoginRefused::Throttled { until } if until > at(0)));
    assert!(access.login("ann", PASSWORD, &from("another"), at(1)).expect("asks").is_ok());
    assert!(access.login("ann", "wrong", &from("another"), at(1)).expect("asks").is_err(), "the count has begun anew");
    assert!(access.login("ann", PASSWORD, &from("another"), at(1)).expect("asks").is_ok());
    for n in 0..20 {
        assert!(access.login(&format!("nobody{n}"), "x", &from("one"), at(2)).expect("asks").is_err());
    }
    let refused = access.login("ann", PASSWORD, &from("one"), at(2)).expect("asks").expect_err("the address is");
    assert!(matches!(refused, LoginRefused::Throttled { .. }));
}

#[test]
fn a_name_that_no_user_has_is_slowed_down_as_one_that_a_user_has() {
    let (_folder, mut access) = opened();
    access.add_user("bob", Role::Agent, PASSWORD, None, &by(0)).expect("adds");
    access.disable("bob", None, &by(0)).expect("disables");
    let mut tried = |name: &str, password: &str| -> Vec<Option<Timestamp>> {
        let mut one = |n: u32| {
            let refused = access.login(name, password, &from(&format!("{name}{n}")), at(0)).expect("asks");
            match refused.expect_err("refused") {
                LoginRefused::Wrong => None,
                LoginRefused::Throttled { until } => Some(until),
            }
        };
        (0..8).map(&mut one).collect()
    };
    let user = tried("ann", "wrong");
    assert!(user[4].is_none() && user[5].is_some(), "{user:?}");
    assert_eq!(tried("nobody", "wrong"), user);
    assert_eq!(tried("bob", PASSWORD), user, "a disabled user");
    assert_eq!(tried("too-long", &"x".repeat(secret::PASSWORD_AT_MOST + 1)), user);
}

#[test]
fn guesses_of_a_stranger_do_not_keep_the_owner_of_a_name_out() {
    let (_folder, mut access) = opened();
    let first = access.login("ann", PASSWORD, &from("home"), at(0)).expect("asks").expect("lets in");
    let known = Origin { browser: Some(first.browser.clone()), ..from("home") };
    for n in 0..30 {
        let stranger = from(&format!("peer{n}"));
        assert!(access.login("ann", "wrong", &stranger, at(1)).expect("asks").is_err());
        assert!(access.login("ann", "wrong", &from("home"), at(1)).expect("asks").is_err());
    }
    let other = access.login("ann", PASSWORD, &from("home"), at(1)).expect("asks").expect_err("a new browser waits");
    assert!(matches!(other, LoginRefused::Throttled { .. }));
    let again = access.login("ann", PASSWORD, &known, at(1)).expect("asks").expect("the known browser does not");
    assert_eq!(again.browser, first.browser);
    // A known browser belongs to one user, and only failures in that browser delay its sign-ins.
    access.add_user("bob", Role::Agent, PASSWORD, None, &by(0)).expect("adds");
    for n in 0..5 {
        assert!(access.login("bob", "wrong", &from(&format!("p{n}")), at(1)).expect("asks").is_err());
    }
    assert!(access.login("bob", PASSWORD, &known, at(1)).expect("asks").is_err(), "not ann's browser for bob");
    let forged = Origin { browser: Some(format!("{}0", first.browser)), ..from("far") };
    assert!(access.login("ann", PASSWORD, &forged, at(1)).expect("asks").is_err());
    for _ in 0..5 {
        assert_eq!(access.login("ann", "wrong", &known, at(1)).expect("asks").err(), Some(LoginRefused::Wrong));
    }
    assert!(access.login("ann", PASSWORD, &known, at(1)).expect("asks").is_err(), "guessing in it costs as well");
}

#[test]
fn too_many_failures_of_everybody_slow_down_everybody_who_fails() {
    let (_folder, mut access) = opened();
    let guess = |access: &mut AccessControl, n: u32, now| {
        access.login(&format!("name{n}"), "x", &from(&format!("peer{n}")), now).expect("asks").expect_err("wrong")
    };
    assert_eq!([guess(&mut access, 0, at(0)), guess(&mut access, 0, at(0))], [LoginRefused::Wrong; 2]);
    for n in 1..60 {
        assert_eq!(guess(&mut access, n, at(0)), LoginRefused::Wrong);
    }
    assert_eq!(guess(&mut access, 100, at(0)), LoginRefused::Wrong);
    assert!(matches!(guess(&mut access, 100, at(0)), LoginRefused::Throttled { .. }), "no failure is free now");
    // A correct password signs in at once, and half an hour later no sign-in is delayed.
    assert!(access.login("ann", PASSWORD, &from("home"), at(0)).expect("asks").is_ok());
    assert_eq!([guess(&mut access, 200, at(30)), guess(&mut access, 200, at(30))], [LoginRefused::Wrong; 2]);
}

#[test]
fn a_key_gives_the_first_answer_again() {
    let (_folder, mut access) = opened();
    let mut begin = |user: &str, hash: &str, now| access.begin_idempotent(user, "k", hash, now).expect("asks");
    assert_eq!(begin("ann", "h", at(0)), Idempotency::New);
    assert_eq!(begin("ann", "h", at(1)), Idempotency::InFlight);
    assert_eq!(begin("ann", "other", at(1)), Idempotency::Different);
    assert_eq!(begin("bob", "h", at(1)), Idempotency::New);
    assert_eq!(begin("ann", "h", at(11)), Idempotency::New, "the process that had it is gone");
    access.finish_idempotent("ann", "k", 202, "{}").expect("keeps");
    let done = Idempotency::Done { status: 202, body: "{}".to_owned() };
    assert_eq!(access.begin_idempotent("ann", "k", "h", at(60 * 23)).expect("asks"), done);
    assert_eq!(access.begin_idempotent("ann", "k", "h", at(60 * 25)).expect("asks"), Idempotency::New, "a day is over");
    access.forget_idempotent("ann", "k").expect("frees");
    assert_eq!(access.begin_idempotent("ann", "k", "other", at(60 * 25)).expect("asks"), Idempotency::New);
}

#[test]
fn names_are_plain_and_taken_once() {
    let (_folder, mut access) = opened();
    for name in ["", "a b", "ä", "a/b", &"x".repeat(65)] {
        assert!(access.add_user(name, Role::Viewer, PASSWORD, None, &by(0)).is_err(), "{name:?}");
    }
    assert!(
        access.add_user("ann", Role::Viewer, PASSWORD, None, &by(0)).expect_err("taken").message.contains("the name")
    );
    let taken = access.add_user("bob", Role::Viewer, PASSWORD, Some("ann1"), &by(0)).expect_err("taken");
    assert!(taken.message.contains("operating system"), "{}", taken.message);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_that_a_stranger_sends_breaks_it(text in ".{0,80}") {
        let (_folder, mut access) = opened();
        prop_assert!(access.session(&text, at(0)).expect("asks").is_none());
        prop_assert!(access.token(&text, at(0)).expect("asks").is_none());
        prop_assert!(!access.check_csrf("cookie", &text));
        prop_assert!(access.by_proxy(&text).expect("asks").is_none() || text == "ann");
    }
}

#[test]
fn two_administrators_cannot_take_the_right_from_each_other_at_the_same_time() {
    let (folder, mut access) = opened();
    access.add_user("bob", Role::Admin, PASSWORD, None, &by(0)).expect("adds");
    for round in 0..20 {
        access.set_role("ann", Role::Admin, &by(round)).expect("sets");
        access.set_role("bob", Role::Admin, &by(round)).expect("sets");
        let together = std::sync::Barrier::new(2);
        let demoted: Vec<bool> = std::thread::scope(|scope| {
            let demote = |name: &'static str| {
                let path = folder.path().join("a.db");
                let mut access = AccessControl::open(path, &identity(), Limits::default()).expect("opens");
                let together = &together;
                scope.spawn(move || {
                    together.wait();
                    access.set_role(name, Role::Agent, &by(round)).is_ok()
                })
            };
            let both = [demote("ann"), demote("bob")];
            both.into_iter().map(|one| one.join().expect("ends")).collect()
        });
        assert_eq!(demoted.iter().filter(|done| **done).count(), 1, "{round}: {demoted:?}");
    }
}

#[test]
fn a_change_that_was_refused_is_not_in_the_log() {
    let (_folder, mut access) = opened();
    access.add_user("boss", Role::Admin, PASSWORD, None, &by(0)).expect("adds");
    let texts = |access: &AccessControl| -> Vec<String> {
        access.log_entries().expect("reads").into_iter().map(|(_, _, what)| what).collect()
    };
    let before = texts(&access);
    assert!(access.set_role("boss", Role::Lead, &by(1)).is_err());
    assert!(access.disable("boss", Some("why"), &by(1)).is_err());
    assert!(access.revoke_token(9, &by(1)).is_err());
    assert!(access.end_session_of("ann", "0123456789abcdef", &by(1)).is_err());
    assert!(access.add_user("ann", Role::Viewer, PASSWORD, None, &by(1)).is_err());
    assert_eq!(texts(&access), before);
}
