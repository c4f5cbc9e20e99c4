//! What is presented is never written down, not even in part.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crate::house::{House, person};

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

impl Log {
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
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // This test, its service and its client share one thread.
    let _captured = tracing::subscriber::set_default(subscriber);

    let known = "bhk_0d6f9a3c5e7b1f2840d6f9a3c5e7b1f284";
    let unknown = "bhk_93ab57cd01ef93ab57cd01ef93ab57cd01";
    let long = "Zq7Wx".repeat(2_000);
    let house = House::start(vec![person(known, &["auditor"])]).await;
    assert!(house.who(known).await.is_ok());
    assert!(house.who(unknown).await.is_err());
    assert!(house.who(&long).await.is_err());
    std::fs::write(&house.tokens, format!("[[token]]\nhash = \"{unknown}\"\n")).expect("written");
    house.until_ready("tokens", true).await;

    let text = log.text();
    assert!(text.contains("the token is not known"), "the log does not say why");
    assert!(text.contains("stay in force"), "the log does not tell of the file");
    for token in [known, unknown, &long[..20]] {
        let found = parts(token).find(|part| text.contains(part));
        let line = found.and_then(|part| text.lines().find(|line| line.contains(part)));
        assert_eq!(line, None);
    }
}
