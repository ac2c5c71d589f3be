//! [`Failures`]: the last failures of a filter, kept to be shown.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value as Json, json};
use weir_abi::{Failure, Origin};

use crate::limits::{FAILURE_TEXT_BYTES, FAILURES_KEPT};

/// One failure of a filter.
#[derive(Debug)]
pub(crate) struct FailureRecord {
    pub(crate) at: SystemTime,
    worker: usize,
    plugin: String,
    root_id: String,
    vm_id: String,
    reason: String,
    callback: &'static str,
    message: String,
    last_words: Option<String>,
    /// Innermost frame first.
    backtrace: Vec<String>,
    /// Of the request that it cost.
    request_id: Option<String>,
}

impl FailureRecord {
    pub(super) fn new(
        worker: usize,
        origin: Origin<'_>,
        failure: &Failure,
        request_id: Option<&str>,
    ) -> Self {
        Self {
            at: SystemTime::now(),
            worker,
            plugin: origin.plugin.to_owned(),
            root_id: origin.root_id.to_owned(),
            vm_id: origin.vm_id.to_owned(),
            reason: failure.reason.to_string(),
            callback: failure.callback,
            message: cut(&failure.message),
            last_words: failure.last_words.as_deref().map(cut),
            backtrace: failure
                .backtrace
                .iter()
                .map(|f| cut(&f.to_string()))
                .collect(),
            request_id: request_id.map(cut),
        }
    }

    pub(crate) fn to_json(&self) -> Json {
        json!({
            "time": humantime::format_rfc3339_millis(self.at).to_string(),
            "worker": self.worker,
            "plugin": self.plugin,
            "root_id": self.root_id,
            "vm_id": self.vm_id,
            "reason": self.reason,
            "callback": self.callback,
            "message": self.message,
            "last_words": self.last_words,
            "backtrace": self.backtrace,
            "request_id": self.request_id,
        })
    }

    /// As lines of text, each with `indent` in front.
    pub(crate) fn to_text(&self, indent: &str) -> String {
        let at = humantime::format_rfc3339_millis(self.at);
        let mut lines = vec![format!(
            "{at} worker {}: {} failed ({}): {}",
            self.worker, self.callback, self.reason, self.message
        )];
        lines.extend(self.request_id.iter().map(|id| format!("  request {id}")));
        lines.extend(
            self.last_words
                .iter()
                .map(|words| format!("  said: {words}")),
        );
        lines.extend(self.backtrace.iter().map(|frame| format!("  {frame}")));
        let line = |line: &String| format!("{indent}{}\n", line.replace(char::is_control, " "));
        lines.iter().map(line).collect()
    }
}

/// At most so many bytes: names of functions, for one, have no end.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(FAILURE_TEXT_BYTES)].to_owned()
}

/// The last failures of one filter on one worker. Locked to fail and to be shown.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<VecDeque<Arc<FailureRecord>>>);

impl Failures {
    pub(super) fn keep(&self, record: FailureRecord) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(FAILURES_KEPT - 1);
        kept.push_front(Arc::new(record));
    }

    /// The last one first.
    pub(super) fn kept(&self) -> Vec<Arc<FailureRecord>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use weir_abi::{ContextId, Reason};

    use super::*;

    #[test]
    fn the_last_failures_are_kept_and_no_more() {
        let failures = Failures::default();
        let origin = Origin {
            plugin: "p",
            root_id: "r",
            vm_id: "v",
            context: ContextId(1),
        };
        for number in 0..3 * FAILURES_KEPT {
            let failure = Failure {
                reason: Reason::Trap,
                callback: "proxy_on_log",
                context: ContextId(1),
                message: number.to_string(),
                backtrace: Vec::new(),
                last_words: Some("é".repeat(FAILURE_TEXT_BYTES)),
            };
            failures.keep(FailureRecord::new(0, origin, &failure, Some("id")));
        }
        let kept = failures.kept();
        assert_eq!(kept.len(), FAILURES_KEPT);
        assert_eq!(kept[0].message, (3 * FAILURES_KEPT - 1).to_string());
        let words = kept[0].last_words.as_ref().unwrap();
        assert!(words.len() <= FAILURE_TEXT_BYTES && words.ends_with('é'));
        let text = kept[0].to_text("  ");
        assert!(text.lines().all(|line| line.starts_with("  ")), "{text}");
    }
}
