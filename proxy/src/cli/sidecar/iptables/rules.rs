//! Which rules capture what is to be captured.
//!
//! They do what those of `istio-iptables` do (istio, `tools/istio-iptables`), in chains
//! of their own, which have one jump each from the system's.

use std::fmt::Write as _;

use super::step::{Step, words};
use super::{Backend, Capture, Family, List, Mode, Range, Selection};

/// Chains of both tables.
const INBOUND: &str = "WEIR_INBOUND";
const OUTPUT: &str = "WEIR_OUTPUT";
/// Chains that send a connection to the sidecar.
const REDIRECT: &str = "WEIR_REDIRECT";
const IN_REDIRECT: &str = "WEIR_IN_REDIRECT";
/// With TPROXY: the same, and what keeps the packets of one together.
const TPROXY: &str = "WEIR_TPROXY";
const DIVERT: &str = "WEIR_DIVERT";

/// From where the system's chains jump.
const JUMPS: [(&str, &str); 2] = [("PREROUTING", INBOUND), ("OUTPUT", OUTPUT)];

/// A table, and the chains of ours in it.
struct Table {
    name: &'static str,
    chains: [&'static str; 4],
}

const NAT: Table = Table {
    name: "nat",
    chains: [REDIRECT, IN_REDIRECT, INBOUND, OUTPUT],
};
const MANGLE: Table = Table {
    name: "mangle",
    chains: [DIVERT, TPROXY, INBOUND, OUTPUT],
};

/// What differs between families.
struct Names {
    /// The address of this machine that applications call each other by.
    loopback: &'static str,
    /// From which the sidecar connects to its application: what comes from there has
    /// been captured before.
    passthrough: &'static str,
    ip: &'static str,
}

impl Family {
    fn names(self) -> Names {
        match self {
            Self::Ipv4 => Names {
                loopback: "127.0.0.1/32",
                passthrough: "127.0.0.6/32",
                ip: "ip -4",
            },
            Self::Ipv6 => Names {
                loopback: "::1/128",
                passthrough: "::6/128",
                ip: "ip -6",
            },
        }
    }

    /// The program, or the one of that name for whole tables.
    fn program(self, backend: Backend, end: &str) -> String {
        let name = match self {
            Self::Ipv4 => "iptables",
            Self::Ipv6 => "ip6tables",
        };
        let backend = match backend {
            Backend::System => "",
            Backend::Nft => "-nft",
            Backend::Legacy => "-legacy",
        };
        format!("{name}{backend}{end}")
    }
}

/// Rules of a table, as `iptables-restore` reads them.
struct Text<'t> {
    table: &'t Table,
    rules: String,
}

impl<'t> Text<'t> {
    fn new(table: &'t Table) -> Self {
        Self {
            table,
            rules: String::new(),
        }
    }

    fn add(&mut self, chain: &str, rule: impl AsRef<str>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.rules, "-A {chain} {}", rule.as_ref());
    }

    /// Chains that are there already are emptied first.
    fn restore(self, program: &str) -> Step {
        let chains = self.table.chains.iter();
        let chains: String = chains.map(|chain| format!(":{chain} - [0:0]\n")).collect();
        let (name, rules) = (self.table.name, self.rules);
        Step::Restore {
            command: words(&format!("{program} -w --noflush")),
            text: format!("*{name}\n{chains}{rules}COMMIT\n"),
        }
    }
}

/// Looks at the rules that there are.
pub(super) fn look(capture: &Capture) -> Step {
    let program = Family::Ipv4.program(capture.backend, "");
    Step::Run(words(&format!("{program} -w -t nat -S OUTPUT")))
}

/// What captures connections of a family.
pub(super) fn apply(capture: &Capture, family: Family) -> Vec<Step> {
    let mut steps = Vec::new();
    if family == Family::Ipv6 {
        // Of IPv4, every address that begins with 127 is this machine's already.
        steps.push(Step::Run(words("ip -6 addr replace ::6/128 dev lo")));
    }
    fill(&mut steps, capture, family, &NAT, nat(capture, family));
    if capture.mode == Mode::Tproxy {
        steps.extend(routes(capture, family));
        fill(
            &mut steps,
            capture,
            family,
            &MANGLE,
            mangle(capture, family),
        );
    } else {
        steps.push(without_tproxy(capture, family));
    }
    steps
}

/// What takes all of it back.
pub(super) fn remove(capture: &Capture, family: Family) -> Vec<Step> {
    let mut steps = vec![
        if_there(capture, family, &NAT, Vec::new()),
        without_tproxy(capture, family),
    ];
    if family == Family::Ipv6 {
        steps.push(Step::UntilGone(words("ip -6 addr del ::6/128 dev lo")));
    }
    steps
}

fn fill(steps: &mut Vec<Step>, capture: &Capture, family: Family, table: &Table, text: Text<'_>) {
    let backend = capture.backend;
    steps.push(text.restore(&family.program(backend, "-restore")));
    let (program, table) = (family.program(backend, ""), table.name);
    for (from, to) in JUMPS {
        let jump = |action| {
            words(&format!(
                "{program} -w -t {table} {action} {from} -p tcp -j {to}"
            ))
        };
        steps.push(Step::Unless {
            probe: jump("-C"),
            then: jump("-A"),
        });
    }
}

/// Removes the jumps and chains of a table, and does `more`, if they are there.
fn if_there(capture: &Capture, family: Family, table: &Table, more: Vec<Step>) -> Step {
    let backend = capture.backend;
    let program = family.program(backend, "");
    let jumps = JUMPS.iter().map(|(from, to)| {
        let name = table.name;
        Step::UntilGone(words(&format!(
            "{program} -w -t {name} -D {from} -p tcp -j {to}"
        )))
    });
    let mut then: Vec<_> = jumps.collect();
    let mut text = Text::new(table);
    for chain in table.chains {
        let _ = writeln!(text.rules, "-X {chain}");
    }
    then.push(text.restore(&family.program(backend, "-restore")));
    then.extend(more);
    Step::If {
        probe: words(&format!("{program} -w -t {} -S {OUTPUT}", table.name)),
        then,
    }
}

/// Undoes what TPROXY has beyond redirection.
fn without_tproxy(capture: &Capture, family: Family) -> Step {
    let (ip, mark, table) = (family.names().ip, capture.mark, capture.table);
    let routes = [
        format!("{ip} rule del fwmark {mark} lookup {table}"),
        format!("{ip} route del local default dev lo table {table}"),
    ];
    let routes = routes.iter().map(|command| Step::UntilGone(words(command)));
    if_there(capture, family, &MANGLE, routes.collect())
}

/// Has packets with the mark delivered here, whatever their address.
fn routes(capture: &Capture, family: Family) -> [Step; 2] {
    let (ip, mark, table) = (family.names().ip, capture.mark, capture.table);
    let rule = |action| words(&format!("{ip} rule {action} fwmark {mark} lookup {table}"));
    [
        Step::UnlessPrinted {
            probe: rule("list"),
            then: rule("add"),
        },
        Step::Run(words(&format!(
            "{ip} route replace local default dev lo table {table}"
        ))),
    ]
}

/// Whose the sidecar's connections are.
fn owners(capture: &Capture) -> impl Iterator<Item = String> {
    let users = capture.proxy_uid.iter();
    let users = users.map(|uid| format!("-m owner --uid-owner {uid}"));
    let groups = capture.groups().iter();
    users.chain(groups.map(|gid| format!("-m owner --gid-owner {gid}")))
}

fn nat(capture: &Capture, family: Family) -> Text<'static> {
    let Names {
        loopback,
        passthrough,
        ..
    } = family.names();
    let tunnel = capture.tunnel_port;
    let mut text = Text::new(&NAT);
    text.add(
        REDIRECT,
        format!("-p tcp -j REDIRECT --to-ports {}", capture.outbound_port),
    );
    text.add(
        IN_REDIRECT,
        format!("-p tcp -j REDIRECT --to-ports {}", capture.inbound_port),
    );
    for interface in &capture.exclude_interfaces.0 {
        text.add(INBOUND, format!("-i {} -j RETURN", interface.0));
        text.add(OUTPUT, format!("-o {} -j RETURN", interface.0));
    }
    for interface in &capture.virtual_interfaces.0 {
        let interface = format!("-i {}", interface.0);
        for range in ranges(capture, family) {
            text.add(INBOUND, format!("{interface} {range}-j {REDIRECT}"));
        }
        text.add(INBOUND, format!("{interface} -j RETURN"));
    }
    if capture.mode == Mode::Redirect {
        inbound(capture, &mut text, &[format!("-j {IN_REDIRECT}")]);
    }
    for port in &capture.outbound_ports_exclude.0 {
        text.add(OUTPUT, format!("-p tcp --dport {port} -j RETURN"));
    }
    text.add(OUTPUT, format!("-o lo -s {passthrough} -j RETURN"));
    if capture.mode == Mode::Redirect {
        // An application that calls itself by another address, such as its service's,
        // is served by the sidecar on both sides. With TPROXY, a mark does that.
        for owner in owners(capture) {
            text.add(
                OUTPUT,
                format!("-o lo ! -d {loopback} -p tcp ! --dport {tunnel} {owner} -j {IN_REDIRECT}"),
            );
        }
    }
    // What the sidecar sends is not captured again, wherever it goes.
    for owner in owners(capture) {
        text.add(OUTPUT, format!("{owner} -j RETURN"));
    }
    let has_loopback = |ranges: &Selection<Range>| match ranges {
        Selection::All => false,
        Selection::Of(ranges) => ranges.iter().any(|range| range.is_loopback),
    };
    if !has_loopback(&capture.outbound_ranges) {
        // Nor what applications say to each other within this machine.
        text.add(OUTPUT, "-o lo -j RETURN");
    }
    text.add(OUTPUT, format!("-d {loopback} -j RETURN"));
    for range in of_family(&capture.outbound_ranges_exclude, family) {
        text.add(OUTPUT, format!("-d {range} -j RETURN"));
    }
    for port in &capture.outbound_ports.0 {
        text.add(OUTPUT, format!("-p tcp --dport {port} -j {REDIRECT}"));
    }
    for range in ranges(capture, family) {
        text.add(OUTPUT, format!("{range}-j {REDIRECT}"));
    }
    text
}

fn of_family(List(ranges): &List<Range>, family: Family) -> impl Iterator<Item = String> {
    let ranges = ranges.iter().filter(move |range| range.family == family);
    ranges.map(|range| range.range.to_string())
}

/// Conditions for where outbound connections that are captured go.
fn ranges(capture: &Capture, family: Family) -> Vec<String> {
    match &capture.outbound_ranges {
        Selection::All => vec![String::new()],
        Selection::Of(ranges) => {
            let ranges = ranges.iter().filter(|range| range.family == family);
            ranges.map(|range| format!("-d {} ", range.range)).collect()
        }
    }
}

/// Has each of `actions` done, in turn, to inbound connections that are captured.
fn inbound(capture: &Capture, text: &mut Text<'_>, actions: &[String]) {
    let tunnel = capture.tunnel_port;
    text.add(INBOUND, format!("-p tcp --dport {tunnel} -j RETURN"));
    match &capture.inbound_ports {
        Selection::All => {
            for port in &capture.inbound_ports_exclude.0 {
                text.add(INBOUND, format!("-p tcp --dport {port} -j RETURN"));
            }
            for action in actions {
                text.add(INBOUND, format!("-p tcp {action}"));
            }
        }
        Selection::Of(ports) => {
            for port in ports {
                for action in actions {
                    text.add(INBOUND, format!("-p tcp --dport {port} {action}"));
                }
            }
        }
    }
}

/// With TPROXY, the mark is that of packets that are to be delivered here; what the
/// sidecar sends to its own application by another address has the next one.
fn mangle(capture: &Capture, family: Family) -> Text<'static> {
    let Names {
        loopback,
        passthrough,
        ..
    } = family.names();
    let (mark, port) = (capture.mark, capture.inbound_port);
    let own = mark.wrapping_add(1).max(1);
    let mut text = Text::new(&MANGLE);
    text.add(DIVERT, format!("-j MARK --set-mark {mark}"));
    text.add(DIVERT, "-j ACCEPT");
    text.add(
        TPROXY,
        format!(
            "! -d {loopback} -p tcp -j TPROXY --tproxy-mark {mark}/0xffffffff --on-port {port}"
        ),
    );
    for interface in &capture.exclude_interfaces.0 {
        text.add(INBOUND, format!("-i {} -j RETURN", interface.0));
        text.add(OUTPUT, format!("-o {} -j RETURN", interface.0));
    }
    for interface in &capture.virtual_interfaces.0 {
        text.add(INBOUND, format!("-i {} -j RETURN", interface.0));
    }
    // The sidecar marks what it sends to its application from a client's address: the
    // answers are to come back here, and their packets have no mark of their own.
    text.add(
        INBOUND,
        format!("-p tcp -m mark --mark {mark} -j CONNMARK --save-mark"),
    );
    text.add(INBOUND, format!("-p tcp -m mark --mark {mark} -j RETURN"));
    text.add(INBOUND, format!("-p tcp -s {passthrough} -i lo -j RETURN"));
    text.add(
        INBOUND,
        format!("-p tcp -i lo -m mark ! --mark {own} -j RETURN"),
    );
    inbound(
        capture,
        &mut text,
        &[
            format!("-m conntrack --ctstate RELATED,ESTABLISHED -j {DIVERT}"),
            format!("-j {TPROXY}"),
        ],
    );
    text.add(
        OUTPUT,
        format!("-p tcp -o lo -m mark --mark {mark} -j RETURN"),
    );
    for owner in owners(capture) {
        text.add(
            OUTPUT,
            format!("! -d {loopback} -p tcp -o lo {owner} -j MARK --set-mark {own}"),
        );
    }
    text.add(
        OUTPUT,
        format!("-p tcp -m connmark --mark {mark} -j CONNMARK --restore-mark"),
    );
    text
}
