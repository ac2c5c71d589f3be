//! Envoy's `CorsPolicy`, and its mirror policies.

use std::time::Duration;

use super::message::Message;
use super::route_match;
use crate::read::Percent;
use crate::route::{Cors, MirrorPolicy, check_value};

const DENOMINATORS: [(&str, i64, u32); 3] = [
    ("HUNDRED", 0, 100),
    ("TEN_THOUSAND", 1, 10_000),
    ("MILLION", 2, 1_000_000),
];

/// `CorsPolicy`.
pub(super) fn policy(message: &Message<'_, '_>) -> Cors {
    message.only("forward_not_matching_preflights", true);
    let origins = message.messages("allow_origin_string_match");
    let text = |name| {
        let Some(text) = message.text(name) else {
            return String::new();
        };
        let path = message.path_of(name);
        message.reader.native(&path, |problems| {
            check_value(&text.value, text.span, problems);
        });
        text.value
    };
    Cors {
        allow_origin: origins
            .iter()
            .filter_map(route_match::string_match)
            .collect(),
        allow_methods: text("allow_methods"),
        allow_headers: text("allow_headers"),
        expose_headers: text("expose_headers"),
        max_age: message
            .number::<u32>("max_age")
            .map(|seconds| Duration::from_secs(seconds.value.into())),
        allow_credentials: message.flag("allow_credentials").unwrap_or(false),
    }
}

/// `request_mirror_policies`; `None` if there are none.
pub(super) fn mirrors(message: &Message<'_, '_>) -> Option<Vec<MirrorPolicy>> {
    let policies = message.messages("request_mirror_policies");
    let policies: Vec<_> = policies.iter().map(mirror).collect();
    (!policies.is_empty()).then_some(policies)
}

fn mirror(message: &Message<'_, '_>) -> MirrorPolicy {
    // There are no traces.
    message.inert("trace_sampled");
    MirrorPolicy {
        cluster: message.required_text("cluster"),
        fraction: fraction(message).unwrap_or(Percent::ALL),
        disable_shadow_host_suffix_append: message
            .flag("disable_shadow_host_suffix_append")
            .unwrap_or(false),
    }
}

/// `runtime_fraction`, of which there is only the default.
fn fraction(message: &Message<'_, '_>) -> Option<Percent> {
    let runtime = message.message("runtime_fraction")?;
    runtime.inert("runtime_key");
    let value = runtime.message("default_value")?;
    let whole = value.word("denominator", &DENOMINATORS).unwrap_or(100);
    let part = value.number::<u32>("numerator").map_or(0, |n| n.value);
    // Envoy takes what is more than all for all.
    Some(Percent::of(part, whole).unwrap_or(Percent::ALL))
}
