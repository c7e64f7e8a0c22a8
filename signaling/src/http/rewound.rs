//! A connection of which some bytes were read to see what it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Gives the bytes that were read once more, then those of the connection.
pub(super) struct Rewound<S> {
    read: Vec<u8>,
    stream: S,
}

impl<S> Rewound<S> {
    pub(super) fn new(read: Vec<u8>, stream: S) -> Self {
        Self { read, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let len = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..len]);
        self.read.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
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

    #[tokio::test]
    async fn nothing_is_lost_and_nothing_comes_twice() {
        for size in [1, 3, 4, 64] {
            let (mut client, stream) = duplex(64);
            client.write_all(b" / HTTP/1.1").await.expect("sent");
            client.shutdown().await.expect("closed");
            let mut stream = Rewound::new(b"GET".to_vec(), stream);
            let (mut all, mut piece) = (Vec::<u8>::new(), vec![0; size]);
            while let Ok(len @ 1..) = stream.read(&mut piece).await {
                all.extend(&piece[..len]);
            }
            assert_eq!(all, b"GET / HTTP/1.1");
            stream.write_all(b"answer").await.expect("sent");
            let mut answer = [0; 6];
            client.read_exact(&mut answer).await.expect("came");
            assert_eq!(&answer, b"answer");
        }
    }
}
