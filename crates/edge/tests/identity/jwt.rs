//! Tokens of an issuer: which are taken, and which are not.

use std::fs;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_edge::identity::jwt::KeySource;
use bulkhead_edge::{Edge, EdgeSettings};
use serde_json::{Value, json};
use tonic::Code;

use crate::house::{House, said_no, until};
use crate::issuer::{Key, SCRIBE, claims, key_set, message, trusting};

/// A house that takes tokens signed by these keys, which lie in a file.
pub(crate) async fn house(keys: &[&Key]) -> (House, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    fs::write(&path, key_set(keys)).expect("written");
    (House::start_with(Vec::new(), Some(trusting(KeySource::File(path)))).await, folder)
}

#[tokio::test]
async fn a_token_stands_for_whom_its_claims_name() {
    let keys = [Key::ed("ed"), Key::rsa("rsa")];
    let (house, _folder) = house(&[&keys[0], &keys[1]]).await;
    for key in &keys {
        assert_eq!(house.who(&key.token(&claims(600))).await.as_deref(), Ok(SCRIBE), "{}", key.algorithm());
    }
}

#[tokio::test]
async fn a_token_without_a_key_id_means_the_only_key() {
    let key = Key::ed("ed");
    let (house, _folder) = house(&[&key]).await;
    let token = key.token_with(&json!({ "alg": "EdDSA" }), &claims(600));
    assert_eq!(house.who(&token).await.as_deref(), Ok(SCRIBE));
}

fn hmac(secret: &[u8], header: &Value) -> String {
    let message = message(header, &claims(600));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

/// Everything that is wrong with a token but its claims.
fn forged(ed: &Key, rsa: &Key) -> Vec<(&'static str, String)> {
    let (good, stranger) = (claims(600), Key::ed("ed"));
    let token = ed.token(&good);
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let mut promoted = good.clone();
    promoted["roles"] = json!(["operator"]);
    let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid });
    let secret = rsa.public_bytes();
    vec![
        ("no algorithm", format!("{}.", message(&header("none", "ed"), &good))),
        ("no algorithm, with a signature", ed.token_with(&header("none", "ed"), &good)),
        ("no algorithm, otherwise spelt", format!("{}.", message(&header("nOnE", "ed"), &good))),
        ("a secret made of the public key", hmac(&secret, &header("HS256", "rsa"))),
        ("a secret made of the public key of EdDSA", hmac(&ed.public_bytes(), &header("HS256", "ed"))),
        ("the public key as its own text", hmac(rsa.jwk().to_string().as_bytes(), &header("HS256", "rsa"))),
        ("an algorithm that is not taken", rsa.token_with(&header("RS512", "rsa"), &good)),
        ("another key's algorithm", rsa.token_with(&header("RS256", "ed"), &good)),
        ("another algorithm than its key's", ed.token_with(&header("EdDSA", "rsa"), &good)),
        ("an unknown key", ed.token_with(&header("EdDSA", "other"), &good)),
        ("no key id, and two keys", ed.token_with(&json!({ "alg": "EdDSA" }), &good)),
        ("a stranger's key under a known id", stranger.token(&good)),
        ("other claims", format!("{}.{signature}", message(&header("EdDSA", "ed"), &promoted))),
        ("no signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", &signature[..43])),
        ("a signature that is no base64", format!("{signed}.!!!")),
        ("four parts", format!("{token}.{signature}")),
        ("two parts", signed.to_owned()),
        ("a header that is no JSON", format!("e30e30.{}", token.split_once('.').expect("parts").1)),
        ("its own key in the header", {
            let header = json!({ "alg": "EdDSA", "kid": "ed", "jwk": stranger.jwk() });
            stranger.token_with(&header, &good)
        }),
        ("an extension that it demands", {
            ed.token_with(&json!({ "alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": true }), &good)
        }),
    ]
}

#[tokio::test]
async fn a_token_that_is_not_genuine_is_refused() {
    let (ed, rsa) = (Key::ed("ed"), Key::rsa("rsa"));
    let (house, _folder) = house(&[&ed, &rsa]).await;
    for (what, token) in forged(&ed, &rsa) {
        assert_eq!(house.who(&token).await, said_no("CREDENTIAL_REQUIRED"), "{what}");
    }
    assert_eq!(house.who(&ed.token(&claims(600))).await.as_deref(), Ok(SCRIBE));
}

#[tokio::test]
async fn a_genuine_token_with_one_wrong_claim_is_refused() {
    let key = Key::ed("ed");
    let (house, _folder) = house(&[&key]).await;
    let now = bulkhead_edge::now().as_second();
    let rows = [
        ("iss", json!("https://issuer.example/")),
        ("iss", json!(["https://issuer.example"])),
        ("iss", Value::Null),
        ("aud", json!("another service")),
        ("aud", Value::Null),
        ("exp", Value::Null),
        ("exp", json!((now + 600).to_string())),
        ("nbf", json!(now + 600)),
        ("sub", Value::Null),
        ("sub", json!("../ada")),
        ("tenant", Value::Null),
        ("tenant", json!("Acme")),
        ("kind", json!("service")),
        ("kind", json!("root")),
        ("owner", json!(["ada"])),
        ("roles", json!("operator")),
        ("roles", json!(["agent", "service"])),
    ];
    for (claim, value) in rows {
        let mut wrong = claims(600);
        wrong[claim] = value.clone();
        assert_eq!(house.who(&key.token(&wrong)).await, said_no("CREDENTIAL_REQUIRED"), "{claim} = {value}");
    }
    let expired = house.who(&key.token(&claims(-1))).await;
    assert_eq!(expired, said_no("CREDENTIAL_EXPIRED"), "the holder of a genuine token is told");
}

#[tokio::test]
async fn an_expired_token_stops_working_and_so_do_its_streams() {
    let key = Key::ed("ed");
    let (house, _folder) = house(&[&key]).await;
    let token = key.token(&claims(3));
    let mut stream = house.stream(&token, 0).await;
    assert_eq!(house.ended(&mut stream).await, (Code::Unauthenticated, "CREDENTIAL_ENDED".into()));
    assert_eq!(house.who(&token).await, said_no("CREDENTIAL_EXPIRED"));
}

#[tokio::test]
async fn a_key_that_is_taken_back_takes_its_tokens_along() {
    let keys = [Key::ed("kept"), Key::ed("gone")];
    let (house, folder) = house(&[&keys[0], &keys[1]]).await;
    let tokens = [keys[0].token(&claims(600)), keys[1].token(&claims(600))];
    let mut stream = house.stream(&tokens[1], 0).await;
    assert_eq!(house.who(&tokens[1]).await.as_deref(), Ok(SCRIBE));
    fs::write(folder.path().join("keys.json"), key_set(&[&keys[0]])).expect("written");
    assert_eq!(house.ended(&mut stream).await, (Code::Unauthenticated, "CREDENTIAL_ENDED".into()));
    assert_eq!(house.who(&tokens[1]).await, said_no("CREDENTIAL_REQUIRED"));
    assert_eq!(house.who(&tokens[0]).await.as_deref(), Ok(SCRIBE));
}

#[tokio::test]
async fn another_key_under_the_same_id_is_another_key() {
    let (first, second) = (Key::ed("key"), Key::ed("key"));
    let (house, folder) = house(&[&first]).await;
    let (old, new) = (first.token(&claims(600)), second.token(&claims(600)));
    assert_eq!(house.who(&old).await.as_deref(), Ok(SCRIBE));
    fs::write(folder.path().join("keys.json"), key_set(&[&second])).expect("written");
    until(async || (house.who(&old).await == said_no("CREDENTIAL_REQUIRED")).then_some(())).await;
    assert_eq!(house.who(&new).await.as_deref(), Ok(SCRIBE));
}

#[tokio::test]
async fn a_key_file_that_is_wrong_changes_nothing_and_readiness_says_so() {
    let key = Key::ed("ed");
    let (house, folder) = house(&[&key]).await;
    let path = folder.path().join("keys.json");
    let token = key.token(&claims(600));
    fs::write(&path, "{").expect("written");
    house.until_ready("jwt_keys", true).await;
    assert_eq!(house.who(&token).await.as_deref(), Ok(SCRIBE));
    fs::write(&path, key_set(&[&key])).expect("written");
    house.until_ready("jwt_keys", false).await;
    assert_eq!(house.who(&token).await.as_deref(), Ok(SCRIBE));
}

#[tokio::test]
async fn a_service_does_not_start_with_keys_that_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let (keys, tokens) = (folder.path().join("keys.json"), folder.path().join("tokens.toml"));
    fs::write(&tokens, "# Nobody.").expect("written");
    fs::write(&keys, "{\"keys\": 1}").expect("written");
    for path in [keys, folder.path().join("none.json")] {
        let settings = EdgeSettings {
            jwt: Some(trusting(KeySource::File(path.clone()))),
            ..EdgeSettings::loopback(tokens.clone())
        };
        let error = Edge::bind(settings).await.expect_err("refused");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
