//! The methods that the direct path answers: a request is looked at, and sent on in the bytes that it came in; so is its
//! answer. What is checked and counted is [`RouterService`]'s.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use milena_client::raw::{RawAnswer, Verb};
use milena_h2::WireMessage;
use milena_protos::STALE_METADATA;
use milena_server::grpc::{Answer, Unary};
use tonic::Status;

use super::looked_at::LookedAt;
use super::router::RouterService;

/// `Get`, `Put` and `Delete` of `router_server.Router`, answered without tonic.
pub(super) struct DirectRouter(pub(super) Arc<RouterService>);

impl Unary for DirectRouter {
    type Method = Verb;

    fn method(&self, path: &str) -> Option<Verb> {
        match path {
            "/router_server.Router/Get" => Some(Verb::Get),
            "/router_server.Router/Put" => Some(Verb::Put),
            "/router_server.Router/Delete" => Some(Verb::Delete),
            _ => None,
        }
    }

    async fn call(
        &self,
        verb: Verb,
        message: WireMessage,
        timeout: Option<Duration>,
    ) -> Result<Answer, Status> {
        let router = &self.0;
        let deadline = router.due_within(timeout);
        let looked_at = LookedAt::of(verb, message.encoded());
        // What tonic says of a message that is none.
        let request = looked_at.map_err(|error| Status::internal(error.to_string()))?;
        let answer = router.pass_on(verb, &request, message, deadline).await?;
        Ok(passed_on(answer))
    }
}

fn passed_on(RawAnswer { message, is_stale }: RawAnswer) -> Answer {
    let answer = Answer::passed_on(message);
    if !is_stale {
        return answer;
    }
    let name = HeaderName::from_static(STALE_METADATA);
    answer.with_metadata(name, HeaderValue::from_static("true"))
}
