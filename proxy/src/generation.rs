//! [`Generation`]: one immutable snapshot of the configuration, with every
//! module compiled and every filter tried out.

mod allowance;
mod chain;
mod draft;
mod gates;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weir_abi::SharedState;
use weir_config::{
    Address, Callouts, Config, ConfigErrors, Direction, FileMode, ProxyProtocol, Span,
};

use self::chain::{ChainKey, labels};
pub(crate) use self::chain::{ChainSpec, FilterSpec, GateSpec, RouteFilterSpec, Terms};
use self::draft::Builder;
pub(crate) use self::draft::relative_to;
use crate::callout::ClusterNames;
use crate::cluster::{ClusterSpec, ClusterTls};
use crate::compile_cache::CompileCache;
use crate::connection_limit::ConnectionLimit;
use crate::discovery::EndpointTable;
use crate::filter::FilterVmSpec;
use crate::listener::{ChainMatcher, Inspection};
use crate::modules::RemoteModules;
use crate::rollout::RolloutState;
use crate::route::ClusterTable;
use crate::telemetry::ShownBy;
use crate::tls::{DownstreamTls, Shown};
use crate::trace::Tracer;

/// One immutable snapshot of the configuration; shared by all workers.
pub(crate) struct Generation {
    /// Which one it is, from 1.
    pub(crate) number: u64,
    pub(crate) listeners: Vec<ListenerSpec>,
    /// What listeners are bound to, once they are.
    pub(crate) bound: HashMap<ListenerKey, Address>,
    pub(crate) clusters: Vec<Arc<ClusterSpec>>,
    /// Where each stands among `clusters`.
    pub(crate) names: Arc<ClusterNames>,
    pub(crate) callouts: Callouts,
    pub(crate) vms: Vec<Arc<FilterVmSpec>>,
    /// The files that it was made of.
    pub(crate) files: Vec<PathBuf>,
    /// What was fetched, as far as the next one cannot get it from the disk.
    fetched: RemoteModules,
    /// How long its streams may go on when it has been replaced, and what comes before
    /// an end of the process.
    pub(crate) drain: Drain,
    /// Decides which requests get spans, if any do.
    pub(crate) tracer: Option<Arc<Tracer>>,
    /// Where the VMs' shared data and queues are: it outlives the generation.
    pub(crate) shared: Arc<SharedState>,
    /// Where its modules were looked for: it outlives the generation.
    pub(crate) compile_cache: Arc<CompileCache>,
    /// The endpoints that have been discovered: they outlive the generation.
    pub(crate) endpoints: Arc<EndpointTable>,
}

/// How connections get time to end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Drain {
    /// How long the process says that it is not ready before it drains.
    pub(crate) delay: Duration,
    /// How long it then drains.
    pub(crate) timeout: Duration,
}

/// What makes a listener the same one in another generation: its address or, if
/// that is for the system to choose, its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ListenerKey {
    Address(Address),
    Name(String),
    /// The address of one that is not bound to it.
    Unbound(Address),
}

impl ListenerKey {
    fn of(name: &str, address: &Address, is_bound: bool) -> Self {
        if !is_bound {
            Self::Unbound(address.clone())
        } else if address.takes_any_port() {
            Self::Name(name.to_owned())
        } else {
            Self::Address(address.clone())
        }
    }
}

impl ListenerSpec {
    pub(crate) fn key(&self) -> ListenerKey {
        ListenerKey::of(&self.name, &self.address, self.is_bound)
    }

    /// Whether its chains are told apart.
    pub(crate) fn has_several_chains(&self) -> bool {
        self.matcher.only().is_none()
    }

    /// Whether it takes no HTTP.
    pub(crate) fn is_tcp(&self) -> bool {
        self.chains.iter().all(|chain| chain.terms.is_tcp)
    }
}

/// What a listener makes of where connections were going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OriginalDst {
    /// It is told what that was.
    pub(crate) restores: bool,
    /// They are for the listener with that address, if there is one.
    pub(crate) hands_over: bool,
    /// It is the address of its socket, which may be any.
    pub(crate) transparent: bool,
}

/// A listener as configured.
pub(crate) struct ListenerSpec {
    pub(crate) name: String,
    pub(crate) address: Address,
    /// Of the file, if it is one.
    pub(crate) mode: Option<FileMode>,
    pub(crate) address_span: Span,
    /// Its filter chains, the default one last.
    pub(crate) chains: Vec<ChainSpec>,
    /// Which of them a connection is for.
    pub(crate) matcher: Arc<ChainMatcher>,
    pub(crate) inspection: Option<Inspection>,
    pub(crate) original_dst: OriginalDst,
    pub(crate) original_src: Option<weir_config::OriginalSrc>,
    /// Whether it takes connections itself.
    pub(crate) is_bound: bool,
    /// Bytes that one filter may hold of a body.
    pub(crate) buffer_limit: usize,
    pub(crate) direction: Direction,
    pub(crate) metadata: weir_config::Metadata,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    pub(crate) max_connections: Option<NonZeroUsize>,
    /// Of the listener, whichever generation it is of.
    pub(crate) connections: Arc<ConnectionLimit>,
}

impl Generation {
    /// Names of the listeners, and what they are bound to.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&str, &Address)> {
        self.listeners.iter().map(|listener| {
            let bound = self.bound.get(&listener.key());
            (listener.name.as_str(), bound.unwrap_or(&listener.address))
        })
    }

    /// Why it cannot follow `before`, if it cannot: sockets stay as they were made.
    pub(crate) fn refusal(&self, before: &Self) -> Option<String> {
        let is_other = |new: &&ListenerSpec| {
            let mut listeners = before.listeners.iter();
            let same = listeners.find(|old| old.key() == new.key());
            same.is_some_and(|old| old.original_dst.transparent != new.original_dst.transparent)
        };
        let other = self.listeners.iter().find(is_other)?;
        Some(format!(
            "`transparent` of listener `{}` can only be changed by a restart",
            other.name
        ))
    }

    /// The filter chains of all listeners.
    pub(crate) fn chains(&self) -> impl Iterator<Item = &ChainSpec> {
        self.listeners.iter().flat_map(|listener| &listener.chains)
    }

    /// The rollouts that are under way.
    pub(crate) fn rollouts(&self) -> impl Iterator<Item = &Arc<RolloutState>> {
        let filters = self.chains().flat_map(|chain| &chain.filters);
        filters.filter_map(|filter| Some(&filter.rollout.as_ref()?.state))
    }

    /// The clusters that are not in `previous`.
    pub(crate) fn new_clusters(&self, previous: Option<&Self>) -> Vec<Arc<ClusterSpec>> {
        let known = previous.into_iter().flat_map(|p| &p.clusters);
        let known: HashSet<_> = known.map(Arc::as_ptr).collect();
        let is_known = |cluster: &&Arc<ClusterSpec>| known.contains(&Arc::as_ptr(cluster));
        let clusters = self.clusters.iter();
        clusters.filter(|c| !is_known(c)).cloned().collect()
    }

    /// How the same filter chain speaks TLS here.
    fn tls_of_chain(
        &self,
        listener: &weir_config::Listener,
        key: &ChainKey,
    ) -> Option<&Arc<DownstreamTls>> {
        let mut chains = self.listener(listener)?.chains.iter();
        let same = chains.find(|chain| chain.terms.key == *key);
        same?.terms.tls.as_ref()
    }

    /// The same listener here.
    fn listener(&self, listener: &weir_config::Listener) -> Option<&ListenerSpec> {
        let address = &listener.address.value;
        let key = ListenerKey::of(&listener.name, address, listener.bind_to_port);
        self.listeners.iter().find(|spec| spec.key() == key)
    }

    /// The certificates that are shown to others.
    pub(crate) fn certificates(&self) -> Vec<ShownBy> {
        let by = |kind, name: &str, shown: &Shown| ShownBy {
            kind,
            name: name.to_owned(),
            shown: shown.clone(),
        };
        let listeners = self.chains().flat_map(|chain| {
            let shown = chain.terms.tls.iter().flat_map(|tls| tls.shown());
            shown.map(|shown| by("listener", &chain.label, shown))
        });
        let clusters = self.clusters.iter().flat_map(|cluster| {
            let shown = cluster.tls.shown();
            shown.map(|shown| by("cluster", &cluster.name, shown))
        });
        listeners.chain(clusters).collect()
    }

    /// Reads, compiles and tries out everything that `config` names. File names
    /// are relative to `folder`. What is in `shared` for a `vm_id` stays, and what is
    /// the same in `previous` is not made again. `looked_at` gets the files, whether or
    /// not all is well with them.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place in the configuration.
    pub(crate) fn build(
        config: &Config,
        folder: &Path,
        shared: &Arc<SharedState>,
        previous: Option<&Self>,
        looked_at: &mut Vec<PathBuf>,
    ) -> Result<Self, ConfigErrors> {
        let compile_cache = previous.map_or_else(Arc::default, |p| Arc::clone(&p.compile_cache));
        let clusters = ClusterTable::of(config);
        let place = (config, folder);
        let mut builder = Builder::new(place, previous, &clusters, shared, &compile_cache)?;
        let mut errors = Vec::new();
        let mut listeners = Vec::new();
        let mut drafted = Vec::new();
        for listener in &config.listeners {
            let chains = listener.chains().zip(labels(listener));
            let chains = chains.map(|(chain, label)| {
                let (spec, filters) =
                    builder.filter_chain((config, folder), listener, chain, label, &mut errors);
                drafted.push(filters);
                spec
            });
            let chains = chains.collect();
            listeners.push(ListenerSpec {
                name: listener.name.value.clone(),
                address: listener.address.value.clone(),
                mode: listener.mode,
                address_span: listener.address.span,
                chains,
                matcher: Arc::new(ChainMatcher::of(listener)),
                inspection: Inspection::of(listener),
                original_dst: OriginalDst {
                    restores: listener.original_dst || listener.use_original_dst,
                    hands_over: listener.use_original_dst,
                    transparent: listener.transparent,
                },
                original_src: listener.original_src,
                is_bound: listener.bind_to_port,
                buffer_limit: listener.buffer_limit,
                direction: listener.direction,
                metadata: listener.metadata.clone(),
                proxy_protocol: listener.proxy_protocol,
                max_connections: listener.max_connections,
                connections: previous
                    .and_then(|p| p.listener(listener))
                    .map_or_else(Arc::default, |spec| Arc::clone(&spec.connections)),
            });
        }
        let known = previous.into_iter().flat_map(|p| &p.clusters);
        let known: HashMap<_, _> = known.map(|spec| (spec.name.as_str(), spec)).collect();
        let upstream_tls = config.clusters.iter().map(|cluster| {
            let before = known.get(cluster.name.as_str()).map(|spec| &spec.tls);
            let files = &mut builder.files;
            let built = ClusterTls::build(cluster, (config, folder), files, before);
            built.unwrap_or_else(|error| {
                errors.push(error);
                ClusterTls::default()
            })
        });
        let upstream_tls: Vec<_> = upstream_tls.collect();
        let names = Arc::clone(&clusters.names);
        let mut files = std::mem::take(&mut builder.files);
        files.sort_unstable();
        files.dedup();
        looked_at.extend(files.iter().cloned());
        let fetched = std::mem::take(&mut builder.fetched).kept();
        let vms = builder.finish(config, &names, &mut errors);
        let mut errors = errors.into_iter();
        if let Some(first) = errors.next() {
            return Err(errors.fold(ConfigErrors::from(first), ConfigErrors::with));
        }
        let chains = listeners
            .iter_mut()
            .flat_map(|listener| &mut listener.chains);
        for (chain, filters) in chains.zip(drafted) {
            let filters = filters.into_iter();
            let filters = filters.map(|drafted| drafted.finish(&chain.label, &vms, previous));
            chain.filters = filters.collect();
        }
        let endpoints = previous.map_or_else(Arc::default, |p| Arc::clone(&p.endpoints));
        let cluster = |(c, tls): (&weir_config::Cluster, ClusterTls)| {
            let before = known.get(c.name.as_str()).copied();
            let same = before.filter(|spec| spec.config == *c && spec.tls.is_same(&tls));
            same.cloned().unwrap_or_else(|| {
                Arc::new(ClusterSpec::new(c, tls, before.map(|b| &**b), &endpoints))
            })
        };
        let tracer = Tracer::of(config, previous.and_then(|p| p.tracer.as_ref()));
        let tracer = tracer.map_err(|error| {
            let span = config.tracing.as_ref().map(|t| t.otlp.endpoint.span);
            let message = format!("the thread that sends spans does not start: {error}");
            config.error(span.unwrap_or_default(), message)
        })?;
        Ok(Self {
            tracer,
            number: previous.map_or(1, |p| p.number + 1),
            listeners,
            bound: HashMap::new(),
            clusters: config
                .clusters
                .iter()
                .zip(upstream_tls)
                .map(cluster)
                .collect(),
            names,
            callouts: config.callouts,
            vms,
            files,
            fetched,
            drain: Drain {
                delay: config.drain_delay,
                timeout: config.drain_timeout,
            },
            shared: Arc::clone(shared),
            compile_cache,
            endpoints,
        })
    }
}
