//! Names that guests look up: `envoy_resolve_dns` and `envoy_on_resolve_dns`
//! (Envoy, `wasm.cc`).

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::{CalloutError, Received, Root, size};
use crate::context::Context;
use crate::types::Status;
use crate::vm::{Vm, VmFailed};
use crate::vm_state::VmState;

/// Number of a lookup, unique among those that its VM has under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DnsToken(pub u32);

/// An address that a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsAddress {
    /// The address; the port is 0, and told like the rest.
    pub address: SocketAddr,
    /// How long it holds.
    pub ttl: Duration,
}

impl VmState {
    /// Looks a name up in the name of `root`.
    pub(crate) fn resolve_dns(&self, root: Rc<Root>, name: &str) -> Result<DnsToken, Status> {
        self.admit_callout(name.len())?;
        let callouts = &self.callouts;
        let token = callouts.new_dns_token();
        if self.drops_callout() {
            return Ok(token);
        }
        let guard = self.host.resolve_dns(token, name).map_err(|e| match e {
            CalloutError::UnknownCluster | CalloutError::BadArgument => Status::BadArgument,
            CalloutError::NotSent => Status::InternalFailure,
            CalloutError::Unsupported => Status::Unimplemented,
        })?;
        callouts.lookups.borrow_mut().insert(token, (root, guard));
        Ok(token)
    }
}

impl Vm {
    /// A lookup has ended; what cannot be found has no address. Runs
    /// `envoy_on_resolve_dns`, unless the lookup has been cancelled meanwhile.
    ///
    /// # Errors
    /// [`VmFailed`] when the VM has failed, now or before.
    pub fn on_resolve_dns(
        &self,
        token: DnsToken,
        addresses: &[DnsAddress],
    ) -> Result<(), VmFailed> {
        let callouts = &self.state.callouts;
        let ended = callouts.lookups.borrow_mut().remove(&token);
        let Some((root, guard)) = ended else {
            return self.alive();
        };
        let answer = encode(addresses);
        let args = (root.id.0, token.0, size(answer.len()));
        let function = self.callbacks.on_resolve_dns.as_ref();
        let called = callouts.while_showing(Received::Addresses(answer), || {
            self.call(&Context::Root(root), "envoy_on_resolve_dns", function, args)
        });
        drop(guard);
        called.map(drop)
    }
}

/// How many there are, their times to live in seconds, and themselves as text,
/// each with its port and a NUL.
fn encode(addresses: &[DnsAddress]) -> Bytes {
    let mut answer = BytesMut::new();
    answer.put_u32_le(size(addresses.len()));
    for address in addresses {
        answer.put_u32_le(u32::try_from(address.ttl.as_secs()).unwrap_or(u32::MAX));
    }
    for address in addresses {
        answer.extend_from_slice(address.address.to_string().as_bytes());
        answer.put_u8(0);
    }
    answer.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stand_behind_their_times_to_live() {
        let address = |text: &str, seconds| DnsAddress {
            address: text.parse().unwrap(),
            ttl: Duration::from_secs(seconds),
        };
        let addresses = [address("127.0.0.1:0", 60), address("[::1]:0", 7)];
        let numbers = [2u32, 60, 7].map(u32::to_le_bytes).concat();
        assert_eq!(
            encode(&addresses),
            [&numbers[..], b"127.0.0.1:0\0", b"[::1]:0\0"].concat()
        );
        assert_eq!(encode(&[]), "\0\0\0\0");
    }
}
