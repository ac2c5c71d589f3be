//! [`Delta`]: each response has what is new.

use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::{Answer, Protocol, Subscribe, error_detail};
use crate::held::Held;
use crate::interest::{Interest, News, Told};
use crate::resource::Resource;
use crate::resource_type::ResourceType;
use crate::server::Service;
use crate::update::{Response, Update, collect};
use crate::wire::DeltaResponse;

/// A stream on which a type's first request has the versions of what there is, and every
/// other one what has become different.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    told: Told,
}

/// What a server is told that there is.
fn versions(held: &Held) -> HashMap<String, String> {
    let version = |(name, resource): (&Arc<str>, &Arc<Resource>)| {
        ((**name).to_owned(), (*resource.version).to_owned())
    };
    held.resources().iter().map(version).collect()
}

fn request(kind: ResourceType) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: kind.url().to_owned(),
        ..Default::default()
    }
}

impl Protocol for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaResponse;

    fn path(service: Service) -> &'static str {
        match service {
            Service::Aggregated => {
                "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
            }
            Service::Single(kind) => kind.delta_method(),
        }
    }

    fn subscribe(
        &mut self,
        kind: ResourceType,
        interest: &Interest,
        held: &Held,
    ) -> Subscribe<DeltaDiscoveryRequest> {
        let subscribed = match self.told.tell(kind, interest) {
            News::Nothing => return Subscribe::Nothing,
            News::AnotherStream => return Subscribe::AnotherStream,
            News::First => DeltaDiscoveryRequest {
                resource_names_subscribe: interest.all_names(),
                initial_resource_versions: versions(held),
                ..request(kind)
            },
            News::Names { added, removed } => DeltaDiscoveryRequest {
                resource_names_subscribe: added,
                resource_names_unsubscribe: removed,
                ..request(kind)
            },
        };
        Subscribe::Request(subscribed)
    }

    fn asked(&self, kind: ResourceType) -> Option<&Interest> {
        self.told.of(kind)
    }

    fn read(&mut self, response: DeltaResponse, limit: usize) -> Response {
        let Some(kind) = ResourceType::of_url(&response.type_url) else {
            return Response::Unknown(response.type_url);
        };
        let removed: Vec<Arc<str>> = response
            .removed_resources
            .into_iter()
            .map(Arc::from)
            .collect();
        let resources = response.resources.into_iter().enumerate();
        let resources = resources.map(|(place, bytes)| Resource::of_delta(kind, place, bytes));
        let update = collect(resources, &removed, limit).map(|resources| Update {
            version: response.system_version_info.into(),
            resources,
            removed,
            is_whole: false,
        });
        Response::Known {
            kind,
            nonce: response.nonce,
            update,
            control_plane: response.control_plane.unwrap_or_default().identifier,
        }
    }

    fn answer(&mut self, answer: Answer, _: &Held) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            response_nonce: answer.nonce,
            error_detail: error_detail(answer.refusal),
            ..request(answer.kind)
        }
    }

    fn introduce(request: &mut DeltaDiscoveryRequest, node: Node) {
        request.node = Some(node);
    }
}
