//! From the configuration to a [`RouteTable`].

use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;
use weir_config::{
    self as config, Config, ConfigError, FilterChain, FilterSetting, Metadata, PathTemplate,
    RouteFilter, Span, Spanned,
};

use super::clusters::ClusterTable;
use super::cors::Cors;
use super::destination::WeightedCluster;
use super::header_mutation::HeaderMutations;
use super::matcher::{
    HeaderMatcher, Matched, PathMatcher, QueryMatcher, QueryValue, RouteMatcher, TextMatcher, whole,
};
use super::redirect::{Redirect, RedirectPath};
use super::rewrite::{HostRewrite, PathRewrite, RegexRewrite};
use super::table::Rule;
use super::{
    Action, Destination, DirectResponse, Forward, HashPolicies, Mirror, RetryPolicy, Route,
    RouteTable,
};

impl RouteTable {
    /// Compiles the routes of a filter chain.
    ///
    /// # Errors
    /// What does not compile, with its place.
    pub(crate) fn build(
        config: &Config,
        filters: &FilterChain,
        clusters: &ClusterTable,
    ) -> Result<Self, ConfigError> {
        let builder = Builder {
            config,
            envoy_headers: filters.http.envoy_headers,
            clusters,
            headers: mutations(&filters.headers),
        };
        let mut table = Self::default();
        let mut chains: Vec<Vec<RouteFilter>> = Vec::new();
        for host in &filters.virtual_hosts {
            let rules = host.routes.iter();
            let shared = Shared {
                host,
                metadata: Arc::new(host.metadata.clone()),
                headers: mutations(&host.headers),
                retry: builder.retry(host.retry_policy.as_ref())?,
                cors: builder.cors(host.cors.as_ref(), host.name.span)?,
            };
            let rule = |route: &config::Route| {
                let chain = chain(&mut chains, &host.filters, &route.filters);
                builder.rule(&shared, route, chain)
            };
            let rules = rules.map(rule).collect::<Result<Vec<_>, _>>()?;
            let domains = host.domains.iter().map(|domain| domain.as_str());
            table.hosts.add(domains, rules);
        }
        table.chains = chains;
        table.ignores_port = filters.http.ignore_port_in_host_matching;
        Ok(table)
    }
}

/// The place of what a route makes of its listener's filters, among all `chains` that
/// are not as in the listener; `None` if it leaves them as they are.
fn chain(
    chains: &mut Vec<Vec<RouteFilter>>,
    host: &config::RouteFilters,
    route: &config::RouteFilters,
) -> Option<usize> {
    let said = |f: &&RouteFilter| !route.0.iter().any(|of_route| of_route.name == f.name);
    let of_host = host.0.iter().filter(said);
    let changes = of_host.chain(&route.0);
    let changes = changes.filter(|f| f.setting != FilterSetting::Enabled);
    let mut changes: Vec<_> = changes.cloned().collect();
    changes.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    if changes.is_empty() {
        return None;
    }
    let known = chains.iter().position(|chain| *chain == changes);
    Some(known.unwrap_or_else(|| {
        chains.push(changes);
        chains.len() - 1
    }))
}

/// 0 stands for none.
fn limit(limit: Duration) -> Option<Duration> {
    (!limit.is_zero()).then_some(limit)
}

/// `None` if nothing changes.
fn mutations(headers: &config::HeaderMutations) -> Option<Arc<HeaderMutations>> {
    (!headers.is_empty()).then(|| Arc::new(HeaderMutations::new(headers)))
}

struct Builder<'c> {
    config: &'c Config,
    envoy_headers: bool,
    clusters: &'c ClusterTable,
    headers: Option<Arc<HeaderMutations>>,
}

/// What the routes of a virtual host have of it.
struct Shared<'c> {
    host: &'c config::VirtualHost,
    metadata: Arc<Metadata>,
    headers: Option<Arc<HeaderMutations>>,
    retry: Option<Arc<RetryPolicy>>,
    cors: Option<Arc<Cors>>,
}

impl Builder<'_> {
    fn rule(
        &self,
        shared: &Shared<'_>,
        route: &config::Route,
        chain: Option<usize>,
    ) -> Result<Rule, ConfigError> {
        let path = self.path(&route.matches)?;
        let matched = path.matched();
        let headers = route.matches.headers.iter();
        let headers = headers.map(|header| self.header(header));
        let query = route.matches.query_parameters.iter();
        let query = query.map(|parameter| self.query_parameter(parameter));
        let matcher = RouteMatcher {
            methods: route.matches.methods.clone(),
            headers: headers.collect::<Result<_, _>>()?,
            query: query.collect::<Result<_, _>>()?,
            path,
        };
        let action = match &route.action {
            config::RouteAction::Forward(forward) => {
                Action::Forward(self.forward(forward, &route.matches, matched, shared)?)
            }
            config::RouteAction::Redirect(redirect) => {
                Action::Redirect(self.redirect(redirect, matched)?)
            }
            config::RouteAction::DirectResponse(answer) => Action::DirectResponse(DirectResponse {
                status: answer.status,
                body: answer.body.clone().into(),
            }),
        };
        let cors = self.cors(route.cors.as_ref(), route.matches.path.span)?;
        let headers = [
            mutations(&route.headers),
            shared.headers.clone(),
            self.headers.clone(),
        ];
        let route = Arc::new(Route {
            name: route.name.clone(),
            virtual_host: shared.host.name.value.clone(),
            metadata: route.metadata.clone(),
            virtual_host_metadata: Arc::clone(&shared.metadata),
            buffer_limit: route.buffer_limit,
            chain,
            max_request_bytes: route.max_request_bytes,
            cors: cors.or_else(|| shared.cors.clone()),
            count_attempts: shared.host.include_request_attempt_count,
            tell_attempts: shared.host.include_attempt_count_in_response,
            headers: headers.into_iter().flatten().collect(),
            action,
        });
        Ok(Rule { matcher, route })
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
            config::PathMatch::Template(text) => {
                let span = matches.path.span;
                let template = self.template(text, span)?;
                PathMatcher::Text(TextMatcher::Regex(self.whole(&template.regex, span)?))
            }
            config::PathMatch::Regex(text) => {
                PathMatcher::Text(TextMatcher::Regex(self.whole(text, matches.path.span)?))
            }
        })
    }

    fn header(&self, header: &config::HeaderMatch) -> Result<HeaderMatcher, ConfigError> {
        let span = header.name.span;
        HeaderMatcher::build(header).map_err(|error| self.not_regex(&error, span))
    }

    fn template(&self, text: &str, span: Span) -> Result<PathTemplate, ConfigError> {
        let template = PathTemplate::parse(text);
        template.map_err(|error| self.config.error(span, error.to_string()))
    }

    fn query_parameter(&self, wanted: &config::QueryMatch) -> Result<QueryMatcher, ConfigError> {
        Ok(QueryMatcher {
            name: wanted.name.value.clone(),
            value: match &wanted.matcher {
                config::QueryMatcher::Present(present) => QueryValue::Present(*present),
                config::QueryMatcher::Text(text) => {
                    QueryValue::Text(self.text(text, wanted.name.span)?)
                }
            },
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
        matches: &config::RouteMatch,
        matched: Matched,
        shared: &Shared<'_>,
    ) -> Result<Forward, ConfigError> {
        let retry = self.retry(forward.retry_policy.as_deref())?;
        let mirrors = forward.request_mirror_policies.as_ref();
        let mirrors = mirrors.unwrap_or(&shared.host.request_mirror_policies);
        let rewrite = forward.path_rewrite.as_ref();
        let rewrite = rewrite.map(|r| self.path_rewrite(r, Some(matches)));
        let rewrite = rewrite.transpose()?;
        Ok(Forward {
            destination: self.destination(&forward.destination),
            cluster_metadata: Arc::clone(&self.clusters.metadata),
            retry: retry.or_else(|| shared.retry.clone()),
            mirrors: mirrors.iter().filter_map(|m| self.mirror(m)).collect(),
            duration_max: limit(forward.max_stream_duration),
            timeout: limit(forward.timeout),
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
        })
    }

    fn destination(&self, destination: &config::Destination) -> Destination {
        let mut up_to = 0;
        let mut weighted = |cluster: &config::WeightedCluster| {
            up_to += u64::from(cluster.weight);
            WeightedCluster {
                cluster: self.clusters.find(&cluster.name),
                up_to,
                headers: HeaderMutations::new(&cluster.headers),
            }
        };
        match destination {
            config::Destination::Cluster(name) => Destination::Cluster(self.clusters.find(name)),
            config::Destination::Weighted(clusters) => {
                Destination::Weighted(clusters.iter().map(&mut weighted).collect())
            }
            config::Destination::Header(name) => Destination::Header(name.clone()),
        }
    }

    /// `None` for a cluster that does not exist.
    fn mirror(&self, policy: &config::MirrorPolicy) -> Option<Mirror> {
        Some(Mirror {
            cluster: self.clusters.find(&policy.cluster)?,
            millionths: policy.fraction.millionths(),
            marks_host: !policy.disable_shadow_host_suffix_append,
        })
    }

    fn cors(
        &self,
        cors: Option<&config::Cors>,
        span: Span,
    ) -> Result<Option<Arc<Cors>>, ConfigError> {
        let Some(cors) = cors else {
            return Ok(None);
        };
        let origins = cors.allow_origin.iter();
        let origins = origins.map(|origin| self.text(origin, span));
        Ok(Some(Arc::new(Cors {
            origins: origins.collect::<Result<_, _>>()?,
            methods: cors.allow_methods.clone(),
            headers: cors.allow_headers.clone(),
            exposed: cors.expose_headers.clone(),
            max_age: cors.max_age.map(|age| age.as_secs().to_string()),
            credentials: cors.allow_credentials,
        })))
    }

    fn retry(
        &self,
        policy: Option<&config::RetryPolicy>,
    ) -> Result<Option<Arc<RetryPolicy>>, ConfigError> {
        let Some(policy) = policy else {
            return Ok(None);
        };
        let headers = |headers: &[config::HeaderMatch]| {
            let headers = headers.iter().map(|header| self.header(header));
            headers.collect::<Result<Vec<_>, _>>()
        };
        Ok(Some(Arc::new(RetryPolicy {
            on: policy.retry_on,
            retries: policy.num_retries,
            status_codes: policy.retriable_status_codes.clone(),
            response_headers: headers(&policy.retriable_headers)?,
            request_headers: headers(&policy.retriable_request_headers)?,
            attempt_timeout: limit(policy.per_try_timeout),
            attempt_idle_timeout: limit(policy.per_try_idle_timeout),
            pause: policy.retry_back_off.base_interval,
            pause_max: policy.retry_back_off.max_interval,
            buffer_limit: policy.buffer_limit,
        })))
    }

    /// `matches`: what the path has matched, for those who ask.
    fn path_rewrite(
        &self,
        rewrite: &config::PathRewrite,
        matches: Option<&config::RouteMatch>,
    ) -> Result<PathRewrite, ConfigError> {
        match rewrite {
            config::PathRewrite::Template(rewrite) => {
                // A valid configuration has a template there.
                let text = match matches.map(|m| &m.path.value) {
                    Some(config::PathMatch::Template(text)) => text,
                    _ => "/",
                };
                let span = rewrite.span;
                let template = self.template(text, span)?;
                let error = |error: String| self.config.error(span, error);
                let text = template.substitution(&rewrite.value);
                let text = text.map_err(|e| error(e.to_string()))?;
                let regex = self.whole(&template.regex, span)?;
                let rewrite = RegexRewrite::new(regex, &text);
                rewrite
                    .map(PathRewrite::Regex)
                    .map_err(|e| error(e.to_string()))
            }
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
                    let rewrite = self.path_rewrite(rewrite, None)?;
                    Some(RedirectPath::Rewrite(rewrite, matched))
                }
                None => None,
            },
            strip_query: redirect.strip_query,
        })
    }
}
