//! Filters of Weir's own, compiled.

use std::sync::Arc;

use weir_config::{
    Config, ConfigError, FilterChain, FilterSetting, Listener, Native, NativeFilter, RouteFilter,
};

use super::chain::GateSpec;
use crate::rbac::Rbac;
use crate::telemetry::RbacScope;

/// Whose filters are compiled.
#[derive(Clone, Copy)]
pub(super) struct Gates<'c> {
    pub(super) config: &'c Config,
    pub(super) listener: &'c Listener,
}

impl Gates<'_> {
    /// Those between the filters of a chain.
    pub(super) fn of_chain(
        self,
        chain: &FilterChain,
        errors: &mut Vec<ConfigError>,
    ) -> Vec<GateSpec> {
        match chain.tcp {
            Some(_) => self.all(&chain.native_network_filters, false, errors),
            None => self.all(&chain.native_filters, true, errors),
        }
    }

    /// Those that connections of HTTP pass before they are served.
    pub(super) fn of_entry(
        self,
        chain: &FilterChain,
        errors: &mut Vec<ConfigError>,
    ) -> Vec<GateSpec> {
        match chain.tcp {
            Some(_) => Vec::new(),
            None => self.all(&chain.native_network_filters, false, errors),
        }
    }

    /// Those of a route with these changes.
    pub(super) fn of_route(
        self,
        chain: &FilterChain,
        changes: &[RouteFilter],
        errors: &mut Vec<ConfigError>,
    ) -> Vec<GateSpec> {
        let change = |name: &str| {
            let change = changes.iter().find(|change| change.name.value == name);
            change.map(|change| &change.setting)
        };
        let is_off = |name: &str| matches!(change(name), Some(FilterSetting::Disabled));
        let mut gates = Vec::new();
        for filter in &chain.native_filters {
            if is_off(&filter.name) {
                continue;
            }
            let rbac = match change(&filter.name) {
                Some(FilterSetting::Rbac(rbac)) => Some(&**rbac),
                _ => None,
            };
            let in_front = chain.http_filters.iter().take(filter.place);
            let place = in_front.filter(|other| !is_off(&other.name)).count();
            let gate = self.gate(filter, true, rbac, errors);
            gates.extend(gate.map(|gate| GateSpec { place, ..gate }));
        }
        gates
    }

    fn all(
        self,
        filters: &[NativeFilter],
        of_requests: bool,
        errors: &mut Vec<ConfigError>,
    ) -> Vec<GateSpec> {
        let gates = filters.iter();
        let gates = gates.filter_map(|filter| self.gate(filter, of_requests, None, errors));
        gates.collect()
    }

    /// A filter, with other policies in the place of its own.
    fn gate(
        self,
        filter: &NativeFilter,
        of_requests: bool,
        other: Option<&weir_config::Rbac>,
        errors: &mut Vec<ConfigError>,
    ) -> Option<GateSpec> {
        let rbac = match &filter.kind {
            Native::Cors => None,
            Native::Rbac(own) => {
                let policies = other.unwrap_or(own);
                match Rbac::build(self.config, policies, filter.name.span) {
                    Ok(rbac) => Some((Arc::new(rbac), self.scope(filter, of_requests, own))),
                    Err(error) => {
                        errors.push(error);
                        return None;
                    }
                }
            }
        };
        Some(GateSpec {
            place: filter.place,
            rbac,
        })
    }

    /// What the numbers of a filter are named after.
    fn scope(
        self,
        filter: &NativeFilter,
        of_requests: bool,
        rbac: &weir_config::Rbac,
    ) -> RbacScope {
        let name = match &rbac.stat_prefix {
            _ if of_requests => &self.listener.name.value,
            Some(prefix) => &prefix.value,
            None => &filter.name.value,
        };
        RbacScope {
            of_requests,
            name: name.clone(),
            rules_prefix: rbac.rules_stat_prefix.clone(),
            shadow_prefix: rbac.shadow_rules_stat_prefix.clone(),
        }
    }
}
