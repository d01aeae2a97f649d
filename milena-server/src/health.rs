//! What both servers serve beside their own service: `grpc.health.v1.Health` and server reflection.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::FILE_DESCRIPTOR_SET;
use tonic_health::pb::health_server::SERVICE_NAME;
use tonic_health::server::{HealthReporter, health_reporter};

/// The name that stands for the whole server.
const WHOLE_SERVER: &str = "";

/// What the health service says; cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    service: &'static str,
    /// Every name that was reported.
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl Health {
    /// Adds health and reflection to `routes`. `service` is what the server is there for, and `descriptors`
    /// describe it; what else they describe is not listed.
    ///
    /// # Panics
    /// When `descriptors` are no encoded file descriptor set.
    #[must_use]
    pub fn add_to(routes: Routes, service: &'static str, descriptors: &[u8]) -> (Routes, Self) {
        let (reporter, health) = health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .with_service_name(service)
            .with_service_name(SERVICE_NAME)
            .build_v1()
            .expect("the descriptors are those that the build made");
        let routes = routes.add_service(health).add_service(reflection);
        (
            routes,
            Self {
                reporter,
                service,
                names: Arc::default(),
            },
        )
    }

    /// Says whether the server and its service are to be called.
    pub async fn set_serving(&self, is_serving: bool) {
        self.set_part_serving(WHOLE_SERVER, is_serving).await;
        self.set_part_serving(self.service, is_serving).await;
    }

    /// Says whether the part called `name` works.
    pub async fn set_part_serving(&self, name: &str, is_serving: bool) {
        self.names.lock().insert(name.to_owned());
        let status = if is_serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.reporter.set_service_status(name, status).await;
    }

    /// Says nothing any more, and ends the streams of those who watch: a stop would wait for them.
    pub async fn end(mut self) {
        let names = std::mem::take(&mut *self.names.lock());
        for name in names {
            self.reporter.clear_service_status(&name).await;
        }
    }
}
