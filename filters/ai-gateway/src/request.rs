//! What a client asks a model for.

use serde_json::{Map, Value, json};

/// The parts of a request's body that matter here.
#[derive(Debug)]
pub(crate) struct Asked {
    body: Map<String, Value>,
    changed: bool,
}

impl Asked {
    /// Reads a body; none if it is no object with a model.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
        body.get("model")?.as_str()?;
        let changed = false;
        Some(Self { body, changed })
    }

    pub(crate) fn model(&self) -> &str {
        self.body
            .get("model")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn set_model(&mut self, model: &str) {
        self.body.insert("model".to_owned(), model.into());
        self.changed = true;
    }

    /// Has a stream of `/chat/completions` and `/completions` tell its usage at its
    /// end, which it does only if asked.
    pub(crate) fn ask_for_usage(&mut self) {
        // some servers take 1 or "true" for true
        if matches!(
            self.body.get("stream"),
            None | Some(Value::Null | Value::Bool(false))
        ) {
            return;
        }
        let options = self.body.entry("stream_options").or_insert(Value::Null);
        match options.as_object_mut() {
            Some(options) => drop(options.insert("include_usage".to_owned(), true.into())),
            None => *options = json!({ "include_usage": true }),
        }
        self.changed = true;
    }

    /// The body to send on, if it is another.
    pub(crate) fn into_body(self) -> Option<Vec<u8>> {
        self.changed
            .then(|| Value::Object(self.body).to_string().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_need_not_change_stays_as_it_is() {
        let mut asked = Asked::read(br#"{"model": "m", "stream": false}"#).unwrap();
        assert_eq!(asked.model(), "m");
        asked.ask_for_usage();
        assert_eq!(asked.into_body(), None);
    }

    #[test]
    fn the_model_and_what_a_stream_tells_can_be_changed() {
        let body = br#"{"model": "m", "stream": true, "stream_options": {"a": 1}, "x": [null]}"#;
        let mut asked = Asked::read(body).unwrap();
        asked.set_model("n");
        asked.ask_for_usage();
        let body: Value = serde_json::from_slice(&asked.into_body().unwrap()).unwrap();
        let options = json!({"a": 1, "include_usage": true});
        assert_eq!(
            body,
            json!({"model": "n", "stream": true, "stream_options": options, "x": [null]})
        );
    }

    #[test]
    fn a_stream_cannot_keep_its_usage_to_itself() {
        for stream in ["true", "1", "\"true\""] {
            for options in ["null", "{}", "7", r#"{"include_usage": false}"#] {
                let body =
                    format!(r#"{{"model": "m", "stream": {stream}, "stream_options": {options}}}"#);
                let mut asked = Asked::read(body.as_bytes()).unwrap();
                asked.ask_for_usage();
                let body: Value = serde_json::from_slice(&asked.into_body().unwrap()).unwrap();
                assert_eq!(body["stream_options"], json!({"include_usage": true}));
            }
        }
    }

    #[test]
    fn what_names_no_model_is_none() {
        for body in ["", "[]", "{}", r#"{"model": 1}"#, r#"{"model": "m"} x"#] {
            assert!(Asked::read(body.as_bytes()).is_none(), "{body}");
        }
    }
}
