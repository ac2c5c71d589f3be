//! Every endpoint there is, for the help and for requests by the wrong method.

use std::fmt::Write as _;

use super::request::Method;

/// An endpoint.
pub(super) struct Endpoint {
    pub(super) path: &'static str,
    /// By which it is asked; GET stands for HEAD as well.
    pub(super) methods: &'static [Method],
    /// Its parameters.
    parameters: &'static str,
    help: &'static str,
}

const GET: &[Method] = &[Method::Get];
const POST: &[Method] = &[Method::Post];
const BOTH: &[Method] = &[Method::Get, Method::Post];

/// In the order of the help: what reads, then what changes something, by their names.
pub(super) static ENDPOINTS: &[Endpoint] = &[
    get("/", "", "the page for browsers, this text for others"),
    get("/certs", "", "the certificates that are shown to others"),
    get(
        "/clusters",
        "[?format=json]",
        "the endpoints of each cluster, their numbers and health",
    ),
    get(
        "/config_dump",
        "[?format=yaml]",
        "the configuration that is served, without its secrets",
    ),
    get("/dashboard.json", "", "what the page shows"),
    get(
        "/filters",
        "[?format=json]",
        "the filters of each listener, their VMs and failures",
    ),
    get(
        "/generations",
        "",
        "configurations that are served or draining",
    ),
    get("/help", "", "this text"),
    get(
        "/hot_restart_version",
        "",
        "whether another process can take over",
    ),
    get(
        "/listeners",
        "[?format=json]",
        "names and addresses of the listeners",
    ),
    get("/live", "", "200 as long as the process answers"),
    Endpoint {
        path: "/logging",
        methods: BOTH,
        parameters: "[?level=L] [?plugin=NAME&level=L] [?TARGET=L] [?reset]",
        help: "which levels are logged; POST changes them",
    },
    get("/memory", "", "memory of the process and of filters"),
    get("/metrics", "", "the same as /stats/prometheus"),
    get(
        "/ready",
        "",
        "200 LIVE while Weir wants requests, or else 503",
    ),
    get("/rollouts", "", "filters with another version beside them"),
    get("/server_info", "", "version, state, uptime, command line"),
    get(
        "/stats",
        "[?filter=REGEX][&usedonly][&type=T][&format=json|prometheus][&histogram_buckets=cumulative|disjoint]",
        "numbers under Envoy's names",
    ),
    get(
        "/stats/prometheus",
        "[?filter=REGEX][&usedonly]",
        "numbers in Prometheus' text format",
    ),
    post(
        "/drain_listeners",
        "[?graceful][&skip_exit][&inboundonly]",
        "accept no more connections",
    ),
    post(
        "/healthcheck/fail",
        "",
        "have /ready answer 503, and serve on",
    ),
    post("/healthcheck/ok", "", "take that back"),
    post("/quitquitquit", "", "drain and end"),
    post(
        "/reload",
        "",
        "read the configuration again; answers what came of it",
    ),
];

const fn get(path: &'static str, parameters: &'static str, help: &'static str) -> Endpoint {
    Endpoint {
        path,
        methods: GET,
        parameters,
        help,
    }
}

const fn post(path: &'static str, parameters: &'static str, help: &'static str) -> Endpoint {
    Endpoint {
        path,
        methods: POST,
        parameters,
        help,
    }
}

impl Endpoint {
    /// What the header `allow` says.
    pub(super) fn allow(&self) -> &'static str {
        match self.methods {
            [Method::Post] => "POST",
            [Method::Get] => "GET, HEAD",
            _ => "GET, HEAD, POST",
        }
    }
}

/// The endpoint of that path.
pub(super) fn find(path: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.iter().find(|endpoint| endpoint.path == path)
}

/// A list of them all.
pub(super) fn help() -> String {
    let mut text = "Weir admin\n\n".to_owned();
    for endpoint in ENDPOINTS {
        let method = if endpoint.methods == POST {
            "POST "
        } else {
            ""
        };
        let name = format!("{method}{}", endpoint.path);
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<24} {}", endpoint.help);
        if !endpoint.parameters.is_empty() {
            let _ = writeln!(text, "      {}", endpoint.parameters);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_a_row_for_every_endpoint() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let docs = std::fs::read_to_string(path).unwrap();
        for endpoint in ENDPOINTS {
            let method = if endpoint.methods == POST {
                "POST "
            } else {
                ""
            };
            let name = format!("`{method}{}`", endpoint.path);
            let row = docs
                .lines()
                .any(|line| line.starts_with('|') && line.contains(&name));
            assert!(row, "{name}");
        }
    }
}
