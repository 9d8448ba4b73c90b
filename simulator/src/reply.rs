//! A simulated response before it is sent, in the form of its API: Advocate errors, Brand errors, Brand objects as JSON
//! or XML.
//!
//! The vendor's Brand API answers in XML if the client does not request JSON. The simulator also answers in XML,
//! because a client without the header must fail here too. The module of responses does not know the data.

use hyper::{Response, StatusCode, header::HeaderValue};
use serde_json::{Value, json};

use super::connection::Payload;

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) headers: Vec<(&'static str, String)>,
}

pub(super) const JSON: &str = "application/json";

impl Reply {
    pub(super) fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, kind, body: body.into(), headers: Vec::new() }
    }

    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::new(status, JSON, value.to_string())
    }

    /// Returns an HTML error page, as a proxy in front of the vendor would send it.
    pub(super) fn html(status: u16) -> Self {
        let page = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n");
        Self::new(status, "text/html", page)
    }

    /// Returns the HTML page of a firewall between client and vendor. The firewall's page contains the refused URL, as
    /// the pages of some firewalls do.
    pub(super) fn firewall() -> Self {
        let page = "<!DOCTYPE html><html><head><title>Access denied | Example Firewall</title></head>\
            <body><p>Blocked: ann@example.com from 192.0.2.7</p></body></html>\n";
        Self::new(403, "text/html; charset=utf-8", page)
    }

    pub(super) fn with(mut self, headers: Vec<(&'static str, String)>) -> Self {
        self.headers.extend(headers);
        self
    }

    pub(super) fn send(mut self) -> Response<Payload> {
        let body = Payload::whole(std::mem::take(&mut self.body));
        self.send_as(body)
    }

    /// Sends the status and headers of this response with another body.
    pub(super) fn send_as(self, body: Payload) -> Response<Payload> {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        if let Some(date) = super::time::moved_date().and_then(|date| HeaderValue::from_str(&date).ok()) {
            headers.insert(hyper::header::DATE, date);
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// Returns an Advocate error: `{message, statusCode, apiErrorCode, rsCode}`. `apiErrorCode` and `rsCode` are only
/// present if a document of the vendor lists them.
pub(super) fn advocate_error(status: u16, message: &str, api: Option<&str>, rs: Option<&str>) -> Reply {
    let mut body = json!({"message": message, "statusCode": status});
    if let Some(api) = api {
        body["apiErrorCode"] = api.into();
    }
    if let Some(rs) = rs {
        body["rsCode"] = rs.into();
    }
    Reply::json(status, &body)
}

/// Returns a Brand error: `{Status, Message}`, and the faulty field if the error is about a field.
pub(super) fn brand_error(json: bool, status: u16, message: &str, field: Option<(&str, &str)>) -> Reply {
    let mut body = json!({"Status": "ERROR", "Message": message});
    if let Some((field, message)) = field {
        body["Errors"] = json!([{"Field": field, "Message": message}]);
    }
    brand(json, status, "Error", &body)
}

/// Returns a Brand object as JSON, or as XML with `element` as the root.
pub(super) fn brand(json: bool, status: u16, element: &str, value: &Value) -> Reply {
    if json {
        return Reply::json(status, value);
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ImpactRadiusResponse>");
    // In the elements `Error`, `Queued` and `Page`, the JSON keys describe the response itself. Therefore no inner
    // element wraps the keys of these three elements.
    if matches!(element, "Error" | "Queued" | "Page") {
        write_members(&mut out, value);
    } else {
        write_xml(&mut out, element, value);
    }
    out.push_str("</ImpactRadiusResponse>\n");
    Reply::new(status, "text/xml", out)
}

fn write_xml(out: &mut String, name: &str, value: &Value) {
    let name = name.trim_start_matches('@');
    if let Value::Array(items) = value {
        return items.iter().for_each(|item| write_xml(out, name, item));
    }
    out.extend(["<", name, ">"]);
    match value {
        Value::Object(_) => write_members(out, value),
        Value::String(text) => out.push_str(&text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")),
        Value::Null => {}
        other => out.push_str(&other.to_string()),
    }
    out.extend(["</", name, ">"]);
}

fn write_members(out: &mut String, value: &Value) {
    for (key, member) in value.as_object().into_iter().flatten() {
        write_xml(out, key, member);
    }
}
