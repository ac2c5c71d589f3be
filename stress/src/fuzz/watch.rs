//! [`Watch`]: nothing may panic, and nothing may hang.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long one round may take. They take milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State {
    round: Option<(String, Instant)>,
    panic: Option<String>,
}

/// Looks after the rounds. The engine turns a panic of the host into the failure
/// of one VM, so panics are noted where they begin.
pub(crate) struct Watch(Arc<Mutex<State>>);

impl Watch {
    pub(crate) fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let noted = Arc::clone(&state);
        std::panic::set_hook(Box::new(move |panic| {
            let mut state = noted.lock().unwrap_or_else(PoisonError::into_inner);
            state.panic.get_or_insert_with(|| panic.to_string());
        }));
        let watched = Arc::clone(&state);
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_secs(1));
                let state = watched.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((what, began)) = &state.round
                    && began.elapsed() > PATIENCE
                {
                    eprintln!("failed in {what}\nit hangs");
                    std::process::abort();
                }
            }
        });
        Self(state)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, what: &str) {
        self.state().round = Some((what.to_owned(), Instant::now()));
    }

    pub(crate) fn end(&self) {
        self.state().round = None;
    }

    /// What has panicked.
    pub(crate) fn panic(&self) -> Option<String> {
        self.state().panic.take()
    }
}
