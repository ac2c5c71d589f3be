//! Envoy's `config.listener.v3.Filter`: what a connection passes.

use super::elsewhere::{self, Kind};
use super::listener::check_terminal;
use super::message::Message;
use super::{access_log, connection_manager, istio, rbac, wasm};
use crate::defaults::TCP_IDLE_TIMEOUT;
use crate::filter_chain::FilterChain;
use crate::http_filter::HttpFilter;
use crate::native_filter::{Native, NativeFilter};
use crate::source::Spanned;
use crate::tcp_proxy::TcpProxy;

const CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const WASM: &str = "envoy.extensions.filters.network.wasm.v3.Wasm";
const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

/// A wasm filter: what stands behind it says whether there is a place for it.
pub(super) struct WasmFilter<'n, 'r> {
    filter: Message<'n, 'r>,
    name: Spanned<String>,
    wasm: Message<'n, 'r>,
}

impl WasmFilter<'_, '_> {
    /// Puts it in front of the listener's TCP proxy. In front of anything else
    /// Weir has none.
    pub(super) fn place(self, chain: &mut FilterChain) {
        let mut name = self.name;
        if chain.tcp.is_none() {
            let path = self.filter.path();
            let what = format!("{path}: the network filter `{name}` ({WASM})");
            let help = "only a TCP proxy can have wasm filters of connections in front of it";
            let at = self.filter.at();
            self.filter.reader.outside(at, &what, Some(help.to_owned()));
            self.wasm.close();
            self.filter.close();
        } else if let Some(wasm) = wasm::plugin(&self.wasm) {
            let native = &chain.native_network_filters;
            name.value = wasm::unique(&name.value, &chain.network_filters, native);
            chain.network_filters.push(HttpFilter::new(name, wasm));
        }
    }
}

/// `filters[]`: fills in `chain`. Gives a wasm filter, which is yet to be placed, as are
/// those `in_front` of it.
pub(super) fn read<'n, 'r>(
    filter: Message<'n, 'r>,
    last: bool,
    in_front: usize,
    chain: &mut FilterChain,
) -> Option<WasmFilter<'n, 'r>> {
    let name = filter.required_text("name");
    let Some(typed) = filter.typed("typed_config") else {
        if filter.node("typed_config").is_none() {
            filter.missing("typed_config");
        }
        return None;
    };
    match typed.name.as_str() {
        CONNECTION_MANAGER => {
            check_terminal(&filter, &name, true, last);
            connection_manager::read(&typed.message, chain);
        }
        TCP_PROXY => {
            check_terminal(&filter, &name, true, last);
            tcp_proxy(&typed.message, chain);
        }
        WASM => {
            check_terminal(&filter, &name, false, last);
            let wasm = typed.message;
            return Some(WasmFilter { filter, name, wasm });
        }
        istio::STATS => {
            check_terminal(&filter, &name, false, last);
            istio::network_filter(&filter, typed, chain);
        }
        rbac::NETWORK => {
            check_terminal(&filter, &name, false, last);
            let mut name = name;
            name.value = wasm::unique(&name.value, &[], &chain.native_network_filters);
            chain.native_network_filters.push(NativeFilter {
                name,
                place: in_front,
                kind: Native::Rbac(Box::new(rbac::network(typed.message))),
            });
        }
        _ => {
            elsewhere::note(Kind::NetworkFilter, &filter, &name, Some(typed));
            filter.close();
        }
    }
    None
}

fn tcp_proxy(message: &Message<'_, '_>, chain: &mut FilterChain) {
    message.inert("stat_prefix");
    chain.tcp = Some(TcpProxy {
        cluster: message.required_text("cluster"),
        idle_timeout: message.limit("idle_timeout", Some(TCP_IDLE_TIMEOUT)),
    });
    access_log::read(message, chain);
}
