//! The page for browsers.

use weir_conformance::{Response, Upstream, Weir, eventually};

use super::{json, start};

fn html(weir: &Weir) -> Response {
    let mut admin = weir.connect_admin();
    admin.get_with("/", &[("accept", "text/html,application/xhtml+xml,*/*")])
}

#[test]
fn browsers_get_a_page_that_stands_alone() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "", "");
    let page = html(&weir);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap();
    let nonce = nonce.split('\'').next().unwrap();
    let text = page.text();
    assert_eq!(text.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    assert!(!text.contains("{{nonce}}"));
    // Another one each time.
    assert!(!html(&weir).text().contains(nonce));
    for outside in [
        "http://",
        "https://",
        "src=",
        "@import",
        "url(",
        "innerHTML",
        "eval(",
        " on",
    ] {
        let tags = text.split('<').filter(|_| outside == " on").filter(|tag| {
            let tag = tag.split('>').next().unwrap_or_default();
            ["onclick", "onload", "onerror"]
                .iter()
                .any(|handler| tag.contains(handler))
        });
        let found = if outside == " on" {
            tags.count()
        } else {
            text.matches(outside).count()
        };
        assert_eq!(found, 0, "{outside}");
    }
    for part in [
        "<html lang=\"en\">",
        "name=\"viewport\"",
        "prefers-color-scheme: dark",
        "<noscript>",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn what_the_page_shows_is_there() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "", "");
    assert_eq!(weir.connect().get("/").status, 200);
    let data = eventually("the response is counted", || {
        let data = json(&weir.admin_get("/dashboard.json"));
        (data["listeners"][0]["figures"]["codes"][1] == 1).then_some(data)
    });
    assert_eq!(data["server"]["state"], "LIVE");
    assert!(data["uptime_seconds"].as_f64() > Some(0.0));
    let listener = &data["listeners"][0];
    assert_eq!(listener["protocol"], "http");
    assert_eq!(listener["figures"]["requests"], 1);
    let time = &listener["figures"]["time"];
    let lengths = [&time["bounds"], &time["counts"]].map(|list| list.as_array().unwrap().len());
    assert_eq!(lengths[0] + 1, lengths[1]);
    assert_eq!(listener["filters"][0]["name"], "scribe");
    assert_eq!(data["listeners"][1]["protocol"], "tcp");
    assert_eq!(data["clusters"][0]["name"], "web");
    assert_eq!(data["clusters"][0]["figures"]["requests"], 1);
    assert_eq!(data["generations"][0]["state"], "serving");
    assert_eq!(data["failures"], serde_json::json!([]));
}
