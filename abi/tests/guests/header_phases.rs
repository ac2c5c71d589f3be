//! Which header map can be reached when.

use weir_abi::{Direction, HttpMap};

use crate::guest::Guest;
use crate::world::{Rig, in_request_headers};

/// Tries everything on a map: get, all pairs, size, and the four changes.
fn everything(map: u32) -> String {
    format!(
        "get_header_map_value {map} 'x-trail'
         get_header_map_pairs {map}
         get_header_map_size {map}
         add_header_map_value {map} 'a' 'b'
         replace_header_map_value {map} 'a' 'b'
         remove_header_map_value {map} 'a'
         set_header_map_pairs {map} ''"
    )
}

const UNREACHABLE: [&str; 7] = ["2", "0 null 0", "2", "2", "2", "2", "2"];
const NO_SUCH_MAP: [&str; 7] = ["2"; 7];

#[test]
fn other_maps_than_that_of_the_callback_are_out_of_reach() {
    for map in [1, 2, 3, 4, 5, 6, 7] {
        assert_eq!(in_request_headers(&everything(map)), UNREACHABLE, "{map}");
    }
    for map in [8, 99, u32::MAX] {
        assert_eq!(in_request_headers(&everything(map)), NO_SUCH_MAP, "{map}");
    }
}

#[test]
fn request_headers_are_out_of_reach_once_they_have_gone_on() {
    let script = everything(0);
    let guest = Guest::new()
        .on("proxy_on_request_body", &script)
        .on("proxy_on_request_trailers", &script)
        .on("proxy_on_response_headers", &script)
        .on("proxy_on_response_body", &script);
    let rig = Rig::new(&guest);
    rig.request_headers();
    let (vm, id) = (&rig.vm, rig.context);
    vm.on_body(id, Direction::Request, 0, true).unwrap();
    assert_eq!(rig.told(), UNREACHABLE);
    vm.on_trailers(id, Direction::Request).unwrap();
    assert_eq!(rig.told(), UNREACHABLE);
    rig.response_headers();
    assert_eq!(rig.told(), UNREACHABLE);
    vm.on_body(id, Direction::Response, 0, true).unwrap();
    assert_eq!(rig.told(), UNREACHABLE);
}

#[test]
fn root_callbacks_reach_no_map() {
    let script = everything(0);
    let rig = Rig::new(&Guest::new().on("proxy_on_tick", &script));
    rig.vm.on_tick(rig.root).unwrap();
    assert_eq!(rig.told(), UNREACHABLE);
}

#[test]
fn response_headers_that_were_held_stay_in_reach_when_they_go_on() {
    let body = "get_header_map_value 2 'x-tick'";
    let guest = Guest::new().on("proxy_on_response_headers", "return 1");
    let guest = guest.on("proxy_on_response_body", body).on(
        "proxy_on_tick",
        "set_effective_context 2
             get_header_map_value 2 ':status'
             replace_header_map_value 2 'x-tick' '1'
             continue_stream 1
             get_header_map_value 2 ':status'
             replace_header_map_value 2 'x-tick' '2'",
    );
    let rig = Rig::new(&guest);
    rig.response_headers();
    rig.vm.on_tick(rig.root).unwrap();
    let expected = ["0", "0 200", "0", "0", "0 200", "0", "0 continues Response"];
    assert_eq!(rig.told(), expected);
    let after = rig.stream.text(HttpMap::ResponseHeaders);
    assert!(after.ends_with("x-tick=2"), "{after}");
    let body = rig.vm.on_body(rig.context, Direction::Response, 0, true);
    assert!(body.is_ok());
    assert_eq!(rig.told(), ["0 2"]);
}

#[test]
fn continuing_the_response_drops_the_request_too() {
    let guest = Guest::new().on("proxy_on_request_headers", "return 1").on(
        "proxy_on_tick",
        "set_effective_context 2
         get_header_map_value 0 ':path'
         continue_stream 1
         get_header_map_value 0 ':path'",
    );
    let rig = Rig::new(&guest);
    rig.request_headers();
    rig.vm.on_tick(rig.root).unwrap();
    assert_eq!(rig.told()[1..4], ["0 /shop?q=1#top", "0", "2"]);
}

#[test]
fn held_request_headers_can_be_changed_in_the_body_callback() {
    let guest = Guest::new().on("proxy_on_request_headers", "return 1").on(
        "proxy_on_request_body",
        "add_header_map_value 0 'x-late' '1'",
    );
    let rig = Rig::new(&guest);
    rig.request_headers();
    let body = rig.vm.on_body(rig.context, Direction::Request, 0, false);
    assert!(body.is_ok());
    assert_eq!(rig.told(), ["route cleared", "0"]);
}

#[test]
fn trailers_are_in_reach_in_their_own_callback() {
    let script = "get_header_map_value 3 'x-trail'
                  add_header_map_value 3 'x-new' '1'
                  get_header_map_value 1 'x-trail'";
    let rig = Rig::new(&Guest::new().on("proxy_on_response_trailers", script));
    let trailers = rig.vm.on_trailers(rig.context, Direction::Response);
    assert!(trailers.is_ok());
    assert_eq!(rig.told(), ["0 rs", "0", "2"]);
    let after = rig.stream.text(HttpMap::ResponseTrailers);
    assert_eq!(after, "x-trail=rs x-new=1");
}

#[test]
fn the_first_change_at_the_end_of_the_body_makes_trailers() {
    for (direction, callback, map, which) in [
        (
            Direction::Request,
            "proxy_on_request_body",
            HttpMap::RequestTrailers,
            1,
        ),
        (
            Direction::Response,
            "proxy_on_response_body",
            HttpMap::ResponseTrailers,
            3,
        ),
    ] {
        let script = format!(
            "get_header_map_value {which} 'x'
             add_header_map_value {which} 'x' '1'
             add_header_map_value {which} 'y' '2'
             get_header_map_value {which} 'x'"
        );
        let rig = Rig::new(&Guest::new().on(callback, &script));
        rig.stream.set_map(map, None);
        let (vm, id) = (&rig.vm, rig.context);
        vm.on_body(id, direction, 3, false).unwrap();
        assert_eq!(rig.told(), ["2", "2", "2", "2"]);
        vm.on_body(id, direction, 0, true).unwrap();
        let made = format!("trailers for {direction:?}");
        assert_eq!(rig.told(), ["2", &made, "0", "0", "0 1"]);
        assert_eq!(rig.stream.text(map), "x=1 y=2");
    }
}

#[test]
fn trailers_that_cannot_follow_are_refused() {
    let script = "add_header_map_value 3 'x' '1'";
    let rig = Rig::new(&Guest::new().on("proxy_on_response_body", script));
    rig.stream.takes_trailers.set(false);
    let body = rig.vm.on_body(rig.context, Direction::Response, 0, true);
    assert!(body.is_ok());
    assert_eq!(rig.told(), ["trailers for Response", "2"]);
}

#[test]
fn maps_can_be_read_in_the_log_and_not_changed() {
    let script = "get_header_map_value 0 ':path'
                  get_header_map_value 2 ':status'
                  get_header_map_value 3 'x-trail'
                  get_header_map_value 3 'x-missing'
                  get_header_map_value 6 ':status'
                  get_header_map_size 0
                  add_header_map_value 0 'a' 'b'
                  replace_header_map_value 2 'a' 'b'
                  remove_header_map_value 3 'x-trail'
                  set_header_map_pairs 1 ''";
    let rig = Rig::new(&Guest::new().on("proxy_on_log", script));
    rig.vm.on_log(rig.context).unwrap();
    assert_eq!(
        rig.told(),
        [
            "0 /shop?q=1#top",
            "0 200",
            "0 rs",
            "1",
            "1",
            "2",
            "2",
            "2",
            "2",
            "2"
        ]
    );
}

#[test]
fn request_trailers_are_not_kept_for_the_log() {
    let script = "get_header_map_value 1 'x-trail'\nget_header_map_pairs 1";
    let rig = Rig::new(&Guest::new().on("proxy_on_log", script));
    rig.vm.on_log(rig.context).unwrap();
    assert_eq!(rig.told(), ["1", "0 null 0"]);
}

#[test]
fn a_map_that_never_came_is_like_an_empty_one_in_the_log() {
    let script = "get_header_map_value 2 ':status'\nget_header_map_pairs 2";
    let rig = Rig::new(&Guest::new().on("proxy_on_log", script));
    rig.stream.set_map(HttpMap::ResponseHeaders, None);
    rig.vm.on_log(rig.context).unwrap();
    assert_eq!(rig.told(), ["1", "0 null 0"]);
}

#[test]
fn no_map_is_in_reach_when_the_stream_is_done() {
    let guest = Guest::new()
        .on("proxy_on_request_headers", "return 1")
        .on("proxy_on_done", &everything(0))
        .on("proxy_on_delete", &everything(2));
    let rig = Rig::new(&guest);
    rig.request_headers();
    rig.vm.on_log(rig.context).unwrap();
    rig.vm.delete_stream(rig.context).unwrap();
    assert_eq!(rig.told(), [UNREACHABLE, UNREACHABLE].concat());
}

#[test]
fn a_root_context_can_log_a_stream_it_has_not_seen() {
    let script = "args
                  get_header_map_value 0 ':path'
                  get_header_map_value 2 ':status'
                  add_header_map_value 0 'a' 'b'";
    let rig = Rig::new(&Guest::new().on("proxy_on_log", script));
    let streams = rig.vm.active_streams();
    let stream = rig.stream.clone();
    rig.vm.log_stream(rig.root, stream).unwrap();
    assert_eq!(
        rig.told(),
        ["proxy_on_log(1)", "0 /shop?q=1#top", "0 200", "2"]
    );
    assert_eq!(rig.vm.active_streams(), streams);
    let stream = rig.stream.clone();
    assert!(rig.vm.log_stream(rig.context, stream).is_err());
}
