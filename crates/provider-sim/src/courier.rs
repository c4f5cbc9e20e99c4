//! Sends a stream beat by beat, and keeps the record true while it does.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::{Body, Bytes};
use tokio_util::sync::CancellationToken;

use crate::control::Answered;
use crate::pace::{Beat, Break};
use crate::state::Receipt;

/// A body on its way. Dropped before its end, the request counts as abandoned: that is what the server does to it once
/// the client has gone.
pub(crate) struct Courier {
    pub(crate) beats: VecDeque<Beat>,
    /// What the record says in the end.
    pub(crate) outcome: Answered,
    pub(crate) receipt: Receipt,
    pub(crate) stopping: CancellationToken,
}

impl Courier {
    pub(crate) fn into_body(self) -> Body {
        Body::from_stream(futures::stream::try_unfold(Some(self), |courier| async {
            match courier {
                Some(courier) => courier.next().await,
                None => Ok(None),
            }
        }))
    }

    /// The next bytes, and who brings the rest. The record is settled with the last of them, since a client that has
    /// all it needs may leave without waiting for the end of the body.
    async fn next(mut self) -> Result<Option<(Bytes, Option<Self>)>, Break> {
        while let Some(beat) = self.beats.pop_front() {
            match beat {
                Beat::Wait(time) => self.wait(time).await?,
                Beat::Send { bytes, is_piece } => {
                    if is_piece {
                        self.receipt.sent_piece();
                    }
                    if self.beats.is_empty() {
                        self.receipt.finish(self.outcome);
                        return Ok(Some((bytes, None)));
                    }
                    return Ok(Some((bytes, Some(self))));
                }
                Beat::Repeat { bytes, every, is_piece } => {
                    self.wait(every).await?;
                    if is_piece {
                        self.receipt.sent_piece();
                    }
                    self.beats.push_front(Beat::Repeat { bytes: bytes.clone(), every, is_piece });
                    return Ok(Some((bytes, Some(self))));
                }
                Beat::Hang => {
                    self.stopping.cancelled().await;
                    return Err(Break::Cut);
                }
                Beat::Break(how) => {
                    // Lets what came before reach the socket.
                    tokio::task::yield_now().await;
                    self.receipt.finish(self.outcome);
                    return Err(how);
                }
            }
        }
        self.receipt.finish(self.outcome);
        Ok(None)
    }

    async fn wait(&self, time: Duration) -> Result<(), Break> {
        if self.stopping.is_cancelled() {
            return Err(Break::Cut);
        }
        if time.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.stopping.cancelled() => Err(Break::Cut),
        }
    }
}
