//! Settings from a file, the environment and a profile together.

use tempfile::TempDir;

use std::path::Path;

use super::*;

/// Settings from this file text and these variables only.
fn load(dir: &TempDir, toml: &str, env: &[(&str, &str)], profile: Option<&str>) -> Result<Settings> {
    let path = dir.path().join("recoup.toml");
    std::fs::write(&path, toml).expect("the file");
    let global = GlobalFlags {
        config: Some(path),
        database: None,
        profile: profile.map(str::to_owned),
        json: false,
        quiet: false,
        verbose: 0,
        color: clap::ColorChoice::Auto,
    };
    let variables = env.iter().chain(&[("HOME", "/nowhere")]).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Settings::load(&global, &Environment(variables.collect()))
}

#[test]
fn a_mistake_in_the_file_is_named_by_file_section_and_key() {
    let dir = TempDir::new().expect("a folder");
    for (toml, place) in [
        ("[advocate]\nrate = '1/s'\nconcurrency = 'many'", "recoup.toml: [advocate] concurrency: "),
        ("[crawl]\nbatsch = 5", "recoup.toml: [crawl] batsch: "),
        ("tenannt = 'x'", "recoup.toml: tenannt: "),
        ("retract = 7", "recoup.toml: [retract] is not a table"),
        ("[profile.other.brand]\ntimeout = 'soon'", "recoup.toml: [profile.other.brand] timeout: "),
        ("[profile.other]\ntenant = 7", "recoup.toml: [profile.other] tenant: "),
        ("[mapping]\norder_id = 'not a path'", "recoup.toml: [mapping] order_id = "),
        ("[advocate", "recoup.toml: "),
    ] {
        let error = load(&dir, toml, &[], None).expect_err(toml);
        assert_eq!(error.kind, Kind::Config, "{toml}");
        assert!(error.message.contains(place), "{toml}: {}", error.message);
    }
}

#[test]
fn relative_paths_of_the_file_start_at_its_folder() {
    let dir = TempDir::new().expect("a folder");
    let toml = "database = 'a.db'\nledger = '/elsewhere/l.db'\nauth_token_file = 'token'";
    let settings = load(&dir, toml, &[], None).expect("settings");
    let folder = dir.path().canonicalize().expect("the folder");
    assert_eq!(settings.database, folder.join("a.db"));
    assert_eq!(settings.ledger, Path::new("/elsewhere/l.db"));
    assert!(matches!(&settings.auth_token, Some(Secret::File(path)) if *path == dir.path().join("token")));
}

#[test]
fn half_an_identity_is_compared_as_far_as_it_goes() {
    let dir = TempDir::new().expect("a folder");
    let identity = |env: &[(&str, &str)]| {
        let identity = load(&dir, "", env, None).expect("settings").identity_if_set().expect("usable");
        identity.map(|who| (who.tenant, who.account_sid, who.advocate_url.is_empty()))
    };
    let text = |text: &str| text.to_owned();
    assert_eq!(identity(&[]), None);
    assert_eq!(identity(&[("RECOUP_TENANT", "t")]), Some((text("t"), text(""), true)));
    assert_eq!(identity(&[("RECOUP_ACCOUNT_SID", "s")]), Some((text(""), text("s"), true)));
    let both = [("RECOUP_TENANT", "t"), ("RECOUP_ACCOUNT_SID", "s")];
    assert_eq!(identity(&both), Some((text("t"), text("s"), false)));
}
