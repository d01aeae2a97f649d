//! The gRPC services of a router: `Router`, `grpc.health.v1.Health` and server reflection.

mod router;
mod status;

use milena_protos::FILE_DESCRIPTOR_SET;
use milena_protos::router_server::router_server::{RouterServer, SERVICE_NAME};
use milena_server::grpc::MESSAGE_OVERHEAD_BYTES_MAX;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

pub use router::RouterService;

/// The services with `router` among them, and the switch of the health service.
#[must_use]
pub fn routes(router: RouterService) -> (Routes, Health) {
    let message_bytes_max = router
        .value_bytes_max
        .saturating_add(MESSAGE_OVERHEAD_BYTES_MAX);
    let (reporter, health) = health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Our descriptors hold the cache node's service too, which a router does not have.
        .with_service_name(SERVICE_NAME)
        .with_service_name(tonic_health::pb::health_server::SERVICE_NAME)
        .build_v1()
        .expect("the descriptors are those that our build made");
    let routes =
        Routes::new(RouterServer::new(router).max_decoding_message_size(message_bytes_max))
            .add_service(health)
            .add_service(reflection);
    (routes, Health(reporter))
}

/// What the health service says of this router.
#[derive(Debug)]
pub struct Health(HealthReporter);

impl Health {
    /// From now on calls are welcome.
    pub async fn serving(&self) {
        self.say(ServingStatus::Serving).await;
    }

    /// From now on they are not.
    pub async fn not_serving(&self) {
        self.say(ServingStatus::NotServing).await;
    }

    async fn say(&self, status: ServingStatus) {
        // The empty name stands for the whole server.
        for service in ["", SERVICE_NAME] {
            self.0.set_service_status(service, status).await;
        }
    }
}
