//! Tests of malformed credentials: recoup reports what is wrong with them and never prints a part of them.

use base64ct::{Base64, Encoding};

use crate::support::{Home, Sim};

/// A text that every token of these tests contains, and that no output may contain.
const CORE: &str = "Zq7Xv9Kp";

/// Runs recoup, checks its exit code, and fails if an output contains a part of the token in any encoding.
fn said(home: &Home, args: &[&str], code: i32) -> String {
    let ran = home.check(args, code);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!said.contains(CORE), "{said}");
    for shift in 0..3 {
        let encoded = Base64::encode_string(format!("{}{CORE}", &"xxx"[..shift]).as_bytes());
        assert!(!said.contains(&encoded[4..10]), "{said}");
    }
    said
}

#[test]
fn a_malformed_token_is_reported_by_doctor_and_the_401_and_never_shown() {
    let sim = Sim::start(&["--participants", "20"]);
    for (token, oddity) in [
        (format!("\"{CORE}\""), "has quotes around it"),
        (format!(" {CORE}"), "has a blank at its beginning or end"),
        (format!("RECOUP_AUTH_TOKEN={CORE}"), "has the name of a variable and = in front"),
        (format!("Bearer {CORE}"), "has the name of a scheme"),
    ] {
        let home = Home::new(&sim).set("RECOUP_AUTH_TOKEN", &token);
        let doctor = said(&home, &["doctor", "-vv"], 3);
        assert!(doctor.contains(&format!("RECOUP_AUTH_TOKEN {oddity}")), "{doctor}");
        let crawl = said(&home, &["crawl", "--source", "participants", "-vv", "--json"], 3);
        assert!(crawl.contains(&format!("refuses the credentials; RECOUP_AUTH_TOKEN {oddity}")), "{crawl}");
    }
    let home = Home::new(&sim).set("RECOUP_AUTH_TOKEN", CORE);
    let plain = said(&home, &["doctor"], 3);
    assert!(!plain.contains("credentials as written") && plain.contains("refuses the credentials"), "{plain}");
}

#[test]
fn an_unsendable_token_is_refused_before_any_request() {
    let sim = Sim::start(&["--participants", "20"]);
    let bom = "begins with a byte order mark (BOM)";
    for (token, oddity) in [
        (format!("\u{feff}{CORE}"), bom),
        (format!("{CORE}\r"), "has a line end in it"),
        (format!("{CORE}\r\n{CORE}"), "has a line end in it"),
        (format!("{CORE}\u{200b}"), "has an invisible character in it (U+200B)"),
        (format!("{CORE}ä"), "has a character in it that is not ASCII"),
        (format!("\u{201c}{CORE}\u{201d}"), "has typographic quotes in it"),
    ] {
        for name in ["RECOUP_AUTH_TOKEN", "RECOUP_ADVOCATE_TOKEN", "RECOUP_WRITE_TOKEN"] {
            let home = Home::new(&sim).set(name, &token);
            let doctor = said(&home, &["doctor", "-vv"], 3);
            assert!(doctor.contains(&format!("{name} {oddity}")), "{doctor}");
            if name != "RECOUP_WRITE_TOKEN" {
                let asked = sim.requests();
                let crawl = said(&home, &["crawl", "--source", "participants", "-vv"], 3);
                assert!(crawl.contains(&format!("{name} {oddity}")) && crawl.contains("cannot be sent"), "{crawl}");
                assert_eq!(sim.requests(), asked);
            }
        }
    }
    // A line break at the end of the token file is not part of the token.
    let home = Home::new(&sim).set("RECOUP_AUTH_TOKEN", "");
    let path = home.path("token");
    let home = home.set("RECOUP_AUTH_TOKEN_FILE", path.to_str().expect("UTF-8"));
    for (bytes, oddity) in [
        (format!("\u{feff}{CORE}\r\n").into_bytes(), bom),
        (format!("{CORE}\n{CORE}\n").into_bytes(), "has a line end in it"),
        (format!("{CORE}\0\n").into_bytes(), "has a control character in it"),
        (CORE.encode_utf16().flat_map(u16::to_le_bytes).chain([0xff]).collect(), "is not UTF-8 text"),
        (b"\n".to_vec(), "is empty"),
    ] {
        std::fs::write(&path, bytes).expect("the token file");
        let crawl = said(&home, &["crawl", "--source", "participants"], 3);
        assert!(crawl.contains("token file") && crawl.contains(oddity), "{crawl}");
    }
    std::fs::write(&path, "simulator-token\r\n").expect("the token file");
    home.check(&["doctor"], 0);
}

#[test]
fn a_malformed_tenant_or_account_sid_is_reported_and_an_unsendable_one_refused() {
    let sim = Sim::start(&["--participants", "20"]);
    for (name, value, words) in [
        ("RECOUP_TENANT", "\"simulator\"", "the tenant has quotes around it"),
        ("RECOUP_TENANT", "simulator\u{200b}", "the tenant has an invisible character in it (U+200B)"),
        ("RECOUP_ACCOUNT_SID", "SIMULATOR ", "the Account SID has a blank at its beginning or end"),
        ("RECOUP_ACCOUNT_SID", "SIMULATOR\r", "the Account SID has a line end in it"),
        ("RECOUP_ACCOUNT_SID", "SIMULATOR:token", "the Account SID has a colon in it"),
    ] {
        let home = Home::new(&sim).set(name, value);
        let doctor = home.check(&["doctor"], 3);
        assert!(doctor.stdout.contains(words), "{name} {value:?}: {}", doctor.stdout);
    }
}

#[test]
fn a_variable_that_is_not_utf_8_stops_the_command_and_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let sim = Sim::start(&["--participants", "20"]);
    let home = Home::new(&sim);
    for name in ["RECOUP_TENANT", "RECOUP_AUTH_TOKEN", "RECOUP_DATABASE", "RECOUP_LEDGER", "XDG_DATA_HOME"] {
        let value = std::ffi::OsStr::from_bytes(b"Zq7Xv9Kp\xff");
        let output = home.command(&["status"]).env(name, value).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("the variable {name} is not UTF-8")) && !said.contains(CORE), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn a_token_file_that_every_user_can_read_is_a_warning_of_doctor() {
    use std::os::unix::fs::PermissionsExt;
    let sim = Sim::start(&["--participants", "20"]);
    let home = Home::new(&sim).set("RECOUP_AUTH_TOKEN", "");
    let file = home.path("token");
    std::fs::write(&file, "simulator-token\n").expect("written");
    let home = home.set("RECOUP_AUTH_TOKEN_FILE", &file.display().to_string());
    for (mode, warns) in [(0o644, true), (0o640, false), (0o600, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("its mode");
        let said = home.check(&["doctor"], 0).stdout;
        assert_eq!(said.contains("every user of this machine can read"), warns, "{mode:o}: {said}");
        assert_eq!(said.contains(&format!("chmod 600 {}", file.display())), warns, "{mode:o}: {said}");
    }
    for check in home.check(&["doctor", "--json"], 0).objects() {
        assert!(check.as_object().is_some_and(|check| check.contains_key("remedy")), "{check}");
    }
}
