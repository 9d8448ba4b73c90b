//! Tests of valid webhook deliveries, and of each kind of invalid delivery.

use base64ct::{Base64UrlUnpadded, Encoding};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::json;

use super::verify::{check, parse};
use super::*;

fn pair() -> RsaKeyPair {
    RsaKeyPair::from_pkcs8(include_bytes!("../../simulator/src/hook_key.p8")).expect("a key")
}

fn sign(header: &serde_json::Value, body: &[u8], raw: bool) -> String {
    let header = Base64UrlUnpadded::encode_string(header.to_string().as_bytes());
    let mut signed = format!("{header}.").into_bytes();
    if raw {
        signed.extend_from_slice(body);
    } else {
        signed.extend_from_slice(Base64UrlUnpadded::encode_string(body).as_bytes());
    }
    let mut signature = vec![0; pair().public().modulus_len()];
    pair().sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &signed, &mut signature).expect("signs");
    format!("{header}..{}", Base64UrlUnpadded::encode_string(&signature))
}

fn key() -> Key {
    let set = json!({ "keys": [jwk("k"), { "kty": "EC", "kid": "other" }] });
    let keys = parse_jwks(set.to_string().as_bytes()).expect("a set");
    assert_eq!(keys.len(), 1, "a key of another kind is left out");
    keys["k"].clone()
}

fn jwk(kid: &str) -> serde_json::Value {
    let public = PublicKeyComponents::<Vec<u8>>::from(pair().public());
    let text = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    json!({ "kty": "RSA", "kid": kid, "n": text(&public.n), "e": text(&public.e) })
}

fn verdict(signature: &str, body: &[u8]) -> Result<(), Rejected> {
    let parsed = parse(signature)?;
    check(&parsed, body, &key())
}

#[test]
fn only_the_vendors_algorithm_over_the_raw_body_holds() {
    let body = br#"{ "id": "1",  "type": "test" }"#;
    let header = json!({ "alg": "RS256", "kid": "k" });
    assert_eq!(verdict(&sign(&header, body, false), body), Ok(()));
    let unencoded = json!({ "alg": "RS256", "kid": "k", "b64": false, "crit": ["b64"] });
    assert_eq!(verdict(&sign(&unencoded, body, true), body), Ok(()));
    for (header, why) in [
        (json!({ "alg": "none", "kid": "k" }), Rejected::Algorithm),
        (json!({ "alg": "HS256", "kid": "k" }), Rejected::Algorithm),
        (json!({ "alg": "RS512", "kid": "k" }), Rejected::Algorithm),
        (json!({ "alg": "rs256", "kid": "k" }), Rejected::Algorithm),
        (json!({ "alg": "RS256" }), Rejected::UnknownKey),
        (json!({ "alg": "RS256", "kid": "" }), Rejected::UnknownKey),
        (json!({ "kid": "k" }), Rejected::Unsigned),
        (json!({ "alg": "RS256", "kid": "k", "crit": ["exp"] }), Rejected::Algorithm),
        (json!({ "alg": "ES256", "kid": "k" }), Rejected::Algorithm),
        (json!([]), Rejected::Unsigned),
    ] {
        assert_eq!(verdict(&sign(&header, body, false), body), Err(why), "{header}");
    }
    // The body has the same JSON value in a different notation, so the signature does not match.
    assert_eq!(verdict(&sign(&header, body, false), br#"{"id":"1","type":"test"}"#), Err(Rejected::Signature));
    assert_eq!(verdict(&sign(&header, body, false), b""), Err(Rejected::Signature));
}

#[test]
fn a_body_that_is_signed_as_it_is_is_taken_only_if_the_header_says_so_twice() {
    let body = br#"{"id":"1"}"#;
    for (crit, b64, taken) in [
        (json!(["b64"]), json!(false), true),
        (json!(null), json!(false), false),
        (json!([]), json!(false), false),
        (json!(["exp"]), json!(false), false),
        (json!(["b64", "exp"]), json!(false), false),
        (json!(["b64", "b64"]), json!(false), false),
        (json!(["b64"]), json!(null), false),
        (json!([]), json!(null), false),
        (json!(null), json!(true), false),
        (json!(["b64"]), json!(true), true),
    ] {
        let header = json!({ "alg": "RS256", "kid": "k", "crit": crit, "b64": b64 });
        let verdict = verdict(&sign(&header, body, b64 == json!(false)), body);
        assert_eq!(verdict, if taken { Ok(()) } else { Err(Rejected::Algorithm) }, "{header}");
    }
}

#[test]
fn es256_is_taken_by_a_key_of_its_own_type_and_by_no_other() {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key");
    let text = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let jwk =
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k", "x": text(x), "y": text(y) });
    let keys =
        |entry: &serde_json::Value| parse_jwks(json!({ "keys": [entry] }).to_string().as_bytes()).expect("a set");
    let key = keys(&jwk)["k"].clone();
    let body = br#"{"id":"1"}"#;
    let signed_as = |alg: &str| {
        let header = text(json!({ "alg": alg, "kid": "k" }).to_string().as_bytes());
        let signed = format!("{header}.{}", text(body));
        format!("{header}..{}", text(pair.sign(&random, signed.as_bytes()).expect("signs").as_ref()))
    };
    let verdict = |signature: &str, body: &[u8], key: &Key| check(&parse(signature)?, body, key);
    assert_eq!(verdict(&signed_as("ES256"), body, &key), Ok(()));
    assert_eq!(verdict(&signed_as("ES256"), b"{}", &key), Err(Rejected::Signature));
    // Neither the header nor the key set can make a key verify another algorithm.
    assert_eq!(verdict(&signed_as("RS256"), body, &key), Err(Rejected::Algorithm));
    assert_eq!(verdict(&signed_as("ES256"), body, &super::tests::key()), Err(Rejected::Algorithm));
    let rs256 = sign(&json!({ "alg": "RS256", "kid": "k" }), body, false);
    assert_eq!(verdict(&rs256, body, &key), Err(Rejected::Algorithm));
    for (field, value) in [("alg", "RS256"), ("use", "enc"), ("crv", "P-384"), ("x", "AA"), ("y", "AA"), ("kty", "OKP")]
    {
        let mut other = jwk.clone();
        other[field] = value.into();
        assert!(keys(&other).is_empty(), "{field} {value}");
    }
}

#[test]
fn a_short_key_and_a_set_that_is_none_are_not_taken() {
    let mut short = jwk("k");
    short["n"] = Base64UrlUnpadded::encode_string(&[0xff; 128]).into();
    let mut padded = jwk("k");
    padded["n"] = Base64UrlUnpadded::encode_string(&[vec![0; 200], vec![0xff; 128]].concat()).into();
    let mut other = jwk("k");
    other["use"] = "enc".into();
    for set in [json!({ "keys": [short, padded, other] }), json!({ "keys": [] }), json!({ "keys": [1, "x", null] })] {
        assert_eq!(parse_jwks(set.to_string().as_bytes()).map(|keys| keys.len()), Some(0), "{set}");
    }
    for text in ["", "[]", "{}", "{\"keys\":1}", "<html>"] {
        assert!(parse_jwks(text.as_bytes()).is_none(), "{text}");
    }
}

/// A server of webhook keys that answers one request, and accepts a second request without an answer. The server of
/// keys reports each request to the test.
fn host_that_falls_silent() -> (String, tokio::sync::mpsc::UnboundedReceiver<()>) {
    use std::io::{Read, Write};

    let keys = json!({ "keys": [jwk("k")] }).to_string();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/jwks.json", listener.local_addr().expect("an address"));
    let (asked, is_asked) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let _read = stream.read(&mut [0; 4096]).expect("a question");
            if n == 0 {
                let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", keys.len());
                stream.write_all(format!("{head}{keys}").as_bytes()).expect("an answer");
            } else {
                silent.push(stream);
            }
            if asked.send(()).is_err() {
                return;
            }
        }
    });
    (url, is_asked)
}

#[tokio::test]
async fn a_forged_delivery_with_an_unknown_key_holds_up_none_with_a_known_one() {
    use futures::FutureExt;

    let (url, mut is_asked) = host_that_falls_silent();
    let keys = Arc::new(Keys::new(url.parse().expect("a URL")));
    let begin = Timestamp::UNIX_EPOCH;
    assert_eq!(keys.get("k", begin).await, Ok(key()));
    is_asked.recv().await.expect("the keys were fetched");
    let later = begin + SignedDuration::from_mins(2);
    let forged = tokio::spawn({
        let keys = Arc::clone(&keys);
        async move { keys.get("nobody's", later).await }
    });
    is_asked.recv().await.expect("the forged delivery has the keys fetched");
    assert_eq!(keys.get("k", later).now_or_never(), Some(Ok(key())), "at once");
    // recoup uses old keys while it fetches new keys. recoup uses very old keys only if the fetch fails.
    let (old, very_old) = (begin + SignedDuration::from_hours(13), begin + SignedDuration::from_hours(25));
    assert_eq!(keys.get("k", old).now_or_never(), Some(Ok(key())));
    assert_eq!(keys.get("k", very_old).now_or_never(), None);
    forged.abort();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_bit_of_body_or_signature_makes_it_no_delivery(place: prop::sample::Index, bit in 0_u8..8, of_body: bool) {
        let body = br#"{"id":"1","type":"reward.created","data":{"accountId":"a"}}"#.to_vec();
        let signature = sign(&json!({ "alg": "RS256", "kid": "k" }), &body, false);
        if of_body {
            let mut body = body;
            let at = place.index(body.len());
            body[at] ^= 1 << bit;
            prop_assert_eq!(verdict(&signature, &body), Err(Rejected::Signature));
        } else {
            let (header, text) = signature.split_once("..").expect("two parts");
            let mut bytes = Base64UrlUnpadded::decode_vec(text).expect("base64url");
            let at = place.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let altered = format!("{header}..{}", Base64UrlUnpadded::encode_string(&bytes));
            prop_assert_eq!(verdict(&altered, &body), Err(Rejected::Signature));
        }
    }

    #[test]
    fn nothing_that_a_stranger_sends_breaks_it(signature in ".{0,300}", bytes: Vec<u8>) {
        prop_assert!(verdict(&signature, &bytes).is_err());
        drop(parse_jwks(&bytes));
        drop(serde_json::from_slice::<Envelope>(&bytes).map(|event| (account_of(&event), event.created.as_ref().and_then(moment))));
    }
}
