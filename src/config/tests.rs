//! Tests of settings from a file, the environment and a profile together.

use tempfile::TempDir;

use std::path::Path;

use super::*;

/// Loads settings from this file text and these environment variables only.
fn load(dir: &TempDir, toml: &str, env: &[(&str, &str)], profile: Option<&str>) -> Result<Settings> {
    let path = dir.path().join("recoup.toml");
    std::fs::write(&path, toml).expect("the file");
    let global = GlobalFlags { config: Some(path), profile: profile.map(str::to_owned), ..GlobalFlags::default() };
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
    assert_eq!(settings.database, folder.join("a.db").into());
    assert_eq!(settings.ledger, Path::new("/elsewhere/l.db").into());
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

/// Returns the client options that result from a host's settings.
fn host(options: &HostOptions) -> String {
    let HostOptions { concurrency, start_concurrency, timeout, connect_timeout, attempts, backoff, .. } = options;
    let (settings, longest) = (&options.quota_settings, (options.backoff_max, options.max_wait));
    format!(
        "{concurrency} {start_concurrency} {timeout:?} {connect_timeout:?} {attempts} {backoff:?} {longest:?} {:?} {:?} {}",
        settings.rate, settings.quota, settings.reserve
    )
}

#[test]
fn the_defaults_that_config_show_prints_are_those_that_are_used() {
    let dir = TempDir::new().expect("a folder");
    let env = [("RECOUP_TENANT", "t"), ("RECOUP_ACCOUNT_SID", "s"), ("RECOUP_AUTH_TOKEN", "x")];
    let mut tables: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut keys = Vec::new();
    for (key, default) in show::DEFAULTS {
        let (table, name) = key.split_once('.').unwrap_or(("", key));
        keys.push(name);
        let Some(default) = default else { continue };
        let is_bare = default.parse::<u64>().is_ok() && name != "ir_version" || default == "false";
        let value = if is_bare { default.to_owned() } else { format!("{default:?}") };
        tables.entry(table).or_default().push(format!("{name} = {value}\n"));
    }
    let tables = tables.into_iter().map(|(table, lines)| match table {
        "" => lines.concat(),
        table => format!("[{table}]\n{}", lines.concat()),
    });
    let (written, empty) = (tables.collect::<String>(), String::new());
    let [written, empty] = [written, empty].map(|toml| load(&dir, &toml, &env, None).expect("settings"));
    for read in [Settings::advocate_options, Settings::brand_options] {
        let [written, empty] =
            [&written, &empty].map(|settings| host(&read(settings, HostFlags::default()).expect("a host")));
        assert_eq!(written, empty);
    }
    let plain = |settings: Settings| {
        let hosts = (HostTable::default(), HostTable::default());
        let sources = show::Sources::default();
        format!("{:#?}", Settings { advocate: hosts.0, brand: hosts.1, sources, ..settings })
    };
    assert_eq!(plain(written), plain(empty));
    // Checks that `EVERY_KEY`, the text above, sets every key of every table.
    let file = include_str!("file.rs");
    let tables = file.split_once("\ntables! {").and_then(|(_, rest)| rest.split_once("\n}")).expect("the tables").0;
    let fields = tables.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(": "));
    let missing: Vec<&str> = fields.map(|(name, _)| name).filter(|name| !keys.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_database_that_is_no_address_and_no_path_is_refused_from_every_source_without_being_repeated() {
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("address");
    let file = file.to_str().expect("UTF-8");
    for text in [
        "Postgres://ann:Zq7@db/shop",
        "'postgres://ann:Zq7@db/shop'",
        " postgres://ann:Zq7@db/shop",
        "postgre://ann:Zq7@db/shop",
        "postgres:/ann:Zq7@db/shop",
        "host=db user=ann password=Zq7",
    ] {
        let of_toml = |key: &str| format!("{key} = {text:?}");
        std::fs::write(file, format!("\"{text}\"")).expect("a file");
        for (toml, env) in [
            (String::new(), &[("RECOUP_DATABASE", text)][..]),
            (String::new(), &[("RECOUP_DATABASE_FILE", text)]),
            (String::new(), &[("RECOUP_DATABASE_FILE", file)]),
            (String::new(), &[("RECOUP_LEDGER", text)]),
            (String::new(), &[("RECOUP_ACCESS", text)]),
            (of_toml("database"), &[]),
            (of_toml("database_file"), &[]),
            (of_toml("ledger"), &[]),
            (of_toml("access"), &[]),
            (format!("database = {text}"), &[]),
        ] {
            let error = load(&dir, &toml, env, None).expect_err(text);
            assert_eq!(error.kind, Kind::Config, "{toml} {env:?}");
            assert!(!format!("{error:?}").contains("Zq7"), "{toml} {env:?}: {error:?}");
        }
        let global = GlobalFlags { database: Some(text.into()), ..GlobalFlags::default() };
        let error = Settings::load(&global, &Environment(std::collections::BTreeMap::new())).expect_err(text);
        assert!(error.kind == Kind::Config && !format!("{error:?}").contains("Zq7"), "{error:?}");
    }
}
