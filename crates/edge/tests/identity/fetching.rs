//! Keys behind a URL: rotation, outage, and strangers who make us fetch.

use std::time::Duration;

use tonic::Code;

use crate::house::{House, said_no, until};
use crate::issuer::{Conduct, Key, KeyServer, SCRIBE, claims, key_set, trusting};

/// So long that no test sees a second one.
const NEVER: Duration = Duration::from_secs(3_600);
const OFTEN: Duration = Duration::from_secs(1);

async fn house(server: &KeyServer, refresh: Duration) -> House {
    House::start_with(Vec::new(), Some(trusting(server.keys(refresh)))).await
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it() {
    let (old, new) = (Key::ed("old"), Key::ed("new"));
    let server = KeyServer::start(Conduct::Publish(key_set(&[&old]))).await;
    let house = house(&server, NEVER).await;
    house.until_ready("jwt_keys", false).await;
    assert_eq!(house.who(&old.token(&claims(600))).await.as_deref(), Ok(SCRIBE));
    assert_eq!(server.asked(), 1);

    server.conduct(Conduct::Publish(key_set(&[&old, &new])));
    assert_eq!(house.who(&new.token(&claims(600))).await.as_deref(), Ok(SCRIBE));
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn strangers_cannot_make_it_fetch_again_and_again() {
    let (key, stranger) = (Key::ed("ed"), Key::ed("stranger"));
    let server = KeyServer::start(Conduct::Publish(key_set(&[&key]))).await;
    let house = house(&server, NEVER).await;
    house.until_ready("jwt_keys", false).await;
    let begun = std::time::Instant::now();
    for seconds in 0..30 {
        let refused = house.who(&stranger.token(&claims(600 + seconds))).await;
        assert_eq!(refused, said_no("CREDENTIAL_REQUIRED"));
    }
    // The first fetch, and then one for each ten seconds that have begun.
    let allowed = 2 + usize::try_from(begun.elapsed().as_secs() / 10).expect("fits");
    assert!(server.asked() <= allowed, "{} times", server.asked());
}

#[tokio::test]
async fn a_key_taken_back_at_the_issuer_is_gone_with_the_next_fetch() {
    let (kept, gone) = (Key::ed("kept"), Key::ed("gone"));
    let server = KeyServer::start(Conduct::Publish(key_set(&[&kept, &gone]))).await;
    let house = house(&server, OFTEN).await;
    house.until_ready("jwt_keys", false).await;
    let token = gone.token(&claims(600));
    let mut stream = house.stream(&token, 0).await;
    server.conduct(Conduct::Publish(key_set(&[&kept])));
    assert_eq!(house.ended(&mut stream).await, (Code::Unauthenticated, "CREDENTIAL_ENDED".into()));
    assert_eq!(house.who(&token).await, said_no("CREDENTIAL_REQUIRED"));
}

#[tokio::test]
async fn an_issuer_that_is_down_locks_nobody_out() {
    let key = Key::ed("ed");
    let server = KeyServer::start(Conduct::Publish(key_set(&[&key]))).await;
    let house = house(&server, OFTEN).await;
    house.until_ready("jwt_keys", false).await;
    server.conduct(Conduct::Fail(503));
    let before = server.asked();
    until(async || (server.asked() >= before + 2).then_some(())).await;
    assert_eq!(house.who(&key.token(&claims(600))).await.as_deref(), Ok(SCRIBE));
    let (status, body) = house.readiness().await;
    assert_eq!((status, body.contains("jwt_keys")), (200, false), "{body}");
}

#[tokio::test]
async fn without_any_key_readiness_says_so_and_callers_may_come_again() {
    let key = Key::ed("ed");
    let elsewhere = KeyServer::start(Conduct::Publish(key_set(&[&key]))).await;
    let server = KeyServer::start(Conduct::Fail(500)).await;
    let house = house(&server, OFTEN).await;
    let token = key.token(&claims(600));
    assert_eq!(house.who(&token).await, Err((Code::Unavailable, "CREDENTIAL_UNVERIFIABLE".into())));
    let conducts = [
        (Conduct::Fail(404), "404"),
        (Conduct::Redirect(format!("http://{}/keys", elsewhere.address)), "302"),
        (Conduct::Publish("<html>".into()), "not a JSON Web Key Set"),
        (Conduct::Publish(" ".repeat(300 << 10)), "more than 262144 bytes"),
        (Conduct::Publish("{\"keys\":[]}".into()), "no key that signs tokens"),
    ];
    for (conduct, told) in conducts {
        server.conduct(conduct);
        until(async || house.readiness().await.1.contains(told).then_some(())).await;
    }
    assert_eq!(elsewhere.asked(), 0, "a redirect was followed");
    server.conduct(Conduct::Publish(key_set(&[&key])));
    house.until_ready("jwt_keys", false).await;
    assert_eq!(house.who(&token).await.as_deref(), Ok(SCRIBE));
}
