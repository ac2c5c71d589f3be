//! Whatever the text, the answer is a configuration or errors.

use std::fmt::Write;

const TEXT: &str = r#"
workers: 2 # ä comment
admin: { address: 127.0.0.1:9901 }
listeners:
  - name: "edge"
    address: '[::1]:8443'
    http_filters:
      - name: auth
        wasm:
          vm_config: { vm_id: x, code: { local: { filename: auth.wasm } } }
          configuration: &any
            "@type": type.googleapis.com/google.protobuf.StringValue
            value: |
              {"a": "ü"}
      - name: two
        wasm: { vm_config: { code: { local: { filename: b.wasm } } }, configuration: *any }
    routes: [{ match: { prefix: / }, cluster: web, timeout: 1.5s }]
clusters:
  - { name: web, endpoints: [127.0.0.1:9001] }
"#;

fn check(text: &str) {
    if let Err(errors) = weir_config::parse("weir.yaml", text) {
        assert!(errors.iter().count() > 0);
        for error in &errors {
            assert!(error.span().start <= error.span().end, "{error:?}");
            assert!(error.span().end <= text.len(), "{error:?}");
        }
        assert!(errors.plain().starts_with("error: weir.yaml:"));
        assert!(!errors.fancy(false).is_empty());
    }
}

#[test]
fn a_file_cut_off_anywhere_is_read_or_refused() {
    for end in (0..TEXT.len()).filter(|end| TEXT.is_char_boundary(*end)) {
        check(&TEXT[..end]);
    }
}

#[test]
fn a_file_with_any_character_replaced_is_read_or_refused() {
    for (at, old) in TEXT.char_indices() {
        for new in [
            "", "\t", "\n", ":", "[", "}", "\"", "&", "*", "-", "é", "\0",
        ] {
            let mut text = TEXT.to_owned();
            text.replace_range(at..at + old.len_utf8(), new);
            check(&text);
        }
    }
}

#[test]
fn of_many_errors_the_first_hundred_are_listed() {
    let mut text = String::from("listeners: [{ name: edge, address: 127.0.0.1:0 }]\n");
    for key in 0..105 {
        let _ = writeln!(text, "k{key}: 1");
    }
    let Err(errors) = weir_config::parse("weir.yaml", &text) else {
        panic!("unknown keys are accepted");
    };
    assert_eq!(errors.iter().count(), 100);
    assert_eq!(errors.omitted(), 5);
    assert!(errors.plain().ends_with("\n5 more errors are not shown\n"));
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let text = "#".repeat((16 << 20) + 1);
    let Err(errors) = weir_config::parse("weir.yaml", &text) else {
        panic!("it is accepted");
    };
    assert_eq!(
        errors.plain(),
        "error: weir.yaml:1:1: the file is larger than 16777216 bytes\n"
    );
}
