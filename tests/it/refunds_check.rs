//! Tests of `recoup refunds check` and `formats`, which show how recoup reads a refund file before anything is sent.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/refunds/formats/samples");

fn recoup(args: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_recoup"));
    command.args(args).current_dir(dir.path()).env_clear().env("HOME", dir.path()).output().expect("it ran")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn check(path: &Path, args: &[&str]) -> Output {
    let path = path.to_str().expect("a path");
    recoup(&[&["refunds", "check", path], args].concat())
}

#[test]
fn every_sample_is_checked_without_index_and_network() {
    let mut files: Vec<_> = fs::read_dir(SAMPLES)
        .expect("samples")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "truth"))
        .collect();
    files.sort();
    for path in files {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let format = name.split('.').next().expect("a format");
        let shown = check(&path, &[]);
        assert!(shown.status.success(), "{name}: {}", text(&shown.stderr));
        assert!(text(&shown.stdout).contains(&format!("({format})")), "{name}: {}", text(&shown.stdout));
        let json = check(&path, &["--json", "--all"]);
        let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
        assert_eq!(json["format"], format, "{name}");
        let examples = json["examples"].as_array().expect("examples");
        assert_eq!(json["orders"], examples.len(), "{name}");
        assert!(
            examples.iter().all(|order| !order["evidence"]["lines"].as_array().expect("lines").is_empty()),
            "{name}"
        );
    }
}

#[test]
fn the_formats_are_listed_with_their_rules() {
    let shown = text(&recoup(&["refunds", "formats"]).stdout);
    for name in ["shopify-orders", "paypal-activity", "square-payments", "impact-reversals"] {
        assert!(shown.contains(name), "{name}: {shown}");
    }
}

#[test]
fn an_export_of_unknown_format_is_refused_with_the_columns_to_map() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("orders.csv");
    fs::write(&path, "Order number,Payment status,Total\n1001,Paid,80.00\n1002,Refunded,20.00\n").expect("written");
    let refused = check(&path, &[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    for part in ["\"Payment status\" looks like a status", "--status-column 'Payment status' --refunded-when VALUE"] {
        assert!(said.contains(part), "{said}");
    }
    let explained =
        ["--status-column", "Payment status", "--refunded-when", "refunded", "--ignore-column", "Total", "--json"];
    let json: Value = serde_json::from_slice(&check(&path, &explained).stdout).expect("JSON");
    assert_eq!(json["decisions"], serde_json::json!({ "refunded_in_full": 1, "not_refunded": 1 }));
}

#[test]
fn a_file_that_is_not_a_list_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("refunds.csv");
    let noise: Vec<u8> = (0_u32..200_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let wide = format!("order_id{}\n1\n", ",x".repeat(1500));
    let cell = format!("order_id,E-Mail\n1,{}@example.com\n", "y".repeat(5_000_000));
    let files: [(&[u8], &[i32]); 6] = [
        (&noise, &[2]),
        (wide.as_bytes(), &[2]),
        (cell.as_bytes(), &[0]),
        (b"", &[2]),
        (b"\"", &[2]),
        (b"[[[[[[", &[2]),
    ];
    for (bytes, codes) in files {
        fs::write(&path, bytes).expect("written");
        let output = check(&path, &[]);
        let said = text(&output.stderr);
        assert!(output.status.code().is_some_and(|code| codes.contains(&code)), "{:?} {said}", output.status);
        assert!(!said.contains("panicked"), "{said}");
    }
}
