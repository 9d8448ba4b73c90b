//! Builds with and without Cargo's optional features: what `recoup --version` says, and what a part that is left out answers.

use crate::support::{Home, Sim};

fn home() -> (Sim, Home) {
    let sim = Sim::start(&["--participants", "1"]);
    let home = Home::new(&sim);
    (sim, home)
}

/// The optional features, and whether this build has them.
const FEATURES: [(&str, bool); 3] =
    [("mcp", cfg!(feature = "mcp")), ("postgres", cfg!(feature = "postgres")), ("smtp", cfg!(feature = "smtp"))];

#[test]
fn the_long_version_names_the_commit_and_every_feature() {
    let (_sim, home) = home();
    let short = home.check(&["-V"], 0).stdout;
    assert_eq!(short, concat!("recoup ", env!("CARGO_PKG_VERSION"), "\n"));
    let long = home.check(&["--version"], 0).stdout;
    let lines: Vec<(&str, &str)> = long.lines().filter_map(|line| line.split_once(": ")).collect();
    assert_eq!(long.lines().next(), short.lines().next());
    assert_eq!(lines.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["commit", "features", "left out", "target"]);
    for (feature, has) in FEATURES {
        let line = lines.iter().find(|(_, names)| names.split(", ").any(|name| name == feature));
        assert_eq!(line.map(|(name, _)| *name), Some(if has { "features" } else { "left out" }), "{long}");
    }
}

#[test]
fn a_part_that_this_build_leaves_out_says_so_and_does_nothing_else() {
    let (_sim, home) = home();
    let asks: [(&str, &str, &str, &[&str]); 3] = [
        ("mcp", "", "", &["mcp"]),
        ("postgres", "postgres://ann:Zq7secret@127.0.0.1:1/shop", "", &["status", "--json"]),
        (
            "smtp",
            "",
            "[notices]\nsmtp_host = 'smtp.example.com'\nfrom = 'a@example.com'\nto = ['b@example.com']\n",
            &["notify", "test", "--json"],
        ),
    ];
    for (feature, database, settings, command) in asks {
        if FEATURES.contains(&(feature, true)) {
            continue;
        }
        home.configure(settings);
        let mut ran = home.command(command);
        if !database.is_empty() {
            ran.env("RECOUP_DATABASE", database);
        }
        let ended = ran.output().expect("the binary runs");
        let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert_eq!(ended.status.code(), Some(3), "{feature}: {said}");
        assert!(said.contains("this build leaves out"), "{feature}: {said}");
        assert!(said.contains(&format!("feature `{feature}`")) && !said.contains("Zq7secret"), "{feature}: {said}");
    }
    assert!(
        std::fs::read_dir(home.path(""))
            .expect("the home")
            .all(|entry| { entry.expect("an entry").file_name() == "recoup.toml" })
    );
}
