//! How long the request after a trap takes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use weir_conformance::Client;

use crate::gateway::Programs;

/// Healthy requests between two traps: with fewer, it were a crash loop.
const BETWEEN: usize = 4;

pub(crate) fn run(programs: &Programs, count: usize) -> Result<()> {
    for (spare, settings) in [("with a spare", "spare: true"), ("without", "spare: false")] {
        let weir = programs.start(1, &[("chaos", settings)])?;
        let mut client = Client::connect(weir.listener("chaos")?);
        let mut timed = |what: &str| {
            let headers = [("x-chaos", what)];
            let began = Instant::now();
            let response = match what {
                "" => client.get("/"),
                _ => client.get_with("/", &headers),
            };
            (response.status, began.elapsed())
        };
        let (mut usual, mut after): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
        for _ in 0..count {
            for _ in 0..BETWEEN {
                let (status, took) = timed("");
                ensure!(status == 200, "a healthy request: {status}");
                usual.push(took);
            }
            let (status, _) = timed("trap");
            ensure!(status == 503, "a trap: {status}");
            let (status, took) = timed("");
            ensure!(
                status == 200,
                "the request after a trap: {status}\n{}",
                weir.log()
            );
            after.push(took);
        }
        let show = |what: &str, times: &mut Vec<Duration>| {
            times.sort_unstable();
            let part = |part: usize| times[(times.len() - 1) * part / 100];
            println!(
                "{spare}: {what}: {:.0?} (median), {:.0?} (99 %)",
                part(50),
                part(99)
            );
        };
        show("a usual request", &mut usual);
        show("the one after a trap", &mut after);
    }
    Ok(())
}
