//! The suites of Weir's filters, played over sockets against both proxies: what a suite
//! expects has to come out of each.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use serde_json::json;
use weir_devtools::{Server, Surroundings, WireSuite, WireTest};

use super::bootstrap::{Places, bootstrap, unique_name};
use super::case::{Case, CaseFile, Group};
use super::proxy::{Kind, Proxy};
use crate::Client;

/// What a run is about.
pub struct Settings<'a> {
    /// The proxies that are there.
    pub proxies: Vec<Kind>,
    /// The folder of the filters, each with its suite.
    pub filters: &'a Path,
    /// The folder of built modules.
    pub modules: &'a Path,
    /// Where configurations and the proxies' logs are left.
    pub scratch: &'a Path,
    /// One filter, `suite-` and its name, or one test of its suite.
    pub only: Option<&'a str>,
}

/// Tests that are not played, by filter and name, and why not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftOut {
    left_out: BTreeMap<String, BTreeMap<String, String>>,
}

/// How many tests there were.
#[derive(Default)]
struct Count {
    played: usize,
    failed: usize,
    left_out: usize,
}

/// Plays the suites of all filters, but for the tests that `list` leaves out. Gives
/// whether everything that was expected has come.
///
/// # Errors
///
/// If a suite or the list makes no sense, or a proxy does not start.
pub async fn run(list: &Path, settings: &Settings<'_>) -> Result<bool> {
    let text =
        fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let list: LeftOut = serde_saphyr::from_str(&text).context("the list of tests left out")?;
    let mut names = BTreeSet::new();
    for folder in fs::read_dir(settings.filters)? {
        let folder = folder?;
        if folder.path().join("tests.yaml").is_file() {
            names.insert(folder.file_name().to_string_lossy().into_owned());
        }
    }
    let strange = list.left_out.keys().find(|name| !names.contains(*name));
    ensure!(strange.is_none(), "there is no suite of {strange:?}");
    let mut sum = Count::default();
    for name in &names {
        let group = format!("suite-{name}");
        let (asked, only) = match settings.only {
            None => (group.as_str(), ""),
            Some(only) => only.split_once('/').unwrap_or((only, "")),
        };
        if asked == group {
            let none = BTreeMap::new();
            let left_out = list.left_out.get(name).unwrap_or(&none);
            let count = FilterRun { name, settings }.run(left_out, only).await;
            let count = count.with_context(|| format!("the suite of {name}"))?;
            sum.played += count.played;
            sum.failed += count.failed;
            sum.left_out += count.left_out;
        }
    }
    if sum.played + sum.left_out > 0 {
        let with: Vec<_> = settings.proxies.iter().map(Kind::name).collect();
        println!(
            "suites of filters: {} tests with {}, {} failed, {} left out",
            sum.played,
            with.join(" and "),
            sum.failed,
            sum.left_out
        );
    }
    Ok(sum.failed == 0)
}

struct FilterRun<'a> {
    name: &'a str,
    settings: &'a Settings<'a>,
}

impl FilterRun<'_> {
    async fn run(&self, left_out: &BTreeMap<String, String>, only: &str) -> Result<Count> {
        let path = self.settings.filters.join(self.name).join("tests.yaml");
        let suite = WireSuite::read(&path).map_err(|error| anyhow!(error))?;
        let tests: Vec<_> = suite.tests().collect();
        let strange = left_out
            .keys()
            .find(|name| tests.iter().all(|test| test.name() != *name));
        ensure!(
            strange.is_none(),
            "there is no test {strange:?} to leave out"
        );
        let (left_out, tests): (Vec<_>, Vec<_>) = tests
            .into_iter()
            .partition(|test| left_out.contains_key(test.name()));
        for test in &tests {
            if let Some(obstacle) = test.obstacle() {
                let name = test.name();
                return Err(anyhow!(
                    "`{name}` cannot be played over sockets: {obstacle}"
                ));
            }
        }
        let tests: Vec<_> = tests
            .into_iter()
            .filter(|test| only.is_empty() || test.name() == only)
            .collect();
        ensure!(
            only.is_empty() || !tests.is_empty(),
            "no test that is played is called `{only}`"
        );
        let mut count = Count {
            played: tests.len(),
            failed: 0,
            left_out: left_out.len(),
        };
        for kind in &self.settings.proxies {
            for (test, failures) in self.play(kind, &tests).await? {
                if !failures.is_empty() {
                    count.failed += 1;
                    println!("\n{} with {}: {test}", self.name, kind.name());
                    failures.iter().for_each(|failure| print!("{failure}"));
                }
            }
        }
        Ok(count)
    }

    async fn play<'t>(
        &self,
        kind: &Kind,
        tests: &[WireTest<'t>],
    ) -> Result<Vec<(String, Vec<String>)>> {
        let (refused, played): (Vec<_>, Vec<_>) =
            tests.iter().copied().partition(WireTest::is_refused);
        let mut results = Vec::new();
        if !played.is_empty() {
            let stage = Stage::new(self, &played, "played")?;
            let proxy = kind.start(&stage.file, &stage.folder).await?;
            let running = Running::new(proxy, &stage);
            let cases = stage.group.cases.iter().zip(&stage.upstreams);
            for (test, (case, upstream)) in played.iter().zip(cases) {
                let failures = running.play(*test, case, upstream)?;
                results.push((test.name().to_owned(), failures));
            }
        }
        for (number, test) in refused.into_iter().enumerate() {
            let stage = Stage::new(self, &[test], &format!("refused-{number}"))?;
            let failures = match kind.refusal(&stage.file, &stage.folder).await? {
                None => vec!["the filter has started\n".to_owned()],
                Some(log) => test.check_refusal(&log),
            };
            results.push((test.name().to_owned(), failures));
        }
        Ok(results)
    }
}

/// Tests that are ready to be played, with a listener and an upstream each.
struct Stage {
    group: Group,
    /// One for each test.
    upstreams: Vec<Server>,
    clusters: BTreeMap<String, Server>,
    folder: PathBuf,
    file: PathBuf,
}

impl Stage {
    /// In a folder called `name`, among those of the suite.
    fn new(run: &FilterRun<'_>, tests: &[WireTest<'_>], name: &str) -> Result<Self> {
        let cases = tests.iter().enumerate();
        let cases = cases.map(|(number, test)| case(run.name, number, test));
        let group = Group {
            name: format!("suite-{}", run.name),
            about: String::new(),
            apart: false,
            cases: cases.collect::<Result<_>>()?,
        };
        let folder = run.settings.scratch.join(&group.name).join(name);
        fs::create_dir_all(&folder)?;
        let names = tests.iter().flat_map(WireTest::clusters);
        let names: BTreeSet<_> = names.collect();
        let servers = names
            .iter()
            .map(|name| Ok(((*name).to_owned(), Server::http()?)));
        let clusters = servers.collect::<Result<BTreeMap<_, _>>>()?;
        let more = clusters.iter();
        let more: Vec<_> = more
            .map(|(name, server)| (name.clone(), server.address()))
            .collect();
        let upstreams = tests.iter().map(|test| match test.is_tcp() {
            true => Server::tcp(),
            false => Server::http(),
        });
        let upstreams = upstreams.collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<_> = upstreams.iter().map(Server::address).collect();
        let places = Places {
            modules: run.settings.modules,
            scratch: &folder,
            nobody: crate::nobody(),
            more: &more,
        };
        let cases: Vec<_> = group.cases.iter().collect();
        let bootstrap = bootstrap(&group, &cases, &addresses, &places)?;
        let file = folder.join("bootstrap.json");
        fs::write(&file, serde_json::to_string_pretty(&bootstrap)?)?;
        Ok(Self {
            group,
            upstreams,
            clusters,
            folder,
            file,
        })
    }
}

fn case(module: &str, number: usize, test: &WireTest<'_>) -> Result<Case> {
    let text = String::from_utf8_lossy(test.configuration());
    let mut manager = json!({
        "server_header_transformation": "PASS_THROUGH",
        "upgrade_configs": [{ "upgrade_type": "websocket" }],
    });
    if test.names_client() {
        manager["use_remote_address"] = json!(true);
        manager["skip_xff_append"] = json!(true);
    }
    let protocol = if test.is_tcp() { "tcp" } else { "h1" };
    let case: CaseFile = serde_json::from_value(json!({
        "name": format!("t{number}"),
        "about": test.name(),
        "filters": [{
            "module": module,
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": text,
            },
            "allow_on_headers_stop_iteration": test.allow_on_headers_stop_iteration(),
        }],
        "downstream_protocol": protocol,
        "upstream_protocol": protocol,
        "connection_manager": manager,
    }))?;
    Case::new(case)
}

/// A proxy with all filters of a stage.
struct Running<'s> {
    proxy: RefCell<Proxy>,
    stage: &'s Stage,
    /// Lines of the filters, by the names of their cases.
    log: RefCell<BTreeMap<String, Vec<String>>>,
}

impl<'s> Running<'s> {
    fn new(proxy: Proxy, stage: &'s Stage) -> Self {
        Self {
            proxy: RefCell::new(proxy),
            stage,
            log: RefCell::default(),
        }
    }

    fn play(&self, test: WireTest<'_>, case: &Case, upstream: &Server) -> Result<Vec<String>> {
        let name = unique_name(&self.stage.group, case);
        let edge = self.proxy.borrow().listeners.get(&name).copied();
        let edge = edge.with_context(|| format!("no listener {name}"))?;
        let failures = test.play(&Surroundings {
            edge,
            upstream,
            clusters: &self.stage.clusters,
            log: &|| self.log(&name),
            metric: &|metric| self.metric(metric),
        });
        match self.proxy.borrow_mut().ended() {
            Some(how) => Ok(vec![format!("the proxy has ended with {how}\n")]),
            None => Ok(failures),
        }
    }

    fn log(&self, case: &str) -> Vec<String> {
        let mut log = self.log.borrow_mut();
        while let Ok(line) = self.proxy.borrow_mut().guest_lines.try_recv() {
            let (case, _) = line.plugin.rsplit_once('/').unwrap_or_default();
            log.entry(case.to_owned()).or_default().push(line.text);
        }
        log.get(case).cloned().unwrap_or_default()
    }

    fn metric(&self, name: &str) -> u64 {
        let admin = self.proxy.borrow().admin();
        let mut client = Client::connect_as(admin, admin.to_string());
        let stats = client.get("/stats").text();
        let prefix = format!("wasmcustom.{name}: ");
        let value = stats.lines().find_map(|line| line.strip_prefix(&prefix));
        value
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    }
}
