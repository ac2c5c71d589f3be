//! Envoy's `config.accesslog.v3.AccessLog`.

use super::elsewhere::{self, Kind};
use super::message::Message;
use super::wasm;
use crate::access_log::{AccessLog, LogFormat, LogPath};
use crate::filter_chain::FilterChain;
use crate::http_filter::HttpFilter;
use crate::read::FromYaml;
use crate::source::Spanned;

const FILE: &str = "envoy.extensions.access_loggers.file.v3.FileAccessLog";
const STDOUT: &str = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
const STDERR: &str = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog";
const WASM: &str = "envoy.extensions.access_loggers.wasm.v3.WasmAccessLog";

/// Formats, of which there can be one.
const FORMATS: [&str; 3] = ["log_format", "format", "json_format"];

/// `access_log`: fills in `chain`.
pub(super) fn read(message: &Message<'_, '_>, chain: &mut FilterChain) {
    for log in message.messages("access_log") {
        let name = log.nonempty("name");
        let name = name.unwrap_or_else(|| "access_logger".to_owned());
        let Some(typed) = log.typed("typed_config") else {
            if log.node("typed_config").is_none() {
                log.missing("typed_config");
            }
            continue;
        };
        let config = &typed.message;
        let path = match typed.name.as_str() {
            STDOUT => Spanned::new(LogPath::Stdout, log.at()),
            STDERR => Spanned::new(LogPath::Stderr, log.at()),
            FILE => {
                let path = config.required_text("path");
                Spanned::new(file(&path.value), path.span)
            }
            WASM => {
                if let Some(wasm) = wasm::plugin(config) {
                    let name = wasm::unique(&name, &chain.access_loggers, &[]);
                    let name = Spanned::new(name, log.at());
                    chain.access_loggers.push(HttpFilter::new(name, wasm));
                }
                continue;
            }
            _ => {
                elsewhere::note(Kind::AccessLogger, &log, &name, Some(typed));
                log.close();
                continue;
            }
        };
        chain.access_log.push(AccessLog {
            path,
            format: format(config, typed.name == FILE),
        });
    }
}

fn file(path: &str) -> LogPath {
    match path {
        "/dev/stdout" => LogPath::Stdout,
        "/dev/stderr" => LogPath::Stderr,
        path => LogPath::File(path.into()),
    }
}

/// The format of a logger; a file may have it in the older ways, too.
fn format(config: &Message<'_, '_>, file: bool) -> LogFormat {
    let choices = if file { &FORMATS[..] } else { &FORMATS[..1] };
    let chosen = config.one_of(choices);
    match chosen {
        Some("log_format") => config
            .message("log_format")
            .and_then(|format| substitution(&format)),
        Some(older) => template(config, older),
        None => None,
    }
    .unwrap_or_else(LogFormat::envoy)
}

/// `SubstitutionFormatString`.
fn substitution(format: &Message<'_, '_>) -> Option<LogFormat> {
    format.only("omit_empty_values", false);
    format.inert("content_type");
    match format.one_of(&["text_format_source", "text_format", "json_format"]) {
        Some("text_format_source") => {
            let source = format.message("text_format_source")?;
            if source.node("inline_string").is_none() && !source.has_unknown() {
                source.missing("inline_string");
            }
            template(&source, "inline_string")
        }
        Some(chosen) => template(format, chosen),
        None => {
            if !format.has_unknown() {
                format.missing("text_format_source");
            }
            None
        }
    }
}

fn template(message: &Message<'_, '_>, name: &'static str) -> Option<LogFormat> {
    let node = message.node(name)?;
    if node.text() == Some("") {
        return None;
    }
    let path = message.path_of(name);
    let read = |problems: &mut _| LogFormat::read(node, problems);
    Some(message.reader.native(&path, read))
}
