//! Failures are bounded, and whoever is known passes all the same.

use tonic::Code;
use tonic_types::StatusExt as _;

use bulkhead_proto::audit::v1::GetCheckpointRequest;

use crate::house::{House, person, with_token};
use crate::issuer::{Key, SCRIBE, claims};
use crate::jwt;

#[tokio::test]
async fn failing_credentials_are_bounded_and_known_ones_are_not() {
    let house = House::start(vec![person("known", &["auditor"])]).await;
    let mut refused = None;
    for guess in 0..500 {
        match house.who(&format!("guess-{guess}")).await {
            Err((Code::Unauthenticated, _)) => {}
            Err((Code::ResourceExhausted, reason)) => {
                refused = Some((guess, reason));
                break;
            }
            other => assert!(other.is_err(), "a guess was taken: {other:?}"),
        }
    }
    let (guesses, reason) = refused.expect("five hundred guesses in a row were looked at");
    assert!(guesses >= 50, "{guesses}");
    assert_eq!(reason, "TOO_MANY_FAILED_CREDENTIALS");
    for _ in 0..100 {
        assert!(house.who("known").await.is_ok());
    }
}

#[tokio::test]
async fn whoever_failed_too_often_is_told_when_to_come_back() {
    let house = House::start(Vec::new()).await;
    for _ in 0..500 {
        let request = with_token(GetCheckpointRequest {}, "guess");
        let status = house.client().get_checkpoint(request).await.expect_err("refused");
        if status.code() == Code::ResourceExhausted {
            let wait = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("a delay");
            assert!(wait.as_millis() <= 100, "{wait:?}");
            tokio::time::sleep(wait).await;
            assert_eq!(house.who("guess").await.expect_err("refused").0, Code::Unauthenticated);
            return;
        }
    }
    unreachable!("five hundred guesses in a row were looked at");
}

#[tokio::test]
async fn a_call_without_a_credential_is_no_guess() {
    let house = House::start(Vec::new()).await;
    for _ in 0..200 {
        let status = house.client().get_checkpoint(GetCheckpointRequest {}).await.expect_err("refused");
        assert_eq!(status.code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_token_verified_before_passes_while_others_are_not_looked_at() {
    let (key, stranger) = (Key::ed("ed"), Key::ed("ed"));
    let (house, _folder) = jwt::house(&[&key]).await;
    let known = key.token(&claims(600));
    assert_eq!(house.who(&known).await.as_deref(), Ok(SCRIBE));
    let refused = async |seconds| {
        let answer = house.who(&stranger.token(&claims(seconds))).await;
        matches!(answer, Err((Code::ResourceExhausted, _)))
    };
    for seconds in 600..1_100 {
        if refused(seconds).await {
            assert_eq!(house.who(&known).await.as_deref(), Ok(SCRIBE));
            return;
        }
    }
    unreachable!("five hundred forged tokens in a row were looked at");
}

#[tokio::test]
async fn good_tokens_are_no_failures_however_many() {
    let key = Key::ed("ed");
    let (house, _folder) = jwt::house(&[&key]).await;
    for seconds in 600..800 {
        assert_eq!(house.who(&key.token(&claims(seconds))).await.as_deref(), Ok(SCRIBE));
    }
}
