//! Rewrites one body in the host's buffer, callback by callback.

use std::mem;

use crate::limits::MAX_HELD_BYTES;
use crate::scanner::Scanner;

/// The host's buffer of a body callback.
pub(crate) trait Buffer {
    /// Why the host refused.
    type Error;

    fn read(&self, start: usize, length: usize) -> Result<Vec<u8>, Self::Error>;

    /// Puts `bytes` in place of the first `length`.
    fn replace(&self, length: usize, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// What the host is to do with its buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Next {
    /// Pass it on.
    Continue,
    /// Keep it until the next callback, which then sees it whole.
    Hold,
    /// Nothing can be saved: the body is incomplete and trailers are here, in whose
    /// callback no body can be added.
    Break,
}

#[derive(Debug)]
pub(crate) struct Rewrite {
    scanner: Scanner,
    trailers_announced: bool,
    /// Bytes in the host's buffer that the scanner has seen.
    held: usize,
    /// What they are to be replaced by.
    output: Vec<u8>,
}

impl Rewrite {
    /// With `trailers_announced`, the end of a chunk is not withheld here but, with
    /// the whole chunk, in the host's buffer, which can still be rewritten when the
    /// trailers come instead of an end of the body.
    pub(crate) const fn new(scanner: Scanner, trailers_announced: bool) -> Self {
        Self {
            scanner,
            trailers_announced,
            held: 0,
            output: Vec::new(),
        }
    }

    /// A body callback: `size` bytes are in the buffer.
    pub(crate) fn body<B: Buffer>(
        &mut self,
        buffer: &B,
        size: usize,
        end_of_stream: bool,
    ) -> Result<Next, B::Error> {
        let fresh = match size.saturating_sub(self.held) {
            0 => Vec::new(),
            length => buffer.read(self.held, length)?,
        };
        self.scanner.push(&fresh, &mut self.output);
        if end_of_stream {
            self.scanner.finish(&mut self.output);
        }
        if self.trailers_announced && self.scanner.withholds() && size <= MAX_HELD_BYTES {
            self.held = size;
            return Ok(Next::Hold);
        }
        let held = mem::take(&mut self.held);
        let output = mem::take(&mut self.output);
        if held > 0 || output != fresh {
            buffer.replace(size, &output)?;
        }
        Ok(Next::Continue)
    }

    /// The trailers callback: the body has ended without saying so.
    pub(crate) fn trailers<B: Buffer>(&mut self, buffer: &B) -> Result<Next, B::Error> {
        if self.held > 0 {
            self.scanner.finish(&mut self.output);
            buffer.replace(mem::take(&mut self.held), &mem::take(&mut self.output))?;
        }
        Ok(if self.scanner.withholds() {
            Next::Break
        } else {
            Next::Continue
        })
    }

    /// How many matches were replaced since the last call.
    pub(crate) fn take_redactions(&mut self) -> u64 {
        self.scanner.take_redactions()
    }
}

#[cfg(test)]
mod tests;
