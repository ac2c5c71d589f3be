//! Weir's own log, as text or as a line of JSON each.

use std::fmt;
use std::io::IsTerminal;

use clap::ValueEnum;
use serde_json::{Map, Value as Json, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::logging::{self, LevelError, Levels, LogFilter};

/// `--log-format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum LogFormat {
    /// A line of text.
    #[default]
    Text,
    /// A line of JSON.
    Json,
}

/// What is logged unless `WEIR_LOG` says otherwise.
pub(super) const DEFAULT: &str = "info,pingora_core=warn,pingora_runtime=warn";

/// Logs to standard error; `WEIR_LOG` filters (`info`, `debug`, `guest=trace`, …), in
/// place of `default`.
///
/// # Errors
/// When `WEIR_LOG` is not well-formed.
pub(super) fn init(format: LogFormat, default: &str) -> Result<(), LevelError> {
    let levels = match std::env::var("WEIR_LOG") {
        Ok(directives) => Levels::parse(&directives)?,
        Err(_) => Levels::parse(default)?,
    };
    // Libraries that log in another way are asked only once how much they may.
    logging::set(Levels::all());
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => log.event_format(JsonLines).boxed(),
    };
    tracing_subscriber::registry()
        .with(LogFilter)
        .with(log)
        .init();
    logging::set(levels);
    Ok(())
}

/// `{"timestamp":…,"level":…,"target":…,"message":…}` and the event's own fields.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut members = Members::default();
        event.record(&mut members);
        let mut members = members.0;
        // Of libraries that use the crate `log`.
        let target = members.remove("log.target");
        members.retain(|name, _| !name.starts_with("log."));
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), time.into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert(
            "target".to_owned(),
            target.unwrap_or_else(|| event.metadata().target().into()),
        );
        line.extend(members.remove_entry("message"));
        for (name, value) in members {
            line.entry(name).or_insert(value);
        }
        writeln!(writer, "{}", Json::Object(line))
    }
}

/// The fields of an event.
#[derive(Default)]
struct Members(Map<String, Json>);

impl Members {
    fn add(&mut self, field: &Field, value: Json) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Members {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}
