//! Requests that each leave a KiB behind in the guest.

use std::time::Duration;

use anyhow::{Result, ensure};
use weir_load::Plan;

use crate::gateway::Programs;

/// A VM is replaced when it has so much memory.
const LIMITS: &str = "limits: { recycle_above: 16MiB }";

/// Part of the requests after which memory is warm.
const WARM_PART: usize = 5;

/// By how much Weir may be larger afterwards: a VM that is about to be replaced, in
/// bytes, on each of the workers.
const GROWTH_MAX: u64 = 2 * (16 << 20) + (8 << 20);

pub(crate) fn run(programs: &Programs, count: usize) -> Result<()> {
    let weir = programs.start(2, &[("chaos", LIMITS)])?;
    let address = weir.listener("chaos")?;
    let requests = |count| {
        weir_load::run(&Plan {
            address,
            connections: 16,
            duration: Duration::from_secs(3600),
            requests_max: count,
            headers: "x-chaos: keep\r\n",
            pace: Duration::ZERO,
        })
    };
    let warm_up = count / WARM_PART;
    let first = requests(warm_up)?;
    let warm = weir.memory()?;
    let rest = requests(count - warm_up)?;
    let then = weir.memory()?;
    let recycles = weir.metric("weir_wasm_vm_recycles_total", "memory")?;
    println!(
        "{count} requests that leave a KiB behind: {} MiB after {warm_up}, {} MiB at the end; \
         {recycles} VMs recycled",
        warm >> 20,
        then >> 20,
    );
    ensure!(
        first.errors + rest.errors == 0,
        "requests have failed:\n{}",
        weir.log()
    );
    ensure!(
        first.requests + rest.requests == count,
        "requests are missing"
    );
    ensure!(recycles > 0 || count < 100_000, "no VM was recycled");
    ensure!(then < warm + GROWTH_MAX, "memory has grown");
    Ok(())
}
