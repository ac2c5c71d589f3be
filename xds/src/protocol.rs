//! [`Protocol`]: the two ways in which resources are asked for and answered.

mod delta;
mod state_of_the_world;

#[cfg(test)]
mod tests;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::rpc::Status;
use prost::Message;

pub(crate) use self::delta::Delta;
pub(crate) use self::state_of_the_world::StateOfTheWorld;
use crate::held::Held;
use crate::interest::Interest;
use crate::resource_type::ResourceType;
use crate::server::Service;
use crate::update::Response;

/// The server is told what became of a response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) kind: ResourceType,
    pub(crate) nonce: String,
    /// Why it was refused, if it was.
    pub(crate) refusal: Option<String>,
}

/// What a stream's server is to hear of what is wanted.
#[derive(Debug)]
pub(crate) enum Subscribe<R> {
    /// It knows.
    Nothing,
    Request(R),
    /// There is no way to say it on this stream.
    AnotherStream,
}

/// How one stream goes; knows no sockets.
pub(crate) trait Protocol: Default + Send {
    type Request: Message + Default + 'static;
    type Response: Message + Default + 'static;

    /// The method to call.
    fn path(service: Service) -> &'static str;

    /// What is to be said of a type, given what there is. Counts it as said.
    fn subscribe(
        &mut self,
        kind: ResourceType,
        interest: &Interest,
        held: &Held,
    ) -> Subscribe<Self::Request>;

    /// What the server has been asked for of a type, if anything has ever been.
    fn asked(&self, kind: ResourceType) -> Option<&Interest>;

    /// What a response says; one of more than `limit` resources is refused.
    fn read(&mut self, response: Self::Response, limit: usize) -> Response;

    /// The request that carries an answer.
    fn answer(&mut self, answer: Answer, held: &Held) -> Self::Request;

    /// Says in a request who asks: a stream's first one has to.
    fn introduce(request: &mut Self::Request, node: Node);
}

/// The code of what is refused: `INVALID_ARGUMENT` (`google/rpc/code.proto`).
const INVALID_ARGUMENT: i32 = 3;

fn error_detail(refusal: Option<String>) -> Option<Status> {
    refusal.map(|message| Status {
        code: INVALID_ARGUMENT,
        message,
        details: Vec::new(),
    })
}
