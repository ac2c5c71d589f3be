//! The table of hostcalls.

use std::collections::BTreeMap;

use crate::{code, document, rows};

/// What the operations of the conformance suite's probe call.
const OPERATIONS: [(&str, &str); 45] = [
    ("add", "proxy_add_header_map_value"),
    ("buffer_status", "proxy_get_buffer_status"),
    ("call_status", "proxy_get_status"),
    ("clear_route_cache", "proxy_clear_route_cache"),
    ("close", "proxy_close_stream"),
    ("configuration", "proxy_get_configuration"),
    ("continue_request", "proxy_continue_request"),
    ("continue_response", "proxy_continue_response"),
    ("effective", "proxy_set_effective_context"),
    ("foreign", "proxy_call_foreign_function"),
    ("foreign_done", "proxy_call_foreign_function"),
    ("get", "proxy_get_header_map_value"),
    ("grpc_call", "proxy_grpc_call"),
    ("grpc_cancel", "proxy_grpc_cancel"),
    ("grpc_close", "proxy_grpc_close"),
    ("grpc_send", "proxy_grpc_send"),
    ("grpc_stream", "proxy_grpc_stream"),
    ("http_call", "proxy_http_call"),
    ("log", "proxy_log"),
    ("log_level", "proxy_get_log_level"),
    ("map_size", "proxy_get_header_map_size"),
    ("metric", "proxy_define_metric"),
    ("metric_add", "proxy_increment_metric"),
    ("metric_get", "proxy_get_metric"),
    ("metric_record", "proxy_record_metric"),
    ("pairs", "proxy_get_header_map_pairs"),
    ("property", "proxy_get_property"),
    ("proxy_done", "proxy_done"),
    ("queue_pop", "proxy_dequeue_shared_queue"),
    ("queue_push", "proxy_enqueue_shared_queue"),
    ("queue_register", "proxy_register_shared_queue"),
    ("queue_resolve", "proxy_resolve_shared_queue"),
    ("read", "proxy_get_buffer_bytes"),
    ("remove", "proxy_remove_header_map_value"),
    ("reply", "proxy_send_local_response"),
    ("resolve_dns", "envoy_resolve_dns"),
    ("resume", "proxy_continue_stream"),
    ("set", "proxy_replace_header_map_value"),
    ("set_pairs", "proxy_set_header_map_pairs"),
    ("set_property", "proxy_set_property"),
    ("shared_get", "proxy_get_shared_data"),
    ("shared_set", "proxy_set_shared_data"),
    ("tick_period", "proxy_set_tick_period_milliseconds"),
    ("time", "proxy_get_current_time_nanoseconds"),
    ("write", "proxy_set_buffer_bytes"),
];

/// Hostcalls by name: signature and statuses.
fn table() -> BTreeMap<String, (String, String)> {
    let text = document("docs/guide/src/hostcalls.md");
    let (_, table) = text.split_once("\n## The table\n").unwrap();
    let table = table.split("\n## ").next().unwrap();
    let mut hostcalls = BTreeMap::new();
    for row in rows(table) {
        let [name, signature, statuses, _] = &row[..] else {
            panic!("{row:?}");
        };
        let entry = (code(signature)[0].to_owned(), statuses.clone());
        let before = hostcalls.insert(code(name)[0].to_owned(), entry);
        assert!(before.is_none(), "{name} twice");
    }
    hostcalls
}

#[test]
fn the_table_has_every_hostcall_with_its_signature() {
    let mut table = table();
    for hostcall in weir_abi::hostcalls() {
        if hostcall.namespace != "env" {
            continue;
        }
        let row = table.remove(hostcall.name);
        let (signature, _) = row.unwrap_or_else(|| panic!("{} is missing", hostcall.name));
        let known = weir_devtools::signature(&hostcall);
        assert_eq!(Some(signature), known, "{}", hostcall.name);
    }
    assert!(table.is_empty(), "there are no such hostcalls: {table:?}");
}

/// Weir's statuses in a cell of `conformance/expected`: behind a bar, if there is one,
/// and divided by a stroke where VMs of one plugin differ.
fn of_weir(cell: &str) -> impl Iterator<Item = u32> {
    let own = cell.rsplit('|').next().unwrap_or_default();
    own.split('/').filter_map(|status| status.parse().ok())
}

#[test]
fn the_table_has_every_status_that_was_answered_in_any_callback() {
    let table = table();
    let mut seen = 0;
    for version in ["0.1.0", "0.2.0", "0.2.1"] {
        let answers = document(&format!("conformance/expected/hostcalls-{version}.txt"));
        for line in answers.lines() {
            let Some((operation, cells)) = line.split_once(" | ") else {
                continue;
            };
            let Some(word) = operation.split_whitespace().next() else {
                continue;
            };
            if word.starts_with("wasi_") {
                continue;
            }
            let hostcall = OPERATIONS.iter().find(|(name, _)| *name == word);
            let (_, hostcall) = hostcall.unwrap_or_else(|| panic!("what does `{word}` call?"));
            let (_, statuses) = &table[*hostcall];
            for status in cells.split_whitespace().flat_map(of_weir) {
                let name = format!("{:?}", weir_abi::Status::from_wire(status).unwrap());
                let told = name == "Ok" || statuses.contains(&format!("`{name}`"));
                assert!(told, "{version}: {operation} answers {name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 1000, "{seen}");
}

#[test]
fn every_status_is_one() {
    for (name, (_, statuses)) in table() {
        for word in code(&statuses) {
            let is_status = (0..=12)
                .filter_map(weir_abi::Status::from_wire)
                .any(|status| format!("{status:?}") == word);
            let is_other =
                word.starts_with(|c: char| c.is_lowercase() || c == ':') || word == "GrpcService";
            assert!(is_status || is_other, "{name}: {word}");
        }
    }
}
