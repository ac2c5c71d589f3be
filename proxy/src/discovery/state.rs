//! [`State`]: what has come, what of it can be served, and what is still awaited.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tokio::sync::{Notify, mpsc, oneshot};
use weir_config::envoy::{
    Leniency, Read, ResourceError, Secrets, read_cluster, read_endpoints, read_extension,
    read_listener, read_routes, read_secret,
};
use weir_config::{Cluster, Listener};
use weir_xds::{Offer, Rejection, Resource, ResourceType, Verdict};

use super::endpoints::EndpointTable;
use super::needs::{Need, all_needs, inline, needs, placeholder};
use super::present::{Candidate, Present};
use super::source::Sources;
use super::view::{Discovered, View};
use crate::reload::Request;

/// Reloads that may fail until it is found which resources are to blame; after that, all
/// that are left of a part are.
const FAILURES_MAX: usize = 64;

/// What has come, what of it can be served, and what is still awaited.
///
/// A listener or cluster is served when all is there that it refers to; until then, what
/// it was before is (Envoy calls this warming).
pub(super) struct State {
    leniency: Leniency,
    /// How long something may be awaited; without end if `None`.
    fetch_timeout: Option<Duration>,
    sources: Sources,
    clusters: HashMap<Arc<str>, Entry<Cluster>>,
    listeners: HashMap<Arc<str>, Entry<Listener>>,
    /// Listeners wait for the clusters that their routes may lead to.
    holds: bool,
    begun: Instant,
    /// What the server has not answered.
    unanswered: HashMap<Need, Waiting>,
    /// Wakes who looks after that.
    waits: Arc<Notify>,
    endpoints: Arc<EndpointTable>,
    discovered: Arc<Discovered>,
    requests: mpsc::Sender<Request>,
}

/// A listener or a cluster, and what it was read from.
struct Entry<T> {
    resource: Arc<Resource>,
    needs: BTreeSet<Need>,
    /// What was in the places of `needs`, in their order.
    given: Vec<Option<Arc<Resource>>>,
    /// `None` as long as something is awaited, or if it cannot be used.
    value: Option<Arc<T>>,
}

/// A listener or a cluster that cannot be served.
struct Culprit {
    kind: ResourceType,
    name: Arc<str>,
    error: String,
}

impl Culprit {
    /// For when nobody is to be told.
    fn log(&self) {
        let Self { kind, name, error } = self;
        tracing::error!("xDS: the {kind} `{name}` cannot be served: {error}");
    }
}

/// What somebody waits for, or does no longer.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    since: Instant,
    is_given_up: bool,
}

/// Whether something is there that is needed.
enum Found {
    There(Arc<Resource>),
    /// There is none.
    Missing,
    /// It has been awaited for long enough, and is done without.
    GivenUp,
    Awaited,
}

impl State {
    pub(super) fn new(
        leniency: Leniency,
        fetch_timeout: Option<Duration>,
        sources: Sources,
        endpoints: Arc<EndpointTable>,
        discovered: Arc<Discovered>,
        requests: mpsc::Sender<Request>,
    ) -> Self {
        Self {
            leniency,
            fetch_timeout,
            sources,
            clusters: HashMap::new(),
            listeners: HashMap::new(),
            holds: false,
            begun: Instant::now(),
            unanswered: HashMap::new(),
            waits: Arc::default(),
            endpoints,
            discovered,
            requests,
        }
    }

    /// Has all sources' offers judged by this, which `state` holds.
    pub(super) fn start(&mut self, state: &Arc<tokio::sync::Mutex<Self>>) {
        self.sources.start(state);
    }

    /// Whether the server of everything has said which resources of these types there
    /// are.
    pub(super) fn has_answers(&self, kinds: &[ResourceType]) -> bool {
        let now = self.sources.snapshot(0);
        kinds.iter().all(|kind| now.is_complete(*kind))
    }

    /// Judges what a source offers, and has it served as far as that is possible.
    pub(super) async fn judge(&mut self, source: usize, offer: Offer) -> Verdict {
        let changes = &offer.changes;
        let mut rejections = Vec::new();
        for resource in changes.added.iter().chain(&changes.changed) {
            if let Err(reason) = self.read(offer.kind, resource) {
                rejections.push(Rejection::new(Arc::clone(&resource.name), reason));
            }
        }
        if offer.kind == ResourceType::Endpoints {
            for name in &changes.removed {
                self.endpoints.set(name, Vec::new());
            }
            if !self.awaited().any(|need| need.kind == offer.kind) {
                // Clusters follow by themselves.
                return Verdict::Partly(rejections);
            }
        }
        let refused = rejections.iter().filter_map(|r| r.name.clone());
        let mut candidate = Candidate {
            source,
            offer: Some(&offer),
            refused: refused.collect(),
        };
        let mut is_blamed = false;
        for culprit in self.apply(&candidate).await {
            let changed = changes.added.iter().chain(&changes.changed);
            let names = changed.map(|resource| &resource.name);
            let names: Vec<_> = names
                .filter(|name| self.is_to_blame(&culprit, offer.kind, name))
                .cloned()
                .collect();
            if names.is_empty() {
                culprit.log();
            }
            is_blamed |= !names.is_empty();
            for name in names {
                if candidate.refused.insert(Arc::clone(&name)) {
                    rejections.push(Rejection::new(name, culprit.error.clone()));
                }
            }
        }
        if is_blamed {
            // What was refused is what it was, and what refers to it.
            self.apply(&candidate).await.iter().for_each(Culprit::log);
        }
        Verdict::Partly(rejections)
    }

    /// Whether this resource may be why something cannot be served: it is that, or is
    /// referred to by it.
    fn is_to_blame(&self, culprit: &Culprit, kind: ResourceType, name: &Arc<str>) -> bool {
        if culprit.kind == kind {
            return culprit.name == *name;
        }
        let needs = match culprit.kind {
            ResourceType::Cluster => self.clusters.get(&culprit.name).map(|entry| &entry.needs),
            _ => self.listeners.get(&culprit.name).map(|entry| &entry.needs),
        };
        // Endpoints are no part of what is served.
        let mut needs = needs.into_iter().flatten();
        kind != ResourceType::Endpoints && needs.any(|n| n.kind == kind && n.name == *name)
    }

    /// Serves on without what does not come; whether nothing is awaited any more.
    pub(super) async fn tick(&mut self) -> bool {
        let candidate = Candidate {
            source: 0,
            offer: None,
            refused: HashSet::new(),
        };
        let is_over = |present: &Present<'_>| {
            self.awaited()
                .any(|need| !matches!(self.find(present, need), Found::Awaited))
        };
        let is_over = || is_over(&Present::new(&candidate, &self.sources));
        let is_free = self.holds && !self.holds_listeners(&self.discovered.current());
        if is_free || (self.awaited().next().is_some() && is_over()) {
            self.apply(&candidate).await.iter().for_each(Culprit::log);
        }
        self.is_settled()
    }

    /// What is waited for.
    fn awaited(&self) -> impl Iterator<Item = &Need> {
        let unanswered = self.unanswered.iter();
        let awaited = unanswered.filter(|(_, waiting)| !waiting.is_given_up);
        awaited.map(|(need, _)| need)
    }

    fn is_awaited(&self, need: &Need) -> bool {
        let waiting = self.unanswered.get(need);
        waiting.is_some_and(|waiting| !waiting.is_given_up)
    }

    /// Whether there is nothing to wait for.
    fn is_settled(&self) -> bool {
        self.awaited().next().is_none() && !self.holds
    }

    /// Is notified when there is something to wait for.
    pub(super) fn waits(&self) -> Arc<Notify> {
        Arc::clone(&self.waits)
    }

    /// Whether it is not known yet which clusters there are, or where one is that is new:
    /// as in Envoy, listeners come after them.
    fn holds_listeners(&self, before: &View) -> bool {
        let is_late = self
            .fetch_timeout
            .is_some_and(|t| self.begun.elapsed() >= t);
        if !self.sources.snapshot(0).is_complete(ResourceType::Cluster) && !is_late {
            return true;
        }
        let clusters = self.clusters.iter();
        let mut new = clusters.filter(|(name, _)| !before.clusters.contains_key(*name));
        new.any(|(_, entry)| {
            let mut needs = entry.needs.iter();
            needs.any(|need| need.kind == ResourceType::Endpoints && self.is_awaited(need))
        })
    }

    /// Reads one resource, for what is wrong with it.
    fn read(&self, kind: ResourceType, resource: &Arc<Resource>) -> Result<(), String> {
        let json = resource.to_json().map_err(|error| error.to_string())?;
        match kind {
            ResourceType::Endpoints => {
                let read = self.outcome(resource, read_endpoints(&json, self.leniency))?;
                self.endpoints.set(&resource.name, read);
                Ok(())
            }
            ResourceType::Routes => self.outcome(resource, read_routes(&json, self.leniency)),
            ResourceType::Extension => self.outcome(resource, read_extension(&json, self.leniency)),
            ResourceType::Secret => self.outcome(resource, read_secret(&json, self.leniency)),
            ResourceType::Cluster => {
                let json = self.with_placeholders(json)?;
                let read = read_cluster(&json, Secrets::Awaited, self.leniency);
                self.outcome(resource, read).map(drop)
            }
            ResourceType::Listener => {
                let json = self.with_placeholders(json)?;
                let read = read_listener(&json, Secrets::Awaited, self.leniency);
                self.outcome(resource, read).map(drop)
            }
        }
    }

    /// A resource with something in the place of all that it refers to.
    fn with_placeholders(&self, mut json: Json) -> Result<Json, String> {
        for need in needs(&json)? {
            self.sources.check(&need.origin)?;
        }
        let whole = json.clone();
        inline(&mut json, &|need| Ok(placeholder(need, &whole)))?;
        Ok(json)
    }

    fn outcome<T>(&self, resource: &Resource, read: Read<T>) -> Result<T, String> {
        let read = read.map_err(|error| error.to_string())?;
        for warning in read.warnings {
            tracing::warn!(resource = &*resource.name, "xDS: {warning}");
        }
        Ok(read.value)
    }

    /// Asks for what is needed, and has served what can be. What cannot be is what it was
    /// before, and told.
    async fn apply(&mut self, candidate: &Candidate<'_>) -> Vec<Culprit> {
        let present = Present::new(candidate, &self.sources);
        let clusters = present
            .all(ResourceType::Cluster)
            .into_iter()
            .map(|resource| {
                let before = self.clusters.get(&resource.name);
                let read = |json: &Json, secrets: Secrets<'_>| {
                    read_cluster(json, secrets, self.leniency).map(|read| read.value)
                };
                let entry = self.entry(&present, &resource, before, read);
                (Arc::clone(&resource.name), entry)
            });
        let clusters: HashMap<_, _> = clusters.collect();
        let listeners = present
            .all(ResourceType::Listener)
            .into_iter()
            .map(|resource| {
                let before = self.listeners.get(&resource.name);
                let read = |json: &Json, secrets: Secrets<'_>| {
                    read_listener(json, secrets, self.leniency).map(|read| read.value)
                };
                let entry = self.entry(&present, &resource, before, read);
                (Arc::clone(&resource.name), entry)
            });
        let listeners: HashMap<_, _> = listeners.collect();
        let needs = clusters.values().flat_map(|entry| &entry.needs);
        let needs = needs.chain(listeners.values().flat_map(|entry| &entry.needs));
        let wanted: BTreeSet<_> = needs.cloned().collect();
        (self.clusters, self.listeners) = (clusters, listeners);
        self.sources.subscribe(&wanted);
        self.wait_for(&Present::new(candidate, &self.sources), &wanted);
        let before = self.discovered.current();
        self.holds = self.holds_listeners(&before);
        let mut view = View {
            clusters: self.usable(&self.clusters, &before.clusters),
            listeners: self.usable(&self.listeners, &before.listeners),
        };
        if self.holds {
            view.listeners = view.among(&before).listeners;
        }
        let culprits = if view.is_same(&before) {
            Vec::new()
        } else {
            self.serve(before, view).await
        };
        for culprit in &culprits {
            // Until it, or something that it refers to, is another.
            match culprit.kind {
                ResourceType::Cluster => forget(&mut self.clusters, &culprit.name),
                _ => forget(&mut self.listeners, &culprit.name),
            }
        }
        let names = wanted
            .iter()
            .filter(|need| need.kind == ResourceType::Endpoints);
        let names: HashSet<&str> = names.map(|need| &*need.name).collect();
        self.endpoints.keep(|name| names.contains(name));
        if !self.is_settled() {
            self.waits.notify_one();
        }
        culprits
    }

    /// Has a view served in the place of the one before, or as much of it as can be; gives
    /// what cannot.
    async fn serve(&self, before: Arc<View>, view: View) -> Vec<Culprit> {
        // All of it at first; a part that cannot be served is halved, to find what is to
        // blame. What is gone is left out with the first part that can be.
        let mut culprits = Vec::new();
        let mut served = Arc::clone(&before);
        let mut next = view.among(&before);
        let mut failures = 0;
        let mut parts = vec![view.others_than(&before)];
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let with = next.with(&view, &part);
            let Err(error) = self.try_to_serve(&served, with.clone()).await else {
                next = with;
                served = self.discovered.current();
                continue;
            };
            failures += 1;
            if part.len() > 1 && failures < FAILURES_MAX {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
                continue;
            }
            culprits.extend(part.into_iter().map(|(kind, name)| Culprit {
                kind,
                name,
                error: error.clone(),
            }));
        }
        if !next.is_same(&self.discovered.current())
            && let Err(error) = self.try_to_serve(&served, next).await
        {
            tracing::error!("xDS: what is gone cannot be left out: {error}");
        }
        culprits
    }

    /// Has a view served; on an error, `before` is.
    async fn try_to_serve(&self, before: &Arc<View>, view: View) -> Result<(), String> {
        self.discovered.replace(Arc::new(view));
        let served = self.reload().await;
        if served.is_err() {
            self.discovered.replace(Arc::clone(before));
        }
        served
    }

    /// Has the configuration read anew, with what is discovered.
    async fn reload(&self) -> Result<(), String> {
        let (reply, replied) = oneshot::channel();
        let asked = self.requests.send(Request::Serve(reply)).await;
        asked.map_err(|_| "the process ends".to_owned())?;
        let result = replied.await;
        let result = result.unwrap_or_else(|_| Err("the process ends".to_owned()));
        result.map(drop).map_err(|error| on_one_line(&error))
    }

    /// What is to be served of these: each that can be, or what it was before.
    fn usable<T: PartialEq>(
        &self,
        entries: &HashMap<Arc<str>, Entry<T>>,
        before: &BTreeMap<Arc<str>, Arc<T>>,
    ) -> BTreeMap<Arc<str>, Arc<T>> {
        let usable = entries.iter().filter_map(|(name, entry)| {
            let before = before.get(name);
            let awaits = entry.needs.iter().any(|need| self.is_awaited(need));
            let value = entry.value.as_ref().filter(|_| !awaits);
            // One that says the same is the same.
            let value = value.filter(|value| before.is_none_or(|b| ***value != **b));
            let value = value.or(before)?;
            Some((Arc::clone(name), Arc::clone(value)))
        });
        usable.collect()
    }

    /// Notes what is awaited, since when; endpoints that do not come are none.
    fn wait_for(&mut self, present: &Present<'_>, wanted: &BTreeSet<Need>) {
        let mut unanswered = HashMap::new();
        for need in wanted {
            let found = self.find(present, need);
            let is_given_up = matches!(found, Found::GivenUp);
            if is_given_up || matches!(found, Found::Awaited) {
                let waiting = self.unanswered.get(need);
                let since = waiting.map_or_else(Instant::now, |waiting| waiting.since);
                let waiting = Waiting { since, is_given_up };
                unanswered.insert(need.clone(), waiting);
            }
            if need.kind != ResourceType::Endpoints || self.endpoints.is_known(&need.name) {
                continue;
            }
            match found {
                Found::Awaited => {}
                Found::Missing | Found::GivenUp => {
                    tracing::warn!(name = &*need.name, "xDS: there are no such endpoints");
                    self.endpoints.set(&need.name, Vec::new());
                }
                // They came when nobody followed them any more.
                Found::There(resource) => {
                    if let Err(error) = self.read(need.kind, &resource) {
                        tracing::error!(name = &*need.name, "xDS: {error}");
                    }
                }
            }
        }
        self.unanswered = unanswered;
    }

    fn find(&self, present: &Present<'_>, need: &Need) -> Found {
        let source = self.sources.of(&need.origin);
        let Some(source) = source.filter(|source| *source < present.snapshots.len()) else {
            return Found::Awaited;
        };
        if let Some(resource) = present.get(source, need.kind, &need.name) {
            return Found::There(resource);
        }
        let key = (need.kind, Arc::clone(&need.name));
        let is_answered =
            self.sources.has_asked(source, need) && !present.unanswered[source].contains(&key);
        let is_late = |waiting: &Waiting| {
            waiting.is_given_up
                || self
                    .fetch_timeout
                    .is_some_and(|timeout| waiting.since.elapsed() >= timeout)
        };
        if is_answered {
            Found::Missing
        } else if self.unanswered.get(need).is_some_and(is_late) {
            Found::GivenUp
        } else {
            Found::Awaited
        }
    }

    /// What a resource is, read anew if it or something that it refers to is another.
    fn entry<T>(
        &self,
        present: &Present<'_>,
        resource: &Arc<Resource>,
        before: Option<&Entry<T>>,
        read: impl Fn(&Json, Secrets<'_>) -> Result<T, ResourceError>,
    ) -> Entry<T> {
        let same = before.filter(|before| Arc::ptr_eq(&before.resource, resource));
        let mut json = None;
        let needs = match same {
            Some(same) => same.needs.clone(),
            None => {
                json = resource.to_json().ok();
                json.as_ref().map(all_needs).unwrap_or_default()
            }
        };
        let mut given = Vec::with_capacity(needs.len());
        let mut awaits = false;
        for need in needs
            .iter()
            .filter(|need| need.kind != ResourceType::Endpoints)
        {
            match self.find(present, need) {
                Found::There(resource) => given.push(Some(resource)),
                Found::Missing | Found::GivenUp => given.push(None),
                Found::Awaited => awaits = true,
            }
        }
        if let Some(same) = same
            && (awaits || same.is_given(&given))
        {
            return Entry {
                resource: Arc::clone(resource),
                needs,
                given,
                value: same.value.clone().filter(|_| !awaits),
            };
        }
        let mut value = None;
        if !awaits {
            let json = json.or_else(|| resource.to_json().ok());
            let read = self.read_whole(json.unwrap_or_default(), &needs, &given, read);
            match read {
                Ok(read) => value = Some(Arc::new(read)),
                Err(error) => {
                    tracing::error!(resource = &*resource.name, "xDS: cannot be used: {error}");
                }
            }
        }
        Entry {
            resource: Arc::clone(resource),
            needs,
            given,
            value,
        }
    }

    fn read_whole<T>(
        &self,
        mut json: Json,
        needs: &BTreeSet<Need>,
        given: &[Option<Arc<Resource>>],
        read: impl Fn(&Json, Secrets<'_>) -> Result<T, ResourceError>,
    ) -> Result<T, String> {
        let needs = needs
            .iter()
            .filter(|need| need.kind != ResourceType::Endpoints);
        let given: HashMap<_, _> = needs.zip(given).collect();
        let json_of = |need: &Need| {
            let resource = given.get(need).and_then(|given| given.as_ref());
            let json = resource.map(|resource| resource.to_json());
            json.transpose().map_err(|error| error.to_string())
        };
        inline(&mut json, &json_of)?;
        let secrets = given
            .keys()
            .filter(|need| need.kind == ResourceType::Secret);
        let secrets = secrets.filter_map(|need| json_of(need).transpose());
        let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
        read(&json, Secrets::These(&secrets)).map_err(|error| error.to_string())
    }
}

impl<T> Entry<T> {
    fn is_given(&self, given: &[Option<Arc<Resource>>]) -> bool {
        let is_same = |(a, b): (&Option<Arc<Resource>>, &Option<Arc<Resource>>)| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        self.given.len() == given.len() && self.given.iter().zip(given).all(is_same)
    }
}

/// Has an entry not be served as it is.
fn forget<T>(entries: &mut HashMap<Arc<str>, Entry<T>>, name: &str) {
    if let Some(entry) = entries.get_mut(name) {
        entry.value = None;
    }
}

/// An error for the management server.
fn on_one_line(error: &str) -> String {
    let lines = error.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.map(|line| line.strip_prefix("error: ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("; ")
}
