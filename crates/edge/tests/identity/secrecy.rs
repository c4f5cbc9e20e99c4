//! What is presented is never written down, not even in part.

use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Mutex, Once, PoisonError};

use bulkhead_edge::identity::jwt::KeySource;

use crate::house::{House, person};
use crate::issuer::{Key, SCRIBE, claims, key_set, trusting};
use crate::jwt;

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

thread_local! {
    /// Where this thread logs; nowhere but in the tests of this file.
    static HERE: RefCell<Log> = RefCell::default();
}

impl Log {
    /// What is logged from now on in this thread, which a test shares with its service and its client. One subscriber
    /// for the process: with one for each thread, a line that another test comes by first may be taken for one that
    /// nobody wants.
    fn capture() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_writer(|| HERE.with_borrow(Self::clone))
                .finish();
            tracing::subscriber::set_global_default(subscriber).expect("no other subscriber");
        });
        let log = Self::default();
        HERE.set(log.clone());
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// Any eight characters in a row.
fn parts(token: &str) -> impl Iterator<Item = &str> {
    (0..=token.len() - 8).map(|at| &token[at..at + 8])
}

#[tokio::test]
async fn no_log_line_at_any_level_holds_a_token_or_a_part_of_one() {
    let log = Log::capture();

    let known = "bhk_0d6f9a3c5e7b1f2840d6f9a3c5e7b1f284";
    let unknown = "bhk_93ab57cd01ef93ab57cd01ef93ab57cd01";
    let long = "Zq7Wx".repeat(2_000);
    let (key, stranger) = (Key::ed("ed"), Key::ed("other"));
    let folder = tempfile::tempdir().expect("a folder");
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, key_set(&[&key])).expect("written");
    let jwt = Some(trusting(KeySource::File(keys)));
    let house = House::start_with(vec![person(known, &["auditor"])], jwt).await;
    let (verified, expired) = (key.token(&claims(600)), key.token(&claims(-1)));
    let forged = stranger.token(&claims(600));
    assert!(house.who(&verified).await.is_ok());
    for refused in [&expired, &forged, &verified[..verified.len() - 4]] {
        assert!(house.who(refused).await.is_err());
    }
    assert!(house.who(known).await.is_ok());
    assert!(house.who(unknown).await.is_err());
    assert!(house.who(&long).await.is_err());
    std::fs::write(&house.tokens, format!("[[token]]\nhash = \"{unknown}\"\n")).expect("written");
    house.until_ready("tokens", true).await;

    let text = log.text();
    assert!(text.contains("the token has expired"), "the log does not say why");
    assert!(text.contains("the token is not known"), "the log does not say why");
    assert!(text.contains("stay in force"), "the log does not tell of the file");
    assert!(text.contains("shown by a careless handler"), "no handler has shown its request");
    for token in [known, unknown, &long[..20], &verified, &expired, &forged] {
        let found = parts(token).find(|part| text.contains(part));
        let line = found.and_then(|part| text.lines().find(|line| line.contains(part)));
        assert_eq!(line, None);
    }
}

#[tokio::test]
async fn a_token_is_verified_once_and_not_per_call() {
    let log = Log::capture();
    let key = Key::ed("ed");
    let (house, _folder) = jwt::house(&[&key]).await;
    let (one, other) = (key.token(&claims(600)), key.token(&claims(601)));
    for _ in 0..20 {
        assert_eq!(house.who(&one).await.as_deref(), Ok(SCRIBE));
        assert_eq!(house.who(&other).await.as_deref(), Ok(SCRIBE));
    }
    assert_eq!(log.text().matches("a token was verified").count(), 2);
}
