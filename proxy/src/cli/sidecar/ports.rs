//! The ports of a sidecar, which are those of Istio's.

/// The admin, for this machine alone.
pub(super) const ADMIN: u16 = 15000;
/// Where outbound connections are sent.
pub(super) const OUTBOUND: u16 = 15001;
/// Where inbound connections are sent.
pub(super) const INBOUND: u16 = 15006;
/// That of tunnels (HBONE), which nothing is sent to here.
pub(super) const TUNNEL: u16 = 15008;
/// Whether the sidecar is ready.
pub(super) const STATUS: u16 = 15021;
/// Its numbers, for Prometheus.
pub(super) const PROMETHEUS: u16 = 15090;
