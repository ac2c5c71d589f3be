//! Names that are looked up, as the C library does it: in `/etc/hosts`, and then at
//! name servers by the rules of `resolv.conf(5)`. Other than the C library, this tells
//! how long an answer holds, and can ask other servers than those of the system.

mod answer;
mod system;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::rr::{Name, RecordType};
use weir_config::{DnsLookupFamily, DnsResolver};

pub(crate) use self::answer::Answer;
use self::answer::of_family;
use self::system::System;

/// Why it is not known what addresses a name has.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error("it is not a name: {0}")]
    NotAName(ProtoError),
    #[error("there is no name server")]
    NoServer,
    #[error("name server {server}: {error}")]
    Server { server: SocketAddr, error: NetError },
}

impl LookupError {
    /// Whether servers have answered, so that the name with another domain behind it
    /// can still be asked for.
    fn is_answer(&self) -> bool {
        let Self::Server { error, .. } = self else {
            return false;
        };
        matches!(error, NetError::Dns(DnsError::ResponseCode(_)))
    }
}

/// Whom names are asked of, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver(DnsResolver);

impl Resolver {
    pub(crate) fn new(options: &DnsResolver) -> Self {
        Self(options.clone())
    }

    /// The addresses of `name`. There are none if it does not exist, or has none of
    /// that family.
    pub(crate) async fn look_up(
        &self,
        name: &str,
        family: DnsLookupFamily,
    ) -> Result<Answer, LookupError> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(Answer::lasting([address]));
        }
        let name = Name::from_str_relaxed(name).map_err(LookupError::NotAName)?;
        // The files may be large, and are read anew as they may have changed.
        let system = tokio::task::spawn_blocking(System::read).await;
        // It does not panic; without its files, a system is as one without names.
        let system = system.unwrap_or_default();
        let listed = of_family(family, async |kind| Ok(system.listed(&name, kind))).await?;
        if !listed.is_empty() {
            return Ok(listed);
        }
        let servers = Servers::new(&self.0, &system);
        let mut failure = None;
        for name in system.candidates(&name, !self.0.no_default_search_domain) {
            match of_family(family, async |kind| servers.ask(&name, kind).await).await {
                Ok(answer) if answer.is_empty() => {}
                Err(error) if error.is_answer() => failure = Some(error),
                found_or_silence => return found_or_silence,
            }
        }
        // What one server could not say may be what was asked for.
        failure.map_or_else(|| Ok(Answer::default()), Err)
    }
}

/// The name servers of one look-up.
struct Servers {
    /// One client each, as clients of several servers put them in an order of their
    /// own.
    clients: Vec<(SocketAddr, TokioResolver)>,
    tries: u32,
}

impl Servers {
    fn new(options: &DnsResolver, system: &System) -> Self {
        let addresses = if options.resolvers.is_empty() {
            system.servers()
        } else {
            options.resolvers.clone()
        };
        let by_tcp = options.use_tcp_for_dns_lookups || system.by_tcp();
        let timeout = options.query_timeout.unwrap_or_else(|| system.timeout());
        let client = |address: SocketAddr| {
            // Without TLS and DNSSEC, nothing of it can fail.
            let client = client(address, timeout, by_tcp).ok()?;
            Some((address, client))
        };
        Self {
            clients: addresses.into_iter().filter_map(client).collect(),
            tries: options.query_tries.unwrap_or_else(|| system.tries()),
        }
    }

    /// Asks one server after the other, and all again, until one answers.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Answer, LookupError> {
        let mut failure = None;
        for _ in 0..self.tries {
            for (server, client) in &self.clients {
                match client.lookup(name.clone(), kind).await {
                    Ok(lookup) => return Ok(Answer::of(&lookup)),
                    Err(error) if error.is_no_records_found() => return Ok(Answer::default()),
                    Err(error) => {
                        let server = *server;
                        failure = Some(LookupError::Server { server, error });
                    }
                }
            }
        }
        Err(failure.unwrap_or(LookupError::NoServer))
    }
}

/// A client of the name server at `address`, which has `timeout` to answer.
fn client(address: SocketAddr, timeout: Duration, by_tcp: bool) -> Result<TokioResolver, NetError> {
    let mut connections = vec![ConnectionConfig::tcp()];
    if !by_tcp {
        connections.insert(0, ConnectionConfig::udp());
    }
    for connection in &mut connections {
        connection.port = address.port();
    }
    let server = NameServerConfig::new(address.ip(), true, connections);
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut options = ResolverOpts::default();
    options.timeout = timeout;
    options.attempts = 0;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
}
