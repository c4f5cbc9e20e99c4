//! Plain HTTP to a service, as a probe or a scraper speaks it.

use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::within;

/// How long an answer may take on a busy machine.
const BOUND: Duration = Duration::from_secs(20);

/// The head and the body that a service answers to `GET path`.
///
/// # Errors
/// When it does not answer.
pub async fn get(address: &str, path: &str) -> anyhow::Result<(String, String)> {
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = within("an answer", BOUND, asked).await??;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    Ok((head.to_owned(), body.to_owned()))
}
