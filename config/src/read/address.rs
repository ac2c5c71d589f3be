//! `127.0.0.1:8080`, `[::1]:8080`, `unix:/run/weir.sock`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::json;

use crate::address::Address;
use crate::error::Problem;
use crate::not_yet::NotYet;
use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::source::Span;
use crate::yaml::Node;

impl FromYaml for SocketAddr {
    const EXPECTED: &'static str = "an address such as `127.0.0.1:8080` or `\"[::1]:8080\"`";

    fn placeholder() -> Self {
        Self::from((Ipv4Addr::UNSPECIFIED, 0))
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text().filter(|text| !text.is_empty()) else {
            return mismatch(node, problems);
        };
        text.parse().unwrap_or_else(|_| {
            problems.push(problem(text, node.span));
            Self::placeholder()
        })
    }

    fn shape() -> Shape {
        Shape::Is(json!({ "type": "string", "pattern": format!("^{IP_PATTERN}$") }))
    }
}

/// A regular expression for an IP address and a port.
const IP_PATTERN: &str = r"([0-9.]+|\[[0-9A-Fa-f:.%]+\]):[0-9]+";

impl FromYaml for Address {
    const EXPECTED: &'static str = SocketAddr::EXPECTED;

    fn placeholder() -> Self {
        Self::Ip(SocketAddr::placeholder())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match node.text().and_then(Self::unix_of_written) {
            Some(Ok(name)) => Self::Unix(name),
            Some(Err(error)) => {
                let help = "for example `unix:/run/weir.sock`, or `unix:@weir`";
                problems.push(Problem::new(node.span, error.to_string()).help(help));
                Self::placeholder()
            }
            None => Self::Ip(SocketAddr::read(node, problems)),
        }
    }

    fn shape() -> Shape {
        let pattern = format!("^({IP_PATTERN}|unix:[/@].+)$");
        Shape::Is(json!({ "type": "string", "pattern": pattern }))
    }
}

/// What is wrong with an address that does not parse.
fn problem(text: &str, span: Span) -> Problem {
    if text.starts_with("unix:") {
        return Problem::new(span, "an IP address is needed here, not a Unix socket");
    }
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let in_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.contains(char::is_alphabetic) && host.chars().all(in_name) {
        return NotYet::HostNames.problem(span);
    }
    Problem::new(span, format!("`{text}` is not an address")).help(advice(text))
}

/// How to write what was probably meant.
fn advice(text: &str) -> String {
    if text.starts_with('/') {
        return format!("write a Unix socket as `unix:{text}`");
    }
    if let Some((_, rest)) = text.split_once("://") {
        let address = rest.split('/').next().unwrap_or(rest);
        return format!("write it without the scheme: `{address}`");
    }
    let unbracketed = text.trim_start_matches('[').trim_end_matches(']');
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let has_port = port.parse::<u16>().is_ok();
    if text.parse::<u16>().is_ok() {
        format!("add the IP address to listen on: `0.0.0.0:{text}` is all of IPv4")
    } else if text.parse::<Ipv4Addr>().is_ok() {
        format!("add the port: `{text}:8080`")
    } else if host.parse::<Ipv6Addr>().is_ok() && has_port {
        format!("put the IPv6 address in brackets: `\"[{host}]:{port}\"`")
    } else if unbracketed.parse::<Ipv6Addr>().is_ok() {
        format!("write it in brackets and with a port: `\"[{unbracketed}]:8080\"`")
    } else if matches!(host, "" | "*") && has_port {
        format!("`0.0.0.0:{port}` is all of IPv4, `\"[::]:{port}\"` all of IPv6")
    } else if host.parse::<Ipv4Addr>().is_ok() || host.ends_with(']') {
        "the port is a number from 0 to 65535".to_owned()
    } else {
        "write an IP address and a port, such as `127.0.0.1:8080`".to_owned()
    }
}
