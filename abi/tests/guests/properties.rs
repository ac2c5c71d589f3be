//! Properties: those of header maps and the plugin, and their encodings.

use weir_abi::{HeaderMap, HttpMap, VmConfig};

use crate::guest::Guest;
use crate::headers::pairs;
use crate::world::{NOW, Rig, plugin, start};

/// The reports of a guest that asks for these paths, with `/` between their
/// segments, in the callback `name`.
fn asked(name: &str, paths: &[&str]) -> Vec<String> {
    let script: String = paths
        .iter()
        .map(|path| format!("get_property '{}'\n", path.replace('/', "\0")))
        .collect();
    let rig = Rig::new(&Guest::new().on(name, &script));
    rig.request_headers();
    rig.response_headers();
    rig.vm.on_log(rig.context).unwrap();
    rig.told()
}

fn in_request(path: &str) -> String {
    asked("proxy_on_request_headers", &[path]).concat()
}

fn escaped(bytes: &[u8]) -> String {
    format!("0 {}", bytes.escape_ascii())
}

#[test]
fn properties_of_the_request_are_those_of_its_headers() {
    for (path, value) in [
        ("request/path", "0 /shop?q=1#top"),
        ("request/url_path", "0 /shop"),
        ("request/query", "0 q=1"),
        ("request/host", "0 example.com"),
        ("request/scheme", "0 http"),
        ("request/method", "0 GET"),
        ("request/referer", "1"),
        ("request/useragent", "1"),
        ("request/id", "1"),
        ("request/headers/x-one", "0 1"),
        ("request/headers/X-Two", "0 a,b"),
        ("request/headers/x-empty", "0 null 0"),
        ("request/headers/x-missing", "1"),
        ("request/headers/host", "0 example.com"),
        ("request/headers/:authority", "0 example.com"),
        ("request/headers/x-one/extra", "1"),
        ("request/path/extra", "1"),
        ("request//path", "1"),
    ] {
        assert_eq!(in_request(path), value, "{path}");
    }
}

#[test]
fn referer_user_agent_and_id_are_found_when_they_are_there() {
    let script = "get_property 'request\0referer'
                  get_property 'request\0useragent'
                  get_property 'request\0id'
                  get_property 'request\0query'";
    let rig = Rig::new(&Guest::new().on("proxy_on_request_headers", script));
    let headers = [
        ("referer", "r"),
        ("user-agent", "u"),
        ("x-request-id", "i"),
        (":path", "/"),
    ];
    let headers = HeaderMap::from_iter(headers);
    rig.stream.set_map(HttpMap::RequestHeaders, Some(headers));
    rig.request_headers();
    assert_eq!(rig.told(), ["0 r", "0 u", "0 i", "0 null 0"]);
}

#[test]
fn the_whole_map_has_one_joined_entry_a_name() {
    let map = pairs(&[
        (":authority", "example.com"),
        (":method", "GET"),
        (":path", "/shop?q=1#top"),
        (":scheme", "http"),
        ("x-empty", ""),
        ("x-one", "1"),
        ("x-two", "a,b"),
    ]);
    assert_eq!(in_request("request/headers"), escaped(map.as_bytes()));
}

#[test]
fn properties_of_the_request_are_gone_in_the_response_and_back_in_the_log() {
    let paths = ["request/path", "request/headers/x-one", "request/headers"];
    let empty = escaped(&[0; 4]);
    let response = asked("proxy_on_response_headers", &paths);
    assert_eq!(response, ["1", "1", &empty]);
    let log = asked("proxy_on_log", &paths);
    assert_eq!(log[..2], ["0 /shop?q=1#top", "0 1"]);
    assert_ne!(log[2], empty);
}

#[test]
fn properties_of_the_response_come_with_it() {
    let paths = [
        "response/headers/content-type",
        "response/headers/:status",
        "response/trailers/x-trail",
        "response/headers",
    ];
    let map = pairs(&[(":status", "200"), ("content-type", "text/plain")]);
    let (map, empty) = (escaped(map.as_bytes()), escaped(&[0; 4]));
    let request = asked("proxy_on_request_headers", &paths);
    assert_eq!(request, ["1", "1", "1", &empty]);
    let response = asked("proxy_on_response_headers", &paths);
    assert_eq!(response, ["0 text/plain", "0 200", "1", &map]);
    let log = asked("proxy_on_log", &paths);
    assert_eq!(log, ["0 text/plain", "0 200", "0 rs", &map]);
}

#[test]
fn each_kind_of_value_has_its_encoding() {
    for (path, bytes) in [
        ("response/code", &(-2i64).to_le_bytes()[..]),
        ("connection/id", &3u64.to_le_bytes()),
        ("connection/mtls", &[1]),
        ("request/time", &NOW.to_le_bytes()),
        ("request/duration", &1_500u64.to_le_bytes()),
        ("metadata", pairs(&[("k", "v")]).as_bytes()),
    ] {
        assert_eq!(in_request(path), escaped(bytes), "{path}");
    }
}

#[test]
fn containers_and_the_empty_path_cannot_be_serialised() {
    for path in [
        "",
        "request",
        "response",
        "connection",
        "source",
        "destination",
        "upstream",
        "xds",
        "filter_state",
        "xds/null",
    ] {
        assert_eq!(in_request(path), "3", "{path}");
    }
}

#[test]
fn segments_are_separated_by_nul_and_one_at_the_end_is_tolerated() {
    for (path, value) in [
        ("request/path/", "0 /shop?q=1#top"),
        ("request.path", "1"),
        ("/", "1"),
        ("nope", "1"),
    ] {
        assert_eq!(in_request(path), value, "{path}");
    }
}

#[test]
fn the_plugin_is_known_in_every_callback() {
    let script = "get_property 'plugin_name'
                  get_property 'plugin_root_id'
                  get_property 'plugin_vm_id'";
    let guest = Guest::new()
        .on("proxy_on_vm_start", script)
        .on("proxy_on_tick", script);
    let config = VmConfig {
        vm_id: "the-vm".into(),
        ..VmConfig::default()
    };
    let (host, vm) = start(&guest, config);
    let vm = vm.unwrap();
    let root = vm.start_plugin(plugin("p")).unwrap();
    vm.on_tick(root).unwrap();
    let expected = ["0 p", "0 p-root", "0 the-vm"];
    assert_eq!(host.journal.take(), [expected, expected].concat());
}

#[test]
fn a_root_callback_has_no_properties_of_a_stream() {
    let script = "get_property 'request\0path'
                  get_property 'connection\0id'
                  set_property 'a' 'b'";
    let rig = Rig::new(&Guest::new().on("proxy_on_tick", script));
    rig.vm.on_tick(rig.root).unwrap();
    assert_eq!(rig.told(), ["1", "1", "1"]);
}

#[test]
fn a_property_that_is_set_can_be_read_and_overwritten() {
    let script = "set_property 'key' 'one'
                  get_property 'key'
                  set_property 'key' 'two'
                  get_property 'key'
                  set_property 'key' ''
                  get_property 'key'";
    let rig = Rig::new(&Guest::new().on("proxy_on_request_headers", script));
    rig.request_headers();
    assert_eq!(rig.told(), ["0", "0 one", "0", "0 two", "0", "0 null 0"]);
}

#[test]
fn setting_a_known_property_does_not_change_it() {
    let script = "set_property 'request\0path' '/hacked'
                  get_property 'request\0path'
                  set_property 'plugin_name' 'zz'
                  get_property 'plugin_name'
                  set_property '' 'x'
                  get_property ''";
    let rig = Rig::new(&Guest::new().on("proxy_on_request_headers", script));
    rig.request_headers();
    let expected = ["0", "0 /shop?q=1#top", "0", "0 test", "0", "3"];
    assert_eq!(rig.told(), expected);
    let set = rig.stream.properties.borrow();
    assert_eq!(set[&b"request\0path"[..]], "/hacked");
}
