//! The configuration.

use std::collections::BTreeMap;

use filter_config::HeaderName;
use serde::Deserialize;

use crate::condition::Condition;
use crate::template::Template;

/// The rules, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) rules: Vec<Rule>,
}

/// What becomes of some requests.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) struct Rule {
    pub(crate) condition: Condition,
    pub(crate) action: Action,
    pub(crate) request_headers: Mutations,
    pub(crate) response_headers: Mutations,
    /// Whether later rules are left out.
    pub(crate) last: bool,
}

/// What becomes of the request's target.
#[derive(Debug)]
pub(crate) enum Action {
    Keep,
    Rewrite {
        path: Option<Template>,
        authority: Option<Template>,
    },
    Redirect(u32, Template),
}

/// What becomes of headers, in this order.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mutations {
    pub(crate) remove: Vec<HeaderName>,
    pub(crate) set: BTreeMap<HeaderName, Template>,
    pub(crate) add: BTreeMap<HeaderName, Template>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, rename = "match")]
    condition: Condition,
    path: Option<Template>,
    authority: Option<Template>,
    redirect: Option<Redirect>,
    #[serde(default)]
    request_headers: Mutations,
    #[serde(default)]
    response_headers: Mutations,
    #[serde(default)]
    last: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redirect {
    location: Template,
    #[serde(default = "Redirect::status")]
    status: u32,
}

impl Redirect {
    fn status() -> u32 {
        302
    }
}

impl TryFrom<Fields> for Rule {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let action = match (fields.redirect, fields.path, fields.authority) {
            (None, None, None) => Action::Keep,
            (None, path, authority) => Action::Rewrite { path, authority },
            (Some(Redirect { location, status }), None, None) => match status {
                301 | 302 | 303 | 307 | 308 => Action::Redirect(status, location),
                _ => return Err(format!("{status} is no status of a redirect")),
            },
            (Some(_), ..) => return Err("a `redirect` has no `path` and `authority`".to_owned()),
        };
        let rule = Self {
            condition: fields.condition,
            action,
            request_headers: fields.request_headers,
            response_headers: fields.response_headers,
            last: fields.last,
        };
        rule.check()?;
        Ok(rule)
    }
}

impl Rule {
    /// Finds places in templates that could never be filled in.
    fn check(&self) -> Result<(), String> {
        let pattern = self.condition.path.as_ref();
        let known = |name: &str| pattern.is_some_and(|pattern| pattern.has(name));
        let response: Vec<_> = self.response_headers.templates().collect();
        let mut request: Vec<_> = self.request_headers.templates().collect();
        match &self.action {
            Action::Keep => {}
            Action::Rewrite { path, authority } => request.extend(path.iter().chain(authority)),
            Action::Redirect(_, location) => request.push(location),
        }
        for template in request.iter().chain(&response) {
            if let Some(name) = template.unknown_capture(known) {
                return Err(format!("no group `{name}` in the `path` of `match`"));
            }
        }
        if request.iter().any(|template| template.is_of_response()) {
            return Err("a request is changed before there is a `{response.…}`".to_owned());
        }
        Ok(())
    }
}

impl Mutations {
    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.set.values().chain(self.add.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, String> {
        filter_config::parse(Some(json.as_bytes())).map_err(|error| error.to_string())
    }

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (rule, words) in [
            (r#"{"path": "/{1}"}"#, "no group `1`"),
            (
                r#"{"match": {"path": "/(a)"}, "path": "/{capture.b}"}"#,
                "no group `b`",
            ),
            (r#"{"match": {"path": "("}}"#, "is no pattern"),
            (r#"{"path": "{response.x}"}"#, "before there is"),
            (
                r#"{"redirect": {"location": "/", "status": 200}}"#,
                "no status of a redirect",
            ),
            (
                r#"{"redirect": {"location": "/"}, "path": "/"}"#,
                "has no `path`",
            ),
            (
                r#"{"request_headers": {"set": {"a b": ""}}}"#,
                "not a header name",
            ),
            (r#"{"headers": {}}"#, "unknown field `headers`"),
        ] {
            let message = read(&format!(r#"{{"rules": [{rule}]}}"#)).unwrap_err();
            assert!(message.contains(words), "{message}");
            assert!(message.contains("rules[0]"), "{message}");
        }
    }
}
