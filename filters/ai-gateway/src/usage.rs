//! What a response has cost, as it tells itself.

use serde_json::Value;

/// Bytes of a JSON response, or of one line of a stream, at the most: what is longer
/// is not looked at.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Tokens.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    pub(crate) prompt: u64,
    pub(crate) completion: u64,
}

impl Usage {
    pub(crate) fn total(self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }

    /// The `usage` in an object, by either API's names. Those of a stream
    /// grow, and come in several objects.
    fn merge(found: &mut Option<Self>, object: &Value) {
        // within a message or a response, as some APIs have it in the events of a stream
        let holders = [object, &object["message"], &object["response"]];
        let usages = holders.map(|holder| &holder["usage"]);
        for usage in usages.into_iter().filter(|usage| usage.is_object()) {
            let number = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64());
            let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"];
            let cached = cached.iter().filter_map(|name| usage[*name].as_u64());
            let known = found.get_or_insert_default();
            let prompt = number(["prompt_tokens", "input_tokens"]).unwrap_or(0);
            let completion = number(["completion_tokens", "output_tokens"]);
            let prompt = cached.fold(prompt, u64::saturating_add);
            known.prompt = known.prompt.max(prompt);
            known.completion = known.completion.max(completion.unwrap_or(0));
        }
    }
}

/// Reads a response that comes in pieces.
#[derive(Debug)]
pub(crate) enum Reader {
    /// One object.
    Json(Kept),
    /// Server-sent events, of which each has an object in one line.
    Events(Kept, Option<Usage>),
}

/// The bytes that are not yet looked at.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    /// Whether there were too many.
    lost: bool,
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        if self.lost || self.bytes.len() + bytes.len() > KEPT_BYTES_MAX {
            self.lost = true;
            self.bytes.clear();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }
}

impl Reader {
    /// The one for a content type.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        let media_type = content_type.split(';').next().unwrap_or_default();
        match media_type.trim() {
            "text/event-stream" => Some(Self::Events(Kept::default(), None)),
            "application/json" => Some(Self::Json(Kept::default())),
            _ => None,
        }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Json(kept) => kept.push(bytes),
            Self::Events(kept, usage) => {
                for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
                    kept.push(piece);
                    if piece.ends_with(b"\n") {
                        let line = std::mem::take(kept);
                        event(&line.bytes, usage);
                    }
                }
            }
        }
    }

    /// What the response has told, when it has ended.
    pub(crate) fn finish(self) -> Option<Usage> {
        match self {
            Self::Json(kept) => {
                let mut usage = None;
                Usage::merge(&mut usage, &serde_json::from_slice(&kept.bytes).ok()?);
                usage
            }
            Self::Events(kept, mut usage) => {
                event(&kept.bytes, &mut usage);
                usage
            }
        }
    }
}

/// Looks at one line of a stream.
fn event(line: &[u8], usage: &mut Option<Usage>) {
    const USAGE: &[u8] = b"\"usage\"";
    let Some(data) = line.strip_prefix(b"data:") else {
        return;
    };
    // most events have none, and need not be parsed
    if data.windows(USAGE.len()).any(|window| window == USAGE)
        && let Ok(object) = serde_json::from_slice(data)
    {
        Usage::merge(usage, &object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(content_type: &str, body: &str, piece: usize) -> Option<Usage> {
        let mut reader = Reader::of(content_type).unwrap();
        for piece in body.as_bytes().chunks(piece) {
            reader.push(piece);
        }
        reader.finish()
    }

    fn tokens(prompt: u64, completion: u64) -> Option<Usage> {
        Some(Usage { prompt, completion })
    }

    #[test]
    fn an_object_tells_its_usage() {
        let json = "application/json; charset=utf-8";
        let body = r#"{"usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}"#;
        assert_eq!(usage(json, body, 5), tokens(7, 3));
        let body = r#"{"usage": {"input_tokens": 7, "output_tokens": 3}}"#;
        assert_eq!(usage(json, body, 100), tokens(7, 3));
        for body in ["", "{", "{}", r#"{"usage": null}"#] {
            assert_eq!(usage(json, body, 100), None, "{body}");
        }
    }

    #[test]
    fn a_stream_tells_it_at_its_end() {
        let body = "data: {\"choices\":[{\"delta\":{\"content\":\"a\\\"usage\\\"\"}}],\"usage\":null}\n\n\
                    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\r\n\n\
                    data: [DONE]\n\n";
        for piece in [1, 7, 1000] {
            assert_eq!(usage("text/event-stream", body, piece), tokens(7, 3));
        }
    }

    #[test]
    fn a_stream_may_tell_it_in_parts_that_grow() {
        let body = "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n\
                    event: message_delta\ndata: {\"usage\":{\"output_tokens\":5}}\n\n\
                    event: message_delta\ndata: {\"usage\":{\"output_tokens\":9}}";
        assert_eq!(usage("text/event-stream", body, 3), tokens(7, 9));
    }

    #[test]
    fn what_is_in_a_response_or_a_cache_counts_too() {
        let body = "data: {\"response\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":2}}}\n\n";
        assert_eq!(usage("text/event-stream", body, 9), tokens(7, 2));
        let body = r#"{"usage": {"input_tokens": 1, "cache_read_input_tokens": 5,
            "cache_creation_input_tokens": 4, "output_tokens": 2}}"#;
        assert_eq!(usage("application/json", body, 9), tokens(10, 2));
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out() {
        let long = "x".repeat(KEPT_BYTES_MAX);
        let body = format!("data: {long}\ndata: {{\"usage\":{{\"prompt_tokens\":1}}}}\n");
        assert_eq!(usage("text/event-stream", &body, 4096), tokens(1, 0));
    }

    #[test]
    fn other_content_tells_nothing() {
        assert!(Reader::of("text/html").is_none());
    }
}
