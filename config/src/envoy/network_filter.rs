//! Envoy's `config.listener.v3.Filter`: what a connection passes.

use super::listener::check_terminal;
use super::message::Message;
use super::{access_log, connection_manager, security, wasm};
use crate::defaults::TCP_IDLE_TIMEOUT;
use crate::http_filter::HttpFilter;
use crate::listener::Listener;
use crate::source::Span;
use crate::tcp_proxy::TcpProxy;

const CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const WASM: &str = "envoy.extensions.filters.network.wasm.v3.Wasm";
const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

/// `filters[]`: fills in `listener`. Gives the place and the name of a filter that
/// only a TCP proxy can have behind it.
pub(super) fn read(
    filter: Message<'_, '_>,
    last: bool,
    listener: &mut Listener,
) -> Option<(Span, String)> {
    let name = filter.required_text("name");
    let Some(typed) = filter.typed("typed_config") else {
        if filter.node("typed_config").is_none() {
            filter.missing("typed_config");
        }
        return None;
    };
    let kind = &typed.name;
    let what = format!("{}: the network filter `{name}` ({kind})", filter.path());
    match typed.name.as_str() {
        CONNECTION_MANAGER => {
            check_terminal(&filter, &name, true, last);
            connection_manager::read(&typed.message, listener);
        }
        TCP_PROXY => {
            check_terminal(&filter, &name, true, last);
            tcp_proxy(&typed.message, listener);
        }
        WASM => {
            check_terminal(&filter, &name, false, last);
            let mut name = name;
            let wasm = wasm::plugin(&typed.message)?;
            name.value = wasm::unique(&name.value, &listener.network_filters);
            listener.network_filters.push(HttpFilter { name, wasm });
            return Some((filter.at(), what));
        }
        other => {
            security::outside(&filter, &what, &name, other);
            typed.message.close();
            filter.close();
        }
    }
    None
}

fn tcp_proxy(message: &Message<'_, '_>, listener: &mut Listener) {
    message.inert("stat_prefix");
    listener.tcp = Some(TcpProxy {
        cluster: message.required_text("cluster"),
        idle_timeout: message.limit("idle_timeout", Some(TCP_IDLE_TIMEOUT)),
    });
    access_log::read(message, listener);
}
