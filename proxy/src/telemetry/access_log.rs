//! The access log: one line a stream, in Envoy's default format, written by a
//! thread of its own.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use weir_abi::HeaderMap;
use weir_config::LogPath;

use crate::limits::ACCESS_LOG_QUEUE;
use crate::stream::FilteredStream;

/// One access log. Cheap to clone; the writer ends with the last clone.
#[derive(Clone)]
pub(crate) struct AccessLog {
    lines: SyncSender<String>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub(crate) fn open(path: &LogPath) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match path {
            LogPath::Stdout => Box::new(io::stdout()),
            LogPath::File(path) => {
                Box::new(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        let (lines, queue) = sync_channel(ACCESS_LOG_QUEUE);
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&queue, out))?;
        Ok(Self {
            lines,
            dropped: Arc::default(),
        })
    }

    /// Logs a complete stream. A worker never waits: when the writer is too far
    /// behind, the line is dropped.
    pub(crate) fn write(&self, stream: &FilteredStream) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line(stream)) {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed);
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "the access log is behind; lines are dropped");
            }
        }
    }
}

fn write_lines(queue: &Receiver<String>, out: Box<dyn Write + Send>) {
    let mut out = BufWriter::new(out);
    while let Ok(line) = queue.recv() {
        let mut result = out.write_all(line.as_bytes());
        // What has piled up goes out in one write.
        while let Ok(line) = queue.try_recv() {
            result = result.and_then(|()| out.write_all(line.as_bytes()));
        }
        if let Err(error) = result.and_then(|()| out.flush()) {
            tracing::error!("access log: {error}");
        }
    }
}

/// `[start] "METHOD path PROTOCOL" code flags details received sent duration
/// "peer" "user agent" "request id" "authority" "upstream"`
fn line(stream: &FilteredStream) -> String {
    let info = &stream.info;
    let request = stream.request_map();
    let mut line = String::with_capacity(256);
    let started = std::time::UNIX_EPOCH + info.start_time();
    let _ = write!(
        line,
        "[{}] \"{} {} {}\" {} {} ",
        humantime::format_rfc3339_millis(started),
        Value(&request, b":method"),
        Value(&request, b":path"),
        info.protocol.name(),
        info.response_code.get().unwrap_or(0),
        info.flags(),
    );
    let details = info.code_details();
    let _ = if details.is_empty() {
        line.write_str("-")
    } else {
        write!(line, "{}", Escaped(&details))
    };
    let _ = write!(
        line,
        " {} {} {} \"{}\" \"{}\" \"{}\" \"{}\" ",
        info.bytes_received.get(),
        info.bytes_sent.get(),
        info.elapsed().as_millis(),
        info.connection.peer,
        Value(&request, b"user-agent"),
        Value(&request, b"x-request-id"),
        Value(&request, b":authority"),
    );
    let _ = match info.upstream.get() {
        Some(upstream) => writeln!(line, "\"{upstream}\""),
        None => writeln!(line, "\"-\""),
    };
    line
}

/// A header's value, or a dash.
struct Value<'a>(&'a HeaderMap, &'static [u8]);

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.get(self.1) {
            Some(value) => Escaped(value).fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// Bytes from a peer, so that they cannot forge a line or a field.
struct Escaped<'a>(&'a [u8]);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_forge_a_line() {
        assert_eq!(
            Escaped(b"a\"b\\c\n\xff").to_string(),
            "a\\\"b\\\\c\\x0a\\xff"
        );
    }
}
