//! Listening, and connections that the script may reset.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::api::{Api, router};
use crate::pace::Break;
use crate::state::State;

/// Told the address once the simulator is bound.
pub type Announce = Box<dyn FnOnce(SocketAddr) + Send>;

/// How long open connections may take once a stop was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after a failed accept (usually: too many open files), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The simulator, for embedding.
#[derive(Debug)]
pub struct Simulator;

/// A simulator that serves. Dropping it stops it without a drain.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Simulator {
    /// Binds and serves in the background; port 0 picks a free one.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(listen: SocketAddr) -> io::Result<Running> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "the handle is kept and awaited by `stop`")]
        let serving = tokio::spawn(serve(listener, stop.clone()));
        Ok(Running { address, stop, serving })
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as a base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops listening, ends open connections, and returns once the port is free: from then on a connection
    /// to it is refused.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.serving).await {
            tracing::error!(%error, "the simulator panicked");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Serves until `shutdown`, then drains.
///
/// # Errors
/// When the port cannot be had.
pub async fn run(listen: SocketAddr, announce: Announce, shutdown: CancellationToken) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    announce(listener.local_addr()?);
    serve(listener, shutdown).await;
    Ok(())
}

async fn serve(listener: TcpListener, stop: CancellationToken) {
    let router = router(Api { state: State::default(), stopping: stop.clone() });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => report(ended),
            () = stop.cancelled() => break,
        }
    }
    drop(listener);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("some connections were still open when the drain limit passed");
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection panicked");
    }
}

type Answer = BoxFuture<'static, Result<Response, Break>>;

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "answers may be late by a delayed acknowledgement");
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| -> Answer {
        let answered = router.clone().oneshot(request.map(Body::new));
        Box::pin(async move {
            let Ok(response) = answered.await;
            match response.extensions().get::<Break>() {
                Some(how) => Err(*how),
                None => Ok(response),
            }
        })
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
        () = stop.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    let mut stream = connection.into_parts().io.into_inner();
    let closed = match ended {
        // With a linger of zero, closing sends RST.
        Err(error) if is_reset(&error) => stream.set_zero_linger(),
        Ok(()) | Err(_) => stream.shutdown().await,
    };
    if let Err(error) = closed {
        tracing::debug!(%error, "the client closed first");
    }
}

/// Whether the script asked for it: as the answer, or deep inside the error of a body.
fn is_reset(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<Break>() == Some(&Break::Reset) {
            return true;
        }
        cause = error.source();
    }
    false
}
