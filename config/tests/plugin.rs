//! The `wasm` block means what it means in Envoy.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use weir_config::{
    Backoff, ByteSize, Code, FailurePolicy, PluginConfig, SharedDataEviction, SharedDataLimits,
    SharedQueueLimits,
};

/// The plugin configuration of the only filter, from lines of the `wasm` block.
fn plugin(lines: &str) -> PluginConfig {
    let mut text = String::from(
        "listeners:\n- name: edge\n  address: 127.0.0.1:0\n  http_filters:\n  - name: f\n    wasm:\n",
    );
    for line in lines.lines() {
        text.push_str("      ");
        text.push_str(line);
        text.push('\n');
    }
    let config = weir_config::parse("weir.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    config.listeners[0].filter_chains[0].http_filters[0]
        .wasm
        .value
        .clone()
}

const CODE: &str = "vm_config: { code: { local: { filename: f.wasm } } }\n";

#[test]
fn an_example_from_envoy_can_be_pasted_in() {
    let plugin = plugin(
        r#"
name: "my_plugin"
root_id: "my_root_id"
fail_open: false
configuration:
  "@type": "type.googleapis.com/google.protobuf.StringValue"
  value: |
    {"header": "x-user"}
reload_config:
  backoff:
    base_interval: 0.5s
    max_interval: 3s
capability_restriction_config: { allowed_capabilities: {} }
allow_on_headers_stop_iteration: true
vm_config:
  vm_id: "my_vm_id"
  runtime: "envoy.wasm.runtime.v8"
  allow_precompiled: true
  nack_on_code_cache_miss: true
  code:
    local:
      filename: "/lib/my_plugin.wasm"
  configuration:
    "@type": "type.googleapis.com/google.protobuf.BytesValue"
    value: AQID
  environment_variables:
    host_env_keys: [HOME]
    key_values: { Z: "1", A: 2 }
"#,
    );
    assert_eq!(plugin.name, "my_plugin");
    assert_eq!(plugin.root_id, "my_root_id");
    assert_eq!(plugin.configuration.value, b"{\"header\": \"x-user\"}\n");
    assert_eq!(plugin.failure_policy, None);
    assert!(plugin.allow_on_headers_stop_iteration);
    let backoff = Backoff {
        base_interval: Duration::from_millis(500),
        max_interval: Duration::from_secs(3),
    };
    assert_eq!(plugin.reload_config.backoff, backoff);

    let vm = &plugin.vm_config;
    assert_eq!(vm.vm_id, "my_vm_id");
    assert_eq!(vm.configuration.value, [1, 2, 3]);
    let environment = &vm.environment_variables;
    assert_eq!(environment.host_env_keys[0].value, "HOME");
    let pairs = environment.key_values.iter();
    let pairs: Vec<_> = pairs.map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(pairs, [("Z", "1"), ("A", "2")]);
}

#[test]
fn the_code_is_all_that_is_needed() {
    let plugin = plugin(CODE);
    assert_eq!(plugin.name, "");
    assert_eq!(plugin.root_id, "");
    assert_eq!(plugin.vm_config.vm_id, "");
    assert!(plugin.configuration.is_empty());
    assert!(plugin.vm_config.configuration.is_empty());
    assert_eq!(plugin.failure_policy, None);
    assert!(!plugin.allow_on_headers_stop_iteration);
    let backoff = Backoff {
        base_interval: Duration::from_secs(1),
        max_interval: Duration::from_secs(10),
    };
    assert_eq!(plugin.reload_config.backoff, backoff);
}

#[test]
fn configuration_reaches_the_filter_as_text_or_compact_json() {
    for (yaml, bytes) in [
        ("plain text", "plain text"),
        ("\"{ \\\"a\\\":  1 }\"", "{ \"a\":  1 }"),
        ("\"\"", ""),
        ("", ""),
        ("\"5\"", "5"),
        ("5", "5"),
        ("0x1F", "31"),
        ("-7", "-7"),
        ("true", "true"),
        ("{}", "{}"),
        ("[!!str 5, ! 6, !!int 7]", r#"["5","6",7]"#),
        (
            "{ z: 1, a: [x, ~, 1.5, yes] }",
            r#"{"z":1,"a":["x",null,1.5,"yes"]}"#,
        ),
        ("[{ \"é\\n\": \"\" }]", r#"[{"é\n":""}]"#),
        (
            "{ \"@type\": type.googleapis.com/google.protobuf.Struct, value: { b: 1, a: 2 } }",
            r#"{"b":1,"a":2}"#,
        ),
        ("{ \"@type\": google.protobuf.StringValue, value: 5 }", "5"),
        ("{ \"@type\": google.protobuf.StringValue }", ""),
        (
            "{ \"@type\": google.protobuf.BytesValue, value: aGk }",
            "hi",
        ),
        (
            "{ \"@type\": google.protobuf.BytesValue, value: Pz8_ }",
            "???",
        ),
    ] {
        let plugin = plugin(&format!("{CODE}configuration: {yaml}"));
        let found = String::from_utf8_lossy(&plugin.configuration);
        assert_eq!(found, bytes, "{yaml}");
    }
}

#[test]
fn failure_policies_have_envoys_names() {
    for (yaml, policy) in [
        ("failure_policy: FAIL_CLOSED", Some(FailurePolicy::Closed)),
        ("failure_policy: FAIL_OPEN", Some(FailurePolicy::Open)),
        ("failure_policy: FAIL_RELOAD", Some(FailurePolicy::Reload)),
        ("failure_policy: UNSPECIFIED", None),
        ("fail_open: true", Some(FailurePolicy::Open)),
        ("fail_open: false", None),
        (
            "{ fail_open: false, failure_policy: FAIL_RELOAD }",
            Some(FailurePolicy::Reload),
        ),
    ] {
        let lines = yaml.trim_matches(['{', '}', ' ']).replace(", ", "\n");
        let plugin = plugin(&format!("{CODE}{lines}"));
        assert_eq!(plugin.failure_policy, policy, "{yaml}");
    }
}

#[test]
fn runtimes_of_webassembly_are_accepted() {
    for runtime in ["v8", "wasmtime", "wamr", "wasmer"] {
        plugin(&format!(
            "vm_config: {{ runtime: envoy.wasm.runtime.{runtime}, code: {{ local: {{ filename: f.wasm }} }} }}"
        ));
    }
    plugin("vm_config: { runtime: \"\", code: { local: { filename: f.wasm } } }");
}

#[test]
fn code_can_be_inline() {
    for (yaml, bytes) in [
        ("inline_bytes: AGFzbQEAAAA=", &b"\0asm\x01\0\0\0"[..]),
        ("inline_string: (module)", b"(module)"),
    ] {
        let plugin = plugin(&format!("vm_config: {{ code: {{ local: {{ {yaml} }} }} }}"));
        let Code::Inline(code) = &plugin.vm_config.code.value else {
            panic!("{plugin:?}")
        };
        assert_eq!(code.value, bytes);
    }
}

#[test]
fn capabilities_are_allowed_by_name_for_the_plugin_and_for_its_vm() {
    let lines =
        "capability_restriction_config: { allowed_capabilities: { proxy_log: {}, fd_write: } }";
    let found = plugin(&format!("{CODE}{lines}"));
    assert_eq!(found.allowed_capabilities, ["proxy_log", "fd_write"]);
    assert_eq!(found.vm_config.allowed_capabilities, None);
    for (allowed, expected) in [
        (
            "{ allowed_capabilities: { proxy_log: {} } }",
            vec!["proxy_log".to_owned()],
        ),
        ("{ allowed_capabilities: {} }", vec![]),
        ("{}", vec![]),
    ] {
        let found = plugin(&format!(
            "vm_config: {{ capability_restriction_config: {allowed}, \
             code: {{ local: {{ filename: f.wasm }} }} }}"
        ));
        assert_eq!(found.vm_config.allowed_capabilities, Some(expected));
        assert!(found.allowed_capabilities.is_empty());
    }
}

#[test]
fn what_is_shared_has_limits() {
    let lines = "limits: { shared_data: { bytes: 1MiB, entries: 5, eviction: oldest }, \
                 shared_queues: { bytes: 2MiB, items: 6, queues: 7 } }";
    let limits = plugin(&format!("{CODE}{lines}")).limits;
    let data = SharedDataLimits {
        bytes: Some(ByteSize(1 << 20)),
        entries: Some(5),
        eviction: SharedDataEviction::Oldest,
    };
    assert_eq!(limits.shared_data.unwrap().value, data);
    let queues = SharedQueueLimits {
        bytes: Some(ByteSize(2 << 20)),
        items: Some(6),
        queues: Some(7),
    };
    assert_eq!(limits.shared_queues.unwrap().value, queues);
    let none = plugin(&format!("{CODE}limits: {{ shared_data: {{}} }}")).limits;
    assert_eq!(none.shared_data.unwrap().value, SharedDataLimits::default());
    assert_eq!(none.shared_queues, None);
}
