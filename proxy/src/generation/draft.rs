//! VMs and filter chains of a generation that are being put together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use weir_abi::{
    CompileOptions, Deadline, Effort, HeaderValues, Module, ModuleCache, PluginConfig,
    SharedLimits, SharedState, VmConfig, VmLimits,
};
use weir_config::{
    Code, Config, ConfigError, ConfigErrors, DeadlineKind, FilterChain, FilterSetting, HttpFilter,
    Isolation, Limits, RouteFilter, Span,
};

use super::Generation;
use super::allowance::{
    capabilities, environment, least, shared_limits, size, time_limits, vm_limits,
};
use super::chain::ChainKey;
use super::chain::{ChainSpec, FilterSpec, RouteChainSpec, RouteFilterSpec, Terms};
use super::gates::Gates;
use crate::callout::ClusterNames;
use crate::compile_cache::CompileCache;
use crate::filter::{FilterVmSpec, PluginSpec, StartError};
use crate::limits::LOG_LINES;
use crate::modules::{self, RemoteModules};
use crate::rollout::{Place, RolloutSpec, RolloutState, Version};
use crate::route::{ClusterTable, RouteTable};
use crate::signature;
use crate::stream::Facts;
use crate::tcp::TcpProxy;
use crate::tls::{DownstreamTls, PemReader};

/// VMs that are being put together; plugins with equal keys share one.
pub(super) struct Builder<'a> {
    /// What is served meanwhile: what stays the same is taken from there.
    previous: Option<&'a Generation>,
    clusters: &'a ClusterTable,
    shared: Arc<SharedState>,
    compile_cache: Arc<CompileCache>,
    /// The compiled modules of earlier starts, if they are kept.
    cache: Option<Arc<ModuleCache>>,
    pub(super) fetched: RemoteModules,
    /// What was read, each source once.
    binaries: Vec<(Source, Bytes)>,
    /// Compiled: place in `binaries`.
    modules: Vec<(usize, Module)>,
    /// Files that were read besides modules.
    pub(super) files: Vec<PathBuf>,
    vms: Vec<Draft>,
}

#[derive(PartialEq, Eq)]
enum Source {
    File(PathBuf),
    /// The module itself, wherever it is from.
    Inline(Bytes),
}

impl Source {
    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Inline(_) => None,
        }
    }
}

struct Draft {
    key: [u8; 32],
    version: Version,
    owner: String,
    module: Module,
    config: VmConfig,
    shared_limits: SharedLimits,
    /// What each filter says.
    limits: Vec<Limits>,
    plugins: Vec<PluginSpec>,
    /// Where each plugin stands in the configuration.
    places: Vec<Origin>,
}

/// Where a filter stands in the configuration.
#[derive(Clone)]
struct Origin {
    listener: String,
    filter: String,
    code: Span,
    vm: Span,
    configuration: Span,
}

/// A filter whose VMs are being put together.
pub(super) struct DraftedFilter<'a> {
    name: &'a str,
    place: Place,
    rollout: Option<DraftedRollout<'a>>,
}

/// Its other version.
struct DraftedRollout<'a> {
    config: &'a weir_config::Rollout,
    canary: Option<Place>,
    shadow: Option<Place>,
}

impl DraftedFilter<'_> {
    /// With the VMs at their places. A rollout that goes on is what it has come to.
    pub(super) fn finish(
        self,
        listener: &str,
        vms: &[Arc<FilterVmSpec>],
        previous: Option<&Generation>,
    ) -> FilterSpec {
        let rollout = self.rollout.map(|drafted| {
            let places = drafted.canary.iter().chain(&drafted.shadow);
            let own = places.map(|place| Arc::clone(&vms[place.0])).collect();
            let state = RolloutState::new(listener, self.name, drafted.config, own);
            let mut known = previous.into_iter().flat_map(Generation::rollouts);
            let same = known.find(|known| known.is_same(&state)).map(Arc::clone);
            RolloutSpec {
                canary: drafted.canary,
                shadow: drafted.shadow,
                state: same.unwrap_or_else(|| Arc::new(state)),
            }
        });
        FilterSpec {
            place: self.place,
            rollout,
        }
    }
}

impl<'a> Builder<'a> {
    /// Fetches the modules that `config` names.
    ///
    /// # Errors
    /// What cannot be fetched.
    pub(super) fn new(
        (config, folder): (&Config, &Path),
        previous: Option<&'a Generation>,
        clusters: &'a ClusterTable,
        shared: &Arc<SharedState>,
        compile_cache: &Arc<CompileCache>,
    ) -> Result<Self, ConfigErrors> {
        let fetched = RemoteModules::fetch(config, folder, previous.map(|p| &p.fetched))?;
        Ok(Self {
            previous,
            clusters,
            shared: Arc::clone(shared),
            cache: compile_cache.of(config, folder),
            compile_cache: Arc::clone(compile_cache),
            fetched,
            binaries: Vec::new(),
            modules: Vec::new(),
            files: Vec::new(),
            vms: Vec::new(),
        })
    }
}

impl Builder<'_> {
    /// Adds a filter chain; its filters are yet to be put together.
    pub(super) fn filter_chain<'f>(
        &mut self,
        (config, folder): (&Config, &Path),
        listener: &weir_config::Listener,
        chain: &'f FilterChain,
        label: String,
        errors: &mut Vec<ConfigError>,
    ) -> (ChainSpec, Vec<DraftedFilter<'f>>) {
        let routes = RouteTable::build(config, chain, self.clusters).unwrap_or_else(|error| {
            errors.push(error);
            RouteTable::default()
        });
        let mut drafted = |filters| self.filters(config, folder, &label, filters, errors);
        let filters = drafted(chain.filters());
        let access_loggers = drafted(&chain.access_loggers);
        let access_loggers = access_loggers.into_iter().map(|drafted| drafted.place);
        // What is wrong with a filter is told once.
        let whole = filters.len() == chain.http_filters.len();
        let gates = Gates { config, listener };
        let of_routes = routes.chains.iter().filter(|_| whole);
        let of_routes = of_routes.map(|changes| RouteChainSpec {
            gates: gates.of_route(chain, changes, errors),
            ..self.route_chain((config, folder), (&label, chain), changes, errors)
        });
        let of_routes = of_routes.collect();
        let key = ChainKey::of(listener, chain);
        let tls = chain.tls.as_ref().and_then(|tls| {
            let reader = PemReader::new(config, folder, &mut self.files);
            let before = self.previous.and_then(|p| p.tls_of_chain(listener, &key));
            let span = match listener.only_chain() {
                Some(_) => listener.name.span,
                None => chain.at,
            };
            let built = DownstreamTls::build((chain, span), tls, reader, before);
            built.map_err(|error| errors.push(error)).ok()
        });
        let spec = ChainSpec {
            label,
            terms: Terms {
                key,
                http: Arc::new(chain.http.clone()),
                is_tcp: chain.tcp.is_some(),
                tls,
            },
            filters: Vec::new(),
            gates: gates.of_chain(chain, errors),
            entry: gates.of_entry(chain, errors),
            native: [&chain.native_network_filters[..], &chain.native_filters].concat(),
            of_routes,
            routes: Arc::new(routes),
            hosts: chain.virtual_hosts.clone(),
            headers: chain.headers.clone(),
            facts: Arc::new(Facts {
                node: config.node.clone(),
                direction: listener.direction,
                listener: listener.metadata.clone(),
                filter_chain: chain.name.value.clone(),
            }),
            tcp: chain.tcp.as_ref().map(|tcp| TcpProxy {
                cluster: self.clusters.find(&tcp.cluster),
                idle_timeout: tcp.idle_timeout,
            }),
            istio: chain.istio.clone(),
            access_log: chain.access_log.clone(),
            access_loggers: access_loggers.collect(),
        };
        (spec, filters)
    }

    /// Adds a chain of filters.
    fn filters<'f>(
        &mut self,
        config: &Config,
        folder: &Path,
        listener: &str,
        filters: &'f [HttpFilter],
        errors: &mut Vec<ConfigError>,
    ) -> Vec<DraftedFilter<'f>> {
        let mut drafted = Vec::with_capacity(filters.len());
        for filter in filters {
            match self.filter(config, folder, listener, filter) {
                Ok(filter) => drafted.push(filter),
                Err(error) => errors.push(error),
            }
        }
        drafted
    }

    /// Adds what a route's chain has besides the filters of its filter chain.
    fn route_chain(
        &mut self,
        (config, folder): (&Config, &Path),
        (label, of): (&str, &FilterChain),
        changes: &[RouteFilter],
        errors: &mut Vec<ConfigError>,
    ) -> RouteChainSpec {
        let mut chain = Vec::new();
        for (place, filter) in of.http_filters.iter().enumerate() {
            let change = changes.iter().find(|c| c.name.value == filter.name.value);
            match change.map(|change| &change.setting) {
                Some(FilterSetting::Disabled) => {}
                Some(FilterSetting::Configured(configuration)) => {
                    let mut wasm = filter.wasm.value.clone();
                    wasm.configuration = configuration.clone();
                    let origin = (label, filter);
                    match self.add(config, folder, origin, &wasm, Version::Stable) {
                        Ok(place) => chain.push(RouteFilterSpec::Configured(place)),
                        Err(error) => errors.push(error),
                    }
                }
                // Policies are for filters of Weir's own.
                Some(FilterSetting::Enabled | FilterSetting::Rbac(_)) | None => {
                    chain.push(RouteFilterSpec::Same(place));
                }
            }
        }
        RouteChainSpec {
            filters: chain,
            gates: Vec::new(),
        }
    }

    /// Adds a filter, and its other version, if there is one.
    fn filter<'f>(
        &mut self,
        config: &Config,
        folder: &Path,
        listener: &str,
        filter: &'f HttpFilter,
    ) -> Result<DraftedFilter<'f>, ConfigError> {
        let mut add = |wasm: &weir_config::PluginConfig, version| {
            self.add(config, folder, (listener, filter), wasm, version)
        };
        let place = add(&filter.wasm.value, Version::Stable)?;
        let rollout = filter.rollout.as_ref().map(|rollout| {
            let wasm = &rollout.wasm.value;
            let canary = rollout.canary.as_ref();
            Ok::<_, ConfigError>(DraftedRollout {
                config: &rollout.value,
                canary: canary.map(|_| add(wasm, Version::Canary)).transpose()?,
                shadow: rollout
                    .shadow
                    .then(|| add(wasm, Version::Shadow))
                    .transpose()?,
            })
        });
        Ok(DraftedFilter {
            name: &filter.name,
            place,
            rollout: rollout.transpose()?,
        })
    }

    /// Adds a version of a filter; gives the places of its VM and of itself in it.
    fn add(
        &mut self,
        config: &Config,
        folder: &Path,
        (listener, filter): (&str, &HttpFilter),
        wasm: &weir_config::PluginConfig,
        version: Version,
    ) -> Result<Place, ConfigError> {
        let vm = &wasm.vm_config.value;
        let place = Origin {
            listener: listener.to_owned(),
            filter: filter.name.value.clone(),
            code: vm.code.span(),
            vm: wasm.vm_config.span,
            configuration: wasm.configuration.span,
        };
        let deadline = match wasm.limits.deadline {
            DeadlineKind::Watchdog => Deadline::default(),
            DeadlineKind::Counter => Deadline::Counter,
            DeadlineKind::Off => Deadline::Off,
        };
        let module = self.module(config, folder, vm, deadline);
        let module = module.map_err(|error| {
            error.about(|| format!("filter `{}` of listener `{listener}`", filter.name.value))
        })?;
        let shared_limits = shared_limits(config, &vm.vm_id);
        // Rollouts are judged one by one.
        let owner = match version {
            Version::Stable => String::new(),
            Version::Canary | Version::Shadow => format!("{listener}/{}", filter.name.value),
        };
        // What a shadow shares is nobody else's, but that of its like.
        let space = match version {
            Version::Stable | Version::Canary => vm.vm_id.clone(),
            Version::Shadow => format!("{} (shadow)", vm.vm_id),
        };
        let vm_config = VmConfig {
            vm_id: vm.vm_id.clone(),
            configuration: vm.configuration.value.clone().into(),
            environment: environment(&vm.environment_variables),
            capabilities: capabilities(wasm),
            shared: self.shared.space(&space, shared_limits),
            // Of all its plugins; known when they are.
            limits: VmLimits::default(),
        };
        let plugin = PluginSpec {
            plugin: PluginConfig {
                name: plugin_name(filter, wasm),
                root_id: wasm.root_id.clone(),
                configuration: wasm.configuration.value.clone().into(),
                allow_on_headers_stop_iteration: wasm.allow_on_headers_stop_iteration,
                time: time_limits(&wasm.limits),
                header_values: match wasm.header_values {
                    weir_config::HeaderValues::Pass => HeaderValues::Pass,
                    weir_config::HeaderValues::Escape => HeaderValues::Escape,
                    weir_config::HeaderValues::Drop => HeaderValues::Drop,
                },
            },
            policy: wasm.failure_policy,
            policies: wasm.failure_policies,
            reload_interval: wasm.reload_config.backoff.base_interval,
            reload_interval_max: wasm.reload_config.backoff.max_interval,
            isolated: wasm.isolation == Isolation::Stream,
            spare: wasm.spare,
            recycle_above: wasm.limits.recycle_above.and_then(size),
            recycle_after: wasm.limits.recycle_after.map(u64::from),
        };
        let key = FilterVmSpec::key(&module, &vm_config, (version, &owner));
        let index = self.vms.iter().position(|d| d.key == key);
        let index = index.unwrap_or_else(|| {
            self.vms.push(Draft {
                key,
                version,
                owner,
                module,
                config: vm_config,
                shared_limits,
                limits: Vec::new(),
                plugins: Vec::new(),
                places: Vec::new(),
            });
            self.vms.len() - 1
        });
        let draft = &mut self.vms[index];
        draft.limits.push(wasm.limits);
        // As in Envoy, plugins that are the same share a root context.
        if let Some(same) = draft.plugins.iter().position(|p| *p == plugin) {
            return Ok((index, same));
        }
        draft.plugins.push(plugin);
        draft.places.push(place);
        Ok((index, draft.plugins.len() - 1))
    }

    /// The compiled module, if it is signed as it must be; each file and text once.
    fn module(
        &mut self,
        config: &Config,
        folder: &Path,
        vm: &weir_config::VmConfig,
        deadline: Deadline,
    ) -> Result<Module, ConfigError> {
        let code = &vm.code.value;
        let span = code.span();
        let mut server = None;
        let source = match code {
            Code::File(name) => Source::File(folder.join(&name.value)),
            Code::Inline(bytes) => Source::Inline(bytes.value.clone().into()),
            Code::Environment(name) => Source::Inline(modules::from_environment(config, name)?),
            Code::Remote(remote) => {
                self.files.extend(RemoteModules::files(folder, remote));
                let found = self.fetched.get(config, remote, vm.verify.is_some())?;
                let source = Source::Inline(found.module.clone());
                server = Some((&remote.uri.value, found));
                source
            }
        };
        let file = source.file();
        let place = self.binary(config, folder, source, span)?;
        let binary = self.binaries[place].1.clone();
        if let Some(verify) = &vm.verify {
            let place = match (&file, &server) {
                (Some(file), _) => signature::Place::File(file),
                (None, Some((uri, found))) => signature::Place::Server {
                    uri,
                    sha256: &found.origin,
                    signatures: &found.signatures,
                },
                (None, None) => signature::Place::Text,
            };
            let origin = signature::Origin { place, span };
            signature::check(config, folder, verify, &binary, origin, &mut self.files)?;
        }
        let same = |(p, m): &&(usize, Module)| *p == place && m.deadline() == deadline;
        if let Some((_, module)) = self.modules.iter().find(same) {
            return Ok(module.clone());
        }
        // While something is served, that is not to suffer.
        let effort = match self.previous {
            Some(_) => Effort::Shared,
            None => Effort::Full,
        };
        let options = CompileOptions { deadline, effort };
        let module = match (self.compiled(&binary, deadline), &self.cache) {
            (Some(module), _) => Ok(module),
            (None, None) => Module::compile_for(&binary, options),
            (None, Some(cache)) => {
                let name = file.as_ref().map(|file| file.display().to_string());
                let name = name.as_deref().unwrap_or("an inline module");
                self.compile_cache.compile(cache, name, &binary, options)
            }
        };
        let module = module.map_err(|error| config.error(span, error.to_string()))?;
        self.modules.push((place, module.clone()));
        Ok(module)
    }

    /// The bytes of a module: their place among those that were read. What is verified
    /// is what is compiled, so a file is read once.
    fn binary(
        &mut self,
        config: &Config,
        folder: &Path,
        source: Source,
        span: Span,
    ) -> Result<usize, ConfigError> {
        if let Some(place) = self.binaries.iter().position(|(s, _)| *s == source) {
            return Ok(place);
        }
        self.files.extend(source.file());
        let binary = match &source {
            Source::File(path) => std::fs::read(path).map(Bytes::from).map_err(|error| {
                let path = path.display();
                config
                    .error(span, format!("cannot read the module {path}: {error}"))
                    .with_help(relative_to(folder))
            })?,
            Source::Inline(bytes) => bytes.clone(),
        };
        self.binaries.push((source, binary));
        Ok(self.binaries.len() - 1)
    }

    /// The module that was compiled from the same bytes.
    fn compiled(&self, binary: &[u8], deadline: Deadline) -> Option<Module> {
        let previous = self.previous?;
        let digest: [u8; 32] = Sha256::digest(binary).into();
        let mut modules = previous.vms.iter().map(|vm| &vm.module);
        let same = modules.find(|m| *m.digest() == digest && m.deadline() == deadline);
        same.cloned()
    }

    /// Tries every VM out that is new, on this thread.
    pub(super) fn finish(
        self,
        config: &Config,
        clusters: &Arc<ClusterNames>,
        errors: &mut Vec<ConfigError>,
    ) -> Vec<Arc<FilterVmSpec>> {
        let mut vms = Vec::with_capacity(self.vms.len());
        let node = Arc::new(config.node.clone());
        for draft in self.vms {
            let spec = FilterVmSpec {
                module: draft.module,
                node: Arc::clone(&node),
                config: VmConfig {
                    limits: vm_limits(&draft.limits),
                    ..draft.config
                },
                log_lines: least(&draft.limits, |l| l.log_lines, LOG_LINES),
                plugins: draft.plugins,
                shared_limits: draft.shared_limits,
                clusters: Arc::clone(clusters),
                version: draft.version,
                owner: draft.owner,
                failures: Arc::default(),
            };
            let mut known = self.previous.into_iter().flat_map(|p| &p.vms);
            if let Some(same) = known.find(|old| old.is_same(&spec)) {
                vms.push(Arc::clone(same));
                continue;
            }
            if let Err(error) = spec.canary() {
                errors.push(start_error(config, &draft.places, &error));
            }
            vms.push(Arc::new(spec));
        }
        vms
    }
}

/// What names of files are relative to, for who has got one wrong.
pub(crate) fn relative_to(folder: &Path) -> &'static str {
    if folder == Path::new(".") {
        "file names are relative to the working directory"
    } else {
        "file names are relative to the folder of this file"
    }
}

/// The plugin's name as the filter sees it: both versions see the same, unless the
/// other one says otherwise.
fn plugin_name(filter: &HttpFilter, wasm: &weir_config::PluginConfig) -> String {
    let names = [&wasm.name, &filter.wasm.name, &filter.name.value];
    let name = names.into_iter().find(|name| !name.is_empty());
    name.cloned().unwrap_or_default()
}

fn start_error(config: &Config, places: &[Origin], error: &StartError) -> ConfigError {
    let place = match error {
        StartError::Load(_) => &places[0],
        StartError::Plugin { index, .. } => &places[*index],
    };
    let (span, help) = match error {
        StartError::Load(_) => (place.code, None),
        StartError::Plugin {
            error: weir_abi::PluginError::Configure,
            ..
        } => (
            place.configuration,
            Some("the filter's own log lines above may say why"),
        ),
        StartError::Plugin { .. } => (
            place.vm,
            Some("the filter's own log lines above may say why"),
        ),
    };
    let Origin {
        listener, filter, ..
    } = place;
    let message = format!("filter `{filter}` of listener `{listener}` does not start: {error}");
    let error = config.error(span, message);
    match help {
        Some(help) => error.with_help(help),
        None => error,
    }
}
