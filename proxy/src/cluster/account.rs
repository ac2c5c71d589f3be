//! [`Account`]: what connections to an endpoint depend on besides the endpoint.

use std::net::IpAddr;

use crate::proxy_protocol::Originator;

/// On whose account connections to an endpoint are made. Those of different accounts
/// are not for each other's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    /// Who the client is, where endpoints are told.
    pub(crate) originator: Originator,
    /// From where they are made, if not as their cluster's are.
    pub(crate) source: Option<Source>,
}

/// The client's own address, which another machine may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) ip: IpAddr,
    /// Of packets; 0 is none.
    pub(crate) mark: u32,
}

impl Account {
    /// The proxy's own.
    pub(crate) const OWN: Self = Self {
        originator: Originator::Proxy,
        source: None,
    };

    /// Whether it is for some client, and of no use to others.
    pub(super) fn is_of_client(&self) -> bool {
        self.source.is_some() || matches!(self.originator, Originator::Client(_))
    }
}
