//! What a person, or a script, says line by line.

use std::io::{BufRead as _, Write as _};

use crate::client::ClientError;

/// The next line of standard input; none at its end. `is_person`: somebody who wants to be asked.
pub(super) async fn next_line(is_person: bool) -> Result<Option<String>, ClientError> {
    // A thread of its own: the command may be stopped while it waits for a person.
    let read = tokio::task::spawn_blocking(move || {
        if is_person {
            write!(std::io::stderr(), "> ")?;
        }
        let mut line = String::new();
        let bytes = std::io::stdin().lock().read_line(&mut line)?;
        Ok::<_, std::io::Error>((bytes > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    });
    let wrong = |error: &dyn std::error::Error| {
        ClientError::Usage(format!("cannot read a line of standard input: {error}"))
    };
    read.await.map_err(|error| wrong(&error))?.map_err(|error| wrong(&error))
}
