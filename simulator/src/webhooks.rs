//! Simulates webhooks: subscriptions, the key set, and deliveries with a valid or forged signature.
//!
//! The simulator's two private keys were made for the simulator and protect nothing. The signature of a webhook covers
//! the body as base64url, with RS256. The vendor does not publish its algorithm. The simulator delivers webhooks only
//! to this machine.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Mutex,
    time::Duration,
};

use base64ct::{Base64UrlUnpadded, Encoding};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use serde_json::{Value, json};

use super::{
    lock::hold,
    query,
    reply::{Reply, advocate_error},
    time,
};

/// The private key of the public key in the key set.
const KEY: &[u8] = include_bytes!("hook_key.p8");
/// The private key after a rotation of the keys. Before the rotation, a delivery that is signed with this key is
/// forged.
const OTHER: &[u8] = include_bytes!("other_hook_key.p8");

/// The tenant's webhook subscriptions and signing keys.
#[derive(Debug, Default)]
pub(super) struct Webhooks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    subscriptions: Vec<(String, Vec<String>)>,
    events: u64,
    asked_for_keys: u64,
    rotated: bool,
}

impl Webhooks {
    /// Answers a request for `/.well-known/jwks.json`.
    pub(super) fn jwks(&self) -> Reply {
        let mut state = hold(&self.0);
        state.asked_for_keys += 1;
        let mut keys = vec![public("simulator-1", KEY)];
        if state.rotated {
            keys.push(public("simulator-2", OTHER));
        }
        Reply::json(200, &json!({ "keys": keys }))
    }

    /// Answers a request for `/subscription` or a path below it.
    pub(super) fn answer(&self, method: &hyper::Method, tenant: &str, path: &str, form: &str) -> Reply {
        let rest = path.strip_prefix("subscription").unwrap_or_default().trim_start_matches('/');
        match (method.as_str(), rest) {
            ("GET", "") => {
                let state = hold(&self.0);
                let list: Vec<Value> = state
                    .subscriptions
                    .iter()
                    .map(|(url, types)| {
                        json!({ "endpointUrl": url, "name": "recoup", "source": "MANUAL", "webhookTypes": types })
                    })
                    .collect();
                Reply::json(200, &json!(list))
            }
            ("POST", "") => {
                let wanted: Value = serde_json::from_str(form).unwrap_or_default();
                let Some(url) = wanted["endpointUrl"].as_str() else {
                    return advocate_error(400, "endpointUrl is required.", Some("VALIDATION_FAILED"), None);
                };
                let types = wanted["webhookTypes"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let types: Vec<String> = types.map(str::to_owned).collect();
                let mut state = hold(&self.0);
                state.subscriptions.retain(|(known, _)| known != url);
                state.subscriptions.push((url.to_owned(), types));
                Reply::new(201, "application/json", "")
            }
            ("DELETE", address) => {
                let address = query::segment(address);
                let mut state = hold(&self.0);
                let before = state.subscriptions.len();
                state.subscriptions.retain(|(known, _)| *known != address);
                if state.subscriptions.len() == before {
                    return advocate_error(404, "No such subscription.", None, None);
                }
                Reply::new(204, "application/json", "")
            }
            ("POST", test) => {
                let Some(address) = test.strip_suffix("/test").map(query::segment) else {
                    return advocate_error(404, "There is nothing here.", None, None);
                };
                if !hold(&self.0).subscriptions.iter().any(|(known, _)| *known == address) {
                    return advocate_error(404, "No such subscription.", None, None);
                }
                let (signature, body) = self.delivery(tenant, "type=test");
                // Delivers the webhook in the background, because the vendor responds before it delivers.
                let address = address.into_owned();
                std::thread::spawn(move || deliver(&address, &signature, &body));
                Reply::new(204, "application/json", "")
            }
            _ => advocate_error(404, "There is nothing here.", None, None),
        }
    }

    /// Answers `/_simulator/webhook` with a delivery that the caller can post itself. The request for a delivery has
    /// `type`, `account` and `id`, and in `how` the damage of the delivery.
    pub(super) fn control(&self, tenant: &str, asked: &str) -> Reply {
        if query::value(asked, "rotate").is_some() {
            hold(&self.0).rotated = true;
        }
        let (signature, body) = self.delivery(tenant, asked);
        let asked_for_keys = hold(&self.0).asked_for_keys;
        Reply::json(200, &json!({ "signature": signature, "body": body, "asked_for_keys": asked_for_keys }))
    }

    fn delivery(&self, tenant: &str, asked: &str) -> (String, String) {
        let value = |name: &str, usual: &str| query::value(asked, name).unwrap_or_else(|| usual.into()).into_owned();
        let number = {
            let mut state = hold(&self.0);
            state.events += 1;
            state.events
        };
        let event = json!({
            "id": value("id", &format!("simulator-event-{number}")),
            "type": value("type", "reward.created"),
            "tenantAlias": value("tenant", tenant),
            "live": false,
            "created": time::now_ms() - query::number(asked, "age_ms").unwrap_or(0) as i64,
            "data": { "accountId": query::value(asked, "account"), "userId": query::value(asked, "account") },
        });
        let body = event.to_string();
        let how = value("how", "good");
        let (kid, key) = match how.as_str() {
            "other_key" => ("simulator-2", OTHER),
            "wrong_key" => ("simulator-1", OTHER),
            "unknown_kid" => ("nobody's", KEY),
            _ => ("simulator-1", KEY),
        };
        let alg = match how.as_str() {
            "none" => "none",
            "wrong_alg" => "HS256",
            _ => "RS256",
        };
        let header = Base64UrlUnpadded::encode_string(json!({ "alg": alg, "kid": kid }).to_string().as_bytes());
        let signed = format!("{header}.{}", Base64UrlUnpadded::encode_string(body.as_bytes()));
        let signature = if how == "none" { String::new() } else { sign(key, signed.as_bytes()) };
        let body = if how == "altered" { body.replace("simulator-event", "another-event") + " " } else { body };
        (format!("{header}..{signature}"), body)
    }
}

fn pair(key: &[u8]) -> RsaKeyPair {
    #[expect(clippy::expect_used, reason = "the key lies beside this file, and a test signs with it")]
    RsaKeyPair::from_pkcs8(key).expect("a key")
}

fn public(kid: &str, key: &[u8]) -> Value {
    let components = PublicKeyComponents::<Vec<u8>>::from(pair(key).public());
    let text = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": text(&components.n), "e": text(&components.e) })
}

fn sign(key: &[u8], text: &[u8]) -> String {
    let pair = pair(key);
    let mut signature = vec![0; pair.public().modulus_len()];
    match pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature) {
        Ok(()) => Base64UrlUnpadded::encode_string(&signature),
        Err(_) => String::new(),
    }
}

/// Posts a webhook delivery to an address on this machine and ignores the response.
fn deliver(address: &str, signature: &str, body: &str) {
    let Some((host, path)) = address.strip_prefix("http://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))
    else {
        return;
    };
    let Some(to) = host.parse::<SocketAddr>().ok().filter(|to| to.ip().is_loopback()) else { return };
    let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_secs(5)) else { return };
    let request = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nX-Hook-JWS-RFC-7797: {signature}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut answer = Vec::new();
    // A delivery without a response is no error.
    let _sent = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer));
}
