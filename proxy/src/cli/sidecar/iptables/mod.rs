//! `weir sidecar iptables`

mod rules;
mod step;

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use weir_config::Cidr;

use self::step::Step;
pub(in crate::cli) use self::step::StepError;
use super::ports;
use crate::cli::{Error, print};

/// There, and with something in it, where the system speaks IPv6.
const IPV6_ADDRESSES: &str = "/proc/net/if_inet6";

/// The options are called as those of `istio-iptables`.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Iptables {
    /// Apply the rules to the network namespace that this runs in, rather than print
    /// what would do so. Takes `CAP_NET_ADMIN`.
    #[arg(long, conflicts_with = "remove")]
    apply: bool,
    /// Remove everything that `--apply` has made.
    #[arg(long)]
    remove: bool,
    /// With `--remove`: print what would do so.
    #[arg(long, short = 'n', requires = "remove")]
    dry_run: bool,
    #[command(flatten)]
    capture: Capture,
}

/// What is captured, and what is not.
#[derive(Debug, Clone, Args)]
struct Capture {
    /// Where outbound connections go.
    #[arg(long = "envoy-port", short = 'p', value_name = "PORT", default_value_t = ports::OUTBOUND)]
    outbound_port: u16,
    /// Where inbound connections go.
    #[arg(long = "inbound-capture-port", short = 'z', value_name = "PORT", default_value_t = ports::INBOUND)]
    inbound_port: u16,
    /// A port whose connections are never captured: that of tunnels.
    #[arg(long = "inbound-tunnel-port", short = 'e', value_name = "PORT", default_value_t = ports::TUNNEL)]
    tunnel_port: u16,
    /// Users whose connections are the sidecar's own, and are not captured.
    #[arg(
        long,
        short = 'u',
        value_name = "UID,…",
        value_delimiter = ',',
        default_value = "1337"
    )]
    proxy_uid: Vec<u32>,
    /// Groups whose connections are the sidecar's own. Default: those of `--proxy-uid`.
    #[arg(long, short = 'g', value_name = "GID,…", value_delimiter = ',')]
    proxy_gid: Option<Vec<u32>>,
    /// How inbound connections are captured.
    #[arg(
        long = "istio-inbound-interception-mode",
        short = 'm',
        value_name = "MODE",
        value_enum,
        ignore_case = true,
        default_value_t
    )]
    mode: Mode,
    /// Inbound ports that are captured: a list, `*` for all, or nothing for none.
    #[arg(
        long = "istio-inbound-ports",
        short = 'b',
        value_name = "PORT,…",
        default_value = "*"
    )]
    inbound_ports: Selection<u16>,
    /// Inbound ports that are not, where all are.
    #[arg(
        long = "istio-local-exclude-ports",
        short = 'd',
        value_name = "PORT,…",
        default_value = "15020,15021,15090"
    )]
    inbound_ports_exclude: List<u16>,
    /// Ranges of addresses to which outbound connections are captured: a list, `*` for
    /// all, or nothing for none.
    #[arg(
        long = "istio-service-cidr",
        short = 'i',
        value_name = "CIDR,…",
        default_value = "*"
    )]
    outbound_ranges: Selection<Range>,
    /// Ranges of addresses to which they are not.
    #[arg(
        long = "istio-service-exclude-cidr",
        short = 'x',
        value_name = "CIDR,…",
        default_value = ""
    )]
    outbound_ranges_exclude: List<Range>,
    /// Outbound ports that are captured, wherever they are.
    #[arg(
        long = "istio-outbound-ports",
        short = 'q',
        value_name = "PORT,…",
        default_value = ""
    )]
    outbound_ports: List<u16>,
    /// Outbound ports that are not.
    #[arg(
        long = "istio-local-outbound-ports-exclude",
        short = 'o',
        value_name = "PORT,…",
        default_value = ""
    )]
    outbound_ports_exclude: List<u16>,
    /// Interfaces on which nothing is captured.
    #[arg(
        long = "istio-exclude-interfaces",
        short = 'c',
        value_name = "NAME,…",
        default_value = ""
    )]
    exclude_interfaces: List<Interface>,
    /// Interfaces, such as those of virtual machines, on which what comes in counts as
    /// outbound.
    #[arg(
        long = "istio-reroute-virtual-interfaces",
        alias = "kube-virt-interfaces",
        short = 'k',
        value_name = "NAME,…",
        default_value = ""
    )]
    virtual_interfaces: List<Interface>,
    /// With TPROXY: the mark of packets of captured connections.
    #[arg(
        long = "istio-inbound-tproxy-mark",
        short = 't',
        value_name = "MARK",
        default_value_t = 1337,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    mark: u32,
    /// With TPROXY: the routing table for them.
    #[arg(
        long = "istio-inbound-tproxy-route-table",
        short = 'r',
        value_name = "TABLE",
        default_value_t = 133,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    table: u32,
    /// For which families of addresses. Default: those that the system has.
    #[arg(long, value_name = "FAMILY,…", value_enum, value_delimiter = ',')]
    ip_families: Option<Vec<Family>>,
    /// Which iptables, where there are several.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
}

/// `--istio-inbound-interception-mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Mode {
    /// Connections are redirected: their packets get the sidecar's address.
    #[default]
    Redirect,
    /// Packets stay as they are, and reach a transparent listener; takes `CAP_NET_ADMIN`
    /// also of Weir.
    Tproxy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Backend {
    /// The one that is called `iptables`.
    #[default]
    System,
    Nft,
    Legacy,
}

/// Everything, or what a list has.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selection<T> {
    All,
    Of(Vec<T>),
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Selection<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        List::from_str(text).map(|List(list)| Self::Of(list))
    }
}

/// What is parted by commas; an empty text has nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct List<T>(Vec<T>);

impl<T: FromStr<Err: fmt::Display>> FromStr for List<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        let read = |item: &str| {
            item.parse::<T>()
                .map_err(|error| format!("`{item}`: {error}"))
        };
        items.map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    range: Cidr,
    family: Family,
    /// It begins with this machine's own addresses.
    is_loopback: bool,
}

impl FromStr for Range {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "not a range of addresses such as 10.0.0.0/8";
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| EXPECTED)?;
        let family = if address.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        };
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() {
            Ok(all)
        } else {
            bits.parse()
        };
        let range = bits.ok().and_then(|bits| Cidr::new(address, bits));
        Ok(Self {
            range: range.ok_or(EXPECTED)?,
            family,
            is_loopback: address.is_loopback(),
        })
    }
}

/// The name of a network interface; a `+` at its end stands for any that begins so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Interface(String);

/// What a name of an interface may have (Linux, `IFNAMSIZ`).
const INTERFACE_NAME_MAX: usize = 15;

impl FromStr for Interface {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let clean = |c: char| c.is_ascii_alphanumeric() || "_.:@-+".contains(c);
        let is_name =
            text.len() <= INTERFACE_NAME_MAX && text.chars().all(clean) && !text.starts_with('-');
        is_name
            .then(|| Self(text.to_owned()))
            .ok_or("not the name of an interface")
    }
}

impl Capture {
    fn groups(&self) -> &[u32] {
        self.proxy_gid.as_ref().unwrap_or(&self.proxy_uid)
    }

    fn families(&self) -> Vec<Family> {
        self.ip_families.clone().unwrap_or_else(|| {
            let has_ipv6 =
                std::fs::read(Path::new(IPV6_ADDRESSES)).is_ok_and(|list| !list.is_empty());
            if has_ipv6 {
                vec![Family::Ipv4, Family::Ipv6]
            } else {
                vec![Family::Ipv4]
            }
        })
    }
}

impl Iptables {
    pub(in crate::cli) fn execute(self) -> Result<(), Error> {
        let families = self.capture.families().into_iter();
        let steps: Vec<Step> = if self.remove {
            families
                .flat_map(|family| rules::remove(&self.capture, family))
                .collect()
        } else {
            families
                .flat_map(|family| rules::apply(&self.capture, family))
                .collect()
        };
        if self.apply || (self.remove && !self.dry_run) {
            // Who may not look at rules finds none to remove.
            let look = rules::look(&self.capture);
            let mut steps = std::iter::once(&look).chain(&steps);
            return Ok(steps.try_for_each(Step::run)?);
        }
        print(step::script(&steps))
    }
}
