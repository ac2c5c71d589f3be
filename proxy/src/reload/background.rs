//! Work that may take its time, and is not to be noticed by those who serve.

use std::io;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::limits::{LOAD_IDLE_TIME, LOAD_NICENESS};

/// Runs `work` on a thread of its own: reading, compiling and trying out. At first it
/// gets the processor only when nobody else wants it, and gives it back at once; when
/// that has gone on for too long, it competes, as one that is nice.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    aside_for(LOAD_IDLE_TIME, work).await
}

async fn aside_for<T: Send + 'static>(
    idle: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (done, mut result) = oneshot::channel();
    let (started, thread) = oneshot::channel();
    thread::Builder::new()
        .name("load".to_owned())
        .spawn(move || {
            // Threads that it starts inherit this. Where it is not to be had, it
            // competes with all others.
            if let Err(error) = rustix::process::nice(LOAD_NICENESS) {
                tracing::debug!("niceness: {error}");
            }
            if may_return()
                && let Err(error) = set_policy(CURRENT, libc::SCHED_IDLE)
            {
                tracing::debug!("SCHED_IDLE: {error}");
            }
            let _ = started.send(rustix::thread::gettid());
            // Who waits for it may have gone.
            let _ = done.send(work());
        })
        .map_err(|error| error.to_string())?;
    let result = match timeout(idle, &mut result).await {
        Ok(result) => result,
        Err(_) => {
            if let Ok(thread) = thread.await
                && let Err(error) = set_policy(thread.as_raw_pid(), libc::SCHED_OTHER)
            {
                tracing::debug!("SCHED_OTHER: {error}");
            }
            result.await
        }
    };
    result.map_err(|_| "the load has panicked".to_owned())
}

/// Whether this process may take what runs only when nobody else wants the processor
/// back to where it competes: the kernel asks for a right to that, for a niceness that
/// was there before.
fn may_return() -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    let attempt = || {
        let there = set_policy(CURRENT, libc::SCHED_IDLE);
        there.is_ok() && compete().is_ok()
    };
    *MAY.get_or_init(|| thread::spawn(attempt).join().unwrap_or(false))
}

/// Has this thread compete for the processor, whatever the one that has started it does.
pub(crate) fn compete() -> io::Result<()> {
    set_policy(CURRENT, libc::SCHED_OTHER)
}

/// The thread that asks, for the kernel.
const CURRENT: libc::pid_t = 0;

/// Has the kernel schedule a thread by this policy.
#[allow(unsafe_code)]
fn set_policy(thread: libc::pid_t, policy: libc::c_int) -> io::Result<()> {
    // SAFETY: all of its members are numbers, and 0 is the only priority that these
    // policies know.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: the parameters live as long as the call, which keeps nothing.
    let result = unsafe { libc::sched_setscheduler(thread, policy, &raw const parameters) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the kernel runs a thread only when nobody else wants the processor.
    fn is_idle(thread: i32) -> bool {
        let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
        // The 41st field; the second is a name in parentheses.
        let behind = text.rsplit(')').next().unwrap();
        behind.split_whitespace().nth(38) == Some("5")
    }

    #[tokio::test]
    async fn work_that_takes_too_long_competes() {
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let (tell, told) = oneshot::channel();
        let work = tokio::spawn(aside_for(Duration::from_millis(200), move || {
            let thread = rustix::thread::gettid().as_raw_pid();
            tell.send((thread, is_idle(thread))).unwrap();
            finished.recv().unwrap();
            7
        }));
        let (thread, was_idle) = told.await.unwrap();
        assert!(was_idle);
        while is_idle(thread) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        finish.send(()).unwrap();
        assert_eq!(work.await.unwrap(), Ok(7));
    }
}
