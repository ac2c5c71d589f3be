//! [`GrpcTarget`]: whom a gRPC callout goes to.

use std::time::Duration;

use bytes::{Buf, Bytes};
use weir_abi::CalloutError;

/// The cluster that is called, and what the guest's description of it adds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GrpcTarget {
    /// Index in the generation.
    pub(super) cluster: usize,
    pub(super) authority: Bytes,
    pub(super) metadata: Vec<(Bytes, Bytes)>,
    /// For calls that have no timeout of their own.
    pub(super) timeout: Option<Duration>,
}

impl GrpcTarget {
    /// Reads what a guest has given: the name of a cluster, or a serialised
    /// `envoy.config.core.v3.GrpcService` whose target is `envoy_grpc`.
    ///
    /// # Errors
    /// `UnknownCluster` for what is neither, `BadArgument` for a service that is
    /// not offered or does not exist.
    pub(super) fn of(
        given: &Bytes,
        mut find: impl FnMut(&[u8]) -> Option<usize>,
    ) -> Result<Self, CalloutError> {
        if let Some(cluster) = find(given) {
            return Ok(Self {
                cluster,
                authority: given.clone(),
                ..Self::default()
            });
        }
        let service = Service::parse(given.clone()).ok_or(CalloutError::UnknownCluster)?;
        if service.google_grpc {
            tracing::warn!("a filter calls a `google_grpc` service: only `envoy_grpc` is offered");
            return Err(CalloutError::BadArgument);
        }
        let name = service.cluster.ok_or(CalloutError::BadArgument)?;
        let cluster = find(&name).ok_or(CalloutError::NotSent)?;
        Ok(Self {
            cluster,
            authority: service.authority.unwrap_or(name),
            metadata: service.metadata,
            timeout: service.timeout,
        })
    }
}

/// What matters of a `GrpcService`.
#[derive(Default)]
struct Service {
    cluster: Option<Bytes>,
    authority: Option<Bytes>,
    google_grpc: bool,
    timeout: Option<Duration>,
    metadata: Vec<(Bytes, Bytes)>,
}

impl Service {
    fn parse(given: Bytes) -> Option<Self> {
        let mut service = Self::default();
        for field in Fields(given) {
            match field? {
                (1, Value::Bytes(envoy_grpc)) => {
                    service.google_grpc = false;
                    for field in Fields(envoy_grpc) {
                        match field? {
                            (1, Value::Bytes(name)) => service.cluster = Some(name),
                            (2, Value::Bytes(authority)) => service.authority = Some(authority),
                            _ => {}
                        }
                    }
                }
                (2, Value::Bytes(_)) => service.google_grpc = true,
                (3, Value::Bytes(duration)) => service.timeout = parse_duration(duration)?,
                (5, Value::Bytes(header)) => {
                    let (mut key, mut value) = (Bytes::new(), Bytes::new());
                    for field in Fields(header) {
                        match field? {
                            (1, Value::Bytes(bytes)) => key = bytes,
                            (2 | 3, Value::Bytes(bytes)) => value = bytes,
                            _ => {}
                        }
                    }
                    service.metadata.push((key, value));
                }
                _ => {}
            }
        }
        Some(service)
    }
}

/// A `google.protobuf.Duration`; the inner `None` for one that is no limit.
fn parse_duration(duration: Bytes) -> Option<Option<Duration>> {
    let (mut seconds, mut nanoseconds) = (0, 0);
    for field in Fields(duration) {
        match field? {
            (1, Value::Number(n)) => seconds = n,
            (2, Value::Number(n)) => nanoseconds = u32::try_from(n).unwrap_or(0),
            _ => {}
        }
    }
    // Negative durations have the highest bit set.
    let seconds = i64::try_from(seconds).ok().map(i64::unsigned_abs);
    let duration =
        seconds.map(|s| Duration::from_secs(s) + Duration::from_nanos(nanoseconds.into()));
    Some(duration.filter(|d| !d.is_zero()))
}

/// The value of a protobuf field.
enum Value {
    Number(u64),
    Bytes(Bytes),
}

/// The fields of a protobuf message in order; `None` where it is malformed, and
/// nothing after that.
struct Fields(Bytes);

impl Iterator for Fields {
    type Item = Option<(u64, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0.clear();
        }
        Some(field)
    }
}

impl Fields {
    fn field(&mut self) -> Option<(u64, Value)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Number(self.take(8)?.get_u64_le()),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Number(self.take(4)?.get_u32_le().into()),
            _ => return None,
        };
        let number = key >> 3;
        (number > 0).then_some((number, value))
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?.get_u8();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(name: &[u8]) -> Option<usize> {
        (name == b"auth").then_some(3)
    }

    fn target(given: &[u8]) -> Result<GrpcTarget, CalloutError> {
        GrpcTarget::of(&Bytes::copy_from_slice(given), find)
    }

    #[test]
    fn a_name_is_a_cluster() {
        let target = target(b"auth").unwrap();
        assert_eq!((target.cluster, &target.authority[..]), (3, &b"auth"[..]));
    }

    #[test]
    fn a_service_names_its_cluster_authority_timeout_and_metadata() {
        // envoy_grpc { cluster_name: auth, authority: a }, timeout 1.5s,
        // initial_metadata { key: k, value: v }
        let service = b"\x0a\x09\x0a\x04auth\x12\x01a\x1a\x08\x08\x01\x10\x80\xca\xb5\xee\x01\x2a\x06\x0a\x01k\x12\x01v";
        let target = target(service).unwrap();
        assert_eq!(target.cluster, 3);
        assert_eq!(target.authority, "a");
        assert_eq!(target.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(target.metadata, [("k".into(), "v".into())]);
    }

    #[test]
    fn what_cannot_be_called_is_told_apart() {
        assert_eq!(target(b"nope"), Err(CalloutError::UnknownCluster));
        // Another cluster; a google_grpc target; a service without target.
        assert_eq!(target(b"\x0a\x06\x0a\x04nope"), Err(CalloutError::NotSent));
        assert_eq!(target(b"\x12\x00"), Err(CalloutError::BadArgument));
        assert_eq!(target(b""), Err(CalloutError::BadArgument));
    }

    #[test]
    fn junk_is_no_service() {
        for junk in [
            &b"\x0a\xff"[..],
            b"\x0a\x05abc",
            b"\x07",
            b"\x00\x00",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(target(junk), Err(CalloutError::UnknownCluster), "{junk:?}");
        }
    }
}
