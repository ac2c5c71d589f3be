//! The upstream of a case.

mod h1;
mod h2;
mod tcp;

use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::net::TcpListener;

use super::case::Protocol;
use super::journal::Journal;
use super::step::Step;

/// What an upstream does, and where it notes what it sees.
#[derive(Clone)]
pub struct Upstream {
    /// By path; `*` is for all others.
    pub scripts: Rc<BTreeMap<String, Vec<Step>>>,
    pub protocol: Protocol,
    pub journal: Journal,
}

impl Upstream {
    /// Serves until it is dropped, with all its connections.
    pub async fn serve(self, listener: Rc<TcpListener>) {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let upstream = self.clone();
            connections.spawn_local(async move {
                let result = match upstream.protocol {
                    Protocol::H1 => h1::serve(stream, &upstream).await,
                    Protocol::H2 => h2::serve(stream, &upstream).await,
                    Protocol::Tcp => tcp::serve(stream, &upstream).await,
                };
                if let Err(error) = result {
                    upstream.journal.trouble(format!("upstream: {error:#}"));
                }
            });
        }
    }

    /// The steps for a request, beginning with that it is in.
    fn script(&self, target: &str) -> Vec<Step> {
        let path = target.split('?').next().unwrap_or_default();
        let steps = self.scripts.get(path).or_else(|| self.scripts.get("*"));
        let mut steps = steps.cloned().unwrap_or_default();
        if !matches!(steps.first(), Some(Step::RequestHead | Step::WholeRequest)) {
            steps.insert(0, Step::WholeRequest);
        }
        steps
    }
}
