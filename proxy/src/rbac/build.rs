//! From the configuration to an [`Rbac`].

use weir_config::{
    self as config, Cidr, Config, ConfigError, FilterStateMatch, RbacCondition, RbacPolicy,
    RbacRules, Span, StringMatch, ValueMatch,
};

use super::condition::{Condition, Whose};
use super::metadata::{MetadataMatcher, ValueMatcher};
use super::ranges::Ranges;
use super::{Policy, Rbac, Rules};
use crate::route::{HeaderMatcher, TextMatcher};

type Built<T> = Result<T, regex::Error>;

impl Rbac {
    /// Compiles what a filter, whose name is at `span`, says.
    ///
    /// # Errors
    /// What does not compile.
    pub(crate) fn build(
        config: &Config,
        rbac: &config::Rbac,
        span: Span,
    ) -> Result<Self, ConfigError> {
        let built = |of: &Option<RbacRules>| of.as_ref().map(rules).transpose();
        let (enforced, shadow) = built(&rbac.rules)
            .and_then(|enforced| Ok((enforced, built(&rbac.shadow_rules)?)))
            .map_err(|error| {
                let message = format!("not a regular expression: {error}");
                config.error(span, message)
            })?;
        Ok(Self {
            rules: enforced,
            shadow,
            rules_prefix: rbac.rules_stat_prefix.clone(),
            shadow_prefix: rbac.shadow_rules_stat_prefix.clone(),
        })
    }
}

fn rules(rules: &RbacRules) -> Built<Rules> {
    Ok(Rules {
        action: rules.action,
        policies: rules
            .policies
            .iter()
            .map(policy)
            .collect::<Result<_, _>>()?,
    })
}

fn policy(policy: &RbacPolicy) -> Built<Policy> {
    Ok(Policy {
        name: policy.name.clone(),
        permissions: any_of(&policy.permissions)?,
        principals: any_of(&policy.principals)?,
    })
}

/// Conditions of which one must hold: ranges of the same address become one.
fn any_of(conditions: &[RbacCondition]) -> Built<Vec<Condition>> {
    let mut all: Vec<Condition> = Vec::new();
    for one in conditions {
        let next = condition(one)?;
        let Condition::Address(whose, ranges) = next else {
            all.push(next);
            continue;
        };
        let known = all.iter_mut().find_map(|known| match known {
            Condition::Address(of, ranges) if *of == whose => Some(ranges),
            _ => None,
        });
        match known {
            Some(known) => known.extend(ranges),
            None => all.push(Condition::Address(whose, ranges)),
        }
    }
    Ok(all)
}

fn condition(condition: &RbacCondition) -> Built<Condition> {
    use RbacCondition as C;
    let of = |whose, range: &Cidr| Condition::Address(whose, Ranges::from_iter([*range]));
    Ok(match condition {
        C::DestinationIp(range) => of(Whose::Destination, range),
        C::SourceIp(range) => of(Whose::Source, range),
        C::DirectRemoteIp(range) => of(Whose::DirectRemote, range),
        C::RemoteIp(range) => of(Whose::Remote, range),
        C::Any => Condition::Any,
        C::And(all) => {
            let all = all.iter().map(self::condition);
            Condition::And(all.collect::<Result<_, _>>()?)
        }
        C::Or(all) => Condition::Or(any_of(all)?),
        C::Not(one) => Condition::Not(Box::new(self::condition(one)?)),
        C::Header(header) => Condition::Header(HeaderMatcher::build(header)?),
        C::UrlPath(path) => Condition::Path(text(path)?),
        C::DestinationPort(port) => {
            let port = u32::from(*port);
            Condition::Port(port..port + 1)
        }
        C::DestinationPortRange { start, end } => Condition::Port(*start..*end),
        C::RequestedServerName(name) => Condition::ServerName(text(name)?),
        C::Authenticated(None) => Condition::Encrypted,
        C::Authenticated(Some(name)) => Condition::Principal(text(name)?),
        C::Metadata(wanted) => Condition::Metadata(MetadataMatcher {
            source: wanted.source,
            filter: wanted.filter.clone(),
            path: wanted.path.clone(),
            value: value(&wanted.value)?,
            invert: wanted.invert,
        }),
        C::FilterState(FilterStateMatch::Text { key, text: wanted }) => {
            Condition::State(key.clone(), text(wanted)?)
        }
        C::FilterState(FilterStateMatch::Address { key, ranges }) => {
            let ranges = ranges.iter().copied().collect();
            Condition::StateAddress(key.clone(), ranges)
        }
    })
}

fn value(wanted: &ValueMatch) -> Built<ValueMatcher> {
    Ok(match wanted {
        ValueMatch::Null => ValueMatcher::Null,
        ValueMatch::Text(wanted) => ValueMatcher::Text(text(wanted)?),
        ValueMatch::Bool(truth) => ValueMatcher::Bool(*truth),
        ValueMatch::Present(present) => ValueMatcher::Present(*present),
        ValueMatch::List(item) => ValueMatcher::List(Box::new(value(item)?)),
        ValueMatch::Or(all) => ValueMatcher::Or(all.iter().map(value).collect::<Result<_, _>>()?),
    })
}

fn text(wanted: &StringMatch) -> Built<TextMatcher> {
    TextMatcher::build(wanted)
}
