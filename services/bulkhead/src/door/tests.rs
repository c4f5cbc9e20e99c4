//! Bytes go through, and a connection ends with its service.

use tokio::io::AsyncReadExt as _;

use super::*;

/// Only guards against hanging.
const BOUND: Duration = Duration::from_secs(20);

/// A door before a service that answers with what it hears, once per connection, and ends it.
async fn door(shutdown: &CancellationToken, tasks: &mut JoinSet<()>) -> anyhow::Result<(SocketAddr, String)> {
    let echo = TcpListener::bind("127.0.0.1:0").await?;
    let service = echo.local_addr()?.to_string();
    tasks.spawn(async move {
        while let Ok((mut caller, _)) = echo.accept().await {
            let mut heard = [0; 5];
            let answered = async {
                caller.read_exact(&mut heard).await?;
                caller.write_all(&heard).await
            };
            assert!(answered.await.is_ok());
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    tasks.spawn(keep(listener, service.clone(), places, shutdown.clone()));
    Ok((address, service))
}

#[tokio::test]
async fn what_a_service_answers_comes_out_and_its_end_too() -> anyhow::Result<()> {
    let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let (address, _) = door(&shutdown, &mut tasks).await?;
    let mut caller = TcpStream::connect(address).await?;
    caller.write_all(b"hello").await?;
    let mut heard = Vec::new();
    // The caller keeps its own side open.
    timeout(BOUND, caller.read_to_end(&mut heard)).await??;
    assert_eq!(heard, b"hello");
    Ok(())
}

#[tokio::test]
async fn a_stop_lets_nobody_in_and_those_who_are_in_finish() -> anyhow::Result<()> {
    let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let (address, _) = door(&shutdown, &mut tasks).await?;
    let mut caller = TcpStream::connect(address).await?;
    caller.write_all(b"he").await?;
    // Another one's end shows that the first is in.
    let mut next = TcpStream::connect(address).await?;
    next.write_all(b"world").await?;
    shutdown.cancel();
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(BOUND, refused).await.context("nobody is let in any more")?;
    caller.write_all(b"llo").await?;
    let mut heard = Vec::new();
    timeout(BOUND, caller.read_to_end(&mut heard)).await??;
    assert_eq!(heard, b"hello");
    Ok(())
}

#[tokio::test]
async fn a_service_that_is_not_there_ends_the_connection() -> anyhow::Result<()> {
    let gone = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    let places = Arc::new(Semaphore::new(1));
    tasks.spawn(keep(listener, gone.to_string(), places, CancellationToken::new()));
    // The one place is given back each time.
    for _ in 0..3 {
        let mut heard = Vec::new();
        let mut caller = TcpStream::connect(address).await?;
        caller.write_all(b"hello").await?;
        // An end, or a reset, since what it said was not read.
        drop(timeout(BOUND, caller.read_to_end(&mut heard)).await?);
        assert!(heard.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn whoever_says_nothing_is_not_carried() -> anyhow::Result<()> {
    let (service, listener) =
        (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let (behind, address) = (service.local_addr()?.to_string(), listener.local_addr()?);
    let mut tasks = JoinSet::new();
    tasks.spawn(keep(listener, behind, Arc::new(Semaphore::new(1)), CancellationToken::new()));
    // There is one place, so each of these is over before the next is taken.
    for _ in 0..3 {
        drop(TcpStream::connect(address).await?);
    }
    let mut caller = TcpStream::connect(address).await?;
    caller.write_all(b"hello").await?;
    let (mut heard, mut first) = ([0; 5], timeout(BOUND, service.accept()).await??.0);
    timeout(BOUND, first.read_exact(&mut heard)).await??;
    assert_eq!(&heard, b"hello");
    Ok(())
}

#[test]
fn a_way_names_both_its_ends() {
    let way = |text: &str| text.parse::<Way>().map_err(|error| error.to_string());
    let expected = Way { listen: "0.0.0.0:7104".parse().expect("an address"), service: "audit:7104".into() };
    assert_eq!(way("0.0.0.0:7104=audit:7104"), Ok(expected));
    for wrong in ["7104", "7104=audit:7104", "0.0.0.0:7104=audit", "0.0.0.0:7104=:7104", "0.0.0.0:1=audit:x"]
    {
        assert!(way(wrong).is_err(), "{wrong}");
    }
}
