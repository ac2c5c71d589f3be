//! [`Messages`]: how many messages of gRPC there are in a body.

/// In front of each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Counts the messages of one direction, as they begin.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Messages {
    pub(super) count: u64,
    /// What has come of the prefix of the next one.
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// What is to come of the current one.
    left: usize,
}

impl Messages {
    /// A piece of the body.
    pub(super) fn read(&mut self, mut data: &[u8]) {
        loop {
            let skipped = self.left.min(data.len());
            self.left -= skipped;
            data = &data[skipped..];
            if data.is_empty() {
                return;
            }
            let wanted = (PREFIX_BYTES - self.prefix_bytes).min(data.len());
            let (prefix, rest) = data.split_at(wanted);
            self.prefix[self.prefix_bytes..][..wanted].copy_from_slice(prefix);
            self.prefix_bytes += wanted;
            data = rest;
            if self.prefix_bytes < PREFIX_BYTES {
                return;
            }
            let [_, length @ ..] = self.prefix;
            self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            self.prefix_bytes = 0;
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let body = b"\0\0\0\0\x03abc\x01\0\0\0\0\0\0\0\0\x01x";
        for size in 1..=body.len() {
            let mut messages = Messages::default();
            body.chunks(size).for_each(|piece| messages.read(piece));
            assert_eq!(messages.count, 3, "{size}");
        }
        let mut messages = Messages::default();
        messages.read(b"\0\xff\xff\xff\xffabc");
        messages.read(b"\0\0\0\0\0");
        assert_eq!(messages.count, 1);
    }
}
