//! Contexts of connections.

use std::rc::Rc;

use weir_abi::{ContextId, NetworkStatus, PeerType, Side, Vm, VmConfig, VmFailed};

use crate::guest::Guest;
use crate::world::{Journal, TestConnection, plugin, start};

/// A guest on one connection, as filter 3 of its chain.
struct Rig {
    journal: Journal,
    vm: Vm,
    connection: Rc<TestConnection>,
    context: ContextId,
}

impl Rig {
    fn new(guest: &Guest) -> Self {
        let (host, vm) = start(guest, VmConfig::default());
        let vm = vm.unwrap();
        let root = vm.start_plugin(plugin("test")).unwrap();
        let journal = host.journal.clone();
        journal.take();
        let connection = Rc::new(TestConnection::new(journal.clone()));
        let context = vm.create_connection(root, connection.clone(), 3).unwrap();
        Self {
            journal,
            vm,
            connection,
            context,
        }
    }

    fn data(&self, side: Side) -> Result<NetworkStatus, VmFailed> {
        self.vm.on_data(self.context, side, 11, false)
    }
}

#[test]
fn callbacks_come_with_their_arguments_and_the_log_behind_done() {
    let mut guest = Guest::new();
    for callback in [
        "proxy_on_context_create",
        "proxy_on_new_connection",
        "proxy_on_downstream_data",
        "proxy_on_upstream_data",
        "proxy_on_downstream_connection_close",
        "proxy_on_upstream_connection_close",
        "proxy_on_done",
        "proxy_on_log",
        "proxy_on_delete",
    ] {
        guest = guest.on(callback, "args");
    }
    let rig = Rig::new(&guest);
    let (vm, context) = (&rig.vm, rig.context);
    assert_eq!(vm.on_new_connection(context), Ok(NetworkStatus::Continue));
    let status = vm.on_data(context, Side::Downstream, 5, false);
    assert_eq!(status, Ok(NetworkStatus::Continue));
    let status = vm.on_data(context, Side::Upstream, 6, true);
    assert_eq!(status, Ok(NetworkStatus::Continue));
    let closed = vm.on_connection_close(context, Side::Upstream, PeerType::Unknown);
    assert_eq!(closed, Ok(()));
    let closed = vm.on_connection_close(context, Side::Downstream, PeerType::Remote);
    assert_eq!(closed, Ok(()));
    assert_eq!(vm.active_streams(), 1);
    assert_eq!(vm.delete_connection(context), Ok(()));
    assert_eq!(vm.active_streams(), 0);
    assert_eq!(
        rig.journal.take(),
        [
            "proxy_on_context_create(2, 1)",
            "proxy_on_new_connection(2)",
            "proxy_on_downstream_data(2, 5, 0)",
            "proxy_on_upstream_data(2, 6, 1)",
            "proxy_on_upstream_connection_close(2, 0)",
            "proxy_on_downstream_connection_close(2, 2)",
            "proxy_on_done(2)",
            "proxy_on_log(2)",
            "proxy_on_delete(2)",
        ]
    );
    assert_eq!(vm.on_new_connection(context), Err(VmFailed));
}

#[test]
fn a_side_s_bytes_are_visible_from_their_callback_until_it_continues() {
    let script = "get_buffer_bytes 2 0 4
                  get_buffer_bytes 3 0 4";
    let rig = Rig::new(
        &Guest::new()
            .on("proxy_on_new_connection", script)
            .on("proxy_on_downstream_data", &format!("{script}\nreturn 1"))
            .on("proxy_on_upstream_data", script)
            .on("proxy_on_downstream_connection_close", script),
    );
    assert!(rig.vm.on_new_connection(rig.context).is_ok());
    assert_eq!(rig.journal.take(), ["0 null 0", "0 null 0"]);
    assert_eq!(rig.data(Side::Downstream), Ok(NetworkStatus::Stop));
    assert_eq!(rig.journal.take(), ["0 from", "0 null 0"]);
    assert_eq!(rig.data(Side::Upstream), Ok(NetworkStatus::Continue));
    assert_eq!(rig.journal.take(), ["0 from", "0 from"]);
    let closed = rig
        .vm
        .on_connection_close(rig.context, Side::Downstream, PeerType::Local);
    assert!(closed.is_ok());
    assert_eq!(rig.journal.take(), ["0 null 0", "0 null 0"]);
}

#[test]
fn bytes_are_changed_at_their_ends_only() {
    let script = "set_buffer_bytes 2 0 4 'FROM'
                  set_buffer_bytes 2 99 0 '!'
                  set_buffer_bytes 2 2 1 'x'
                  set_buffer_bytes 3 0 0 'x'
                  get_buffer_status 2";
    let rig = Rig::new(&Guest::new().on("proxy_on_downstream_data", script));
    assert!(rig.data(Side::Downstream).is_ok());
    assert_eq!(rig.journal.take(), ["0", "0", "2", "2", "0 12 0"]);
    assert_eq!(rig.connection.text(Side::Downstream), "FROM-client!");
    assert_eq!(rig.connection.text(Side::Upstream), "from-upstream");
}

#[test]
fn continue_and_close_are_done_when_the_callback_has_returned() {
    let script = "continue_stream 2
                  close_stream 2
                  close_stream 3
                  continue_stream 0
                  continue_stream 1
                  continue_stream 3
                  continue_stream 4
                  close_stream 0
                  close_stream 4";
    let rig = Rig::new(&Guest::new().on("proxy_on_new_connection", script));
    assert!(rig.vm.on_new_connection(rig.context).is_ok());
    assert_eq!(
        rig.journal.take(),
        [
            "0",
            "0",
            "0",
            "0",
            "0",
            "12",
            "2",
            "0",
            "2",
            "continue by 3",
            "close by 3",
        ]
    );
}

#[test]
fn nothing_can_be_done_to_a_connection_that_is_closed() {
    let script = "continue_stream 2
                  close_stream 2";
    let rig = Rig::new(
        &Guest::new()
            .on("proxy_on_downstream_connection_close", script)
            .on("proxy_on_log", script),
    );
    let closed = rig
        .vm
        .on_connection_close(rig.context, Side::Downstream, PeerType::Local);
    assert!(closed.is_ok());
    assert!(rig.vm.delete_connection(rig.context).is_ok());
    assert_eq!(rig.journal.take(), ["0", "0", "0", "0"]);
}

#[test]
fn there_are_properties_and_no_header_maps() {
    let script = "get_header_map_value 0 ':path'
                  get_header_map_pairs 0
                  set_property 'mine' 'one'
                  get_property 'mine'
                  get_property 'plugin_name'
                  get_property 'source'
                  get_property 'nothing'";
    let rig = Rig::new(&Guest::new().on("proxy_on_new_connection", script));
    assert!(rig.vm.on_new_connection(rig.context).is_ok());
    let told = rig.journal.take();
    assert_eq!(told, ["2", "0 null 0", "0", "0 one", "0 test", "3", "1"]);
}

#[test]
fn a_trap_ends_the_context_without_another_callback() {
    let guest = Guest::new()
        .on("proxy_on_downstream_data", "trap")
        .on("proxy_on_done", "args");
    let rig = Rig::new(&guest);
    assert_eq!(rig.data(Side::Downstream), Err(VmFailed));
    rig.journal.take();
    assert_eq!(rig.vm.delete_connection(rig.context), Err(VmFailed));
    assert!(rig.journal.take().is_empty());
}
