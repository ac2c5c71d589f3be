//! What a table makes of requests.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use weir_abi::HeaderMap;

use super::{Action, ClusterTable, RouteTable};

/// The table of `routes`, lines of a list in YAML.
fn table(routes: &str) -> RouteTable {
    let text = format!(
        "listeners:\n- name: edge\n  address: 127.0.0.1:0\n  http: {{ envoy_headers: true }}\n  \
         routes:\n{routes}\nclusters: [{{ name: web, endpoints: [127.0.0.1:1] }}]\n"
    );
    let config = weir_config::parse("weir.yaml", &text).unwrap_or_else(|e| panic!("{e}"));
    RouteTable::build(
        &config,
        &config.listeners[0].filter_chains[0],
        &ClusterTable::of(&config),
    )
    .unwrap_or_else(|e| panic!("{}", e.plain()))
}

fn request(path: &str, headers: &[(&str, &str)]) -> HeaderMap {
    let fixed = [
        (":authority", "h.example:80"),
        (":path", path),
        (":method", "GET"),
        (":scheme", "http"),
        ("x-forwarded-proto", "http"),
    ];
    let all = fixed.iter().chain(headers);
    all.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// Names of the routes that requests take.
fn taken(table: &RouteTable, path: &str, headers: &[(&str, &str)]) -> String {
    let found = table.find(&request(path, headers));
    found.map_or_else(|| "none".to_owned(), |route| route.name.clone())
}

#[test]
fn paths_are_compared_without_query() {
    let table = table(
        "  - { name: exact, match: { path: /exact }, cluster: web }\n  \
           - { name: folded, match: { path: /Folded, case_sensitive: false }, cluster: web }\n  \
           - { name: separated, match: { path_separated_prefix: /api }, cluster: web }\n  \
           - { name: regex, match: { regex: '/users/[0-9]+' }, cluster: web }\n  \
           - { name: prefix, match: { prefix: /pre }, cluster: web }",
    );
    for (path, route) in [
        ("/exact", "exact"),
        ("/exact?q=/api", "exact"),
        ("/exact#f", "exact"),
        ("/exact/", "none"),
        ("/fOLDED", "folded"),
        ("/api", "separated"),
        ("/api/x", "separated"),
        ("/api?x", "separated"),
        ("/apis", "none"),
        ("/users/42", "regex"),
        ("/users/42?a=b", "regex"),
        ("/users/42/x", "none"),
        ("/x/users/42", "none"),
        ("/prefix", "prefix"),
        ("/pr", "none"),
        ("pre", "none"),
        ("", "none"),
    ] {
        assert_eq!(taken(&table, path, &[]), route, "{path}");
    }
}

#[test]
fn a_request_without_x_forwarded_proto_takes_no_route() {
    let table = table("  - { match: { prefix: / }, cluster: web }");
    let mut request = request("/", &[]);
    assert!(table.find(&request).is_some());
    request.remove(b"x-forwarded-proto");
    assert!(table.find(&request).is_none());
}

#[test]
fn headers_decide_too() {
    let rule = |name: &str, rest: &str| {
        format!(
            "  - {{ name: {name}, match: {{ prefix: /{name}, headers: [{{ name: X-H, {rest} }}] }}, \
             cluster: web }}\n"
        )
    };
    let table = table(
        &[
            rule("present", "present: true"),
            rule("absent", "present: false"),
            rule("exact", "exact: a"),
            rule("folded", "exact: ABC, ignore_case: true"),
            rule("inverted", "prefix: a, invert: true"),
            rule(
                "empty",
                "prefix: a, invert: true, treat_missing_as_empty: true",
            ),
            rule("suffix", "suffix: z"),
            rule("contains", "contains: b"),
            rule("regex", "regex: '[a-c]+'"),
            rule("range", "range: { start: -2, end: 3 }"),
        ]
        .concat(),
    );
    let takes = |name: &str, values: &[&str]| {
        let headers: Vec<_> = values.iter().map(|v| ("x-h", *v)).collect();
        taken(&table, &format!("/{name}"), &headers) == name
    };
    assert!(takes("present", &[""]) && !takes("present", &[]));
    assert!(takes("absent", &[]) && !takes("absent", &["a"]));
    assert!(takes("exact", &["a"]) && !takes("exact", &["A"]) && takes("exact", &["b", "a"]));
    assert!(takes("folded", &["aBc"]));
    assert!(takes("inverted", &["b"]) && !takes("inverted", &["ab"]) && !takes("inverted", &[]));
    assert!(takes("inverted", &["b", "c"]) && !takes("inverted", &["b", "a"]));
    assert!(takes("empty", &[]));
    assert!(takes("suffix", &["xyz"]) && !takes("suffix", &["zy"]));
    assert!(takes("contains", &["a", "b"]) && !takes("contains", &["a"]));
    assert!(takes("regex", &["abc"]) && !takes("regex", &["abcd"]));
    assert!(takes("range", &["-2"]) && takes("range", &["2"]));
    assert!(!takes("range", &["3"]) && !takes("range", &["x"]));
}

#[test]
fn a_host_header_is_matched_as_the_authority() {
    let table = table(
        "  - { name: r, match: { prefix: /, headers: [{ name: Host, prefix: h. }] }, cluster: web }",
    );
    assert_eq!(taken(&table, "/", &[]), "r");
}

/// Path and authority behind the rewrites of the only route.
fn rewritten(route: &str, path: &str) -> HeaderMap {
    let table = table(&format!("  - {{ {route}, cluster: web }}"));
    let mut request = request(path, &[("x-new-host", "other")]);
    let route = table.find(&request).unwrap().clone();
    let Action::Forward(forward) = &route.action else {
        panic!("{route:?}")
    };
    forward.rewrite(&mut request);
    request
}

#[test]
fn rewrites_replace_what_has_matched() {
    let path = |route: &str, path: &str| {
        let request = rewritten(route, path);
        assert_eq!(
            request.get(b"x-envoy-original-path").unwrap(),
            path.as_bytes()
        );
        String::from_utf8(request.get(b":path").unwrap().to_vec()).unwrap()
    };
    let prefix = "match: { prefix: /api/ }, prefix_rewrite: /v1/";
    assert_eq!(path(prefix, "/api/x?q=/api/"), "/v1/x?q=/api/");
    let exact = "match: { path: /a }, prefix_rewrite: /b";
    assert_eq!(path(exact, "/a?q"), "/b?q");
    let whole = "match: { regex: '/[a-z]+' }, prefix_rewrite: /b";
    assert_eq!(path(whole, "/abc?q"), "/b?q");
    let regex = "match: { prefix: / }, \
                 regex_rewrite: { pattern: '/([a-z]+)/([a-z]+)', substitution: '/\\2\\\\/\\1' }";
    assert_eq!(path(regex, "/ab/cd/ef/gh?/x/y"), "/cd\\/ab/gh\\/ef?/x/y");
}

#[test]
fn the_authority_is_rewritten() {
    let host = |route: &str| {
        let request = rewritten(route, "/");
        String::from_utf8(request.get(b":authority").unwrap().to_vec()).unwrap()
    };
    let matches = "match: { prefix: / }";
    assert_eq!(host(&format!("{matches}, host_rewrite: new")), "new");
    assert_eq!(
        host(&format!("{matches}, host_rewrite_header: X-New-Host")),
        "other"
    );
    assert_eq!(
        host(&format!("{matches}, host_rewrite_header: x-none")),
        "h.example:80"
    );
}

#[test]
fn redirects_change_what_they_name() {
    let location = |redirect: &str, path: &str| {
        let table = table(&format!(
            "  - {{ match: {{ prefix: /a }}, redirect: {{ {redirect} }} }}"
        ));
        let request = request(path, &[]);
        let route = table.find(&request).unwrap().clone();
        let Action::Redirect(redirect) = &route.action else {
            panic!("{route:?}")
        };
        let (status, location) = redirect.answer(&request);
        format!("{status} {}", String::from_utf8_lossy(&location))
    };
    for (redirect, path, expected) in [
        ("https_redirect: true", "/a?q", "301 https://h.example/a?q"),
        (
            "port_redirect: 8443, response_code: found",
            "/a",
            "302 http://h.example:8443/a",
        ),
        (
            "host_redirect: new, strip_query: true",
            "/a?q",
            "301 http://new/a",
        ),
        ("path_redirect: /b", "/a?q", "301 http://h.example:80/b?q"),
        (
            "path_redirect: '/b?n'",
            "/a?q",
            "301 http://h.example:80/b?n",
        ),
        (
            "prefix_rewrite: /b, response_code: permanent_redirect",
            "/ac?q",
            "308 http://h.example:80/bc?q",
        ),
    ] {
        assert_eq!(location(redirect, path), expected, "{redirect}");
    }
}

#[test]
fn a_substitution_without_its_group_is_refused() {
    let text = "listeners: [{ name: e, address: 127.0.0.1:0, routes: [{ match: { prefix: / }, \
                cluster: web, regex_rewrite: { pattern: a, substitution: '\\1' } }] }]\n\
                clusters: [{ name: web, endpoints: [127.0.0.1:1] }]";
    let config = weir_config::parse("weir.yaml", text).unwrap();
    let error = RouteTable::build(
        &config,
        &config.listeners[0].filter_chains[0],
        &ClusterTable::of(&config),
    )
    .unwrap_err();
    assert_eq!(
        error.message(),
        "the substitution names group 1, and the pattern has 0"
    );
}

#[test]
fn a_port_makes_a_difference_unless_it_is_not_looked_at() {
    let text = |ignores: bool| {
        format!(
            "listeners:\n- name: edge\n  address: 127.0.0.1:0\n  \
             http: {{ ignore_port_in_host_matching: {ignores} }}\n  virtual_hosts:\n  \
             - {{ name: a, domains: [h.example, '[::1]'], routes: [{{ name: found, match: {{ prefix: / }}, \
             direct_response: {{ status: 200 }} }}] }}\n"
        )
    };
    for (authority, ignores, expected) in [
        ("h.example:80", false, false),
        ("h.example:80", true, true),
        ("h.example", true, true),
        ("[::1]:80", true, true),
        ("[::1]", true, true),
        ("other.example:80", true, false),
    ] {
        let config = weir_config::parse("weir.yaml", &text(ignores)).unwrap();
        let chain = &config.listeners[0].filter_chains[0];
        let table = RouteTable::build(&config, chain, &ClusterTable::of(&config));
        let table = table.unwrap_or_else(|e| panic!("{}", e.plain()));
        let mut request = request("/", &[]);
        request.replace(":authority", authority);
        assert_eq!(table.find(&request).is_some(), expected, "{authority}");
    }
}
