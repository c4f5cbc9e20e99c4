//! Collectors that are no good.

use std::fmt;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How a collector fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Collector {
    /// Nobody listens there.
    Dead,
    /// It takes connections and never answers.
    Silent,
    /// It answers every export with UNAVAILABLE.
    Refusing,
}

/// A collector that goes on failing until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    /// Where exports go.
    pub(crate) endpoint: String,
    task: Option<JoinHandle<()>>,
}

impl Collector {
    pub(crate) const ALL: [Self; 3] = [Self::Dead, Self::Silent, Self::Refusing];

    /// Starts one.
    pub(crate) async fn start(self) -> anyhow::Result<Held> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let task = match self {
            Self::Dead => None,
            Self::Silent => Some(spawn(silent(listener))),
            Self::Refusing => Some(spawn(refusing(listener))),
        };
        Ok(Held { endpoint, task })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "aborted when its holder goes; it cannot outlive the bench")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}

async fn silent(listener: TcpListener) {
    let mut held = Vec::new();
    while let Ok((stream, _)) = listener.accept().await {
        held.push(stream);
    }
}

/// A server without services answers UNIMPLEMENTED to all; with a gRPC status either way.
async fn refusing(listener: TcpListener) {
    let refuse = axum::Router::new().fallback(|| async {
        tonic::Status::unavailable("this collector takes nothing").into_http::<axum::body::Body>()
    });
    // It ends with the task.
    drop(axum::serve(listener, refuse).await);
}

impl fmt::Display for Collector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Dead => "is dead",
            Self::Silent => "never answers",
            Self::Refusing => "refuses everything",
        })
    }
}
