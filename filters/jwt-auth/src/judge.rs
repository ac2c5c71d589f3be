//! Whether a request passes.

use filter_http::{Headers, Source, query};

use crate::cache::Step;
use crate::config::Config;
use crate::failure::Failure;
use crate::grant::Grant;
use crate::keys::Keys;
use crate::provider::{KeySource, Provider};
use crate::token::Token;

/// What becomes of a request.
pub(crate) enum Verdict<'p> {
    /// It passes, with what a token grants.
    Pass(Option<Grant<'p>>),
    Deny(Failure),
    /// Keys have to be fetched first.
    Wait,
}

/// Judges a request at `now`, in milliseconds since 1970.
pub(crate) fn judge<'p>(config: &'p Config, request: &impl Headers, now: u64) -> Verdict<'p> {
    let target = request.get(":path").unwrap_or_default();
    let Some(rule) = config.rule(query::path(&target)) else {
        return Verdict::Pass(None);
    };
    if rule.providers.is_empty() {
        return Verdict::Pass(None);
    }
    let mut failure = Failure::Missing;
    let named = rule
        .providers
        .iter()
        .filter_map(|n| config.providers.get(n));
    for provider in named {
        match by_provider(provider, request, now) {
            Ok(Some(grant)) => return Verdict::Pass(Some(grant)),
            Ok(None) => return Verdict::Wait,
            Err(reason) => failure = failure.or(reason),
        }
    }
    let missing = failure == Failure::Missing;
    match rule.allow_missing_or_failed || rule.allow_missing && missing {
        true => Verdict::Pass(None),
        false => Verdict::Deny(failure),
    }
}

/// Judges the tokens that are where this provider's are: all have to be right, as
/// in Envoy. None if keys have to be fetched.
fn by_provider<'p>(
    provider: &'p Provider,
    request: &impl Headers,
    now: u64,
) -> Result<Option<Grant<'p>>, Failure> {
    let found: Vec<(&Source, String)> = provider
        .from
        .iter()
        .filter_map(|source| Some((source, source.find(request)?)))
        .collect();
    let mut granted = None;
    for (_, text) in &found {
        let token = Token::parse(text)?;
        provider.demands.check(&token.claims, now / 1000)?;
        if !verify(provider, &token, now)? {
            return Ok(None);
        }
        granted.get_or_insert((token.claims, token.payload.to_owned()));
    }
    let (claims, payload) = granted.ok_or(Failure::Missing)?;
    Ok(Some(Grant {
        provider,
        sources: found.into_iter().map(|(source, _)| source).collect(),
        claims,
        payload,
    }))
}

/// Whether there were keys to verify the signature with, if it is not wrong.
fn verify(provider: &Provider, token: &Token<'_>, now: u64) -> Result<bool, Failure> {
    match &provider.keys {
        KeySource::Inline(keys) => keys.verify(token)?,
        KeySource::Remote(remote, cache) => {
            let know = |keys: &Keys| keys.know(token);
            match cache.borrow_mut().step(now, remote.ages(), know) {
                Step::Use(keys) => keys.verify(token)?,
                Step::Wait => return Ok(false),
                Step::Fail => return Err(Failure::Fetch),
            }
        }
    }
    Ok(true)
}
