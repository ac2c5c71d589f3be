use envoy_types::pb::envoy::service::discovery::v3 as pb;
use envoy_types::pb::google::protobuf::Any;

use super::*;
use crate::held::{Held, ResourceLimits};

const KIND: ResourceType = ResourceType::Listener;

/// A message in which random places are something else.
fn spoilt(random: &mut fastrand::Rng, message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    for _ in 0..random.usize(1..6) {
        let place = random.usize(..bytes.len());
        match random.u8(..4) {
            0 => drop(bytes.remove(place)),
            1 => bytes.insert(place, random.u8(..)),
            2 => bytes.truncate(place),
            _ => bytes[place] = random.u8(..),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// Reads what can be read of spoilt messages, and makes of it what there would be. Gives
/// how many were read, and how many of them were refused.
fn survives<P: Protocol>(message: &impl Message) -> (u32, u32) {
    let mut random = fastrand::Rng::with_seed(7);
    let message = message.encode_to_vec();
    let mut protocol = P::default();
    let mut held = Held::default();
    let (mut readable, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let bytes = spoilt(&mut random, &message);
        let Ok(response) = P::Response::decode(bytes.as_slice()) else {
            continue;
        };
        readable += 1;
        let Response::Known { update, .. } = protocol.read(response, 50) else {
            continue;
        };
        let limits = ResourceLimits {
            count: 50,
            bytes: 2_000,
        };
        let after = update.ok().and_then(|update| {
            let after = held.after(&update, &Interest::All, limits);
            after.ok()
        });
        match after {
            Some((after, _)) => held = after,
            None => refused += 1,
        }
    }
    (readable, refused)
}

fn any(name: &str) -> Any {
    let mut value = vec![0x0a, u8::try_from(name.len()).unwrap()];
    value.extend(name.as_bytes());
    Any {
        type_url: KIND.url().to_owned(),
        value,
    }
}

fn wrapped(name: &str) -> pb::Resource {
    pb::Resource {
        name: name.to_owned(),
        version: "1".to_owned(),
        resource: Some(any(name)),
        ..Default::default()
    }
}

#[test]
fn no_state_of_the_world_is_a_reason_to_panic() {
    let inner = Any {
        type_url: <pb::Resource as prost::Name>::type_url(),
        value: wrapped("b").encode_to_vec(),
    };
    let (readable, refused) = survives::<StateOfTheWorld>(&pb::DiscoveryResponse {
        version_info: "1".to_owned(),
        type_url: KIND.url().to_owned(),
        nonce: "n".to_owned(),
        resources: vec![any("a"), inner],
        ..Default::default()
    });
    assert!(readable > 500 && refused > 100, "{readable} {refused}");
}

#[test]
fn no_delta_is_a_reason_to_panic() {
    let (readable, refused) = survives::<Delta>(&pb::DeltaDiscoveryResponse {
        system_version_info: "1".to_owned(),
        type_url: KIND.url().to_owned(),
        nonce: "n".to_owned(),
        resources: vec![wrapped("a"), wrapped("b")],
        removed_resources: vec!["c".to_owned()],
        ..Default::default()
    });
    assert!(readable > 500 && refused > 100, "{readable} {refused}");
}
