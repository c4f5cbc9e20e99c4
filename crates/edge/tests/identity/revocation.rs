//! A token that is taken back, while it is being used.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use tonic::Code;

use crate::house::{BUSY, House, file, person, said_no, until};

/// What is promised. Measured from the moment the file has changed, on a machine that may be busy with other tests,
/// so the bound asserted is wider.
const PROMISED: Duration = Duration::from_secs(1);
const ASSERTED: Duration = PROMISED.saturating_mul(10);

fn replace(house: &House, text: &str) {
    let new = house.tokens.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(&new, &house.tokens).expect("renamed");
}

/// Waits until the token is refused, and says how long that took.
async fn until_refused(house: &House, token: &str) -> Duration {
    let begun = Instant::now();
    until(async || (house.who(token).await == said_no("CREDENTIAL_REQUIRED")).then_some(())).await;
    begun.elapsed()
}

#[tokio::test]
async fn a_revoked_token_is_refused_within_a_second() {
    let house = House::start(vec![person("kept", &["auditor"]), person("gone", &["auditor"])]).await;
    assert!(house.who("gone").await.is_ok());
    replace(&house, &file(vec![person("kept", &["auditor"])]));
    let took = until_refused(&house, "gone").await;
    assert!(took < ASSERTED, "{took:?}");
    assert!(house.who("kept").await.is_ok());
}

#[tokio::test]
async fn a_file_that_is_rewritten_in_place_is_taken_too() {
    let house = House::start(vec![person("gone", &["auditor"])]).await;
    fs::write(&house.tokens, file(vec![person("new1", &["auditor"])])).expect("written");
    until_refused(&house, "gone").await;
    assert_eq!(house.who("new1").await.as_deref(), Ok("person:default/ada of nobody as auditor"));
    // The same length, written to the same file.
    fs::write(&house.tokens, file(vec![person("new2", &["auditor"])])).expect("written");
    until_refused(&house, "new1").await;
    assert!(house.who("new2").await.is_ok());
}

#[tokio::test]
async fn a_file_that_is_empty_while_it_is_written_takes_nothing_back() {
    let house = House::start(vec![person("kept", &["auditor"])]).await;
    let mut stream = house.stream("kept", 0).await;
    let mut open = fs::File::create(&house.tokens).expect("truncated");
    house.until_ready("tokens", true).await;
    assert!(house.who("kept").await.is_ok());
    let text = file(vec![person("kept", &["auditor"]), person("new", &["auditor"])]);
    open.write_all(text.as_bytes()).expect("written");
    house.until_ready("tokens", false).await;
    assert!(house.who("new").await.is_ok());
    let cut = tokio::time::timeout(Duration::from_millis(10), stream.message()).await;
    assert!(cut.is_err(), "the stream ended: {cut:?}");
}

#[tokio::test]
async fn streams_of_a_revoked_identity_end_and_calls_in_flight_finish() {
    let house = House::start(vec![person("kept", &["auditor"]), person("gone", &["auditor"])]).await;
    let mut quiet = house.stream("gone", 0).await;
    let mut busy = house.stream("gone", BUSY).await;
    let mut others = house.stream("kept", 0).await;
    let call = house.open_call("gone").await;

    let begun = Instant::now();
    replace(&house, &file(vec![person("kept", &["auditor"])]));
    for stream in [&mut quiet, &mut busy] {
        assert_eq!(house.ended(stream).await, (Code::Unauthenticated, "CREDENTIAL_ENDED".into()));
    }
    assert!(begun.elapsed() < ASSERTED, "{:?}", begun.elapsed());
    house.release();
    call.await.expect("no panic").expect("what had begun may finish");
    let cut = tokio::time::timeout(Duration::from_millis(10), others.message()).await;
    assert!(cut.is_err(), "another's stream ended: {cut:?}");
}

#[tokio::test]
async fn a_holder_whose_roles_change_must_come_again() {
    let house = House::start(vec![person("token", &["auditor"])]).await;
    let mut stream = house.stream("token", 0).await;
    replace(&house, &file(vec![person("token", &["approver"])]));
    assert_eq!(house.ended(&mut stream).await, (Code::Unauthenticated, "CREDENTIAL_ENDED".into()));
    assert_eq!(house.who("token").await.as_deref(), Ok("person:default/ada of nobody as approver"));
}

#[tokio::test]
async fn a_wrong_file_changes_nothing_and_readiness_says_so() {
    let house = House::start(vec![person("kept", &["auditor"])]).await;
    let mut stream = house.stream("kept", 0).await;
    let good = file(vec![person("kept", &["auditor"])]);
    let broken = [format!("{good}\n[[token]]\nhash = \"sha256:00\"\n"), "nonsense".to_owned()];
    for text in &broken {
        replace(&house, text);
        let body = house.until_ready("tokens", true).await;
        assert!(body.contains("tokens.toml"), "{body}");
        assert!(house.who("kept").await.is_ok());
        replace(&house, &good);
        house.until_ready("tokens", false).await;
    }
    fs::remove_file(&house.tokens).expect("removed");
    house.until_ready("tokens", true).await;
    assert!(house.who("kept").await.is_ok());
    let cut = tokio::time::timeout(Duration::from_millis(10), stream.message()).await;
    assert!(cut.is_err(), "the stream ended: {cut:?}");
}
