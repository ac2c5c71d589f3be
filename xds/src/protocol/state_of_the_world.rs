//! [`StateOfTheWorld`]: each response has all that is asked for.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;

use super::{Answer, Protocol, Subscribe, error_detail};
use crate::held::Held;
use crate::interest::{Interest, News, Told};
use crate::resource::Resource;
use crate::resource_type::ResourceType;
use crate::server::Service;
use crate::update::{Response, Update, collect};
use crate::wire::WorldResponse;

/// A stream on which every request has all names, and the version and the nonce of the
/// response that it follows.
#[derive(Debug, Default)]
pub(crate) struct StateOfTheWorld {
    told: Told,
    /// Of each type's last response.
    nonces: [String; ResourceType::ALL.len()],
}

impl StateOfTheWorld {
    fn request(&self, kind: ResourceType, interest: &Interest, version: &str) -> DiscoveryRequest {
        DiscoveryRequest {
            version_info: version.to_owned(),
            resource_names: interest.all_names(),
            type_url: kind.url().to_owned(),
            response_nonce: self.nonces[kind.index()].clone(),
            ..Default::default()
        }
    }
}

impl Protocol for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = WorldResponse;

    fn path(service: Service) -> &'static str {
        match service {
            Service::Aggregated => {
                "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
            }
            Service::Single(kind) => kind.state_of_the_world_method(),
        }
    }

    fn subscribe(
        &mut self,
        kind: ResourceType,
        interest: &Interest,
        held: &Held,
    ) -> Subscribe<DiscoveryRequest> {
        let version = match self.told.tell(kind, interest) {
            News::Nothing => return Subscribe::Nothing,
            News::AnotherStream => return Subscribe::AnotherStream,
            News::First => held.version_to_resume(),
            News::Names { .. } => held.version(),
        };
        Subscribe::Request(self.request(kind, interest, version))
    }

    fn asked(&self, kind: ResourceType) -> Option<&Interest> {
        self.told.of(kind)
    }

    fn read(&mut self, response: WorldResponse, limit: usize) -> Response {
        let Some(kind) = ResourceType::of_url(&response.type_url) else {
            return Response::Unknown(response.type_url);
        };
        let version: Arc<str> = response.version_info.into();
        let resources = response.resources.into_iter().enumerate();
        let resources =
            resources.map(|(place, bytes)| Resource::of_any(kind, place, bytes, &version));
        let update = collect(resources, &[], limit).map(|resources| Update {
            version: Arc::clone(&version),
            resources,
            removed: Vec::new(),
            is_whole: kind.has_wildcard(),
        });
        self.nonces[kind.index()].clone_from(&response.nonce);
        Response::Known {
            kind,
            nonce: response.nonce,
            update,
            control_plane: response.control_plane.unwrap_or_default().identifier,
        }
    }

    fn answer(&mut self, answer: Answer, held: &Held) -> DiscoveryRequest {
        let nothing = Interest::Nothing;
        let told = self.told.of(answer.kind).unwrap_or(&nothing);
        DiscoveryRequest {
            response_nonce: answer.nonce,
            error_detail: error_detail(answer.refusal),
            ..self.request(answer.kind, told, held.version())
        }
    }

    fn introduce(request: &mut DiscoveryRequest, node: Node) {
        request.node = Some(node);
    }
}
