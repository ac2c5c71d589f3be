//! `compress` and `uncompress`: zlib streams (RFC 1950).

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::{Call, Given};
use crate::limits::UNCOMPRESSED_BYTES_MAX;
use crate::types::Status;

pub(super) fn compress(call: &Call<'_>) -> Result<Given, Status> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(call.argument)
        .and_then(|()| encoder.finish())
        .map(Some)
        .map_err(|_| Status::SerializationFailure)
}

/// The result may be as large as the limit and no larger: a few bytes can stand
/// for many.
pub(super) fn uncompress(call: &Call<'_>) -> Result<Given, Status> {
    uncompressed(call.argument, UNCOMPRESSED_BYTES_MAX)
        .map(Some)
        .ok_or(Status::SerializationFailure)
}

fn uncompressed(stream: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut decoder = ZlibDecoder::new(stream).take(limit as u64 + 1);
    decoder.read_to_end(&mut bytes).ok()?;
    // A stream without its end reads as an end where no byte has come.
    (bytes.len() <= limit && !stream.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_compressed_is_uncompressed_again() {
        for bytes in [&b""[..], b"a", &[7; 100_000]] {
            assert_eq!(uncompressed(&compressed(bytes), 100_000).unwrap(), bytes);
        }
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        let bomb = compressed(&[0; 1_000_001]);
        assert!(bomb.len() < 2000);
        assert_eq!(uncompressed(&bomb, 1_000_000), None);
    }

    #[test]
    fn a_stream_without_its_end_is_refused() {
        let whole = compressed(b"hello hello");
        for end in 0..whole.len() {
            assert_eq!(uncompressed(&whole[..end], 100), None, "{end}");
        }
    }
}
