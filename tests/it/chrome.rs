//! A headless Chromium for tests, driven over the W3C WebDriver protocol. Every call of the WebDriver client waits for
//! the driver's response.
//!
//! The WebDriver client is written by hand, because each existing crate adds second versions of dependencies or enables
//! features that the released program does not have.
//!
//! If Chromium or its driver is missing, a browser test says so and passes. With `TEST_BROWSER=1`, which `.ci/run`
//! sets, the test fails.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::service::{Service, ask};
use crate::support::{browser_required, report_skipped, wait_for};

/// The JSON key under which WebDriver returns an element's ID.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Key codes of the WebDriver protocol.
pub const ENTER: &str = "\u{e007}";
pub const TAB: &str = "\u{e004}";

/// The size of the browser window, and the preferred colour scheme.
#[derive(Clone, Copy)]
pub enum Screen {
    Desktop,
    Dark,
    Phone,
    /// A desktop window at 200 % zoom.
    Zoomed,
    /// The print layout.
    Paper,
}

/// A browser with a fresh profile.
pub struct Chrome {
    driver: Child,
    /// The address of chromedriver.
    addr: String,
    session: String,
    base: String,
    /// The folder of the screenshots; its name is the test's.
    shots: PathBuf,
    _profile: TempDir,
}

impl Chrome {
    /// Opens a browser. If this machine has no browser, prints the reason and returns `None`.
    pub fn open(test: &str, service: &Service, scripts: bool) -> Option<Self> {
        let missing =
            ["chromedriver", "chromium"].into_iter().find(|name| !Path::new(&format!("/usr/bin/{name}")).exists());
        if let Some(name) = missing {
            assert!(!browser_required(), "TEST_BROWSER is set, and there is no /usr/bin/{name}");
            report_skipped(&format!(
                "browser, {test}: there is no /usr/bin/{name} (Debian: chromium and chromium-driver)"
            ));
            return None;
        }
        let mut driver = Command::new("/usr/bin/chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(driver.stdout.take().expect("its standard output")).lines();
        let port = lines
            .find_map(|line| Some(line.ok()?.split_once("successfully on port ")?.1.trim_end_matches('.').to_owned()))
            .expect("the port it is on");
        // Drains chromedriver's output, because a full pipe would block it.
        std::thread::spawn(move || lines.for_each(drop));

        let profile = tempfile::tempdir().expect("a temporary folder");
        let folder = format!("--user-data-dir={}", profile.path().display());
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &folder,
        ];
        let mut options = json!({ "binary": "/usr/bin/chromium", "args": flags });
        if !scripts {
            options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
        }
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let addr = format!("127.0.0.1:{port}");
        let opened = command(&addr, "POST", "/session", &wanted).unwrap_or_else(|error| panic!("{error}"));
        let session = opened["sessionId"].as_str().expect("a session").to_owned();
        let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../screenshots").join(test);
        std::fs::create_dir_all(&shots).expect("a folder for screenshots");
        let base = format!("http://{}", service.addr);
        let this = Self { driver, addr, session, base, shots, _profile: profile };
        this.screen(Screen::Desktop);
        Some(this)
    }

    /// Sends a WebDriver command within the browser session.
    fn tell(&self, path: &str, body: &Value) -> Result<Value, String> {
        let method = if body.is_null() { "GET" } else { "POST" };
        command(&self.addr, method, &format!("/session/{}{path}", self.session), body)
    }

    #[track_caller]
    fn must(&self, path: &str, body: &Value) -> Value {
        self.tell(path, body).unwrap_or_else(|error| panic!("{error} at {}:\n{}", self.path(), self.text()))
    }

    /// Waits for an element of the page. A selector that begins with `//` is an XPath, any other is CSS.
    #[track_caller]
    fn element(&self, what: &str) -> String {
        let using = if what.starts_with("//") { "xpath" } else { "css selector" };
        let body = json!({ "using": using, "value": what });
        let mut found = Value::Null;
        // The click may start a navigation, so the next page may still be loading.
        wait_for(|| {
            found = self
                .tell("/element", &body)
                .map_err(|error| format!("{error} at {}:\n{}", self.path(), self.text()))?;
            Ok(())
        });
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Opens a path of the service in the browser.
    #[track_caller]
    pub fn go(&self, path: &str) {
        self.must("/url", &json!({ "url": format!("{}{path}", self.base) }));
    }

    /// Returns the current path and query of the browser.
    pub fn path(&self) -> String {
        let url = self.tell("/url", &Value::Null).unwrap_or_default();
        let url = url.as_str().unwrap_or_default();
        url.strip_prefix(&self.base).unwrap_or(url).to_owned()
    }

    /// Returns the visible text of the page, empty while the page is loading.
    pub fn text(&self) -> String {
        let body = self.tell("/element", &json!({ "using": "css selector", "value": "body" })).unwrap_or_default();
        let Some(body) = body[ELEMENT].as_str() else { return String::new() };
        let text = self.tell(&format!("/element/{body}/text"), &Value::Null).unwrap_or_default();
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows this text.
    #[track_caller]
    pub fn sees(&self, text: &str) {
        wait_for(|| {
            let seen = self.text();
            if seen.contains(text) { Ok(()) } else { Err(format!("{text:?} at {}:\n{seen}", self.path())) }
        });
    }

    /// Returns `true` if the page has an element with this selector.
    #[track_caller]
    pub fn has(&self, css: &str) -> bool {
        let found = self.must("/elements", &json!({ "using": "css selector", "value": css }));
        found.as_array().is_some_and(|found| !found.is_empty())
    }

    /// Types into a field of the page.
    #[track_caller]
    pub fn types(&self, css: &str, text: &str) {
        let field = self.element(css);
        self.must(&format!("/element/{field}/value"), &json!({ "text": text }));
    }

    fn active(&self) -> String {
        self.must("/element/active", &Value::Null)[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Presses keys on the focused element.
    #[track_caller]
    pub fn keys(&self, keys: &str) {
        self.must(&format!("/element/{}/value", self.active()), &json!({ "text": keys }));
    }

    /// Returns the ID of the focused element.
    #[track_caller]
    pub fn focus(&self) -> String {
        let id = self.must(&format!("/element/{}/attribute/id", self.active()), &Value::Null);
        id.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks a button or a link.
    #[track_caller]
    pub fn clicks(&self, what: &str) {
        let element = self.element(what);
        self.must(&format!("/element/{element}/click"), &json!({}));
    }

    /// Clicks the button or link with this text.
    #[track_caller]
    pub fn presses(&self, text: &str) {
        self.clicks(&format!("//*[self::a or self::button or self::summary][normalize-space()='{text}']"));
    }

    /// Runs a script in the page and returns its result.
    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        self.must("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Sets the window size and the colour scheme.
    #[track_caller]
    pub fn screen(&self, screen: Screen) {
        let (width, height, mobile) = match screen {
            Screen::Phone => (390, 844, true),
            Screen::Zoomed => (640, 450, false),
            Screen::Desktop | Screen::Dark | Screen::Paper => (1280, 900, false),
        };
        let scheme = if matches!(screen, Screen::Dark) { "dark" } else { "light" };
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        let media = if matches!(screen, Screen::Paper) { "print" } else { "" };
        let taste = json!({ "media": media, "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        for (cmd, params) in [("Emulation.setDeviceMetricsOverride", size), ("Emulation.setEmulatedMedia", taste)] {
            self.must("/goog/cdp/execute", &json!({ "cmd": cmd, "params": params }));
        }
    }

    /// Saves a screenshot of the page in `target/screenshots`.
    #[track_caller]
    pub fn shoot(&self, name: &str) {
        let taken = self.must("/screenshot", &Value::Null);
        let picture = Base64::decode_vec(taken.as_str().expect("a picture")).expect("base64");
        std::fs::write(self.shots.join(format!("{name}.png")), picture).expect("a file");
    }

    /// Fails if axe finds a serious accessibility fault in the page, or if the page is wider than the window.
    #[track_caller]
    pub fn accessible(&self) {
        let Some(axe) = axe() else { return };
        self.script(&axe);
        let run = "const done = arguments[arguments.length - 1]; axe.run().then(done, (e) => done(String(e)));";
        let found = self.must("/execute/async", &json!({ "script": run, "args": [] }));
        let findings = found["violations"].as_array().unwrap_or_else(|| panic!("axe: {found}"));
        let serious: Vec<String> = findings
            .iter()
            .filter(|one| one["impact"] == "serious" || one["impact"] == "critical")
            .map(|one| format!("{}: {} {}", one["id"], one["help"], one["nodes"]))
            .collect();
        assert!(serious.is_empty(), "{}: {serious:#?}", self.path());
        assert!(found["passes"].as_array().is_some_and(|passes| passes.len() > 5), "it looked at something");
        self.fits();
    }

    /// Fails if the page is wider than the window.
    #[track_caller]
    pub fn fits(&self) {
        let wide = self.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth;");
        assert_eq!(wide, json!(0), "{} has to be moved sideways", self.path());
    }
}

/// Returns the source of axe-core if it is installed.
fn axe() -> Option<String> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../tools/node_modules/axe-core/axe.min.js");
    match std::fs::read_to_string(&path) {
        Ok(script) => Some(script),
        Err(error) => {
            assert!(!browser_required(), "TEST_BROWSER is set, and {}: {error}", path.display());
            report_skipped(&format!("accessibility: there is no {} (npm's package axe-core)", path.display()));
            None
        }
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        let _gone_already = command(&self.addr, "DELETE", &format!("/session/{}", self.session), &Value::Null);
        let _gone_already = self.driver.kill();
        let _gone_already = self.driver.wait();
    }
}

/// Sends a WebDriver command. Returns the value in the response, or the driver's error.
fn command(addr: &str, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let sent = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = ask(addr, method, path, &[("Content-Type", "application/json")], &sent);
    let mut said: Value = serde_json::from_str(&answer.body).map_err(|error| format!("{error}: {answer:?}"))?;
    let value = said["value"].take();
    if answer.status == 200 { Ok(value) } else { Err(format!("{path}: {} {}", value["error"], value["message"])) }
}
