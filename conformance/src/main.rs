//! Runs the conformance suite; `cargo xtask conformance` is the comfortable way.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::task::LocalSet;
use weir_conformance::suite::case::{Case, Group};
use weir_conformance::suite::diff::diff;
use weir_conformance::suite::differences;
use weir_conformance::suite::filters;
use weir_conformance::suite::hostcalls;
use weir_conformance::suite::open::{Open, Verdicts};
use weir_conformance::suite::proxy::Kind;
use weir_conformance::suite::random;
use weir_conformance::suite::record::{Record, Whose};
use weir_conformance::suite::run::{Observations, live_streams, observe};
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
    /// A module that could not be built: its cases are passed over.
    #[arg(long, value_name = "MODULE")]
    without: Vec<String>,
    /// Show what was observed in every case.
    #[arg(short, long)]
    verbose: bool,
}

impl Options {
    /// Whether something is recorded.
    fn records(&self) -> bool {
        self.record || self.record_weir || self.record_open
    }
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
    let known = differences::ids(&home.join("DIFFERENCES.md"))?;
    differences::check(&groups, &known)?;
    let expected = home.join("expected");
    let mut open = Open::load(&expected);
    let mut rows = Vec::new();
    let mut again = Vec::new();
    for group in &groups {
        let mut cases = chosen(group, options.only.as_deref());
        cases.retain(|case| {
            let mut modules = case.filters.iter().filter_map(|f| f.module.as_ref());
            !modules.any(|module| options.without.contains(module))
        });
        if cases.is_empty() {
            continue;
        }
        let run = GroupRun {
            options,
            group,
            cases,
            expected: &expected,
        };
        let (verdicts, late) = run
            .run(&open)
            .await
            .with_context(|| format!("group {}", group.name))?;
        if options.record_open {
            open.update(&group.name, &verdicts);
        }
        rows.push(run.tell(&verdicts, &open));
        again.extend(late);
    }
    if options.record_open {
        open.save(&expected)?;
    }
    let settings = hostcalls::Settings {
        envoy: options.envoy.clone().map(Kind::Envoy),
        weir: options.weir.clone().map(Kind::Weir),
        modules: &options.modules,
        scratch: &options.scratch,
        expected: &expected,
        record: options.record,
        record_weir: options.record_weir,
        only: options.only.as_deref(),
    };
    let plan = home.join("hostcalls.yaml");
    let statuses = hostcalls::run(&plan, |id| known.contains(id), &settings).await?;
    for (what, rows) in [("cases", &rows), ("statuses", &statuses)] {
        if !rows.is_empty() {
            print!("\n{}", table(what, rows));
        }
    }
    if !again.is_empty() {
        println!("as expected only when played again: {}", again.join(", "));
    }
    let programs = [
        options.envoy.clone().map(Kind::Envoy),
        options.weir.clone().map(Kind::Weir),
    ];
    let suites = filters::Settings {
        proxies: programs.into_iter().flatten().collect(),
        filters: &home.join("../filters"),
        modules: &options.modules,
        scratch: &options.scratch,
        only: options.only.as_deref(),
    };
    let expected = filters::run(&home.join("suites.yaml"), &suites).await?;
    let mut good = expected;
    for Row {
        group, different, ..
    } in rows.iter().chain(&statuses)
    {
        if *different > 0 {
            println!("{group}: {different} different");
            good = false;
        }
    }
    Ok(good)
}

/// Compares both proxies on cases made by chance. Where they differ, Envoy is run
/// again: a case that it does not answer twice in the same way shows nothing.
async fn random(options: &Options, seed: u64) -> Result<bool> {
    let group = random::group(seed, options.count);
    let run = GroupRun {
        options,
        group: &group,
        cases: chosen(&group, options.only.as_deref()),
        expected: Path::new(""),
    };
    let [Some(envoy), Some(weir)] = [&options.envoy, &options.weir] else {
        bail!("it takes both proxies");
    };
    let envoy = Kind::Envoy(envoy.clone());
    let first = run.observe(&envoy).await?;
    let second = run.observe(&envoy).await?;
    let weir = Kind::Weir(weir.clone());
    let weirs = [run.observe(&weir).await?, run.observe(&weir).await?];
    let (mut unsteady, mut different, mut wavering) = (0, 0, 0);
    for case in &run.cases {
        let [first, second] = [&first, &second].map(|seen| &seen[&case.name].lines);
        let weirs = [0, 1].map(|run| &weirs[run][&case.name].lines);
        if first != second {
            unsteady += 1;
            if options.verbose {
                run.print(case, "Envoy differs from itself", &diff(first, second));
            }
        } else if let Some(weir) = weirs.iter().find(|weir| **weir != first) {
            // A case whose outcome is a matter of timing has more than one.
            if weirs[0] == weirs[1] {
                different += 1;
            } else {
                wavering += 1;
            }
            for filter in &case.filters {
                println!("{}", filter.script.as_deref().unwrap_or_default());
            }
            run.print(case, "Weir differs from Envoy", &diff(first, weir));
        }
    }
    println!(
        "seed {seed}: {} cases, {different} different, {unsteady} in which Envoy differs from itself, {wavering} in which Weir does",
        run.cases.len()
    );
    let left = interrupted(options, seed, &weir).await?;
    Ok(different == 0 && left == 0)
}

/// Plays the cases with clients who break off; gives in how many of them Weir
/// leaves something behind.
async fn interrupted(options: &Options, seed: u64, weir: &Kind) -> Result<usize> {
    let group = random::interrupted(seed, options.count);
    let run = GroupRun {
        options,
        group: &group,
        cases: chosen(&group, options.only.as_deref()),
        expected: Path::new(""),
    };
    let seen = run.observe(weir).await?;
    let mut left = 0;
    for case in &run.cases {
        let lines = &seen[&case.name].lines;
        let callbacks = lines
            .iter()
            .filter_map(|line| Some(&line[line.find('#')?..]));
        if live_streams(callbacks) > 0 || lines.iter().any(|line| line.starts_with("TROUBLE")) {
            left += 1;
            run.print(case, "something is left behind", lines);
        }
    }
    println!(
        "seed {seed}: {} cases with clients who break off, {left} that leave something behind",
        run.cases.len()
    );
    Ok(left)
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

    /// Observes and judges the cases, and records what is asked for. Cases that are not
    /// as expected are played again, first beside the others and then without them, as
    /// their load may have been what made them late: a case is only wrong if it is so
    /// every time. Gives the names of those that were not, too.
    async fn run(&self, open: &Open) -> Result<(Verdicts, Vec<String>)> {
        let mut verdicts = self.attempt().await?;
        let mut again = Vec::new();
        if self.options.records() {
            return Ok((verdicts, again));
        }
        for alone in [false, true] {
            let wrong: Vec<usize> = (0..verdicts.len())
                .filter(|&place| self.is_wrong(&verdicts[place], open))
                .collect();
            for (place, verdict) in wrong.iter().zip(self.replay(&wrong, alone).await?) {
                let (name, before) = std::mem::replace(&mut verdicts[*place], verdict);
                if let Verdict::Different(why, lines) | Verdict::Unsteady(why, lines) = before {
                    self.print(self.cases[*place], &format!("{why}; again"), &lines);
                }
                if !self.is_wrong(&verdicts[*place], open) {
                    again.push(format!("{}/{name}", self.group.name));
                }
            }
        }
        Ok((verdicts, again))
    }

    /// Plays the cases at these places again: each by itself, or beside all the others.
    async fn replay(&self, places: &[usize], alone: bool) -> Result<Verdicts> {
        let mut verdicts = Verdicts::new();
        if alone {
            for &place in places {
                let cases = vec![self.cases[place]];
                verdicts.extend(GroupRun { cases, ..*self }.attempt().await?);
            }
        } else if !places.is_empty() {
            let all = self.attempt().await?.into_iter().enumerate();
            let chosen = all.filter(|(place, _)| places.contains(place));
            verdicts.extend(chosen.map(|(_, verdict)| verdict));
        }
        Ok(verdicts)
    }

    /// Whether a case is not as expected, and not known not to be.
    fn is_wrong(&self, (name, verdict): &(String, Verdict), open: &Open) -> bool {
        matches!(verdict, Verdict::Different(..) | Verdict::Unsteady(..))
            && !open.contains(&self.group.name, name)
    }

    async fn attempt(&self) -> Result<Verdicts> {
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

        let mut verdicts = Verdicts::new();
        for case in cases {
            let evidence = Evidence {
                envoy: envoy.as_ref().and_then(|seen| seen.get(&case.name)),
                recorded: recorded.0.get(&case.name),
                weir: weir.as_ref().and_then(|seen| seen.get(&case.name)),
                recorded_weir: recorded_weir.0.get(&case.name),
            };
            let verdict = judge(case, &evidence);
            if options.verbose {
                let seen = evidence.envoy.or(evidence.weir).or(evidence.recorded);
                let lines = seen.map(|seen| seen.lines.clone()).unwrap_or_default();
                self.print(case, "seen", &lines);
            }
            verdicts.push((case.name.clone(), verdict));
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
