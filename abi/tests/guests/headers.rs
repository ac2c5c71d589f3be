//! Header maps while they are visible.

use weir_abi::HttpMap;

use crate::guest::Guest;
use crate::world::{Rig, in_request_headers};

/// The request headers after a guest did this to them, and its reports.
fn changed(script: &str) -> (String, Vec<String>) {
    let rig = Rig::new(&Guest::new().on("proxy_on_request_headers", script));
    rig.request_headers();
    let mut told = rig.told();
    told.retain(|line| line != "route cleared");
    (rig.stream.text(HttpMap::RequestHeaders), told)
}

const BEFORE: &str = ":authority=example.com :path=/shop?q=1#top :method=GET :scheme=http \
                      x-one=1 x-two=a x-empty= x-two=b";

/// Pairs in their serialised form, written down from the specification.
pub fn pairs(pairs: &[(&str, &str)]) -> String {
    let length = |n: usize| String::from_utf8((n as u32).to_le_bytes().to_vec()).unwrap();
    let mut text = length(pairs.len());
    for (name, value) in pairs {
        text += &(length(name.len()) + &length(value.len()));
    }
    for (name, value) in pairs {
        text += &format!("{name}\0{value}\0");
    }
    text
}

#[test]
fn a_value_is_found_whatever_the_case_of_its_name() {
    let script = "get_header_map_value 0 ':path'
                  get_header_map_value 0 'X-ONE'
                  get_header_map_value 0 'x-missing'
                  get_header_map_value 0 ''";
    assert_eq!(
        in_request_headers(script),
        ["0 /shop?q=1#top", "0 1", "1", "1"]
    );
}

#[test]
fn an_empty_value_is_a_null_pointer_of_no_length() {
    let told = in_request_headers("get_header_map_value 0 'x-empty'");
    assert_eq!(told, ["0 null 0"]);
}

#[test]
fn the_first_of_several_values_is_given() {
    let told = in_request_headers("get_header_map_value 0 'x-two'");
    assert_eq!(told, ["0 a"]);
}

#[test]
fn a_missing_name_is_ok_and_empty_in_0_1_0() {
    let guest = Guest::new().markers(&["proxy_abi_version_0_1_0"]).on_with(
        "proxy_on_request_headers",
        2,
        Some(0),
        "get_header_map_value 0 'x-missing'",
    );
    let rig = Rig::new(&guest);
    rig.request_headers();
    assert_eq!(rig.told(), ["0 null 0"]);
}

#[test]
fn host_is_another_name_of_authority_in_a_request() {
    let script = "get_header_map_value 0 'host'
                  replace_header_map_value 0 'Host' 'new'
                  get_header_map_value 0 ':authority'
                  add_header_map_value 0 'host' 'two'";
    let (after, told) = changed(script);
    assert_eq!(told, ["0 example.com", "0", "0 new", "0"]);
    assert!(after.contains(":authority=new,two "), "{after}");
    assert!(!after.contains("host"), "{after}");

    let (after, _) = changed("remove_header_map_value 0 'host'");
    assert!(after.starts_with(":path="), "{after}");
}

#[test]
fn host_is_a_name_like_any_other_in_a_response() {
    let script = "replace_header_map_value 2 'host' 'h'";
    let rig = Rig::new(&Guest::new().on("proxy_on_response_headers", script));
    rig.response_headers();
    let after = rig.stream.text(HttpMap::ResponseHeaders);
    assert_eq!(after, ":status=200 content-type=text/plain host=h");
}

#[test]
fn the_size_of_a_map_is_that_of_its_names_and_values() {
    let bytes = BEFORE.replace([' ', '='], "").len() + "=".len();
    let told = in_request_headers("get_header_map_size 0");
    assert_eq!(told, [format!("0 {bytes}")]);
}

#[test]
fn a_replaced_value_comes_alone_and_last() {
    let (after, told) = changed("replace_header_map_value 0 'X-Two' 'c'");
    assert_eq!(told, ["0"]);
    assert!(after.ends_with("x-one=1 x-empty= x-two=c"), "{after}");
}

#[test]
fn a_replaced_pseudo_header_comes_last_of_the_pseudo_headers() {
    let (after, _) = changed("replace_header_map_value 0 ':path' ''");
    let start = ":authority=example.com :method=GET :scheme=http :path= x-one=1";
    assert!(after.starts_with(start), "{after}");
}

#[test]
fn a_name_is_lowered_and_an_empty_value_kept_when_it_is_set() {
    let (after, _) = changed(
        "replace_header_map_value 0 'X-UPPER' ''
         add_header_map_value 0 'X-Other' 'V'",
    );
    assert!(after.ends_with(" x-two=b x-upper= x-other=V"), "{after}");
}

#[test]
fn an_added_value_comes_last_and_leaves_the_others() {
    let (after, told) = changed("add_header_map_value 0 'x-one' '2'");
    assert_eq!(told, ["0"]);
    assert_eq!(after, format!("{BEFORE} x-one=2"));
}

#[test]
fn what_can_have_one_value_only_is_joined_with_a_comma() {
    let (after, _) = changed(
        "add_header_map_value 0 ':path' '/second'
         add_header_map_value 0 'content-length' '3'
         add_header_map_value 0 'Content-Length' '7'",
    );
    assert!(after.contains(" :path=/shop?q=1#top,/second "), "{after}");
    assert!(after.ends_with(" content-length=3,7"), "{after}");
}

#[test]
fn an_unknown_pseudo_header_stands_with_the_others() {
    let (after, _) = changed("add_header_map_value 0 ':foo' 'bar'");
    assert!(after.contains(":scheme=http :foo=bar x-one=1"), "{after}");
}

#[test]
fn all_values_of_a_name_are_removed_and_a_missing_name_is_no_error() {
    let (after, told) = changed(
        "remove_header_map_value 0 'X-Two'
         remove_header_map_value 0 'x-missing'",
    );
    assert_eq!(told, ["0", "0"]);
    assert!(after.ends_with(" x-one=1 x-empty="), "{after}");
}

#[test]
fn any_byte_can_be_part_of_a_name_or_value() {
    let (after, told) = changed("add_header_map_value 0 '' 'a\u{1}b\u{7f}'");
    assert_eq!(told, ["0"]);
    assert_eq!(after, format!("{BEFORE} =a\\x01b\\x7f"));
}

#[test]
fn all_pairs_are_given_in_their_serialised_form() {
    let told = in_request_headers("get_header_map_pairs 0");
    let entries: Vec<_> = BEFORE
        .split(' ')
        .map(|e| e.split_once('=').unwrap())
        .collect();
    assert_eq!(
        told,
        [format!("0 {}", pairs(&entries).as_bytes().escape_ascii())]
    );
}

#[test]
fn all_pairs_of_an_empty_map_are_a_null_pointer() {
    let told = in_request_headers("set_header_map_pairs 0 ''\nget_header_map_pairs 0");
    assert_eq!(told, ["route cleared", "0", "0 null 0"]);
}

#[test]
fn setting_all_pairs_replaces_the_map_with_pseudo_headers_first() {
    let new = pairs(&[
        ("z", "1"),
        ("Host", "h"),
        ("a", ""),
        (":path", "/"),
        ("z", "2"),
    ]);
    let (after, told) = changed(&format!("set_header_map_pairs 0 '{new}'"));
    assert_eq!(told, ["0"]);
    assert_eq!(after, ":authority=h :path=/ z=1 a= z=2");
}

#[test]
fn malformed_pairs_empty_the_map() {
    let good = pairs(&[("a", "1")]);
    let lying = good.replace('\u{1}', "\u{2}");
    for bad in [
        "\u{1}",
        &good[..good.len() - 1],
        &(good.clone() + "x"),
        &lying,
    ] {
        let (after, told) = changed(&format!("set_header_map_pairs 0 '{bad}'"));
        assert_eq!((after.as_str(), &told[..]), ("", &["0".to_owned()][..]));
    }
}

#[test]
fn every_spelling_of_no_pairs_empties_the_map() {
    for empty in ["", "\0", "\0\0\0\0"] {
        let (after, told) = changed(&format!("set_header_map_pairs 0 '{empty}'"));
        assert_eq!((after.as_str(), &told[..]), ("", &["0".to_owned()][..]));
    }
}

#[test]
fn a_change_of_the_request_headers_clears_the_route_and_no_other_does() {
    for change in [
        "add_header_map_value {} 'a' 'b'",
        "replace_header_map_value {} 'a' 'b'",
        "remove_header_map_value {} 'a'",
        "set_header_map_pairs {} ''",
    ] {
        let told = in_request_headers(&change.replace("{}", "0"));
        assert_eq!(told, ["route cleared", "0"], "{change}");
        let script = change.replace("{}", "2");
        let rig = Rig::new(&Guest::new().on("proxy_on_response_headers", &script));
        rig.response_headers();
        assert_eq!(rig.told(), ["0"], "{change}");
    }
    assert_eq!(in_request_headers("get_header_map_size 0").len(), 1);
}

#[test]
fn the_route_can_be_cleared_by_a_call_of_its_own_in_0_1_0() {
    let told = in_request_headers("clear_route_cache");
    assert_eq!(told, ["route cleared", "0"]);
}
