//! Bodies that are capped on the way in and wiped on the way out.

use bytes::Bytes;
use vault_core::secret::SecretBytes;
use zeroize::Zeroizing;

/// Hands `body` to reqwest without a copy; it is wiped when the last handle to it is dropped.
pub(crate) fn outgoing(body: SecretBytes) -> reqwest::Body {
    struct Owner(SecretBytes);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.expose_secret()
        }
    }

    Bytes::from_owner(Owner(body)).into()
}

/// Why a reply's body could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    TooLarge,
    Transport(reqwest::Error),
}

/// Reads at most `limit` bytes, counted as they arrive.
pub(crate) async fn incoming(reply: &mut reqwest::Response, limit: usize) -> Result<SecretBytes, ReadError> {
    let announced = usize::try_from(reply.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(ReadError::TooLarge);
    }
    let mut buffer = WipedBuffer::new(announced, limit);
    while let Some(chunk) = reply.chunk().await.map_err(ReadError::Transport)? {
        buffer.push(&chunk)?;
    }
    Ok(buffer.finish())
}

/// Grows like a `Vec`, but wipes each allocation that it leaves behind.
struct WipedBuffer {
    bytes: Zeroizing<Vec<u8>>,
    limit: usize,
}

impl WipedBuffer {
    fn new(capacity: usize, limit: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(capacity.min(limit))), limit }
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), ReadError> {
        let needed = self.bytes.len().saturating_add(chunk.len());
        if needed > self.limit {
            return Err(ReadError::TooLarge);
        }
        if needed > self.bytes.capacity() {
            let doubled = self.bytes.capacity().saturating_mul(2).min(self.limit);
            let mut larger = Vec::with_capacity(needed.max(doubled));
            larger.extend_from_slice(&self.bytes);
            self.bytes = Zeroizing::new(larger);
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(mut self) -> SecretBytes {
        SecretBytes::new(std::mem::take(&mut *self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_body_is_handed_on_without_a_copy() {
        let secret = SecretBytes::new(b"refresh_token=canary".to_vec());
        let before = secret.expose_secret().as_ptr();
        let body = outgoing(secret);
        assert_eq!(body.as_bytes().map(<[u8]>::as_ptr), Some(before));
    }

    #[test]
    fn t09_the_buffer_takes_its_limit_and_not_one_byte_more() {
        let mut buffer = WipedBuffer::new(0, 10);
        for chunk in [&b"abc"[..], b"", b"defghi", b"j"] {
            buffer.push(chunk).expect("within the limit");
        }
        assert!(matches!(buffer.push(b"k"), Err(ReadError::TooLarge)));
        assert!(buffer.bytes.capacity() <= 10);
        assert_eq!(buffer.finish().expose_secret(), b"abcdefghij");
    }

    #[test]
    fn t09_an_announced_length_reserves_no_more_than_the_limit() {
        assert!(WipedBuffer::new(usize::MAX, 64).bytes.capacity() <= 64);
    }
}
