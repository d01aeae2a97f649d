//! The same on tonic, as it comes.

use bytes::Bytes;
use milena_protos::cache_server::cache_server::{Cache, CacheServer};
use milena_protos::cache_server::{
    DeleteRequest, DeleteResponse, FlushRequest, FlushResponse, GetRequest, GetResponse,
    PutRequest, PutResponse,
};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::Failure;

struct Echo(Bytes);

/// Serves what connects to `listener`.
pub async fn serve(listener: TcpListener, value: Bytes) -> Result<(), Failure> {
    let incoming = TcpListenerStream::new(listener).map(|accepted| {
        accepted.and_then(|connection| connection.set_nodelay(true).map(|()| connection))
    });
    let service = CacheServer::new(Echo(value));
    Server::builder()
        .add_service(service)
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

#[tonic::async_trait]
impl Cache for Echo {
    async fn get(&self, _: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let value = self.0.clone();
        Ok(Response::new(GetResponse {
            successful: true,
            value,
        }))
    }

    async fn put(&self, _: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Ok(Response::new(PutResponse { successful: true }))
    }

    async fn delete(&self, _: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        Ok(Response::new(DeleteResponse { successful: true }))
    }

    async fn flush(&self, _: Request<FlushRequest>) -> Result<Response<FlushResponse>, Status> {
        Ok(Response::new(FlushResponse::default()))
    }
}
