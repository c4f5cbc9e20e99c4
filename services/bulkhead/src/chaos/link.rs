//! The wire between two services: a small TCP proxy on loopback that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fault::Cut;

/// A wire. Dropping it closes what passes through it.
#[derive(Debug)]
pub(super) struct Link {
    address: SocketAddr,
    cut: watch::Sender<Option<Cut>>,
    ended: CancellationToken,
}

impl Link {
    /// One that leads to `target`, and is whole.
    pub(super) async fn lay(target: SocketAddr, tracker: &TaskTracker) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (cut, watched) = watch::channel(None);
        let link = Self { address: listener.local_addr()?, cut, ended: CancellationToken::new() };
        tracker.spawn(link.ended.clone().run_until_cancelled_owned(accept(
            listener,
            target,
            watched,
            tracker.clone(),
        )));
        Ok(link)
    }

    /// Where callers go instead of to the target.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the wire, or mends it.
    pub(super) fn set(&self, cut: Option<Cut>) {
        self.cut.send_replace(cut);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.ended.cancel();
        self.cut.send_replace(Some(Cut::Refusing));
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    cut: watch::Receiver<Option<Cut>>,
    tracker: TaskTracker,
) {
    loop {
        match listener.accept().await {
            Ok((caller, _)) => drop(tracker.spawn(pass(caller, target, cut.clone()))),
            Err(error) => tracing::warn!(%error, "a wire could not take a connection"),
        }
    }
}

/// Carries one connection for as long as the wire is whole. A cut ends it: at once, or when the silence is over.
async fn pass(mut caller: TcpStream, target: SocketAddr, mut cut: watch::Receiver<Option<Cut>>) {
    if cut.borrow_and_update().is_none() {
        let carried = async {
            let mut callee = TcpStream::connect(target).await?;
            // What tonic and hyper ask of their own sockets; without it small frames wait for each other.
            caller.set_nodelay(true)?;
            callee.set_nodelay(true)?;
            copy_bidirectional(&mut caller, &mut callee).await
        };
        // Kept beyond the select: both sides of a silent wire hear nothing, not even an end.
        tokio::pin!(carried);
        tokio::select! {
            ended = &mut carried => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection through a wire ended");
                }
                return;
            }
            changed = cut.changed() => if changed.is_err() { return },
        }
        silence(&mut cut).await;
    } else {
        silence(&mut cut).await;
    }
}

/// Lasts while the wire is silent: sockets stay open and unread. A wire that is gone has no silence to keep.
async fn silence(cut: &mut watch::Receiver<Option<Cut>>) {
    while *cut.borrow_and_update() == Some(Cut::Silent) {
        if cut.changed().await.is_err() {
            return;
        }
    }
}
