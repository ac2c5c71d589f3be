//! Who may ask the admin: nobody whose browser shows another site's page.
//!
//! The admin has no access control, and a browser on the same machine reaches it. A
//! page of another site can send it requests without reading the answers, which the
//! browser tells of (`sec-fetch-site`, `origin`); or it can give a name of its own the
//! admin's address, so that the browser takes it for one site (DNS rebinding), which
//! the name in `host` tells of.

use std::net::IpAddr;

use weir_abi::HeaderMap;

use super::request::Method;

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "the admin is not asked for as `{0}`: use its IP address or `localhost`, or add the name \
         to `admin.allowed_hosts`"
    )]
    Host(String),
    #[error("a page of another site must not change anything here")]
    CrossSite,
}

/// Checks a request, of which `is_allowed` says by what other names it may ask.
///
/// # Errors
/// Why it is refused.
pub(super) fn check(
    headers: &HeaderMap,
    method: Method,
    mut is_allowed: impl FnMut(&str) -> bool,
) -> Result<(), Refused> {
    let text = |name: &[u8]| {
        headers
            .get(name)
            .map(|v| String::from_utf8_lossy(v).into_owned())
    };
    let host = text(b":authority");
    // Who names no host is no browser.
    if let Some(authority) = &host {
        let name = name(authority);
        if !is_own(name) && !is_allowed(name) {
            return Err(Refused::Host(name.escape_debug().to_string()));
        }
    }
    if method == Method::Get {
        return Ok(());
    }
    let site = text(b"sec-fetch-site");
    if site.is_some_and(|site| !matches!(site.as_str(), "same-origin" | "none")) {
        return Err(Refused::CrossSite);
    }
    let same = |origin: &String| {
        let (_, authority) = origin.split_once("://")?;
        Some(host.as_ref()?.eq_ignore_ascii_case(authority))
    };
    match text(b"origin") {
        Some(origin) if same(&origin) != Some(true) => Err(Refused::CrossSite),
        _ => Ok(()),
    }
}

/// The name in an authority, without its port and the brackets of an IPv6 address.
fn name(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

/// An address needs no name server, and so none that lies.
fn is_own(name: &str) -> bool {
    let local = name.eq_ignore_ascii_case("localhost");
    local || name.to_ascii_lowercase().ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(method: Method, headers: &[(&'static str, &'static str)]) -> Result<(), Refused> {
        let headers: HeaderMap = headers.iter().copied().collect();
        check(&headers, method, |name| {
            name.eq_ignore_ascii_case("weir.internal")
        })
    }

    #[test]
    fn names_that_others_could_give_the_admin_are_refused() {
        for host in [
            "127.0.0.1:9901",
            "127.0.0.1",
            "[::1]:9901",
            "10.0.0.7:9901",
            "localhost:9901",
            "LOCALHOST",
            "weir.localhost:1",
            "Weir.Internal:9901",
        ] {
            assert_eq!(
                checked(Method::Get, &[(":authority", host)]),
                Ok(()),
                "{host}"
            );
        }
        for host in [
            "evil.example:9901",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "",
            "admin",
        ] {
            let refused = checked(Method::Get, &[(":authority", host)]);
            assert!(matches!(refused, Err(Refused::Host(_))), "{host}");
        }
        assert_eq!(checked(Method::Get, &[]), Ok(()));
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let host = (":authority", "127.0.0.1:9901");
        for own in [
            &[host][..],
            &[
                host,
                ("sec-fetch-site", "same-origin"),
                ("origin", "http://127.0.0.1:9901"),
            ],
            &[host, ("sec-fetch-site", "none")],
        ] {
            assert_eq!(checked(Method::Post, own), Ok(()), "{own:?}");
        }
        for other in [
            &[host, ("sec-fetch-site", "cross-site")][..],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("origin", "http://evil.example")],
            &[host, ("origin", "http://127.0.0.1:8080")],
            &[host, ("origin", "null")],
            &[("origin", "http://127.0.0.1:9901")],
        ] {
            assert_eq!(
                checked(Method::Post, other),
                Err(Refused::CrossSite),
                "{other:?}"
            );
            assert_eq!(checked(Method::Get, other), Ok(()), "{other:?}");
        }
    }
}
