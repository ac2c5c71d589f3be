//! What a browser is told (Fetch, section 3.3).

use filter_http::Headers;

use crate::config::{Config, List};

/// What a request is.
#[derive(Debug, PartialEq)]
pub(crate) enum Kind {
    /// None of a script of another origin, or of one that is not allowed.
    Plain,
    /// Of an origin that is allowed.
    Allowed(String),
    /// A preflight, which is answered with these headers.
    Preflight(Vec<(&'static str, String)>),
    /// A preflight of an origin that is not allowed, which is answered with nothing.
    Unmatched,
}

impl Config {
    /// What a request is.
    pub(crate) fn kind(&self, request: &impl Headers) -> Kind {
        let header = |name| request.get(name).filter(|value| !value.is_empty());
        let Some(origin) = header("origin") else {
            return Kind::Plain;
        };
        let allowed = self.allow_origins.iter().any(|own| own.is(&origin));
        let options = header(":method").as_deref() == Some("OPTIONS");
        match header("access-control-request-method").filter(|_| options) {
            Some(method) if allowed => Kind::Preflight(self.preflight(origin, method, request)),
            Some(_) if !self.forward_unmatched_preflights => Kind::Unmatched,
            None if allowed => Kind::Allowed(origin),
            _ => Kind::Plain,
        }
    }

    fn preflight(
        &self,
        origin: String,
        method: String,
        request: &impl Headers,
    ) -> Vec<(&'static str, String)> {
        let asked = |name| request.get(name).unwrap_or_default();
        let list = |list: &List, asked: String| match list {
            List::Any => asked,
            List::These(these) => these.to_string(),
        };
        let mut headers = vec![("access-control-allow-origin", origin)];
        if self.allow_credentials {
            headers.push(("access-control-allow-credentials", "true".to_owned()));
        }
        if let Some(methods) = &self.allow_methods {
            headers.push(("access-control-allow-methods", list(methods, method)));
        }
        if let Some(names) = &self.allow_headers {
            let names = list(names, asked("access-control-request-headers"));
            headers.push(("access-control-allow-headers", names));
        }
        if let Some(seconds) = &self.max_age {
            headers.push(("access-control-max-age", seconds.clone()));
        }
        if let Some(names) = &self.expose_headers {
            headers.push(("access-control-expose-headers", names.to_string()));
        }
        let private = asked("access-control-request-private-network") == "true";
        if private && self.allow_private_network {
            headers.push(("access-control-allow-private-network", "true".to_owned()));
        }
        headers
    }

    /// Tells the browser of `origin`, which is allowed, that it may read a response.
    pub(crate) fn allow(&self, origin: &str, response: &impl Headers) {
        response.set("access-control-allow-origin", Some(origin));
        // What the upstream says of these was meant for the origins that it knows.
        let credentials = self.allow_credentials.then_some("true");
        let exposed = self.expose_headers.as_deref();
        for (name, value) in [
            ("access-control-allow-credentials", credentials),
            ("access-control-expose-headers", exposed),
        ] {
            if value.is_some() || response.get(name).is_some() {
                response.set(name, value);
            }
        }
    }
}

/// `vary` with `origin` in it.
pub(crate) fn vary(before: Option<&str>) -> String {
    let Some(before) = before.filter(|before| !before.trim().is_empty()) else {
        return "origin".to_owned();
    };
    let mut names = before.split(',').map(str::trim);
    match names.any(|name| name == "*" || name.eq_ignore_ascii_case("origin")) {
        true => before.to_owned(),
        false => format!("{before}, origin"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_in_vary_once() {
        for (before, after) in [
            (None, "origin"),
            (Some(""), "origin"),
            (Some("accept"), "accept, origin"),
            (Some("accept, Origin"), "accept, Origin"),
            (Some("*"), "*"),
        ] {
            assert_eq!(vary(before), after);
        }
    }
}
