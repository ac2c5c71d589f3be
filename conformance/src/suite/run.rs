//! Runs a group of cases against one process of a proxy.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::bootstrap::{Places, access_log, bootstrap, unique_name};
use super::case::{Case, Group};
use super::client::Client;
use super::journal::{Entries, Journal, PATIENCE};
use super::observation::Observation;
use super::proxy::{Kind, Proxy};
use super::upstream::Upstream;

/// After the scripts, the guests may say more for so long: after the last stream
/// has gone, or after anything else.
const CALM: Duration = Duration::from_millis(60);
const CALM_WITH_STREAMS: Duration = Duration::from_millis(400);

/// What was observed, by the names of the cases.
pub type Observations = BTreeMap<String, Observation>;

/// Runs `cases` of `group` against one process; where that fails, each against one
/// of its own, so that one case does not take the others with it.
///
/// # Errors
///
/// If a module cannot be made, or the proxy starts with none of several cases.
pub async fn observe(
    kind: &Kind,
    group: &Group,
    cases: &[&Case],
    modules: &Path,
    folder: &Path,
) -> Result<Observations> {
    if cases.is_empty() {
        return Ok(Observations::new());
    }
    if !group.apart {
        let stage = Stage::new(group, cases.to_vec(), modules, folder).await?;
        match stage.run(kind).await {
            Ok(observations) => return Ok(observations),
            Err(error) => println!("group {}: {error:#}", group.name),
        }
        println!("its cases run one by one now");
    }
    let mut observations = Observations::new();
    let mut started = group.apart;
    for case in cases {
        let stage = Stage::new(group, vec![case], modules, &folder.join(&case.name)).await?;
        match stage.run(kind).await {
            Ok(seen) => {
                started = true;
                observations.extend(seen);
            }
            Err(error) => {
                if !group.apart {
                    println!("{}/{}: {error:#}", group.name, case.name);
                }
                let lines = vec!["the proxy does not start".to_owned()];
                observations.insert(case.name.clone(), Observation { lines });
            }
        }
    }
    ensure!(started, "{} starts with none of the cases", kind.name());
    Ok(observations)
}

/// A group that is ready to run: its upstreams listen, its configuration is
/// written.
struct Stage<'a> {
    group: &'a Group,
    cases: Vec<&'a Case>,
    upstreams: Vec<Rc<TcpListener>>,
    folder: PathBuf,
    file: PathBuf,
    /// Keeps the address where nobody listens.
    _nobody: tokio::net::TcpSocket,
}

impl<'a> Stage<'a> {
    /// Prepares `cases` of `group` in `folder`.
    ///
    /// # Errors
    ///
    /// If a module cannot be made.
    async fn new(
        group: &'a Group,
        cases: Vec<&'a Case>,
        modules: &Path,
        folder: &Path,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let mut upstreams = Vec::new();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for _ in &cases {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?);
            upstreams.push(Rc::new(listener));
        }
        // bound, and never asked to listen
        let nobody = tokio::net::TcpSocket::new_v4()?;
        nobody.bind("127.0.0.1:0".parse()?)?;
        let places = Places {
            modules,
            scratch: folder,
            nobody: nobody.local_addr()?,
            more: &[],
        };
        let bootstrap = bootstrap(group, &cases, &addresses, &places)?;
        let file = folder.join("bootstrap.json");
        fs::write(&file, serde_json::to_string_pretty(&bootstrap)?)?;
        Ok(Self {
            group,
            cases,
            upstreams,
            folder: folder.to_owned(),
            file,
            _nobody: nobody,
        })
    }

    /// Runs the cases, all at once.
    ///
    /// # Errors
    ///
    /// If the proxy does not start, or ends meanwhile.
    async fn run(&self, kind: &Kind) -> Result<Observations> {
        for case in &self.cases {
            let file = access_log(&self.folder, case);
            if file.exists() {
                fs::remove_file(file)?;
            }
        }
        let mut proxy = kind.start(&self.file, &self.folder).await?;
        let journals: BTreeMap<String, Journal> = self
            .cases
            .iter()
            .map(|case| (unique_name(self.group, case), Journal::default()))
            .collect();
        let _listening = self.listen(&mut proxy, &journals);
        self.play(&proxy.listeners, &journals).await?;
        if let Some(how) = proxy.ended() {
            anyhow::bail!(
                "{} has ended with {how} during group {}",
                kind.name(),
                self.group.name
            );
        }
        if let Kind::Weir(_) = kind {
            let left = proxy.idle(PATIENCE).await?;
            join_all(journals.values().map(settle)).await;
            if left > 0 {
                for journal in journals.values() {
                    journal.trouble(format!(
                        "{left} requests are left when all clients have gone"
                    ));
                }
            }
        }
        let ends = |case: &&Case| case.terminate || case.access_log.is_some();
        if self.cases.iter().any(ends) {
            proxy.terminate(PATIENCE).await?;
            for journal in journals.values() {
                journal.quiet(CALM).await;
            }
        }
        let observed = self.cases.iter().map(|case| {
            let journal = &journals[&unique_name(self.group, case)];
            let mut observation = journal.read(|entries| Observation::new(entries, case));
            let log = fs::read_to_string(access_log(&self.folder, case)).unwrap_or_default();
            observation.add_access_log(&log);
            (case.name.clone(), observation)
        });
        Ok(observed.collect())
    }

    /// Gives the guests' lines to the journals of their cases.
    fn listen(&self, proxy: &mut Proxy, journals: &BTreeMap<String, Journal>) -> Listening {
        let (_, closed) = tokio::sync::mpsc::unbounded_channel();
        let mut lines = std::mem::replace(&mut proxy.guest_lines, closed);
        let journals = journals.clone();
        Listening(tokio::task::spawn_local(async move {
            while let Some(line) = lines.recv().await {
                let Some((case, filter)) = line.plugin.rsplit_once('/') else {
                    continue;
                };
                if let Some(journal) = journals.get(case) {
                    journal.write(|entries| entries.guest.push((filter.to_owned(), line.text)));
                }
            }
        }))
    }

    async fn play(
        &self,
        listeners: &BTreeMap<String, SocketAddr>,
        journals: &BTreeMap<String, Journal>,
    ) -> Result<()> {
        let runs = self
            .cases
            .iter()
            .zip(&self.upstreams)
            .map(|(case, upstream)| async move {
                let name = unique_name(self.group, case);
                let address = listeners.get(&name);
                let address = *address.with_context(|| format!("no listener {name}"))?;
                run_case(case, address, Rc::clone(upstream), &journals[&name]).await;
                Ok(())
            });
        join_all(runs).await.into_iter().collect()
    }
}

/// A task that ends with this.
struct Listening(tokio::task::JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run_case(case: &Case, address: SocketAddr, listener: Rc<TcpListener>, journal: &Journal) {
    let upstream = Upstream {
        scripts: Rc::new(case.upstreams.clone()),
        protocol: case.upstream_protocol,
        journal: journal.clone(),
    };
    let mut serving = JoinSet::new();
    serving.spawn_local(upstream.serve(listener));
    let clients = case.clients.iter().map(|(name, steps)| async move {
        let client = Client {
            name,
            address,
            steps,
            journal,
        };
        if let Err(error) = client.play(case.downstream_protocol).await {
            journal.trouble(format!("client: {error:#}"));
        }
    });
    join_all(clients).await;
    settle(journal).await;
}

/// Waits until the guests have seen the end of their streams.
async fn settle(journal: &Journal) {
    let over = |entries: &Entries| {
        let lines = entries.guest.iter().map(|(_, line)| line.as_str());
        (live_streams(lines) == 0).then_some(())
    };
    let _ = tokio::time::timeout(CALM_WITH_STREAMS, journal.find(over)).await;
    journal.quiet(CALM).await;
}

/// Number of stream contexts that were created and not deleted, by a guest's lines.
pub fn live_streams<'a>(lines: impl Iterator<Item = &'a str>) -> usize {
    let (mut created, mut deleted) = (0_usize, 0);
    for line in lines.filter(|line| line.starts_with('#')) {
        let is_root = line.contains(" context_create 0");
        created += usize::from(line.contains(" context_create ") && !is_root);
        deleted += usize::from(line.contains(" delete"));
    }
    created.saturating_sub(deleted)
}

/// Waits for all of them, at once.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in &mut running {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    running
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}
