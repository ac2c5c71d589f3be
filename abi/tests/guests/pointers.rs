//! Pointers that lie: status 6, and no trap.

use crate::guest::Guest;
use crate::signatures::HOSTCALLS;
use crate::world::Rig;

/// An address whose first byte is the last of the memory, which has 4 pages.
const EDGE: u32 = 4 * 65_536 - 1;
const FAR: u32 = u32::MAX;

/// The status of a hostcall with these arguments, pointers to hand back
/// included.
fn status(callback: &str, name: &str, arguments: &str) -> String {
    let arguments: String = arguments
        .split_whitespace()
        .map(|n| format!(" (i32.const {n})"))
        .collect();
    assert!(HOSTCALLS.iter().any(|(n, ..)| *n == name));
    let call = format!("(call $report (call ${name}{arguments}) (i32.const 0))");
    let guest = Guest::new().importing(name).on(callback, &call);
    // Something to find for those that look it up.
    let guest = guest.text(r#"(data (i32.const 512) ":path")"#);
    let rig = Rig::new(&guest);
    rig.stream
        .set_body(weir_abi::Direction::Request, "some bytes");
    match callback {
        "proxy_on_request_body" => {
            let direction = weir_abi::Direction::Request;
            rig.vm.on_body(rig.context, direction, 10, false).unwrap();
        }
        _ => drop(rig.request_headers()),
    }
    let mut told = rig.told();
    told.retain(|line| line.parse::<u32>().is_ok());
    told.concat()
}

#[test]
fn a_pointer_outside_the_memory_is_an_invalid_access_wherever_it_stands() {
    let rqh = "proxy_on_request_headers";
    for (name, good, bad) in [
        (
            "proxy_log",
            "2 512 5",
            &["2 FAR 5", "2 EDGE 2", "2 512 FAR"][..],
        ),
        ("proxy_get_log_level", "16", &["FAR", "EDGE"]),
        ("proxy_get_current_time_nanoseconds", "16", &["FAR", "EDGE"]),
        (
            "proxy_get_status",
            "16 20 24",
            &["FAR 20 24", "16 FAR 24", "16 20 EDGE"],
        ),
        (
            "proxy_get_header_map_value",
            "0 512 5 16 20",
            &[
                "0 FAR 5 16 20",
                "0 512 FAR 16 20",
                "0 512 5 FAR 20",
                "0 512 5 16 EDGE",
            ],
        ),
        (
            "proxy_get_header_map_pairs",
            "0 16 20",
            &["0 FAR 20", "0 16 FAR", "0 EDGE 20"],
        ),
        ("proxy_get_header_map_size", "0 16", &["0 FAR", "0 EDGE"]),
        (
            "proxy_add_header_map_value",
            "0 512 5 512 5",
            &[
                "0 FAR 5 512 5",
                "0 512 5 FAR 5",
                "0 512 FAR 512 5",
                "0 512 5 512 FAR",
            ],
        ),
        (
            "proxy_replace_header_map_value",
            "0 512 5 512 5",
            &["0 EDGE 5 512 5", "0 512 5 EDGE 5"],
        ),
        (
            "proxy_remove_header_map_value",
            "0 512 5",
            &["0 FAR 5", "0 512 FAR"],
        ),
        (
            "proxy_set_header_map_pairs",
            "0 0 4",
            &["0 FAR 4", "0 0 FAR"],
        ),
        (
            "proxy_set_property",
            "512 5 512 5",
            &["FAR 5 512 5", "512 5 FAR 5", "512 5 512 FAR"],
        ),
        (
            "proxy_send_local_response",
            "200 512 5 512 5 0 4 -1",
            &[
                "200 FAR 5 512 5 0 4 -1",
                "200 512 5 FAR 5 0 4 -1",
                "200 512 5 512 5 FAR 4 -1",
            ],
        ),
        (
            "proxy_get_buffer_status",
            "0 16 20",
            &["0 FAR 20", "0 16 FAR"],
        ),
        ("proxy_get_configuration", "16 20", &["FAR 20", "16 EDGE"]),
        (
            "proxy_get_buffer_bytes",
            "0 0 0 16 20",
            &["0 0 0 FAR 20", "0 0 0 16 FAR"],
        ),
    ] {
        assert_eq!(status(rqh, name, good), "0", "{name} {good}");
        for bad in bad {
            let arguments = bad
                .replace("FAR", &FAR.to_string())
                .replace("EDGE", &EDGE.to_string());
            assert_eq!(status(rqh, name, &arguments), "6", "{name} {bad}");
        }
    }
}

#[test]
fn a_pointer_outside_the_memory_is_an_invalid_access_for_a_body() {
    let rqb = "proxy_on_request_body";
    for (name, arguments, expected) in [
        ("proxy_get_buffer_bytes", format!("0 0 9 {FAR} 20"), "6"),
        ("proxy_get_buffer_bytes", format!("0 0 9 16 {EDGE}"), "6"),
        ("proxy_set_buffer_bytes", format!("0 0 0 {FAR} 5"), "6"),
        ("proxy_set_buffer_bytes", format!("0 0 0 512 {FAR}"), "6"),
        ("proxy_set_buffer_bytes", "0 0 0 512 5".to_owned(), "0"),
    ] {
        assert_eq!(
            status(rqb, name, &arguments),
            expected,
            "{name} {arguments}"
        );
    }
}

#[test]
fn a_property_path_outside_the_memory_is_an_invalid_access() {
    let rqh = "proxy_on_request_headers";
    let name = "proxy_get_property";
    assert_eq!(status(rqh, name, &format!("{FAR} 5 16 20")), "6");
    assert_eq!(status(rqh, name, &format!("512 {FAR} 16 20")), "6");
    assert_eq!(status(rqh, name, "512 5 16 20"), "1");
}

#[test]
fn the_last_bytes_of_the_memory_are_inside_it() {
    let last_word = EDGE - 3;
    let rqh = "proxy_on_request_headers";
    let told = status(rqh, "proxy_get_log_level", &last_word.to_string());
    assert_eq!(told, "0");
    let told = status(rqh, "proxy_log", &format!("2 {} 0", EDGE + 1));
    assert_eq!(told, "0");
    let told = status(rqh, "proxy_log", &format!("2 {} 0", EDGE + 2));
    assert_eq!(told, "6");
}

#[test]
fn a_map_number_is_checked_before_pointers_and_reach_after_them() {
    let rqh = "proxy_on_request_headers";
    let name = "proxy_get_header_map_value";
    assert_eq!(status(rqh, name, &format!("99 {FAR} 5 16 20")), "2");
    assert_eq!(status(rqh, name, &format!("2 {FAR} 5 16 20")), "6");
    assert_eq!(status(rqh, name, "2 512 5 16 20"), "2");
}

#[test]
fn an_answer_with_a_bad_pointer_is_not_given() {
    let guest = Guest::new().importing("proxy_send_local_response").on(
        "proxy_on_request_headers",
        "(call $report (call $proxy_send_local_response (i32.const 403) (i32.const 0) (i32.const 0)
           (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const -1)) (i32.const 0))",
    );
    let rig = Rig::new(&guest);
    assert_eq!(rig.request_headers(), weir_abi::HeadersStatus::Continue);
    assert_eq!(rig.told(), ["6"]);
}

#[test]
fn pointers_need_no_alignment_and_may_be_0() {
    let rqh = "proxy_on_request_headers";
    assert_eq!(
        status(rqh, "proxy_get_header_map_value", "0 512 5 17 23"),
        "0"
    );
    assert_eq!(
        status(rqh, "proxy_get_header_map_value", "0 512 5 0 4"),
        "0"
    );
}

#[test]
fn a_hostcall_that_fails_early_leaves_the_map_alone() {
    let rqh = "proxy_on_request_headers";
    let guest = Guest::new().importing("proxy_set_header_map_pairs").on(
        rqh,
        "(call $report (call $proxy_set_header_map_pairs (i32.const 0) (i32.const -1)
           (i32.const 4)) (i32.const 0))",
    );
    let rig = Rig::new(&guest);
    rig.request_headers();
    assert_eq!(rig.told(), ["6"]);
    let after = rig.stream.text(weir_abi::HttpMap::RequestHeaders);
    assert!(after.starts_with(":authority=example.com"));
}
