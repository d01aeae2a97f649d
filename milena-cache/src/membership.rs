//! The node's place in a cluster: tells its routers that it is there, again and again, and that it goes.
//!
//! Serving never waits for a router. Joining is repeated for as long as the node runs, so that a router that
//! was restarted and knows nobody learns of the node again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use milena_client::{Address, Options, RouterClient};
use milena_server::clock::Clock;
use prometheus::IntGauge;
use tokio::net::{UdpSocket, lookup_host};
use tokio_util::sync::CancellationToken;

/// How long a router may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two joins that succeed.
const REJOIN_INTERVAL: Duration = Duration::from_secs(5);

/// The first wait after a join that failed; it doubles each time, with full jitter.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// The longest wait after a join that failed.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// One node at one router.
pub(crate) struct Membership {
    router: RouterClient,
    node: Advertised,
    clock: Clock,
    /// Routers that know of this node.
    joined_routers: IntGauge,
}

/// What a router is told.
#[derive(Clone, Debug)]
pub(crate) enum Advertised {
    /// This address.
    Fixed(Address),
    /// The address of the interface that routes to the router, with this port: the node listens on all.
    Routed {
        /// The port that the node listens on.
        port: u16,
    },
}

impl Advertised {
    /// What a node that listens on `bound` advertises: `configured` if there is one, and never an address that
    /// nobody can reach.
    pub(crate) fn new(configured: Option<Address>, bound: SocketAddr) -> Self {
        match configured {
            Some(address) => Self::Fixed(address),
            None if bound.ip().is_unspecified() => Self::Routed { port: bound.port() },
            None => Self::Fixed(http_address(bound)),
        }
    }

    async fn to(&self, router: &Address) -> io::Result<Address> {
        match self {
            Self::Fixed(address) => Ok(address.clone()),
            Self::Routed { port } => Ok(http_address(SocketAddr::new(
                interface_to(router).await?,
                *port,
            ))),
        }
    }
}

fn http_address(addr: SocketAddr) -> Address {
    Address::parse(&format!("http://{addr}"))
        .expect("an IP address and a port in use are an address")
}

/// The address of the interface by which `router` is reached. Connecting a UDP socket sends nothing.
async fn interface_to(router: &Address) -> io::Result<IpAddr> {
    let host_and_port = router
        .as_str()
        .split_once("://")
        .map_or("", |(_, rest)| rest);
    let target = lookup_host(host_and_port).await?.next();
    let target = target.ok_or_else(|| io::Error::other("the router's name has no address"))?;
    let any: IpAddr = if target.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(target).await?;
    Ok(socket.local_addr()?.ip())
}

impl Membership {
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn new(
        router: &Address,
        node: Advertised,
        joined_routers: IntGauge,
        clock: Clock,
    ) -> Self {
        let options = Options {
            deadline: CALL_TIMEOUT,
            ..Options::default()
        };
        let router =
            RouterClient::connect(router.as_str(), &options).expect("the address was checked");
        Self {
            router,
            node,
            clock,
            joined_routers,
        }
    }

    /// Joins, and joins again and again until `stop`; then leaves.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let router = self.router.address().as_str();
        // What the router may know this node as: also when its answer has not come.
        let mut told: Option<Address> = None;
        let mut joined_as: Option<Address> = None;
        let mut failures = 0_u32;
        while let Some(answer) = stop.run_until_cancelled(self.join(&mut told)).await {
            let pause = match answer {
                Ok(address) => {
                    failures = 0;
                    if joined_as.as_ref() != Some(&address) {
                        tracing::info!(router, %address, "joined the router");
                        self.joined_routers.add(i64::from(joined_as.is_none()));
                    }
                    joined_as = Some(address);
                    REJOIN_INTERVAL
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(router, error, "the router cannot be joined; trying on");
                    }
                    failures = failures.saturating_add(1);
                    backoff(failures)
                }
            };
            let pause = self.clock.jitter(pause).max(pause / 2);
            if stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                break;
            }
        }
        if let Some(address) = told {
            match self.router.leave(&address).await {
                Ok(()) => tracing::info!(router, "left the router"),
                Err(error) => {
                    tracing::info!(router, %error, "the router was not told of the leave");
                }
            }
        }
        self.joined_routers.sub(i64::from(joined_as.is_some()));
    }

    async fn join(&self, told: &mut Option<Address>) -> Result<Address, String> {
        let address = self
            .node
            .to(self.router.address())
            .await
            .map_err(|error| error.to_string())?;
        *told = Some(address.clone());
        self.router
            .join(&address)
            .await
            .map_err(|error| error.to_string())?;
        Ok(address)
    }
}

/// How long to wait after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN
        .saturating_mul(1 << failures.min(10))
        .min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_that_listens_on_all_interfaces_advertises_one_that_can_be_reached() {
        let router = Address::parse("http://127.0.0.1:50050").unwrap();
        let advertised = Advertised::new(None, "0.0.0.0:50051".parse().unwrap());
        assert_eq!(
            advertised.to(&router).await.unwrap().as_str(),
            "http://127.0.0.1:50051"
        );
    }

    #[tokio::test]
    async fn what_is_configured_or_listened_on_is_advertised_as_it_is() {
        let router = Address::parse("http://127.0.0.1:50050").unwrap();
        let bound = "127.0.0.2:50051".parse().unwrap();
        assert_eq!(
            Advertised::new(None, bound)
                .to(&router)
                .await
                .unwrap()
                .as_str(),
            "http://127.0.0.2:50051"
        );
        let configured = Address::parse("https://node-1.internal:443").unwrap();
        let advertised = Advertised::new(Some(configured.clone()), bound);
        assert_eq!(advertised.to(&router).await.unwrap(), configured);
    }

    #[test]
    fn backoff_grows_to_its_bound() {
        assert_eq!(backoff(1), Duration::from_millis(200));
        assert_eq!(backoff(4), Duration::from_millis(1_600));
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }
}
