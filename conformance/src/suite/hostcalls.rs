//! Every hostcall in every callback: which status it has, by Envoy and by Weir.

mod grid;
mod plan;

use std::path::Path;

use anyhow::Result;

use self::grid::Grid;
use self::plan::Plan;
use super::case::Group;
use super::proxy::Kind;
use super::run::observe;
use super::table::Row;

/// What a run is about.
pub struct Settings<'a> {
    pub envoy: Option<Kind>,
    pub weir: Option<Kind>,
    /// The folder of built guests.
    pub modules: &'a Path,
    /// Where configurations and the proxies' logs are left.
    pub scratch: &'a Path,
    /// The folder of tables.
    pub expected: &'a Path,
    /// Whether the tables are to say what Envoy does now, and what Weir does where it
    /// differs on purpose.
    pub record: bool,
    pub record_weir: bool,
    /// One group, `hostcalls-` and a version, or one callback of it.
    pub only: Option<&'a str>,
}

/// Plays the hostcalls that `file` lists in each version of the ABI, and compares
/// status by status. Gives a row a version that was asked for.
///
/// # Errors
///
/// If the file makes no sense, or a proxy does not start.
pub async fn run(
    file: &Path,
    known: impl Fn(&str) -> bool,
    settings: &Settings<'_>,
) -> Result<Vec<Row>> {
    let plan = Plan::load(file, known)?;
    let mut rows = Vec::new();
    for version in plan.versions() {
        let group = format!("hostcalls-{version}");
        let (asked, callback) = match settings.only {
            None => (group.as_str(), ""),
            Some(only) => only.split_once('/').unwrap_or((only, "")),
        };
        if asked == group {
            let run = VersionRun {
                plan: &plan,
                version,
                group: &group,
                callback,
                settings,
            };
            rows.push(run.run().await?);
        }
    }
    Ok(rows)
}

/// A run in one version of the ABI.
struct VersionRun<'a> {
    plan: &'a Plan,
    version: &'a str,
    group: &'a str,
    /// The only one, or empty for all.
    callback: &'a str,
    settings: &'a Settings<'a>,
}

impl VersionRun<'_> {
    async fn run(&self) -> Result<Row> {
        let (plan, settings) = (self.plan, self.settings);
        let file = settings.expected.join(format!("{}.txt", self.group));
        let mut recorded = Grid::load(&file)?;
        let envoy = self.play(settings.envoy.as_ref()).await?;
        let weir = self.play(settings.weir.as_ref()).await?;
        let (operations, callbacks) = (plan.operations(self.version), plan.callbacks());
        if let (true, Some(envoy)) = (settings.record, &envoy) {
            recorded.take_envoy(envoy);
        }
        if let (true, Some(weir)) = (settings.record_weir, &weir) {
            recorded.take_weir(weir, |operation, callback| {
                plan.differs(operation, callback)
            });
        }
        if settings.record || settings.record_weir {
            recorded.save(&file, self.version, &operations, &callbacks)?;
        }
        let mut row = Row {
            group: self.group.to_owned(),
            ..Row::default()
        };
        for operation in &operations {
            for callback in &callbacks {
                if !self.asks_for(callback) {
                    continue;
                }
                row.cases += 1;
                let by_envoy = recorded.status(operation, callback);
                let (expected, on_purpose) = recorded.expected(operation, callback);
                let now = |grid: &Option<Grid>| {
                    let status = grid.as_ref()?.status(operation, callback);
                    Some(status.to_owned())
                };
                let wrong = match (now(&envoy), now(&weir)) {
                    (Some(envoy), _) if envoy != by_envoy => {
                        format!("recorded of Envoy is {by_envoy}, now it gives {envoy}")
                    }
                    (_, Some(weir)) if weir != expected => {
                        format!("Weir is to give {expected}, it gives {weir}")
                    }
                    (_, weir) => {
                        *match (weir, on_purpose) {
                            (None, _) => &mut row.not_compared,
                            (Some(_), true) => &mut row.on_purpose,
                            (Some(_), false) => &mut row.equal,
                        } += 1;
                        continue;
                    }
                };
                row.different += 1;
                println!("{}/{callback}: {operation}: {wrong}", self.group);
            }
        }
        Ok(row)
    }

    fn asks_for(&self, callback: &str) -> bool {
        self.callback.is_empty() || self.callback == callback
    }

    /// The statuses that a proxy gives now.
    async fn play(&self, kind: Option<&Kind>) -> Result<Option<Grid>> {
        let Some(kind) = kind else {
            return Ok(None);
        };
        let mut grid = Grid::default();
        let spare = matches!(kind, Kind::Envoy(_));
        let asked = |callback: &str| self.asks_for(callback);
        let processes = self.plan.processes(self.version, asked, spare)?;
        for (number, plays) in processes.into_iter().enumerate() {
            let mut group = Group {
                name: self.group.to_owned(),
                about: String::new(),
                apart: false,
                cases: Vec::new(),
            };
            let mut read = Vec::new();
            for play in plays {
                read.push((play.callback, play.operations));
                group.cases.push(play.case);
            }
            let folder = self
                .settings
                .scratch
                .join(self.group)
                .join(number.to_string());
            let cases: Vec<_> = group.cases.iter().collect();
            let seen = observe(kind, &group, &cases, self.settings.modules, &folder).await?;
            for (case, (callback, operations)) in cases.iter().zip(&read) {
                for operation in operations {
                    grid.read(operation, callback, &seen[&case.name].lines);
                }
            }
        }
        Ok(Some(grid))
    }
}
