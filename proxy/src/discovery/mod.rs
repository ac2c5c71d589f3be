//! Listeners and clusters from a management server (xDS).
//!
//! What comes is read by the code that reads Envoy's bootstrap, and served by a reload:
//! [`State`] judges what a server offers, keeps what can be served in [`Discovered`], and
//! asks for a reload, which adds it to the static configuration. What the reload refuses
//! is refused towards the server, and what was served before goes on. Endpoints are no
//! part of that: clusters take them from the [`EndpointTable`] as they come.

mod endpoints;
mod needs;
mod present;
mod source;
mod state;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::sleep;
use weir_config::Config;
use weir_xds::{Counters, Identity, ResourceType};

pub(crate) use self::endpoints::{Assignment, EndpointTable};
use self::source::Sources;
use self::state::State;
pub(crate) use self::view::Discovered;
use crate::generation::Generation;
use crate::health::Health;
use crate::reload::Request;

/// How often it is looked whether something has been awaited for too long.
const TICK: Duration = Duration::from_millis(100);

/// Who has what is discovered served, and waits for it.
pub(crate) struct Follow {
    pub(crate) requests: mpsc::Sender<Request>,
    /// Of the process, which serves when all of the first configuration has come, or the
    /// time for that is over.
    pub(crate) health: Arc<Health>,
    /// Is told then whether all has come.
    pub(crate) settled: oneshot::Sender<bool>,
}

/// Starts to follow the management server that `config` names.
///
/// # Errors
/// The server cannot be spoken to.
pub(crate) fn start(
    config: &Config,
    generation: &Arc<Generation>,
    discovered: &Arc<Discovered>,
    follow: Follow,
) -> Result<Arc<Counters>, String> {
    let Follow {
        requests,
        health,
        settled,
    } = follow;
    let dynamic = config.dynamic_resources.as_ref();
    let dynamic = dynamic.ok_or("no management server is configured")?;
    let sources = Sources::new(dynamic, identity(config), generation)?;
    let counters = sources.counters();
    let fetch_timeout = Some(dynamic.fetch_timeout).filter(|timeout| *timeout != Duration::MAX);
    let state = State::new(
        dynamic.leniency,
        fetch_timeout,
        sources,
        Arc::clone(&generation.endpoints),
        Arc::clone(discovered),
        requests,
    );
    let state = Arc::new(Mutex::new(state));
    let wanted: Vec<_> = [
        (dynamic.clusters, ResourceType::Cluster),
        (dynamic.listeners, ResourceType::Listener),
    ]
    .into_iter()
    .filter_map(|(wanted, kind)| wanted.then_some(kind))
    .collect();
    tokio::spawn(async move {
        let waits = {
            let mut locked = state.lock().await;
            locked.start(&state);
            locked.waits()
        };
        let begun = Instant::now();
        let mut settled = Some(settled);
        let mut is_quiet = false;
        loop {
            if settled.is_none() && is_quiet {
                waits.notified().await;
            }
            sleep(TICK).await;
            let mut state = state.lock().await;
            is_quiet = state.tick().await;
            let is_settled = is_quiet && state.has_answers(&wanted);
            let is_late = fetch_timeout.is_some_and(|timeout| begun.elapsed() >= timeout);
            if let Some(settled) = settled.take_if(|_| is_settled || is_late) {
                if !is_settled {
                    tracing::warn!("xDS: serving without all that was asked for");
                }
                health.serve();
                // Only who takes over from another process waits for it.
                let _ = settled.send(is_settled);
            }
        }
    });
    Ok(counters)
}

fn identity(config: &Config) -> Identity {
    let node = &config.node;
    Identity {
        id: node.id.clone(),
        cluster: node.cluster.clone(),
        region: node.locality.region.clone(),
        zone: node.locality.zone.clone(),
        sub_zone: node.locality.sub_zone.clone(),
        metadata: node.metadata.clone(),
    }
}
