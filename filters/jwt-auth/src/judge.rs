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
    let rule = match request.get(":path") {
        Some(target) => match config.rule(query::path(&target)) {
            Some(rule) => rule,
            None => return Verdict::Pass(None),
        },
        // Of CONNECT, or one that cannot be read: nobody knows which rule is meant.
        None => match config.rule_without_path() {
            Some(rule) => rule,
            None => return Verdict::Deny(Failure::Missing),
        },
    };
    if rule.providers.is_empty() {
        return Verdict::Pass(None);
    }
    let (mut failure, mut waits) = (Failure::Missing, false);
    let named = rule
        .providers
        .iter()
        .filter_map(|n| config.providers.get(n));
    for provider in named {
        match by_provider(provider, request, now) {
            Ok(Some(grant)) => return Verdict::Pass(Some(grant)),
            Ok(None) => waits = true,
            Err(reason) => failure = failure.or(reason),
        }
    }
    if waits {
        return Verdict::Wait;
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
        .flat_map(|source| {
            let tokens = source.find_all(request).into_iter();
            tokens.map(move |token| (source, token))
        })
        .collect();
    let (mut granted, mut known) = (None, true);
    for (_, text) in &found {
        let token = Token::parse(text)?;
        provider.demands.check(&token.claims, now / 1000)?;
        let Some(seen) = verify(provider, &token, now)? else {
            return Ok(None);
        };
        known &= seen;
        granted.get_or_insert((token.claims, token.payload.to_owned()));
    }
    let (claims, payload) = granted.ok_or(Failure::Missing)?;
    Ok(Some(Grant {
        provider,
        sources: found.into_iter().map(|(source, _)| source).collect(),
        claims,
        payload,
        known,
    }))
}

/// Whether the signature, which is not wrong, was known to be right. None if keys have to
/// be fetched.
fn verify(provider: &Provider, token: &Token<'_>, now: u64) -> Result<Option<bool>, Failure> {
    let kept = provider.token_cache;
    let known = match &provider.keys {
        KeySource::Inline(keys) => keys.verify(token, kept)?,
        KeySource::Remote(remote, cache) => {
            let know = |keys: &Keys| keys.know(token);
            match cache.borrow_mut().step(now, remote.ages(), know) {
                Step::Use(keys) => keys.verify(token, kept)?,
                Step::Wait => return Ok(None),
                Step::Fail => return Err(Failure::Fetch),
            }
        }
    };
    Ok(Some(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::tests::token;

    const KEY: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    struct Asked {
        path: Option<&'static str>,
        tokens: Vec<String>,
    }

    impl Headers for Asked {
        fn get(&self, name: &str) -> Option<String> {
            match name {
                ":path" => self.path.map(str::to_owned),
                _ => self.get_all(name).into_iter().next(),
            }
        }

        fn get_all(&self, name: &str) -> Vec<String> {
            match name {
                "authorization" => self.tokens.clone(),
                _ => Vec::new(),
            }
        }

        fn set(&self, _name: &str, _value: Option<&str>) {}
    }

    fn verdict(config: &str, path: Option<&'static str>, tokens: &[String]) -> String {
        let json = config.replace("KEY", KEY);
        let config: Config = filter_config::parse(Some(json.as_bytes())).unwrap();
        let tokens = tokens.iter().map(|token| format!("Bearer {token}"));
        let tokens = tokens.collect();
        match judge(&config, &Asked { path, tokens }, 0) {
            Verdict::Pass(_) => "pass".to_owned(),
            Verdict::Deny(failure) => failure.to_string(),
            Verdict::Wait => "wait".to_owned(),
        }
    }

    #[test]
    fn a_request_without_a_path_is_not_let_through() {
        let missing = "Jwt is missing";
        let all = r#"{"providers": {"a": {"jwks": KEY}}}"#;
        assert_eq!(verdict(all, None, &[]), missing);
        for (rules, expected) in [
            (r#"[{"prefix": "/open"}]"#, missing),
            (r#"[{"prefix": ""}]"#, "pass"),
        ] {
            let config = format!(r#"{{"providers": {{"a": {{"jwks": KEY}}}}, "rules": {rules}}}"#);
            assert_eq!(verdict(&config, None, &[]), expected, "{rules}");
            assert_eq!(verdict(&config, Some("/x"), &[]), "pass", "{rules}");
        }
    }

    #[test]
    fn each_line_of_a_header_is_judged() {
        let config = r#"{"providers": {"a": {"jwks": KEY, "issuer": "us"}}}"#;
        let (ours, theirs) = (
            token(r#"{"alg":"EdDSA"}"#, r#"{"iss":"us"}"#),
            token(r#"{"alg":"EdDSA"}"#, r#"{"iss":"them"}"#),
        );
        let failure = verdict(config, Some("/"), &[ours.clone(), theirs]);
        assert_eq!(failure, "Jwt ED25519 signature is wrong length");
        let remote = r#"{"providers": {"a": {"issuer": "us",
            "remote_jwks": {"url": "https://id/", "cluster": "id"}}}}"#;
        assert_eq!(verdict(remote, Some("/"), &[ours]), "wait");
        let not_a_token = verdict(config, Some("/"), &["a.b".to_owned()]);
        assert_eq!(not_a_token, Failure::NotAToken.to_string());
    }
}
