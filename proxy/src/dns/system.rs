//! What `/etc/hosts` and `/etc/resolv.conf` say.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use hickory_resolver::Hosts;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use resolv_conf::Config;

use super::answer::Answer;

/// Where name servers are asked.
const PORT: u16 = 53;

/// What stands in the environment goes before what stands in `/etc/resolv.conf`
/// (`resolv.conf(5)`).
const VARIABLES: [(&str, &str); 2] = [("LOCALDOMAIN", "search"), ("RES_OPTIONS", "options")];

/// The system's files at one moment.
#[derive(Debug, Default)]
pub(super) struct System {
    hosts: Hosts,
    conf: Config,
}

impl System {
    /// Files that are not there, and lines that make no sense, say nothing.
    pub(super) fn read() -> Self {
        let mut conf = std::fs::read("/etc/resolv.conf").unwrap_or_default();
        for (variable, keyword) in VARIABLES {
            if let Some(value) = std::env::var_os(variable) {
                conf.extend(format!("\n{keyword} ").into_bytes());
                conf.extend(value.into_vec());
            }
        }
        Self {
            hosts: Hosts::from_system().unwrap_or_default(),
            conf: Config::parse_with_errors(&conf).0,
        }
    }

    /// What `/etc/hosts` says of a name, of one kind of addresses.
    pub(super) fn listed(&self, name: &Name, kind: RecordType) -> Answer {
        let query = Query::query(name.to_lowercase(), kind);
        let found = self.hosts.lookup_static_host(&query);
        let records = found.iter().flat_map(Lookup::answers);
        Answer::lasting(records.filter_map(|record| record.data.ip_addr()))
    }

    /// The names that may be meant by one, in the order in which to ask for them.
    pub(super) fn candidates(&self, name: &Name, searches: bool) -> Vec<Name> {
        let mut whole = name.clone();
        whole.set_fqdn(true);
        if name.is_fqdn() || name.is_localhost() || !searches {
            return vec![whole];
        }
        let mut domains: Vec<String> = self.conf.get_last_search_or_domain().cloned().collect();
        if domains.is_empty() {
            domains.extend(self.conf.get_system_domain());
        }
        let domains = domains
            .iter()
            .filter_map(|d| Name::from_str_relaxed(d).ok());
        // One that becomes too long is none.
        let searched = domains.filter_map(|domain| name.clone().append_domain(&domain).ok());
        let mut candidates: Vec<_> = searched.collect();
        let dots = u32::from(name.num_labels()).saturating_sub(1);
        let place = if dots >= self.conf.ndots {
            0
        } else {
            candidates.len()
        };
        candidates.insert(place, whole);
        candidates
    }

    /// The name servers, in the order in which to ask them.
    pub(super) fn servers(&self) -> Vec<SocketAddr> {
        let servers = self.conf.get_nameservers_or_local().into_iter();
        let mut servers: Vec<_> = servers
            .map(|server| SocketAddr::new(IpAddr::from(server), PORT))
            .collect();
        if self.conf.rotate {
            let first = fastrand::usize(..servers.len());
            servers.rotate_left(first);
        }
        servers
    }

    /// How long a server has to answer; from 1 s to 30 s, as in the C library.
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.conf.timeout.clamp(1, 30).into())
    }

    /// How often all servers are asked; from once to five times, as there.
    pub(super) fn tries(&self) -> u32 {
        self.conf.attempts.clamp(1, 5)
    }

    /// Whether servers are asked by TCP only.
    pub(super) fn by_tcp(&self) -> bool {
        self.conf.use_vc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(hosts: &str, conf: &str) -> System {
        let mut file = Hosts::default();
        file.read_hosts_conf(hosts.as_bytes())
            .unwrap_or_else(|e| panic!("{e}"));
        System {
            hosts: file,
            conf: Config::parse_with_errors(conf.as_bytes()).0,
        }
    }

    fn name(text: &str) -> Name {
        Name::from_str_relaxed(text).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_name_with_few_dots_is_tried_in_the_search_domains_first() {
        let system = system("", "search a.test b.test\noptions ndots:2\n");
        let candidates = |text: &str, searches| {
            let names = system.candidates(&name(text), searches).into_iter();
            names.map(|name| name.to_string()).collect::<Vec<_>>()
        };
        let of_web = ["web.a.test.", "web.b.test.", "web."];
        assert_eq!(candidates("web", true), of_web);
        assert_eq!(candidates("web.x", true)[2], "web.x.");
        let of_host = ["w.x.y.", "w.x.y.a.test.", "w.x.y.b.test."];
        assert_eq!(candidates("w.x.y", true), of_host);
        assert_eq!(candidates("web.", true), ["web."]);
        assert_eq!(candidates("web", false), ["web."]);
        assert_eq!(candidates("localhost", true), ["localhost."]);
    }

    #[test]
    fn the_hosts_file_lists_a_name_in_any_case() {
        let system = system("10.0.0.1 web\n::1 web # and more\n10.0.0.2 Web other\n", "");
        let listed = |text: &str, kind| system.listed(&name(text), kind).addresses;
        let v4 = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        assert_eq!(listed("WEB", RecordType::A), v4);
        assert_eq!(listed("web.", RecordType::AAAA).len(), 1);
        assert!(listed("web.test", RecordType::A).is_empty());
    }

    #[test]
    fn what_resolv_conf_says_of_servers_is_kept_to() {
        let conf =
            "nameserver 10.0.0.1\nnameserver fe80::1%lo\noptions timeout:99 attempts:9 use-vc\n";
        let told = system("", conf);
        assert_eq!(told.servers()[0], SocketAddr::from(([10, 0, 0, 1], 53)));
        assert_eq!(told.servers().len(), 2);
        assert_eq!((told.timeout(), told.tries()), (Duration::from_secs(30), 5));
        assert!(told.by_tcp());
        let untold = system("", "");
        assert_eq!(untold.servers()[0], SocketAddr::from(([127, 0, 0, 1], 53)));
        assert_eq!(
            (untold.timeout(), untold.tries()),
            (Duration::from_secs(5), 2)
        );
    }
}
