//! The examples for Kubernetes and compose in `deploy/`: each flag, variable, setting, path, volume and label in them exists.

use std::collections::BTreeSet;

use clap::Parser;
use recoup::cli::Cli;
use serde::Deserialize;
use serde_json::Value;

use crate::support::{Home, Ran, Sim};

fn read(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).expect("text")
}

/// Every document of a file.
fn documents(name: &str) -> Vec<Value> {
    let text = read(name);
    let parse = |document| Value::deserialize(document).expect("YAML");
    serde_norway::Deserializer::from_str(&text).map(parse).collect()
}

fn text(yaml: &Value) -> &str {
    yaml.as_str().unwrap_or_else(|| panic!("no text: {yaml:?}"))
}

fn list(yaml: &Value) -> impl Iterator<Item = &Value> {
    yaml.as_array().into_iter().flatten()
}

/// The command line of a container, which the program must accept.
#[track_caller]
fn assert_command(args: &Value) {
    let words = std::iter::once("recoup").chain(list(args).map(text)).collect::<Vec<_>>();
    assert!(words.len() > 1, "{args:?}");
    if let Err(error) = Cli::try_parse_from(&words) {
        panic!("{words:?}: {error}");
    }
}

/// Every variable of recoup is in the documentation, which another test compares with the program.
#[track_caller]
fn assert_variable(name: &str) {
    let documented = read("docs/settings.md");
    let base = name.strip_suffix("_FILE").unwrap_or(name);
    let is_known = documented.contains(&format!("`{name}`")) || documented.contains(&format!("`{base}` (`_FILE`)"));
    assert!(is_known, "{name}");
}

/// Every container with its pod.
fn pods(documents: &[Value]) -> Vec<(&Value, &Value)> {
    documents
        .iter()
        .filter_map(|document| {
            let template = match text(&document["kind"]) {
                "Deployment" => &document["spec"]["template"],
                "CronJob" => &document["spec"]["jobTemplate"]["spec"]["template"],
                _ => return None,
            };
            Some((template, &template["spec"]["containers"][0]))
        })
        .collect()
}

#[test]
fn every_flag_variable_and_name_of_the_kubernetes_example_exists() {
    let documents = documents("deploy/kubernetes.yaml");
    let of = |kind: &str| -> Vec<&Value> { documents.iter().filter(|one| text(&one["kind"]) == kind).collect() };
    for kind in ["ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "CronJob", "NetworkPolicy"] {
        assert_eq!(of(kind).len(), 1, "{kind}");
    }
    assert_eq!(of("Deployment")[0]["spec"]["replicas"].as_i64(), Some(2));
    let names: BTreeSet<&str> = of("ConfigMap").iter().map(|one| text(&one["metadata"]["name"])).collect();
    let pods = pods(&documents);
    assert_eq!(pods.len(), 2);
    for (pod, container) in &pods {
        assert_command(&container["args"]);
        for variable in list(&container["env"]) {
            assert_variable(text(&variable["name"]));
        }
        let volumes: BTreeSet<&str> = list(&pod["spec"]["volumes"]).map(|volume| text(&volume["name"])).collect();
        for mount in list(&container["volumeMounts"]) {
            assert!(volumes.contains(text(&mount["name"])), "{mount:?}");
        }
        for volume in list(&pod["spec"]["volumes"]) {
            let config = &volume["configMap"]["name"];
            assert!(config.is_null() || names.contains(text(config)), "{volume:?}");
        }
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"].as_bool(), Some(true));
        assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
        assert_eq!(text(&pod["metadata"]["labels"]["app"]), "recoup");
    }
    let routes: Vec<&str> = recoup::serve::all_routes().iter().map(|route| route.path).collect();
    let service = pods.iter().find(|(pod, _)| text(&pod["metadata"]["labels"]["part"]) == "service").expect("a pod").1;
    for probe in ["livenessProbe", "readinessProbe"] {
        assert!(routes.contains(&text(&service[probe]["httpGet"]["path"])), "{probe}");
    }
    let policy = &of("NetworkPolicy")[0]["spec"];
    let port = service["ports"][0]["containerPort"].as_i64();
    assert_eq!(policy["ingress"][0]["ports"][0]["port"].as_i64(), port);

    // The settings of the example are read, and only the secrets are missing here.
    let settings = text(&of("ConfigMap")[0]["data"]["recoup.toml"]);
    assert!(settings.contains(&format!("0.0.0.0:{}", port.expect("a port"))), "{settings}");
    let sim = Sim::start(&["--participants", "1"]);
    let home = Home::new(&sim).set("RECOUP_TENANT", "").set("RECOUP_ACCOUNT_SID", "").set("RECOUP_AUTH_TOKEN", "");
    std::fs::write(home.path("database"), "postgres://recoup_service:x@db.example.com/recoup\n").expect("a file");
    let here =
        settings.replace("/run/secrets/recoup", home.path("x").parent().expect("a folder").to_str().expect("UTF-8"));
    std::fs::write(home.path("recoup.toml"), here).expect("a file");
    let mut command = home.command(&["config", "show"]);
    for variable in list(&service["env"]).filter(|variable| variable["name"] != "RECOUP_CONFIG") {
        command.env(text(&variable["name"]), text(&variable["value"]));
    }
    let shown = Ran::of(&["config", "show"], command.output().expect("runs")).stdout;
    assert!(shown.contains("postgres://recoup_service@db.example.com:5432/recoup"), "{shown}");
    let mounted = |path: &str| settings.contains(&format!("\"{path}\""));
    assert!(mounted("/run/secrets/recoup/database") && mounted("/run/secrets/recoup/auth-token"), "{settings}");
}

#[test]
fn every_flag_variable_and_secret_of_the_compose_example_exists() {
    let documents = documents("deploy/compose.yaml");
    let compose = &documents[0];
    let recoup = &compose["services"]["recoup"];
    assert_command(&recoup["command"]);
    for name in recoup["environment"].as_object().expect("variables").keys() {
        assert_variable(name);
    }
    let secrets: BTreeSet<&str> = compose["secrets"].as_object().expect("secrets").keys().map(String::as_str).collect();
    for service in ["db", "recoup"] {
        for secret in list(&compose["services"][service]["secrets"]) {
            assert!(secrets.contains(text(secret)), "{secret:?}");
        }
    }
    for (_, value) in recoup["environment"].as_object().expect("variables") {
        if let Some(secret) = value.as_str().and_then(|value| value.strip_prefix("/run/secrets/")) {
            assert!(secrets.contains(secret), "{secret}");
        }
    }
    assert!(text(&compose["services"]["db"]["image"]).contains("postgres:"));
    assert_eq!(text(&recoup["image"]), concat!("recoup:", env!("CARGO_PKG_VERSION")));
    assert!(read("packages/image").contains("oci-archive:$file:recoup:$version"));
}
