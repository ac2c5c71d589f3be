//! Which hosts could load a module, and why not.
//!
//! Weir is asked itself. What the others offer is what their sources define: Envoy 1.40
//! and what is built on it (proxy-wasm-cpp-host, `exports.cc` and `wasm.cc`), Kong's
//! `ngx_wasm_module` (`ngx_proxy_wasm_host.c`, `ngx_wasi_preview1_host.c`), APISIX's
//! `wasm-nginx-module` (`ngx_http_wasm_api_wasmtime.h`), MOSN's `proxy-wasm-go-host`
//! (`internal/imports/v1`).

use weir_abi::{AbiVersion, Module};

use super::module::{Contents, Import};

/// What a host makes of a module.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// What keeps it from loading.
    pub(super) obstacles: Vec<String>,
    /// What does not work as it is meant to, though it loads.
    pub(super) remarks: Vec<String>,
}

impl Verdict {
    pub(super) fn loads(&self) -> bool {
        self.obstacles.is_empty()
    }
}

/// Every host and its verdict.
pub(super) fn verdicts(contents: &Contents, wasm: &[u8]) -> Vec<(&'static str, Verdict)> {
    vec![
        ("Weir", weir(wasm)),
        ("Envoy 1.40, Istio, Envoy Gateway", envoy(contents, false)),
        ("Higress", envoy(contents, true)),
        ("Kong ngx_wasm_module", ngx(contents)),
        ("APISIX wasm-nginx-module", apisix(contents)),
        ("MOSN proxy-wasm-go-host", mosn(contents)),
    ]
}

fn weir(wasm: &[u8]) -> Verdict {
    let loaded = Module::compile(wasm);
    Verdict {
        obstacles: loaded
            .err()
            .map(|error| error.to_string())
            .into_iter()
            .collect(),
        remarks: Vec::new(),
    }
}

/// Functions that no published host but these offers.
const OF_ONE_HOST: [&str; 3] = [
    "proxy_redis_init",
    "proxy_redis_call",
    "proxy_inject_encoded_data",
];

/// The ABI versions whose modules may import a function, where those are not all.
fn gate(name: &str) -> Option<&'static [AbiVersion]> {
    match name {
        "proxy_get_configuration"
        | "proxy_continue_request"
        | "proxy_continue_response"
        | "proxy_clear_route_cache" => Some(&[AbiVersion::V0_1_0]),
        "proxy_continue_stream" | "proxy_close_stream" => {
            Some(&[AbiVersion::V0_2_0, AbiVersion::V0_2_1])
        }
        "proxy_get_log_level" => Some(&[AbiVersion::V0_2_1]),
        _ => None,
    }
}

/// What every host asks of a module.
fn common(contents: &Contents, verdict: &mut Verdict) {
    if contents.abi().is_none() {
        let found = contents.markers();
        verdict.obstacles.push(match found.first() {
            Some(marker) => format!("`{marker}` is no version that it knows"),
            None => "no marker of an ABI version is exported".to_owned(),
        });
    }
    let exports_memory = contents.exports.iter().any(|export| export.ty == "memory");
    if !exports_memory {
        verdict
            .obstacles
            .push("the memory is not exported".to_owned());
    }
    if !contents.exports("malloc") && !contents.exports("proxy_on_memory_allocate") {
        let obstacle = "no allocator is exported: `malloc` or `proxy_on_memory_allocate`";
        verdict.obstacles.push(obstacle.to_owned());
    }
}

fn missing(import: &Import) -> String {
    format!("it has no `{}.{}`", import.module, import.name)
}

fn is_wasi(import: &Import) -> bool {
    matches!(
        import.module.as_str(),
        "wasi_snapshot_preview1" | "wasi_unstable"
    )
}

/// Whether Weir, and so some version of Envoy, offers a function.
fn is_offered(import: &Import) -> bool {
    let hostcalls = weir_abi::hostcalls();
    let mut hostcalls = hostcalls.iter();
    hostcalls.any(|h| h.namespace == import.module && h.name == import.name)
}

fn envoy(contents: &Contents, higress: bool) -> Verdict {
    let mut verdict = Verdict::default();
    common(contents, &mut verdict);
    for import in &contents.imports {
        if higress && OF_ONE_HOST.contains(&import.name.as_str()) && import.module == "env" {
            continue;
        }
        let gated = gate(&import.name).zip(contents.abi());
        if !is_offered(import) {
            verdict.obstacles.push(missing(import));
        } else if let Some((versions, abi)) = gated.filter(|(v, abi)| !v.contains(abi)) {
            let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
            verdict.obstacles.push(format!(
                "it has `{}` for ABI {} only; this is {abi}",
                import.name,
                versions.join(" and ")
            ));
        } else if is_wasi(import) && matches!(import.name.as_str(), "path_link" | "path_symlink") {
            verdict
                .obstacles
                .push(format!("it declares `{}` with another type", import.name));
        }
    }
    verdict
}

/// WASI functions of `ngx_wasm_module`; any other is an error when it links.
const NGX_WASI: [&str; 18] = [
    "args_get",
    "args_sizes_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_read",
    "fd_seek",
    "fd_write",
    "path_open",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
];

/// Functions that `ngx_wasm_module` declares and does not implement.
const NGX_EMPTY: [&str; 12] = [
    "proxy_grpc_call",
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_done",
    "proxy_close_stream",
    "proxy_continue_response",
    "proxy_get_log_level",
    "proxy_get_status",
    "proxy_clear_route_cache",
    "proxy_resolve_shared_queue",
];

fn ngx(contents: &Contents) -> Verdict {
    let mut verdict = Verdict::default();
    common(contents, &mut verdict);
    for import in &contents.imports {
        let name = import.name.as_str();
        let known = match is_wasi(import) {
            true => NGX_WASI.contains(&name),
            false => is_offered(import) && !name.starts_with("envoy_"),
        };
        if !known {
            verdict.obstacles.push(missing(import));
        } else if NGX_EMPTY.contains(&name) {
            verdict
                .remarks
                .push(format!("`{name}` is not implemented there"));
        }
    }
    verdict
}

/// Functions of Envoy's that wasm-nginx-module does not define.
const APISIX_MISSING: [&str; 6] = [
    "proxy_get_log_level",
    "proxy_get_buffer_status",
    "proxy_get_header_map_size",
    "envoy_resolve_dns",
    "pthread_equal",
    "emscripten_notify_memory_growth",
];

fn apisix(contents: &Contents) -> Verdict {
    let mut verdict = Verdict::default();
    common(contents, &mut verdict);
    for import in &contents.imports {
        let name = import.name.as_str();
        if !is_offered(import) || APISIX_MISSING.contains(&name) {
            verdict.obstacles.push(missing(import));
        }
    }
    verdict
}

/// Functions of Envoy's that proxy-wasm-go-host does not define under their names.
const MOSN_MISSING: [&str; 18] = [
    "proxy_get_log_level",
    "proxy_get_configuration",
    "proxy_get_status",
    "proxy_get_buffer_status",
    "proxy_get_header_map_size",
    "proxy_continue_stream",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_clear_route_cache",
    "proxy_close_stream",
    "proxy_send_local_response",
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "envoy_resolve_dns",
    "pthread_equal",
    "emscripten_notify_memory_growth",
];

fn mosn(contents: &Contents) -> Verdict {
    let mut verdict = Verdict::default();
    common(contents, &mut verdict);
    for import in &contents.imports {
        let name = import.name.as_str();
        if !is_offered(import) || MOSN_MISSING.contains(&name) {
            verdict.obstacles.push(missing(import));
        }
    }
    if contents.imports("proxy_get_current_time_nanoseconds") {
        let remark = "`proxy_get_current_time_nanoseconds` gives the lower 32 bits only there";
        verdict.remarks.push(remark.to_owned());
    }
    verdict
}
