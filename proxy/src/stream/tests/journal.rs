//! [`Journal`]: what guests log, by way of the lines that operators would see.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The lines that guests log on this thread, as `plugin message`, and their
/// failures, as `plugin failed`.
pub(super) struct Journal {
    lines: Arc<Mutex<Vec<String>>>,
    _guard: DefaultGuard,
}

impl Journal {
    pub(super) fn new() -> Self {
        let lines = Arc::default();
        let recorder = Recorder(Arc::clone(&lines));
        let subscriber = tracing_subscriber::registry()
            .with(LevelFilter::INFO)
            .with(recorder);
        Self {
            lines,
            _guard: subscriber.set_default(),
        }
    }

    /// The lines since this was last asked for.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

struct Recorder(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        if let Some(plugin) = line.plugin {
            let message = if line.message.starts_with("filter failed") {
                "failed"
            } else {
                &line.message
            };
            let mut lines = self.0.lock().unwrap();
            lines.push(format!("{plugin} {message}"));
        }
    }
}

#[derive(Default)]
struct Line {
    plugin: Option<String>,
    message: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "plugin" {
            self.plugin = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}
