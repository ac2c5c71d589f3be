//! What differs from run to run, or from proxy to proxy, and is left out.

/// What must differ from run to run, or from proxy to proxy.
pub(super) fn normalised(line: &str) -> String {
    let (name, value) = line.split_once(": ").unwrap_or((line, ""));
    let value = match name.to_ascii_lowercase().as_str() {
        "date" if value.ends_with(" GMT") => "(date)",
        "server" if ["reference", "envoy", "weir"].contains(&value) => "(proxy)",
        "x-envoy-upstream-service-time" => "(time)",
        // 16 bytes in base64.
        "sec-websocket-key" if value.len() == 24 => "(key)",
        "x-request-id" if value.len() == 36 => "(uuid)",
        _ => return line.to_owned(),
    };
    format!("{name}: {value}")
}

/// The same in a guest's list of pairs, such as `[date: …]`.
pub(super) fn normalised_pairs(line: &str) -> String {
    let mut told = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('[')
        && let Some((pair, after)) = after.split_once(']')
    {
        told = told + before + "[" + &normalised(pair) + "]";
        rest = after;
    }
    told + rest
}
