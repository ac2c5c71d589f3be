//! Envoy's `config.listener.v3.Filter`: what a connection passes.

use super::listener::check_terminal;
use super::message::Message;
use super::{access_log, connection_manager, security};
use crate::defaults::TCP_IDLE_TIMEOUT;
use crate::listener::Listener;
use crate::tcp_proxy::TcpProxy;

const CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";

/// `filters[]`: fills in `listener`.
pub(super) fn read(filter: Message<'_, '_>, last: bool, listener: &mut Listener) {
    let name = filter.required_text("name");
    let Some(typed) = filter.typed("typed_config") else {
        if filter.node("typed_config").is_none() {
            filter.missing("typed_config");
        }
        return;
    };
    match typed.name.as_str() {
        CONNECTION_MANAGER => {
            check_terminal(&filter, &name, true, last);
            connection_manager::read(&typed.message, listener);
        }
        TCP_PROXY => {
            check_terminal(&filter, &name, true, last);
            tcp_proxy(&typed.message, listener);
        }
        other => {
            let what = format!("{}: the network filter `{name}` ({other})", filter.path());
            security::outside(&filter, &what, &name, other);
            typed.message.close();
            filter.close();
        }
    }
}

fn tcp_proxy(message: &Message<'_, '_>, listener: &mut Listener) {
    message.inert("stat_prefix");
    listener.tcp = Some(TcpProxy {
        cluster: message.required_text("cluster"),
        idle_timeout: message.limit("idle_timeout", Some(TCP_IDLE_TIMEOUT)),
    });
    access_log::read(message, listener);
}
