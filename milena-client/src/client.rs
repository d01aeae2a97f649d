//! The calls: get, put, delete and flush for everybody, join and leave for nodes.

use std::time::Duration;

use bytes::Bytes;
use milena_protos::STALE_METADATA;
use milena_protos::cache_server::{
    Ack as WireAck, DeleteRequest, DeleteResponse, FlushRequest, FlushResponse, GetRequest,
    GetResponse, PutRequest, PutResponse,
};
use milena_protos::router_server::{JoinRequest, JoinResponse, LeaveRequest, LeaveResponse};
use tonic::{Response, Status};

use crate::address::{Address, InvalidAddress};
use crate::connection::{Connection, Options};
use crate::error::ClientError;

/// Gets, puts and deletes values by bucket and key.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Connection,
    paths: &'static Paths,
}

/// What a get has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: Bytes,
    /// S3 fails, and this is a copy whose time has passed: the value may have changed (`STALE_IF_ERROR`).
    pub is_stale: bool,
}

/// What a put may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// The entry's own life, from the put on: when it has passed, the entry is gone everywhere. 1 s to 100
    /// years; a part of a second counts as a whole one. `None`: it has none.
    pub life: Option<Duration>,
    /// When it is acknowledged.
    pub ack: Ack,
}

/// When a put is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// As the node's `WRITE_MODE` says.
    #[default]
    Default,
    /// Once the node's disk has it.
    Disk,
    /// Once S3 has it.
    S3,
}

impl Ack {
    /// What this number means on the wire; `None`: nothing.
    #[must_use]
    pub fn from_wire(number: i32) -> Option<Self> {
        Some(match WireAck::try_from(number).ok()? {
            WireAck::Default => Self::Default,
            WireAck::Disk => Self::Disk,
            WireAck::S3 => Self::S3,
        })
    }

    /// Nothing is said of what is the default, so that nodes that do not know of it take it too.
    fn to_wire(self) -> Option<i32> {
        match self {
            Self::Default => None,
            Self::Disk => Some(WireAck::Disk.into()),
            Self::S3 => Some(WireAck::S3.into()),
        }
    }
}

/// What S3 does not have yet of what was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Keys whose newest write it does not have.
    pub entries: u64,
    /// What these writes take on disk.
    pub bytes: u64,
}

/// The methods that both services have. Their messages are the same, field for field.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) get: &'static str,
    pub(crate) put: &'static str,
    pub(crate) delete: &'static str,
    flush: &'static str,
}

const ROUTER: Paths = Paths {
    get: "/router_server.Router/Get",
    put: "/router_server.Router/Put",
    delete: "/router_server.Router/Delete",
    flush: "/router_server.Router/Flush",
};

pub(crate) const NODE: Paths = Paths {
    get: "/cache_server.Cache/Get",
    put: "/cache_server.Cache/Put",
    delete: "/cache_server.Cache/Delete",
    flush: "/cache_server.Cache/Flush",
};

impl Client {
    /// A client of the router at `address`, which connects when it is first used.
    ///
    /// # Errors
    /// When `address` is not `http://host:port` or `https://host:port`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(address: &str) -> Result<Self, InvalidAddress> {
        Self::connect_with(address, &Options::default())
    }

    /// Like [`Client::connect`], with other limits.
    ///
    /// # Errors
    /// As [`Client::connect`].
    ///
    /// # Panics
    /// As [`Client::connect`].
    pub fn connect_with(address: &str, options: &Options) -> Result<Self, InvalidAddress> {
        Ok(Self {
            connection: Connection::lazy(address, options)?,
            paths: &ROUTER,
        })
    }

    /// A client of one cache node: reaches only what that node has.
    ///
    /// # Errors
    /// As [`Client::connect`].
    ///
    /// # Panics
    /// As [`Client::connect`].
    pub fn connect_to_node(address: &str, options: &Options) -> Result<Self, InvalidAddress> {
        Ok(Self {
            connection: Connection::lazy(address, options)?,
            paths: &NODE,
        })
    }

    /// This client, on the same connection, with another deadline per call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let mut client = self.clone();
        client.connection.options.deadline = deadline;
        client
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.connection.address()
    }

    /// The value of `key` in `bucket`, or `None` when there is none. It is a slice of the buffer that it
    /// was received in.
    ///
    /// # Errors
    /// When it could not be found out; a miss is not an error.
    pub async fn get(
        &self,
        bucket: impl Into<String>,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<Bytes>, ClientError> {
        let found = self.find(bucket, key).await?;
        Ok(found.map(|found| found.value))
    }

    /// As [`Client::get`], with what the server says of the value.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn find(
        &self,
        bucket: impl Into<String>,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<Found>, ClientError> {
        let request = GetRequest {
            key: Bytes::copy_from_slice(key.as_ref()),
            bucket: bucket.into(),
        };
        let answer = self.connection.call(self.paths.get, request).await;
        match answer {
            Ok(answer) => {
                let is_stale = answer.metadata().contains_key(STALE_METADATA);
                let GetResponse { successful, value } = answer.into_inner();
                Ok(successful.then_some(Found { value, is_stale }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes `value` the value of `key` in `bucket`.
    ///
    /// # Errors
    /// When it is not known to have happened.
    pub async fn put(
        &self,
        bucket: impl Into<String>,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
    ) -> Result<(), ClientError> {
        self.put_with(bucket, key, value, PutOptions::default())
            .await
    }

    /// Like [`Client::put`], with what `options` ask for.
    ///
    /// # Errors
    /// As [`Client::put`]; and when the server refuses the life.
    pub async fn put_with(
        &self,
        bucket: impl Into<String>,
        key: impl AsRef<[u8]>,
        value: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<(), ClientError> {
        let request = PutRequest {
            key: Bytes::copy_from_slice(key.as_ref()),
            bucket: bucket.into(),
            value: value.into(),
            ttl_seconds: options.life.map(whole_seconds),
            ack: options.ack.to_wire(),
        };
        let (bytes, bytes_max) = (request.value.len(), self.connection.options.value_bytes_max);
        if bytes > bytes_max {
            return Err(ClientError::InvalidInput(Status::invalid_argument(
                format!("value has {bytes} bytes; this client sends at most {bytes_max}"),
            )));
        }
        let answer: Response<PutResponse> = self.connection.call(self.paths.put, request).await?;
        acknowledged(answer.get_ref().successful)
    }

    /// Removes `key` from `bucket`. Removing what is not there succeeds.
    ///
    /// # Errors
    /// When it is not known to have happened.
    pub async fn delete(
        &self,
        bucket: impl Into<String>,
        key: impl AsRef<[u8]>,
    ) -> Result<(), ClientError> {
        let request = DeleteRequest {
            key: Bytes::copy_from_slice(key.as_ref()),
            bucket: bucket.into(),
        };
        let answer: Response<DeleteResponse> =
            self.connection.call(self.paths.delete, request).await?;
        acknowledged(answer.get_ref().successful)
    }

    /// Waits until S3 has every write that was acknowledged by the node, or by any node of the router, for
    /// `wait` at most, which the server bounds by 10 s; gives what S3 does not have then.
    ///
    /// # Errors
    /// When it could not be found out of each of the nodes. What is merely left is not an error.
    pub async fn flush(&self, wait: Duration) -> Result<Backlog, ClientError> {
        let request = FlushRequest {
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        };
        let answer = self.connection.call(self.paths.flush, request).await?;
        let answer: FlushResponse = answer.into_inner();
        Ok(Backlog {
            entries: answer.entries,
            bytes: answer.bytes,
        })
    }
}

/// `life` in seconds, as the wire has it.
fn whole_seconds(life: Duration) -> u64 {
    let started = u64::from(life.subsec_nanos() > 0);
    life.as_secs().saturating_add(started)
}

/// How a cache node announces itself to a router.
#[derive(Clone, Debug)]
pub struct RouterClient {
    connection: Connection,
}

impl RouterClient {
    /// A client of the router at `address`, which connects when it is first used.
    ///
    /// # Errors
    /// When `address` is not `http://host:port` or `https://host:port`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(address: &str, options: &Options) -> Result<Self, InvalidAddress> {
        Ok(Self {
            connection: Connection::lazy(address, options)?,
        })
    }

    /// The router's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.connection.address()
    }

    /// Asks for a share of the keys for the node at `node`. Asking again changes nothing.
    ///
    /// # Errors
    /// When it is not known to have happened.
    pub async fn join(&self, node: &Address) -> Result<(), ClientError> {
        let request = JoinRequest {
            address: node.to_string(),
        };
        let path = "/router_server.Router/Join";
        let answer: Response<JoinResponse> = self.connection.call(path, request).await?;
        acknowledged(answer.get_ref().successful)
    }

    /// Gives back the share of the node at `node`. Giving back what it does not have succeeds.
    ///
    /// # Errors
    /// When it is not known to have happened.
    pub async fn leave(&self, node: &Address) -> Result<(), ClientError> {
        let request = LeaveRequest {
            address: node.to_string(),
        };
        let path = "/router_server.Router/Leave";
        let answer: Response<LeaveResponse> = self.connection.call(path, request).await?;
        acknowledged(answer.get_ref().successful)
    }
}

/// Servers of ours never answer OK and mean no; for another's, no is no.
pub(crate) fn acknowledged(successful: bool) -> Result<(), ClientError> {
    if successful {
        Ok(())
    } else {
        Err(ClientError::Other(Status::unknown(
            "the server answered that it was not successful, and not why",
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_second_counts_as_a_whole_one() {
        for (life, seconds) in [
            (Duration::ZERO, 0),
            (Duration::from_nanos(1), 1),
            (Duration::from_secs(30), 30),
            (Duration::from_millis(30_001), 31),
            (Duration::MAX, u64::MAX),
        ] {
            assert_eq!(whole_seconds(life), seconds, "{life:?}");
        }
    }
}
