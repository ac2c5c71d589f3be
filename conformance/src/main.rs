//! Runs the conformance suite; `cargo xtask conformance` is the comfortable way.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::task::LocalSet;
use weir_conformance::suite::case::{Case, Group};
use weir_conformance::suite::diff::diff;
use weir_conformance::suite::differences;
use weir_conformance::suite::observation::Observation;
use weir_conformance::suite::open::{Open, Verdicts};
use weir_conformance::suite::proxy::Kind;
use weir_conformance::suite::random;
use weir_conformance::suite::record::{Record, Whose};
use weir_conformance::suite::run::{Observations, observe};
use weir_conformance::suite::table::{Row, table};
use weir_conformance::suite::verdict::{Evidence, Verdict, judge};

/// Plays the same cases against Weir and a real Envoy, and compares.
#[derive(Parser)]
struct Options {
    /// The real Envoy; without it Weir is compared with what was recorded.
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// Weir; without it only the real Envoy is run.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// The folder of built guests.
    #[arg(long)]
    modules: PathBuf,
    /// Where configurations and the proxies' logs are left.
    #[arg(long)]
    scratch: PathBuf,
    /// Record what the real Envoy does.
    #[arg(long)]
    record: bool,
    /// Record what Weir does in the cases in which it differs on purpose.
    #[arg(long)]
    record_weir: bool,
    /// Record which cases differ and are not to: a list that is to become empty.
    #[arg(long)]
    record_open: bool,
    /// Only one group, or one case of it.
    #[arg(long, value_name = "GROUP[/CASE]")]
    only: Option<String>,
    /// In the place of the cases, make some by chance, from this seed.
    #[arg(long, value_name = "SEED", requires_all = ["envoy", "weir"])]
    random: Option<u64>,
    /// How many of them.
    #[arg(long, default_value_t = 50, requires = "random")]
    count: usize,
    /// Show what was observed in every case.
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = runtime
        .map_err(Into::into)
        .and_then(|runtime| LocalSet::new().block_on(&runtime, run(&options)));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Gives whether every difference is known.
async fn run(options: &Options) -> Result<bool> {
    if let Some(seed) = options.random {
        return random(options, seed).await;
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let groups = Group::load_all(&home.join("cases"))?;
    differences::check(&groups, &differences::ids(&home.join("DIFFERENCES.md"))?)?;
    let expected = home.join("expected");
    let mut open = Open::load(&expected);
    let mut rows = Vec::new();
    for group in &groups {
        let cases = chosen(group, options.only.as_deref());
        if cases.is_empty() {
            continue;
        }
        let run = GroupRun {
            options,
            group,
            cases,
            expected: &expected,
        };
        let verdicts = run
            .run()
            .await
            .with_context(|| format!("group {}", group.name))?;
        if options.record_open {
            open.update(&group.name, &verdicts);
        }
        rows.push(run.tell(&verdicts, &open));
    }
    if options.record_open {
        open.save(&expected)?;
    }
    print!("\n{}", table(&rows));
    Ok(rows.iter().all(|row| row.different == 0))
}

/// How often a case that does not come out as it should is played again, among
/// fewer others: on a busy machine a pause of a script may be too short for one.
const RETRIES: usize = 2;

/// How often both proxies play a case made by chance in which they differ. Where
/// a timer is due while a message arrives, say, a case has more than one outcome.
const ROUNDS: usize = 6;

/// Compares both proxies on cases made by chance. Those in which they differ are
/// played again: they are different if no outcome of the one is one of the other.
/// A case that Envoy does not answer twice in the same way shows nothing.
async fn random(options: &Options, seed: u64) -> Result<bool> {
    let group = random::group(seed, options.count);
    let mut run = GroupRun {
        options,
        group: &group,
        cases: chosen(&group, options.only.as_deref()),
        expected: Path::new(""),
    };
    let [Some(envoy), Some(weir)] = [&options.envoy, &options.weir] else {
        bail!("it takes both proxies");
    };
    let (envoy, weir) = (Kind::Envoy(envoy.clone()), Kind::Weir(weir.clone()));
    let count = run.cases.len();
    let mut outcomes: BTreeMap<&str, [Vec<Observation>; 2]> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for (whose, kind) in [&envoy, &weir].into_iter().enumerate() {
            let mut seen = run.observe(kind).await?;
            for case in &run.cases {
                let seen = seen.remove(&case.name);
                outcomes.entry(&case.name).or_default()[whose].extend(seen);
            }
        }
        run.cases.retain(|case| {
            let [envoy, weir] = &outcomes[case.name.as_str()];
            !envoy.iter().any(|seen| weir.contains(seen))
        });
        if run.cases.is_empty() {
            break;
        }
    }
    let (mut unsteady, mut different) = (0, 0);
    for case in &run.cases {
        let [envoy, weir] = &outcomes[case.name.as_str()];
        let lines = |seen: &[Observation]| seen.first().map_or(Vec::new(), |s| s.lines.clone());
        if envoy.windows(2).any(|two| two[0] != two[1]) {
            unsteady += 1;
            if options.verbose {
                let last = &envoy[envoy.len() - 1..];
                let difference = diff(&lines(envoy), &lines(last));
                run.print(case, "Envoy differs from itself", &difference);
            }
            continue;
        }
        different += 1;
        for filter in &case.filters {
            println!("{}", filter.script.as_deref().unwrap_or_default());
        }
        let difference = diff(&lines(envoy), &lines(weir));
        run.print(case, "Weir differs from Envoy", &difference);
    }
    println!(
        "seed {seed}: {count} cases, {different} different, {unsteady} in which Envoy differs from itself"
    );
    Ok(different == 0)
}

fn chosen<'a>(group: &'a Group, only: Option<&str>) -> Vec<&'a Case> {
    let (name, case) = match only.map(|only| only.split_once('/').unwrap_or((only, ""))) {
        None => (group.name.as_str(), ""),
        Some(only) => only,
    };
    let cases = group
        .cases
        .iter()
        .filter(|own| name == group.name && (case.is_empty() || case == own.name));
    cases.collect()
}

struct GroupRun<'a> {
    options: &'a Options,
    group: &'a Group,
    cases: Vec<&'a Case>,
    expected: &'a Path,
}

impl GroupRun<'_> {
    /// Envoy is spared the cases that crash it.
    async fn observe(&self, kind: &Kind) -> Result<Observations> {
        let (harmful, harmless): (Vec<&Case>, Vec<&Case>) = self
            .cases
            .iter()
            .copied()
            .partition(|case| case.crashes_envoy);
        let folder = self.options.scratch.join(&self.group.name);
        let modules = &self.options.modules;
        let mut seen = observe(kind, self.group, &harmless, modules, &folder).await?;
        if let Kind::Weir(_) = kind {
            let folder = folder.join("crashes-envoy");
            seen.extend(observe(kind, self.group, &harmful, modules, &folder).await?);
        }
        Ok(seen)
    }

    /// Observes and judges the cases, and records what is asked for.
    async fn run(&self) -> Result<Verdicts> {
        let Self {
            options,
            group,
            cases,
            expected,
            ..
        } = self;
        let names = || group.cases.iter().map(|case| case.name.as_str());
        let mut recorded = Record::load(expected, &group.name, Whose::Envoy)?;
        let mut recorded_weir = Record::load(expected, &group.name, Whose::Weir)?;

        let envoy = match &options.envoy {
            Some(program) => Some(self.observe(&Kind::Envoy(program.clone())).await?),
            None => None,
        };
        let weir = match &options.weir {
            Some(program) => Some(self.observe(&Kind::Weir(program.clone())).await?),
            None => None,
        };
        if let (true, Some(envoy)) = (options.record, &envoy) {
            recorded.0.extend(envoy.clone());
            recorded.save(expected, &group.name, Whose::Envoy, names())?;
        }
        if let (true, Some(weir)) = (options.record_weir, &weir) {
            recorded_weir.0.extend(weir.clone());
            let differing = group.cases.iter().filter(|case| !case.differs.is_empty());
            recorded_weir.save(
                expected,
                &group.name,
                Whose::Weir,
                differing.map(|case| case.name.as_str()),
            )?;
        }

        let judge_all = |envoy: &Option<Observations>, weir: &Option<Observations>| {
            let verdicts = cases.iter().map(|case| {
                let evidence = Evidence {
                    envoy: envoy.as_ref().and_then(|seen| seen.get(&case.name)),
                    recorded: recorded.0.get(&case.name),
                    weir: weir.as_ref().and_then(|seen| seen.get(&case.name)),
                    recorded_weir: recorded_weir.0.get(&case.name),
                };
                (case.name.clone(), judge(case, &evidence))
            });
            verdicts.collect::<Verdicts>()
        };
        let (mut envoy, mut weir) = (envoy, weir);
        let mut verdicts = judge_all(&envoy, &weir);
        for _ in 0..RETRIES {
            let failed = verdicts.iter().zip(cases).filter(|((_, verdict), _)| {
                matches!(verdict, Verdict::Unsteady(..) | Verdict::Different(..))
            });
            let failed: Vec<_> = failed
                .map(|((_, verdict), case)| (verdict, *case))
                .collect();
            if failed.is_empty() || options.record || options.record_weir {
                break;
            }
            for (verdict, case) in &failed {
                if let Verdict::Unsteady(why, lines) | Verdict::Different(why, lines) = verdict {
                    self.print(case, &format!("{why}; it is played again"), lines);
                }
            }
            let again = GroupRun {
                cases: failed.into_iter().map(|(_, case)| case).collect(),
                ..*self
            };
            if let (Some(program), Some(seen)) = (&options.envoy, &mut envoy) {
                seen.extend(again.observe(&Kind::Envoy(program.clone())).await?);
            }
            if let (Some(program), Some(seen)) = (&options.weir, &mut weir) {
                seen.extend(again.observe(&Kind::Weir(program.clone())).await?);
            }
            verdicts = judge_all(&envoy, &weir);
        }
        if options.verbose {
            for case in cases {
                let seen = [envoy.as_ref(), weir.as_ref(), Some(&recorded.0)];
                let seen = seen.into_iter().flatten().find_map(|s| s.get(&case.name));
                let lines = seen.map(|seen| seen.lines.clone()).unwrap_or_default();
                self.print(case, "seen", &lines);
            }
        }
        Ok(verdicts)
    }

    /// Prints what is wrong, and counts. What is known to be is only printed where
    /// few cases were asked for.
    fn tell(&self, verdicts: &Verdicts, open: &Open) -> Row {
        let mut row = Row {
            group: self.group.name.clone(),
            ..Row::default()
        };
        for (case, (name, verdict)) in self.cases.iter().zip(verdicts) {
            let known = open.contains(&self.group.name, name);
            row.count(verdict, known);
            match verdict {
                Verdict::Unsteady(why, lines) => self.print(case, why, lines),
                Verdict::Different(why, lines) if !known || self.options.only.is_some() => {
                    self.print(case, why, lines);
                }
                Verdict::Equal | Verdict::OnPurpose if known => {
                    self.print(case, "no longer open: --record-open takes it off", &[]);
                }
                _ => {}
            }
        }
        row
    }

    fn print(&self, case: &Case, what: &str, lines: &[String]) {
        println!("\n{}/{}: {what}", self.group.name, case.name);
        println!("    {}\n{}", case.about, indented(lines));
    }
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("      {line}\n")).collect()
}
