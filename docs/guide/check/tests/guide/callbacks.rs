//! The tables of callbacks.

use std::collections::BTreeSet;

use weir_abi::Callback;

use crate::{code, document, rows};

#[test]
fn the_tables_have_every_callback() {
    let text = document("docs/guide/src/callbacks.md");
    let told: BTreeSet<_> = rows(&text)
        .iter()
        .flat_map(|row| {
            code(&row[0])
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    let (_, never) = text.split_once("\n## Never called\n").unwrap();
    for callback in Callback::all() {
        let name = callback.name();
        let found = told.contains(name) || code(never).contains(&name);
        assert!(found, "{name} is missing");
    }
    for name in told.iter().filter(|name| name.starts_with("proxy_")) {
        let known = Callback::all().any(|callback| callback.name() == name);
        assert!(known, "there is no {name}");
    }
}
