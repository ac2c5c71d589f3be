//! From the configuration to a [`RouteTable`].

use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;
use weir_config::{self as config, Config, ConfigError, Listener, Metadata, Span, Spanned};

use super::matcher::{
    HeaderMatcher, Matched, PathMatcher, RouteMatcher, TextMatcher, ValueMatcher, whole,
};
use super::redirect::{Redirect, RedirectPath};
use super::rewrite::{HostRewrite, PathRewrite, RegexRewrite};
use super::table::Rule;
use super::{Action, DirectResponse, Forward, HashPolicies, Route, RouteTable};

impl RouteTable {
    /// Compiles the routes of `listener`.
    ///
    /// # Errors
    /// What does not compile, with its place.
    pub(crate) fn build(config: &Config, listener: &Listener) -> Result<Self, ConfigError> {
        let builder = Builder {
            config,
            envoy_headers: listener.http.envoy_headers,
        };
        let mut table = Self::default();
        for host in &listener.virtual_hosts {
            let rules = host.routes.iter();
            let metadata = Arc::new(host.metadata.clone());
            let rule = |route| builder.rule(&host.name, &metadata, route).transpose();
            let rules = rules.filter_map(rule);
            let rules = rules.collect::<Result<Vec<_>, _>>()?;
            let domains = host.domains.iter().map(|domain| domain.as_str());
            table.hosts.add(domains, rules);
        }
        Ok(table)
    }
}

struct Builder<'c> {
    config: &'c Config,
    envoy_headers: bool,
}

impl Builder<'_> {
    /// `None` for a route to a cluster that does not exist, which a valid
    /// configuration has not.
    fn rule(
        &self,
        host: &str,
        host_metadata: &Arc<Metadata>,
        route: &config::Route,
    ) -> Result<Option<Rule>, ConfigError> {
        let path = self.path(&route.matches)?;
        let matched = path.matched();
        let headers = route.matches.headers.iter();
        let headers = headers.map(|header| self.header(header));
        let matcher = RouteMatcher {
            headers: headers.collect::<Result<_, _>>()?,
            path,
        };
        let action = match &route.action {
            config::RouteAction::Forward(forward) => match self.forward(forward, matched)? {
                Some(forward) => Action::Forward(forward),
                None => return Ok(None),
            },
            config::RouteAction::Redirect(redirect) => {
                Action::Redirect(self.redirect(redirect, matched)?)
            }
            config::RouteAction::DirectResponse(answer) => Action::DirectResponse(DirectResponse {
                status: answer.status,
                body: answer.body.clone().into(),
            }),
        };
        let route = Arc::new(Route {
            name: route.name.clone(),
            virtual_host: host.to_owned(),
            metadata: route.metadata.clone(),
            virtual_host_metadata: Arc::clone(host_metadata),
            buffer_limit: route.buffer_limit,
            action,
        });
        Ok(Some(Rule { matcher, route }))
    }

    fn path(&self, matches: &config::RouteMatch) -> Result<PathMatcher, ConfigError> {
        let ignore_case = !matches.case_sensitive;
        Ok(match &matches.path.value {
            config::PathMatch::Prefix(text) => {
                PathMatcher::Text(TextMatcher::Prefix(text.clone(), ignore_case))
            }
            config::PathMatch::Exact(text) => {
                PathMatcher::Text(TextMatcher::Exact(text.clone(), ignore_case))
            }
            config::PathMatch::SeparatedPrefix(text) => PathMatcher::SeparatedPrefix {
                prefix: text.clone(),
                ignore_case,
            },
            config::PathMatch::Connect => PathMatcher::Connect,
            config::PathMatch::Regex(text) => {
                PathMatcher::Text(TextMatcher::Regex(self.whole(text, matches.path.span)?))
            }
        })
    }

    fn header(&self, header: &config::HeaderMatch) -> Result<HeaderMatcher, ConfigError> {
        let name = header.name.to_ascii_lowercase();
        Ok(HeaderMatcher {
            value: match &header.matcher {
                config::HeaderMatcher::Present(present) => ValueMatcher::Present(*present),
                config::HeaderMatcher::Range { start, end } => ValueMatcher::Range(*start, *end),
                config::HeaderMatcher::Text(text) => {
                    ValueMatcher::Text(self.text(text, header.name.span)?)
                }
            },
            name: if name == "host" {
                ":authority".to_owned()
            } else {
                name
            },
            invert: header.invert,
            treat_missing_as_empty: header.treat_missing_as_empty,
        })
    }

    fn text(&self, matcher: &config::StringMatch, span: Span) -> Result<TextMatcher, ConfigError> {
        TextMatcher::build(matcher).map_err(|error| self.not_regex(&error, span))
    }

    /// A regular expression that matches a text as a whole, as Envoy's do.
    fn whole(&self, pattern: &str, span: Span) -> Result<Regex, ConfigError> {
        self.regex(&whole(pattern), span)
    }

    fn regex(&self, pattern: &str, span: Span) -> Result<Regex, ConfigError> {
        Regex::new(pattern).map_err(|error| self.not_regex(&error, span))
    }

    fn not_regex(&self, error: &regex::Error, span: Span) -> ConfigError {
        let message = format!("not a regular expression: {error}");
        self.config.error(span, message)
    }

    fn forward(
        &self,
        forward: &config::Forward,
        matched: Matched,
    ) -> Result<Option<Forward>, ConfigError> {
        let mut clusters = self.config.clusters.iter();
        let Some(cluster) = clusters.position(|c| c.name == forward.cluster) else {
            return Ok(None);
        };
        let rewrite = forward.path_rewrite.as_ref();
        let rewrite = rewrite.map(|r| self.path_rewrite(r)).transpose()?;
        Ok(Some(Forward {
            cluster,
            cluster_metadata: self.config.clusters[cluster].metadata.clone(),
            timeout: (forward.timeout > Duration::ZERO).then_some(forward.timeout),
            idle_timeout: forward.idle_timeout,
            connect: forward.connect,
            hash_policy: HashPolicies::new(&forward.hash_policy),
            auto_host_rewrite: forward.host_rewrite == Some(config::HostRewrite::Auto),
            path_rewrite: rewrite.map(|rewrite| (rewrite, matched)),
            host_rewrite: match &forward.host_rewrite {
                Some(config::HostRewrite::Literal(host)) => {
                    Some(HostRewrite::Literal(host.clone().into()))
                }
                Some(config::HostRewrite::Header(name)) => {
                    Some(HostRewrite::Header(name.to_ascii_lowercase()))
                }
                Some(config::HostRewrite::Auto) | None => None,
            },
            envoy_headers: self.envoy_headers,
        }))
    }

    fn path_rewrite(&self, rewrite: &config::PathRewrite) -> Result<PathRewrite, ConfigError> {
        match rewrite {
            config::PathRewrite::Prefix(prefix) => Ok(PathRewrite::Prefix(prefix.clone())),
            config::PathRewrite::Regex(rewrite) => {
                let Spanned { value, span } = &rewrite.pattern;
                let regex = self.regex(value, *span)?;
                RegexRewrite::new(regex, &rewrite.substitution)
                    .map(PathRewrite::Regex)
                    .map_err(|error| self.config.error(*span, error.to_string()))
            }
        }
    }

    fn redirect(
        &self,
        redirect: &config::Redirect,
        matched: Matched,
    ) -> Result<Redirect, ConfigError> {
        Ok(Redirect {
            status: redirect.code.status(),
            scheme: redirect.scheme.clone(),
            host: redirect.host.clone(),
            port: redirect.port,
            path: match &redirect.path {
                Some(config::RedirectPath::Whole(path)) => Some(RedirectPath::Whole(path.clone())),
                Some(config::RedirectPath::Rewrite(rewrite)) => {
                    let rewrite = self.path_rewrite(rewrite)?;
                    Some(RedirectPath::Rewrite(rewrite, matched))
                }
                None => None,
            },
            strip_query: redirect.strip_query,
        })
    }
}
