//! What a VM and its plugins may take, call and see, by what the configuration says.

use std::time::Duration;

use weir_abi::{
    Capabilities, DataLimits, Eviction, QueueLimits, SharedLimits, TimeLimits, VmLimits,
};
use weir_config::{ByteSize, Config, Limits, SharedDataEviction};

/// What a VM may call and be called by; the VM's own word counts before the
/// plugin's.
pub(super) fn capabilities(plugin: &weir_config::PluginConfig) -> Capabilities {
    let of_vm = &plugin.vm_config.allowed_capabilities;
    let names = of_vm.as_ref().unwrap_or(&plugin.allowed_capabilities);
    Capabilities::only(names.iter().cloned())
}

/// What a VM may take: of what its filters say, the least.
pub(super) fn vm_limits(of_filters: &[Limits]) -> VmLimits {
    let default = VmLimits::default();
    let bytes = |key: fn(&Limits) -> Option<ByteSize>, default| {
        least(of_filters, |limits| key(limits).and_then(size), default)
    };
    VmLimits {
        memory: bytes(|l| l.memory, default.memory),
        start: least(of_filters, |l| l.root_callback.map(limited), default.start),
        callouts: least(of_filters, |l| l.callouts, default.callouts),
        metrics: least(of_filters, |l| l.metrics, default.metrics),
        header_bytes: bytes(|l| l.header_bytes, default.header_bytes),
        log_line_bytes: bytes(|l| l.log_line_bytes, default.log_line_bytes),
    }
}

/// The least of what filters that share a VM say of something.
pub(super) fn least<T: Ord>(
    of_filters: &[Limits],
    value: impl Fn(&Limits) -> Option<T>,
    default: T,
) -> T {
    of_filters.iter().filter_map(value).min().unwrap_or(default)
}

pub(super) fn time_limits(limits: &Limits) -> TimeLimits {
    let default = TimeLimits::default();
    TimeLimits {
        callback: limits.callback.map_or(default.callback, limited),
        root_callback: limits.root_callback.map_or(default.root_callback, limited),
        stream: limits.stream.filter(|limit| !limit.is_zero()),
    }
}

/// 0 stands for no limit.
fn limited(time: Duration) -> Duration {
    if time.is_zero() { Duration::MAX } else { time }
}

pub(super) fn shared_limits(config: &Config, vm_id: &str) -> SharedLimits {
    let bytes = |size: weir_config::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    let (data, queues) = config.shared_limits(vm_id);
    let default = SharedLimits::default();
    SharedLimits {
        data: DataLimits {
            bytes: data.bytes.map_or(default.data.bytes, bytes),
            entries: data.entries.unwrap_or(default.data.entries),
            eviction: match data.eviction {
                SharedDataEviction::None => Eviction::None,
                SharedDataEviction::Lru => Eviction::Lru,
                SharedDataEviction::Oldest => Eviction::Oldest,
            },
        },
        queues: QueueLimits {
            bytes: queues.bytes.map_or(default.queues.bytes, bytes),
            items: queues.items.unwrap_or(default.queues.items),
            queues: queues.queues.unwrap_or(default.queues.queues),
        },
    }
}

/// The variables that the guest sees. Those of the host that are not set are
/// left out, as in Envoy.
pub(super) fn environment(variables: &weir_config::EnvironmentVariables) -> Vec<(String, String)> {
    let of_host = variables
        .host_env_keys
        .iter()
        .filter_map(|key| Some((key.value.clone(), std::env::var(&key.value).ok()?)));
    let given = variables
        .key_values
        .iter()
        .map(|(key, value)| (key.value.clone(), value.clone()));
    of_host.chain(given).collect()
}

/// Bytes, if there can be so many.
pub(super) fn size(size: ByteSize) -> Option<usize> {
    usize::try_from(size.bytes()).ok()
}
