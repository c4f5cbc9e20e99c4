use std::time::Duration;

use serde_json::json;

use super::*;
use crate::identity::IdentityError;
use crate::identity::jwt::{ClaimNames, KeySource};

const NOW: i64 = 1_800_000_000;

fn settings() -> JwtSettings {
    JwtSettings {
        issuer: "https://issuer.example".into(),
        audience: "bulkhead".into(),
        keys: KeySource::File("keys.json".into()),
        clock_skew: Duration::from_secs(60),
        kinds: vec![PrincipalKind::Agent, PrincipalKind::Person],
        claims: ClaimNames {
            name: "sub".into(),
            tenant: "tenant".into(),
            kind: "kind".into(),
            owner: "owner".into(),
            roles: "/realm/roles".into(),
        },
    }
}

fn good() -> Value {
    json!({
        "iss": "https://issuer.example", "aud": "bulkhead", "exp": NOW + 10, "sub": "scribe", "tenant": "acme",
        "kind": "agent", "owner": "ada", "realm": { "roles": ["agent"] },
    })
}

fn read(claims: &Value) -> Result<(Identity, Timestamp), JwtError> {
    identity(&settings(), claims, Timestamp::from_second(NOW).expect("in range"))
}

#[test]
fn the_claims_say_who_it_is_and_until_when() {
    let (identity, expires) = read(&good()).expect("good");
    assert_eq!(identity.principal.to_string(), "agent:acme/scribe");
    assert_eq!(identity.principal.owner.as_deref(), Some("ada"));
    assert_eq!(identity.roles, ["agent"]);
    assert_eq!(expires.as_second(), NOW + 70);
}

#[test]
fn one_wrong_claim_is_enough() {
    use JwtError as E;
    let rows = [
        ("/iss", json!("https://issuer.example/"), E::Issuer),
        ("/iss", json!(null), E::Issuer),
        ("/iss", json!(["https://issuer.example"]), E::Issuer),
        ("/aud", json!("bulkhead2"), E::Audience),
        ("/aud", json!(["other"]), E::Audience),
        ("/aud", json!([]), E::Audience),
        ("/aud", json!(null), E::Audience),
        ("/exp", json!(null), E::Claim("expiry")),
        ("/exp", json!("1900000000"), E::Claim("expiry")),
        ("/exp", json!(1e300), E::Claim("expiry")),
        ("/exp", json!(NOW - 60), E::Expired),
        ("/exp", json!(NOW - 61), E::Expired),
        ("/nbf", json!(NOW + 61), E::NotYet),
        ("/nbf", json!("soon"), E::Claim("beginning")),
        ("/sub", json!(null), E::Claim("name")),
        ("/sub", json!("Scribe"), E::Identity(IdentityError::Name)),
        ("/tenant", json!(7), E::Claim("tenant")),
        ("/tenant", json!("a/b"), E::Identity(IdentityError::Tenant)),
        ("/kind", json!("robot"), E::Claim("kind")),
        ("/kind", json!("service"), E::Kind),
        ("/owner", json!(["ada"]), E::Claim("owner")),
        ("/realm/roles", json!("agent"), E::Claim("roles")),
        ("/realm/roles", json!(["agent", 1]), E::Claim("roles")),
        ("/realm/roles", json!(["agent", "service"]), E::Identity(IdentityError::Service)),
    ];
    for (at, value, expected) in rows {
        let mut claims = good();
        if at == "/nbf" {
            claims["nbf"] = Value::Null;
        }
        *claims.pointer_mut(at).expect("there") = value.clone();
        assert_eq!(read(&claims).expect_err("refused"), expected, "{at} = {value}");
    }
}

#[test]
fn the_clock_may_be_off_by_the_skew_and_no_more() {
    for (claim, seconds) in [("exp", NOW - 59), ("nbf", NOW + 60), ("nbf", NOW)] {
        let mut claims = good();
        claims[claim] = json!(seconds);
        assert!(read(&claims).is_ok(), "{claim} {seconds}");
    }
    let mut claims = good();
    claims["exp"] = json!(f64::from(1_800_000_000_u32) + 0.5);
    assert_eq!(read(&claims).expect("good").1.as_millisecond(), (NOW + 60) * 1_000 + 500);
}

#[test]
fn an_audience_may_be_one_of_several() {
    let mut claims = good();
    claims["aud"] = json!(["other", "bulkhead"]);
    assert!(read(&claims).is_ok());
}
