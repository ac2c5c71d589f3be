//! Access logs: a line for each stream, in Weir's own form or as a format of
//! Envoy's says, written by a thread of its own.

mod format;
mod line;

pub(crate) use self::format::{LogSubject, header_value};

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use weir_config::{LogFormat, LogPath};

use crate::limits::ACCESS_LOG_QUEUE;
use crate::stream::FilteredStream;

/// The access logs of a listener. Cheap to clone; the writers end with the last
/// clone.
#[derive(Clone)]
pub(crate) struct AccessLog {
    logs: Arc<[Log]>,
}

/// One access log.
struct Log {
    format: LogFormat,
    lines: SyncSender<String>,
    dropped: AtomicU64,
}

impl AccessLog {
    /// Opens `logs` and starts their writers; `None` if there are none.
    ///
    /// # Errors
    /// When a file cannot be opened for appending; with the place of its log.
    pub(crate) fn open(
        logs: &[weir_config::AccessLog],
    ) -> Result<Option<Self>, (usize, io::Error)> {
        let open = |(place, log)| Log::open(log).map_err(|error| (place, error));
        let logs: Arc<[Log]> = logs
            .iter()
            .enumerate()
            .map(open)
            .collect::<Result<_, _>>()?;
        Ok((!logs.is_empty()).then_some(Self { logs }))
    }

    /// Logs a complete stream. A worker never waits: when the writer is too far
    /// behind, the line is dropped.
    pub(crate) fn write(&self, stream: &FilteredStream) {
        for log in &*self.logs {
            log.write(stream);
        }
    }
}

impl Log {
    fn open(log: &weir_config::AccessLog) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match &log.path.value {
            LogPath::Stdout => Box::new(io::stdout()),
            LogPath::Stderr => Box::new(io::stderr()),
            LogPath::File(path) => {
                Box::new(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        let (lines, queue) = sync_channel(ACCESS_LOG_QUEUE);
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&queue, out))?;
        Ok(Self {
            format: log.format.clone(),
            lines,
            dropped: AtomicU64::default(),
        })
    }

    fn write(&self, stream: &FilteredStream) {
        let line = match &self.format {
            LogFormat::Weir => line::line(stream),
            LogFormat::Text(template) => format::text(template, stream),
            LogFormat::Json(members) => format::json_line(members, stream),
        };
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
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
