//! Cases: what is configured, what client and upstream do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::step::Step;

/// What the client does when the case does not say.
const DEFAULT_CLIENT: &str = "GET /x";
/// The same over raw TCP.
const DEFAULT_TCP_CLIENT: [&str; 4] = ["raw ping", "receive pong", "half_close", "closed"];
const DEFAULT_TCP_UPSTREAM: [&str; 3] = ["receive ping", "raw pong", "closed"];
/// What the upstream does when the case does not say.
const DEFAULT_UPSTREAM: [&str; 2] = ["200 | content-type: text/plain", "body hello"];

/// A file of cases, which run against one process of each proxy.
#[derive(Debug)]
pub struct Group {
    /// The file's stem.
    pub name: String,
    /// One line.
    pub about: String,
    /// Each case has a process of its own: some do not start.
    pub apart: bool,
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug)]
pub struct Case {
    /// Unique in its group.
    pub name: String,
    /// One line.
    pub about: String,
    /// The filter chain.
    pub filters: Vec<Filter>,
    /// Access loggers of the connection manager.
    pub loggers: Vec<Filter>,
    /// Format of an access log, whose lines are told; the proxy is asked to end
    /// for them, as `terminate` says.
    pub access_log: Option<String>,
    /// Scripts of clients, each with a connection of its own, all at once.
    pub clients: Vec<(String, Vec<Step>)>,
    /// What the upstream does, by path; `*` is for all others.
    pub upstreams: BTreeMap<String, Vec<Step>>,
    /// Protocol of the clients.
    pub downstream_protocol: Protocol,
    /// Protocol of the upstream.
    pub upstream_protocol: Protocol,
    /// Merged into Envoy's connection manager, TCP proxy, cluster and listener.
    pub connection_manager: Map<String, Value>,
    pub tcp_proxy: Map<String, Value>,
    pub cluster: Map<String, Value>,
    pub listener: Map<String, Value>,
    /// In place of one route for everything.
    pub routes: Option<Value>,
    /// Bodies come in any number of pieces: the guest's callbacks for them are
    /// told as one.
    pub any_chunks: bool,
    /// In the end the proxy is asked to end, and what guests do then is told. For
    /// groups whose cases run apart.
    pub terminate: bool,
    /// The start of the guest is told, even if nothing is done in it.
    pub start: bool,
    /// Rows of `DIFFERENCES.md`.
    pub differs: Vec<String>,
    /// The real Envoy is not started for it.
    pub crashes_envoy: bool,
}

/// A filter of a chain.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// `a`, `b`, … by default.
    pub name: Option<String>,
    /// What the probe does.
    pub script: Option<String>,
    /// A module as text, in the place of the probe.
    pub wat: Option<String>,
    /// Another module that the build leaves, in the place of the probe.
    pub module: Option<String>,
    /// What the proxy has of its own in the place of a guest: its `typed_config`.
    pub native: Option<Value>,
    /// The configuration as Envoy has it, in the place of the script; without
    /// `@type`, the guest gets it as JSON.
    pub configuration: Option<Value>,
    /// The VM's configuration as Envoy has it.
    pub vm_configuration: Option<Value>,
    /// Its own by default.
    pub vm_id: Option<String>,
    pub root_id: Option<String>,
    pub environment: Option<Map<String, Value>>,
    #[serde(default)]
    pub allow_on_headers_stop_iteration: bool,
    pub failure_policy: Option<String>,
    /// Any other fields of `PluginConfig`.
    #[serde(default)]
    pub plugin: Map<String, Value>,
}

/// HTTP/1.1, HTTP/2, or bytes as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    H1,
    H2,
    Tcp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupFile {
    about: String,
    #[serde(default)]
    apart: bool,
    /// All listeners pass connections on as they are.
    #[serde(default)]
    tcp: bool,
    cases: Vec<CaseFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseFile {
    name: String,
    about: String,
    script: Option<String>,
    filters: Option<Vec<Filter>>,
    #[serde(default)]
    loggers: Vec<Filter>,
    access_log: Option<String>,
    #[serde(default)]
    allow_on_headers_stop_iteration: bool,
    failure_policy: Option<String>,
    client: Option<Lines>,
    clients: Option<BTreeMap<String, Lines>>,
    upstream: Option<Lines>,
    upstreams: Option<BTreeMap<String, Lines>>,
    #[serde(default)]
    downstream_protocol: Protocol,
    #[serde(default)]
    upstream_protocol: Protocol,
    #[serde(default)]
    connection_manager: Map<String, Value>,
    #[serde(default)]
    tcp_proxy: Map<String, Value>,
    #[serde(default)]
    cluster: Map<String, Value>,
    #[serde(default)]
    listener: Map<String, Value>,
    routes: Option<Value>,
    #[serde(default)]
    any_chunks: bool,
    #[serde(default)]
    terminate: bool,
    #[serde(default)]
    start: bool,
    #[serde(default)]
    differs: Lines,
    envoy: Option<String>,
}

/// Lines of a text, or of a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lines {
    /// A bare status.
    Number(u16),
    One(String),
    Many(Vec<String>),
}

impl Default for Lines {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Lines {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::Number(number) => vec![number.to_string()],
            Self::One(text) => text
                .lines()
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect(),
            Self::Many(lines) => lines,
        }
    }

    fn steps(self) -> Result<Vec<Step>> {
        let lines = self.into_vec();
        lines.iter().map(|line| Step::parse(line)).collect()
    }
}

impl Group {
    /// Reads all groups of a folder, in the order of their names.
    ///
    /// # Errors
    ///
    /// Names the file and the place in it.
    pub fn load_all(folder: &Path) -> Result<Vec<Self>> {
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "yaml")
        });
        files.sort();
        files.iter().map(|file| Self::load(file)).collect()
    }

    fn load(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)?;
        let place = || format!("in {}", file.display());
        let parsed: GroupFile = serde_saphyr::from_str(&text).with_context(place)?;
        let mut cases: Vec<Case> = Vec::new();
        for mut case in parsed.cases {
            if parsed.tcp {
                case.downstream_protocol = Protocol::Tcp;
                case.upstream_protocol = Protocol::Tcp;
            }
            let name = case.name.clone();
            let case = Case::new(case)
                .with_context(|| format!("case {name}"))
                .with_context(place)?;
            ensure!(
                cases.iter().all(|other| other.name != case.name),
                "{}: two cases are named {name}",
                file.display()
            );
            cases.push(case);
        }
        Ok(Self {
            name: file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            about: parsed.about,
            apart: parsed.apart,
            cases,
        })
    }
}

impl Case {
    pub(super) fn new(file: CaseFile) -> Result<Self> {
        let tcp = file.downstream_protocol == Protocol::Tcp;
        let steps = |lines: &[&str]| -> Result<Vec<Step>> {
            lines.iter().map(|line| Step::parse(line)).collect()
        };
        let mut filters = match (file.filters, file.script) {
            (Some(filters), None) => filters,
            (None, script) => vec![Filter::probe(script.unwrap_or_default())],
            (Some(_), Some(_)) => bail!("either `script` or `filters`"),
        };
        for (index, filter) in filters.iter_mut().enumerate() {
            let letter = char::from(b'a' + u8::try_from(index).unwrap_or(0));
            filter.name.get_or_insert_with(|| letter.to_string());
            filter.allow_on_headers_stop_iteration |= file.allow_on_headers_stop_iteration;
            if filter.failure_policy.is_none() {
                filter.failure_policy.clone_from(&file.failure_policy);
            }
        }
        let mut loggers = file.loggers;
        for (index, logger) in loggers.iter_mut().enumerate() {
            logger.name.get_or_insert_with(|| format!("log{index}"));
        }
        let clients = match (file.client, file.clients) {
            (Some(client), None) => vec![(String::new(), client.steps()?)],
            (None, Some(clients)) => {
                let clients = clients.into_iter();
                clients
                    .map(|(name, lines)| Ok((name, lines.steps()?)))
                    .collect::<Result<_>>()?
            }
            (None, None) if tcp => vec![(String::new(), steps(&DEFAULT_TCP_CLIENT)?)],
            (None, None) => vec![(String::new(), steps(&[DEFAULT_CLIENT])?)],
            (Some(_), Some(_)) => bail!("either `client` or `clients`"),
        };
        let mut upstreams = BTreeMap::new();
        for (path, lines) in file.upstreams.unwrap_or_default() {
            upstreams.insert(path, lines.steps()?);
        }
        let default: &[&str] = match tcp {
            true => &DEFAULT_TCP_UPSTREAM,
            false => &DEFAULT_UPSTREAM,
        };
        let answer = match file.upstream {
            Some(lines) => lines.steps()?,
            None => steps(default)?,
        };
        upstreams.insert("*".to_owned(), answer);
        Ok(Self {
            name: file.name,
            about: file.about,
            filters,
            loggers,
            access_log: file.access_log,
            clients,
            upstreams,
            downstream_protocol: file.downstream_protocol,
            upstream_protocol: file.upstream_protocol,
            connection_manager: file.connection_manager,
            tcp_proxy: file.tcp_proxy,
            cluster: file.cluster,
            listener: file.listener,
            routes: file.routes,
            any_chunks: file.any_chunks,
            terminate: file.terminate,
            start: file.start,
            differs: file.differs.into_vec(),
            crashes_envoy: match file.envoy.as_deref() {
                None => false,
                Some("crashes") => true,
                Some(other) => bail!("`envoy` is `{other}`, it can only be `crashes`"),
            },
        })
    }
}

impl Filter {
    /// The probe with a script.
    #[must_use]
    pub fn probe(script: String) -> Self {
        Self {
            name: None,
            script: Some(script),
            native: None,
            wat: None,
            module: None,
            configuration: None,
            vm_configuration: None,
            vm_id: None,
            root_id: None,
            environment: None,
            allow_on_headers_stop_iteration: false,
            failure_policy: None,
            plugin: Map::new(),
        }
    }
}
