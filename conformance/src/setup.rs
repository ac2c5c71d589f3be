//! [`Setup`]: the configuration that most tests want.

use std::net::SocketAddr;

use super::Weir;

/// One worker, one listener `edge`, one cluster; the access log goes to standard
/// output. Requests to `/short` may take 1 s.
pub struct Setup {
    upstream: SocketAddr,
    filters: Vec<String>,
    listener: String,
    cluster: String,
}

impl Setup {
    pub fn new(upstream: SocketAddr) -> Self {
        Self {
            upstream,
            filters: Vec::new(),
            listener: String::new(),
            cluster: String::new(),
        }
    }

    /// Adds a filter, given in WebAssembly text, to the chain.
    #[must_use]
    pub fn filter(mut self, text: impl Into<String>) -> Self {
        self.filters.push(text.into());
        self
    }

    /// Adds a key of the listener.
    #[must_use]
    pub fn listener(mut self, line: &str) -> Self {
        self.listener += &format!("  {line}\n");
        self
    }

    /// Adds a key of the cluster.
    #[must_use]
    pub fn cluster(mut self, line: &str) -> Self {
        self.cluster += &format!("  {line}\n");
        self
    }

    /// Has the cluster speak HTTP/2.
    #[must_use]
    pub fn http2_upstream(self) -> Self {
        self.cluster("protocol: http2")
    }

    pub fn start(&self) -> Weir {
        let chain: String = (0..self.filters.len())
            .map(|n| {
                format!(
                    "  - {{ name: f{n}, wasm: {{ vm_config: {{ vm_id: f{n}, code: {{ local: \
                     {{ filename: f{n}.wasm }} }} }} }} }}\n"
                )
            })
            .collect();
        let filters = if chain.is_empty() {
            String::new()
        } else {
            format!("  http_filters:\n{chain}")
        };
        let config = format!(
            "workers: 1\n\
             drain_timeout: 20s\n\
             admin: {{ address: 127.0.0.1:0 }}\n\
             listeners:\n\
             - name: edge\n  \
               address: 127.0.0.1:0\n  \
               access_log: {{ path: stdout }}\n{}{filters}  \
               routes:\n  \
               - {{ match: {{ prefix: /short }}, cluster: web, timeout: 1s }}\n  \
               - {{ match: {{ prefix: / }}, cluster: web, timeout: 60s }}\n\
             clusters:\n\
             - name: web\n  endpoints: [\"{}\"]\n{}",
            self.listener, self.upstream, self.cluster
        );
        Weir::start_with(&config, |folder| {
            for (n, text) in self.filters.iter().enumerate() {
                let module = wat::parse_str(text).unwrap();
                std::fs::write(folder.join(format!("f{n}.wasm")), module).unwrap();
            }
        })
    }
}

/// The routes of a listener that answers every request with `body`.
pub fn direct(body: &str) -> String {
    format!(
        "routes: [{{ match: {{ prefix: / }}, direct_response: {{ status: 200, body: {body} }} }}]"
    )
}
