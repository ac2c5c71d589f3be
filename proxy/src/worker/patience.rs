//! [`Patience`]: how long something is waited for, again and again, with one timer.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A connection's, which waits for one request after the other: to arm a timer for each
/// would be dearer than to look at the clock.
#[derive(Default)]
pub(super) struct Patience {
    /// Armed for a time that was a deadline once; it is moved on when that has come.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Returns when `limit` is over; without a limit, never.
    pub(super) async fn ends_after(&mut self, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        let deadline = Instant::now() + limit;
        let armed = || Box::pin(sleep_until(deadline));
        let sleep = self.sleep.get_or_insert_with(armed);
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            sleep.as_mut().await;
            if Instant::now() >= deadline {
                return;
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test(flavor = "current_thread")]
    async fn each_wait_has_its_whole_time() {
        let mut patience = Patience::default();
        for _ in 0..3 {
            let began = Instant::now();
            patience.ends_after(Some(SHORT)).await;
            assert!(began.elapsed() >= SHORT);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_was_given_up_does_not_count() {
        let mut patience = Patience::default();
        let given_up = tokio::time::timeout(SHORT, patience.ends_after(Some(2 * SHORT))).await;
        assert!(given_up.is_err());
        let began = Instant::now();
        patience.ends_after(Some(2 * SHORT)).await;
        assert!(began.elapsed() >= 2 * SHORT);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn without_a_limit_it_does_not_end() {
        let mut patience = Patience::default();
        let ended = tokio::time::timeout(SHORT, patience.ends_after(None)).await;
        assert!(ended.is_err());
        // A shorter limit than the one before counts at once.
        let endless = tokio::time::timeout(SHORT, patience.ends_after(Some(3600 * SHORT))).await;
        assert!(endless.is_err());
        patience.ends_after(Some(SHORT)).await;
    }
}
