//! A connection whose other end has to read what it asked for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Its writes fail once nothing was taken for `patience`: neither hyper nor a WebSocket would give up.
pub(super) struct Patient<S> {
    stream: S,
    patience: Duration,
    waits: bool,
    until: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            waits: false,
            until: Box::pin(sleep(patience)),
        }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    fn or_too_long<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = false;
            return written;
        }
        if !self.waits {
            self.waits = true;
            self.until.as_mut().reset(Instant::now() + self.patience);
        }
        ready!(self.until.as_mut().poll(context));
        let sentence = "nothing was taken for too long";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, sentence)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.or_too_long(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.or_too_long(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_something_in_time_is_waited_for_and_who_takes_nothing_is_not() {
        let patience = Duration::from_secs(10);
        let (mut reader, stream) = duplex(64);
        let mut stream = Patient::new(stream, patience);
        let began = Instant::now();
        let written = tokio::spawn(async move { stream.write_all(&[0; 1_000]).await });
        let mut bytes = [0; 64];
        for _ in 0..5 {
            tokio::time::sleep(patience - Duration::from_millis(1)).await;
            reader.read_exact(&mut bytes).await.expect("bytes");
        }
        let ended = written.await.expect("no panic").expect_err("too long");
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        let took = began.elapsed();
        assert!(took > patience * 5 && took < patience * 7, "{took:?}");
    }
}
