//! Tests of `recoup mcp`: what an assistant can see and propose, and that recoup sends nothing before a person approves
//! it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use crate::service::{Service, add_user, percent_encoded};
use crate::support::{Home, Sim, browser_required, os_user, ready, report_skipped, wait_until};

/// A running `recoup mcp` with a client that speaks its protocol.
struct Assistant {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    requests: u64,
}

impl Assistant {
    /// Starts `recoup mcp` and completes the protocol's handshake.
    fn start(home: &Home, flags: &[&str]) -> Self {
        let mut this = Self::start_silent(home, flags);
        let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } });
        let started = this.request("initialize", &hello);
        assert_eq!(started["result"]["serverInfo"]["name"], "recoup", "{started}");
        this.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
        this
    }

    fn start_silent(home: &Home, flags: &[&str]) -> Self {
        let args = [&["mcp"][..], flags].concat();
        let mut child = home.command(&args).stdin(Stdio::piped()).spawn().expect("the binary starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        Self { child, input, output: BufReader::new(output), requests: 0 }
    }

    fn write(&mut self, line: &str) {
        let input = self.input.as_mut().expect("an open input");
        writeln!(input, "{line}").expect("the server reads");
        input.flush().expect("the server reads");
    }

    #[track_caller]
    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string());
        let answer = self.read().expect("an answer");
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Reads the next line of standard output, which must be a message of the protocol.
    #[track_caller]
    fn read(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("standard output");
        if line.is_empty() {
            return None;
        }
        let message: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        Some(message)
    }

    /// Calls an MCP tool. Returns `true` if the tool failed, and the JSON object of its result.
    #[track_caller]
    fn call(&mut self, tool: &str, arguments: &Value) -> (bool, Value) {
        let answer = self.request("tools/call", &json!({ "name": tool, "arguments": arguments }));
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"));
        assert_eq!(
            serde_json::from_str::<Value>(text).expect("JSON"),
            result["structuredContent"],
            "both are one object"
        );
        (result["isError"] == true, result["structuredContent"].clone())
    }

    #[track_caller]
    fn works(&mut self, tool: &str, arguments: &Value) -> Value {
        let (failed, value) = self.call(tool, arguments);
        assert!(!failed, "{tool} {arguments}: {value}");
        value
    }

    /// Calls an MCP tool that must fail, and returns its error.
    #[track_caller]
    fn fails(&mut self, tool: &str, arguments: &Value) -> Value {
        let (failed, value) = self.call(tool, arguments);
        assert!(failed, "{tool} {arguments}: {value}");
        let error = value["error"].clone();
        for part in ["kind", "message", "hint"] {
            assert!(error[part].as_str().is_some_and(|text| !text.is_empty()), "{part}: {error}");
        }
        assert!(!error.to_string().contains("--"), "a flag of the command line: {error}");
        error
    }

    /// Closes the server's standard input. Returns its remaining output.
    fn end(mut self) -> (ExitStatus, String) {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("UTF-8");
        (self.child.wait().expect("it ends"), rest)
    }
}

impl Drop for Assistant {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

/// Returns every value that the tool's schema allows for `overrides`.
fn every_override(assistant: &mut Assistant) -> Value {
    let tools = assistant.request("tools/list", &json!({}))["result"]["tools"].clone();
    let tool = |name: &str| {
        let found = tools.as_array().into_iter().flatten().find(|tool| tool["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {tools}")).clone()
    };
    for name in ["lookup", "preflight", "retraction_status"] {
        assert_eq!(tool(name)["annotations"]["readOnlyHint"], true, "{name}");
    }
    let propose = tool("propose_retraction");
    assert_eq!(propose["annotations"]["readOnlyHint"], false);
    assert_eq!(propose["annotations"]["destructiveHint"], false, "a proposal sends nothing");
    let names = propose["inputSchema"]["properties"]["overrides"]["items"]["enum"].clone();
    assert!(names.as_array().is_some_and(|names| names.len() > 5), "{propose}");
    names
}

/// Returns everything that the simulator received except requests that only read.
fn writes(sim: &Sim) -> Value {
    let record = sim.record();
    let keys = ["deletes", "puts", "cancels", "files"];
    assert!(record["deletes"].is_array() && record["cancels"].is_array(), "{record}");
    keys.iter().map(|key| record[*key].clone()).collect()
}

#[test]
fn a_proposal_with_every_override_is_sent_once_and_only_after_a_person_approved_it_at_the_page() {
    let (sim, home) = ready(&[]);
    let passwords =
        ["agent", "lead", "boss"].map(|name| add_user(&home, name, if name == "agent" { name } else { "lead" }));
    let mut assistant = Assistant::start(&home, &["--as", "lead"]);
    let overrides = every_override(&mut assistant);
    let order = sim.example("redeemed").order_id;
    let before = writes(&sim);
    let ask = json!({ "order_id": order, "reason": "the buyer sent it back", "ticket": "T-9", "overrides": overrides });
    let proposed = assistant.works("propose_retraction", &ask);
    assert_eq!((&proposed["sent"], &proposed["already_proposed"]), (&json!(false), &json!(false)));
    assert_eq!(proposed["approval"]["stage"], "asked", "{proposed}");
    assert_eq!(proposed["approval"]["person"], "lead");
    assert!(proposed["approval"]["why"].as_str().is_some_and(|why| why.contains("an assistant proposed it")));
    assert_eq!(proposed["receipt"]["retractions"][0]["state"], "would_send", "{proposed}");
    let id = proposed["approval"]["id"].to_string();
    // A second proposal of the same plan does not create a second approval request, even with another reason.
    for reason in ["the buyer sent it back", "again"] {
        let again = assistant
            .works("propose_retraction", &json!({ "order_id": order, "reason": reason, "overrides": overrides }));
        assert_eq!(
            (&again["already_proposed"], again["approval"]["id"].to_string()),
            (&json!(true), id.clone()),
            "{again}"
        );
    }
    let status = assistant.works("retraction_status", &json!({ "order_id": order }));
    assert_eq!(
        (status["retractions"].as_array().map(Vec::len), status["approvals"][0]["stage"].as_str()),
        (Some(0), Some("asked"))
    );

    let service = Service::start(&home);
    // Neither an agent nor the proposer can approve the request.
    for (name, password, code) in [("agent", &passwords[0], 403), ("lead", &passwords[1], 409)] {
        assert_eq!(
            service.login(name, password).post(&format!("/approvals/{id}/approve"), &[("yes", "1")]).status,
            code,
            "{name}"
        );
    }
    assert_eq!(writes(&sim), before, "nothing was sent");
    let boss = service.login("boss", &passwords[2]);
    let approved = boss.post(&format!("/approvals/{id}/approve"), &[("reason", "looked at it"), ("yes", "1")]);
    assert_eq!(approved.header("location"), format!("/receipt?order={}", percent_encoded(&order)), "{}", approved.body);
    assert_eq!(sim.deletes().len(), 1);
    assert_eq!(boss.post(&format!("/approvals/{id}/approve"), &[("yes", "1")]).status, 303, "to the same receipt");
    assert_eq!(sim.deletes().len(), 1, "once");

    let mut state = Value::Null;
    wait_until("the retraction ends", || {
        let status = assistant.works("retraction_status", &json!({ "order_id": order }));
        assert_eq!(status["approvals"][0]["stage"], "used", "{status}");
        let entry = &status["retractions"][0];
        state = entry["state"].clone();
        // The ledger names requester and approver, although the limits require no approval.
        assert!(entry["events"].to_string().contains("asked for by lead, approved by boss"), "{entry}");
        state != "queued" && state != "completed" && state != "sending"
    });
    let done = assistant.works("propose_retraction", &ask);
    assert_eq!(done["approval"], Value::Null, "nothing is left to send: {done}");
    assert_eq!(done["receipt"]["retractions"][0]["state"], state);
    assert_eq!(sim.deletes().len(), 1);
    home.check(&["audit", "verify"], 0);
}

#[test]
fn looking_costs_no_request_and_shows_no_participant() {
    let (sim, home) = ready(&[]);
    let order = sim.example("two_actions").order_id;
    let shown = home.check(&["lookup", &order, "--json"], 0).object();
    let accounts: Vec<String> = shown["matches"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|found| found["account_id"].as_str().expect("an account").to_owned())
        .collect();
    let mut assistant = Assistant::start(&home, &[]);
    let before = sim.requests();
    let mut answer = assistant.works("lookup", &json!({ "order_id": order }));
    assert!(assistant.works("retraction_status", &json!({ "order_id": order }))["retractions"].as_array().is_some());
    assert_eq!(sim.requests(), before, "neither asks the vendor");
    for account in &accounts {
        assert!(!answer.to_string().contains(account.as_str()), "{answer}");
        // A look-up by a participant's ID finds no order.
        let hidden = assistant.works("lookup", &json!({ "order_id": account }));
        assert!(hidden["matches"] == json!([]) && hidden["related"].is_null(), "{hidden}");
    }
    assert!(!answer.to_string().contains('@') && answer.to_string().contains("participant 1"), "{answer}");
    // Except for participant IDs, the MCP result equals the JSON of `recoup lookup`.
    let mut shown = shown;
    for found in [&mut answer, &mut shown].into_iter().flat_map(|one| one["matches"].as_array_mut().expect("a list")) {
        (found["account_id"], found["user_id"]) = (Value::Null, Value::Null);
    }
    assert_eq!(answer, shown);
    // The MCP tool compares the order ID byte for byte, and does not choose a similar one.
    let spaced = assistant.works("lookup", &json!({ "order_id": format!(" {order}") }));
    assert_eq!(spaced["order_id"], format!(" {order}"));
    assert!(spaced["matches"] == json!([]) && spaced["candidates"][0]["order_id"] == order.as_str(), "{spaced}");
}

#[test]
fn a_preflight_reads_live_and_leaves_ledger_and_reserve_alone() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    let mut assistant = Assistant::start(&home, &[]);
    let before = sim.requests();
    let receipt = assistant.works("preflight", &json!({ "order_id": order }));
    let cost = sim.requests() - before;
    assert!((1..=6).contains(&cost), "the description says about 5: {cost}");
    assert_eq!((&receipt["dry_run"], &receipt["retractions"][0]["state"]), (&json!(true), &json!("would_send")));
    assert!(receipt["plan"].is_string(), "{receipt}");
    assert!(!home.has_ledger() && sim.deletes().is_empty());
    let status = home.check(&["status", "--json"], 0).object();
    let hosts = status["quota"].as_array().expect("the hosts");
    assert!(hosts.len() == 2 && hosts.iter().all(|host| host["last_hour_retraction"] == 0), "{hosts:?}");
    // recoup refuses a proposal if its plan differs from the plan that the assistant saw.
    home.check(&["user", "add", "ann", "--role", "agent", "--os-user", &os_user()], 0);
    let ask = |plan: &Value| json!({ "order_id": order, "reason": "r", "plan": plan });
    let changed = assistant.fails("propose_retraction", &ask(&json!("0123456789abcdef")));
    assert!(changed["message"].as_str().is_some_and(|text| text.contains("the plan has changed")), "{changed}");
    let seen = assistant.works("propose_retraction", &ask(&receipt["plan"]));
    assert_eq!(seen["approval"]["name"], receipt["plan"]);
    assert!(sim.deletes().is_empty());
}

#[test]
fn only_an_enabled_user_with_the_right_proposes_and_whoever_started_the_server_cannot_approve() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    let ask = json!({ "order_id": order, "reason": "refunded" });
    let mut unlinked = Assistant::start(&home, &[]);
    assert_eq!(unlinked.fails("propose_retraction", &ask)["kind"], "refused");
    for role in ["viewer", "agent", "lead"] {
        add_user(&home, role, role);
    }
    assert_eq!(unlinked.fails("propose_retraction", &ask)["kind"], "refused");
    assert_eq!(Assistant::start(&home, &["--as", "nobody"]).fails("propose_retraction", &ask)["kind"], "refused");
    assert_eq!(Assistant::start(&home, &["--as", "viewer"]).fails("propose_retraction", &ask)["kind"], "refused");
    let mut agent = Assistant::start(&home, &["--as", "agent"]);
    let overriding = json!({ "order_id": order, "reason": "refunded", "overrides": ["stale"] });
    assert_eq!(agent.fails("propose_retraction", &overriding)["kind"], "refused", "overrides need a lead");
    assert!(!home.has_ledger(), "nothing was asked for");
    let id = agent.works("propose_retraction", &ask)["approval"]["id"].to_string();
    // The operating system user who started `recoup mcp` counts as the requester, whatever name the proposal has.
    let password = home.check(&["user", "add", "me", "--role", "lead", "--os-user", &os_user(), "--json"], 0).object();
    let own = home.check(&["approval", "approve", &id, "--json"], 5);
    assert!(own.stdout.contains("nobody approves their own"), "{}", own.stdout);
    let service = Service::start(&home);
    let me = service.login("me", password["password"].as_str().expect("a password"));
    assert_eq!(me.post(&format!("/approvals/{id}/approve"), &[("yes", "1")]).status, 409);
    // A user who was disabled while `recoup mcp` runs can no longer propose.
    home.check(&["user", "disable", "agent"], 0);
    assert_eq!(agent.fails("propose_retraction", &ask)["kind"], "refused");
    assert_eq!(unlinked.works("propose_retraction", &ask)["approval"]["person"], "me", "the linked user");
    assert!(sim.deletes().is_empty());
}

#[test]
fn a_bad_call_is_a_tool_error_with_kind_sentence_and_hint() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    add_user(&home, "agent", "agent");
    let mut assistant = Assistant::start(&home, &["--as", "agent"]);
    let too_long = "x".repeat(10_000);
    for (tool, arguments, kind) in [
        ("lookup", json!({}), "usage"),
        ("lookup", json!({ "order_id": 1001 }), "usage"),
        ("lookup", json!({ "order_id": "" }), "usage"),
        ("lookup", json!({ "order_id": too_long }), "usage"),
        ("lookup", json!({ "order_id": ["1001"] }), "usage"),
        ("lookup", json!({ "order_id": "1001", "accounts": "shown" }), "usage"),
        ("preflight", json!({ "order_id": order, "reason": "r" }), "usage"),
        ("preflight", json!({ "order_id": order, "yes": true }), "usage"),
        ("preflight", json!({ "order_id": order, "overrides": ["everything"] }), "usage"),
        ("preflight", json!({ "order_id": order, "all": true, "action_id": "1.2.3" }), "usage"),
        ("preflight", json!({ "order_id": "no such order" }), "not_indexed"),
        ("preflight", json!({ "order_id": sim.example("two_actions").order_id }), "ambiguous"),
        ("propose_retraction", json!({ "order_id": order }), "usage"),
        ("propose_retraction", json!({ "order_id": order, "reason": " " }), "usage"),
        ("propose_retraction", json!({ "order_id": order, "reason": "r", "dry_run": false }), "usage"),
        ("propose_retraction", json!({ "order_id": order, "reason": "r", "action_tracker": "7" }), "usage"),
        ("propose_retraction", json!({ "order_id": sim.example("all_redeemed").order_id, "reason": "r" }), "refused"),
    ] {
        assert_eq!(assistant.fails(tool, &arguments)["kind"], kind, "{tool} {arguments:.200}");
    }
    let unknown = assistant.request("tools/call", &json!({ "name": "retract", "arguments": { "order_id": order } }));
    assert!(unknown["error"]["message"].as_str().is_some_and(|text| text.contains("no tool")), "{unknown}");
    assert!(sim.deletes().is_empty() && !home.has_ledger());
    assert_eq!(assistant.works("lookup", &json!({ "order_id": order }))["verdict"], "found", "it still answers");
}

#[test]
fn standard_output_carries_only_the_protocol_and_the_server_ends_cleanly() {
    let (sim, home) = ready(&[]);
    let order = sim.example("plain").order_id;
    // `read` fails on any output line that is no protocol message.
    let mut assistant = Assistant::start(&home, &["--json", "-vv"]);
    for line in ["no JSON", "{", "", "\u{feff}{}", "[1,2]"] {
        assistant.write(line);
    }
    assistant.write(&json!({ "jsonrpc": "2.0", "id": 77, "method": "tools/call", "params": { "name": "lookup", "arguments": { "order_id": order } } }).to_string());
    let mut answer = assistant.read().expect("an answer");
    while answer["id"] != 77 {
        assert!(answer["error"].is_object(), "{answer}");
        answer = assistant.read().expect("an answer");
    }
    // If the input ends while a request runs, the server still writes the response.
    assistant.write(&json!({ "jsonrpc": "2.0", "id": 78, "method": "tools/call", "params": { "name": "preflight", "arguments": { "order_id": order } } }).to_string());
    let (status, rest) = assistant.end();
    assert_eq!(status.code(), Some(0));
    let last: Value = serde_json::from_str(rest.trim()).unwrap_or_else(|error| panic!("{error}: {rest}"));
    assert_eq!(last["id"], 78);

    assert_eq!(Assistant::start_silent(&home, &[]).end().0.code(), Some(0), "an input that ends at once");
    let mut confused = Assistant::start_silent(&home, &["--json"]);
    confused.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string());
    let (status, rest) = confused.end();
    assert_eq!((status.code(), rest.as_str()), (Some(2), ""));
    #[cfg(unix)]
    for signal in ["-INT", "-TERM"] {
        let mut running = Assistant::start(&home, &[]);
        let told = Command::new("kill").args([signal, &running.child.id().to_string()]).status().expect("kill runs");
        assert!(told.success());
        assert_eq!(running.child.wait().expect("it ends").code(), Some(0), "{signal}");
    }
}

#[test]
#[cfg(unix)]
fn a_client_in_python_runs_the_documented_example_word_for_word() {
    let (sim, home) = ready(&[]);
    add_user(&home, "ann", "agent");
    let order = sim.example("plain").order_id;
    let root = env!("CARGO_MANIFEST_DIR");
    let bin = home.path("bin");
    std::fs::create_dir(&bin).expect("a folder");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_recoup"), bin.join("recoup")).expect("a link");
    let Some(python) =
        ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|path| std::path::Path::new(path).exists())
    else {
        assert!(!browser_required(), "there is no python3");
        return report_skipped("the MCP client in Python: there is no python3");
    };
    let mut client = home.command_of(python);
    client.env("PATH", &bin).args([&format!("{root}/tests/it/mcp_client.py"), &format!("{root}/docs/mcp.md"), &order]);
    let ran = client.output().expect("python runs");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    let answers: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(answers.iter().all(|answer| answer["isError"] == false), "{out}");
    let of =
        |name: &str| answers.iter().find(|answer| answer["name"] == name).unwrap_or_else(|| panic!("no {name}: {out}"));
    assert_eq!(of("lookup")["verdict"], "found");
    assert_eq!(of("preflight")["retractions"][0]["state"], "would_send");
    assert_eq!(of("propose_retraction")["sent"], false);
    assert_eq!(of("retraction_status")["approvals"][0]["ticket"], "SUP-4711");
    assert!(sim.deletes().is_empty());
}
