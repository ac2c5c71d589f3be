//! Clients.

mod h1;
mod h2;
mod tcp;

use std::net::SocketAddr;

use anyhow::Result;

use super::case::Protocol;
use super::journal::Journal;
use super::step::Step;

/// A client: where it connects to, what it does.
pub struct Client<'a> {
    pub name: &'a str,
    pub address: SocketAddr,
    pub steps: &'a [Step],
    pub journal: &'a Journal,
}

impl Client<'_> {
    /// Plays the steps; whatever connection is left is closed at the end.
    ///
    /// # Errors
    ///
    /// If a step makes no sense here.
    pub async fn play(&self, protocol: Protocol) -> Result<()> {
        match protocol {
            Protocol::H1 => h1::play(self).await,
            Protocol::H2 => h2::play(self).await,
            Protocol::Tcp => tcp::play(self).await,
        }
    }
}

/// The steps, with `response` at the end where there is none: a client that has
/// asked for something waits for it.
fn completed(steps: &[Step]) -> Vec<Step> {
    let mut steps = steps.to_vec();
    let last = steps.last();
    if last.is_some_and(|step| step.continues_message() || matches!(step, Step::Request { .. })) {
        steps.push(Step::WholeResponse);
    }
    steps
}

/// Waits for what others have seen.
///
/// # Errors
///
/// If the step waits for nothing.
pub(super) async fn wait_for_others(step: &Step, journal: &Journal) -> Result<()> {
    match step {
        Step::AwaitGuest(text, times) => {
            let what = format!("the guest: {text}");
            let seen = |lines: &[(String, String)]| {
                lines.iter().filter(|(_, line)| line.contains(text)).count()
            };
            journal
                .wait(&what, |entries| {
                    (seen(&entries.guest) >= *times).then_some(())
                })
                .await;
        }
        Step::AwaitUpstream(text) => {
            let what = format!("the upstream: {text}");
            journal
                .wait(&what, |e| {
                    e.upstream.iter().any(|m| m.contains(text)).then_some(())
                })
                .await;
        }
        Step::AwaitClient(text) => {
            let what = format!("a client: {text}");
            journal
                .wait(&what, |e| {
                    e.client.iter().any(|m| m.contains(text)).then_some(())
                })
                .await;
        }
        Step::Flush => tokio::task::yield_now().await,
        step => anyhow::bail!("{step:?} has no place here"),
    }
    Ok(())
}
