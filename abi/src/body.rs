//! [`BodyBuffer`]: body bytes as a chain of shared chunks.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::types::Status;

/// Up to this size neighbouring chunks become one. A peer that sends byte by byte
/// would else cost many times what it sends; larger chunks are never copied.
const JOINED_BYTES: usize = 4096;

/// A queue of body bytes; chunks are moved, not copied, but for tiny ones.
#[derive(Debug, Clone, Default)]
pub struct BodyBuffer {
    chunks: VecDeque<Bytes>,
    len: usize,
}

impl BodyBuffer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `chunk`.
    pub fn push(&mut self, mut chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.len += chunk.len();
        // Joined only with what is no longer than itself, a byte is copied a few
        // times at most.
        while let Some(last) = self.chunks.back()
            && last.len() <= chunk.len()
            && last.len() + chunk.len() <= JOINED_BYTES
        {
            chunk = [&last[..], &chunk].concat().into();
            self.chunks.pop_back();
        }
        self.chunks.push_back(chunk);
    }

    /// Appends all of `other`.
    pub fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        other.chunks.into_iter().for_each(|chunk| self.push(chunk));
    }

    /// The chunks in order.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        self.chunks.iter()
    }

    /// Takes the first chunk.
    pub fn pop(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.len();
        Some(chunk)
    }

    /// Takes at most `max` bytes, from the first chunk only.
    pub fn pop_up_to(&mut self, max: usize) -> Bytes {
        match self.chunks.front_mut() {
            Some(first) if first.len() > max => {
                self.len -= max;
                first.split_to(max)
            }
            _ => self.pop().unwrap_or_default(),
        }
    }

    /// Forgets what stands behind the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        while self.len > len {
            let Some(last) = self.chunks.back_mut() else {
                break;
            };
            let surplus = self.len - len;
            if last.len() > surplus {
                last.truncate(last.len() - surplus);
                self.len = len;
            } else {
                self.len -= last.len();
                self.chunks.pop_back();
            }
        }
    }

    /// Forgets every byte.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.len = 0;
    }

    /// Everything in one piece; copies only when there are several chunks.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.chunks.len() {
            0 => Bytes::new(),
            1 => self.chunks[0].clone(),
            _ => {
                let mut all = BytesMut::with_capacity(self.len);
                self.chunks.iter().for_each(|c| all.extend_from_slice(c));
                all.freeze()
            }
        }
    }

    /// Copies `out.len()` bytes from `start` on into `out`. The range must lie
    /// inside the buffer.
    pub fn copy_to(&self, start: usize, mut out: &mut [u8]) {
        let mut skip = start;
        for chunk in &self.chunks {
            if out.is_empty() {
                break;
            }
            let Some(rest) = chunk.get(skip..).filter(|r| !r.is_empty()) else {
                skip -= chunk.len();
                continue;
            };
            skip = 0;
            let n = rest.len().min(out.len());
            let (head, tail) = out.split_at_mut(n);
            head.copy_from_slice(&rest[..n]);
            out = tail;
        }
    }

    /// Replaces part of the buffer as `proxy_set_buffer_bytes` does in Envoy:
    /// `start` 0 drops the first `length` bytes and puts `data` in front;
    /// `start` at or behind the end appends; a range in the middle is refused.
    ///
    /// # Errors
    /// [`Status::BadArgument`] for a range that starts inside the buffer.
    pub fn set(&mut self, start: usize, length: usize, data: Bytes) -> Result<(), Status> {
        if start == 0 {
            self.drop_front(length);
            if !data.is_empty() {
                self.len += data.len();
                self.chunks.push_front(data);
            }
            Ok(())
        } else if start >= self.len {
            self.push(data);
            Ok(())
        } else {
            Err(Status::BadArgument)
        }
    }

    /// Forgets the first `length` bytes.
    pub fn drop_front(&mut self, mut length: usize) {
        while length > 0 {
            let Some(first) = self.chunks.front_mut() else {
                break;
            };
            if first.len() > length {
                let _dropped = first.split_to(length);
                self.len -= length;
                break;
            }
            length -= first.len();
            self.len -= first.len();
            self.chunks.pop_front();
        }
    }
}

impl From<Bytes> for BodyBuffer {
    fn from(chunk: Bytes) -> Self {
        let mut buffer = Self::new();
        buffer.push(chunk);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(chunks: &[&'static str]) -> BodyBuffer {
        let mut b = BodyBuffer::new();
        chunks
            .iter()
            .for_each(|c| b.push(Bytes::from_static(c.as_bytes())));
        b
    }

    #[test]
    fn tiny_chunks_are_joined() {
        let mut b = BodyBuffer::new();
        (0..100_000).for_each(|n: u32| b.push(vec![n.to_le_bytes()[0]].into()));
        assert_eq!(b.len(), 100_000);
        assert!(b.chunks().count() < 60, "{}", b.chunks().count());
        let expected: Vec<u8> = (0..100_000).map(|n: u32| n.to_le_bytes()[0]).collect();
        assert_eq!(b.to_bytes(), expected);
    }

    #[test]
    fn a_range_is_copied_across_chunks() {
        let b = buffer(&["abc", "de", "fgh"]);
        let mut out = [0; 5];
        b.copy_to(2, &mut out);
        assert_eq!(&out, b"cdefg");
    }

    #[test]
    fn start_zero_replaces_the_front() {
        for (length, expected) in [
            (0, "XYabcde"),
            (1, "XYbcde"),
            (3, "XYde"),
            (4, "XYe"),
            (99, "XY"),
        ] {
            let mut b = buffer(&["abc", "de"]);
            b.set(0, length, Bytes::from_static(b"XY")).unwrap();
            assert_eq!(b.to_bytes(), expected);
            assert_eq!(b.len(), expected.len());
        }
    }

    #[test]
    fn start_behind_the_end_appends_and_the_middle_is_refused() {
        let mut b = buffer(&["abc"]);
        b.set(3, 7, Bytes::from_static(b"d")).unwrap();
        b.set(usize::MAX, 0, Bytes::from_static(b"e")).unwrap();
        assert_eq!(b.to_bytes(), "abcde");
        assert_eq!(
            b.set(2, 1, Bytes::from_static(b"x")),
            Err(Status::BadArgument)
        );
        assert_eq!(b.to_bytes(), "abcde");
    }

    #[test]
    fn the_end_can_be_cut_off_anywhere() {
        for len in 0..9 {
            let mut b = buffer(&["abc", "de", "fgh"]);
            b.truncate(len);
            assert_eq!(b.to_bytes(), "abcdefgh"[..len.min(8)]);
            assert_eq!(b.len(), len.min(8));
        }
    }

    #[test]
    fn empty_data_deletes() {
        let mut b = buffer(&["abc", "de"]);
        b.set(0, 4, Bytes::new()).unwrap();
        assert_eq!(b.to_bytes(), "e");
        assert_eq!(b.chunks().count(), 1);
    }
}
