//! What a peer says first.
//!
//! HTTP/2 lets a client send calls before it has heard anything (RFC 9113, 3.4), and TLS 1.3 tells a client that its
//! certificate is refused only after the handshake looks done on its side. A call could so be given to a connection
//! that never was one, and nobody could say whether it was acted on. Therefore no call is given to a connection
//! before its peer has sent the beginning of a SETTINGS frame, with which every HTTP/2 server begins, and which none
//! makes depend on a call.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// The head of a frame, in bytes (RFC 9113, 4.1).
const HEAD_BYTES: usize = 9;
/// The type of a SETTINGS frame, and its flag that acknowledges ours (RFC 9113, 6.5).
const SETTINGS: u8 = 4;
const ACK: u8 = 1;

/// Why a peer is none that can be called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GreetingError {
    #[error("it speaks TLS, and was called without")]
    Tls,
    #[error("it speaks HTTP/1")]
    Http1,
    #[error("it speaks something else")]
    Other,
    #[error("the connection ended before anything was said")]
    Ended,
    #[error("the connection broke before anything was said")]
    Broken(#[source] io::Error),
}

/// A connection whose first bytes are looked at as they are read.
pub(super) struct Greeted<S> {
    stream: S,
    /// Until the peer has begun.
    pending: Option<Pending>,
}

struct Pending {
    heard: Vec<u8>,
    told: oneshot::Sender<Result<(), GreetingError>>,
}

/// The end of the wait for a peer's first words.
pub(super) struct Greeting(oneshot::Receiver<Result<(), GreetingError>>);

impl Greeting {
    /// Waits until the peer has begun. Has no bound of its own.
    ///
    /// # Errors
    /// [`GreetingError`] when what it said is not HTTP/2, or it left.
    pub(super) async fn heard(self) -> Result<(), GreetingError> {
        self.0.await.unwrap_or(Err(GreetingError::Ended))
    }
}

impl<S> Greeted<S> {
    pub(super) fn new(stream: S) -> (Self, Greeting) {
        let (told, heard) = oneshot::channel();
        let pending = Some(Pending { heard: Vec::with_capacity(HEAD_BYTES), told });
        (Self { stream, pending }, Greeting(heard))
    }

    /// Takes in what a read gave, and gives it on unless it shows that reading more is of no use.
    fn hear(&mut self, read: io::Result<()>, bytes: &[u8]) -> io::Result<()> {
        let Some(mut pending) = self.pending.take() else { return read };
        pending.heard.extend(bytes.iter().take(HEAD_BYTES - pending.heard.len()));
        let begun = match read {
            Err(error) => Err(GreetingError::Broken(error)),
            Ok(()) => match judge(&pending.heard) {
                Some(begun) => begun,
                None if bytes.is_empty() => Err(GreetingError::Ended),
                None => {
                    self.pending = Some(pending);
                    return Ok(());
                }
            },
        };
        let given = begun.as_ref().map_or_else(|error| Err(error.kind().into()), |()| Ok(()));
        if pending.told.send(begun).is_err() {
            tracing::trace!("nobody waits for this connection any more");
        }
        given
    }
}

impl GreetingError {
    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Tls | Self::Http1 | Self::Other => io::ErrorKind::InvalidData,
            Self::Ended => io::ErrorKind::UnexpectedEof,
            Self::Broken(error) => error.kind(),
        }
    }
}

/// What the first bytes of a peer show; nothing while they are too few.
fn judge(heard: &[u8]) -> Option<Result<(), GreetingError>> {
    match heard {
        // An alert or a handshake record, of any version (RFC 8446, 5.1). As a frame it would be far too long.
        [21 | 22, 3, ..] => Some(Err(GreetingError::Tls)),
        [b'H', b'T', b'T', b'P', ..] => Some(Err(GreetingError::Http1)),
        [_, _, _, SETTINGS, flags, 0, 0, 0, 0] if flags & ACK == 0 => Some(Ok(())),
        [_, _, _, _, _, _, _, _, _] => Some(Err(GreetingError::Other)),
        _ => None,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut this.stream).poll_read(context, buffer));
        Poll::Ready(this.hear(read, buffer.filled().get(before..).unwrap_or_default()))
    }
}

impl<S: AsyncRead + Unpin> Greeted<S> {
    /// A peer that refuses us says why and leaves. What is sent into that can fail before the reason was read, so the
    /// failure is kept back until it was: on a broken connection a read ends.
    fn written<T>(&mut self, context: &mut Context<'_>, written: io::Result<T>) -> Poll<io::Result<T>> {
        if written.is_err() && self.pending.is_some() {
            let mut last = [0; HEAD_BYTES];
            let mut last = ReadBuf::new(&mut last);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut last));
            self.hear(read, last.filled())?;
        }
        Poll::Ready(written)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes));
        this.written(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, slices));
        this.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = ready!(Pin::new(&mut this.stream).poll_flush(context));
        this.written(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn only_the_head_of_settings_is_a_beginning() {
        let cases: [(&[u8], &str); 12] = [
            (b"", "more"),
            (b"\0\0\x12\x04\0\0\0\0", "more"),
            (b"\0\0\x12\x04\0\0\0\0\0", "begun"),
            (b"\0\0\0\x04\0\0\0\0\0", "begun"),
            (b"\0\0\0\x04\x01\0\0\0\0", "Other"),
            (b"\0\0\x12\x04\0\0\0\0\x01", "Other"),
            (b"\0\0\x08\x07\0\0\0\0\0", "Other"),
            (b"220 smtp ", "Other"),
            (b"\x15\x03\x03\0\x02\x02\x46", "Tls"),
            (b"\x16\x03\x01", "Tls"),
            (b"HTTP/1.1 ", "Http1"),
            (b"HTT", "more"),
        ];
        for (heard, expected) in cases {
            let judged = match judge(heard) {
                None => "more".to_owned(),
                Some(Ok(())) => "begun".to_owned(),
                Some(Err(error)) => format!("{error:?}"),
            };
            assert_eq!(judged, expected, "{heard:?}");
        }
    }

    /// Gives one byte at a time.
    struct Bytewise(&'static [u8]);

    impl AsyncRead for Bytewise {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some((first, rest)) = self.0.split_first() {
                buffer.put_slice(&[*first]);
                self.0 = rest;
            }
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_beginning_may_arrive_in_pieces_and_nothing_of_it_is_lost() {
        let said = b"\0\0\0\x04\0\0\0\0\0and more";
        let (mut greeted, greeting) = Greeted::new(Bytewise(said));
        let mut read = Vec::new();
        greeted.read_to_end(&mut read).await.expect("an end");
        assert_eq!(read, said);
        greeting.heard().await.expect("begun");
    }
}
